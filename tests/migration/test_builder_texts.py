"""Builder files of 0.1 become ones that this library reads."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders import spec
from tablevault_like.migration.builder_texts import BuilderText, bring
from tablevault_like.migration.names import Names

HEAD = """builder_type: ColumnBuilder   # a comment
changed_columns: [a, b]
python_function: f
code_module: m
is_custom: true
arguments:
  x: <<t.c[index]>>
return_type: row-wise
"""


def brought(text: str, *, names: Names | None = None, unpinned: dict[str, str] | None = None) -> BuilderText:
    return bring(text, "b", names=names or Names({}, {}, {}), unpinned=unpinned or {})


def test_a_file_that_needs_no_change_stays_as_it_is() -> None:
    text = HEAD + "dtypes: {a: Int64, b: artifact_string}\nn_threads: 3\ndependencies: null\n"

    assert brought(text) == BuilderText(text, ())


def test_a_field_that_is_ignored_becomes_a_comment() -> None:
    found = brought(HEAD + "speed:\n  high: true\n  why: [1,\n    2]\n\n# the end\n")

    assert found.text == HEAD + (
        "# Not kept from TableVault 0.1: there is no such field\n"
        "# speed:\n#   high: true\n#   why: [1,\n#     2]\n\n# the end\n"
    )
    assert found.notes == ("0.1 ignored the field 'speed'; it is a comment now",)
    spec.read_builder(found.text, "b")


def test_a_name_that_isnt_the_files_becomes_a_comment() -> None:
    found = brought("name: other\n" + HEAD)

    assert found.text.startswith("# Not kept from TableVault 0.1: the builder is named after its file\n# name: other\n")
    assert found.notes == ()


@pytest.mark.parametrize("line", ["primary_key: [a]", "keep_old: true"])
def test_what_only_an_index_builder_has_stays_there_and_nowhere_else(line: str) -> None:
    found = brought(f"{line}\n{HEAD}")

    assert f"# {line}\n" in found.text
    assert "ignored" in found.notes[0]
    index = f"{line}\n{HEAD}".replace("ColumnBuilder", "IndexBuilder").replace("<<t.c[index]>>", "1")
    assert brought(index) == BuilderText(index, ())


def test_dtypes_become_those_that_0_1_used_instead() -> None:
    found = brought(HEAD + 'dtypes: {a: int64, "b": float32}\n')

    assert found.text == HEAD + 'dtypes: {a: Int64, "b": Float64}\n'
    assert found.notes == ()


def test_dtypes_of_other_columns_become_a_comment() -> None:
    found = brought(HEAD + "dtypes:\n  a: int\n  other: Int64\n")

    assert found.text == HEAD + (
        "# Not kept from TableVault 0.1: some are of columns that this builder doesn't change\n"
        "# dtypes:\n#   a: int\n#   other: Int64\ndtypes:\n  a: Int64\n"
    )
    assert found.notes == ("dtypes of columns that the builder doesn't change ('other') are a comment now",)


def test_dependencies_that_are_mappings_become_text() -> None:
    text = HEAD + "dependencies:\n- {table: t, columns: [c, d], version: v.1}\n- table: u\n"
    found = brought(text, names=Names({"t": "t-1"}, {"v.1": "v-1"}, {}))

    assert "- 't-1(v-1).{c, d}'\n- 'u'" in found.text
    assert {each.table for each in spec.read_builder(found.text, "b").dependencies} == {"t-1", "u"}


def test_modules_and_tables_have_their_new_names() -> None:
    found = brought(HEAD, names=Names({"t": "t-1"}, {}, {"m": "m_1"}))

    assert found.text == HEAD.replace("code_module: m", "code_module: m_1").replace("<<t.", "<<t-1.")
    assert found.notes == ("the code module 'm' is named 'm_1' now",)


def test_a_reference_that_means_another_version_now_is_told() -> None:
    found = brought(HEAD, unpinned={"t": "short"})

    assert found.text == HEAD
    [note] = found.notes
    assert note == (
        "<<t>> means its newest instance of version 'base' now; in 0.1 it meant the newest of any version, one of "
        "'short': write <<t(short)...>> if that is meant"
    )
    assert brought(HEAD.replace("<<t.", "<<t(short)."), unpinned={"t": "short"}).notes == ()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "- a\n",
        "a: [",
        "{builder_type: ColumnBuilder}",
        HEAD.replace("x:", "x: &a"),
        HEAD + "n_threads: 0\n",
        "\x00",
    ],
)
def test_what_is_refused_stays_as_it_is_and_is_told(text: str) -> None:
    found = brought(text)

    assert found.text == text
    assert found.notes[0].startswith("tablevault_like refuses it: b.yaml:")


@given(
    st.text(max_size=60)
    | st.builds(lambda part, text: HEAD + part + text, st.sampled_from(["dtypes: ", "x: "]), st.text())
)
def test_any_text_is_brought_or_told(text: str) -> None:
    found = brought(text)

    if not found.notes:
        spec.read_builder(found.text, "b")
