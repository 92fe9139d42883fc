"""Artifacts: the files that cells of dtype ``artifact_string`` name, relative to an artifact folder.

1. A cell leads to a regular file inside the folder, or it is refused: no absolute path, no ``..``, no link in any part.
2. In a finished instance cells and files match: every cell has its file, every file (hidden ones aside) a cell.
3. An artifact is on the disk before the row that names it is recorded, as a file of its own: what has other names, by
   hard links, becomes a copy, so that nobody can write to it through them.
4. Files are kept by content: what an earlier instance has takes no disk space again, where the file system allows that.
5. Nobody may do more with them, and with their folders, than the umask lets them.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like.errors import TVArtifactError
from tablevault_like.layout import InstanceLayout
from tablevault_like.storage import files, links, manifests

if TYPE_CHECKING:
    import pandas as pd

_SHOWN = 5

_FOLDER = "~ARTIFACT_FOLDER~"
_WRITE_IT = f"Write it into {_FOLDER}, the artifact folder of the instance, first."

# What no artifact name has: an empty part, ".", "..", a leading or trailing slash, a NUL.
_UNSAFE = re.compile(r"(^|/)\.{0,2}(/|\Z)|\x00")


def resolve(folder: Path, name: str) -> Path:
    """Return the path of the artifact ``name`` in ``folder``.

    Raises TVArtifactError unless it is a regular file below ``folder`` that is reached without following a link.
    """
    refused = _refusal(folder, name)
    if refused is not None:
        raise refused.error()
    return folder / name


def check_artifacts(
    frame: pd.DataFrame,
    artifact_columns: Sequence[str],
    folder: Path,
    *,
    source: Path | None = None,
    is_kept: bool = True,
    missing: str | None = None,
) -> None:
    """Raise TVArtifactError unless the cells of ``artifact_columns`` and the files in ``folder`` match.

    A missing cell names nothing. Several cells may name the same file. Without any, the folder needn't exist. What
    people have put there lies in ``source``, from which it was copied. For the message: ``is_kept`` tells whether the
    folder will still be there when somebody reads it, and ``missing`` what to do about a file that isn't there; without
    it the names are what a function has returned.
    """
    found = dict(_walk(folder, ""))
    named: set[str] = set()
    problems: list[str] = []
    mends: dict[str, None] = {}
    for column in artifact_columns:
        for row, name in _names(frame[column]):
            if not found.get(name):
                refused = _refusal(folder, name, source=source, missing=missing)
                if refused is not None:
                    problems.append(f"row {row} of column {column!r}: {refused.what}")
                    mends.setdefault(refused.mend)
            named.add(name)
    if problems:
        told = _listed(f"{_counted(len(problems), 'artifact cell')} without a usable file", problems)
        raise TVArtifactError(" ".join([told, *filter(None, list(mends)[:_SHOWN])]))
    extra = [name for name in found if name not in named and not _is_hidden(name)]
    if extra:
        where: Path | str = folder if is_kept else _FOLDER
        if source is not None and any((source / name).exists() for name in extra):
            where = source
        raise TVArtifactError(
            _listed(f"{_counted(len(extra), 'file')} in {where} that no artifact cell names", map(repr, sorted(extra)))
            + " Name them in a column of dtype artifact_string, remove them, or let their names begin with a dot."
        )


def remove_strays(folder: Path, *, named: Callable[[], Collection[str]], source: Path | None = None) -> None:
    """Remove the files in ``folder`` that are neither ``named`` nor in ``source``, hidden ones aside.

    ``named`` is called only if there is anything to ask about.
    """
    found = [name for name, _ in _walk(folder, "") if not _is_hidden(name)]
    if source is not None:
        found = [name for name in found if not os.path.lexists(source / name)]
    kept = named() if found else ()
    for name in found:
        if name not in kept:
            files.remove(folder / name)


def sync_artifacts(folder: Path, names: Iterable[str]) -> None:
    """Put the named files, each as one of its own, and the folders that lead to them, on the disk.

    Raises TVArtifactError for a name that ``resolve`` refuses; nothing may be recorded of its row then. Nobody else may
    use ``draft_of(folder)`` meanwhile.
    """
    folders: set[Path] = set()
    for name in dict.fromkeys(names):
        path = resolve(folder, name)
        if path.lstat().st_nlink > 1:
            with files.opened(path) as reader:
                links.separate(reader, path, draft=draft_of(folder))
        else:
            files.sync_file(path)
        while path != folder:
            path = path.parent
            folders.add(path)
    for path in sorted(folders, key=lambda each: len(each.parts), reverse=True):
        files.sync_directory(path)


def take_over(names: Iterable[str], source: Path, target: Path) -> dict[str, str]:
    """Copy artifacts from one folder to another, synced. What is there already under its name must be the same.

    Return the SHA-256 of each by its name. Raises TVArtifactError for a name that another file has there, and for what
    ``resolve`` refuses.
    """
    taken: dict[str, str] = {}
    for name in dict.fromkeys(names):
        original, copy = resolve(source, name), target / _checked(name)
        if os.path.lexists(copy):
            taken[name] = files.sha256(original)
            if files.sha256(resolve(target, name)) != taken[name]:
                raise TVArtifactError(
                    f"The artifact {_shown(name)} of a row that is kept from the origin was written anew, with another "
                    "content, for another row. Give the new one another name."
                )
            continue
        files.make_directory(copy.parent)
        draft = draft_of(target)
        files.remove(draft)
        taken[name] = files.copy_file(original, draft)
        files.replace(draft, copy)
    return taken


def has_any(folder: Path | None) -> bool:
    """Tell whether anything lies in an artifact folder, which needn't be there."""
    if folder is None:
        return False
    try:
        with os.scandir(folder) as found:
            return next(found, None) is not None
    except (FileNotFoundError, NotADirectoryError):
        return False


def keep_by_content(
    folder: Path, earlier: Iterable[InstanceLayout], *, digests: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Let the files in ``folder`` share the disk space of those in earlier instances, and return the SHA-256 of each.

    First each becomes a file of its own, and it and the folders lose the permissions that the umask forbids. Nobody may
    write to the folder any more. ``digests`` are of files that were read already, by name. A file that can't be shared
    stays as it is. The caller syncs the folder.
    """
    draft = draft_of(folder)
    mode = files.new_folder_mode(draft)
    files.narrow_folders(folder, mode)
    known: dict[tuple[str, int], Path] | None = None
    found = {}
    for name, file in files.open_files(folder):
        path, size = folder / name, os.fstat(file).st_size
        if os.fstat(file).st_nlink > 1:
            digest = links.separate(file, path, draft=draft)
            size = path.lstat().st_size
        else:
            files.narrow(file, mode)
            digest = (digests or {}).get(name) or files.sha256(file)
        found[name] = digest
        if known is None:
            known = _by_content(earlier)
        original = known.get((digest, size))
        if original is not None:
            links.share(original, path, sha256=digest, draft=draft)
    return found


def _by_content(instances: Iterable[InstanceLayout]) -> dict[tuple[str, int], Path]:
    known: dict[tuple[str, int], Path] = {}
    for place in instances:
        try:
            listed = manifests.contents(place.manifest, place.artifacts.name)
        except (OSError, ValueError):  # it was deleted meanwhile, or is damaged: then it gives nothing
            continue
        for name, content in listed.items():
            known.setdefault(content, place.artifacts / name)
    return known


def draft_of(folder: Path) -> Path:
    """Return the path beside an artifact folder at which a file of it is prepared."""
    return folder.with_name(f"{folder.name}.new")


def stored_name(value: object, folder: Path) -> object:
    """Return the name of an artifact that is given by the path which ``absolute_paths`` shows; others as they are."""
    return value.removeprefix(_base(folder)) if isinstance(value, str) else value


def absolute_paths(frame: pd.DataFrame, columns: Iterable[str], folder: Path) -> pd.DataFrame:
    """Return the frame with the cells of ``columns`` as absolute paths. Missing cells stay missing.

    Raises TVArtifactError for a name that would lead out of ``folder``. The files themselves are not looked at.
    """
    base = _base(folder)
    shown = frame
    for column in columns:
        for _, name in _names(frame[column]):
            _checked(name)
        shown = frame.copy(deep=False) if shown is frame else shown  # assign takes no column that is named "self"
        shown[column] = base + frame[column].astype("string")
    return shown


def _base(folder: Path) -> str:
    """Return what comes before an artifact's name in its absolute path."""
    return f"{os.path.abspath(folder)}/"  # noqa: PTH100 - a folder that is reached through a link keeps its name


def _checked(name: str) -> str:
    if _UNSAFE.search(name):
        raise _not_allowed(name).error()
    return name


@dataclass(frozen=True, slots=True)
class _Refused:
    """Why a name leads to no artifact, and what to do about it."""

    what: str
    mend: str
    cause: OSError | ValueError | None = None

    def error(self) -> TVArtifactError:
        error = TVArtifactError(f"{self.what} {self.mend}".rstrip())
        error.__cause__ = self.cause
        return error


def _refusal(folder: Path, name: str, *, source: Path | None = None, missing: str | None = None) -> _Refused | None:
    """Return what is wrong with the artifact ``name`` in ``folder``, ``None`` if it can be used."""
    if _UNSAFE.search(name):
        return _not_allowed(name, [folder, source], is_returned=missing is None)
    parts = name.split("/")
    for length in range(1, len(parts)):
        refused = _wrong_kind(folder.joinpath(*parts[:length]), name, is_folder=True, missing=missing)
        if refused is not None:
            return refused
    return _wrong_kind(folder / name, name, is_folder=False, missing=missing)


def _not_allowed(name: str, folders: Iterable[Path | None] = (), *, is_returned: bool = True) -> _Refused:
    where = _FOLDER if is_returned else "the artifact folder of the instance"
    what = f"The artifact name {_shown(name)} is not allowed: it must be the path of a file relative to {where}"
    for folder in folders:
        inside = name if folder is None else name.removeprefix(_base(folder))
        if inside != name and not _UNSAFE.search(inside):
            return _Refused(f"{what}.", f"{'Return' if is_returned else 'Write'} {_shown(inside)}.")
    return _Refused(f"{what}, with '/' between its parts and without '.' and '..'.", "")


def _wrong_kind(path: Path, name: str, *, is_folder: bool, missing: str | None) -> _Refused | None:
    try:
        mode = path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return _Refused(f"The artifact {_shown(name)} doesn't exist.", missing or _WRITE_IT)
    except (OSError, ValueError) as error:  # a name that is too long, or that the file system can't hold
        why = error.strerror if isinstance(error, OSError) else error
        return _Refused(f"The artifact {_shown(name)} can't be found: {why}.", "Give it another name.", error)
    if stat.S_ISLNK(mode):
        return _Refused(f"The artifact {_shown(name)} is a link, or behind one.", "Copy the file itself there.")
    if not (stat.S_ISDIR(mode) if is_folder else stat.S_ISREG(mode)):
        return _Refused(f"The artifact {_shown(name)} is not a regular file.", "Give the name of a file.")
    return None


def _names(cells: pd.Series[str]) -> Iterator[tuple[int, str]]:
    """Yield position and content of every cell that isn't missing."""
    present = cells.notna().to_numpy()
    for row, (name, is_present) in enumerate(zip(cells.tolist(), present.tolist(), strict=True)):
        if is_present:
            if not isinstance(name, str):
                raise TVArtifactError(
                    f"Row {row} of column {cells.name!r} holds a {type(name).__name__}. An artifact_string cell is the "
                    "name of a file in ~ARTIFACT_FOLDER~, or missing."
                )
            yield row, name


def _walk(folder: Path | str, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield the relative name of everything below ``folder`` but folders, and whether it is a regular file."""
    try:
        with os.scandir(folder) as entries:
            found = list(entries)
    except FileNotFoundError:
        return
    for entry in found:
        name = prefix + entry.name
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{name}/")
        else:
            yield name, entry.is_file(follow_symlinks=False)


def _is_hidden(name: str) -> bool:
    return any(part.startswith(".") for part in name.split("/"))


def _listed(what: str, items: Iterable[str]) -> str:
    listed = [item.removesuffix(".") for item in items]
    more = f"; and {len(listed) - _SHOWN} more" if len(listed) > _SHOWN else ""
    return f"There {'is' if len(listed) == 1 else 'are'} {what}: {'; '.join(listed[:_SHOWN])}{more}."


def _counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _shown(name: str) -> str:
    return repr(name if len(name) <= 100 else f"{name[:97]}...")
