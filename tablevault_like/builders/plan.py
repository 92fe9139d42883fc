"""The plan of an execution: which builders run in which order, on which inputs, with which code.

1. A plan is made before anything runs, and no user code runs while it is made.
2. It is frozen: every reference is pinned to one instance, every builder file and code module to its content.
3. It is all that tells two runs apart. ``fingerprint`` of a builder is equal where its file, its function and the vault
   code that the function uses mean the same.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tablevault_like.builders.inputs import (
    Inputs,
    Pin,
    PinKey,
    PinnedFrames,
    Pins,
    find_inputs,
    pin_order,
    read_by_itself,
)
from tablevault_like.builders.order import check_builders, order
from tablevault_like.builders.recipe import recipe
from tablevault_like.builders.spec import BuilderSpec, read_builder
from tablevault_like.errors import TVBuilderError, TVFileError, nearest
from tablevault_like.functions import builtin
from tablevault_like.functions.fingerprint import Fingerprint, fingerprint
from tablevault_like.functions.imports import closure
from tablevault_like.functions.sources import CodeFolder
from tablevault_like.model import BuilderType, ReturnType
from tablevault_like.references.frames import Frames
from tablevault_like.storage.documents import parsed

FORMAT = 2


@dataclass(frozen=True, slots=True)
class PlannedBuilder:
    """One builder of a plan.

    ``sha256`` is that of its file's text. ``fields`` is its normalized spec. ``dependencies`` are the builders that it
    comes after because it reads what they make. ``pins`` are the tables and versions it reads. ``modules`` are the
    files that its function needs, relative to the folder of code modules; a built-in function has none. ``recipe`` is
    what its rows can be reused by.
    """

    name: str
    sha256: str
    fields: Mapping[str, Any]
    function: Fingerprint
    dependencies: tuple[str, ...]
    pins: tuple[PinKey, ...]
    modules: tuple[str, ...]
    recipe: str

    @property
    def builder_type(self) -> BuilderType:
        return BuilderType(self.fields["builder_type"])

    @property
    def is_index(self) -> bool:
        return self.builder_type is BuilderType.INDEX

    @property
    def return_type(self) -> ReturnType:
        return ReturnType(self.fields["return_type"])

    @property
    def changed_columns(self) -> tuple[str, ...]:
        return tuple(self.fields["changed_columns"])

    @property
    def dtypes(self) -> Mapping[str, str]:
        return dict(self.fields["dtypes"])

    @property
    def fingerprint(self) -> str:
        """A digest of everything that decides what this builder does with a given input."""
        text = json.dumps([self.fields, self.function.digest], separators=(",", ":"))
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def specify(self, text: str, frames: Frames, *, path: Path | str | None = None) -> BuilderSpec:
        """Return the builder's spec from the text that was planned, with ``frames`` of the plan's pins.

        Raises TVFileError if it is not that text.
        """
        if _sha256(text) != self.sha256:
            raise TVFileError(
                f"The pinned file of {self.name!r} isn't what was planned. Stop the process and start anew.",
                path=path,
            )
        return read_builder(text, self.name, path=path).resolve(frames)


@dataclass(frozen=True, slots=True)
class Plan:
    """What an execution does. ``builders`` are in the order in which they run."""

    table: str
    version: str
    instance_id: str
    origin: Pin | None
    builders: tuple[PlannedBuilder, ...]
    pins: Mapping[PinKey, Pin]

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the table, in the order in which builders make them."""
        return tuple(dict.fromkeys(column for builder in self.builders for column in builder.changed_columns))

    @property
    def modules(self) -> tuple[str, ...]:
        """The files of code that the plan needs, relative to the folder of code modules, sorted."""
        return tuple(sorted({file for builder in self.builders for file in builder.modules}))

    def builder(self, name: str) -> PlannedBuilder:
        """Return a builder by name. Raises TVBuilderError if the plan has no such builder."""
        for builder in self.builders:
            if builder.name == name:
                return builder
        hint = nearest(name, (builder.name for builder in self.builders))
        raise TVBuilderError(f"The plan has no builder {name!r}.{hint}")

    def to_json(self) -> str:
        """Return the plan as JSON text, the same for equal plans."""
        return json.dumps(
            {
                "format": FORMAT,
                "table": self.table,
                "version": self.version,
                "instance_id": self.instance_id,
                "origin": None if self.origin is None else asdict(self.origin),
                "pins": [[table, version, asdict(pin)] for (table, version), pin in self.pins.items()],
                "builders": [asdict(builder) for builder in self.builders],
            },
            allow_nan=False,
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Read what ``to_json`` wrote. Raises TVFileError for anything else."""
        try:
            found = parsed(text)
            if found["format"] != FORMAT:
                raise TVFileError(
                    f"The plan has the format {found['format']!r}, this version reads {FORMAT}. "
                    "Finish the process with the version that began it, or stop it."
                )
            return cls(
                table=found["table"],
                version=found["version"],
                instance_id=found["instance_id"],
                origin=None if found["origin"] is None else _pin(found["origin"]),
                builders=tuple(_builder(builder) for builder in found["builders"]),
                pins={(table, version): _pin(pin) for table, version, pin in found["pins"]},
            )
        except (ValueError, KeyError, TypeError) as error:
            raise TVFileError(f"The plan is damaged ({error!r}). Stop the process and start anew.") from error


def make_plan(
    *,
    table: str,
    version: str,
    instance_id: str,
    builders: Mapping[str, str],
    code_folder: Path,
    pin: Callable[[str, str | None], Pin | None],
    open_frames: Callable[[Mapping[PinKey, Pin]], PinnedFrames],
    origin: Pin | None = None,
    deleted_origin: str | None = None,
    tables: Sequence[str] = (),
    path_of: Callable[[str], Path] | None = None,
) -> Plan:
    """Plan the execution of a table's builders, ``builders`` from their names to the texts of their files.

    ``pin`` returns the newest instance of a table and a version (or the instance of that id), or None; ``open_frames``
    opens what is pinned, for references that decide what a builder reads. ``origin`` is the instance that this one is
    made from; ``deleted_origin`` is its id if it isn't there any more. ``tables`` are the tables that there are, and
    ``path_of`` gives the path of a builder's file, both for messages.

    Raises TVBuilderError or TableReferenceError, with file, line and column, for what can't be run as it stands.
    """
    raws = {
        name: read_builder(builders[name], name, path=None if path_of is None else path_of(name))
        for name in sorted(builders)
    }
    pins = Pins(pin, open_frames, tables=[name for name in tables if name != table])
    specs = {}
    for name, raw in raws.items():
        find_inputs(raw.field_templates, (), pins)
        specs[name] = raw.resolve(pins.frames())
    index = check_builders(table, specs.values())
    inputs = {
        name: find_inputs((*raw.field_templates, *raw.argument_templates), raw.dependencies, pins)
        for name, raw in raws.items()
    }
    _check_rows_of_index(index, inputs[index.name], origin, deleted=deleted_origin)
    return Plan(
        table=table,
        version=version,
        instance_id=instance_id,
        origin=origin,
        builders=tuple(
            _planned(specs[name], builders[name], dependencies, inputs[name], code_folder, pins.found)
            for name, dependencies in order(index, specs, inputs, carried=_carried(index, origin)).items()
        ),
        pins={key: pins.found[key] for key in sorted(pins.found, key=pin_order)},
    )


def _carried(index: BuilderSpec, origin: Pin | None) -> tuple[str, ...]:
    """Return the columns that the rows have from the origin, whatever the IndexBuilder makes."""
    return () if origin is None or index.return_type is not ReturnType.ROW_WISE else origin.columns


def _check_rows_of_index(index: BuilderSpec, inputs: Inputs, origin: Pin | None, *, deleted: str | None) -> None:
    """Refuse an IndexBuilder that works on rows which aren't there: it sees those of the origin, if there is one."""
    if origin is not None:
        for column, reference in inputs.own_columns.items():
            if column not in origin.columns:
                raise reference.error(
                    f"The origin {origin.instance_id} has no column {column!r}.{nearest(column, origin.columns)}"
                )
        return
    reading = next(iter(inputs.own_columns.values()), inputs.whole_table)
    if reading is not None:
        why = (
            "unless the instance has an origin."
            if deleted is None
            else f"and the origin {deleted!r} of this instance was deleted. Create the instance from another one."
        )
        raise reading.error(f"An IndexBuilder makes the rows: before it there is nothing to read in 'self', {why}")
    if index.return_type is ReturnType.ROW_WISE:
        why = "there is none" if deleted is None else f"the origin {deleted!r} was deleted"
        raise TVBuilderError(
            f"A row-wise IndexBuilder works on the rows of the instance's origin, and {why}. "
            "Set 'return_type: generator' or 'return_type: dataframe' to make rows.",
            location=index.location("return_type"),
        )


def _planned(
    spec: BuilderSpec,
    text: str,
    dependencies: tuple[str, ...],
    inputs: Inputs,
    code_folder: Path,
    pins: Mapping[PinKey, Pin],
) -> PlannedBuilder:
    function, modules = _code(spec, code_folder)
    read = [pins[key].instance_id for key in read_by_itself(spec.dependencies, spec.arguments.references)]
    return PlannedBuilder(
        name=spec.name,
        sha256=_sha256(text),
        fields=spec.normalized(),
        function=function,
        dependencies=dependencies,
        pins=inputs.pins,
        modules=modules,
        recipe=recipe(spec, function.digest, read=read),
    )


def _code(spec: BuilderSpec, code_folder: Path) -> tuple[Fingerprint, tuple[str, ...]]:
    """Return what the builder's function does, and the files that it needs."""
    module, function = spec.code_module, spec.python_function
    try:
        if not spec.is_custom:
            return builtin.fingerprint(module, function), ()
        return fingerprint(code_folder, module, function), closure(code_folder, module)
    except TVBuilderError as error:
        if error.location is not None and error.location.line is not None:
            raise
        known = CodeFolder(code_folder).names if spec.is_custom else builtin.modules()
        field = "python_function" if module in known else "code_module"
        raise TVBuilderError(error.message, location=spec.location(field)) from error


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _pin(found: Mapping[str, Any]) -> Pin:
    return Pin(found["table"], found["instance_id"], tuple(found["columns"]))


def _builder(found: Mapping[str, Any]) -> PlannedBuilder:
    return PlannedBuilder(
        name=found["name"],
        sha256=found["sha256"],
        fields=found["fields"],
        function=Fingerprint(found["function"]["digest"], found["function"]["parts"]),
        dependencies=tuple(found["dependencies"]),
        pins=tuple((table, version) for table, version in found["pins"]),
        modules=tuple(found["modules"]),
        recipe=found["recipe"],
    )
