from __future__ import annotations

import pytest

from tablevault_like.builders.inputs import Pin, find_pin
from tablevault_like.builders.plan import make_plan
from tablevault_like.errors import TableReferenceError, TVArgumentError
from tests.builders.memory import Instances
from tests.builders.planning import CONFIG, column, error_of, index, order_of, plan_of


def test_references_to_other_tables_are_pinned_once(code):
    instances = Instances(stories={"id": [1], "text": ["x"]}, t={"id": [1]})
    plan = plan_of(
        code,
        {
            "a": column("a", "<<stories.text[id::<<self.id[index]>>]>>", "<<stories(base).id>>", "<<stories>>"),
            "b": column("b", "<<stories(stories_1).text[index]>>", "{x: ['<<stories.text[index]>>']}"),
            "c": column("c", "<<t.id[index]>>"),
        },
        instances,
    )
    assert {key: pin.instance_id for key, pin in plan.pins.items()} == {
        ("stories", None): "stories_1",
        ("stories", "base"): "stories_1",
        ("stories", "stories_1"): "stories_1",
        ("t", None): "t_1",
    }
    assert plan.builder("a").pins == (("stories", None), ("stories", "base"))
    assert plan.builder("b").pins == (("stories", None), ("stories", "stories_1"))
    assert plan.builder("c").pins == (("t", None),)
    assert len(instances.asked) == len(set(instances.asked)) == 4
    assert order_of(plan) == ["t_index", "a", "b", "c"]


def test_nothing_is_opened_if_no_reference_must_be_resolved(code):
    instances = Instances(stories={"id": [1]})
    plan_of(code, {"a": column("a", "<<stories.id[index]>>")}, instances)
    assert all(not pins for pins in instances.opened)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("<<papers.text>>", "The table 'papers' has no materialized instance yet."),
        ("<<stories(v2).text>>", "version or instance 'v2', has no materialized instance yet."),
        ("<<stories.txt>>", "The table 'stories' has no column 'txt' in its instance stories_1. Did you mean 'text'?"),
        ("<<stories.text[ids::3]>>", "has no column 'ids'"),
        ("x <<stories.text[id::<<papers.id[index]>>]>>", "'papers' has no materialized instance yet."),
    ],
)
def test_an_input_that_is_not_there_is_told_with_its_place(code, reference, message):
    error = error_of(code, {"a": column("a", reference)}, Instances(stories={"id": [1], "text": ["x"]}))
    assert error.startswith("a.yaml:8:7: ")
    assert message in error
    assert "^" in error


def test_an_unknown_table_is_told_as_the_vault_tells_it(code):
    def pin(table, version):
        raise TVArgumentError(f"There is no table {table!r}. Did you mean 'stories'?")

    with pytest.raises(TableReferenceError, match=r"^a.yaml:8:7: There is no table 'storys'. Did you mean 'stories'?"):
        make_plan(
            table="t",
            version="base",
            instance_id="i",
            builders={"t_index": index(), "a": column("a", "<<storys.text>>")},
            code_folder=code,
            pin=pin,
            open_frames=Instances().open,
        )


def test_names_that_are_references_are_resolved_if_they_are_the_same_for_all_rows(code):
    instances = Instances(stories={"id": [1], "text": ["x"]}, config=CONFIG)
    plan = plan_of(
        code,
        {
            "a": column(
                "a", "<<<<config.table[name::a]>>(<<config.version[name::a]>>).<<config.column[name::a]>>[index]>>"
            ),
            "b": column("b", "<<<<config.table[name::<<config.name[version::v9]>>]>>.a[index]>>"),
            "c": column("c", "<<self.<<config.column[n::3]>>[index]>>", more="n_threads: <<config.n[name::a]>>"),
        },
        instances,
    )
    assert plan.builder("a").pins == (("config", None), ("stories", "base"))
    assert plan.builder("b").dependencies == ("t_index", "a")
    assert plan.builder("c").dependencies == ("t_index",)
    assert plan.builder("c").pins == (("config", None),)


@pytest.mark.parametrize("table", ["<<self.text[index]>>", "<<self.text[id::3]>>", "<<config.table[index]>>"])
def test_a_table_that_differs_from_row_to_row_must_be_declared(code, table):
    instances = Instances(stories={"id": [1], "text": ["x"]}, config=CONFIG)
    reads = f"<<{table}.text[index]>>"
    assert "Which table this reads is only known when the builder runs." in error_of(
        code, {"a": column("a", reads)}, instances
    )
    plan = plan_of(code, {"a": column("a", reads, more="dependencies: [[stories, base], 'config.name']")}, instances)
    assert ("stories", "base") in plan.builder("a").pins
    assert ("config", None) in plan.builder("a").pins


def test_a_version_that_differs_from_row_to_row_must_be_declared_for_its_table(code):
    instances = Instances(stories={"id": [1], "text": ["x"]}, config=CONFIG)
    reads = "<<stories(<<self.text[index]>>).text[index]>>"
    error = error_of(code, {"a": column("a", reads, more="dependencies: [config]")}, instances)
    assert "Which version of 'stories' this reads" in error
    assert "dependencies: ['stories(base)']" in error
    plan = plan_of(code, {"a": column("a", reads, more="dependencies: [stories(base)]")}, instances)
    assert plan.builder("a").pins == (("stories", "base"),)


def test_a_declared_dependency_is_pinned_and_checked(code):
    instances = Instances(stories={"id": [1], "text": ["x"]})
    plan = plan_of(code, {"a": column("a", more="dependencies: ['stories.{id, text}', 'stories.*']")}, instances)
    assert plan.builder("a").pins == (("stories", None),)
    error = error_of(code, {"a": column("a", more="dependencies: [stories.id, stories.txt]")}, instances)
    assert error.startswith("a.yaml:9:28: The table 'stories' has no column 'txt'")
    assert "no materialized instance" in error_of(code, {"a": column("a", more="dependencies: [papers]")}, instances)


def test_a_column_that_differs_from_row_to_row_may_be_any_unless_declared(code):
    reads = "<<self.<<self.text[index]>>[index]>>"
    others = {"b": column("b"), "c": column("c")}
    plan = plan_of(code, {"a": column("a", reads), **others})
    assert plan.builder("a").dependencies == ("t_index", "b", "c")
    plan = plan_of(code, {"a": column("a", reads, more="dependencies: [self.c]"), **others})
    assert plan.builder("a").dependencies == ("t_index", "c")


def test_a_key_that_comes_to_index_is_no_column(code):
    instances = Instances(config={"key": ["index"]})
    plan = plan_of(code, {"a": column("a", "<<config.key[<<config.key[index::0]>>::0]>>")}, instances)
    assert plan.builder("a").pins == (("config", None),)


def test_a_name_must_be_text(code):
    error = error_of(code, {"a": column("a", "<<<<config>>.text>>")}, Instances(config=CONFIG))
    assert "should give a name, but it gives DataFrame" in error
    error = error_of(code, {"a": column("a", "<<<<config.table[name::z]>>.text>>")}, Instances(config=CONFIG))
    assert "should give a name, but it gives NoneType" in error


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("id::abc", "The condition doesn't fit the column 'id': 'abc' is not a value of dtype int64."),
        ("id::1:abc", "The range doesn't fit the column 'id': 'abc' is not a value of dtype int64."),
        ("text::x, id::1.5", "The condition doesn't fit the column 'id': '1.5'"),
        ("index::abc", "'index' is the position of a row: a number from 0, not 'abc'."),
        ("index::0:abc", "'index' is the position of a row: a number from 0, not 'abc'."),
    ],
)
@pytest.mark.parametrize("table", ["stories", "stories(base)", "<<config.table[name::a]>>"])
def test_text_in_a_condition_that_the_column_can_not_hold_is_told(code, table, condition, message):
    instances = Instances(stories={"id": [1], "text": ["x"]}, config=CONFIG)
    error = error_of(code, {"a": column("a", f"<<{table}.text[{condition}]>>")}, instances)
    assert error.startswith(f"a.yaml:8:7: {message}")
    shown, caret = error.splitlines()[-2:]
    assert shown[caret.index("^") :].startswith(("abc", "1.5"))


def test_text_in_a_condition_is_checked_wherever_the_reference_stands(code):
    instances = Instances(stories={"id": [1], "text": ["x"]})
    reads = "x <<self.id[text::<<stories.text[id::abc]>>]>>"
    assert "not a value of dtype int64" in error_of(code, {"a": column("a", reads)}, instances)
    assert "'index' is the position" in error_of(code, {"a": column("a", "<<self.id[index::abc]>>")}, instances)


@pytest.mark.parametrize(
    "condition", ["id::-7", "id::1:2.5", "any::abc", "id::<<self.id[index]>>", "text::~PROCESS_ID~", "id::~PROCESS_ID~"]
)
def test_text_in_a_condition_may_be_what_is_only_known_later(code, condition):
    instances = Instances(stories={"id": [1], "text": ["x"], "any": [[1]]})
    plan_of(code, {"a": column("a", f"<<stories.text[{condition}]>>")}, instances)


def test_an_example_of_a_declaration_names_tables_that_are_there(code):
    reads = "<<<<config.table[index]>>.text[index]>>"
    instances = Instances(config=CONFIG)
    told = error_of(code, {"a": column("a", reads)}, instances, tables=["config", "t", "papers"])
    assert "such as: dependencies: ['papers']" in told
    told = error_of(code, {"a": column("a", reads)}, instances, tables=["config", "t"])
    assert "such as: dependencies: ['config']" in told
    told = error_of(code, {"a": column("a", "<<<<self.id[index]>>.text[index]>>")}, instances, tables=["t"])
    assert told.splitlines()[0].endswith("Declare all that it may read in 'dependencies'.")


class TestFindPin:
    PIN = Pin("stories", "base_5_x", ("id",))

    @pytest.mark.parametrize("declared", [None, "base"])
    @pytest.mark.parametrize("version", [None, "base", "base_5_x"])
    def test_no_version_is_the_default_one_and_an_instance_is_known_by_its_id(self, declared, version):
        assert find_pin({("stories", declared): self.PIN}, "stories", version) is self.PIN

    @pytest.mark.parametrize(
        ("table", "version", "message"),
        [
            (
                "papers",
                None,
                "Which table this reads is known only now, and 'papers' was not pinned when the execution",
            ),
            ("stories", None, "Which version of 'stories' this reads is known only now"),
            ("storys", None, "Did you mean 'stories'?"),
            ("papers", None, "declare it in the builder: dependencies: ['papers']"),
            ("stories", "v2", "declare it in the builder: dependencies: ['stories(v2)']"),
        ],
    )
    def test_what_is_not_pinned_must_be_declared(self, table, version, message):
        with pytest.raises(TableReferenceError) as caught:
            find_pin({("stories", "base_5_x"): self.PIN}, table, version)
        assert message in str(caught.value)


def test_nested_references_are_found_in_time_that_grows_with_their_depth(code):
    reads = "<<config.name[name::a]>>"
    for _ in range(45):
        reads = f"<<config.name[name::{reads}]>>"
    plan = plan_of(
        code,
        {"a": column("a", reads), "b": column("b", f"<<<<config.table[name::{reads}]>>.text>>")},
        Instances(stories={"text": ["x"]}, config=CONFIG),
    )
    assert plan.builder("b").pins == (("config", None), ("stories", None))
