"""Recipes: equal where equal inputs make equal results, and only there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.builders.inputs import read_by_itself
from tablevault_like.builders.recipe import recipe
from tablevault_like.builders.spec import BuilderSpec, read_builder
from tests.builders.memory import Instances, Tables
from tests.builders.planning import ORIGIN, column, index, plan_of


def spec(arguments: str = "{a: '<<t.x[index]>>'}", *, columns: str = "[c, d]", more: str = "") -> BuilderSpec:
    text = (
        f"builder_type: ColumnBuilder\nchanged_columns: {columns}\npython_function: f\ncode_module: m\n"
        f"is_custom: true\nreturn_type: row-wise\narguments: {arguments}\n{more}"
    )
    return read_builder(text, "b").resolve(Tables())


def of(arguments: str = "{a: '<<t.x[index]>>'}", **fields: str) -> str:
    return recipe(spec(arguments, **fields), "digest")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{a: '<<t.x[index]>>'}", "{a: '<<u(v).y[index]>>'}"),
        ("{a: '<<t.x[index]>>'}", "{a: '<<self.x[index]>>'}"),
        ("{a: '<<t.x[index]>>'}", "{a: '<<t.x[y::<<self.z[index]>>]>>'}"),
        ("{a: '<<t.x>>', b: '<<t.y>>'}", "{a: '<<t.y>>', b: '<<u.x>>'}"),
        ("{a: 'see <<t.x[index]>>'}", "{a: 'see <<u.x[index]>>'}"),
        ("{a: '~ROW_KEY~'}", "{a: '~ROW_KEY~'}  # a comment"),
    ],
)
def test_where_inputs_come_from_is_nothing(one: str, other: str) -> None:
    assert of(one) == of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("{a: 1}", "{a: 1.0}"),
        ("{a: 1}", "{a: true}"),
        ("{a: 1}", "{a: '1'}"),
        ("{a: 1}", "{b: 1}"),
        ("{a: null}", "{}"),
        ("{a: x}", "{a: [x]}"),
        ("{a: [x]}", "{a: [[x]]}"),
        ("{a: {b: c}}", "{a: [[b, c]]}"),
        ("{a: {b: 1, c: 2}}", "{a: {c: 2, b: 1}}"),  # a function may show a dict
        ("{a: 2024-01-31}", "{a: '2024-01-31'}"),
        ("{a: '<<t.x>>'}", "{a: '<<t.x[index]>>'}"),
        ("{a: '<<t.x>>'}", "{a: 'see <<t.x>>'}"),
        ("{a: '<<t.x>>'}", "{a: ['<<t.x>>']}"),
        ("{a: '<<t.x>>'}", "{a: [constant, 0]}"),
        ("{a: '<<t.x>>', b: '<<t.x>>'}", "{a: '<<t.x>>', b: '<<t.y>>'}"),
        ("{a: '<<t.x>>', b: '<<t.y>>', c: '<<t.x>>'}", "{a: '<<t.x>>', b: '<<t.y>>', c: '<<t.y>>'}"),
        ("{a: '<<t.x[index]>>-<<t.y[index]>>'}", "{a: '<<t.x[index]>>+<<t.y[index]>>'}"),
        ("{a: '<<t.x[index]>><<t.y[index]>>'}", "{a: '<<t.x[index]>><<t.x[index]>>'}"),
        ("{a: '~PROCESS_ID~'}", "{a: '~ROW_KEY~'}"),
        ("{'<<t.x>>': 1}", "{a: 1}"),
    ],
)
def test_what_a_function_is_given_counts(one: str, other: str) -> None:
    assert of(one) != of(other)


def test_columns_and_their_dtypes_count() -> None:
    others = [
        of(),
        of(columns="[d, c]"),
        of(columns="[c]"),
        of(more="dtypes: {c: Int64}"),
        of(more="dtypes: {c: Int32}"),
        of(more="dtypes: {d: Int64}"),
        recipe(spec(), "another"),
        recipe(spec(), "digest", read=["base_1_a"]),
        recipe(spec(), "digest", read=["base_1_b"]),
    ]
    assert len(set(others)) == len(others)


@pytest.mark.parametrize("more", ["n_threads: 7", "reuse: never", "# a comment", "name: b"])
def test_how_it_is_run_is_nothing(more: str) -> None:
    assert of() == of(more=more)


class TestWhatAFunctionReadsByItself:
    """A declared dependency that no reference reads."""

    @pytest.mark.parametrize(
        ("declared", "argument", "found"),
        [
            ("[t]", "x", [("t", None)]),
            ("[t.y, [t, v], self.a]", "x", [("t", None), ("t", "v")]),
            ("[t, u]", "<<u.x[index]>>", [("t", None)]),
            ("[t]", "<<t(v).x>>", [("t", None)]),
            ("[t, u]", "<<<<self.name[index]>>.x[index]>>", []),
            ("[t, u]", "<<t(<<self.name[index]>>).x[index]>>", []),
        ],
    )
    def test_is_told_from_what_references_may_read(
        self, declared: str, argument: str, found: list[tuple[str, str | None]]
    ) -> None:
        made = spec(f"{{a: '{argument}'}}", more=f"dependencies: {declared}")
        assert read_by_itself(made.dependencies, made.arguments.references) == found

    def test_is_part_of_the_recipe(self, code: Path) -> None:
        def of(instance_id: str, more: str) -> str:
            instances = Instances(stories={"text": ["x"]})
            instances.ids["stories", None] = instance_id
            return plan_of(code, {"a": column("a", more=more)}, instances).builder("a").recipe

        assert of("base_1_a", "dependencies: [stories]") == of("base_1_a", "dependencies: [stories]")
        assert of("base_1_a", "dependencies: [stories]") != of("base_2_b", "dependencies: [stories]")
        assert of("base_1_a", "") == of("base_2_b", "")


class TestColumnsOfTheOrigin:
    """Those that a row-wise IndexBuilder leaves as they are."""

    ROW_WISE = index("text", more="return_type: row-wise\narguments: {a: '<<self.text[index]>>'}")

    def test_can_be_read(self, code: Path) -> None:
        plan = plan_of(code, {"t_index": self.ROW_WISE, "a": column("a", "<<self.extra[index]>>")}, origin=ORIGIN)
        assert plan.builder("a").dependencies == ("t_index",)

    def test_are_read_as_a_column_builder_leaves_them(self, code: Path) -> None:
        builders = {
            "t_index": self.ROW_WISE,
            "a": column("a", "<<self.extra[index]>>"),
            "z": column("extra", "<<self.extra[index]>>"),
        }
        plan = plan_of(code, builders, origin=ORIGIN)
        assert [builder.name for builder in plan.builders] == ["t_index", "z", "a"]
        assert plan.builder("a").dependencies == ("t_index", "z")
        assert plan.builder("z").dependencies == ("t_index",)
