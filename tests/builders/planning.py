"""Plans of small tables, made of few words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tablevault_like.builders.inputs import Pin
from tablevault_like.builders.plan import Plan, make_plan
from tablevault_like.errors import TableReferenceError, TVBuilderError
from tests.builders.memory import Columns, Instances

COLUMN = """\
builder_type: ColumnBuilder
changed_columns: [size]
python_function: measure
code_module: sizes
is_custom: true
return_type: row-wise
"""

CONFIG: Columns = {
    "name": ["a", "b"],
    "table": ["stories", "self"],
    "version": ["base", "v9"],
    "column": ["text", "text"],
    "n": [3, 4],
}


STORIES: Columns = {"id": [1], "text": ["x"]}


ORIGIN = Pin("t", "t_0", ("id", "text", "extra"))


def index(columns: str = "id, text", *, more: str = "") -> str:
    return (
        f"builder_type: IndexBuilder\nchanged_columns: [{columns}]\npython_function: make\ncode_module: work\n"
        f"is_custom: true\n{more}\n"
    )


def column(columns: str, *reads: str, more: str = "") -> str:
    arguments = "".join(f"  a{n}: {text}\n" for n, text in enumerate(reads)) or "  a: 1\n"
    return (
        f"builder_type: ColumnBuilder\nchanged_columns: [{columns}]\npython_function: fill\ncode_module: work\n"
        f"is_custom: true\nreturn_type: row-wise\narguments:\n{arguments}{more}\n"
    )


def plan_of(
    code: Path,
    builders: Mapping[str, str],
    instances: Instances | None = None,
    *,
    origin: Pin | None = None,
    tables: Sequence[str] = (),
) -> Plan:
    instances = instances or Instances()
    return make_plan(
        table="t",
        version="base",
        instance_id="base_5_new",
        builders={"t_index": index(), **builders},
        code_folder=code,
        pin=instances.pin,
        open_frames=instances.open,
        origin=origin,
        tables=tables,
    )


def order_of(plan: Plan) -> list[str]:
    return [builder.name for builder in plan.builders]


def error_of(
    code: Path,
    builders: Mapping[str, str],
    instances: Instances | None = None,
    *,
    origin: Pin | None = None,
    tables: Sequence[str] = (),
) -> str:
    with pytest.raises((TVBuilderError, TableReferenceError)) as caught:
        plan_of(code, builders, instances, origin=origin, tables=tables)
    return str(caught.value)
