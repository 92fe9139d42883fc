"""Links to outside that are put in the place of what a vault has, and whether anything outside is touched or read.

What stood there is moved outside, and marked there, so that whatever reads it through the link tells it.
"""

from __future__ import annotations

import hashlib
import lzma
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from tablevault_like import TableVault, compress_vault
from tablevault_like.errors import TableVaultError
from tablevault_like.storage import tables
from tests import library

MARK = "canary"
"""What everything outside has in it, and nothing inside."""

PLACES = (
    ".tablevault",
    "code_functions",
    "code_functions/tools.py",
    "metadata",
    "metadata/catalog.sqlite",
    "metadata/catalog.sqlite-journal",
    "metadata/processes",
    "metadata/processes/nightly",
    "metadata/processes/nightly/worker.lock",
    "metadata/processes/nightly/rows.sqlite",
    "metadata/processes/nightly/staging",
    "metadata/processes/nightly/pinned",
    "metadata/processes/nightly/frames",
    "metadata/processes/nightly/bundle",
    "metadata/trash",
    "scores",
    "scores/TEMP_base",
    "scores/TEMP_base/artifacts",
    "words",
    "words/artifacts",
    "words/description.yaml",
    "words/TEMP_base",
    "words/TEMP_base/artifacts",
    "words/TEMP_base/builders",
    "words/TEMP_base/builders/shout.yaml",
    "words/TEMP_base/results",
    "words/TEMP_base/table.parquet",
    "words/{made}",
    "words/{made}/artifacts",
    "words/{made}/artifacts/cat.txt",
    "words/{made}/builders",
    "words/{made}/builders/shout.yaml",
    "words/{made}/code",
    "words/{made}/manifest.json",
    "words/{made}/provenance",
    "words/{made}/table.parquet",
)
"""Where a link may lie, in the library of the tests. Not all of them are there at first."""

Reading: TypeAlias = Callable[[TableVault, str, Path], object]


def _streamed(vault: TableVault, made: str, _: Path) -> object:
    return [batch.to_string() for batch in vault.iter_batches("words", instance_id=made)]


def _artifacts(vault: TableVault, made: str, _: Path) -> object:
    found = Path(vault.get_artifact_folder("words", instance_id=made)).glob("*")
    return [path.read_text() for path in found if not path.is_symlink()]


def _exported(vault: TableVault, made: str, folder: Path) -> object:
    return lzma.decompress(Path(vault.export_instance("words", made, path=folder / "bundle")).read_bytes())


def _archived(vault: TableVault, _: str, folder: Path) -> object:
    return lzma.decompress(Path(compress_vault(vault.db_dir, folder / "archive")).read_bytes())


READINGS: dict[str, Reading] = {
    "get_dataframe": lambda vault, made, _: vault.get_dataframe("words", made).to_string(),
    "get_dataframe of a temporary instance": lambda vault, made, _: vault.get_dataframe("words", "TEMP_base"),
    "to_arrow": lambda vault, made, _: vault.to_arrow("words", instance_id=made),
    "iter_batches": _streamed,
    "query": lambda vault, made, _: vault.query("SELECT * FROM words"),
    "diff": lambda vault, made, _: vault.diff("words", made, "TEMP_base"),
    "get_builder_str": lambda vault, made, _: vault.get_builder_str("words", "shout", instance_id=made),
    "get_builder_str of a temporary instance": lambda vault, made, _: vault.get_builder_str(
        "words", "shout", instance_id="TEMP_base"
    ),
    "get_builders_list": lambda vault, made, _: vault.get_builders_list("words", instance_id=made),
    "get_code_module_str": lambda vault, made, _: vault.get_code_module_str("tools"),
    "get_descriptions": lambda vault, made, _: vault.get_descriptions(),
    "get_artifact_folder": _artifacts,
    "get_file_tree": lambda vault, made, _: str(vault.get_file_tree()),
    "get_process_history": lambda vault, made, _: vault.get_process_history(),
    "inspect": lambda vault, made, _: vault.inspect("words"),
    "why": lambda vault, made, _: vault.why("words", 1, "shout", instance_id=made),
    "plan": lambda vault, made, _: vault.plan("words"),
    "export_instance": _exported,
    "compress_vault": _archived,
}


@dataclass(frozen=True)
class Link:
    """A link to ``outside`` at a place in a vault."""

    vault_dir: Path
    outside: Path
    place: str

    @property
    def path(self) -> Path:
        return self.vault_dir / self.place

    @property
    def aside(self) -> Path:
        """Where that is, in whose place the link is."""
        return self.path.with_name(f"{self.path.name}.aside")

    def put(self) -> None:
        """Put the link in the place of what is there, of which there is a copy outside, that is marked.

        What was there stays in the vault, under another name. Where nothing is, there is a new, empty folder outside.
        """
        target = self.outside / "target"
        self.outside.mkdir()
        (self.outside / "beside").write_text(MARK)
        if self.path.is_dir():
            shutil.copytree(self.path, target, symlinks=True)
        elif self.path.exists():
            shutil.copy2(self.path, target)
        elif self.path.suffix:
            target.write_text(MARK)
        else:
            target.mkdir()
        for path in [target, *target.rglob("*")] if self.path.exists() else []:
            _mark(path, self.path.name)
        if os.path.lexists(self.path):
            self.path.rename(self.aside)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.symlink_to(target)

    def found(self) -> dict[str, tuple[object, ...]]:
        """Return what there is outside."""
        return dict(_listed(self.outside))


def _mark(path: Path, name: str) -> None:
    """Change a file so that it tells where it was read."""
    kind = Path(name if path.name == "target" else path.name).suffix
    if not path.is_file() or path.is_symlink():
        return
    path.chmod(0o644)
    if kind == ".parquet":
        frame = tables.read_table(path)
        for column in frame.columns:
            if str(frame[column].dtype) == "string":
                frame[column] = frame[column] + MARK
        tables.write_table(path, frame)
    elif kind == ".txt":
        path.write_text(MARK)
    elif kind in (".yaml", ".py"):
        path.write_text(f"{path.read_text()}\n# {MARK}\n")


def _listed(folder: Path) -> Iterator[tuple[str, tuple[object, ...]]]:
    for path in sorted(folder.rglob("*")):
        known = path.lstat()
        content = hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""
        yield path.relative_to(folder).as_posix(), (known.st_mode, known.st_mtime_ns, known.st_nlink, content)


def differences(link: Link, before: Mapping[str, object], what: str) -> list[str]:
    """Return what happened to what lies outside."""
    after = link.found()
    changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
    return [f"{what}, {link.place}: changed outside: {', '.join(changed[:5])}"] if changed else []


def result_of(call: Callable[[], object]) -> str:
    """Return all that a call's result tells, or the error that it raised. An error that isn't ours is an error here."""
    try:
        result = call()
    except TableVaultError as error:
        return f"{type(error).__name__}: {error}"
    return result.decode("latin-1") if isinstance(result, bytes) else str(result)


def meddled(link: Link, before: Mapping[str, tuple[object, ...]], what: str) -> list[str]:
    """Return what happened outside that may not happen even while somebody puts links in the way.

    What is opened by its whole path is opened by others: SQLite, filelock, and the functions of a builder. Nothing is
    ever removed, or given other permissions.
    """
    after = link.found()
    changed = {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}
    bad = []
    for name in sorted(changed):
        is_new, is_gone = name not in before, name not in after
        mode = (before if is_gone else after)[name][0]
        if (
            not is_new
            and not is_gone
            and before[name][0] == mode
            and (_is_by_path(name) or stat.S_ISDIR(int(str(mode))))
        ):
            continue
        if is_gone or not is_new or not _is_by_path(name):
            bad.append(name)
    return [f"{what}, {link.place}: changed outside: {', '.join(bad[:5])}"] if bad else []


def _is_by_path(name: str) -> bool:
    path = Path(name)
    is_database = path.name.removesuffix("-journal") in ("catalog.sqlite", "rows.sqlite")
    return is_database or path.name == "worker.lock" or path.suffix == ".txt"


def read(link: Link, name: str, made: str, folder: Path) -> list[str]:
    """Read a vault in one way, and return what violates the rule."""
    before = link.found()
    said = result_of(lambda: READINGS[name](TableVault(link.vault_dir), made, folder))
    problems = differences(link, before, name)
    return [*problems, f"{name}, {link.place}: what lies outside was read"] if MARK in said else problems


def attempted(link: Link, operation: str, made: str, process_id: str) -> list[str]:
    """Attempt an operation, and return what violates the rule."""
    before, what = link.found(), f"{operation} ({process_id or 'unnamed'})"
    said = result_of(lambda: library.attempt(link.vault_dir, operation, made, process_id))
    problems = differences(link, before, what)
    is_read = "Error" not in said and MARK in told(link.vault_dir)
    return [*problems, f"{what}, {link.place}: what lies outside was read"] if is_read else problems


def told(vault_dir: Path) -> str:
    """Return what all regular files of a vault say that are reached without a link."""
    found = []
    for folder, _, names in os.walk(vault_dir):
        paths = [Path(folder, name) for name in names]
        found += [path.read_bytes().decode("latin-1") for path in paths if not path.is_symlink()]
    return "".join(found)
