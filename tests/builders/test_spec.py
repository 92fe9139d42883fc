from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from hypothesis import assume, given
from hypothesis import strategies as st

from tablevault_like.builders.document import MAX_CHARACTERS
from tablevault_like.builders.spec import BuilderSpec, read_builder
from tablevault_like.errors import TableReferenceError, TVArgumentError, TVBuilderError
from tablevault_like.limits import Budget, MaxFailures, Rate, Retries
from tablevault_like.model import BuilderType, OnError, ReturnType
from tests.builders.memory import Columns, Tables
from tests.builders.planning import COLUMN

NOTHING = Tables()


def spec_of(text: str, *, name: str = "sizes", **tables: Columns) -> BuilderSpec:
    return read_builder(text, name).resolve(Tables(**tables))


def test_defaults_are_filled_in():
    spec = spec_of("builder_type: ColumnBuilder\nchanged_columns: size\npython_function: f\ncode_module: m\n")
    assert spec.changed_columns == ("size",)
    assert spec.builder_type is BuilderType.COLUMN
    assert spec.return_type is ReturnType.DATAFRAME
    assert (spec.is_custom, spec.n_threads, spec.keep_old) == (False, 1, False)
    assert (spec.dtypes, spec.dependencies, spec.primary_key, spec.written_arguments) == ({}, (), (), {})


def test_limits_are_read():
    spec = spec_of(
        COLUMN + "on_error: continue\nmax_failures: 5%\nretries: {attempts: 3, on: TimeoutError}\ntimeout: 30\n"
        "rate: 60/min\nbudget: {cost: 5, rows: 100}\n"
    )
    assert (spec.on_error, spec.max_failures) == (OnError.CONTINUE, MaxFailures(share=0.05))
    assert spec.retries == Retries(3, on=("TimeoutError",))
    assert (spec.timeout, spec.rate, spec.budget) == (30.0, Rate(60, 60), Budget(rows=100, cost=5.0))


def test_by_default_nothing_is_limited():
    spec = spec_of(COLUMN)
    assert (spec.on_error, spec.max_failures, spec.retries) == (OnError.STOP, None, Retries())
    assert (spec.timeout, spec.rate, spec.budget, spec.batch_size, spec.total_rows) == (None,) * 5
    assert spec.checkpoint_every == 1000


@pytest.mark.parametrize(("written", "meant"), [("null", "null"), ("~", "null"), ("'null'", "null"), ("", "stop")])
def test_null_is_a_word_where_errors_are_concerned(written: str, meant: str):
    assert spec_of(COLUMN + f"on_error: {written}\n").on_error == meant


def test_how_a_builder_is_run_makes_no_difference():
    limits = "on_error: null\nretries: 3\ntimeout: 30\nrate: 60/min\nbudget: {cost: 5}\nn_threads: 7\n"
    assert spec_of(COLUMN + limits).normalized() == spec_of(COLUMN).normalized()


def test_the_size_of_batches_makes_a_difference():
    batches = COLUMN.replace("row-wise", "batch")
    assert spec_of(batches + "batch_size: 3\n").normalized() != spec_of(batches + "batch_size: 4\n").normalized()


def test_files_of_tablevault_load():
    text = """
        name: stories_llm
        builder_type: ColumnBuilder
        changed_columns: ['paragraph_summary', 'cost']
        primary_key:
        python_function: summarize
        code_module: llm_functions
        is_custom: true
        n_threads: 2
        return_type: row-wise
        dependencies: ['stories.text', 'openai_store(base).{key, model}', <<prices>>, 'self.text', stories.*]
        dtypes: {cost: Float64}
        arguments:
            artifact_path: <<self.artifact_name[index]>>
            prompt: "Sum up: <<stories.text[id::<<self.id[index]>>]>>"
            folder: ~ARTIFACT_FOLDER~
            limits: {tokens: 100, retry: on}
    """
    spec = spec_of(text, name="stories_llm")
    assert spec.changed_columns == ("paragraph_summary", "cost")
    assert [(d.table, d.version, d.columns) for d in spec.dependencies] == [
        ("stories", None, ("text",)),
        ("openai_store", "base", ("key", "model")),
        ("prices", None, None),
        ("self", None, ("text",)),
        ("stories", None, None),
    ]
    assert spec.written_arguments["limits"] == {"tokens": 100, "retry": True}
    assert spec.arguments.varies


def test_a_builder_is_read_from_a_file(tmp_path: Path):
    path = tmp_path / "sizes.yaml"
    path.write_text(COLUMN)
    assert read_builder(path, "sizes").resolve(NOTHING).python_function == "measure"
    path.write_text(COLUMN + "n_threads: no")
    with pytest.raises(TVBuilderError, match=f"^{path}:7:12: n_threads"):
        read_builder(path, "sizes")
    path.write_bytes(b"a: \xff")
    with pytest.raises(TVBuilderError, match="not UTF-8"):
        read_builder(path, "sizes")
    path.write_text("é" * (4 * MAX_CHARACTERS))
    with pytest.raises(TVBuilderError, match="more than"):
        read_builder(path, "sizes")


def test_a_builder_must_have_a_name_that_builders_may_have():
    with pytest.raises(TVArgumentError):
        read_builder(COLUMN, "../sizes")


def test_the_function_may_be_named_with_its_module():
    assert spec_of(COLUMN.replace("measure", "sizes.measure")).python_function == "measure"


def test_references_in_fields_are_resolved():
    text = """
        builder_type: <<config.kind[name::a]>>
        changed_columns: [size, "<<config.column[name::a]>>_<<config.n[name::a]>>"]
        python_function: <<config.function[name::a]>>
        code_module: sizes
        is_custom: <<config.custom[name::a]>>
        n_threads: <<config.n[name::a]>>
        dtypes: {'<<config.column[name::a]>>_4': '<<config.dtype[name::a]>>'}
        arguments: {text: "<<self.text[index]>>"}
        return_type: row-wise
    """
    config: Columns = {
        "name": ["a", "b"],
        "kind": ["ColumnBuilder", "x"],
        "column": ["words", "x"],
        "function": ["measure", "x"],
        "custom": [True, False],
        "n": [4, 1],
        "dtype": ["Int64", "x"],
    }
    spec = spec_of(text, config=config)
    assert spec.changed_columns == ("size", "words_4")
    assert (spec.python_function, spec.is_custom, spec.n_threads) == ("measure", True, 4)
    assert spec.dtypes == {"words_4": "Int64"}
    assert spec.arguments.varies


def test_a_reference_may_stand_for_a_whole_field():
    text = COLUMN.replace("[size]", "<<config.column>>") + "dtypes: <<config.dtypes[column::a]>>\n"
    config: Columns = {"column": ["a", "b"], "dtypes": [{"a": "Int64", "b": "string"}, None]}
    spec = spec_of(text, config=config)
    assert spec.changed_columns == ("a", "b")
    assert spec.dtypes == {"a": "Int64", "b": "string"}
    one = spec_of(COLUMN.replace("[size]", "<<config.column[column::a]>>"), config={"column": ["a", "b"]})
    assert one.changed_columns == ("a",)


def test_what_a_reference_gives_is_checked_like_what_is_written():
    raw = read_builder(COLUMN + "n_threads: <<config.n[name::a]>>", "sizes")
    with pytest.raises(TVBuilderError, match=r"^sizes.yaml:7:12: n_threads must be 1 or more, not 0"):
        raw.resolve(Tables(config={"name": ["a"], "n": [0]}))
    with pytest.raises(TVBuilderError, match=r"^sizes.yaml:7:12: n_threads must be a whole number"):
        raw.resolve(Tables(config={"name": ["a"], "n": ["<<config.n>>"]}))
    with pytest.raises(TVBuilderError, match=r"n_threads must be a whole number, without quotes, not a DataFrame"):
        read_builder(COLUMN + "n_threads: <<config>>", "sizes").resolve(Tables(config={"name": ["a"]}))
    with pytest.raises(TableReferenceError):
        raw.resolve(Tables(config={"name": ["a"]}))


def test_what_a_reference_gives_is_not_read_as_a_reference():
    text = COLUMN.replace("[size]", "['<<config.column[name::a]>>']")
    assert spec_of(text, config={"name": ["a"], "column": ["<<a.b>>"]}).changed_columns == ("<<a.b>>",)


def test_an_escaped_reference_is_text():
    assert spec_of(COLUMN.replace("[size]", r"['\<<size>>']")).changed_columns == ("<<size>>",)


@pytest.mark.parametrize("reference", ["<<self.n[x::1]>>", "<<config.n[index]>>", "<<config.n[x::<<self.index>>]>>"])
def test_fields_can_not_depend_on_the_table_being_built(reference):
    raw = read_builder(COLUMN + f"n_threads: {reference}", "sizes")
    with pytest.raises(TableReferenceError, match=r"^sizes.yaml:7:12: Only arguments may refer to 'self'"):
        raw.resolve(NOTHING)


def test_references_are_not_looked_at_before_they_are_resolved():
    raw = read_builder(COLUMN + "arguments:\n  a: 1\n  b: <<self..text>>\n", "sizes")
    with pytest.raises(TableReferenceError, match=r"^sizes.yaml:9:6: "):
        raw.resolve(NOTHING)
    raw = read_builder(COLUMN + "dependencies:\n  - stories.\n", "sizes")
    with pytest.raises(TableReferenceError, match=r"^sizes.yaml:8:5: "):
        raw.resolve(NOTHING)


@pytest.mark.parametrize("dependency", ["stories.text[id::3]", "<<a.b>>.text", "a <<b>>", "stories(<<a.b>>)"])
def test_a_dependency_names_what_is_read(dependency):
    with pytest.raises(TableReferenceError, match=r"^sizes.yaml:7:16: "):
        read_builder(COLUMN + f"dependencies: ['{dependency}']", "sizes").resolve(NOTHING)


def test_dependencies_may_be_pairs_of_table_and_version():
    spec = spec_of(COLUMN + "dependencies: [[stories, base_1_x], [stories, base_1_x], papers]")
    assert [(d.table, d.version) for d in spec.dependencies] == [("stories", "base_1_x"), ("papers", None)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dataframe\narguments: {a: '<<self.text[index]>>'}", r"^sizes.yaml:7:16: There is no current row"),
        ("generator\narguments: {a: ['<<self.index>>']}", r"^sizes.yaml:7:17: There is no current row"),
        ("dataframe\narguments: {a: 'x~ROW_KEY~'}", r"^sizes.yaml:7:16: ~ROW_KEY~ is only known to"),
        ("row-wise\narguments: {a: ~RESUME_FROM~}", r"^sizes.yaml:7:16: ~RESUME_FROM~ is only known to"),
    ],
)
def test_rows_are_asked_for_only_where_there_are_rows(text, message):
    with pytest.raises((TVBuilderError, TableReferenceError), match=message):
        spec_of(COLUMN.replace("row-wise\n", f"{text}\n"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "{a: ~PROCESS_IDD~}",
            r"^sizes.yaml:7:16: There is no keyword '~PROCESS_IDD~'\. Did you mean '~PROCESS_ID~'\?",
        ),
        ("{a: [1, ~ARTIFACTS_FOLDER~]}", r"^sizes.yaml:7:20: .*Did you mean '~ARTIFACT_FOLDER~'\?"),
        ("{a: {~ROW_KEYS~: 1}}", r"^sizes.yaml:7:17: .*Did you mean '~ROW_KEY~'\?"),
    ],
)
def test_a_misspelt_keyword_is_told(text, message):
    with pytest.raises(TVBuilderError, match=message):
        spec_of(f"{COLUMN}arguments: {text}\n")


@pytest.mark.parametrize("text", ["~HOME~", "~process_idd~", "~PROCESS_IDD", "x ~PROCESS_IDD~", "~~", "~PROCESS IDD~"])
def test_what_only_resembles_a_keyword_is_text(text):
    spec = spec_of(f"{COLUMN}arguments: {{a: '{text}'}}\n")
    assert spec.arguments.bind(NOTHING, {}).row(0)[0] == {"a": text}


def test_normalized_is_equal_for_files_that_say_the_same():
    one = spec_of(COLUMN + "n_threads: 3\narguments: {a: 1, b: '<<self.x[index]>>'}\ndtypes: {size: Int64}")
    other = "dtypes:\n  # a comment\n  size: 'Int64'\narguments:\n  b: <<self.x[index]>>\n  a: 1\n"
    other += "".join(reversed(COLUMN.splitlines(keepends=True)))
    assert one.normalized() == spec_of(other).normalized()


@pytest.mark.parametrize(
    "change",
    [
        ("[size]", "[size, x]"),
        ("measure", "measure_all"),
        ("sizes", "shapes"),
        ("is_custom: true", "is_custom: false"),
        ("row-wise", "dataframe"),
        ("row-wise", "row-wise\narguments: {a: 1}"),
        ("row-wise", "row-wise\narguments: {a: 1.0}"),
        ("row-wise", "row-wise\narguments: {a: '1'}"),
        ("row-wise", "row-wise\narguments: {a: true}"),
        ("row-wise", "row-wise\narguments: {a: 2024-01-01}"),
        ("row-wise", "row-wise\narguments: {a: '2024-01-01'}"),
        ("row-wise", "row-wise\narguments: {a: .nan}"),
        ("row-wise", "row-wise\narguments: {a: {1: b}}"),
        ("row-wise", "row-wise\narguments: {a: {'1': b}}"),
        ("row-wise", "row-wise\ndtypes: {size: string}"),
        ("row-wise", "row-wise\ndependencies: [stories]"),
    ],
)
def test_normalized_tells_differences(change):
    seen = {json.dumps(spec_of(COLUMN).normalized()), json.dumps(spec_of(COLUMN.replace(*change)).normalized())}
    assert len(seen) == 2


@pytest.mark.parametrize("dtype", ["Int65", "<<config>>", "datetime64[parsecs]", "__import__('os')"])
def test_an_unknown_dtype_is_told_with_its_place(dtype):
    text = COLUMN + f'dtypes: {{size: "{dtype}"}}'
    with pytest.raises(TVBuilderError, match=r"^sizes.yaml:7:16: "):
        spec_of(text, config={"name": ["a"]})


names = st.text("abcxyz_", min_size=1, max_size=6)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | st.text(max_size=9) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names | st.integers(0, 9), inner, max_size=3),
)


class Plain(yaml.SafeDumper):
    def ignore_aliases(self, data: object) -> bool:
        return True


def dumped(tree: object, *, flow: bool = False) -> str:
    return yaml.dump(tree, Dumper=Plain, default_flow_style=flow, sort_keys=False, width=10_000)


@given(st.dictionaries(names, values, max_size=4))
def test_normalized_is_json_and_does_not_depend_on_layout(arguments):
    for table in (arguments, dict(reversed(arguments.items()))):
        text = COLUMN + f"arguments: {dumped(table, flow=True)}"
        assume("<<" not in text and "~" not in text)
        normalized = spec_of(text).normalized()
        assert json.loads(json.dumps(normalized, allow_nan=False)) == normalized
        assert normalized == spec_of(COLUMN + dumped({"arguments": arguments})).normalized()
