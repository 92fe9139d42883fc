"""What is different between the builder files and the code of two instances, as text."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence

from tablevault_like.builders.changes import field_differences
from tablevault_like.builders.spec import RawBuilder, read_builder
from tablevault_like.errors import TableVaultError


def builder_differences(old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """Yield what is different, a line for each field. Builders are given by name, as the texts of their files."""
    for name in sorted(old.keys() | new.keys()):
        if name not in old:
            yield f"builder {name!r} is new"
        elif name not in new:
            yield f"builder {name!r} was removed"
        elif old[name] != new[name]:
            before, after = read(old[name], name), read(new[name], name)
            if before is None or after is None:
                yield f"builder {name!r}: its file differs, and can't be read as a builder"
            else:
                yield from (f"builder {name!r}: {line}" for line in field_differences(before.fields, after.fields))


def read(text: str, name: str) -> RawBuilder | None:
    """Return what a builder file says; None if that can't be understood."""
    try:
        return read_builder(text, name)
    except TableVaultError:
        return None


def code_difference(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> str:
    """Return a unified diff of files, given by name."""
    return "".join(
        line
        for name in sorted(old.keys() | new.keys())
        if old.get(name) != new.get(name)
        for line in _unified(name, old.get(name), new.get(name))
    )


def input_differences(old: Sequence[tuple[str, str]], new: Sequence[tuple[str, str]]) -> Iterator[str]:
    """Yield what is different about the instances that two were made from, as pairs of table and instance id."""
    for table in sorted({table for table, _ in (*old, *new)}):
        before = sorted(instance for each, instance in old if each == table)
        after = sorted(instance for each, instance in new if each == table)
        if before == after:
            continue
        if not before:
            yield f"{table} is new: {', '.join(after)}"
        elif not after:
            yield f"{table} is no longer read, it was {', '.join(before)}"
        else:
            yield f"{table} is now {', '.join(after)}, it was {', '.join(before)}"


def _unified(name: str, old: bytes | None, new: bytes | None) -> Iterator[str]:
    before, after = _lines(old), _lines(new)
    if before is None or after is None:
        yield f"Binary files a/{name} and b/{name} differ\n"
        return
    names = ("/dev/null" if old is None else f"a/{name}", "/dev/null" if new is None else f"b/{name}")
    if not before and not after:  # a file without a line was made or removed
        yield f"--- {names[0]}\n+++ {names[1]}\n"
    for line in difflib.unified_diff(before, after, *names):
        yield line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _lines(content: bytes | None) -> list[str] | None:
    """Return the lines of a text; None for what is none."""
    if content is None:
        return []
    try:
        return content.decode().splitlines(keepends=True)
    except UnicodeDecodeError:
        return None
