"""The built-in function ``extract``, as builders call it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd
import pytest

from builders_examples.llm.code_functions.model_server import ModelServer
from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.builtin.llm import extract
from tablevault_like.functions.builtin.llm.answers import AnswerError

SCHEMA = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelServer]:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with ModelServer() as found:
        yield found


@pytest.fixture
def asked(server: ModelServer) -> dict[str, Any]:
    return {"prompt": "Which mood?", "model": "small", "schema": SCHEMA, "base_url": server.base_url}


ROWS = pd.DataFrame({"text": ["so good", "so bad", "so sad"]}, index=[4, 7, 9])


def test_a_batch_is_one_request_and_a_list_of_as_many(server: ModelServer, asked: dict[str, Any]) -> None:
    found = extract(ROWS, **asked, prices={"input": 1000, "output": 1000})

    assert found.values == [{"mood": "glad"}, {"mood": "sad"}, {"mood": "sad"}]
    assert found.tokens == 45
    assert found.cost == pytest.approx(0.045)
    assert server.requests == 1


def test_a_row_is_one_request(server: ModelServer, asked: dict[str, Any]) -> None:
    found = extract(text="so good", **asked)

    assert (found.values, found.tokens, found.cost) == ({"mood": "glad"}, 15, 0.0)
    assert server.requests == 1


def test_a_frame_is_cut_into_requests(server: ModelServer, asked: dict[str, Any]) -> None:
    found = extract(rows=ROWS, chunk_size=2, **asked)

    assert isinstance(found.values, pd.DataFrame)
    assert found.values["mood"].tolist() == ["glad", "sad", "sad"]
    assert server.requests == 2


def test_no_rows_are_no_request(server: ModelServer, asked: dict[str, Any]) -> None:
    assert extract(ROWS.iloc[:0], **asked).values == []
    assert server.requests == 0


def test_what_an_answer_leaves_out_is_asked_about_once_more(server: ModelServer, asked: dict[str, Any]) -> None:
    server.script = [lambda results: results[:1]]

    found = extract(ROWS, **asked)

    assert found.values == [{"mood": "glad"}, {"mood": "sad"}, {"mood": "sad"}]
    assert found.tokens == 45 + 30
    assert server.requests == 2


def test_an_error_tells_what_was_spent(server: ModelServer, asked: dict[str, Any]) -> None:
    server.trouble = lambda inputs: lambda results: results[:-1]

    with pytest.raises(AnswerError, match="no result for the input_id '2'") as raised:
        extract(ROWS, **asked)

    assert raised.value.tokens == 45 + 15


def test_an_error_of_the_service_tells_what_was_spent_before(server: ModelServer, asked: dict[str, Any]) -> None:
    server.script = [None, 500]

    with pytest.raises(Exception, match="no luck") as raised:
        extract(rows=ROWS, chunk_size=2, **asked)

    assert raised.value.tokens == 30  # type: ignore[attr-defined]


@pytest.mark.parametrize("size", [0, True, 2.5])
def test_a_chunk_size_that_is_none(asked: dict[str, Any], size: Any) -> None:
    with pytest.raises(TVArgumentError, match="chunk_size must be a whole number"):
        extract(rows=ROWS, chunk_size=size, **asked)
