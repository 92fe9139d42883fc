"""Resolving what isn't an argument: the other fields of a builder, and tables whose names are references."""

from __future__ import annotations

from typing import Any

from tablevault_like.references.cells import copied
from tablevault_like.references.frames import Frames
from tablevault_like.references.resolver import Resolver
from tablevault_like.references.trees import Locate, evaluate, read, templates


def resolve(tree: Any, frames: Frames, *, locate: Locate | None = None) -> Any:
    """Return what a template, a string, or a tree of strings comes to where there is no current row.

    ``locate`` tells where the value at a path in the tree stands, for messages. Keywords are text like any other here.
    Raises TableReferenceError, also for a reference that needs a current row.
    """
    node = read(tree, locate=locate, with_keywords=False)
    for template in templates(node):
        for reference in template.references:
            if reference.varies:
                raise reference.error("There is no current row here: only arguments can depend on it.")
    return copied(evaluate(node, Resolver(frames).template).constant)
