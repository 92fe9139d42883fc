"""Hold the imports to the layers of the design: only from lower layers, or from the left in the same part.

Every import counts: at the top, inside functions, under ``TYPE_CHECKING``, and ``import_module("tablevault_like...")``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

PACKAGE = "tablevault_like"
SOURCE = Path(__file__).resolve().parent.parent / PACKAGE

# A layer is a list of parts that know nothing of each other. A part names its modules from left to right, after the
# package that they are in: each may import those before it. Its __init__ stands at the right. "*" stands for all
# modules of the package that aren't named: none of them imports another.
LAYERS = {
    "0 words": ["errors limits model layout", "release"],
    "1a ground": [
        (
            "storage: callbacks documents sums reach files networks room drafts links descriptions manifests places "
            "replacements"
        ),
        "tapes: members xz",
    ],
    "1b ground": ["catalog: checks schema forks catalog tables *"],
    "2 parts": [
        "locks",
        (
            "storage: tags values digests artifacts damage sealed pages patience row_files row_reader rows row_damage "
            "arrow arrow_names columns dtypes operands filters tables exchange datasets"
        ),
        (
            "references: syntax keywords cells literals indexes values grammar frames trees conditions resolver "
            "resolve arguments"
        ),
        (
            "functions: canonical constants file_arguments sources scopes signature imports modules units names "
            "reach fingerprint written origins standalone unpickled pickled given builtin.declared "
            "builtin.llm.schemas builtin.llm.answers builtin.llm.backends builtin.llm.asking builtin.llm builtin.* "
            "builtin"
        ),
        "engines: base pace attempts *",
    ],
    "3 building | process": [
        (
            "builders: document form spec inputs order recipe plan changes template hashing results frames failures "
            "provenance reuse gathered spending recording commits holding task rows batches streams wholes takeover "
            "run partial stages anew checkpoint damage"
        ),
        (
            "process: state interrupts context journal run operation memory pauses waiting records watching existing "
            "life workers housekeeping endings stopping pausing driving start runner"
        ),
    ],
    "3b bundles": ["bundles: label unpacking verification opening"],
    "4 operations": [
        (
            "operations: sources code_files artifact_views folders publication bundled_code imported finished "
            "execution planning rules instances again mending trash retention prunable *"
        )
    ],
    "5a founding": ["founding outputs", "meters displays"],
    "5b around": [
        *("arguments", "reading failures", "tree", "background"),
        (
            "check: findings looking databases damage facts rules reader instances tables processes surroundings "
            "checking repairing remains rebuilding"
        ),
        (
            "monitor: words showing predictions records elsewhere made declared reasons inputs durations situation "
            "outlook unknowns reusing allowance index_rows column_rows forecast sample beginning planned resolving "
            "cells inspection checks history report monitor"
        ),
        "migration: report names draft old cells builder_texts artifacts history scope instances recording migrating",
        "archive: progress databases labels spool contents finished verification completion *",
        "mapping: limits meaning cache handing running frames job rows extraction",
    ],
    "5c looking, and exports": [
        "bundles: unfinished results packing",
        *("queries", "comparison: records cells rows texts sides *"),
    ],
    "5d rehearsing": ["chaos: showing report points notes rehearsed worker programs scratch soundness judging trials"],
    "6 face": ["vault_reading vault typing __init__"],
    "7a shell": [
        (
            "cli: output questions words formats places frames conditions errors completion options session startup "
            "app documents steering instances contents execution *"
        )
    ],
    "7b shell": ["__main__"],
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a module stands: which layer, which part of it, and how far to the right."""

    layer: int
    part: str
    position: int

    def may_import(self, other: Place) -> bool:
        is_left = self.part == other.part and other.position < self.position
        return other.layer < self.layer or is_left


class Table:
    """The layers, to be asked for the place of a module."""

    def __init__(self, layers: Mapping[str, Sequence[str]]) -> None:
        self._places: dict[str, Place] = {}
        for layer, parts in enumerate(layers.values()):
            for part in parts:
                for position, name in enumerate(_modules_of(part)):
                    self._places.setdefault(name, Place(layer, part, position))

    def place(self, module: str) -> Place | None:
        package, dot, _ = module.rpartition(".")
        return self._places.get(module) or self._places.get(f"{package}{dot}*")


def _modules_of(part: str) -> list[str]:
    """Return the names of a part's modules from left to right; a package's own name stands for its ``__init__``.

    >>> _modules_of("process: state operation")
    ['process.state', 'process.operation', 'process']
    """
    package, colon, names = part.rpartition(":")
    return [f"{package}.{name}" for name in names.split()] + [package] if colon else names.split()


def violations(source: Path, layers: Mapping[str, Sequence[str]]) -> list[str]:
    """Return a message for every module that stands in no layer, and for every import that the layers forbid."""
    table = Table(layers)
    modules = {_module_name(path, source): path for path in sorted(source.rglob("*.py"))}
    found = [
        f"{path}: {module} stands in no layer. Add it to LAYERS in {Path(__file__).name}, where design.md puts it."
        for module, path in modules.items()
        if table.place(module) is None
    ]
    for module, path in modules.items():
        here = table.place(module)
        for line, imported in _imports(path, source, modules):
            there = table.place(imported)
            if here and there and imported != module and not here.may_import(there):
                reason = "it is neither lower nor to the left"
                found.append(f"{path}:{line}: {module} may not import {imported}: {reason}.")
    return found


def _module_name(path: Path, source: Path) -> str:
    parts = path.relative_to(source).with_suffix("").parts
    return ".".join(parts[:-1] if len(parts) > 1 and parts[-1] == "__init__" else parts)


def _imports(path: Path, source: Path, modules: Mapping[str, Path]) -> Iterator[tuple[int, str]]:
    """Yield the line and the module for every import of this package's modules that a file makes."""
    parents = [source.name, *path.parent.relative_to(source).parts]
    for node in ast.walk(ast.parse(path.read_text(), path)):
        for dotted in _imported_names(node, parents):
            module = _longest_module(dotted, source.name, modules)
            if module is not None:
                yield getattr(node, "lineno", 0), module


def _imported_names(node: ast.AST, parents: Sequence[str]) -> list[str]:
    """Return the dotted names that a node imports; what is imported from a module is taken for a module below it."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=base, names=names, level=level):
            origin = [*parents[: len(parents) - level + 1], base] if level else [base]
            return [".".join(filter(None, [*origin, alias.name])) for alias in names]
        case ast.Call(
            func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
            args=[ast.Constant(value=str(name)), *_],
        ):
            return [name]
    return []


def _longest_module(dotted: str, package: str, modules: Mapping[str, Path]) -> str | None:
    """Return the module that a dotted name leads to; None if it leads out of the package."""
    first, *rest = dotted.split(".")
    if first != package:
        return None
    while rest and ".".join(rest) not in modules:
        rest.pop()
    return ".".join(rest) or "__init__"


def test_imports_keep_to_the_layers() -> None:
    found = violations(SOURCE, LAYERS)

    assert not found, "\n".join(found)


FAKE_LAYERS = {"0": ["words", "more: *"], "1": ["left: a b", "right"], "2": ["__init__"]}
FAKE_MODULES = ("__init__", "words", "more.__init__", "more.x", "more.y", "left.__init__", "left.a", "left.b", "right")


@pytest.fixture
def fake_source(tmp_path: Path) -> Path:
    """Return a small package without imports, all of whose modules have their place."""
    for module in FAKE_MODULES:
        _write(tmp_path / "fake", module, "")
    return tmp_path / "fake"


def _write(source: Path, module: str, text: str) -> Path:
    path = source.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


ALLOWED = [
    ("right", "import fake.words"),
    ("right", "from fake.words import thing"),
    ("right", "from fake import words, more"),
    ("right", "import os, json"),
    ("right", "from fakery import left"),
    ("left.b", "from fake.left.a import thing"),
    ("left.b", "from .a import thing"),
    ("left.__init__", "from fake.left import a, b"),
    ("left.__init__", "from . import a"),
    ("more.__init__", "from fake.more.x import thing"),
    ("__init__", "from fake.left import anything"),
]

FORBIDDEN = [
    ("words", "import fake.right", "right"),
    ("words", "from fake import right", "right"),
    ("words", "import fake", "__init__"),
    ("words", "from fake import anything", "__init__"),
    ("words", "def f():\n    from fake.right import thing", "right"),
    ("words", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import fake.right", "right"),
    ("words", "import importlib\nimportlib.import_module('fake.right')", "right"),
    ("words", "from importlib import import_module\nimport_module('fake.right')", "right"),
    ("more.x", "from fake.more.y import thing", "more.y"),
    ("more.x", "from fake.more import y", "more.y"),
    ("more.x", "from fake.more import thing", "more"),
    ("left.a", "from fake.left.b import thing", "left.b"),
    ("left.a", "from .b import thing", "left.b"),
    ("left.a", "from . import b", "left.b"),
    ("left.a", "from .. import right", "right"),
    ("left.a", "from fake.left import thing", "left"),
    ("left.b", "from fake import right", "right"),
    ("right", "from fake.left.a import thing", "left.a"),
]


def test_a_tree_without_imports_is_sound(fake_source: Path) -> None:
    assert violations(fake_source, FAKE_LAYERS) == []


@pytest.mark.parametrize(("module", "text"), ALLOWED)
def test_imports_from_below_and_from_the_left_are_allowed(fake_source: Path, module: str, text: str) -> None:
    _write(fake_source, module, text)

    assert violations(fake_source, FAKE_LAYERS) == []


@pytest.mark.parametrize(("module", "text", "imported"), FORBIDDEN)
def test_other_imports_are_told_with_their_place(fake_source: Path, module: str, text: str, imported: str) -> None:
    path = _write(fake_source, module, text)

    (message,) = violations(fake_source, FAKE_LAYERS)

    assert message.startswith(f"{path}:{text.count(chr(10)) + 1}: ")
    assert f"{module.removesuffix('.__init__')} may not import {imported}:" in message


def test_a_module_without_a_place_is_told(fake_source: Path) -> None:
    path = _write(fake_source, "left.new", "")

    (message,) = violations(fake_source, FAKE_LAYERS)

    assert message.startswith(f"{path}: left.new stands in no layer. Add it to LAYERS")
