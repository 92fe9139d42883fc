"""What a builder file says, read from YAML in two steps.

1. ``read_builder`` checks the form of one file: its fields, their types, and what they must agree on. References are
   left as they stand, and nothing outside the file is looked at.
2. ``RawBuilder.resolve`` puts values in place of the references in all fields but ``arguments``, whose references are
   resolved when the builder runs, and checks them likewise. The result is a ``BuilderSpec``.

Every error is a ``TVBuilderError`` or a ``TableReferenceError`` that names file, line and column.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like.builders import document
from tablevault_like.builders.document import Document, KeyPath
from tablevault_like.builders.form import Form, check_agreement, validate
from tablevault_like.errors import Location, TVArgumentError, TVBuilderError
from tablevault_like.functions.sources import function_name
from tablevault_like.limits import Budget, MaxFailures, Rate, Retries
from tablevault_like.model import BuilderType, OnError, ReturnType, Reuse, check_builder_name
from tablevault_like.references.grammar import parse
from tablevault_like.references.keywords import Keyword, resembled
from tablevault_like.references.syntax import SELF, Dependency, Template, dependencies, walk
from tablevault_like.storage.values import encode

if TYPE_CHECKING:  # a file's form is checked without importing pandas, which these do
    from tablevault_like.references.arguments import Arguments
    from tablevault_like.references.frames import Frames

CHECKPOINT_EVERY = 1000
"""Rows of a generator after which a sync and a line in the log are forced, unless its builder says otherwise."""


@dataclass(frozen=True, slots=True)
class BuilderSpec:
    """A builder with nothing left to resolve but its arguments.

    ``dependencies`` are those that the file declares. ``written_arguments`` are the arguments as they stand in the
    file, which ``arguments`` was compiled from.
    """

    name: str
    builder_type: BuilderType
    changed_columns: tuple[str, ...]
    python_function: str
    code_module: str
    is_custom: bool
    arguments: Arguments
    return_type: ReturnType
    n_threads: int
    dtypes: Mapping[str, str]
    dependencies: tuple[Dependency, ...]
    primary_key: tuple[str, ...]
    keep_old: bool
    reuse: Reuse
    batch_size: int | None
    total_rows: int | None
    checkpoint_every: int
    on_error: OnError
    max_failures: MaxFailures | None
    retries: Retries
    timeout: float | None
    rate: Rate | None
    budget: Budget | None
    written_arguments: Mapping[str, object] = field(repr=False)
    document: Document = field(repr=False, compare=False)

    @property
    def is_index(self) -> bool:
        return self.builder_type is BuilderType.INDEX

    @property
    def makes_batches(self) -> bool:
        """Tell whether it makes its rows in batches, rather than filling columns of them."""
        return self.is_index and self.return_type is ReturnType.BATCH

    @property
    def takes_batches(self) -> bool:
        """Tell whether its function is given a frame of rows, and the other arguments by name."""
        return not self.is_index and self.return_type is ReturnType.BATCH

    def normalized(self) -> dict[str, object]:
        """Return everything that results depend on as plain JSON values, equal for files that say the same.

        Comments, layout and the order of fields make no difference, nor does how the builder is run: ``n_threads``,
        retries, limits, what is done about errors.
        """
        batches = {"batch_size": self.batch_size, "total_rows": self.total_rows}
        return {
            "builder_type": str(self.builder_type),
            "changed_columns": list(self.changed_columns),
            "python_function": self.python_function,
            "code_module": self.code_module,
            "is_custom": self.is_custom,
            "arguments": {name: json.loads(encode(value)) for name, value in sorted(self.written_arguments.items())},
            "return_type": str(self.return_type),
            "dtypes": dict(sorted(self.dtypes.items())),
            "dependencies": sorted(map(_shown_dependency, self.dependencies)),
            "primary_key": list(self.primary_key),
            "keep_old": self.keep_old,
            **{name: value for name, value in batches.items() if value is not None},
        }

    def location(self, *path: object) -> Location:
        """Return where a field, or a value inside it, stands in the builder's file."""
        return self.document.location(path)


@dataclass(frozen=True)
class RawBuilder:
    """A builder file of the right form, whose references nobody looked at yet.

    ``fields`` are those that are given, as they are written.
    """

    name: str
    document: Document
    fields: Mapping[str, object] = field(repr=False)

    @cached_property
    def field_templates(self) -> tuple[Template, ...]:
        """What has references in it, outside of arguments. Raises TableReferenceError for what can't be read."""
        templates = tuple(
            template
            for name in self.fields
            if name not in _NEVER_RESOLVED
            for template in _templates(self.fields[name], (name,), self.document)
        )
        for template in templates:
            for reference in (nested for outer in template.references for nested in walk(outer)):
                if reference.table.literal == SELF or reference.varies:
                    raise reference.error("Only arguments may refer to 'self' and to the current row.")
        return templates

    @cached_property
    def argument_templates(self) -> tuple[Template, ...]:
        """What has references in it in the arguments. Raises TableReferenceError for what can't be read."""
        return tuple(_templates(self.fields.get("arguments", {}), ("arguments",), self.document))

    @cached_property
    def dependencies(self) -> tuple[Dependency, ...]:
        """The dependencies that the file declares, each once. Raises TableReferenceError for what can't be read."""
        declared = self.fields.get("dependencies", [])
        declared = declared if isinstance(declared, list) else [declared]
        found = (
            _dependency(item, self.document.location(("dependencies", position)))
            for position, item in enumerate(declared)
        )
        return tuple(dict.fromkeys(found))

    def resolve(self, frames: Frames) -> BuilderSpec:
        """Return the builder with the values that ``frames`` gives for its references.

        Raises what reading the file raises, now for the values, and TableReferenceError for a reference without one.
        """
        from tablevault_like.references.resolve import resolve

        fields = dict(self.fields)
        if self.field_templates:
            written = {name: value for name, value in fields.items() if name not in _NEVER_RESOLVED}
            values = resolve(written, frames, locate=self.document.location)
            fields |= {name: _listed(value) if name in _LISTS else value for name, value in values.items()}
        form = validate(fields, self.document, is_resolved=True)
        check_agreement(form, self.document)
        return self._specify(form)

    def _specify(self, form: Form) -> BuilderSpec:
        from tablevault_like.references.arguments import Arguments

        arguments = Arguments.compile(form.arguments, locate=lambda path: self.document.location(("arguments", *path)))
        spec = BuilderSpec(
            name=self.name,
            builder_type=form.builder_type,
            changed_columns=tuple(form.changed_columns),
            python_function=function_name(form.code_module, form.python_function),
            code_module=form.code_module,
            is_custom=form.is_custom,
            arguments=arguments,
            return_type=form.return_type,
            n_threads=form.n_threads,
            dtypes=form.dtypes,
            dependencies=self.dependencies,
            primary_key=tuple(form.primary_key),
            keep_old=form.keep_old,
            reuse=form.reuse,
            batch_size=form.batch_size,
            total_rows=form.total_rows,
            checkpoint_every=form.checkpoint_every or CHECKPOINT_EVERY,
            on_error=form.on_error,
            max_failures=form.max_failures,
            retries=form.retries,
            timeout=form.timeout,
            rate=form.rate,
            budget=form.budget,
            written_arguments=form.arguments,
            document=self.document,
        )
        _check_dtypes(spec)
        _check_keywords(spec)
        _check_rows(spec, self.argument_templates)
        return spec


def read_builder(source: Path | str, name: str, *, path: Path | str | None = None) -> RawBuilder:
    r"""Read a builder file, a path or its text, and check its form.

    ``name`` is the builder's, without ``.yaml``; ``path`` names the file in messages where ``source`` is text.

    >>> text = "builder_type: ColumnBuilder\nchanged_columns: [size]\npython_function: size\ncode_module: sizes\n"
    >>> read_builder(text + "n_thread: 2\n", "sizes")
    Traceback (most recent call last):
    tablevault_like.errors.TVBuilderError: sizes.yaml:5:1: There is no field 'n_thread'. Did you mean 'n_threads'?
    """
    check_builder_name(name)
    if isinstance(source, Path):
        path, source = source, document.text_of(source)
    found = document.read(source, path or f"{name}.yaml")
    if not isinstance(found.value, dict):
        kind = "is empty" if found.value is None else "does not hold fields"
        raise TVBuilderError(
            f"The builder file {kind}. It is made of lines such as 'builder_type: ColumnBuilder'.",
            location=found.location(),
        )
    fields = {key: value for key, value in found.value.items() if value is not None}
    if ("on_error",) in found.nulls:  # there it is a word
        fields["on_error"] = str(OnError.NULL)
    if fields.get("name", name) != name:
        raise TVBuilderError(
            f"The file is that of the builder {name!r}, but its field 'name' is {fields['name']!r}. "
            "Rename the file, or remove the field: the file's name counts.",
            location=found.location(("name",)),
        )
    fields.pop("name", None)
    form = validate(fields, found, is_resolved=False)
    raw = RawBuilder(name, found, fields)
    if not _has_references(fields):
        check_agreement(form, found)
    return raw


_NEVER_RESOLVED = {"arguments", "dependencies"}
_LISTS = {"changed_columns", "primary_key"}


def _has_references(fields: Mapping[str, object]) -> bool:
    """Tell whether fields that are to be resolved hold anything that looks like a reference."""
    return any(
        "<<" in text for name in fields.keys() - _NEVER_RESOLVED for text, _, _ in _strings(fields[name], (name,))
    )


def _strings(value: object, path: KeyPath, *, is_key: bool = False) -> Iterator[tuple[str, KeyPath, bool]]:
    """Yield every string of a tree with its path, and whether it is a key."""
    if isinstance(value, str):
        yield value, path, is_key
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _strings(item, (*path, position))
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _strings(key, (*path, key), is_key=True)
            yield from _strings(item, (*path, key))


def _templates(value: object, path: KeyPath, place: Document) -> Iterator[Template]:
    for text, where, is_key in _strings(value, path):
        if "<<" in text:
            yield parse(text, location=place.location(where, of_key=is_key))


def _listed(value: object) -> object:
    """Take a column for a list of its values: ``<<config.columns>>`` gives a frame."""
    from pandas import DataFrame

    if isinstance(value, DataFrame) and len(value.columns) == 1:
        return value.iloc[:, 0].tolist()
    return value


def _dependency(declared: str | list[str], location: Location) -> Dependency:
    """Read ``stories(base).text`` as the reference that it is without its brackets."""
    text = declared if isinstance(declared, str) else "{}({})".format(*declared)
    text = text.strip().removeprefix("<<").removesuffix(">>").removesuffix(".*")
    template = parse(f"<<{text}>>", location=location)
    reference = template.sole_reference
    if reference is None or reference.conditions or any(part.references for part in reference.templates):
        raise template.error(
            "A dependency names a table, and its version and columns if need be: 'stories', 'stories(base).{text, id}'."
        )
    (dependency,) = dependencies([reference])
    return dependency


def _shown_dependency(dependency: Dependency) -> str:
    version = "" if dependency.version is None else f"({dependency.version})"
    columns = "" if dependency.columns is None else ".{" + ",".join(sorted(dependency.columns)) + "}"
    return f"{dependency.table}{version}{columns}"


def _check_dtypes(spec: BuilderSpec) -> None:
    import numpy as np

    from tablevault_like.storage.arrow import nullable_name
    from tablevault_like.storage.columns import parse_dtype

    for column, dtype in spec.dtypes.items():
        try:
            parsed = parse_dtype(dtype)
        except TVArgumentError as error:
            raise TVBuilderError(error.message, location=spec.location("dtypes", column)) from error
        if spec.on_error is OnError.NULL and isinstance(parsed, np.dtype) and parsed.kind in "biu":
            raise TVBuilderError(
                f"With 'on_error: null' the cells of rows that fail are missing, which the dtype {dtype!r} doesn't "
                f"allow. Give the column the dtype {nullable_name(parsed.name)!r}.",
                location=spec.location("dtypes", column),
            )


def _check_keywords(spec: BuilderSpec) -> None:
    """Refuse a string that is as good as a keyword, but none: the function would get the mistake as its argument."""
    for text, path, is_key in _strings(spec.written_arguments, ("arguments",)):
        meant = resembled(text)
        if meant is not None:
            raise TVBuilderError(
                f"There is no keyword {text!r}. Did you mean {str(meant)!r}?",
                location=spec.document.location(path, of_key=is_key),
            )


def _check_rows(spec: BuilderSpec, templates: Iterable[Template]) -> None:
    """Refuse what asks for the current row, or how far a generator came, where there is no such thing."""
    if spec.return_type is not ReturnType.ROW_WISE and not spec.takes_batches:
        for reference in (reference for template in templates for reference in template.references):
            if reference.varies:
                raise reference.error(
                    f"There is no current row in a builder whose return_type is {spec.return_type}. "
                    "Set 'return_type: row-wise' to call the function once a row."
                )
    if spec.takes_batches and spec.arguments.names is None:
        raise TVBuilderError(
            "Arguments of a builder whose return_type is batch become columns, so their names can't be references.",
            location=spec.location("arguments"),
        )
    for keyword, (is_known, known) in _KEYWORDS_OF.items():
        if keyword in spec.arguments.keywords and not is_known(spec):
            path = next(path for text, path, _ in _strings(spec.written_arguments, ("arguments",)) if keyword in text)
            raise TVBuilderError(
                f"{keyword} is only known to {known}, not to {_article(spec.builder_type)} whose return_type is "
                f"{spec.return_type}.",
                location=spec.location(*path),
            )


def _article(builder_type: BuilderType) -> str:
    return f"an {builder_type}" if builder_type is BuilderType.INDEX else f"a {builder_type}"


_KEYWORDS_OF: Mapping[Keyword, tuple[Callable[[BuilderSpec], bool], str]] = {
    Keyword.ROW_KEY: (
        lambda spec: spec.return_type is ReturnType.ROW_WISE or spec.takes_batches,
        "row-wise builders, and ColumnBuilders whose return_type is batch",
    ),
    Keyword.RESUME_FROM: (
        lambda spec: spec.return_type is ReturnType.GENERATOR,
        "builders whose return_type is generator",
    ),
    **dict.fromkeys(
        (Keyword.BATCH_START, Keyword.BATCH_SIZE, Keyword.BATCH_INDEX),
        (lambda spec: spec.makes_batches, "an IndexBuilder whose return_type is batch"),
    ),
}
