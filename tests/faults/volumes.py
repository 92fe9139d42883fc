"""File systems in images that lose power: what isn't in the image by then is gone, as it would be on a disk.

The power is cut by the file system's own shutdown request, which the test suites of ext4 and XFS use for that. Mounts
belong to a namespace of the worker's own (``seclude``): they and their loop devices vanish with it, however it ends.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum, IntEnum
from functools import cache
from pathlib import Path

_SHUT_DOWN = (2 << 30) | (4 << 16) | (ord("X") << 8) | 125
"""``_IOR('X', 125, __u32)``: ``EXT4_IOC_SHUTDOWN``, ``XFS_IOC_GOINGDOWN``."""

_NEW_MOUNTS, _RECURSIVE, _PRIVATE = 0x20000, 1 << 14, 1 << 18
_PLACES = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Kind(Enum):
    """A file system, and how it journals: its type, what it is made with, what it is mounted with, bytes of its image.

    By default ext4 syncs a file that replaces another one by a rename, which would hide that we forgot to:
    ``noauto_da_alloc`` lets it not.
    """

    ORDERED = ("ext4", "", "data=ordered,noauto_da_alloc", 40 << 20)
    WRITEBACK = ("ext4", "", "data=writeback,noauto_da_alloc", 40 << 20)
    ASYNCHRONOUS = ("ext4", "", "data=writeback,journal_async_commit,noauto_da_alloc", 40 << 20)
    JOURNAL = ("ext4", "", "data=journal,noauto_da_alloc", 40 << 20)
    FAST_COMMIT = ("ext4", "-Ofast_commit", "noauto_da_alloc", 40 << 20)
    XFS = ("xfs", "", "", 320 << 20)

    @property
    def type(self) -> str:
        return str(self.value[0])

    def __str__(self) -> str:
        return f"{self.type} {self.name.lower()}" if self is not Kind.XFS else self.type


class Cut(IntEnum):
    """What becomes of the file system's journal when power is lost."""

    WITH_JOURNAL = 1
    """It was just written: the changes of names and sizes are there, the contents need not be."""
    WITHOUT_JOURNAL = 2
    """Nothing was written that nobody had synced."""


@dataclass(frozen=True)
class Volume:
    """A file system in an image in ``folder``. What ``fill`` makes of it is where every ``refresh`` begins."""

    kind: Kind
    folder: Path

    @property
    def root(self) -> Path:
        """Where it is mounted."""
        return self.folder / "mounted"

    @property
    def _image(self) -> Path:
        return self.folder / "image"

    @property
    def _first(self) -> Path:
        return self.folder / "first"

    def fill(self, make: Callable[[Path], object]) -> None:
        """Make the file system, and let ``make`` put its first files there."""
        self.root.mkdir(parents=True, exist_ok=True)
        with self._first.open("wb") as file:
            file.truncate(self.kind.value[3])
        quiet = {"ext4": ["-q", "-F"], "xfs": ["-q", "-f"]}[self.kind.type]
        _run(f"mkfs.{self.kind.type}", *quiet, *filter(None, [self.kind.value[1]]), self._first)
        self._mount(self._first)
        try:
            make(self.root)
        finally:
            self.unmount()
        # The journal was filled with zeros, which take no time to copy if they are a hole.
        _run("fallocate", "--dig-holes", self._first)

    def refresh(self) -> None:
        """Let everything be as it was at first."""
        if os.path.ismount(self.root):
            self.unmount()
        _run("cp", "--sparse=always", self._first, self._image)
        self._mount(self._image)

    def lose_power(self, cut: Cut) -> None:
        """Let nothing more reach the image. What is in memory goes with the mount."""
        descriptor = os.open(self.root, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.ioctl(descriptor, _SHUT_DOWN, struct.pack("I", cut))
        finally:
            os.close(descriptor)

    def return_power(self) -> None:
        """Mount it again: the file system puts itself right from its journal."""
        self.unmount()
        self._mount(self._image)

    def unmount(self) -> None:
        """Unmount it. Threads of somebody who was killed may still have files open for a moment."""
        until = time.monotonic() + _PATIENCE
        while True:
            try:
                _run("umount", self.root)
                return
            except OSError as error:
                if "busy" not in str(error) or time.monotonic() > until:
                    raise
            time.sleep(0.02)

    def _mount(self, image: Path) -> None:
        options = ",".join(filter(None, ["loop", self.kind.value[2]]))
        _run("mount", "-t", self.kind.type, "-o", options, image, self.root)


_PATIENCE = 10.0
"""How many seconds somebody who was killed may take to end."""


def seclude() -> None:
    """Give this interpreter, and what it starts, mounts of its own."""
    libc = ctypes.CDLL(None, use_errno=True)
    for result in (libc.unshare(_NEW_MOUNTS), libc.mount(b"none", b"/", None, _RECURSIVE | _PRIVATE, None)):
        if result:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


@cache
def missing(kind: Kind) -> str | None:
    """Return why there can be no such volume here, ``None`` if there can."""
    if sys.platform != "linux":
        return "file systems in images need Linux"
    if os.geteuid() != 0:
        return "file systems in images can only be mounted by root"
    for command in (f"mkfs.{kind.type}", "mount", "umount", "fallocate", "cp"):
        if shutil.which(command, path=_PLACES) is None:
            return f"there is no {command} here"
    # In an interpreter of its own, which alone sees the mount.
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    module = [sys.executable, "-m", "tests.faults.volumes", kind.name]
    tried = subprocess.run(module, capture_output=True, text=True, check=False, cwd=root, env=environment)
    return None if tried.returncode == 0 else f"{kind} can't be mounted here: {tried.stderr.splitlines()[-1]}"


def _run(command: str, *arguments: object) -> None:
    place = shutil.which(command, path=_PLACES) or command
    done = subprocess.run([place, *map(str, arguments)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command} {arguments[-1]}: {done.stderr.strip() or done.returncode}")


def _try(kind: Kind) -> None:
    """Let a file that is synced, and one that isn't, lose power."""
    seclude()
    with tempfile.TemporaryDirectory() as folder:
        volume = Volume(kind, Path(folder))
        volume.fill(lambda root: (root / "old").touch())
        volume.refresh()
        try:
            (volume.root / "new").touch()
            volume.lose_power(Cut.WITHOUT_JOURNAL)
            volume.return_power()
            if {path.name for path in volume.root.iterdir()} - {"lost+found"} != {"old"}:
                raise OSError("losing power has no effect")
        finally:
            with suppress(OSError):
                volume.unmount()


if __name__ == "__main__":
    _try(Kind[sys.argv[1]])
