"""Read the records of an SQLite file page by page, whatever is wrong with the file.

Nothing is trusted: neither the header, nor which page belongs to which table, nor that a page is what it says. What
can't be read is left out, and what is found may be anything: who calls has to know its records by their checksums.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TypeAlias

Record: TypeAlias = tuple[int | None, list[object]]
"""The rowid of a record, None for one of a table without rowids, and its columns."""

_MAGIC = b"SQLite format 3\0"
_DEFAULT_SIZE = 4096
_HEADER = 100
_INTERIOR_INDEX, _LEAF_INDEX, _LEAF_TABLE = 0x02, 0x0A, 0x0D
_MOST_BYTES = 1 << 30
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}


def records(path: Path) -> Iterator[Record]:
    """Yield every record that is found in the file. Raises OSError if it can't be read at all."""
    with path.open("rb") as file:
        content = file.read()
    size = _page_size(content)
    for start in range(0, len(content), size):
        page = content[start : start + size]
        yield from _records_of(content, page, size, is_first=start == 0)


def _page_size(content: bytes) -> int:
    size = int.from_bytes(content[16:18], "big")
    size = 1 << 16 if size == 1 else size
    is_possible = content.startswith(_MAGIC) and 512 <= size <= 1 << 16 and not size & (size - 1)
    return size if is_possible else _DEFAULT_SIZE


def _records_of(content: bytes, page: bytes, size: int, *, is_first: bool) -> Iterator[Record]:
    head = _HEADER if is_first else 0
    if len(page) < head + 8:
        return
    kind = page[head]
    if kind not in (_INTERIOR_INDEX, _LEAF_INDEX, _LEAF_TABLE):
        return
    (count,) = struct.unpack_from(">H", page, head + 3)
    cells = head + (12 if kind == _INTERIOR_INDEX else 8)
    for place in range(min(count, (len(page) - cells) // 2)):
        (at,) = struct.unpack_from(">H", page, cells + 2 * place)
        try:
            yield _cell(content, page, at + (4 if kind == _INTERIOR_INDEX else 0), size, is_table=kind == _LEAF_TABLE)
        except (IndexError, ValueError, struct.error):
            continue


def _cell(content: bytes, page: bytes, at: int, size: int, *, is_table: bool) -> Record:
    length, at = _varint(page, at)
    rowid: int | None = None
    if is_table:
        rowid, at = _varint(page, at)
        rowid -= 1 << 64 if rowid >= 1 << 63 else 0
    if length > min(len(content), _MOST_BYTES):
        raise ValueError(length)
    most = size - 35 if is_table else (size - 12) * 64 // 255 - 23
    least = (size - 12) * 32 // 255 - 23
    local = length
    if length > most:
        local = least + (length - least) % (size - 4)
        local = local if local <= most else least
    payload = page[at : at + local]
    if local < length:
        payload += _overflow(content, size, int.from_bytes(page[at + local : at + local + 4], "big"), length - local)
    if len(payload) != length:
        raise ValueError("the payload isn't there")
    return rowid, _columns(payload)


def _overflow(content: bytes, size: int, number: int, left: int) -> bytes:
    parts, seen = [], set()
    while left > 0:
        if number < 1 or number in seen:
            raise ValueError("no page")
        seen.add(number)
        page = content[(number - 1) * size : number * size]
        part = page[4 : 4 + min(left, size - 4)]
        if not part:
            raise ValueError("no page")
        parts.append(part)
        left -= len(part)
        number = int.from_bytes(page[:4], "big")
    return b"".join(parts)


def _columns(payload: bytes) -> list[object]:
    end, at = _varint(payload, 0)
    body = end
    found: list[object] = []
    while at < end:
        kind, at = _varint(payload, at)
        value, body = _value(payload, kind, body)
        found.append(value)
    return found


def _value(payload: bytes, kind: int, at: int) -> tuple[object, int]:
    if kind == 0:
        return None, at
    if kind in _INTEGERS:
        end = at + _INTEGERS[kind]
        return int.from_bytes(_part(payload, at, end), "big", signed=True), end
    if kind == 7:
        return struct.unpack(">d", _part(payload, at, at + 8))[0], at + 8
    if kind in (8, 9):
        return kind - 8, at
    if kind < 12:
        raise ValueError(kind)
    end = at + (kind - 12) // 2
    part = _part(payload, at, end)
    return (part.decode() if kind % 2 else part), end


def _part(payload: bytes, at: int, end: int) -> bytes:
    if end > len(payload):
        raise ValueError("the value isn't there")
    return payload[at:end]


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(9):
        byte = data[at + place]
        if place == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + place + 1
    raise AssertionError("unreachable")
