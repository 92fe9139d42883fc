"""The manifest of an instance: a SHA-256 for every file, and all that a catalog would need to know of it.

It is written last, when every other file of the instance is synced, so an instance folder with a manifest is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tablevault_like.storage import files
from tablevault_like.storage.documents import parsed

FORMAT_VERSION = 1


def write(folder: Path, target: Path, *, known: Mapping[str, Any], digests: Mapping[str, str] | None = None) -> str:
    """Write the manifest of the instance that lies in ``folder``, sync the folder, and return the manifest's SHA-256.

    ``known`` is what the catalog records of the instance. From now on all its files are read-only. ``digests`` are the
    SHA-256 of files that were read already and that nobody has written to since, by their names in the folder. Raises
    TVFileError for what is neither a regular file nor a folder.
    """
    listed = {}
    own = target.relative_to(folder).as_posix()
    for name, file in files.open_files(folder):
        if name != own:
            with files.naming(folder / name):
                files.protect(file)
                digest = (digests or {}).get(name) or files.sha256(file)
                listed[name] = {"sha256": digest, "size": os.fstat(file).st_size}
    text = json.dumps({"format": FORMAT_VERSION, **known, "files": listed}, indent=1) + "\n"
    files.write_file(target, text)
    files.protect(target)
    files.sync_tree(folder)
    return hashlib.sha256(text.encode()).hexdigest()


def read(path: Path) -> dict[str, Any]:
    """Return a manifest. Raises ValueError if it isn't one."""
    found = parsed(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError("a manifest is a JSON object")
    return found


def contents(path: Path, folder: str) -> dict[str, tuple[str, int]]:
    """Return SHA-256 and size of the files in a folder of an instance, by their names in that folder.

    ``path`` is that of the manifest. Raises ValueError if it isn't one.
    """
    prefix = f"{folder}/"
    try:
        return {
            name.removeprefix(prefix): (str(each["sha256"]), int(each["size"]))
            for name, each in read(path)["files"].items()
            if name.startswith(prefix)
        }
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("a manifest has files, each with its sha256 and size") from error
