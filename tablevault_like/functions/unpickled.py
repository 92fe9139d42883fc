"""Decode the functions that ``pickled`` wrote into code modules.

Code modules import ``unpickled``, and what they hold names the other public functions here. They stand in files of
vaults, so they stay where they are, and go on doing what they do.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import sys
from collections.abc import Mapping
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import dill

from tablevault_like.errors import TVBuilderError

VERSION = f"{sys.implementation.name} {sys.version_info[0]}.{sys.version_info[1]}"

# What a pickle leaves to the module in which it is decoded: its builtins, its name, and the modules that it imports.
BUILTINS = "builtins"
NAME = "name"
MODULE = "module:"


def unpickled(module: dict[str, Any], *, python: str, sha256: str, pickled: str) -> Any:
    """Return the function that a module holds. ``module`` are that module's globals: imports are made through it.

    Raises ``TVBuilderError`` for what another version of Python wrote, and for a pickle that was damaged.
    """
    name = module.get("__name__", "").rpartition(".")[2]
    if python != VERSION:
        raise TVBuilderError(
            f"The function in the code module {name!r} was pickled by {python}, and can't be run by {VERSION}. Give "
            "it to create_code_module again, from there."
        )
    try:
        content = base64.b64decode("".join(pickled.split()), validate=True)
    except (binascii.Error, ValueError):
        content = b""
    if hashlib.sha256(content).hexdigest() != sha256:
        raise TVBuilderError(
            f"The pickled function in the code module {name!r} is damaged. Give it to create_code_module again."
        )
    return _Unpickler(content, module).load()


def make_function(
    code: CodeType, namespace: dict[str, Any], name: str, closure: tuple[CellType, ...] | None
) -> FunctionType:
    """Return a function. Pickles name it."""
    return FunctionType(code, namespace, name, None, closure)


def complete_function(function: FunctionType, state: Mapping[str, Any]) -> None:
    """Give a function what else it has. Pickles name it."""
    for attribute, value in state.items():
        if attribute == "__dict__":
            function.__dict__.update(value)
        elif attribute == "__globals__":
            function.__globals__.update(value)
        else:
            setattr(function, attribute, value)


def make_namespace(builtins: object, name: str) -> dict[str, Any]:
    """Return the globals of functions, before they hold what is theirs. Pickles name it."""
    return {"__builtins__": builtins, "__name__": name}


def make_cell() -> CellType:
    """Return a cell, empty as yet. Pickles name it."""
    return CellType()


def fill_cell(cell: CellType, content: tuple[object]) -> None:
    """Put its content into a cell. Pickles name it."""
    cell.cell_contents = content[0]


class _Unpickler(dill.Unpickler):  # type: ignore[misc]
    def __init__(self, content: bytes, module: dict[str, Any]) -> None:
        super().__init__(io.BytesIO(content))
        self._module = module

    def persistent_load(self, pid: str) -> object:
        found = self._module["__builtins__"]
        own_builtins = vars(found) if isinstance(found, ModuleType) else found
        if pid.startswith(MODULE):  # as the module itself would import it
            return own_builtins["__import__"](pid.removeprefix(MODULE), self._module, None, ("",), 0)
        return own_builtins if pid == BUILTINS else self._module["__name__"]
