"""Queries in SQL: which instance a name stands for, what a query can't do, and what comes back."""

from __future__ import annotations

import builtins
import datetime
import os
import signal
import sqlite3
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tablevault_like import TableVault, queries
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import datasets, tables
from tests.library import make
from tests.tables import begin, column, index, write
from tests.workers import CALLS_VARIABLE

STORIES = pd.DataFrame({"id": pd.array([1, 2, 3], "Int64"), "lang": pd.array(["en", "fr", None], "string")})


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    found = TableVault(vault_dir, "ada", create=True)
    write(found, "stories", STORIES)
    return found


class TestAName:
    def test_is_the_newest_active_instance_of_its_table(self, vault: TableVault) -> None:
        newest = write(vault, "stories", STORIES.head(1))

        found = vault.query("SELECT count(*) AS n FROM stories")

        assert found["n"].tolist() == [1]
        assert found.attrs == {"instances": {"stories": newest}}

    def test_is_of_whatever_version_is_newest(self, vault: TableVault) -> None:
        write(vault, "stories", STORIES.head(2), "short")

        assert vault.query("FROM stories SELECT count(*)").iat[0, 0] == 2
        assert vault.query('FROM "stories@base" SELECT count(*)').iat[0, 0] == 3
        assert vault.query('FROM "stories@short" SELECT count(*)').iat[0, 0] == 2

    def test_skips_what_is_not_active(self, vault_dir: Path) -> None:
        vault = TableVault(vault_dir, create=True)
        vault.create_table("services", has_side_effects=True)
        old = write(vault, "services", pd.DataFrame({"n": [1]}))
        begin(vault, "services", {"index": index("n")}, code="def rows():\n    yield 2\n")
        vault.execute_instance("services")

        assert vault.query("SELECT n FROM services")["n"].tolist() == [2]
        assert vault.query(f'SELECT n FROM "services@{old}"')["n"].tolist() == [1]

    def test_may_be_an_instance(self, vault: TableVault) -> None:
        (old,) = vault.get_table_instances("stories")
        write(vault, "stories", STORIES.head(1))

        found = vault.query(f'SELECT a.id FROM "stories@{old}" a LEFT JOIN stories b USING (id) WHERE b.id IS NULL')

        assert found["id"].tolist() == [2, 3]

    def test_may_be_a_temporary_instance(self, vault: TableVault) -> None:
        code = "def rows():\n    yield 1\n    raise ConnectionError\n"
        begin(vault, "words", {"index": index("n")}, code=code)
        with pytest.raises(ConnectionError):
            vault.execute_instance("words", process_id="p")

        assert vault.query('SELECT n FROM "words@TEMP_base"')["n"].tolist() == [1]

    @pytest.mark.parametrize("sql", ["SELECT * FROM Stories", "SELECT * FROM main.STORIES", 'FROM "sTories"'])
    def test_has_no_capitals_in_sql(self, vault: TableVault, sql: str) -> None:
        assert len(vault.query(sql)) == 3

    def test_of_two_that_differ_in_capitals_is_refused(self, vault: TableVault) -> None:
        write(vault, "Papers", STORIES)
        write(vault, "papers", STORIES.head(1))

        assert len(vault.query("FROM papers")) == 1
        assert len(vault.query("FROM Papers")) == 3
        with pytest.raises(TVArgumentError, match="SQL doesn't tell"):
            vault.query("SELECT * FROM papers, Papers")

    def test_that_the_query_gives_by_itself_needs_no_table(self, vault: TableVault) -> None:
        assert vault.query("WITH x AS (SELECT 1 AS a) SELECT a FROM x")["a"].tolist() == [1]
        assert vault.query("WITH stories AS (SELECT id + 1 AS id FROM stories) FROM stories")["id"].tolist() == [
            2,
            3,
            4,
        ]

    def test_may_have_any_form_that_tables_have(self, vault: TableVault) -> None:
        write(vault, "select-from_2", STORIES)

        assert len(vault.query('SELECT * FROM "select-from_2" JOIN stories USING (id)')) == 3

    @pytest.mark.parametrize(
        ("sql", "said"),
        [
            ("SELECT * FROM storys", "There is no table 'storys'. Did you mean 'stories'?"),
            ('SELECT * FROM "storys@base"', "There is no table 'storys'. Did you mean 'stories'?"),
            ('SELECT * FROM "stories@bace"', "version 'bace'.* Did you mean 'base'"),
            ('SELECT * FROM "stories@"', "version ''"),
            ('SELECT * FROM "stories@TEMP_base"', "no instance 'TEMP_base'"),
            ('SELECT * FROM "stories@../../x"', "version '../../x'"),
            ("SELECT * FROM empty", "'empty' has no active materialized instance"),
            ("SELECT (SELECT max(id) FROM papers)", "There is no table 'papers'"),
            ("SELECT titel FROM stories", "titel"),
        ],
    )
    def test_that_is_not_there_is_told(self, vault: TableVault, sql: str, said: str) -> None:
        vault.create_table("empty")

        with pytest.raises(TVArgumentError, match=said):
            vault.query(sql)


HOSTILE = [
    "COPY stories TO 'out.csv'",
    "COPY (SELECT 1) TO '/dev/stdout'",
    "COPY (SELECT 1) TO 'out.parquet' (FORMAT parquet)",
    "EXPORT DATABASE 'out'",
    "IMPORT DATABASE 'out'",
    "SELECT * FROM read_csv('/etc/passwd')",
    "SELECT * FROM read_csv_auto('/etc/passwd')",
    "SELECT * FROM read_text('/etc/passwd')",
    "SELECT * FROM read_blob('/etc/passwd')",
    "SELECT * FROM read_json('secret.json')",
    "SELECT * FROM parquet_scan('vault/*/*/table.parquet')",
    "SELECT * FROM read_parquet('vault/*/*/table.parquet')",
    "SELECT * FROM glob('*')",
    "SELECT * FROM sniff_csv('/etc/passwd')",
    "SELECT * FROM '/etc/passwd'",
    "SELECT * FROM 'secret.csv'",
    "SELECT * FROM 'https://127.0.0.1:9/x.parquet'",
    "SELECT * FROM query('COPY (SELECT 1) TO ''out.csv''')",
    "SELECT * FROM query('FROM read_text(''secret.csv'')')",
    "WITH x AS (SELECT * FROM read_text('secret.csv')) SELECT * FROM x",
    "SELECT (SELECT content FROM read_text('secret.csv'))",
    "ATTACH 'out.db'",
    "ATTACH 'vault/metadata/catalog.sqlite' AS c (TYPE sqlite)",
    "DETACH memory",
    "INSTALL httpfs",
    "LOAD httpfs",
    "FORCE INSTALL httpfs",
    "SET enable_external_access = true",
    "SET GLOBAL enable_external_access = true",
    "RESET lock_configuration",
    "SET lock_configuration = false",
    "PRAGMA enable_profiling = 'json'",
    "PRAGMA database_list",
    "PRAGMA profiling_output = 'out.json'",
    "CALL pragma_version()",
    "CREATE TABLE t AS SELECT 1",
    "CREATE PERSISTENT SECRET s (TYPE S3)",
    "CREATE MACRO m() AS 1",
    "INSERT INTO stories VALUES (4, 'de')",
    "UPDATE stories SET id = 0",
    "DELETE FROM stories",
    "DROP VIEW stories",
    "CHECKPOINT",
    "VACUUM",
    "USE temp",
    "BEGIN",
    "EXPLAIN ANALYZE SELECT 1",
    "PREPARE p AS SELECT 1",
    "SELECT 1; COPY (SELECT 1) TO 'out.csv'",
    "SELECT 1; SELECT 2",
    "SELECT * FROM frame",
    "SELECT * FROM __tablevault_0",
    "SELECT getenv('HOME')",
    "",
    ";",
    "stories",
    "SELECT",
]


REFUSED = (
    r"^(A query reads.*(SELECT statement|disabled by configuration)|A query is one SELECT statement"
    r"|There is no table|The query can't be read: (syntax error|SELECT clause without selection list)"
    r"|The query can't be answered: .*(getenv does not exist|Expected a single SELECT statement))"
)


class DeafAtFirst:
    """A connection that doesn't hear the first interrupt."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._has_heard = False

    def interrupt(self) -> None:
        if self._has_heard:
            self._connection.interrupt()
        self._has_heard = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


class TestAQuery:
    @pytest.mark.parametrize("sql", HOSTILE)
    def test_that_does_something_else_is_refused(
        self, vault: TableVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sql: str
    ) -> None:
        monkeypatch.chdir(tmp_path)
        (tmp_path / "secret.csv").write_text("a\n1\n")
        (tmp_path / "secret.json").write_text('{"a": 1}')
        frame = pd.DataFrame({"a": [1]})
        before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}

        with pytest.raises(TVArgumentError, match=REFUSED):
            vault.query(sql)

        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
        assert len(frame) == 1

    @pytest.mark.parametrize(
        "sql",
        [
            "SELECT count(*) FROM stories",
            "FROM stories",
            "TABLE stories",
            "VALUES (1), (2)",
            "WITH x AS (FROM stories) FROM x",
            "DESCRIBE stories",
            "SUMMARIZE stories",
            "FROM (PIVOT stories ON lang IN ('en', 'fr') USING count(*))",
            "SELECT * FROM stories UNION ALL SELECT * FROM stories;",
            "SELECT * FROM range(3)",
            "SELECT unnest([1, 2])",
            "SELECT count(*) FROM information_schema.tables",
        ],
    )
    def test_may_have_every_form_that_reads(self, vault: TableVault, sql: str) -> None:
        assert len(vault.query(sql)) >= 1

    @pytest.mark.parametrize(
        "sql", ["SHOW TABLES", "SHOW ALL TABLES", "DESCRIBE", "FROM (SHOW TABLES)", "SHOW DATABASES"]
    )
    def test_for_the_names_of_all_tables_is_told_where_they_are(self, vault: TableVault, sql: str) -> None:
        with pytest.raises(TVArgumentError, match=r"only knows the tables that it names.*get_table_instances\(\)"):
            vault.query(sql)

    def test_is_told_about_pivot_only_where_that_helps(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match="PIVOT needs its values named"):
            vault.query("PIVOT stories ON lang")
        with pytest.raises(TVArgumentError) as refused:
            vault.query("DROP VIEW stories")
        assert "PIVOT" not in str(refused.value)

    def test_that_cannot_be_read_is_told_with_its_place(self, vault: TableVault) -> None:
        with pytest.raises(TVArgumentError, match=r"syntax error at or near \"stories\" \(line 2, column 6\)\.$"):
            vault.query("SELECT *\nFORM stories WHERE")

    def test_takes_values_apart_from_its_text(self, vault: TableVault) -> None:
        by_place = vault.query("SELECT id FROM stories WHERE lang = ? OR id = ?", parameters=["x' OR 'a' = 'a", 3])
        by_name = vault.query("SELECT id FROM stories WHERE lang = $lang", parameters={"lang": "fr"})

        assert (by_place["id"].tolist(), by_name["id"].tolist()) == ([3], [2])
        with pytest.raises(TVArgumentError, match=r"[Pp]arameter"):
            vault.query("SELECT id FROM stories WHERE lang = ?")

    def test_opens_only_what_it_names(self, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
        for number in range(5):
            write(vault, f"other{number}", STORIES)
        opened, dataset = [], datasets.dataset

        def note(path: Path) -> Any:
            opened.append(path.parent.parent.name)
            return dataset(path)

        monkeypatch.setattr(datasets, "dataset", note)
        vault.query("SELECT * FROM stories JOIN other3 USING (id)")

        assert sorted(opened) == ["other3", "stories"]

    def test_reads_to_its_end_what_is_deleted_meanwhile(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        check = queries._check_columns

        def late(view: Any) -> None:
            vault.delete_table("stories")
            vault.prune(dry_run=False)
            check(view)

        monkeypatch.setattr(queries, "_check_columns", late)

        assert len(vault.query("FROM stories")) == 3

    def test_of_a_damaged_table_tells_that(self, vault: TableVault) -> None:
        (instance,) = vault.get_table_instances("stories")
        path = Path(vault.db_dir, "stories", instance, "table.parquet")
        path.chmod(0o644)
        path.write_bytes(b"PAR1" + bytes(50))

        with pytest.raises(TVFileError, match="can't be read"):
            vault.query("FROM stories")

    def test_without_duckdb_tells_what_to_install(self, vault: TableVault, monkeypatch: pytest.MonkeyPatch) -> None:
        imported = builtins.__import__

        def refuse(name: str, *rest: Any) -> Any:
            if name == "duckdb":
                raise ModuleNotFoundError(name)
            return imported(name, *rest)

        monkeypatch.setattr(builtins, "__import__", refuse)
        monkeypatch.delitem(sys.modules, "duckdb", raising=False)

        with pytest.raises(TVArgumentError, match=r"pip install 'tablevault-like\[sql\]'"):
            vault.query("SELECT 1")

    def test_ends_when_it_is_interrupted(self, vault: TableVault) -> None:
        timer = threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT))
        timer.start()

        with pytest.raises(KeyboardInterrupt):
            vault.query("SELECT count(*) FROM range(100000000) a, range(100000) b WHERE (a.range * b.range) % 7 = 3")
        timer.join()

    def test_ends_when_an_interrupt_came_before_it_had_begun(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        connected = queries._connected

        @contextmanager
        def deaf(duckdb: Any) -> Iterator[Any]:
            with connected(duckdb) as connection:
                yield DeafAtFirst(connection)

        monkeypatch.setattr(queries, "_connected", deaf)

        self.test_ends_when_it_is_interrupted(vault)

    def test_leaves_nothing_behind(self, vault: TableVault, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "temp").mkdir()
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temp"))
        monkeypatch.chdir(tmp_path / "temp")

        vault.query("SELECT * FROM stories ORDER BY id")

        assert list((tmp_path / "temp").iterdir()) == []


class TestValues:
    def test_keep_their_dtypes_and_missing_values(self, vault: TableVault) -> None:
        frame = pd.DataFrame(
            {
                "i8": pd.array([1, None], "Int8"),
                "u64": pd.array([2**64 - 1, None], "UInt64"),
                "i64": np.array([2**62 + 1, 3]),
                "f": pd.array([1.5, None], "Float64"),
                "f16": np.array([1.5, 2.5], "float16"),
                "b": pd.array([True, None], "boolean"),
                "s": pd.array(["a", None], "string"),
                "c": pd.Categorical(["x", None]),
                "t": pd.Series(["2024-01-01", None], dtype="datetime64[us]"),
                "ns": pd.Series(["2024-01-01", None], dtype="datetime64[ns]"),
                "z": pd.Series(["2024-01-01", None], dtype="datetime64[us]").dt.tz_localize("Europe/Berlin"),
                "d": pd.to_timedelta([90061, None], "s").astype("timedelta64[us]"),
                "l": pd.Series([[1, 2], None], dtype=object),
                "bytes": pd.Series([b"a", None], dtype=object),
            }
        )
        write(vault, "values", frame)

        found = vault.query('FROM "values"')

        assert found.dtypes.astype(str).to_dict() == {
            "i8": "Int8",
            "u64": "UInt64",
            "i64": "Int64",
            "f": "Float64",
            "f16": "Float32",
            "b": "boolean",
            "s": "string",
            "c": "string",
            "t": "datetime64[us]",
            "ns": "datetime64[ns]",
            "z": "datetime64[us, UTC]",
            "d": "timedelta64[us]",
            "l": "object",
            "bytes": "object",
        }
        assert found.isna().iloc[1].tolist() == [name not in ("i64", "f16") for name in frame]
        assert found["u64"].iat[0] == 2**64 - 1
        assert found["i64"].tolist() == [2**62 + 1, 3]
        assert found["z"].tolist()[0] == frame["z"].tolist()[0]
        assert found["d"].iat[0] == pd.Timedelta(seconds=90061)
        assert found["l"].iat[0] == [1, 2]

    def test_that_are_reckoned(self, vault: TableVault) -> None:
        found = vault.query(
            "SELECT sum(id) AS whole, avg(id) AS mean, 1.50 AS exact, DATE '2024-01-31' AS day, [1, NULL] AS list,"
            " {'a': 1} AS record, NULL AS nothing, 2::HUGEINT ** 100 AS big FROM stories"
        )

        assert found["whole"].dtype == "Int64"
        assert found[["whole", "mean"]].iloc[0].tolist() == [6, 2.0]
        first = found.iloc[0]
        assert (first["exact"], first["day"]) == (Decimal("1.50"), datetime.date(2024, 1, 31))
        assert (first["list"], first["record"], first["nothing"]) == ([1, None], {"a": 1}, None)

    def test_that_are_not_numbers_are_compared_as_duckdb_does(self, vault: TableVault) -> None:
        write(vault, "floats", pd.DataFrame({"x": [1.0, float("nan"), 3.0]}))

        assert vault.query("SELECT count(*) FROM floats WHERE x > 2").iat[0, 0] == 2  # NaN is the greatest

    def test_that_only_json_can_hold_are_tagged_json(self, vault: TableVault) -> None:
        write(vault, "values", pd.DataFrame({"o": pd.Series([{"a": [1, 2]}, (1, "x"), None], dtype=object)}))

        found = vault.query("""SELECT o, o->>'$.a[1]' AS second FROM "values" """)

        assert found["o"].tolist()[:2] == ['{"a":[1,2]}', '{"~tuple":[1,"x"]}']
        assert found["second"].iat[0] == "2"
        assert found["o"].isna().tolist() == [False, False, True]

    def test_of_artifacts_are_paths(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(CALLS_VARIABLE, str(tmp_path / "calls"))
        make(tmp_path / "it's a vault")
        vault = TableVault(tmp_path / "it's a vault")
        names = vault.get_dataframe("words", full_artifact_path=False)
        wanted = vault.get_dataframe("words")

        found = vault.query("FROM words")
        short = vault.query("FROM words", full_artifact_path=False)

        assert found["page"].tolist() == wanted["page"].tolist()
        assert all(Path(path).is_file() for path in found["page"])
        assert short["page"].tolist() == names["page"].tolist()

    @pytest.mark.parametrize("name", ["../../x", "/etc/passwd", "a/../../x", "..", "a//b"])
    def test_of_artifacts_never_lead_outside(self, vault: TableVault, name: str) -> None:
        frame = pd.DataFrame({"page": ["ok.txt", name]})
        instance = write(vault, "pages", frame)
        folder = Path(vault.db_dir, "pages", instance)
        folder.chmod(0o755)
        tables.write_table(folder / "table.parquet", frame, {"page": "artifact_string"})
        with closing(sqlite3.connect(Path(vault.db_dir, "metadata/catalog.sqlite"))) as db, db:
            db.execute("UPDATE columns SET dtype = 'artifact_string' WHERE name = 'page'")

        assert vault.query("FROM pages LIMIT 1")["page"].tolist() == [f"{folder}/artifacts/ok.txt"]
        with pytest.raises(TVArgumentError, match="leads out of the artifact folder"):
            vault.query("FROM pages")

    def test_as_arrow(self, vault: TableVault) -> None:
        (instance,) = vault.get_table_instances("stories")

        found = vault.query("SELECT id FROM stories ORDER BY id DESC", as_arrow=True)

        assert isinstance(found, pa.Table)
        assert found.column("id").to_pylist() == [3, 2, 1]
        assert found.schema.metadata == {b"instances": f'{{"stories": "{instance}"}}'.encode()}

    def test_of_columns_that_differ_in_capitals_are_refused(self, vault: TableVault) -> None:
        write(vault, "mixed", pd.DataFrame({"a": [1], "A": [2]}))

        with pytest.raises(TVArgumentError, match="has the columns 'a' and 'A', which SQL doesn't tell apart"):
            vault.query("SELECT a FROM mixed")

    def test_may_have_one_name_twice(self, vault: TableVault) -> None:
        found = vault.query("SELECT id AS x, lang AS x FROM stories")

        assert (len(found), next(iter(found.columns))) == (3, "x")

    def test_of_a_table_without_columns_there_are_none(self, vault: TableVault) -> None:
        write(vault, "bare", pd.DataFrame())

        with pytest.raises(TVArgumentError, match=r"^bare has no columns, so there is nothing to ask for\.$"):
            vault.query("FROM bare")

    def test_of_a_table_without_rows(self, vault: TableVault) -> None:
        write(vault, "nothing", STORIES.head(0))

        found = vault.query("FROM nothing")

        assert (len(found), str(found["id"].dtype)) == (0, "Int64")


def test_runs_no_code_of_the_vault(vault: TableVault, tmp_path: Path) -> None:
    code = f"open({str(tmp_path / 'ran')!r}, 'w').close()\ndef rows():\n    yield 1\n"
    begin(vault, "words", {"index": index("n"), "more": column("m", function="rows")}, code=code)

    vault.query("FROM stories")

    assert not (tmp_path / "ran").exists()
