"""What may be on a disk after power is lost, by a model that is weaker than any file system we know.

1. What was not synced may be there or not, each change by itself, in any order.
2. A write may be there in part: it is torn into pieces of a sector or a page.
3. ``fsync`` of a file makes its content durable, its size and its permissions; not its name.
4. ``fsync`` of a folder makes durable which names are in it. A rename between two folders is one change, which is
   there when either of them was synced.
5. A folder that isn't there takes with it all that is in it.

The changes come from a recording (``tests.faults.recording``). After the idea of ALICE (Pillai and others, All File
Systems Are Not Created Equal, OSDI 2014).
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from tests.faults.recording import Change, Link, Make, Mark, Protect, Remove, Rename, Resize, Sync, SyncAll, Write

ROOT = 0
"""The number of the folder that everything lies in."""

_FILE_MODE = 0o644

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True)
class _Named:
    """Names in folders, which are there or not together: (folder, name, number of the file or None)."""

    entries: tuple[tuple[int, str, int | None], ...]

    @property
    def owners(self) -> tuple[int, ...]:
        """Return the files and folders whose sync makes it durable."""
        return tuple(folder for folder, _, _ in self.entries)


@dataclass(frozen=True)
class _Filled:
    """A piece of a file's content, its size, or its permissions."""

    number: int
    change: tuple[int, bytes] | int | None
    mode: int | None = None

    @property
    def owners(self) -> tuple[int, ...]:
        return (self.number,)


@dataclass(frozen=True)
class _Synced:
    number: int | None
    """Which file, or folder; ``None`` for all."""

    def is_of(self, event: _Named | _Filled) -> bool:
        return self.number is None or self.number in event.owners


@dataclass
class Disk:
    """The files below a folder, as they were at first, and everything that happened to them since.

    ``torn`` is the size of the pieces of a write, in bytes.
    """

    base: Path
    root: Path
    torn: int
    _events: list[_Named | _Filled | _Synced] = field(default_factory=list)
    _names: dict[tuple[int, str], int] = field(default_factory=dict)
    _first_names: dict[tuple[int, str], int] = field(default_factory=dict)
    _first_files: dict[int, Path] = field(default_factory=dict)
    _folders: set[int] = field(default_factory=lambda: {ROOT})
    _count: int = ROOT

    def __post_init__(self) -> None:
        for path in sorted(self.base.rglob("*")):
            number = self._new(is_folder=path.is_dir())
            self._names[self._place(self.root / path.relative_to(self.base))] = number
            if path.is_file():
                self._first_files[number] = path
        self._first_names = dict(self._names)

    def __len__(self) -> int:
        """Return how many moments there are at which power may be lost: after so many events."""
        return len(self._events)

    def syncs(self) -> list[int]:
        """Return after how many events something was about to be synced."""
        return [number for number, event in enumerate(self._events) if isinstance(event, _Synced)]

    def happen(self, change: Change) -> None:
        """Let a change happen."""
        match change:
            case Make(path, is_folder):
                self._name(self._place(path), self._new(is_folder=is_folder))
            case Link(old, path):
                self._name(self._place(path), self._number(old))
            case Rename(old, path):
                number, gone, place = self._number(old), self._place(old), self._place(path)
                self._names.pop(gone)
                self._names[place] = number
                self._events.append(_Named(((*gone, None), (*place, number))))
            case Remove(path):
                place = self._place(path)
                self._names.pop(place)
                self._events.append(_Named(((*place, None),)))
            case Write(path, offset, content):
                number = self._number(path)
                for start, piece in _pieces(offset, content, self.torn):
                    self._events.append(_Filled(number, (start, piece)))
            case Resize(path, size):
                self._events.append(_Filled(self._number(path), size))
            case Protect(path, mode):
                self._events.append(_Filled(self._number(path), None, mode))
            case Sync(path):
                self._events.append(_Synced(self._number(path)))
            case SyncAll():
                self._events.append(_Synced(None))
            case Mark():
                pass

    def losses(self, end: int, dice: random.Random, samples: int) -> Iterator[tuple[int, ...]]:
        """Return what may be left of the first ``end`` events: numbers of those that reached the disk.

        Nothing that wasn't synced, all of it, each alone, all but each, and some at random.
        """
        durable, pending = self._durable(end)
        everything = sorted([*durable, *pending])
        yield tuple(durable)
        yield tuple(everything)
        for each in pending:
            yield tuple(sorted([*durable, each]))
            yield tuple(number for number in everything if number != each)
        for _ in range(samples):
            yield tuple(sorted([*durable, *(each for each in pending if dice.random() < 0.5)]))

    def key(self, left: Sequence[int]) -> Key:
        """Return what two losses have in common that leave the same."""
        names = self._names_of(left)
        changed: dict[int, list[int]] = {}
        for number in left:
            event = self._events[number]
            if isinstance(event, _Filled):
                changed.setdefault(event.number, []).append(number)
        reached = self._reached(names)
        return (
            frozenset((place, number) for place, number in names.items() if place[0] in reached),
            frozenset((number, tuple(each)) for number, each in changed.items() if number in reached),
        )

    def write(self, left: Sequence[int], folder: Path) -> None:
        """Write what is left into a new folder."""
        names = self._names_of(left)
        contents: dict[int, bytearray] = {}
        modes: dict[int, int] = {}
        for number in left:
            event = self._events[number]
            if isinstance(event, _Filled):
                content = contents.setdefault(event.number, bytearray(self._first(event.number)))
                _fill(content, event.change)
                if event.mode is not None:
                    modes[event.number] = event.mode
        inside: dict[int, list[tuple[str, int]]] = {}
        for (holder, name), number in names.items():
            inside.setdefault(holder, []).append((name, number))
        written: dict[int, Path] = {}
        todo = [(ROOT, folder)]
        while todo:
            holder, path = todo.pop()
            path.mkdir()
            for name, number in inside.get(holder, []):
                target = path / name
                if number in self._folders:
                    todo.append((number, target))
                elif number in written:
                    target.hardlink_to(written[number])
                else:
                    target.write_bytes(contents[number] if number in contents else self._first(number))
                    first = self._first_files.get(number)
                    target.chmod(modes.get(number, first.stat().st_mode & 0o7777 if first else _FILE_MODE))
                    written[number] = target

    def _durable(self, end: int) -> tuple[list[int], list[int]]:
        """Return which of the first events are on the disk for certain, and which may be."""
        durable, pending = list[int](), dict[int, _Named | _Filled]()
        for number, event in enumerate(self._events[:end]):
            if isinstance(event, _Synced):
                synced = [each for each, waiting in pending.items() if event.is_of(waiting)]
                for each in synced:
                    del pending[each]
                durable += synced
            else:
                pending[number] = event
        return sorted(durable), list(pending)

    def _names_of(self, left: Sequence[int]) -> dict[tuple[int, str], int]:
        names = dict(self._first_names)
        for number in left:
            event = self._events[number]
            if isinstance(event, _Named):
                for holder, name, target in event.entries:
                    if target is None:
                        names.pop((holder, name), None)
                    else:
                        names[holder, name] = target
        return names

    def _reached(self, names: dict[tuple[int, str], int]) -> set[int]:
        """Return the files and folders to which a path leads."""
        inside: dict[int, list[int]] = {}
        for (holder, _), number in names.items():
            inside.setdefault(holder, []).append(number)
        reached, todo = set[int](), [ROOT]
        while todo:
            number = todo.pop()
            if number not in reached:
                reached.add(number)
                todo += inside.get(number, [])
        return reached

    def _first(self, number: int) -> bytes:
        path = self._first_files.get(number)
        return path.read_bytes() if path else b""

    def _new(self, *, is_folder: bool) -> int:
        self._count += 1
        if is_folder:
            self._folders.add(self._count)
        return self._count

    def _name(self, place: tuple[int, str], number: int) -> None:
        self._names[place] = number
        self._events.append(_Named(((*place, number),)))

    def _place(self, path: Path) -> tuple[int, str]:
        return self._number(path.parent), path.name

    def _number(self, path: Path) -> int:
        number = ROOT
        for name in path.relative_to(self.root).parts:
            number = self._names[number, name]
        return number


def _pieces(offset: int, content: bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """Tear a write where the sectors or pages of the file end."""
    start = 0
    while start < len(content):
        end = min(len(content), start + size - (offset + start) % size)
        yield offset + start, content[start:end]
        start = end


def _fill(content: bytearray, change: tuple[int, bytes] | int | None) -> None:
    if isinstance(change, int):
        del content[change:]
        content.extend(bytes(change - len(content)))
    elif change is not None:
        offset, piece = change
        content.extend(bytes(max(0, offset - len(content))))
        content[offset : offset + len(piece)] = piece
