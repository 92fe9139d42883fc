"""Names that TableVault 0.1 allows and this library doesn't, and the names that they get instead.

A name that may stay stays. Of the others each gets the nearest one that is free, the same wherever it is used.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from tablevault_like.errors import TVArgumentError
from tablevault_like.model import TEMP_PREFIX, check_builder_name, check_module_name, check_table_name, check_version

_LENGTH = 80
_PROCESS_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
_REFERENCE = re.compile(r"(?P<open>(?<!\\)<<\s*)(?P<table>[A-Za-z0-9_-]+)(?P<version>\s*\(\s*[^()<>]*?\s*\))?")


@dataclass(frozen=True)
class Names:
    """The names of everything in the new vault, by the names that they have in the old one."""

    tables: Mapping[str, str]
    versions: Mapping[str, str]
    modules: Mapping[str, str]

    @classmethod
    def of(cls, *, tables: Iterable[str], versions: Iterable[str], modules: Iterable[str]) -> Names:
        """Choose the names. What comes first keeps its name rather than what comes later."""
        return cls(
            chosen(tables, check_table_name),
            chosen(versions, check_version, joint="-"),
            chosen(modules, check_module_name, joint="_"),
        )

    def instance_id(self, old: str) -> str:
        """Return the id of an instance: ``v1.0_1700000000_<uuid>`` becomes ``v1-0_1700000000_<uuid>``."""
        if old.startswith(TEMP_PREFIX):
            return TEMP_PREFIX + self.version(old.removeprefix(TEMP_PREFIX))
        version, mark, rest = old.partition("_")
        return self.version(version) + mark + rest

    def table(self, old: str) -> str:
        return self.tables.get(old, old)

    def version(self, old: str) -> str:
        return self.versions.get(old, old)

    def module(self, old: str) -> str:
        return self.modules.get(old, old)

    def in_references(self, text: str) -> str:
        """Return a text in which the references name tables, versions and instances as they are named now.

        >>> Names({"trash": "trash-1"}, {"v1.0": "v1-0"}, {}).in_references("<<trash(v1.0).a[b::<<trash.c[index]>>]>>")
        '<<trash-1(v1-0).a[b::<<trash-1.c[index]>>]>>'
        """
        return _REFERENCE.sub(self._renamed, text)

    def _renamed(self, found: re.Match[str]) -> str:
        version = found["version"]
        if version is not None:
            inside = version.strip()[1:-1].strip()
            version = version.replace(inside, self.instance_id(inside)) if inside else version
        return found["open"] + self.table(found["table"]) + (version or "")


def chosen(names: Iterable[str], check: Callable[[str], str], *, joint: str = "-") -> dict[str, str]:
    """Return a name for each name, which ``check`` accepts and no other has.

    >>> chosen(["stories", "my words", "my-words", "trash"], check_table_name)
    {'stories': 'stories', 'my words': 'my-words-1', 'my-words': 'my-words', 'trash': 'trash-1'}
    """
    every = list(dict.fromkeys(names))
    kept = {name for name in every if _is_allowed(name, check)}
    found: dict[str, str] = {}
    for name in every:
        found[name] = name if name in kept else _nearest_free(name, check, joint, {*kept, *found.values()})
    return found


def builder_names(stems: Iterable[str], *, index: str | None, index_now: str) -> dict[str, str]:
    """Return a name for each builder file. ``index`` is that of the IndexBuilder, which is named after the table."""
    found = chosen((stem for stem in stems if stem != index), check_builder_name)
    return found if index is None else {**found, index: index_now}


def process_id(old: str) -> str:
    """Return an id that a process may have.

    >>> process_id("nightly-7"), process_id("run of today")
    ('nightly-7', 'run-of-today-e2f90ef3')
    """
    if _PROCESS_ID.fullmatch(old):
        return old
    # Ids are told apart by what they were: two that look alike now must not become one.
    return f"{re.sub('[^A-Za-z0-9._-]+', '-', old).lstrip('.')[:100]}-{zlib.crc32(old.encode()):08x}"


def _nearest_free(name: str, check: Callable[[str], str], joint: str, taken: set[str]) -> str:
    base = re.sub("[^A-Za-z0-9_-]+" if joint == "-" else "[^A-Za-z0-9_]+", joint, name).strip(joint)[:_LENGTH]
    base = base.replace("_", "-") if check is check_version else base
    if base.upper().startswith(TEMP_PREFIX) or not base or (joint == "_" and base[0].isdigit()):
        base = f"old{joint}{base}".strip(joint)
    number, candidate = 0, base
    while candidate in taken or not _is_allowed(candidate, check):
        number += 1
        candidate = f"{base}{joint}{number}"
    return candidate


def _is_allowed(name: str, check: Callable[[str], str]) -> bool:
    try:
        check(name)
    except TVArgumentError:
        return False
    return True
