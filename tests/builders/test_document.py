from __future__ import annotations

import contextlib
import datetime
import pickle
import time
from typing import cast

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders import document
from tablevault_like.builders.document import Document, KeyPath, read
from tablevault_like.errors import TVBuilderError


def error_of(text: str) -> TVBuilderError:
    with pytest.raises(TVBuilderError) as caught:
        read(text, "f.yaml")
    return caught.value


def place_of(error: TVBuilderError) -> tuple[int | None, int | None]:
    assert error.location is not None
    return error.location.line, error.location.column


def test_plain_values_mean_what_they_mean_to_pyyaml():
    text = """
        text: hello
        block: |
          two
          lines
        on_off: [on, off, yes, no, true, false]
        numbers: [1, -2, 0x1f, 017, 1_000, 1:30, 1.5, 1e3, .inf, 0]
        nothing: [null, ~, ]
        day: 2024-05-01
        moment: 2024-05-01T10:20:30Z
        1: one
        2024-05-01: a date as a key
    """
    assert read(text, "f.yaml").value == yaml.safe_load(text)


def test_dates_stay_dates():
    assert read("a: 2024-05-01", "f.yaml").value == {"a": datetime.date(2024, 5, 1)}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n...\n", "~"])
def test_an_empty_document_is_none(text):
    assert read(text, "f.yaml").value is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a: <<stories.text[index]>>", "<<stories.text[index]>>"),
        ("a: <<stories.{text, title}[id::<<self.id[index]>>]>>", "<<stories.{text, title}[id::<<self.id[index]>>]>>"),
        ("a: <<", "<<"),
        ("a: =", "="),
        ("a: ~ARTIFACT_FOLDER~", "~ARTIFACT_FOLDER~"),
        ("a: !!str 5", "5"),
        ("a: '& * ! % @ {'", "& * ! % @ {"),
    ],
)
def test_unquoted_references_and_keywords_are_text(text, value):
    assert read(text, "f.yaml").value == {"a": value}


def test_a_reference_may_be_a_key():
    assert read("<<orders.id>>: 1", "f.yaml").value == {"<<orders.id>>": 1}


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("a: 1\nb: &x 1", (2, 4), "Anchors"),
        ("a: *x", (1, 4), "aliases"),
        ("&x a: 1", (1, 1), "Anchors"),
        ("a:\n  <<: {b: 1}", (2, 3), "Merge keys"),
        ("a: 1\nb: 2\na: 3", (3, 1), "The key 'a' is given twice; it stands in line 1"),
        ("1: a\ntrue: b", (2, 1), "given twice"),
        ("a: {b: 1, b: 2}", (1, 11), "given twice"),
        ("a: !!binary aGk=", (1, 4), "The tag '!!binary'"),
        ("a: !!set {b}", (1, 4), "The tag '!!set'"),
        ("a: !!python/object/apply:os.system [true]", (1, 4), "The tag '!!python/object/apply:os.system'"),
        ("!x {a: 1}", (1, 1), "The tag '!x'"),
        ("a: 1\n---\nb: 2", (2, 1), "second document"),
        ("a: 1\n...\n--- {}", (3, 1), "second document"),
        ("? [a]\n: 1", (1, 3), "A key must be a single value"),
        ("a: {{prompt}}", (1, 5), "put it in quotes"),
        ("a: 2024-13-45", (1, 4), "not a valid date"),
        ("a: !!int x", (1, 4), "not a valid integer"),
        ("a: !!int ''", (1, 4), "not a valid integer"),
        ("a: !!bool maybe", (1, 4), "not a valid boolean"),
        ("a: !!timestamp soon", (1, 4), "not a valid date"),
        ("a: b: c", (1, 5), "quotes"),
        ("a:\n\t- 1", (2, 1), "spaces instead of tabs"),
        ("a: [<<b.c[index]>>]", (1, 17), "such as a <<reference>>, in quotes"),
        ("a: {b: <<c.{d,e}>>}", (1, 12), "such as a <<reference>>, in quotes"),
        ("a: @x", (1, 4), "quotes"),
        ("a: * b", (1, 5), "quotes"),
        ("a: 'b", (1, 6), "Close the quotes"),
        ("a: 1\nb: x\x07", (2, 5), "'\\x07' is not allowed"),
        ("a: \ud800", (1, 4), "not allowed"),
        ("%YAML 9.0\n---\na: 1", (1, 1), "version"),
    ],
)
def test_a_refusal_names_line_column_and_what_to_do(text, place, message):
    error = error_of(text)
    assert message in str(error)
    assert place_of(error) == place
    assert str(error).startswith(f"f.yaml:{place[0]}:{place[1]}: ")
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def laughs(levels: int) -> str:
    lines = ["a0: &a0 [lol, lol, lol]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, levels)]
    return "\n".join(lines)


LONG = 400_000


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(laughs(30), id="billion laughs"),
        pytest.param("[" * LONG, id="deep flow"),
        pytest.param("[\n" * (LONG // 2), id="deep flow over lines"),
        pytest.param("- " * (LONG // 2), id="deep lists"),
        pytest.param("? " * (LONG // 2), id="deep keys"),
        pytest.param("{a: " * (LONG // 4), id="deep mappings"),
        pytest.param("- a\n" * (LONG // 4), id="many values"),
        pytest.param("[" + "a," * (LONG // 2), id="many flow values"),
        pytest.param("a: " + "9" * LONG, id="huge int"),
        pytest.param("a: 0x" + "f" * LONG, id="huge hexadecimal"),
        pytest.param("a: " + ":".join(["59"] * (LONG // 3)), id="huge sexagesimal"),
        pytest.param("a: " + ":".join(["1"] * 190) + ".0", id="sexagesimal beyond any float"),
        pytest.param("x" * 10_000_000, id="10 MB"),
        pytest.param("'" + "b " * (LONG // 2), id="unclosed quotes"),
        pytest.param("!" * LONG, id="endless tag"),
        pytest.param("&" + "a" * LONG, id="endless anchor"),
    ],
)
def test_hostile_text_is_refused_in_bounded_time(text):
    started = time.perf_counter()
    error = error_of(text)
    assert time.perf_counter() - started < 10
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("a: " + "b " * (LONG // 2), id="long text"),
        pytest.param("a: |\n" + "  b\n" * (LONG // 4), id="long block"),
        pytest.param("#" * LONG, id="long comment"),
        pytest.param('"' + "\n" * LONG + '"', id="blank lines"),
    ],
)
def test_long_harmless_text_is_read_in_bounded_time(text):
    started = time.perf_counter()
    read(text, "f.yaml")
    assert time.perf_counter() - started < 10


def test_limits_are_exact():
    read("[" * document.MAX_DEPTH + "]" * document.MAX_DEPTH, "f.yaml")
    assert "nested" in str(error_of("[" * (document.MAX_DEPTH + 1) + "]" * (document.MAX_DEPTH + 1)))
    assert read("a: " + "9" * document.MAX_NUMBER, "f.yaml").value == {"a": int("9" * document.MAX_NUMBER)}
    assert "number" in str(error_of("a: " + "9" * (document.MAX_NUMBER + 1)))
    full = "- a\n" * (document.MAX_VALUES - 1)
    assert len(cast(list[str], read(full, "f.yaml").value)) == document.MAX_VALUES - 1
    assert "values" in str(error_of(full + "- a\n"))


def test_every_value_and_key_has_its_place():
    found = read("arguments:\n  texts:\n    - one\n    -   two\n  'quoted': |\n    x\n", "dir/f.yaml")

    def place(path: KeyPath, *, of_key: bool = False) -> str:
        return str(found.location(path, of_key=of_key))

    assert place(("arguments", "texts", 1)) == "dir/f.yaml:4:9"
    assert place(("arguments", "quoted")) == "dir/f.yaml:5:13"
    assert place(("arguments", "quoted"), of_key=True) == "dir/f.yaml:5:3"
    assert place(("arguments", "absent", "deeper")) == place(("arguments",)) == "dir/f.yaml:2:3"
    assert place(("absent",)) == place(()) == "dir/f.yaml:1:1"
    assert str(read("", "f.yaml").location(("a",))) == "f.yaml:1:1"


keys = st.text("abcxyz01 #:'\"é\n", min_size=1, max_size=8)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"]), max_size=20)
    | st.dates()
)
trees = st.recursive(scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(keys, inner, max_size=4))


@given(trees, st.booleans())
def test_whatever_pyyaml_writes_is_read_with_places_for_all(tree, flow):
    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data):
            return True

    found = read(yaml.dump(tree, Dumper=Dumper, default_flow_style=flow, allow_unicode=True), "f.yaml")
    assert found.value == tree
    assert_places(found, tree, ())


def assert_places(found: Document, tree: object, path: KeyPath) -> None:
    assert path in found._values
    children = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, child in children:
        assert_places(found, child, (*path, key))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with contextlib.suppress(TVBuilderError):
        read(text, "f.yaml")
