"""The manifest of an instance: a SHA-256 for every file, and all that a catalog would need to know of it.

It is written last, when every other file of the instance is synced, so an instance folder with a manifest is whole.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tablevault_like.storage import files

FORMAT_VERSION = 1


def write(folder: Path, target: Path, *, known: Mapping[str, Any]) -> str:
    """Write the manifest of the instance that lies in ``folder``, sync the folder, and return the manifest's SHA-256.

    ``known`` is what the catalog records of the instance. From now on all its files are read-only.
    """
    listed = {}
    for name, path in files.regular_files(folder):
        if path != target:
            files.protect(path)
            listed[name] = {"sha256": files.sha256(path), "size": path.stat().st_size}
    text = json.dumps({"format": FORMAT_VERSION, **known, "files": listed}, indent=1) + "\n"
    files.write_file(target, text)
    files.protect(target)
    files.sync_tree(folder)
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> dict[str, Any]:
    """Return a manifest. Raises ValueError if it isn't one."""
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("a manifest is a JSON object")
    return found
