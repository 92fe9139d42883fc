from __future__ import annotations

from tablevault_like.builders.changes import changed_builders, differences
from tests.builders.conftest import TOOLS
from tests.builders.memory import Instances
from tests.builders.planning import ORIGIN, STORIES, column, plan_of

BUILDERS = {
    "a": column("a", "<<stories.text[index]>>"),
    "b": column("b", "<<self.a[index]>>"),
    "c": column("c", "<<self.text[index]>>"),
}


def compare(code, new_builders=BUILDERS, new_instances=None, *, edit=None, new_origin=None):
    old = plan_of(code, BUILDERS, Instances(stories=STORIES))
    if edit is not None:
        (code / edit[0]).write_text((code / edit[0]).read_text().replace(edit[1], edit[2]))
    new = plan_of(code, new_builders, new_instances or Instances(stories=STORIES), origin=new_origin)
    changes = changed_builders(old, new)
    return differences(old, new), set(changes.changed), set(changes.dependent), set(changes.removed)


def test_what_means_the_same_is_no_difference(code):
    same = {
        name: "# a comment\n" + text.replace("is_custom: true", "is_custom: yes") for name, text in BUILDERS.items()
    }
    same["a"] += "n_threads: 4\n"
    edit = ("text_tools.py", "def unused(text):\n    return text", "def unused(text):\n    return 3  # a comment")
    assert compare(code, same, edit=edit) == ([], set(), set(), set())


def test_a_changed_field_is_told(code):
    new = BUILDERS | {"a": column("a", "'<<stories.text[index]>> again'")}
    assert compare(code, new) == (
        ["""builder 'a': arguments.a0 is now "<<stories.text[index]>> again", it was "<<stories.text[index]>>\""""],
        {"a"},
        {"b"},
        set(),
    )
    lines, changed, *_ = compare(code, BUILDERS | {"c": BUILDERS["c"] + "dtypes: {c: string}\n"})
    assert lines == ["""builder 'c': dtypes is now {"c": "string"}, it was {}"""]
    assert changed == {"c"}
    assert compare(code, BUILDERS | {"c": column("c", "<<self.text[index]>>", "2")})[0] == [
        "builder 'c': arguments.a1 is new: 2"
    ]


def test_a_changed_function_is_told_for_all_that_use_it(code):
    edit = ("text_tools.py", "def clean(text):\n    return text", "def clean(text):\n    return text.strip()")
    lines, changed, dependent, _ = compare(code, edit=edit)
    assert lines == [f"builder '{name}': text_tools.clean changed" for name in "abc"]
    assert (changed, dependent) == ({"a", "b", "c"}, set())
    (code / "text_tools.py").write_text(TOOLS)
    lines, changed, dependent, _ = compare(code, edit=("work.py", "LIMIT = 3", "LIMIT = 4"))
    assert lines == ["builder 't_index': work.LIMIT changed"]
    assert (changed, dependent) == ({"t_index"}, {"a", "b", "c"})


def test_a_changed_input_is_told(code):
    newer = Instances(stories=STORIES)
    newer.ids = {("stories", None): "stories_2"}
    assert compare(code, new_instances=newer) == (
        ["input stories is now stories_2, it was stories_1"],
        {"a"},
        {"b"},
        set(),
    )


def test_added_and_removed_builders_are_told(code):
    lines, changed, dependent, removed = compare(code, BUILDERS | {"d": column("d")})
    assert (lines, changed, dependent, removed) == (["builder 'd' is new"], {"d"}, set(), set())
    fewer = {name: text for name, text in BUILDERS.items() if name != "c"}
    assert compare(code, fewer) == (["builder 'c' was removed"], set(), set(), {"c"})


def test_a_column_that_another_builder_makes_now_is_told(code):
    lines, changed, dependent, removed = compare(code, BUILDERS | {"d": column("text")})
    assert lines == ["builder 'c': it now reads what these make: d, t_index", "builder 'd' is new"]
    assert (changed, dependent, removed) == ({"c", "d"}, set(), set())


def test_a_changed_origin_is_told(code):
    lines, changed, dependent, _ = compare(code, new_origin=ORIGIN)
    assert lines == ["the origin is now t t_0, it was none"]
    assert (changed, dependent) == ({"t_index"}, {"a", "b", "c"})
