"""Network file systems: where locks can't be relied on, and other machines may be at work.

1. The kernel's mount table tells the kind of a file system; where it can't be read, the file system itself does.
2. What is known to lie on a network, or to be shared with another machine, is refused unless that is allowed: by an
   argument, or for all vaults by ``TABLEVAULT_ALLOW_NETWORK_FS=1``.
"""

from __future__ import annotations

import ctypes
import os
import re
import sys
from pathlib import Path

from tablevault_like.errors import TVFileError

VARIABLE = "TABLEVAULT_ALLOW_NETWORK_FS"

_MOUNTS = Path("/proc/self/mountinfo")

_KINDS = frozenset(
    {
        "9p",
        "acfs",
        "afs",
        "beegfs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "davfs2",
        "fhgfs",
        "gfs",
        "gfs2",
        "glusterfs",
        "gpfs",
        "lustre",
        "mapr",
        "ncpfs",
        "nfs",
        "nfs3",
        "nfs4",
        "ocfs2",
        "orangefs",
        "panfs",
        "prl_fs",
        "pvfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "virtiofs",
        "vmhgfs",
        "wekafs",
    }
)
"""What the kernel calls them. Those of virtual machines are among them: the host is another machine."""

_LOCAL_FUSE = frozenset(
    {
        "bindfs",
        "cryfs",
        "encfs",
        "exfat",
        "exfat-fuse",
        "ext2",
        "fuse-overlayfs",
        "fuse2fs",
        "gocryptfs",
        "lxcfs",
        "mergerfs",
        "ntfs",
        "ntfs-3g",
        "portal",
        "snapfuse",
        "squashfuse",
        "unionfs",
        "vdfuse",
        "veracrypt",
        "zfs",
    }
)
"""What runs as a program of the user's (``fuse.<name>``), and is known to keep its files on this machine."""

_NUMBERS = {
    0x6969: "nfs",
    0x517B: "smbfs",
    0xFE534D42: "smb2",
    0xFF534D42: "cifs",
    0x5346414F: "afs",
    0x6B414653: "afs",
    0x00C36400: "ceph",
    0x01021997: "9p",
    0x0BD00BD0: "lustre",
    0x47504653: "gpfs",
    0x19830326: "beegfs",
    0x73757245: "coda",
    0x7461636F: "ocfs2",
    0x01161970: "gfs2",
    0x20030528: "orangefs",
    0x786F4256: "vboxsf",
    0x6A656A63: "virtiofs",
    0xAAD7AAEA: "panfs",
    0xBACBACBC: "vmhgfs",
    0x564C: "ncpfs",
}
"""What ``statfs`` calls them (linux/magic.h, and their own sources)."""

_ESCAPE = re.compile(rb"\\([0-7]{3})")


_OF_A_VAULT = (
    "Move the vault to a local disk. If only one machine ever uses it, allow it with allow_network=True, with "
    f"tvl --allow-network, or with {VARIABLE}=1."
)


def check(path: Path, *, what: Path, is_allowed: bool, ways: str = _OF_A_VAULT) -> None:
    """Raise TVFileError if ``path`` lies on a network file system, unless that is allowed.

    ``what`` lies there, and ``ways`` are what can be done about it, for the message.
    """
    if is_allowed or os.environ.get(VARIABLE) == "1":
        return
    kind = kind_of(path)
    if kind is not None:
        raise TVFileError(
            f"{what} lies on a network file system ({kind}), where locks can't be relied on: two machines could work "
            f"on it at once, and damage it. {ways}",
            path=what,
        )


def kind_of(path: Path) -> str | None:
    """Return the kind of the file system that holds ``path`` if it is a network one; None for others, and if unknown.

    ``path`` needn't be there.
    """
    resolved = path.resolve()
    try:
        mounts = _MOUNTS.read_bytes()
    except OSError:
        return _kind_by_number(resolved)
    kind = _kind_in(mounts, os.fsencode(resolved))
    return kind if _is_network(kind) else None


def _kind_in(mounts: bytes, path: bytes) -> str:
    """Return the kind of the file system of the mount that is nearest above a path; of two, of the later one."""
    best, kind = b"", ""
    for line in mounts.splitlines():
        left, _, right = line.partition(b" - ")
        fields = left.split(b" ")
        if len(fields) < 5 or not right:
            continue
        point = _ESCAPE.sub(lambda found: bytes([int(found[1], 8) & 0xFF]), fields[4])
        is_above = path == point or path.startswith(point.rstrip(b"/") + b"/")
        if is_above and len(point) >= len(best):
            best, kind = point, right.split(b" ", 1)[0].decode("ascii", "replace")
    return kind


def _is_network(kind: str) -> bool:
    """Tell whether a kind is one of a network. What runs as a program is one, unless it is known not to be."""
    program = kind.removeprefix("fuse.")
    return kind in _KINDS or (program != kind and program not in _LOCAL_FUSE)


def _kind_by_number(path: Path) -> str | None:
    """Return the kind of a network file system as ``statfs`` tells it."""
    if not sys.platform.startswith("linux"):
        return None
    while not path.exists() and path != path.parent:
        path = path.parent
    found = ctypes.create_string_buffer(256)  # begins with f_type, of the width of a machine word
    if ctypes.CDLL(None, use_errno=True).statfs(os.fsencode(path), found) != 0:
        return None
    return _NUMBERS.get(ctypes.c_long.from_buffer(found).value & 0xFFFFFFFF)
