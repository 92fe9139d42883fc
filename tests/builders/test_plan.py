from __future__ import annotations

import sys

import pytest

from tablevault_like.builders.plan import Plan
from tablevault_like.errors import TVBuilderError, TVFileError
from tests.builders.memory import Instances
from tests.builders.planning import CONFIG, ORIGIN, column, error_of, index, plan_of


def test_an_index_builder_reads_the_rows_of_its_origin(code):
    reading = {"t_index": index(more="return_type: row-wise\narguments: {a: '<<self.extra[index]>>'}")}
    plan = plan_of(code, reading, origin=ORIGIN)
    assert plan.origin == ORIGIN
    assert plan.builders[0].dependencies == ()
    assert "unless the instance has an origin" in error_of(code, reading)
    unknown = {"t_index": index(more="arguments: {a: '<<self.extras>>'}")}
    assert "Did you mean 'extra'?" in error_of(code, unknown, origin=ORIGIN)
    assert "unless the instance has an origin" in error_of(code, {"t_index": index(more="arguments: {a: '<<self>>'}")})


def test_a_row_wise_index_builder_needs_an_origin(code):
    error = error_of(code, {"t_index": index(more="return_type: row-wise")})
    assert error.startswith("t_index.yaml:6:14: A row-wise IndexBuilder works on the rows of the instance's origin")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("code_module: work", "code_module: works"), "There is no code module 'works'. Did you mean 'work'?"),
        (("fill", "fil"), "has no function 'fil'. Did you mean 'fill'?"),
        (("fill", "os.fill"), "python_function is the name of a function in 'work'"),
    ],
)
def test_a_function_that_is_not_there_is_told_with_its_place(code, change, message):
    error = error_of(code, {"a": column("a").replace(*change)})
    assert error.startswith("a.yaml:")
    assert message in error


def test_a_module_that_is_not_python_is_told_with_its_place(code):
    (code / "text_tools.py").write_text("def clean(:\n")
    error = error_of(code, {"a": column("a")})
    assert f"{code / 'text_tools.py'}:1:11" in error


def test_planning_runs_no_user_code(code):
    before = set(sys.modules)
    plan_of(code, {"a": column("a")})
    assert not {name for name in set(sys.modules) - before if "work" in name or "text_tools" in name}


def test_modules_are_those_that_functions_need(code):
    plan = plan_of(code, {"a": column("a")})
    assert plan.modules == ("text_tools.py", "work.py")


def test_a_plan_survives_json(code):
    instances = Instances(stories={"id": [1], "text": ["x"]})
    plan = plan_of(
        code,
        {
            "a": column("a", "<<stories.text[index]>>", "{1: 2024-05-01, b: .nan}"),
            "b": column("b", "<<stories(base).id[index]>>", "<<self>>"),
        },
        instances,
        origin=ORIGIN,
    )
    text = plan.to_json()
    assert Plan.from_json(text) == plan
    assert Plan.from_json(text).to_json() == text
    assert Plan.from_json(text).builder("a").fingerprint == plan.builder("a").fingerprint


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", "null", '{"format": 1}', '{"format": 99}', '{"format": 1, "table": "t", "builders": 3}']
)
def test_a_damaged_plan_is_told(text):
    with pytest.raises(TVFileError):
        Plan.from_json(text)


def test_a_planned_builder_is_specified_again_from_the_same_text_only(code):
    instances = Instances(config=CONFIG)
    text = column("a", "<<config.n[index]>>", more="n_threads: <<config.n[name::b]>>")
    plan = Plan.from_json(plan_of(code, {"a": text}, instances).to_json())
    spec = plan.builder("a").specify(text, instances.open(plan.pins))
    assert spec.n_threads == 4
    assert spec.normalized() == plan.builder("a").fields
    with pytest.raises(TVFileError, match="isn't what was planned"):
        plan.builder("a").specify(text + "# edited", instances.open(plan.pins))


def test_an_unknown_builder_is_told(code):
    with pytest.raises(TVBuilderError, match="Did you mean 'scores'"):
        plan_of(code, {"scores": column("a")}).builder("score")
