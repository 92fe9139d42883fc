"""Bit flips, truncation, missing and swapped files: ``check`` finds each, and nothing that reads them crashes."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.check.checking import check
from tablevault_like.errors import TVFileError
from tablevault_like.layout import Layout
from tests import library
from tests.faults import tally
from tests.faults.tally import Row
from tests.scenes import Calls

POINTS = 150
ALL_POINTS = 10_000
PROCESS = "paused"


@dataclass(frozen=True)
class Subject:
    """A file that can be damaged. ``is_held`` says that a checksum is recorded of all that it holds."""

    path: Path
    kind: str
    is_held: bool

    @property
    def is_database(self) -> bool:
        return self.path.suffix == ".sqlite"


@pytest.fixture
def vault_dir(tmp_path: Path, calls: Calls) -> Path:
    """Return a vault with instances, artifacts, trash, and a paused process that has rows, frames and artifacts."""
    root = tmp_path / "vault"
    library.make(root)
    vault = TableVault(root, "ada")
    vault.execute_instance("words")
    for _ in range(2):
        vault.write_instance(library.scores(), "scores")
        vault.create_instance("scores", external_edit=True)
    vault.delete_instance(vault.get_table_instances("scores")[0], "scores")
    vault.create_instance("words", copy=True)
    for builder in ("shout", "page", "length"):
        vault.execute_instance("words", process_id=PROCESS, until=builder)
    for path in root.rglob("*"):
        path.chmod(path.stat().st_mode | 0o200)
    return root


def subjects(root: Path) -> list[Subject]:
    """Return every file of a vault."""
    found = []
    for path in sorted(root.rglob("*")):
        if not path.is_file() or path.name == "worker.lock" or path.name.endswith("-journal"):
            continue
        parts = path.relative_to(root).parts
        if parts == ("metadata", "catalog.sqlite"):
            kind, is_held = "catalog", True
        elif parts[:2] == ("metadata", "processes"):
            kind, is_held = f"process {'/'.join(parts[3:4])}", True
        elif len(parts) > 2 and parts[0] in ("words", "scores") and parts[1].startswith("base_"):
            kind, is_held = f"instance {parts[2]}", True
        else:
            kind, is_held = f"other {path.suffix}", False
        found.append(Subject(path, kind, is_held))
    return found


def content(subject: Subject) -> object:
    """Return what a file holds; of a database, not what lies in it and is used for nothing."""
    if not subject.path.exists():
        return None
    if not subject.is_database:
        return subject.path.read_bytes()
    try:
        with closing(sqlite3.connect(f"{subject.path.as_uri()}?mode=ro", uri=True)) as db:
            db.text_factory = bytes
            found = db.execute("SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name").fetchall()
            tables = [name.decode() for kind, name, *_ in found if kind == b"table" and name != b"sqlite_sequence"]
            rows = [db.execute(f"SELECT * FROM {table}").fetchall() for table in tables]
            return found, [sorted(each, key=repr) for each in rows]
    except (sqlite3.Error, UnicodeDecodeError):
        return "unreadable"


def flip(rng: random.Random, content: bytes) -> bytes:
    at = rng.randrange(len(content))
    return content[:at] + bytes([content[at] ^ 1 << rng.randrange(8)]) + content[at + 1 :]


def truncate(rng: random.Random, content: bytes) -> bytes:
    return content[: rng.choice([0, rng.randrange(len(content)), rng.randrange(0, len(content), 512)])]


def zero(rng: random.Random, content: bytes) -> bytes:
    start = rng.randrange(0, len(content), 512)
    end = min(len(content), start + rng.choice([1, 512, 4096]))
    return content[:start] + bytes(end - start) + content[end:]


REWRITES: list[Callable[[random.Random, bytes], bytes]] = [flip, flip, flip, truncate, zero]


@contextmanager
def damaged(rng: random.Random, subject: Subject, others: list[Subject]) -> Iterator[str]:
    """Damage a file, tell how, and put it right afterwards: the very file, not one with the same content."""
    what = rng.choice([*REWRITES, "remove", "swap"])
    other = rng.choice(others) if what == "swap" and others else None
    aside = [(each.path, each.path.read_bytes()) for each in (subject, other) if each is not None]
    before = aside[0][1]
    for path, _ in aside:
        path.rename(_beside(path))
    if other is not None:
        subject.path.write_bytes(aside[1][1])
        other.path.write_bytes(before)
        told = f"swapped with {other.path}"
    elif callable(what) and before:
        subject.path.write_bytes(what(rng, before))
        told = str(getattr(what, "__name__", what))
    else:
        told = "removed"
    try:
        yield told
    finally:
        for path, _ in aside:
            _beside(path).replace(path)


def _beside(path: Path) -> Path:
    """Return where a file is kept meanwhile, outside of the vault."""
    root = next(each for each in path.parents if (each / ".tablevault").exists() or each.name == "vault")
    return root.parent / f"aside {path.relative_to(root).as_posix().replace('/', ' ')}"


def read(vault: TableVault, subject: Subject, told: str, whole: dict[Path, Whole]) -> str | None:
    """Read the table of an instance whose file is damaged, and tell what is wrong with what comes of that."""
    path = subject.path
    try:
        found = vault.get_dataframe(path.parent.parent.name, path.parent.name, full_artifact_path=False)
    except TVFileError as error:
        return None if str(path) in str(error) else f"the error doesn't name the file: {error}"
    # Pages have checksums that are looked at whenever they are read. What describes them has not, so it may be another
    # table that is read; check, which found the damage, holds the whole file to its SHA-256.
    is_right = found.equals(whole[path].frame) or pages_of(path, whole[path].end) == whole[path].pages
    return None if is_right or told.startswith("swapped") else "other values were read"


@dataclass(frozen=True)
class Whole:
    """What the file of a table has: its frame, and its pages, which end where the description of them begins."""

    frame: pd.DataFrame
    end: int
    pages: bytes

    @classmethod
    def of(cls, vault: TableVault, path: Path) -> Whole:
        frame = vault.get_dataframe(path.parent.parent.name, path.parent.name, full_artifact_path=False)
        content = path.read_bytes()
        end = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
        return cls(frame, end, pages_of(path, end))


def pages_of(path: Path, end: int) -> bytes:
    return path.read_bytes()[:end]


def try_all(root: Path, points: int, seed: int) -> tuple[Counter[str], list[str]]:
    layout, vault = Layout(root), TableVault(root, "ada")
    assert [str(each) for each in check(layout, pause=lambda seconds: None)] == []
    files = subjects(root)
    kinds: dict[str, list[Subject]] = {}
    for each in files:
        kinds.setdefault(each.kind, []).append(each)
    tables = [each.path for each in files if each.kind == "instance table.parquet"]
    whole = {path: Whole.of(vault, path) for path in tables}
    before = {each: content(each) for each in files}
    tried, violations = Counter[str](), []
    rng = random.Random(seed)
    for point in range(points):
        subject = rng.choice(kinds[rng.choice(sorted(kinds))])
        others = [each for each in kinds[subject.kind] if each is not subject]
        with damaged(rng, subject, others) as told:
            where = f"point {point}: {subject.path.relative_to(root)} {told}"
            tried[subject.kind] += 1
            try:
                report = check(layout, pause=lambda seconds: None)
                is_found = any(True for _ in report)
            except Exception as error:
                violations.append(f"{where}: check raised {error!r}")
                continue
            if subject.is_held and not is_found and content(subject) != before[subject]:
                violations.append(f"{where}: not found")
            if subject.path in whole and (wrong := read(vault, subject, told, whole)):
                violations.append(f"{where}: {wrong}")
    assert [str(each) for each in check(layout, pause=lambda seconds: None)] == []
    return tried, violations


def test_a_sample(vault_dir: Path) -> None:
    tried, violations = try_all(vault_dir, POINTS, seed=11)

    tally.add(Row.DAMAGE, sum(tried.values()), violations)
    assert violations == []
    assert {"catalog", "process rows.sqlite", "process pinned", "process frames", "process staging"} <= tried.keys()
    assert {"instance table.parquet", "instance manifest.json", "instance artifacts"} <= tried.keys()


@pytest.mark.full
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("part", range(10))
def test_all(vault_dir: Path, part: int) -> None:
    tried, violations = try_all(vault_dir, ALL_POINTS // 10, seed=100 + part)

    tally.add(Row.DAMAGE, sum(tried.values()), violations)
    assert violations == []
