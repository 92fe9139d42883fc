r"""Bring a builder file of TableVault 0.1 into the form that this library reads.

1. Nothing is dropped silently: a field that can't be kept stays in the file as a comment, and is told.
2. What is changed is changed where it stands; comments, order and layout stay.
3. The result is read as an execution would read it. What is refused then is told, with its place, and left as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import yaml
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from tablevault_like.builders import spec
from tablevault_like.builders.form import Form
from tablevault_like.errors import TableVaultError
from tablevault_like.migration.cells import NULLABLE
from tablevault_like.migration.names import Names
from tablevault_like.model import BuilderType
from tablevault_like.references.syntax import walk

_MARK = "# Not kept from TableVault 0.1:"
_ONLY_INDEX = ("primary_key", "keep_old")
_LARGEST = 1 << 20


@dataclass(frozen=True)
class BuilderText:
    """A builder file as it is now, and what is to be told of it."""

    text: str
    notes: tuple[str, ...]


def bring(text: str, name: str, *, names: Names, unpinned: Mapping[str, str]) -> BuilderText:
    """Return a builder file in the new form. ``name`` is the builder's new name.

    ``unpinned`` names the tables (as they are called now) whose newest instance isn't of the version ``base``, with
    that version: in 0.1 a reference without a version meant that one.
    """
    notes: list[str] = []
    fields = _fields(text)
    if fields is not None:
        text = _edited(text, _edits(fields, text, names, notes))
    text = names.in_references(text)
    notes += _refusals(text, name, unpinned)
    return BuilderText(text, tuple(notes))


@dataclass(frozen=True)
class _Edit:
    """A replacement of text from ``start`` to ``end``."""

    start: int
    end: int
    text: str


def _fields(text: str) -> list[tuple[ScalarNode, Node]] | None:
    """Return the fields of a file, None if it isn't made of fields in lines of their own."""
    if len(text) > _LARGEST:
        return None
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError):
        return None
    if not isinstance(node, MappingNode) or node.flow_style:
        return None
    return [(key, value) for key, value in node.value if isinstance(key, ScalarNode)]


def _edits(fields: Sequence[tuple[ScalarNode, Node]], text: str, names: Names, notes: list[str]) -> Iterator[_Edit]:
    known = {key.value: value for key, value in fields}
    is_column = _scalar(known.get("builder_type")) == BuilderType.COLUMN
    columns = _words(known.get("changed_columns"))
    for key, value in fields:
        match key.value:
            case "name":
                yield _comment(text, key, value, "the builder is named after its file")
            case field if field not in Form.model_fields:
                notes.append(f"0.1 ignored the field {field!r}; it is a comment now")
                yield _comment(text, key, value, "there is no such field")
            case "primary_key" | "keep_old" as field if is_column:
                notes.append(f"0.1 ignored {field!r} in a ColumnBuilder; it is a comment now")
                yield _comment(text, key, value, "only an IndexBuilder has it")
            case "dtypes" if isinstance(value, MappingNode):
                yield from _dtype_edits(text, key, value, columns, notes)
            case "dependencies" if isinstance(value, SequenceNode):
                yield from _dependency_edits(value, names)
            case "code_module" if (module := _scalar(value)) is not None and names.module(module) != module:
                notes.append(f"the code module {module!r} is named {names.module(module)!r} now")
                yield _replaced(value, names.module(module))


def _dtype_edits(
    text: str, key: ScalarNode, value: MappingNode, columns: Sequence[str] | None, notes: list[str]
) -> Iterator[_Edit]:
    given = {_scalar(column): (column, dtype) for column, dtype in value.value}
    others = [name for name in given if columns is not None and name not in columns and "<<" not in (name or "")]
    if others:
        kept = {name: _scalar(dtype) for name, (_, dtype) in given.items() if name not in others}
        fields = {name: NULLABLE.get(dtype or "", dtype) for name, dtype in kept.items()}
        yield _comment(text, key, value, "some are of columns that this builder doesn't change", instead=fields)
        listed = ", ".join(map(repr, others))
        notes.append(f"dtypes of columns that the builder doesn't change ({listed}) are a comment now")
        return
    for _, dtype in given.values():
        if (name := _scalar(dtype)) in NULLABLE and NULLABLE[name] != name:
            yield _replaced(dtype, NULLABLE[name])


def _dependency_edits(value: SequenceNode, names: Names) -> Iterator[_Edit]:
    """Write dependencies as text: 0.1 took mappings with the names of a table, its columns and its version."""
    for node in value.value:
        if isinstance(node, MappingNode):
            parts = {_scalar(key): part for key, part in node.value}
            table, version, columns = _scalar(parts.get("table")), _scalar(parts.get("version")), parts.get("columns")
            if table is not None:
                listed = ".{" + ", ".join(_words(columns) or []) + "}" if _words(columns) else ""
                of_version = f"({names.instance_id(version)})" if version else ""
                yield _replaced(node, f"'{names.table(table)}{of_version}{listed}'")


def _refusals(text: str, name: str, unpinned: Mapping[str, str]) -> Iterator[str]:
    """Tell what would be refused when the builder is executed, and what would mean something else."""
    try:
        raw = spec.read_builder(text, name)
        references = [each for part in raw.argument_templates for each in part.references]
        references += [each for part in raw.field_templates for each in part.references]
        assert raw.dependencies is not None
    except TableVaultError as error:
        yield f"tablevault_like refuses it: {' '.join(str(error).split())}"
        return
    told = set()
    for reference in (nested for outer in references for nested in walk(outer)):
        table = reference.table.literal
        if reference.version is None and table is not None and table in unpinned and table not in told:
            told.add(table)
            yield (
                f"<<{table}>> means its newest instance of version 'base' now; in 0.1 it meant the newest of any "
                f"version, one of {unpinned[table]!r}: write <<{table}({unpinned[table]})...>> if that is meant"
            )


def _comment(
    text: str, key: ScalarNode, value: Node, why: str, *, instead: Mapping[str | None, str | None] | None = None
) -> _Edit:
    """Return the edit that makes the lines of a field a comment, with ``instead`` after it."""
    start = text.rfind("\n", 0, key.start_mark.index) + 1
    lines = text[start : value.end_mark.index].rstrip().split("\n")
    while len(lines) > 1 and (not lines[-1].strip() or lines[-1].lstrip().startswith("#")):
        lines.pop()
    end = start + len("\n".join(lines))
    rest = text.find("\n", end)
    end = len(text) if rest < 0 else rest
    commented = [f"{_MARK} {why}", *(f"# {line}" for line in text[start:end].split("\n"))]
    if instead:
        commented += yaml.safe_dump({"dtypes": dict(instead)}, sort_keys=False, allow_unicode=True).rstrip().split("\n")
    return _Edit(start, end, "\n".join(commented))


def _replaced(node: Node, text: str) -> _Edit:
    return _Edit(node.start_mark.index, node.end_mark.index, text)


def _edited(text: str, edits: Iterable[_Edit]) -> str:
    for edit in sorted(edits, key=lambda each: each.start, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _scalar(node: Node | None) -> str | None:
    return str(node.value) if isinstance(node, ScalarNode) else None


def _words(node: Node | None) -> list[str] | None:
    """Return a list of words, None if it isn't known before references are resolved."""
    if isinstance(node, ScalarNode):
        found = [str(node.value)]
    elif isinstance(node, SequenceNode) and all(isinstance(each, ScalarNode) for each in node.value):
        found = [str(each.value) for each in node.value]
    else:
        return None
    return None if any("<<" in word for word in found) else found
