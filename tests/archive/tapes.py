"""Archives to be tampered with: their members in memory, and what writes them anew and holds them to be refused."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import sqlite3
import tarfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import pytest

from tablevault_like import decompress_vault
from tablevault_like.errors import TVFileError

LABEL = "tablevault-archive.json"
SHA256 = "TABLEVAULT.sha256"


@dataclass
class Item:
    """A member: its header and its content."""

    info: tarfile.TarInfo
    content: bytes = b""

    @property
    def name(self) -> str:
        return self.info.name


@dataclass
class Tape:
    """All members of an archive, in order, its label aside."""

    items: list[Item] = field(default_factory=list)
    label: dict[str, Any] = field(default_factory=dict)
    tail: bytes = bytes(1024)

    @classmethod
    def read(cls, path: Path) -> Tape:
        with tarfile.open(path) as archive:
            items = [Item(info, archive.extractfile(info).read() if info.isreg() else b"") for info in archive]  # type: ignore[union-attr]
        return cls(items[1:], json.loads(items[0].content))

    def find(self, end: str) -> Item:
        """Return the one member whose name ends like this."""
        (found,) = [item for item in self.items if item.name.endswith(end)]
        return found

    def add(self, name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, **fields: Any) -> Item:
        """Add a member below the vault's folder; with a leading ``=`` of exactly that name."""
        info = tarfile.TarInfo(name[1:] if name.startswith("=") else f"{self.label['vault']}/{name}")
        info.type, info.mode = kind, 0o755 if kind == tarfile.DIRTYPE else 0o644
        for key, value in fields.items():
            setattr(info, key, value)
        item = Item(info, content)
        self.set_content(item, content)
        self.items.append(item)
        return item

    def set_content(self, item: Item, content: bytes) -> None:
        """Give a file another content, and the checksum that belongs to it."""
        item.content = content
        if item.info.type == tarfile.REGTYPE:
            item.info.size = len(content)
            item.info.pax_headers = {**item.info.pax_headers, SHA256: hashlib.sha256(content).hexdigest()}

    def edit_database(self, end: str, change: Callable[[sqlite3.Connection], object]) -> None:
        """Change an SQLite file in it."""
        item = self.find(end)
        with TemporaryDirectory() as folder:
            path = Path(folder, "edited")
            path.write_bytes(item.content)
            with closing(sqlite3.connect(path)) as connection, connection:
                change(connection)
            self.set_content(item, path.read_bytes())

    def relabel(self) -> None:
        """Let the label say what is there."""
        files = [item for item in self.items if item.info.type != tarfile.DIRTYPE]
        self.label["files"], self.label["folders"] = len(files), len(self.items) - len(files)
        self.label["total"] = sum(len(item.content) for item in files)

    def raw(self, *, form: Literal[0, 1, 2] = tarfile.PAX_FORMAT) -> bytes:
        """Return the tar file."""
        text = json.dumps(self.label).encode()
        info = tarfile.TarInfo(LABEL)
        info.size = len(text)
        out = io.BytesIO()
        for item in [Item(info, text), *self.items]:
            item.info.pax_headers = {
                key: value for key, value in item.info.pax_headers.items() if key not in ("path", "size")
            }
            out.write(item.info.tobuf(form, "utf-8", "surrogateescape") + item.content)
            out.write(bytes(-len(item.content) % 512))
        return out.getvalue() + self.tail

    def write(self, path: Path, **options: Any) -> Path:
        path.write_bytes(lzma.compress(self.raw(**options), preset=0))
        return path


def refused(archive: Path, message: str, **options: Any) -> None:
    """Hold an archive to be refused, and nothing to be left behind."""
    everything = sorted(archive.parent.parent.rglob("*"))
    with pytest.raises(TVFileError, match=message) as caught:
        decompress_vault(archive.with_name("vault"), archive, **options)
    assert str(caught.value).startswith(f"{archive} can't be restored: ")
    assert caught.value.path == str(archive)
    assert sorted(archive.parent.parent.rglob("*")) == everything


def add(name: str, content: bytes = b"", **fields: Any) -> Callable[[Tape], object]:
    return lambda tape: tape.add(name, content, **fields)
