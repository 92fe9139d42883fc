"""Ask the vault in SQL: each table that a query names is a view of one of its instances.

1. A query reads tables of the vault and nothing else: no other file, no network, no variable of the program. It changes
   nothing. It is one SELECT statement (or what is one, such as FROM, VALUES, DESCRIBE or SUMMARIZE).
2. Only what it names is looked up and opened, and of that only the columns and parts that it needs are read.
3. What it has begun to read it reads to the end, even if the instance is deleted meanwhile. It takes no lock.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from tablevault_like.catalog import Database, instances, tables
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.model import InstanceRecord, is_instance_id
from tablevault_like.reading import Found, Part, Reader, Which

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

Parameters: TypeAlias = Sequence[object] | Mapping[str, object]

_MAIN = ("", "main")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a query gave. ``instances`` are those that it read, by the names that it has for them."""

    table: pa.Table
    instances: Mapping[str, str]

    def to_arrow(self) -> pa.Table:
        """Return it in Arrow. The schema's metadata has the instances, as JSON."""
        return self.table.replace_schema_metadata({"instances": json.dumps(dict(self.instances))})

    def to_frame(self) -> pd.DataFrame:
        """Return it as a frame with pandas' nullable dtypes. ``attrs["instances"]`` has the instances."""
        from tablevault_like.storage.exchange import frame_of

        frame = frame_of(self.table)
        frame.attrs = {"instances": dict(self.instances)}
        return frame


def query(reader: Reader, sql: str, *, parameters: Parameters | None = None, full_artifact_path: bool = True) -> Answer:
    """Return what a query gives. Raises TVArgumentError for what is no query, and for names that it can't have."""
    duckdb = _duckdb()
    with ExitStack() as stack:
        connection = stack.enter_context(_connected(duckdb))
        with _told(duckdb):
            named = _tables_of(connection, sql)
        _check_cases(named.tables)
        views = [stack.enter_context(_view(reader, name, full_artifact_path)) for name in _wanted(reader, named)]
        with _told(duckdb):
            for number, view in enumerate(views):
                view.show(connection, f"__tablevault_{number}")
            connection.execute("SET lock_configuration = true")
            table = _answered(connection, sql, parameters)
        return Answer(table, {view.name: view.instance_id for view in views})


@dataclass(frozen=True, slots=True)
class _Named:
    """The names that a query has for tables. ``own`` are those that it gives by itself, in WITH."""

    tables: tuple[str, ...]
    own: frozenset[str]


@dataclass(frozen=True, slots=True)
class _View:
    """An instance as a query sees it. ``folder`` is put before the cells of ``artifact_columns``."""

    name: str
    instance_id: str
    data: Any
    artifact_columns: tuple[str, ...] = ()
    folder: str = ""

    def show(self, connection: Any, hidden: str) -> None:
        """Make the view under its name. ``hidden`` is a name that nobody uses."""
        if not self.artifact_columns:
            connection.register(self.name, self.data)
            return
        connection.register(hidden, self.data)
        paths = ", ".join(f"{_path(self.folder, each)} AS {_name(each)}" for each in self.artifact_columns)
        connection.execute(f"CREATE VIEW {_name(self.name)} AS SELECT * REPLACE ({paths}) FROM {hidden}")  # noqa: S608


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise TVArgumentError(
            "query() needs duckdb, which isn't installed: pip install 'tablevault-like[sql]'."
        ) from error
    return duckdb


@contextmanager
def _connected(duckdb: Any) -> Iterator[Any]:
    """Give a database in memory that reaches nothing outside, but for what doesn't fit in memory."""
    with tempfile.TemporaryDirectory(prefix="tablevault-query-", ignore_cleanup_errors=True) as folder:
        connection = duckdb.connect(
            ":memory:",
            config={
                "enable_external_access": "false",
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
                "temp_directory": folder,
            },
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def _answered(connection: Any, sql: str, parameters: Parameters | None) -> pa.Table:
    """Return what a query gives. In a thread of its own: duckdb itself hears of Ctrl-C only now and then."""
    with ThreadPoolExecutor(1, "tablevault-query") as pool:
        answer = pool.submit(lambda: connection.sql(sql, params=parameters).to_arrow_table())
        try:
            return answer.result()
        except KeyboardInterrupt:
            # One that comes before the query has begun to run is lost.
            while not answer.done():
                connection.interrupt()
                wait([answer], timeout=0.05)
            raise


def _tables_of(connection: Any, sql: str) -> _Named:
    """Return the names of the tables in a query. It is parsed, not run; no table needs to be there."""
    ((text,),) = connection.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()
    parsed = json.loads(text)
    if parsed["error"]:
        if parsed["error_type"] == "not implemented":
            hint = (
                " (PIVOT needs its values named: FROM (PIVOT stories ON lang IN ('en', 'fr') USING count(*)).)"
                if "pivot" in sql.casefold()
                else ""
            )
            raise TVArgumentError(f"A query reads, and changes nothing: give one SELECT statement.{hint}")
        raise TVArgumentError(f"The query can't be read: {parsed['error_message']}{_place(sql, parsed)}.")
    if len(parsed["statements"]) != 1:
        raise TVArgumentError(f"A query is one SELECT statement; here are {len(parsed['statements'])}.")
    names, own = [], set()
    nodes = [parsed["statements"]]
    while nodes:
        node = nodes.pop()
        if isinstance(node, dict):
            if node.get("type") == "BASE_TABLE" and not node["catalog_name"] and node["schema_name"] in _MAIN:
                names.append(node["table_name"])
            if node.get("show_type") == "SHOW_SPECIAL":
                raise TVArgumentError(
                    "A query only knows the tables that it names, so it can't list them. Call get_table_instances() "
                    "for their names; DESCRIBE stories tells the columns of one."
                )
            own |= {each["key"].casefold() for each in (node.get("cte_map") or {}).get("map", ())}
        nodes += node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    return _Named(tuple(dict.fromkeys(names)), frozenset(own))


def _place(sql: str, parsed: Mapping[str, Any]) -> str:
    position = int(parsed.get("position") or 0)
    line = sql.count("\n", 0, position) + 1
    return f" (line {line}, column {position - sql.rfind(chr(10), 0, position)})" if parsed.get("position") else ""


def _check_cases(names: Sequence[str]) -> None:
    """Refuse names that SQL can't tell apart, and the vault can."""
    known: dict[str, str] = {}
    for name in names:
        other = known.setdefault(name.casefold(), name)
        if other != name and {other, name} != {other.casefold(), name.casefold()}:
            raise TVArgumentError(f"SQL doesn't tell {other!r} from {name!r}. Write the name in one way.")


def _wanted(reader: Reader, named: _Named) -> Iterator[str]:
    """Yield the names that are to be views: all but those that only the query itself knows."""
    for name in named.tables:
        if name.casefold() in named.own:
            with reader.catalog.snapshot() as db:
                try:
                    _find(db, name)
                except TVArgumentError:
                    continue
        yield name


def _find(db: Database, name: str) -> InstanceRecord:
    """Return the instance that a name stands for: ``table``, ``table@version`` or ``table@instance``."""
    table, at, which = name.partition("@")
    table = _spelled(db, table)
    if not at:
        return instances.get_newest_active(db, table)
    if is_instance_id(which):
        return Which(which, "").find(db, table)
    return Which(None, which).find(db, table)


def _spelled(db: Database, table: str) -> str:
    """Return the name of a table as the vault has it: SQL doesn't tell capitals from small letters."""
    if tables.find(db, table) is None:
        same = [name for name in tables.names(db) if name.casefold() == table.casefold()]
        if len(same) == 1:
            return same[0]
    return table


@contextmanager
def _view(reader: Reader, name: str, full_artifact_path: bool) -> Iterator[_View]:
    from tablevault_like.storage.datasets import dataset

    with ExitStack() as stack:

        def read(found: Found) -> _View:
            record = found.record
            if record.is_temporary:
                part = Part(full_artifact_path=full_artifact_path)
                table = reader.arrow(record.table_name, Which(record.instance_id, ""), part)
                return _View(name, record.instance_id, _plain(table))
            data = stack.enter_context(dataset(found.place.table))
            columns = tuple(found.artifact_columns) if full_artifact_path else ()
            return _View(name, record.instance_id, data, columns, f"{found.artifact_folder}/")

        view = reader.of_instance(lambda db: _find(db, name), read)
        _check_columns(view)
        yield view


def _check_columns(view: _View) -> None:
    if not view.data.schema.names:
        raise TVArgumentError(f"{view.name} has no columns, so there is nothing to ask for.")
    known: dict[str, str] = {}
    for column in view.data.schema.names:
        other = known.setdefault(column.casefold(), column)
        if other != column:
            raise TVArgumentError(
                f"{view.name} has the columns {other!r} and {column!r}, which SQL doesn't tell apart. Read it with "
                "get_dataframe()."
            )


def _plain(table: pa.Table) -> pa.Table:
    """Return a table with categories as their values, as those in files are."""
    import pyarrow as pa

    for place, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(place, field.name, table.column(place).cast(field.type.value_type))
    return table


@contextmanager
def _told(duckdb: Any) -> Iterator[None]:
    """Turn what duckdb raises into errors of this library."""
    try:
        yield
    except duckdb.PermissionException as error:
        raise TVArgumentError(f"A query reads the tables of the vault, and nothing else. {_said(error)}") from error
    except duckdb.IOException as error:
        raise TVFileError(f"The query can't be answered: {_said(error)}") from error
    except duckdb.Error as error:
        raise TVArgumentError(f"The query can't be answered: {_said(error)}") from error


def _path(folder: str, column: str) -> str:
    """Return what makes the absolute paths of artifacts, and refuses a name that leads out of the folder."""
    is_unsafe = rf"regexp_matches({_name(column)}, '(^|/)\.{{0,2}}(/|\z)|\x00')"
    told = f"error('The cell ' || {_name(column)} || ' leads out of the artifact folder. The table is damaged.')"
    return f"CASE WHEN {is_unsafe} THEN {told} ELSE {_text(folder)} || {_name(column)} END"


def _said(error: Exception) -> str:
    return str(error).strip()


def _name(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'


def _text(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
