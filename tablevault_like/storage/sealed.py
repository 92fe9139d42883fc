"""Small files of JSON that carry a checksum, and have a copy beside them for when they are damaged.

1. A sealed file is one line of JSON, and a line with its SHA-256. What was written before there were seals is the JSON
   alone; it says of itself whether a seal belongs to it.
2. A file is replaced before its copy, by drafts that were synced. One whose writer died in between is what was written
   last, and no damage: whoever goes on with it brings the copy up to it (``settle``).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from typing import Any

from tablevault_like.storage import documents, files
from tablevault_like.storage.damage import Damage, checkpoint_error


def copy_of(path: Path) -> Path:
    """Return where the copy of a sealed file lies."""
    return path.with_name(f"{path.name}.copy")


def write(
    path: Path,
    content: Mapping[str, Any],
    *,
    fenced: Callable[[], AbstractContextManager[object]] = nullcontext,
) -> None:
    """Write a file durably in the place of what there is, in a ``fenced()``, and its copy."""
    settle(path, fenced=fenced)
    text = json.dumps({**content, "is_sealed": True})
    whole = f"{text}\n{_seal(text)}\n"
    draft, draft_of_copy = _draft_of(path), _draft_of(copy_of(path))
    for each in (draft, draft_of_copy):
        files.remove(each)
        files.write_file(each, whole)
    with fenced():
        files.replace(draft, path)
        files.replace(draft_of_copy, copy_of(path))


def settle(path: Path, *, fenced: Callable[[], AbstractContextManager[object]] = nullcontext) -> None:
    """Bring a write to its end, in a ``fenced()``, whose writer died between the file and its copy."""
    if not _draft_of(copy_of(path)).exists():
        return
    with fenced():
        if _is_ahead(path):
            files.replace(_draft_of(copy_of(path)), copy_of(path))
        else:
            files.remove(_draft_of(copy_of(path)))


def read(path: Path, *, process_id: str) -> dict[str, Any]:
    """Read a file, or if that is damaged or missing, its copy.

    Raises FileNotFoundError if there is neither, and TVCheckpointError if both are damaged; or if the file is, and
    nobody can tell any more whether it was ahead of its copy.
    """
    try:
        return _read(path)
    except (OSError, ValueError) as error:
        if not _draft_of(copy_of(path)).exists():
            with suppress(OSError, ValueError):
                return _read(copy_of(path))
        if isinstance(error, FileNotFoundError) and not copy_of(path).exists():
            raise
        raise checkpoint_error(process_id, [Damage(path, f"it isn't what was written ({error})")]) from error


def damage(path: Path) -> list[Damage]:
    """Return what is wrong with a file that should be there, or with its copy."""
    found, contents = list[Damage](), list[dict[str, Any]]()
    for each in (path,) if _is_ahead(path) else (path, copy_of(path)):
        try:
            contents.append(_read(each))
        except FileNotFoundError:
            found.append(Damage(each, "the file is missing"))
        except (OSError, ValueError) as error:
            found.append(Damage(each, f"it isn't what was written ({error})"))
        else:
            if "is_sealed" not in contents[-1]:
                return found  # it was written when there were no copies
    if contents[1:] and contents[0] != contents[1]:
        found.append(Damage(copy_of(path), f"it isn't a copy of {path.name}"))
    return found


def mend(path: Path) -> None:
    """Write a file anew from its copy, or the copy from the file, whichever is damaged. Raises as ``read`` does."""
    content = read(path, process_id=path.parent.parent.name)
    if damage(path):
        write(path, content)


def _draft_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.new")


def _is_ahead(path: Path) -> bool:
    """Tell whether a file was replaced, and its copy wasn't any more."""
    with suppress(OSError):
        return path.read_bytes() == _draft_of(copy_of(path)).read_bytes()
    return False


def _read(path: Path) -> dict[str, Any]:
    if path.is_symlink():
        raise ValueError("it is a link")
    text, _, seal = path.read_bytes().decode().partition("\n")
    content = documents.parsed(text)
    if not isinstance(content, dict):
        raise ValueError("it is no JSON object")
    if (seal or "is_sealed" in content) and seal != f"{_seal(text)}\n":
        raise ValueError("its checksum is another one")
    return content


def _seal(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
