"""What nobody should write into the files of a vault, and what happens when the vault is read all the same.

Each case is tried in a fork with limits on its time and memory. It may succeed, or raise an error of the vault's own.
"""

from __future__ import annotations

import json
import pickle
import random
import resource
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tablevault_like import TableVault
from tablevault_like.errors import TableVaultError
from tests import library
from tests.faults import tracing
from tests.faults.links import READINGS

SECONDS = 20
MEBIBYTES = 700


class Payload:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self._path,)


@dataclass(frozen=True)
class Case:
    """A file of a vault, what is in it, and what is done with the vault."""

    place: str
    kind: str
    content: bytes
    way: str

    def __str__(self) -> str:
        return f"{self.place}: {self.kind}; {self.way}"


JSON_FILES = (
    "words/{made}/manifest.json",
    "words/{made}/provenance/builders.json",
    "words/{made}/provenance/plan.json",
    "metadata/processes/p/pinned/plan.json",
    "metadata/processes/p/pinned/anew.json",
    "metadata/processes/p/worker.lock",
)
YAML_FILES = ("words/{made}/builders/shout.yaml", "words/TEMP_base/builders/shout.yaml", "words/description.yaml")
TABLES = ("words/{made}/table.parquet", "words/{made}/provenance/shout.parquet", "words/TEMP_base/table.parquet")
DATABASES = ("metadata/processes/p/rows.sqlite", "metadata/catalog.sqlite", "metadata/catalog.sqlite-journal")
CODE = ("code_functions/tools.py", "words/{made}/code/tools.py", ".tablevault")

WAYS: Mapping[str, Callable[[TableVault, str, Path], object]] = {
    **READINGS,
    "get_errors": lambda vault, made, _: vault.get_errors(),
    "report": lambda vault, made, folder: vault.report("words", instance_id=made),
    "get_active_processes": lambda vault, made, _: vault.get_active_processes(),
    "get_trash": lambda vault, made, _: vault.get_trash(),
    "quickcheck": lambda vault, made, _: vault.quickcheck(),
}


def pickled(ran: Path) -> bytes:
    return pickle.dumps(Payload(ran))


def jsons(ran: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what JSON can be, and isn't here."""
    yield "nothing", b""
    yield "a pickle", pickled(ran)
    yield "endless depth", b"[" * 200_000
    yield "depth of objects", b'{"files":' * 50_000
    yield "depth that ends", b"[" * 5_000 + b"]" * 5_000
    yield "an endless number", b'{"format": ' + b"9" * 1_000_000 + b"}"
    yield "a number beyond all", b'{"format": 1e999, "files": NaN}'
    yield "a file list of another form", b'{"format": 1, "files": {"table.parquet": [1, 2]}, "builders": 3}'
    yield (
        "names that lead elsewhere",
        json.dumps(
            {"format": 1, "files": {"../../../x": {"sha256": "0", "size": -1}}, "builders": [{"name": "../../../x"}]}
        ).encode(),
    )
    yield "not UTF-8", b'{"format": "\xff\xfe"}'
    yield "half a character", b'{"format": "\\ud800", "\\ud800": 1}'
    yield "NUL", b'{"format": "\\u0000", "builders": [{"name": "\\u0000"}]}'
    for text in ("null", "3", '"text"', "[]", "{}", '{"files": 3}', '{"builders": {}}', "[1", "\ufeff{}"):
        yield f"{text!r}", text.encode()


def yamls(ran: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what YAML can be, and no builder is."""
    yield "a pickle", pickled(ran)
    yield "a tag that runs", f"a: !!python/object/apply:os.mkdir [{ran}]".encode()
    yield "a tag that imports", b"a: !!python/name:os.system"
    yield (
        "laughs",
        b"a: &a [x,x,x,x,x,x,x,x,x]\n"
        + b"".join(
            f"{chr(98 + n)}: &{chr(98 + n)} [{','.join([f'*{chr(97 + n)}'] * 9)}]\n".encode() for n in range(12)
        ),
    )
    yield "a circle", b"a: &a [*a]\n"
    yield "merges", b"a: &a {x: 1}\nb: {<<: *a, <<: *a}\n"
    yield "depth of lists", b"a: " + b"[" * 20_000
    yield "depth of indents", b"".join(b" " * n + b"a:\n" for n in range(1_000))
    yield "a huge scalar", b"a: '" + b"x" * 20_000_000 + b"'"
    yield "a huge number", b"a: " + b"9" * 500_000
    yield "a huge key", b"? " + b"k" * 500_000 + b"\n: 1\n"
    yield "many values", b"a: [" + b"1," * 200_000 + b"]"
    yield "many documents", b"---\na: 1\n" * 20_000
    yield "base 60", b"a: " + b"59:" * 20_000 + b"1"
    yield "a directive", b"%YAML 9.9\n%TAG ! tag:x,2000:\n---\na: !y 1\n"
    yield "not UTF-8", b"a: \xff\xfe\n"
    yield "UTF-16", "a: 1\n".encode("utf-16")
    yield "NUL", b"a: \x00\n"
    yield "control characters", b"a: \x1b[2J\x07\n"
    yield "half a character", b'a: "\\ud800"\n'


def parquets(ran: Path, good: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield what Parquet can be, and no table of ours is."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    def written(table: object) -> bytes:
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        return bytes(sink.getvalue().to_pybytes())

    yield "nothing", b""
    yield "a pickle", pickled(ran)
    yield "a pickle in it", written(pa.table({"word": pa.array([pickled(ran)] * 6)}))
    yield "marks only", b"PAR1PAR1"
    yield "a footer that is too long", b"PAR1" + b"\xff\xff\xff\x7f" + b"PAR1"
    yield "zeros", bytes(100_000)
    yield "cut off", good[:-10]
    yield "many nulls", written(pa.table({"word": pa.nulls(30_000_000, pa.string())}))
    repeated = pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), pa.array(["x" * 100_000]))
    yield "great repetition", written(pa.table({"word": repeated}))
    yield "depth", written(pa.table({"word": pa.array([[[[["a"]]]]])}))
    yield (
        "pandas' own words",
        written(
            pa.table({"word": pa.array([1])}).replace_schema_metadata({b"pandas": b'{"index_columns": ["os.system"]}'})
        ),
    )
    chance = random.Random(1)
    (length,) = struct.unpack("<I", good[-8:-4])
    for number in range(12):
        raw = bytearray(good)
        for _ in range(chance.choice([1, 3, 10])):
            raw[chance.randrange(len(raw) - 8 - length, len(raw) - 8)] = chance.randrange(256)
        yield f"a footer that was changed, {number}", bytes(raw)
    for number in range(20):
        raw = bytearray(good)
        for _ in range(3):
            raw[chance.randrange(4, len(raw) - 8 - length)] = chance.randrange(256)
        yield f"pages that were changed, {number}", bytes(raw)


def others(ran: Path) -> Iterator[tuple[str, bytes]]:
    """Yield what a database is not, and a marker."""
    yield "nothing", b""
    yield "a pickle", pickled(ran)
    yield "zeros", bytes(8192)
    yield "a header and no more", b"SQLite format 3\x00" + bytes(84)
    yield "a header that lies", b"SQLite format 3\x00" + b"\xff" * 5000
    yield "a text", b"hello " * 10_000


def codes(ran: Path) -> Iterator[tuple[str, bytes]]:
    """Yield code that shows that it was run."""
    yield "a pickle", pickled(ran)
    yield "code that writes", f"from pathlib import Path\nPath({str(ran)!r}).touch()\n".encode()
    yield "a coding that runs", f"# coding: unicode_escape\nPath({str(ran)!r}).touch()".encode()
    yield "depth", b"a = " + b"(" * 50_000
    yield "a long line", b"a = " + b"1+" * 500_000 + b"1"
    yield "NUL", b"a = '\x00'"
    yield "control characters", b"\x1b]0;title\x07"


def cases(vault_dir: Path, made: str, ran: Path) -> Iterator[Case]:
    """Yield all cases."""
    good = (vault_dir / "words" / made / "table.parquet").read_bytes()
    kinds = (
        (JSON_FILES, list(jsons(ran))),
        (YAML_FILES, list(yamls(ran))),
        (TABLES, list(parquets(ran, good))),
        (DATABASES, list(others(ran))),
        (CODE, list(codes(ran))),
    )
    for places, contents in kinds:
        for place in places:
            for kind, content in contents:
                for way in WAYS:
                    yield Case(place, kind, content, way)


def tried(case: Case, source: Path, scratch: Path, made: str, ran: Path) -> list[str]:
    """Try a case, and return what violates the rule."""
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(source, scratch)
    path = scratch / "vault" / case.place.format(made=made)
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists():
        path.chmod(0o644)
    path.write_bytes(case.content)

    def go() -> str:
        limit()
        try:
            WAYS[case.way](TableVault(scratch / "vault"), made, scratch)
        except TableVaultError as error:
            return type(error).__name__
        return "returned"

    ending = tracing.aside(go)
    if ran.exists():
        ran.unlink()
        return [f"{case}: it was run"]
    return [] if ending.returned else [f"{case}: {str(ending.error)[-400:]}"]


def limit(*, seconds: int = SECONDS, mebibytes: int = MEBIBYTES) -> None:
    """Let this process, which was forked for it, take no more time and memory than that from now on."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
    resource.setrlimit(resource.RLIMIT_AS, (used + (mebibytes << 20),) * 2)


def pause(vault_dir: Path, made: str) -> None:
    """Let an execution be paused, so that there are files of a process."""
    TableVault(vault_dir).execute_instance("words", process_id="p", budget={"rows": 3})
    assert library.WORDS
