"""Small tables that stand for huge ones, in every place where a stranger's table is read.

They are of a make that this library takes for its own. What reads a part of such a table, or only looks at it, does so
in little memory and time; what needs all of it may be refused for want of memory, by an error of the vault's own.
"""

from __future__ import annotations

import base64
import shutil
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from typer.testing import CliRunner

from tablevault_like import TableVault
from tablevault_like.cli import app
from tablevault_like.errors import TableVaultError
from tablevault_like.storage import tables
from tests.bundles.tapes import Tape
from tests.faults import hostile, tracing

SECONDS, MEBIBYTES = 240, 250
ROWS, GROUPS = 10_000_000, 100
"""How many rows a row group of a bomb has, and how many times the one that is stored counts: a billion rows in all."""

DTYPES = {"page": "artifact_string"}
TABLE, ROW_RESULTS = "table.parquet", "provenance/shout.parquet"


def bomb(row: pa.Table, rows: int, groups: int) -> bytes:
    """Return a file of ``groups * rows`` rows like the one that is given, of which one row group is stored."""
    codes = pa.array(np.zeros(rows, np.int8))
    columns = [
        pa.nulls(rows, each.type) if each.null_count else pa.DictionaryArray.from_arrays(codes, each.combine_chunks())
        for each in row.columns
    ]
    repeated = pa.table(columns, names=row.column_names)
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, repeated.schema, store_schema=False, compression="zstd", data_page_size=1 << 30) as to:
        to.write_table(repeated, row_group_size=rows)
        to.add_key_value_metadata({"ARROW:schema": base64.b64encode(row.schema.serialize().to_pybytes()).decode()})
    raw = sink.getvalue().to_pybytes()
    known = pq.read_metadata(pa.BufferReader(raw))
    for _ in range(groups - 1):
        known.append_row_groups(pq.read_metadata(pa.BufferReader(raw)))
    footer = pa.BufferOutputStream()
    known.write_metadata_file(footer)
    (length,) = struct.unpack("<I", raw[-8:-4])
    return bytes(raw[: -8 - length] + footer.getvalue().to_pybytes()[4:])


def overdeclared(row: pa.Table) -> bytes:
    """Return a file whose first page says that it has two gigabytes when it is unpacked."""
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([row] * 5_000), sink, compression="zstd", use_dictionary=False)
    raw = bytearray(sink.getvalue().to_pybytes())
    column = pq.read_metadata(pa.BufferReader(raw)).row_group(0).column(0)
    start, size = column.data_page_offset, column.total_compressed_size
    # Thrift's compact form: what kind of page, both sizes, and what a page of data has (values, and three encodings).
    header = b"\x15\x00\x15" + _number((2 << 30) - 1) + b"\x15" + _number(size - 40) + b"\x2c\x15" + _number(5_000)
    header += b"\x15\x00\x15\x06\x15\x06\x00\x00"
    raw[start : start + len(header)] = header
    return bytes(raw)


def nested(row: pa.Table, depth: int) -> bytes:
    """Return a file with a column that says that it is one of texts, and is nested."""
    cells = pa.array(["ape"])
    for _ in range(depth):
        cells = pa.ListArray.from_arrays(pa.array([0, 1], pa.int32()), cells)
    sink = pa.BufferOutputStream()
    field = pa.field("word", cells.type, metadata=row.schema.field("word").metadata)
    pq.write_table(pa.table([cells], schema=pa.schema([field])), sink)
    return bytes(sink.getvalue().to_pybytes())


def _number(value: int) -> bytes:
    """Return a number as Thrift's compact form has it."""
    value, found = value << 1, bytearray()
    while value >= 0x80:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def bombs(instance_dir: Path) -> dict[str, tuple[str, bytes]]:
    """Return all bombs: in the place of which file of an instance, and what is in it."""
    row, result = rows_of(instance_dir)
    wide = {name: _widened(row, name) for name in ("word", "page")}
    hashes = _widened(result, "input_hash")
    return {
        "a billion rows": (TABLE, bomb(row, ROWS, GROUPS)),
        "a large cell in many rows": (TABLE, bomb(wide["word"], ROWS // 10, 10)),
        "a large name of an artifact in many rows": (TABLE, bomb(wide["page"], ROWS // 10, 10)),
        "a page that says too much": (TABLE, overdeclared(row)),
        "a column that is nested deeply": (TABLE, nested(row, 40)),
        "a billion rows' results": (ROW_RESULTS, bomb(result, ROWS, GROUPS)),
        "a large hash in many rows": (ROW_RESULTS, bomb(hashes, ROWS // 10, 10)),
    }


def rows_of(instance_dir: Path) -> tuple[pa.Table, pa.Table]:
    """Return a row of an instance's table, and of what is kept of how its rows were made."""
    row = tables.table_from_frame(tables.read_table(instance_dir / TABLE, rows=1), DTYPES)
    return row, tables.table_from_frame(tables.read_table(instance_dir / ROW_RESULTS, rows=1))


def _widened(row: pa.Table, name: str) -> pa.Table:
    place = row.column_names.index(name)
    known = row.schema.field(name)
    return row.set_column(place, known, pa.array([b"x" * 100_000], pa.binary()).cast(known.type))


def _told(*words: str) -> Callable[[TableVault, str], object]:
    def call(vault: TableVault, made: str) -> object:
        done = CliRunner().invoke(app, ["--db-dir", str(vault.db_dir), *(word.format(made=made) for word in words)])
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return done.exit_code

    return call


Way = Callable[[TableVault, str], object]

PARTS: Mapping[str, Way] = {
    "the first rows": lambda vault, made: len(vault.get_dataframe("words", made, rows=5)),
    "the first batch": lambda vault, made: len(next(iter(vault.iter_batches("words", instance_id=made, batch_size=5)))),
    "no row": lambda vault, made: len(vault.get_dataframe("words", made, rows=0)),
    "get_builders_list": lambda vault, made: vault.get_builders_list("words", instance_id=made),
    "get_descriptions": lambda vault, made: vault.get_descriptions(),
    "inspect": lambda vault, made: str(vault.inspect("words", instance_id=made)),
    "report": lambda vault, made: vault.report("words", instance_id=made),
    "quickcheck": lambda vault, made: str(vault.quickcheck()),
    "check": lambda vault, made: str(vault.check()),
    "tvl show": _told("show", "words", "--instance", "{made}"),
    "tvl show --columns": _told("show", "words", "--instance", "{made}", "--columns"),
    "tvl ls": _told("ls", "words"),
    "tvl inspect": _told("inspect", "words", "--instance", "{made}"),
    "tvl check": _told("check"),
}
"""What reads a part, and has to do it."""

WHOLES: Mapping[str, Way] = {
    "get_dataframe": lambda vault, made: len(vault.get_dataframe("words", made)),
    "to_arrow": lambda vault, made: len(vault.to_arrow("words", instance_id=made)),
    "diff": lambda vault, made: str(vault.diff("words", made, "TEMP_base")),
    "diff with itself": lambda vault, made: str(vault.diff("words", made, made)),
    "why": lambda vault, made: str(vault.why("words", 1, "shout", instance_id=made)),
    "plan": lambda vault, made: str(vault.plan("words")),
}
"""What needs all of it, and may be refused."""


IMPORTS = {
    "a billion rows": "all of it",
    "a large cell in many rows": "all of it",
    "a large name of an artifact in many rows": "File name too long",
    "a page that says too much": "all of it",
    "a column that is nested deeply": "its label doesn't tell the columns",
    "a billion rows' results": "all of it",
    "a large hash in many rows": "all of it",
}
"""What comes of an import, by the kind of bomb: what it can't be refused for is valid, and can be large."""


@dataclass(frozen=True)
class Bombs:
    """The bombs, the vault into which they are put, and a bundle of the same instance, in a folder."""

    source: Path
    scratch: Path
    made: str

    def tried(self, kind: str, place: str, content: bytes, way: str) -> list[str]:
        """Read a vault with a bomb in one way, and return what violates the rule."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        shutil.copytree(self.source, self.scratch)
        path = self.scratch / "vault/words" / self.made / place
        path.chmod(0o644)
        path.write_bytes(content)
        may_be_refused = way in WHOLES or kind.startswith(("a page", "a column"))

        def go() -> object:
            hostile.limit(seconds=SECONDS, mebibytes=MEBIBYTES)
            try:
                return str({**PARTS, **WHOLES}[way](TableVault(self.scratch / "vault"), self.made))[:0]
            except TableVaultError:
                if not may_be_refused:
                    raise
            return None

        ending = tracing.aside(go)
        return [] if ending.returned else [f"{way}, {kind}: {ending.code}, {str(ending.error)[-600:]}"]

    def imported(self, kind: str, place: str, content: bytes) -> list[str]:
        """Import a bundle with a bomb, that is sound in all else, and return what violates the rule."""
        shutil.rmtree(self.scratch, ignore_errors=True)
        self.scratch.mkdir()
        tape = Tape.read(self.source / "bundle")
        row, result = rows_of(self.source / "vault/words" / self.made)
        rows, groups = _counts(content)
        for name in [name for name in tape.members if name.endswith(".parquet")]:
            tape.members[name] = content if name == place else bomb(row if name == TABLE else result, rows, groups)
        for name in [name for name in tape.members if name.startswith("artifacts/")]:
            if name != "artifacts/ape.txt":  # which all cells name
                del tape.members[name]
        tape.label["instance"]["rows"] = rows * groups
        tape.edit("manifest.json", lambda manifest: manifest.update(rows=rows * groups))
        bundle = tape.write(self.scratch / "bundle")
        vault = TableVault(self.scratch / "vault", create=True)

        def go() -> object:
            hostile.limit(seconds=SECONDS, mebibytes=MEBIBYTES)
            try:
                vault.import_instance(bundle)
            except TableVaultError as error:
                return str(error)
            return "all of it"

        ending = tracing.aside(go)
        is_as_told = ending.returned and IMPORTS[kind] in ending.value
        return [] if is_as_told else [f"import, {kind}: {ending.value}, {ending.code}, {str(ending.error)[-600:]}"]


def _counts(content: bytes) -> tuple[int, int]:
    """Return how many rows a row group has, and how many row groups there are."""
    known = pq.read_metadata(pa.BufferReader(content))
    return known.row_group(0).num_rows, known.num_row_groups


def attempt_all(source: Path, scratch: Path, cases: Sequence[tuple[str, str]] | None) -> tuple[int, list[str]]:
    """Try all cases (a kind of bomb, and a way of reading it), or those that are named. In a worker that may fork."""
    made = (source / "made").read_text()
    assert tracing.aside(lambda: _prepare(source, made)).value_or_raise() is None
    known = bombs(source / "vault/words" / made)
    bench = Bombs(source, scratch, made)
    every = [(kind, way) for kind in known for way in (*PARTS, *WHOLES, "import_instance")]
    violations = []
    for kind, way in every if cases is None else cases:
        place, content = known[kind]
        if way == "import_instance":
            violations += bench.imported(kind, place, content)
        else:
            violations += bench.tried(kind, place, content, way)
    return len(every if cases is None else cases), violations


def _prepare(source: Path, made: str) -> None:
    TableVault(source / "vault").export_instance("words", made, path=source / "bundle")
    hostile.pause(source / "vault", made)
