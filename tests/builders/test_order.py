from __future__ import annotations

import json
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders.plan import Plan, make_plan
from tablevault_like.errors import TableVaultError, TVBuilderError
from tests.builders.memory import Instances
from tests.builders.planning import column, error_of, index, order_of, plan_of


def test_builders_run_after_those_whose_columns_they_read(code):
    plan = plan_of(
        code,
        {
            "a": column("a", "<<self.b[index]>>", "<<self.text[index]>>"),
            "b": column("b", "'Sum of <<self.c[index]>>'"),
            "c": column("c", "<<self.id[index]>>"),
            "d": column("d"),
            "e": column("e", "<<config.x[name::<<self.d[index]>>]>>"),
            "f": column("f", "<<self.id[a::1]>>"),
            "g": column("g", "x", more="dependencies: [self.f]"),
        },
        Instances(config={"name": [1], "x": [2]}),
    )
    assert order_of(plan) == ["t_index", "c", "b", "a", "d", "e", "f", "g"]
    assert {builder.name: builder.dependencies for builder in plan.builders} == {
        "t_index": (),
        "c": ("t_index",),
        "b": ("t_index", "c"),
        "a": ("t_index", "b"),
        "d": ("t_index",),
        "e": ("t_index", "d"),
        "f": ("t_index", "a"),
        "g": ("t_index", "f"),
    }
    assert plan.columns == ("id", "text", "c", "b", "a", "d", "e", "f", "g")


def test_the_order_does_not_depend_on_the_order_of_files(code):
    builders = {"z": column("z"), "a": column("a", "<<self.m[index]>>"), "m": column("m"), "b": column("b")}
    assert order_of(plan_of(code, builders)) == ["t_index", "b", "m", "a", "z"]
    assert plan_of(code, dict(reversed(builders.items()))) == plan_of(code, builders)


def test_the_row_index_needs_no_column(code):
    plan = plan_of(code, {"a": column("a", "<<self.index>>", "<<self.text[index::3]>>")})
    assert plan.builder("a").dependencies == ("t_index",)


def test_the_whole_table_is_read_after_all_that_do_not_wait_for_it(code):
    plan = plan_of(
        code,
        {
            "a": column("a", "<<self>>"),
            "b": column("b", "<<self.x[index]>>"),
            "x": column("x"),
            "z": column("z", "<<self.a[index]>>"),
        },
    )
    assert order_of(plan) == ["t_index", "x", "b", "a", "z"]
    assert plan.builder("a").dependencies == ("t_index", "x", "b")


def test_of_two_that_read_the_whole_table_the_one_that_is_waited_for_is_first(code):
    plan = plan_of(code, {"a": column("a", "<<self>>"), "b": column("b", "<<self>>"), "c": column("c", "<<self.b>>")})
    assert order_of(plan) == ["t_index", "b", "c", "a"]
    plan = plan_of(code, {"a": column("a", "<<self>>"), "b": column("b", "<<self>>")})
    assert order_of(plan) == ["t_index", "a", "b"]


def test_a_column_may_be_changed_after_the_index_builder_made_it(code):
    plan = plan_of(
        code, {"a": column("a", "<<self.text[index]>>"), "b": column("text", "<<self.text[index]>>"), "c": column("c")}
    )
    assert order_of(plan) == ["t_index", "b", "a", "c"]
    assert plan.builder("b").dependencies == ("t_index",)
    assert plan.builder("a").dependencies == ("t_index", "b")


def test_a_circle_is_shown(code):
    builders = {
        "a": column("x", "<<self.y[index]>>"),
        "b": column("y", "<<self.z[index]>>"),
        "c": column("z", "<<self.x[index]>>"),
        "d": column("d", "<<self.x[index]>>"),
        "e": column("e", "<<self.text[index]>>"),
    }
    assert error_of(code, builders) == (
        "a.yaml:8:7: Builders wait for each other: a -> b -> c -> a "
        "(a reads self.y of b; b reads self.z of c; c reads self.x of a). Break the circle."
    )


def test_a_builder_can_not_read_what_it_makes_itself(code):
    error = error_of(
        code, {"z": column("z", "<<self.id[index]>>", "<<self.z[index]>>"), "b": column("b", "<<self.z>>")}
    )
    assert error == "z.yaml:9:7: The builder 'z' reads self.z, which it makes itself."


def test_a_column_that_nobody_makes_is_told_with_its_place(code):
    assert error_of(code, {"a": column("a", "hello <<self.txt[index]>>")}) == (
        "a.yaml:8:7: No builder makes the column 'txt' that <<self.txt[index]>> reads. Did you mean 'text'?"
    )
    assert "'colour'" in error_of(code, {"a": column("a", "<<self.text[colour::red]>>")})


@pytest.mark.parametrize(
    ("builders", "message"),
    [
        ({"x_index": index(), "t_index": column("a")}, "t_index.yaml:1:15: 't_index' must be the IndexBuilder"),
        ({"other": index("a")}, "other.yaml:1:15: The IndexBuilder of the table 't' must be named 't_index'"),
        ({"t_index": column("a")}, "t_index.yaml:1:15: 't_index' must be the IndexBuilder of the table 't'"),
        ({"a": column("x"), "b": column("y, x")}, "b.yaml:2:22: The column 'x' is changed by the builder 'a' already."),
    ],
)
def test_builders_must_fit_together(code, builders, message):
    assert error_of(code, builders).startswith(message)


def test_a_table_needs_an_index_builder(code):
    instances = Instances()
    with pytest.raises(TVBuilderError, match=r"no IndexBuilder.* Create the builder file t_index.yaml"):
        make_plan(
            table="t",
            version="base",
            instance_id="i",
            builders={"a": column("a")},
            code_folder=code,
            pin=instances.pin,
            open_frames=instances.open,
        )


def reads_whole_table(plan: Plan, reads: Mapping[str, list[str]], name: str) -> bool:
    return "" in reads.get(name, ()) or any(
        reads_whole_table(plan, reads, other) for other in plan.builder(name).dependencies
    )


@given(data=st.data())
def test_any_order_of_any_builders_has_inputs_before_readers(data, tmp_path_factory):
    folder = tmp_path_factory.getbasetemp() / "any_order"
    folder.mkdir(exist_ok=True)
    (folder / "work.py").write_text("def make(): pass\ndef fill(**a): pass\n")
    names = data.draw(st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=6))
    reads = {
        name: data.draw(st.lists(st.sampled_from([*names[:position], "text", ""]), max_size=3))
        for position, name in enumerate(names)
    }
    builders = {
        name: column(name, *(f"<<self.{other}[index]>>" if other else "<<self>>" for other in others))
        for name, others in reads.items()
    }
    try:
        plan = plan_of(folder, builders)
    except TableVaultError as error:
        pytest.fail(str(error))
    placed = order_of(plan)
    assert sorted(placed) == sorted(["t_index", *names])
    for name, others in reads.items():
        needed = {other if other != "text" else "t_index" for other in others if other}
        assert needed <= set(placed[: placed.index(name)])
        assert needed <= set(plan.builder(name).dependencies)
        if "" in others:
            later = placed[placed.index(name) + 1 :]
            # Whatever comes later reads the whole table too, or waits for what does.
            assert all(reads_whole_table(plan, reads, other) for other in later)
    assert json.loads(plan.to_json())["builders"][0]["name"] == "t_index"
