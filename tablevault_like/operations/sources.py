"""Read the files that a caller hands over: by text, by file, or by folder. The sources are never touched."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import files

INIT = "__init__.py"
PACKAGE_LIMIT = 16 << 20
"""How many bytes a package may hold: it is copied into every instance that needs it."""

_LOOKALIKES: Mapping[str, str] = {".yaml": ".yml"}
"""A suffix that is easily taken for another, which isn't looked for."""


def read_sources(
    what: str,
    suffix: str,
    name: str | None,
    *,
    copy_dir: str | os.PathLike[str] | None,
    text: str | None,
    template: Callable[[str], str],
) -> dict[str, str]:
    """Return the files that are to be created, as text by name (without suffix).

    They come from ``copy_dir`` (a file, or a folder of files) or from ``text``, and without either the template of
    ``name`` does. ``what`` and ``suffix`` (``"builder"``, ``".yaml"``) are for finding and telling.
    """
    if copy_dir is not None and text is not None:
        raise TVArgumentError(f"Give the {what} as text=, or where it lies as copy_dir=, not both.")
    if copy_dir is None:
        if name is None:
            raise TVArgumentError(f"Give the {what}'s name, or copy_dir= to copy it from a file.")
        return {name: template(name) if text is None else text}
    source = Path(copy_dir)
    if source.is_dir():
        if name is not None:
            source = source / f"{name}{suffix}"
            return {name: _read(what, source)}
        _refuse_lookalikes(what, suffix, source)
        found = {path.stem: _read(what, path) for path in sorted(source.glob(f"*{suffix}")) if path.is_file()}
        if not found:
            raise TVArgumentError(f"The folder {copy_dir} holds no {suffix} files, so there is no {what} to copy.")
        return found
    if source.suffix != suffix:
        raise TVArgumentError(f"{copy_dir} is neither a folder nor a {suffix} file, so there is no {what} to copy.")
    return {name or source.stem: _read(what, source)}


def packages_in(folder: Path) -> dict[str, Path]:
    """Return the packages that lie directly in ``folder``: folders with an ``__init__.py``, by name."""
    found = (entry for entry in sorted(folder.iterdir()) if not entry.name.startswith("."))
    return {entry.name: entry for entry in found if (entry / INIT).is_file()}


def read_package(folder: Path) -> dict[str, bytes]:
    """Return the files of a package by their path in it; those that are hidden, and what Python compiled, are left out.

    Raises TVFileError for what can't be read or isn't a file, TVArgumentError for a package that is too large.
    """
    found: dict[str, bytes] = {}
    size = 0
    pending = [folder]
    while pending:
        for path in sorted(pending.pop().iterdir()):
            if path.name.startswith(".") or path.name == "__pycache__" or path.suffix == ".pyc":
                continue
            if path.is_dir() and not path.is_symlink():
                pending.append(path)
                continue
            if not path.is_file():
                raise TVFileError(f"{path} is neither a file nor a folder, so the package was not copied.", path=path)
            size += path.stat().st_size
            if size > PACKAGE_LIMIT:
                raise TVArgumentError(
                    f"The package {folder} holds more than {PACKAGE_LIMIT >> 20} MB, which would be copied into every "
                    "instance. Keep its data elsewhere, and pass its path or a <<reference>> as an argument."
                )
            found[path.relative_to(folder).as_posix()] = _read_bytes(path)
    return found


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TVFileError(f"{path} can't be read: {error.strerror}.", path=path) from error


def _refuse_lookalikes(what: str, suffix: str, folder: Path) -> None:
    """Raise TVArgumentError if a folder holds files that would be skipped although they are meant."""
    other = _LOOKALIKES.get(suffix)
    skipped = sorted(path.name for path in folder.glob(f"*{other}")) if other else []
    if skipped:
        raise TVArgumentError(
            f"{', '.join(skipped)} in the folder {folder} would be skipped: the name of a {what} file ends in "
            f"{suffix}. Rename it, or take it out of the folder."
        )


def _read(what: str, path: Path) -> str:
    try:
        return files.read_text(path.resolve())
    except FileNotFoundError as error:
        raise TVArgumentError(f"There is no file {path}, so there is no {what} to copy.") from error
    except OSError as error:
        raise TVFileError(f"{path} can't be read: {error.strerror}.", path=path) from error
