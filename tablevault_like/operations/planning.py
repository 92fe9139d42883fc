"""Plan the execution of a temporary instance: read its builder files, and pin what they read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tablevault_like.catalog import Database, instances, tables
from tablevault_like.errors import Location, TVArgumentError, TVBuilderError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import (
    BASE_VERSION,
    TEMP_PREFIX,
    InstanceRecord,
    LockRequest,
    Resource,
    check_builder_name,
    is_instance_id,
)
from tablevault_like.process.operation import View
from tablevault_like.storage import places

if TYPE_CHECKING:
    from tablevault_like.builders.inputs import Pin
    from tablevault_like.builders.plan import Plan


@dataclass(frozen=True)
class Planned:
    """What an execution found out when it declared its locks: the plan, and the texts of the builders it is made of."""

    plan: Plan
    texts: Mapping[str, str]


def plan(
    view: View, temporary: InstanceRecord, *, pinned: Plan | None = None, builders_of: InstanceRecord | None = None
) -> Planned:
    """Plan the execution of a temporary instance as its files are now, on the inputs of ``pinned`` where it has any.

    ``builders_of`` is the instance that has its builder files, if it is yet to be made.
    """
    from tablevault_like.builders.frames import FrameCache
    from tablevault_like.builders.inputs import PinKey, known_pin
    from tablevault_like.builders.plan import make_plan
    from tablevault_like.operations.execution import pinned_tables

    place, texts = _read_builders(view, builders_of or temporary)

    def pin(table: str, version: str | None) -> Pin:
        found = None if pinned is None else known_pin(pinned.pins, table, version)
        return found or _pin(view.db, table, version)

    def open_frames(pins: Mapping[PinKey, Pin]) -> FrameCache:
        return FrameCache(pinned_tables(view.layout, view.db, pins), artifact_folder=place.artifacts)

    origin_table, origin_id = temporary.origin_table or "", temporary.origin_id or ""
    # It may have been deleted since. Its builders are here, and mostly that is all that matters of it.
    is_there = instances.find(view.db, origin_table, origin_id) is not None
    origin = _pin(view.db, origin_table, origin_id) if is_there else None
    made = make_plan(
        table=temporary.table_name,
        version=temporary.version,
        instance_id=temporary.instance_id,
        builders=texts,
        code_folder=view.layout.code_functions,
        pin=pin,
        open_frames=open_frames,
        origin=origin,
        deleted_origin=None if is_there else temporary.origin_id,
        tables=tables.names(view.db),
        path_of=place.builder,
    )
    if temporary.origin_id is not None and origin is None:
        _refuse_keeping_old(made, temporary)
    return Planned(made, texts)


def input_locks(plan: Plan) -> list[LockRequest]:
    """Return the locks on what a plan reads."""
    pins = [*plan.pins.values(), *([plan.origin] if plan.origin else [])]
    wanted = dict.fromkeys((pin.table, pin.instance_id) for pin in pins)
    return [LockRequest.shared(Resource.instance(table, instance_id)) for table, instance_id in wanted]


def _refuse_keeping_old(plan: Plan, temporary: InstanceRecord) -> None:
    """Raise TVArgumentError if rows are to be kept of an origin that is gone."""
    for builder in plan.builders:
        if builder.fields["keep_old"]:
            raise TVArgumentError(
                f"The builder {builder.name!r} is to keep old rows, but the origin {temporary.origin_id!r} of "
                f"{temporary.table_name}/{temporary.instance_id} was deleted. Remove keep_old, or create the instance "
                "from another origin."
            )


def _read_builders(view: View, temporary: InstanceRecord) -> tuple[InstanceLayout, dict[str, str]]:
    """Return where an instance's builder files lie, and their texts by name.

    After a rename of the table the folder and the IndexBuilder's file follow in their own time: what vanishes while it
    is read is looked for again.
    """
    texts: dict[str, str] = {}
    for is_last in (False, False, True):
        place = places.instance_layout(view.layout, temporary)
        for path in place.builders.glob("*.yml"):
            raise TVBuilderError("The name of a builder file ends in .yaml. Rename it.", location=Location(path))
        paths = places.builder_files(place, temporary.table_name)
        try:
            texts = {name: _builder_text(path) for name, path in paths.items()}
        except (TVBuilderError, OSError):
            if is_last or all(path.exists() for path in paths.values()):
                raise
            continue
        if texts:
            break
    return place, texts


def _builder_text(path: Path) -> str:
    from tablevault_like.builders import document

    if path.is_symlink() or not path.is_file():
        raise TVBuilderError("This is a link, or no file. Put the builder file itself there.", location=Location(path))
    try:
        check_builder_name(path.stem)
    except TVArgumentError as error:
        raise TVBuilderError(f"{error} Rename the file.", location=Location(path)) from None
    return document.text_of(path)


def _pin(db: Database, table: str, version: str | None) -> Pin:
    """Return the newest active instance of a table and version, or the instance of that id.

    Raises TVArgumentError, with the nearest name, if there is none.
    """
    from tablevault_like.builders.inputs import Pin

    if version is not None and version.startswith(TEMP_PREFIX):
        raise TVArgumentError(
            f"{version!r} is a temporary instance, and only materialized ones can be read. Execute it first, and "
            f"refer to its version: {table}({version.removeprefix(TEMP_PREFIX)})."
        )
    if version is not None and is_instance_id(version):
        found = instances.get(db, table, version)
    else:
        found = instances.get_newest(db, table, version or BASE_VERSION)
    columns = tuple(column.name for column in instances.columns(db, table, found.instance_id))
    return Pin(found.table_name, found.instance_id, columns)
