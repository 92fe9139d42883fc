from __future__ import annotations

import pytest

from tablevault_like.builders.plan import make_plan
from tablevault_like.builders.spec import read_builder
from tablevault_like.builders.template import template
from tablevault_like.functions import builtin
from tablevault_like.functions.signature import validate_arguments
from tablevault_like.model import BuilderType
from tests.builders.memory import Instances, Tables


@pytest.mark.parametrize("kind", BuilderType)
def test_a_template_is_a_builder_whose_function_can_be_called(kind):
    spec = read_builder(template("stories", kind), "stories_index").resolve(Tables())
    assert spec.builder_type is kind
    function = builtin.function(spec.code_module, spec.python_function)
    assert spec.arguments.names is not None
    validate_arguments(function, spec.arguments.names)
    result = function(**spec.written_arguments)
    if kind is BuilderType.INDEX:
        assert list(result.columns) == list(spec.changed_columns)
    else:
        assert isinstance(result, str)


@pytest.mark.parametrize("kind", BuilderType)
def test_what_a_template_shows_in_comments_is_right(kind):
    text = template("stories", kind)
    shown = (
        text.replace("# dtypes:", "dtypes:").replace("#   text:", "  text:").replace("# dependencies", "dependencies")
    )
    shown = shown.replace("[id]", "[id, text]") if kind is BuilderType.INDEX else shown
    spec = read_builder(shown, "stories_index").resolve(Tables())
    assert spec.dtypes == {"text": "string"}
    assert [dependency.table for dependency in spec.dependencies] == ["stories"]


def test_templates_make_a_plan_together(tmp_path):
    instances = Instances()
    builders = {
        "stories_index": template("stories", BuilderType.INDEX),
        "texts": template("stories", BuilderType.COLUMN),
    }
    plan = make_plan(
        table="stories",
        version="base",
        instance_id="i",
        builders=builders,
        code_folder=tmp_path,
        pin=instances.pin,
        open_frames=instances.open,
    )
    assert plan.columns == ("id", "text")
    assert plan.modules == ()
