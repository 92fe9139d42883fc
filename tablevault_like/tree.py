"""Show the files of a vault as a tree."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.tree import Tree


_OF_THE_USER = frozenset({"code_functions", "code", "builders", "artifacts"})
"""Folders of what users name as they like: nothing in them is one of the vault's own folders."""


def file_tree(folder: Path, *, code: bool, builders: bool, metadata: bool, artifacts: bool) -> Tree:
    """Return the folders and files below ``folder``, without those that weren't asked for."""
    from rich.text import Text
    from rich.tree import Tree

    hidden = {
        name
        for name, is_shown in (
            ("code_functions", code),
            ("code", code),
            ("builders", builders),
            ("metadata", metadata),
            ("artifacts", artifacts),
        )
        if not is_shown
    }
    tree = Tree(Text(f"{folder}/", style="bold"))
    _grow(tree, folder, hidden)
    return tree


def _grow(tree: Tree, folder: Path, hidden: set[str]) -> None:
    from rich.text import Text

    for path in sorted(folder.iterdir(), key=lambda path: (path.is_file(), path.name)):
        is_folder = path.is_dir() and not path.is_symlink()
        if path.name.startswith(".") or (is_folder and path.name in hidden):
            continue
        if is_folder:
            below = set[str]() if path.name in _OF_THE_USER else hidden
            _grow(tree.add(Text(f"{path.name}/", style="blue")), path, below)
        else:
            tree.add(Text(path.name))
