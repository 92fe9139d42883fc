"""What differs between builder files and code, as people read it."""

from __future__ import annotations

from tablevault_like.comparison.texts import builder_differences, code_difference, input_differences
from tests.tables import column, index


def told(old: dict[str, str], new: dict[str, str]) -> list[str]:
    return list(builder_differences(old, new))


def test_fields_are_told_one_by_one() -> None:
    old = {"s": column("s", function="f", arguments={"a": 1, "b": 2}, n_threads=2), "gone": column("g", function="f")}
    new = {"s": column("s", function="g", arguments={"a": 1, "b": 3}), "index": index("n")}

    assert told(old, new) == [
        "builder 'gone' was removed",
        "builder 'index' is new",
        "builder 's': arguments.b is now 3, it was 2",
        "builder 's': n_threads was removed",
        'builder \'s\': python_function is now "g", it was "f"',
    ]


def test_layout_and_comments_are_no_difference() -> None:
    text = column("s", function="f", arguments={"a": 1})

    assert told({"s": text}, {"s": f"# a comment\n\n{text}"}) == []


def test_long_texts_are_shown_where_they_part() -> None:
    prompt = "Sum up the following story in one sentence, for children, without names. "
    old = {"s": column("s", function="f", arguments={"prompt": prompt + "Be brief."})}
    new = {"s": column("s", function="f", arguments={"prompt": prompt + "Be kind."})}

    (line,) = told(old, new)

    assert "brief" in line
    assert "kind" in line
    assert len(line) < 200


def test_what_is_no_builder_is_told() -> None:
    assert told({"s": column("s", function="f")}, {"s": "builder_type: ["}) == [
        "builder 's': its file differs, and can't be read as a builder"
    ]


def test_code_is_a_unified_diff() -> None:
    found = code_difference(
        {"a.py": b"x = 1\ny = 2\n", "b.py": b"z\n", "same.py": b"s"}, {"a.py": b"x = 1\ny = 3", "same.py": b"s"}
    )

    assert found == (
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n x = 1\n-y = 2\n+y = 3\n\\ No newline at end of file\n"
        "--- a/b.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-z\n"
    )


def test_what_is_no_text_is_told() -> None:
    assert (
        code_difference({"a.bin": b"\xff\x00"}, {"a.bin": b"\xff\x01"}) == "Binary files a/a.bin and b/a.bin differ\n"
    )
    assert code_difference({}, {"empty.py": b""}) == "--- /dev/null\n+++ b/empty.py\n"


def test_inputs_are_told_by_table() -> None:
    old = [("gone", "base_1"), ("papers", "base_1"), ("same", "base_1")]
    new = [("new", "base_2"), ("papers", "base_2"), ("same", "base_1")]

    assert list(input_differences(old, new)) == [
        "gone is no longer read, it was base_1",
        "new is new: base_2",
        "papers is now base_2, it was base_1",
    ]
