"""The members of an archive: a strict part of the tar format, so that any tar can unpack what is packed here.

1. Only regular files and folders are read. A link, a device, a sparse file or a header that says more is refused.
2. No owner is written, and every file has its SHA-256 in a header of its own (``TABLEVAULT.sha256``).
3. Whatever an archive says of itself, no more than a few kilobytes of it are in memory at once.
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

BLOCK = 512
CHUNK = 1 << 20
END = bytes(2 * BLOCK)

_SHA256 = "TABLEVAULT.sha256"
_LONGEST_HEADER = 64 << 10
_RECORD = re.compile(rb"([1-9][0-9]{0,5}) ([^=]{1,100})=", re.DOTALL)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


class Unfit(Exception):  # noqa: N818 - it says why, and becomes an error that says of what
    """Say what is wrong with an archive, in a clause."""


class Source(Protocol):
    """What members are read from."""

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes. Raises Unfit if there are fewer."""


@dataclass(frozen=True, slots=True)
class Member:
    """A file or a folder of an archive. ``name`` is its path in it, ``mode`` its permissions, ``mtime`` in seconds."""

    name: str
    is_folder: bool
    size: int = 0
    mode: int = 0o644
    mtime: int = 0
    sha256: str | None = None


def header(member: Member) -> bytes:
    """Return what stands before the content of a member."""
    found = tarfile.TarInfo(member.name)
    found.type = tarfile.DIRTYPE if member.is_folder else tarfile.REGTYPE
    found.size, found.mode, found.mtime = member.size, member.mode, member.mtime
    if member.sha256 is not None:
        found.pax_headers = {_SHA256: member.sha256}
    return found.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def padding(size: int) -> bytes:
    """Return what stands behind the content of a member."""
    return bytes(-size % BLOCK)


def read(source: Source) -> Iterator[tuple[Member, Iterator[bytes]]]:
    """Yield each member and its content, which has to be used up before the next one is asked for.

    Raises Unfit for what isn't allowed, and for an archive that is damaged or cut off.
    """
    while (member := _read_member(source)) is not None:
        yield member, _content(source, member.size)
        source.read(len(padding(member.size)))


def _content(source: Source, size: int) -> Iterator[bytes]:
    while size:
        chunk = source.read(min(size, CHUNK))
        size -= len(chunk)
        yield chunk


def _read_member(source: Source) -> Member | None:
    found = _read_block(source)
    said: dict[str, str] = {}
    if found is not None and found.type == tarfile.XHDTYPE:
        said = _read_said(source, found.size)
        found = _read_block(source)
        if found is None:
            raise Unfit("it ends behind a header")
    if found is None:
        return None
    name = said.get("path", found.name)
    shown = ascii(name if len(name) <= 100 else name[:97] + "...")
    is_folder = found.type == tarfile.DIRTYPE
    if not is_folder and found.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        kind = _KINDS.get(found.type, f"of the kind {found.type!r}")
        raise Unfit(f"{shown} is {kind}, and only regular files and folders are allowed")
    if any(key.startswith("GNU.sparse") for key in said):
        raise Unfit(f"{shown} is a sparse file, and only regular files and folders are allowed")
    try:
        size = int(said.get("size", found.size))
    except ValueError:
        raise Unfit(f"{shown} has no sensible size") from None
    if size < 0 or (is_folder and size > 0):
        raise Unfit(f"{shown} has no sensible size")
    if is_folder:
        name = name.removesuffix("/")
    mtime = found.mtime if isinstance(found.mtime, int) and 0 <= found.mtime < 1 << 33 else 0
    return Member(name, is_folder, size, found.mode & 0o777, mtime, said.get(_SHA256))


def _read_block(source: Source) -> tarfile.TarInfo | None:
    block = source.read(BLOCK)
    if block == bytes(BLOCK):
        return None
    try:
        return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except (tarfile.HeaderError, ValueError, OverflowError) as error:
        raise Unfit(f"it is no archive, or is damaged ({error})") from None


def _read_said(source: Source, size: int) -> dict[str, str]:
    """Read the header that says more of the next member: lines of ``<length> <key>=<value>``."""
    if not 0 <= size <= _LONGEST_HEADER:
        raise Unfit(f"a header in it has {size:,} bytes")
    raw = source.read(size)
    source.read(len(padding(size)))
    said: dict[str, str] = {}
    while raw:
        found = _RECORD.match(raw)
        length = int(found[1]) if found else 0
        if not found or not found.end() < length <= len(raw) or raw[length - 1 : length] != b"\n":
            raise Unfit("a header in it is damaged")
        key, value = found[2].decode("utf-8", "replace"), raw[found.end() : length - 1]
        said[key] = value.decode("utf-8", "surrogateescape")
        raw = raw[length:]
    return said
