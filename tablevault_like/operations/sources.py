"""Read the text files that a caller hands over: by text, by file, or by folder. The sources are never touched."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.storage import files


def read_sources(
    what: str, suffix: str, name: str | None, *, copy_dir: str | None, text: str | None, template: Callable[[str], str]
) -> dict[str, str]:
    """Return the files that are to be created, as text by name (without suffix).

    ``copy_dir`` is a file or a folder of files; without it ``text`` counts, and without that the template of ``name``.
    ``what`` and ``suffix`` (``"builder"``, ``".yaml"``) are for finding and telling.
    """
    if copy_dir is None:
        if name is None:
            raise TVArgumentError(f"Give the {what}'s name, or copy_dir= to copy it from a file.")
        return {name: template(name) if text is None else text}
    source = Path(copy_dir)
    if source.is_dir():
        if name is not None:
            source = source / f"{name}{suffix}"
            return {name: _read(what, source)}
        found = {path.stem: _read(what, path) for path in sorted(source.glob(f"*{suffix}")) if path.is_file()}
        if not found:
            raise TVArgumentError(f"The folder {copy_dir} holds no {suffix} files, so there is no {what} to copy.")
        return found
    if source.suffix != suffix:
        raise TVArgumentError(f"{copy_dir} is neither a folder nor a {suffix} file, so there is no {what} to copy.")
    return {name or source.stem: _read(what, source)}


def _read(what: str, path: Path) -> str:
    try:
        return files.read_text(path.resolve())
    except FileNotFoundError as error:
        raise TVArgumentError(f"There is no file {path}, so there is no {what} to copy.") from error
    except OSError as error:
        raise TVFileError(f"{path} can't be read: {error.strerror}.", path=path) from error
