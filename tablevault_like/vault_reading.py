"""What a vault tells: every method is one line of work; what it does is elsewhere."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from datetime import date
from typing import TYPE_CHECKING, Literal, TypeAlias, overload

from tablevault_like import arguments, queries
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import (
    BASE_VERSION,
    ProcessRecord,
    State,
)
from tablevault_like.monitor.monitor import Monitor
from tablevault_like.monitor.records import CellHistory, Inspection, QuickCheck
from tablevault_like.operations.trash import TrashRecord
from tablevault_like.process import records, watching
from tablevault_like.process.journal import Journal
from tablevault_like.queries import Parameters
from tablevault_like.reading import Part, Reader, Which

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from rich.tree import Tree

    from tablevault_like.comparison.records import Difference

Filters: TypeAlias = Sequence[tuple[str, str, object]] | Sequence[Sequence[tuple[str, str, object]]]


@arguments.checked
class VaultReading:
    """The methods of ``TableVault`` that change nothing, and wait for no lock."""

    _journal: Journal
    _reader: Reader
    _monitor: Monitor

    # --- processes

    def get_active_processes(self) -> dict[str, ProcessRecord]:
        """Return the processes that haven't ended or that wait for their locks, by id, oldest first.

        Children are among them: ``parent_id`` tells whose they are.
        """
        with self._journal.catalog.snapshot() as db:
            return records.active(db, self._journal.layout)

    def get_process(self, process_id: str) -> ProcessRecord:
        """Return a process, ended ones too. Raises TVArgumentError if there is none of that id."""
        with self._journal.catalog.snapshot() as db:
            return records.find(db, self._journal.layout, process_id)

    def get_process_completion(self, process_id: str) -> bool:
        """Tell whether a process has completed, or was stopped and materialized.

        Raises TVArgumentError if there is none of that id.
        """
        return self.get_process(process_id).state in (State.COMPLETED, State.MATERIALIZED)

    def wait(self, process_id: str, timeout: float | None = None) -> ProcessRecord:
        """Wait until a process has ended or is paused, wherever it runs, and return it.

        One whose worker is dead is returned, too: its ``status`` is ``interrupted``. ``timeout`` is in seconds; without
        one, it waits for as long as it takes.

        Raises TVArgumentError if there is none of that id, TVTimeoutError (a TimeoutError) if a worker is still at it
        when the time is over, and TVProcessError if it never began, as it didn't get its locks, or if this code is part
        of it.
        """
        seconds = None if timeout is None else arguments.seconds("timeout", timeout)
        return watching.wait(self._journal, process_id, timeout=seconds)

    def get_errors(
        self,
        name: str = "",
        *,
        table_name: str = "",
        process_id: str = "",
        instance_id: str = "",
        version: str = BASE_VERSION,
        missing: bool = False,
    ) -> pd.DataFrame:
        """Return the rows that failed, of a process or a table: a row for each, none if there are none.

        ``name`` is the id of a process, or the name of a table, whose newest instance of ``version`` is meant, or the
        one that ``instance_id`` names (``TEMP_<version>`` is the one that is executed). Where both have the same name,
        ``process_id`` or ``table_name`` says it clearly. Of a process that has ended it is the instance that it made.

        The columns are ``builder``, ``row`` (a position), ``key`` (the primary key as text), ``status`` (``failed``: a
        resume calls it again; ``skipped``: it is left empty), ``error_type``, ``message``, ``traceback``, ``attempts``,
        ``seconds``, ``cost``, ``tokens``, and ``inputs``: what its function was called with, as JSON text. With
        ``missing`` rows of a partial instance or an unfinished process whose functions weren't called yet are there,
        too, with the status ``missing``.

        Raises TVArgumentError for a name that is unknown, TVProcessError for a process of which nothing is left.
        """
        from tablevault_like.failures import Failures

        given = [each for each in (name, table_name, process_id) if each]
        if len(given) != 1:
            raise TVArgumentError("Give one of them: name, table_name or process_id.")
        failures = Failures(self._journal.catalog, self._journal.layout, missing=missing)
        which = Which(instance_id or None, version or BASE_VERSION, active_only=True)
        if process_id:
            return failures.of_process(process_id)
        return failures.of_table(table_name, which) if table_name else failures.of(name, which)

    # --- looking into it

    def get_process_history(
        self,
        table_name: str = "",
        *,
        operation: str = "",
        author: str = "",
        outcome: str = "",
        since: date | str | float | None = None,
        until: date | str | float | None = None,
        named_only: bool = False,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return every process that has ended, the last one first: a row for each.

        The columns are ``process_id``, ``operation``, ``table``, ``outcome`` (``completed``, ``reverted`` or
        ``materialized``), ``author``, ``created_at``, ``started_at`` and ``ended_at`` (UTC), ``seconds``,
        ``rows_made``, ``rows_reused``, ``rows_failed`` and ``rows_skipped`` (over all builders), ``cost``, ``tokens``,
        ``claims`` (how many workers were at it), ``is_named``, ``parent_id``, ``error`` and ``arguments`` (dicts).

        Each argument leaves some out: those about other tables, by other methods, by others, with another outcome,
        that ended before ``since`` or from ``until`` on (a ``datetime`` or ``date``, text such as ``2026-07-21``, or
        seconds since the epoch), or whose caller gave them no id. ``limit`` is how many, the last ones.

        Raises TVArgumentError for an outcome or a time that can't be understood.
        """
        return self._monitor.history(
            table=table_name or "",
            operation=operation or "",
            author=author or "",
            outcome=outcome or "",
            since=since,
            until=until,
            named_only=named_only,
            limit=None if limit is None else arguments.count("limit", limit),
        )

    def inspect(
        self,
        name: str = "",
        *,
        table_name: str = "",
        process_id: str = "",
        instance_id: str = "",
        version: str = BASE_VERSION,
        row: object = None,
        builder: str = "",
    ) -> Inspection:
        """Return what is known of a process or an instance, and of one row of it.

        ``name`` is the id of a process or of an instance, or the name of a table, whose newest instance of ``version``
        is meant, or the one of ``instance_id`` (``TEMP_<version>`` is the one that is executed). Where a process and
        a table have the same name, ``process_id`` or ``table_name`` says which.

        It tells identity and provenance, and for each step how many rows are done, reused and failed. With ``row``
        (a position, or a primary key: a value, or a dict of column and value) or ``builder``, ``rows`` has what was
        given to each builder's function, or that builder's, for this row, and what came of it: without any, for row 0.

        Raises TVArgumentError, with the nearest name, for what isn't there.
        """
        return self._monitor.inspect(
            name=name or "",
            table_name=table_name or "",
            process_id=process_id or "",
            instance_id=instance_id or "",
            version=version or BASE_VERSION,
            row=arguments.row(row),
            builder=builder or "",
        )

    def quickcheck(self, ended: int = 5) -> list[QuickCheck]:
        """Return a line for each process that hasn't ended, and for the last ``ended`` ones that have.

        ``needs_attention`` tells of each whether it has failed, has lost its worker, was paused by an error, or has
        rows that failed: nothing good comes of it by itself.
        """
        return self._monitor.checks(ended=arguments.count("ended", ended))

    def report(
        self,
        name: str = "",
        *,
        table_name: str = "",
        process_id: str = "",
        instance_id: str = "",
        version: str = BASE_VERSION,
    ) -> str:
        """Return a report of a process or an instance as Markdown, which are named as in ``inspect``.

        It tells what was built, from what, by which builders, how long each step took, what was reused, what failed,
        and what it cost. Raises TVArgumentError, with the nearest name, for what isn't there.
        """
        return self._monitor.report(
            name=name or "",
            table_name=table_name or "",
            process_id=process_id or "",
            instance_id=instance_id or "",
            version=version or BASE_VERSION,
        )

    def why(
        self, table_name: str, row: object, column: str, instance_id: str = "", version: str = BASE_VERSION
    ) -> CellHistory:
        """Return why a cell is what it is: who made it, with which code, of which inputs.

        ``row`` is its position, or its primary key: a value, or a dict of column and value (which a key that is a
        number needs, as a number is a position). The instance is the newest active one of ``version``, or the one of
        ``instance_id``.

        It tells the builder with its text, the code with its differences to the instance's origin, the resolved
        inputs, the rows of the instances that these came from, artifacts, attempts, seconds and cost, and the process.
        A cell that was reused is followed to the instance that made it. What was deleted since is said to be.

        Raises TVArgumentError for a table, an instance, a row or a column that isn't there.
        """
        return self._monitor.why(
            table_name, arguments.row(row), column, instance_id=instance_id or None, version=version or BASE_VERSION
        )

    # --- reading

    def get_dataframe(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> pd.DataFrame:
        """Return the frame of the newest instance of ``version``, or of the one that ``instance_id`` names.

        Only what is asked for is read: some ``columns``, in that order; the rows for which ``filters`` hold, conditions
        such as ``[("year", ">=", 2020)]`` (all of a list, or one of several lists; ``==``, ``!=``, ``<``, ``>``,
        ``<=``, ``>=``, ``in``, ``not in``); and of those the first ``rows``. The index holds the positions of the rows.
        Cells of dtype ``artifact_string`` become absolute paths, which ``filters`` take as well as names, unless
        ``full_artifact_path`` is false. ``attrs["table_name"]`` and ``attrs["instance_id"]`` tell what was read. An
        explicit ``instance_id`` ignores ``active_only`` and ``version``; ``TEMP_<version>`` reads what the execution of
        a temporary instance has done by now, or had done when it was paused or reverted.

        Raises TVArgumentError for what isn't there, and for a value that can't be compared with its column.
        """
        which = Which(instance_id or None, version or BASE_VERSION, active_only, successful_only)
        part = Part.read(columns=columns, filters=filters, rows=rows, full_artifact_path=full_artifact_path)
        return self._reader.dataframe(table_name, which, part)

    def to_arrow(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> pa.Table:
        """Return what ``get_dataframe`` does as a ``pyarrow.Table``, without making a frame of it.

        Its schema's metadata has ``table_name`` and ``instance_id``. A category is a dictionary; values of dtype
        ``object`` that Arrow can't hold are the tagged JSON text that they are stored as, and their field's metadata
        says so: ``encoding`` is ``json``. Raises what ``get_dataframe`` raises.
        """
        which = Which(instance_id or None, version or BASE_VERSION, active_only, successful_only)
        part = Part.read(columns=columns, filters=filters, rows=rows, full_artifact_path=full_artifact_path)
        return self._reader.arrow(table_name, which, part)

    def iter_batches(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        batch_size: int = 10_000,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Return an iterator over what ``get_dataframe`` returns, in frames of at most ``batch_size`` rows.

        The instance is found when this is called, and is read to its end whatever becomes of it meanwhile; only a batch
        or so is in memory. Without any row, there is no frame. Raises what ``get_dataframe`` raises.
        """
        which = Which(instance_id or None, version or BASE_VERSION, active_only, successful_only)
        part = Part.read(columns=columns, filters=filters, rows=rows, full_artifact_path=full_artifact_path)
        return self._reader.batches(table_name, which, part, batch_size=batch_size)

    def diff(
        self,
        table_name: str,
        a: str = "",
        b: str = "",
        *,
        key: Sequence[str] | None = None,
        columns: Sequence[str] | None = None,
    ) -> Difference:
        """Return what is different between two instances of a table: ``a``, the old one, and ``b``, the new one.

        Each is an instance id (``TEMP_<version>`` for what an execution has done by now), or a version, whose newest
        instance is meant, active or not. By default they are the two newest of the table; without ``b`` it is the
        newest; without ``a`` the one before ``b``, or what a temporary ``b`` begins with.

        Rows are told by the ``key``, by default the primary key that the IndexBuilder names; else by their position,
        and ``rows.note`` says why. ``columns`` are those that are compared, by default all. Missing values are equal
        to one another, artifacts by their contents. Inputs, builders and code are compared in any case.

        Nothing is run for it. What is returned is true if anything differs. Raises TVArgumentError for what isn't
        there, and for a ``key`` that doesn't tell the rows apart.
        """
        from tablevault_like.comparison.comparing import Wanted, compare

        names = (arguments.column_names("key", key), arguments.column_names("columns", columns))
        return compare(self._reader, table_name, Wanted(a or None, b or None, *names))

    @overload
    def query(
        self,
        sql: str,
        *,
        parameters: Parameters | None = None,
        as_arrow: Literal[False] = False,
        full_artifact_path: bool = True,
    ) -> pd.DataFrame: ...

    @overload
    def query(
        self,
        sql: str,
        *,
        parameters: Parameters | None = None,
        as_arrow: Literal[True],
        full_artifact_path: bool = True,
    ) -> pa.Table: ...

    def query(
        self,
        sql: str,
        *,
        parameters: Parameters | None = None,
        as_arrow: bool = False,
        full_artifact_path: bool = True,
    ) -> pd.DataFrame | pa.Table:
        """Return what a query gives that is written in SQL: DuckDB's, one SELECT statement. It needs the extra ``sql``.

        ``stories`` is the newest active instance of that table, of whatever version; ``"stories@short"`` that of the
        version ``short``; ``"stories@short_1_..."`` the instance of that id; ``"stories@TEMP_base"`` what an execution
        has done by now. ``parameters`` are the values of ``?``, ``$1`` or ``$name`` in the text. Only what the query
        names is opened, and only the columns and parts that it needs are read. It can't read anything else, and can't
        change anything.

        The frame has pandas' nullable dtypes, with ``as_arrow`` it is a ``pyarrow.Table``. Categories are their values.
        Cells of dtype ``object`` that Arrow has no type for are tagged JSON, which DuckDB's functions for JSON read.
        Cells of dtype ``artifact_string`` are absolute paths, unless ``full_artifact_path`` is false.
        ``attrs["instances"]`` (in Arrow, the schema's metadata) tells which instances were read.

        Raises TVArgumentError for an unknown table, with the nearest name, for what is no such query, for one that
        can't be answered, and if DuckDB isn't installed.
        """
        values = arguments.query_parameters(parameters)
        found = queries.query(self._reader, sql, parameters=values, full_artifact_path=full_artifact_path)
        return found.to_arrow() if as_arrow else found.to_frame()

    def get_table_instances(self, table_name: str = "", version: str = "", include_temp: bool = False) -> list[str]:
        """Return the ids of a table's instances, oldest first; without a table, the names of all tables."""
        if not table_name:
            return self._reader.table_names()
        return self._reader.instance_ids(table_name, version=version or None, include_temporary=include_temp)

    def get_descriptions(self, instance_id: str = "", table_name: str = "") -> dict[str, object]:
        """Return what describes an instance, a table, or the vault if neither is given.

        All have ``description``, ``author`` and ``created``; a table what it was created with; an instance among others
        ``version``, ``active``, ``success``, ``rows``, ``columns`` (dtypes by name), ``origin``, ``dependencies`` (what
        it was made from) and ``process_id``. One that was imported has ``imported`` (vault, table, author, process,
        sources), and one that took rows over from imported results has ``reused`` (builder, rows, and where they were
        made). Times are ISO 8601, in UTC.
        """
        if instance_id and not table_name:
            raise TVArgumentError("An instance is described by instance_id and table_name; table_name is missing.")
        return self._reader.describe(table=table_name or None, instance_id=instance_id or None)

    def get_trash(self, include_pruned: bool = False) -> list[TrashRecord]:
        """Return what was deleted and whose files lie in the trash, oldest first: what it was, when, by whom.

        ``include_pruned`` adds what is on record of what was pruned.
        """
        return self._reader.trash(include_pruned=include_pruned)

    def get_builders_list(
        self, table_name: str, instance_id: str = "", version: str = BASE_VERSION, is_temp: bool = True
    ) -> list[str]:
        """Return the names of the builders of a temporary instance, sorted; those of one that was written are none.

        It is the temporary instance of ``version``, with ``is_temp=False`` the newest materialized one of it, active or
        not. ``instance_id`` wins over both: that very instance, of whichever kind. Raises TVArgumentError if there is
        no such instance.
        """
        return self._reader.builder_names(
            table_name, instance_id=instance_id or None, version=version or BASE_VERSION, is_temporary=is_temp
        )

    def get_builder_str(
        self,
        table_name: str,
        builder_name: str = "",
        instance_id: str = "",
        version: str = BASE_VERSION,
        is_temp: bool = True,
    ) -> str:
        """Return the text of a builder file; by default that of the IndexBuilder.

        Which instance it is of is said as in ``get_builders_list``: ``instance_id`` wins over ``version`` and
        ``is_temp``. Raises TVArgumentError if there is no such instance, or no such builder in it.
        """
        return self._reader.builder_text(
            table_name,
            builder_name or None,
            instance_id=instance_id or None,
            version=version or BASE_VERSION,
            is_temporary=is_temp,
        )

    def get_code_modules_list(self) -> list[str]:
        """Return the names of the code modules; those in packages are dotted: ``package.module``."""
        return self._reader.module_names()

    def get_code_module_str(self, module_name: str) -> str:
        """Return the text of a code module; of a package, that of its ``__init__.py``.

        Raises TVArgumentError, with the nearest name, if there is none of that name.
        """
        return self._reader.module_text(module_name)

    def get_artifact_folder(
        self, table_name: str, instance_id: str = "", version: str = BASE_VERSION, is_temp: bool = True
    ) -> str:
        """Return the folder with the artifacts of a temporary instance, or with ``is_temp=False`` of the newest one.

        It is always the instance's own, in which nothing changes once it is materialized, whether or not the table has
        ``allow_multiple_artifacts``. Which instance is meant is said as in ``get_builders_list``: ``instance_id`` wins
        over ``version`` and ``is_temp``. Raises TVArgumentError if there is no such instance.
        """
        folder = self._reader.artifact_folder(
            table_name, instance_id=instance_id or None, version=version or BASE_VERSION, is_temporary=is_temp
        )
        return os.fspath(folder)

    def get_file_tree(
        self,
        instance_id: str = "",
        table_name: str = "",
        code_files: bool = True,
        builder_files: bool = True,
        metadata_files: bool = False,
        artifact_files: bool = False,
    ) -> Tree:
        """Return the files of the vault, a table or an instance as a ``rich.tree.Tree`` that can be printed.

        Frames, manifests and descriptions are always among them, hidden files never. ``code_files`` are the code
        modules, and the code that is kept with each instance; ``builder_files`` the builders of all instances;
        ``artifact_files`` the artifacts of instances and tables; ``metadata_files`` what is in ``metadata/``: the
        catalog, processes, and the trash. Raises TVArgumentError for a table or an instance that isn't there.
        """
        from tablevault_like import tree

        folder = self._reader.folder(table=table_name or None, instance_id=instance_id or None)
        return tree.file_tree(
            folder, code=code_files, builders=builder_files, metadata=metadata_files, artifacts=artifact_files
        )
