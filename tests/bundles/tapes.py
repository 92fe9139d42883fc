"""Bundles to be tampered with: their label and members in memory, and what writes them anew."""

from __future__ import annotations

import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVFileError
from tests import states

LABEL = "tablevault-bundle.json"


@dataclass
class Tape:
    """A bundle: its label, and its members below ``content/``, in order. ``raw`` puts headers where they are wrong."""

    label: dict[str, Any] = field(default_factory=dict)
    members: dict[str, bytes] = field(default_factory=dict)
    extra: list[tuple[tarfile.TarInfo, bytes]] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Tape:
        with tarfile.open(path) as archive:
            found = {info.name: archive.extractfile(info).read() for info in archive}  # type: ignore[union-attr]
        label = json.loads(found.pop(LABEL))
        return cls(label, {name.removeprefix("content/"): content for name, content in found.items()})

    def set(self, name: str, content: bytes, *, in_manifest: bool = True) -> None:
        """Give a member another content, or make a new one, and let label and manifest say so."""
        self.members[name] = content
        self.relist(in_manifest=in_manifest)

    def drop(self, name: str) -> None:
        del self.members[name]
        self.relist()

    def edit(self, name: str, change: Callable[[Any], object]) -> None:
        """Change a member that is JSON."""
        found = json.loads(self.members[name])
        change(found)
        self.set(name, json.dumps(found).encode())

    def relist(self, *, in_manifest: bool = True) -> None:
        manifest = json.loads(self.members["manifest.json"])
        if in_manifest:
            manifest["files"] = {
                name: {"sha256": _sha256(content), "size": len(content)}
                for name, content in self.members.items()
                if name != "manifest.json"
            }
            self.members["manifest.json"] = json.dumps(manifest).encode()
        self.label["files"] = [
            {"name": name, "size": len(content), "sha256": _sha256(content)} for name, content in self.members.items()
        ]

    def add_raw(self, name: str, content: bytes = b"", *, kind: bytes = tarfile.REGTYPE, **fields: Any) -> None:
        """Add a member behind all others, whatever the label says."""
        info = tarfile.TarInfo(name)
        info.type, info.size = kind, len(content)
        for key, value in fields.items():
            setattr(info, key, value)
        self.extra.append((info, content))

    def raw(self) -> bytes:
        """Return the tar file."""
        out = io.BytesIO()
        text = json.dumps(self.label).encode()
        items = [(_info(LABEL, text), text)]
        items += [(_info(f"content/{name}", content), content) for name, content in self.members.items()]
        for info, content in items + self.extra:
            out.write(info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape") + content + bytes(-len(content) % 512))
        return out.getvalue() + bytes(1024)

    def write(self, path: Path) -> Path:
        path.write_bytes(lzma.compress(self.raw(), preset=0))
        return path


def refused(vault: TableVault, bundle: Path, message: str, **options: Any) -> None:
    """Hold a bundle to be refused, with the vault as it was."""
    before = states.state(Path(vault.db_dir))
    with pytest.raises(TVFileError, match=message) as caught:
        vault.import_instance(bundle, **options)
    assert str(caught.value).startswith(f"{bundle} can't be imported: "), str(caught.value)
    assert vault.db_dir not in str(caught.value).replace(str(bundle), "")
    assert states.state(Path(vault.db_dir)) == before
    states.assert_sound(Path(vault.db_dir))


def _info(name: str, content: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    return info


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
