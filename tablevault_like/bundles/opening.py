"""Open a bundle for an import: unpack it, verify it, and keep its label beside what came out.

::

    <folder>/label.json   the label, and a line with its SHA-256
    <folder>/content/     the files of an instance; complete from the moment that label.json is there

``damage`` tells whether all of that is still what it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tablevault_like.bundles.label import CONTENT, LONGEST, Label, Listed
from tablevault_like.bundles.unpacking import fit, unpack
from tablevault_like.bundles.verification import verify
from tablevault_like.errors import TVFileError
from tablevault_like.layout import InstanceLayout
from tablevault_like.storage import artifacts, files, reach
from tablevault_like.storage.damage import Damage
from tablevault_like.tapes.members import Unfit

LABEL = "label.json"
_SEAL = 65
"""How many bytes the last line has."""


def open_bundle(path: Path, folder: Path, *, max_bytes: int | None = None) -> Label:
    """Unpack and verify a bundle in a folder, in the place of whatever is there, durably, and return its label.

    Raises TVArgumentError if there is no bundle, TVFileError for one that is damaged, or hostile, or if the disk
    refuses. Nothing is left there then.
    """
    files.remove(folder)
    try:
        files.make_directory(folder)
        label = unpack(path, folder / CONTENT, max_bytes=max_bytes)
        place = content(folder)
        with fit(path):
            verify(place, label)
        reach.make_folder(place.artifacts, exist_ok=True)
        files.sync_directory(place.folder)
        files.write_file(folder / LABEL, _sealed(label.to_json()))
        files.sync_directory(folder)
    except OSError as error:
        files.remove(folder)
        if isinstance(error, TVFileError):
            raise
        where = f" ({error.filename})" if error.filename is not None else ""
        raise TVFileError(
            f"{path} can't be imported: {error.strerror or error}{where}. Nothing was imported; mend that and call "
            "again.",
            path=error.filename or path,
        ) from error
    except BaseException:
        files.remove(folder)
        raise
    return label


def kept_label(folder: Path) -> Label:
    """Return the label of a bundle that was opened there. Raises TVFileError if it is gone or damaged."""
    path = folder / LABEL
    try:
        with files.opened(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
            return _unsealed(file.read(LONGEST + _SEAL + 1))
    except (OSError, Unfit) as error:
        raise TVFileError(
            f"{path} can't be read ({error}). Stop the process and import the bundle anew.", path=path
        ) from error


def content(folder: Path) -> InstanceLayout:
    """Return the files of a bundle that was opened there."""
    return InstanceLayout(folder / CONTENT)


def damage(
    folder: Path, identity: str, place: InstanceLayout | None = None, *, contents: bool = True
) -> Iterator[Damage]:
    """Yield what isn't what it was when a bundle of this identity (or one that begins so) was opened there.

    ``place`` is where its files are by now, if they aren't there any more. Without ``contents`` only the sizes of files
    are compared.
    """
    place = place or content(folder)
    try:
        label = kept_label(folder)
    except TVFileError as error:
        why = error.__cause__ or error
        is_missing = isinstance(why, FileNotFoundError)
        yield Damage(folder / LABEL, "the file is missing" if is_missing else f"it isn't what was written ({why})")
        return
    if not label.identity.startswith(identity):
        yield Damage(folder / LABEL, "it is the label of another bundle")
        return
    if not place.folder.is_dir() or place.folder.is_symlink():
        yield Damage(place.folder, "the folder with the files of the bundle is missing")
        return
    yield from _damaged_files(place, label.files, contents=contents)


def _damaged_files(place: InstanceLayout, listed: tuple[Listed, ...], *, contents: bool) -> Iterator[Damage]:
    wanted = {each.name: each for each in listed}
    there = {path.relative_to(place.folder).as_posix() for path in _below(place.folder)}
    draft = artifacts.draft_of(place.artifacts).name  # a worker may have died while it shared files
    for name in sorted(wanted.keys() | there):
        path = place.folder / name
        if name not in there:
            yield Damage(path, _damage_of(path, wanted[name], contents=contents) or "its folder can't be listed")
        elif path.is_symlink() or not path.is_file():
            yield Damage(path, f"it is {'a link' if path.is_symlink() else 'no regular file'}")
        elif name in wanted and (why := _damage_of(path, wanted[name], contents=contents)) is not None:
            yield Damage(path, why)
        elif name not in wanted and name.partition("/")[0] != draft:
            yield Damage(path, "it was not in the bundle")


def _damage_of(path: Path, listed: Listed, *, contents: bool) -> str | None:
    try:
        is_same = path.stat().st_size == listed.size and (not contents or files.sha256(path) == listed.sha256)
    except FileNotFoundError:
        return "the file is missing"
    except OSError as error:
        return f"it can't be read ({error.strerror or error})"
    return None if is_same else "its content isn't what it was"


def _below(folder: Path) -> Iterator[Path]:
    """Yield all that lies below a folder and isn't a folder itself. No link is followed."""
    with suppress(OSError):
        for path in folder.iterdir():
            if path.is_dir() and not path.is_symlink():
                yield from _below(path)
            else:
                yield path


def _sealed(text: bytes) -> bytes:
    return text + f"{hashlib.sha256(text).hexdigest()}\n".encode()


def _unsealed(raw: bytes) -> Label:
    """Return a label that was read. Raises Unfit unless it is what was written."""
    if raw.endswith(b"}\n"):  # there were no seals yet when it was written
        return Label.from_json(raw)
    text = raw[:-_SEAL]
    if _sealed(text) != raw:
        raise Unfit("its checksum is another one")
    return Label.from_json(text)
