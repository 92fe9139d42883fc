from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.builders.form import Form
from tablevault_like.builders.spec import read_builder
from tablevault_like.errors import TVBuilderError
from tests.builders.memory import Tables
from tests.builders.planning import COLUMN

INDEX = """\
builder_type: IndexBuilder
changed_columns: [id, text]
primary_key: [id]
python_function: make
code_module: stories
is_custom: true
"""


def error_of(text: str, *, name: str = "sizes") -> str:
    with pytest.raises(TVBuilderError) as caught:
        read_builder(text, name)
    return str(caught.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("n_thread: 2", "7:1: There is no field 'n_thread'. Did you mean 'n_threads'?"),
        ("5: 2", "7:1: There is no field 5."),
        ("n_threads: 0", "7:12: n_threads must be 1 or more, not 0."),
        ("n_threads: two", "7:12: n_threads must be a whole number, without quotes, not 'two'."),
        ("n_threads: true", "7:12: n_threads must be a whole number, without quotes, not true."),
        ("keep_old: 'no'", "7:11: keep_old must be true or false, without quotes, not 'no'."),
        ("dtypes: [size]", "7:9: dtypes must be a mapping, made of lines such as 'name: value', not a list."),
        ("dtypes: {size: 3}", "7:16: dtypes['size'] must be text, not 3. Put it in quotes."),
        ("dtypes: {yes: string}", "7:10: A key of dtypes must be text, not true. Put it in quotes."),
        ("dtypes: {sizes: Int64}", "7:17: The column 'sizes' is not among changed_columns. Did you mean 'size'?"),
        ("dependencies: 3", "7:15: dependencies must be a list, not 3."),
        ("dependencies: [3]", "7:16: dependencies[0] must be text such as"),
        ("dependencies: [[a, b, c]]", "7:16: dependencies[0] must be text such as"),
        ("arguments: [1]", "7:12: arguments must be a mapping"),
        ("arguments: <<config.all>>", "7:12: arguments must be a mapping"),
        ("arguments: {1: a}", "7:13: A key of arguments must be text, not 1. Put it in quotes."),
        ("primary_key: [size]", "7:14: primary_key is about the rows of the table: only the IndexBuilder has it."),
        ("keep_old: true", "7:11: keep_old is about the rows"),
        ("name: other", "7:7: The file is that of the builder 'sizes', but its field 'name' is 'other'."),
        ("changed_columns: [b]", "7:1: The key 'changed_columns' is given twice"),
    ],
)
def test_a_wrong_field_is_told_with_its_place(line, message):
    assert error_of(COLUMN + line).startswith(f"sizes.yaml:{message}")


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "builder_type",
            "ColumBuilder",
            "1:15: builder_type must be 'IndexBuilder' or 'ColumnBuilder', not 'ColumBuilder'.",
        ),
        ("builder_type", "[a]", "1:15: builder_type must be 'IndexBuilder' or 'ColumnBuilder', not a list."),
        (
            "return_type",
            "rowwise",
            "6:14: return_type must be 'dataframe', 'row-wise', 'batch' or 'generator', not 'rowwise'. Did",
        ),
        ("changed_columns", "[on]", "2:19: changed_columns[0] must be text, not true. Put it in quotes."),
        ("changed_columns", "[2024]", "2:19: changed_columns[0] must be text, not 2024. Put it in quotes."),
        ("changed_columns", "[a, ~]", "2:22: changed_columns[1] must be text, not empty."),
        ("changed_columns", "[a, '']", "2:22: changed_columns[1] must be text that isn't empty."),
        ("changed_columns", "[a, ' ']", "2:22: A column must have a name, not ' '."),
        ("changed_columns", "[a, b, a]", "2:25: changed_columns names 'a' twice."),
        ("changed_columns", "[]", "2:18: A builder changes at least one column."),
        ("changed_columns", "{a: b}", "2:18: changed_columns must be a list, not a mapping."),
        ("changed_columns", "", "2:1: The field 'changed_columns' is empty. Give it a value."),
        ("code_module", "../../evil", "4:14: code_module is the name of a module"),
        ("code_module", "sizes.py/..", "4:14: code_module is the name of a module"),
        ("python_function", "other.measure", "3:18: python_function is the name of a function in 'sizes'"),
        ("python_function", "a b", "3:18: python_function is the name of a function in 'sizes'"),
    ],
)
def test_a_wrong_value_is_told_with_what_is_allowed(field, value, message):
    lines = [f"{field}: {value}" if line.startswith(f"{field}:") else line for line in COLUMN.splitlines()]
    assert error_of("\n".join(lines)).startswith(f"sizes.yaml:{message}")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("return_type: batch", "6:14: A builder whose return_type is batch says how many rows are one: give it a"),
        ("return_type: batch\nbatch_size: 0", "7:13: batch_size must be 1 or more, not 0."),
        (
            "return_type: row-wise\nbatch_size: 3",
            "7:13: batch_size is only known to builders whose return_type is batch",
        ),
        ("return_type: batch\nbatch_size: 3\ntotal_rows: 9", "8:13: total_rows is only known to an IndexBuilder"),
        ("return_type: row-wise\ncheckpoint_every: 9", "7:19: checkpoint_every is only known to builders whose"),
        ("return_type: dataframe\non_error: continue", "7:11: on_error is only known to builders whose return_type is"),
        ("return_type: row-wise\non_error: skip", "7:11: on_error must be 'stop', 'continue' or 'null', not 'skip'."),
        ("return_type: row-wise\nmax_failures: 3", "7:15: max_failures is only known to builders whose on_error is"),
        ("return_type: generator\nretries: 3", "7:10: retries is only known to functions that are called for a row"),
        ("return_type: generator\ntimeout: 3", "7:10: timeout is only known to functions that are called for a row"),
        ("return_type: dataframe\nrate: 1/s", "7:7: rate is only known to builders whose return_type is row-wise or"),
        ("return_type: row-wise\nrate: often", "7:7: rate must be calls in a time, such as 60/min, 2/s or 1000/day,"),
        ("return_type: row-wise\nretries: {tries: 3}", "7:10: retries must be a number of attempts, or a mapping of"),
        ("return_type: row-wise\nretries: {wait: x}", "7:10: retries must be a mapping whose 'wait' is a number of"),
        ("return_type: row-wise\ntimeout: -3", "7:10: timeout must be a number of seconds above 0, not -3."),
        ("return_type: row-wise\nbudget: {money: 3}", "7:9: budget must be a mapping of seconds, rows, failures and"),
    ],
)
def test_what_limits_may_not_say_is_told(lines, message):
    text = COLUMN.replace("return_type: row-wise", lines)
    assert error_of(text).startswith(f"sizes.yaml:{message}")


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("return_type: batch\nbatch_size: 3", "An IndexBuilder that makes batches says how many rows there are to be"),
        ("return_type: generator\ntotal_rows: 3", "total_rows is only known to an IndexBuilder whose return_type is"),
    ],
)
def test_an_index_builder_that_makes_batches_says_how_many(lines, message):
    text = COLUMN.replace("return_type: row-wise", lines).replace("ColumnBuilder", "IndexBuilder")
    assert message in error_of(text)


def test_the_nearest_value_is_suggested():
    assert error_of(COLUMN.replace("ColumnBuilder", "ColumBuilder")).endswith("Did you mean 'ColumnBuilder'?")


def test_all_mistakes_of_a_file_are_told_in_order():
    text = (
        "builder_type: IndexBuilder\nchanged_columns: [1]\npython_function: f\ncode_module: m\nn_threads: x\nfoo: 1\n"
    )
    lines = error_of(text).splitlines()
    assert [line.split(": ")[0] for line in lines] == ["sizes.yaml:2:19", "sizes.yaml:5:12", "sizes.yaml:6:1"]
    many = error_of(text + "\n".join(f"foo{n}: 1" for n in range(10))).splitlines()
    assert len(many) == 6
    assert many[-1] == "and 8 more"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# nothing\n", "is empty"),
        ("- a\n", "does not hold fields"),
        ("text", "does not hold fields"),
    ],
)
def test_a_file_without_fields_is_refused(text, message):
    assert message in error_of(text)


def test_primary_key_is_among_the_columns():
    assert error_of(INDEX.replace("[id]", "[id, ids]"), name="stories_index") == (
        "stories_index.yaml:3:19: The primary key 'ids' is not among changed_columns. Did you mean 'id'?"
    )
    assert read_builder(INDEX.replace("[id]", "id"), "stories_index").resolve(Tables()).primary_key == ("id",)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 3)
    | st.floats(0, 1)
    | st.dates()
    | st.sampled_from(["a", "<<b.c>>", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["a", "", 1, None]), inner, max_size=2),
    max_leaves=4,
)


@given(st.dictionaries(st.sampled_from([*Form.model_fields, "name", "x", 3]), anything, max_size=8))
def test_any_fields_are_accepted_or_told_with_a_place(fields):
    complete = {"builder_type": "ColumnBuilder", "changed_columns": "a", "python_function": "f", "code_module": "m"}
    for tree in (fields, complete | fields):
        try:
            read_builder(yaml.safe_dump(tree), "a")
        except TVBuilderError as error:
            place, message = error.location, error.message
        else:
            continue
        assert place is not None
        assert all(line.startswith(("a.yaml:", "and ")) for line in message.splitlines())
