from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.functions.builtin.llm.answers import AnswerError, read_answers
from tablevault_like.functions.builtin.llm.schemas import Schema

IDS = ["a", "b", "3"]
RESULTS = [{"input_id": "b", "n": 2}, {"input_id": "a", "n": 1}, {"input_id": 3, "n": 3}]
WHOLE = json.dumps({"all_results": RESULTS})


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE,
        {"all_results": RESULTS},
        json.dumps(RESULTS),
        f"Here you are:\n```json\n{WHOLE}\n```\nAnything else?",
        f"```\n{WHOLE}\n```",
        f"Sure! {WHOLE} Done.",
        {"all_results": json.dumps(RESULTS)},
    ],
    ids=range(7),
)
def test_results_are_found_by_their_ids(answer: object) -> None:
    found = read_answers(answer, IDS, Schema())

    assert found.found == {"a": {"n": 1}, "b": {"n": 2}, "3": {"n": 3}}
    assert (found.problems, found.foreign) == ({}, [])


@pytest.mark.parametrize("answer", ["", "no", "{", '{"results": []}', "7", '{"all_results": "x"}', None, "[1"])
def test_what_is_no_answer_is_told(answer: object) -> None:
    with pytest.raises(AnswerError, match="The model's answer"):
        read_answers(answer, IDS, Schema())


@given(
    st.lists(
        st.tuples(st.sampled_from(["a", "b", "c", "x", "y"]), st.integers(0, 1)) | st.none() | st.integers(), max_size=8
    )
)
def test_each_row_has_its_own_result_or_a_reason(results: list[object]) -> None:
    ids = ["a", "b", "c"]
    answer = [{"input_id": each[0], "n": each[1]} if isinstance(each, tuple) else each for each in results]

    found = read_answers(json.dumps({"all_results": answer}), ids, Schema())

    assert {*found.found} | {*found.problems} == {*ids}
    assert not {*found.found} & {*found.problems}
    for name in ids:
        values = {each[1] for each in results if isinstance(each, tuple) and each[0] == name}
        assert (name in found.found) == (len(values) == 1)
        if name in found.found:
            assert found.found[name] == {"n": values.pop()}
    assert {*found.foreign} == {each[0] for each in results if isinstance(each, tuple)} - {*ids}
