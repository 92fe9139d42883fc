"""``extract_df`` against a server: requests are counted there."""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest
from pydantic import BaseModel

from builders_examples.llm.code_functions.model_server import ModelServer
from tablevault_like import extract_df
from tablevault_like.errors import TVArgumentError
from tests.mapping.tasks import PROMPT, query, texts

SCHEMA = {
    "type": "object",
    "properties": {"mood": {"type": "string", "enum": ["glad", "calm", "sad"]}, "words": {"type": "integer"}},
    "required": ["mood"],
}


class Mood(StrEnum):
    GLAD = "glad"
    CALM = "calm"
    SAD = "sad"


class Said(BaseModel):
    words: int
    mood: Mood
    remark: str | None = None


Extract = Callable[..., pd.DataFrame]


@pytest.fixture(params=["openai", "anthropic"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def extract(server: ModelServer, cache_path: Path) -> Extract:
    """Return ``extract_df`` with what most tests give it. It waits for nothing but what a server asks for."""

    def extract(df: pd.DataFrame, **change: Any) -> pd.DataFrame:
        backend = change.get("backend", "openai")
        usual = {
            "prompt": PROMPT,
            "cache_path": cache_path,
            "model": "small",
            "base_url": server.base_url if backend == "openai" else server.url,
            "retries": {"attempts": 3, "wait": 0},
        }
        return extract_df(df, **{**usual, **change})

    return extract


def moody(*moods: str) -> pd.DataFrame:
    return pd.DataFrame({"id": [f"r{n}" for n in range(len(moods))], "text": [f"It is {mood}." for mood in moods]})


class TestWhatIsReturned:
    def test_the_fields_follow_the_columns_in_the_order_of_the_frame(
        self, extract: Extract, server: ModelServer, backend: str
    ) -> None:
        df = moody("good", "bad", "grey", "lost", "love", "grey", "good").assign(note=range(7)).iloc[::-1]

        found = extract(df, backend=backend, chunk_size=3)

        assert found.columns.tolist() == ["id", "text", "note", "mood", "words", "longest", "letters"]
        assert found["mood"].tolist() == ["glad", "calm", "glad", "sad", "calm", "sad", "glad"]
        assert found.index.tolist() == [6, 5, 4, 3, 2, 1, 0]
        assert found["words"].dtype == "Int64"
        assert server.requests == 3
        assert server.asked == {f"r{n}": 1 for n in range(7)}

    def test_other_names_of_columns_and_ids_that_are_numbers(self, extract: Extract) -> None:
        df = pd.DataFrame({"number": [7, 8], "body": ["so sad", "so good"]})

        found = extract(df, id_col="number", text_col="body")

        assert found["mood"].tolist() == ["sad", "glad"]

    def test_a_schema_chooses_the_fields(self, extract: Extract, server: ModelServer, backend: str) -> None:
        found = extract(moody("good"), schema=SCHEMA, backend=backend)

        assert found.columns.tolist() == ["id", "text", "mood", "words"]
        body = server.bodies[0]
        form = (
            body["response_format"]["json_schema"]["schema"]
            if backend == "openai"
            else body["tools"][0]["input_schema"]
        )
        item = form["properties"]["all_results"]["items"]
        assert list(item["properties"]) == ["input_id", "mood", "words"]
        assert item["required"] == ["input_id", "mood"]

    def test_a_class_of_pydantic_is_a_schema(self, extract: Extract, backend: str) -> None:
        found = extract(moody("good", "bad"), schema=Said, backend=backend)

        assert found.columns.tolist() == ["id", "text", "words", "mood", "remark"]
        assert found["mood"].tolist() == ["glad", "sad"]
        assert found["remark"].isna().all()

    def test_the_model_is_told_the_prompt_the_form_and_the_rows(self, extract: Extract, server: ModelServer) -> None:
        extract(moody("good", "bad"), schema=SCHEMA, parameters={"temperature": 0.5})

        (body,) = server.bodies
        assert (body["model"], body["temperature"]) == ("small", 0.5)
        system, user = (each["content"] for each in body["messages"])
        assert system.startswith(f"{PROMPT}\n\n")
        assert '{"all_results": [...]}' in system
        assert json.dumps(SCHEMA["properties"]) in system
        assert json.loads(user) == [
            {"input_id": "r0", "text": "It is good."},
            {"input_id": "r1", "text": "It is bad."},
        ]

    def test_a_text_that_is_missing_is_null(self, extract: Extract, server: ModelServer) -> None:
        extract(pd.DataFrame({"id": [1, 2, 3], "text": [None, float("nan"), pd.NA]}))

        assert [each["text"] for each in json.loads(server.bodies[0]["messages"][1]["content"])] == [None] * 3

    def test_a_parameter_can_take_the_form_of_the_answer_away(self, extract: Extract, server: ModelServer) -> None:
        extract(moody("good"), parameters={"response_format": None})

        assert "response_format" not in server.bodies[0]

    def test_a_field_that_is_named_like_a_column(self, extract: Extract) -> None:
        found = extract(moody("good").assign(mood="?"))

        assert found.columns.tolist() == ["id", "text", "mood", "mood_result", "words", "longest", "letters"]
        assert (found["mood"].tolist(), found["mood_result"].tolist()) == (["?"], ["glad"])

    def test_a_frame_without_rows(self, extract: Extract, server: ModelServer) -> None:
        assert extract(texts(0), schema=SCHEMA).columns.tolist() == ["id", "text", "mood", "words"]
        assert extract(texts(0)).columns.tolist() == ["id", "text"]
        assert server.requests == 0


class TestTheCache:
    def test_nothing_is_asked_twice(
        self, extract: Extract, server: ModelServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        extract(texts(7))
        with caplog.at_level(logging.INFO, "tablevault_like"):
            found = extract(texts(10))

        assert len(found) == 10
        assert server.requests == 3
        assert set(server.asked.values()) == {1}
        assert "skipping 7 / 10 rows" in caplog.messages

    def test_another_prompt_asks_about_all_and_the_way_back_costs_nothing(
        self, extract: Extract, server: ModelServer, cache_path: Path
    ) -> None:
        extract(texts(5))
        extract(texts(5), prompt="Another prompt")
        assert server.requests == 2
        assert query(cache_path, "SELECT DISTINCT prompt_hash FROM results") == [
            (hashlib.sha256(b"Another prompt").hexdigest()[:16],)
        ]
        assert query(cache_path, "SELECT DISTINCT prompt_hash FROM history") == [
            (hashlib.sha256(PROMPT.encode()).hexdigest()[:16],)
        ]

        assert len(extract(texts(5))) == 5

        assert server.requests == 2
        assert query(cache_path, "SELECT count(*) FROM results") == [(5,)]

    @pytest.mark.parametrize(
        "change",
        [{"model": "large"}, {"parameters": {"temperature": 1}}, {"schema": SCHEMA}],
        ids=lambda c: next(iter(c)),
    )
    def test_all_that_an_answer_depends_on_counts(
        self, extract: Extract, server: ModelServer, change: dict[str, Any]
    ) -> None:
        extract(texts(5))
        extract(texts(5), **change)
        extract(texts(5), chunk_size=1)  # this doesn't

        assert server.requests == 2

    def test_a_changed_text_is_asked_about_and_another_column_is_not(
        self, extract: Extract, server: ModelServer
    ) -> None:
        df = texts(5)
        extract(df)
        df.loc[2, "text"] = "so sad"

        found = extract(df.assign(more=1))

        assert found["mood"].tolist() == ["calm", "calm", "sad", "calm", "calm"]
        assert server.asked["r2"] == 2
        assert server.asked.total() == 6

    def test_ignore_prompt_hash_takes_the_newest_result(self, extract: Extract, server: ModelServer) -> None:
        extract(texts(2))
        server.say = lambda text: {"mood": "angry"}
        extract(texts(2), prompt="Another prompt")
        extract(texts(2))  # the first ones are the current ones, and no newer

        found = extract(texts(3), prompt="A third prompt", ignore_prompt_hash=True)

        assert found["mood"].tolist() == ["angry"] * 3
        assert server.requests == 3
        assert server.asked == {"r0": 2, "r1": 2, "r2": 1}

    def test_fresh_asks_about_all_again(self, extract: Extract, server: ModelServer) -> None:
        extract(texts(5))
        server.say = lambda text: {"mood": "angry"}

        assert extract(texts(5), fresh=True)["mood"].tolist() == ["angry"] * 5
        assert extract(texts(5))["mood"].tolist() == ["angry"] * 5
        assert server.requests == 2

    def test_what_is_there_needs_no_service(
        self, extract: Extract, server: ModelServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        extract(texts(5))
        monkeypatch.setitem(sys.modules, "openai", None)

        assert len(extract(texts(5), base_url=None)) == 5


class TestTrouble:
    def test_requests_are_made_again_after_errors_that_may_pass(
        self, extract: Extract, server: ModelServer, backend: str, cache_path: Path
    ) -> None:
        server.script = [500, 503]

        found = extract(texts(5), backend=backend)

        assert len(found) == 5
        assert server.requests == 3
        assert query(cache_path, "SELECT DISTINCT attempts FROM results") == [(3,)]

    def test_retry_after_is_honoured(self, extract: Extract, server: ModelServer, backend: str) -> None:
        server.script = [(429, 0.4)]

        extract(texts(5), backend=backend)

        assert server.requests == 2
        assert server.times[1] - server.times[0] >= 0.4

    def test_a_chunk_that_fails_is_missing_told_and_tried_again(
        self, extract: Extract, server: ModelServer, cache_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.trouble = lambda inputs: 500 if any(each["input_id"] == "r6" for each in inputs) else None

        found = extract(texts(12))

        assert found["id"].tolist() == [f"r{n}" for n in (0, 1, 2, 3, 4, 10, 11)]
        assert found.index.tolist() == [0, 1, 2, 3, 4, 10, 11]
        assert list(found.attrs["failures"]) == [f"r{n}" for n in range(5, 10)]
        assert "rows 'r5', 'r6', 'r7', 'r8', 'r9' failed: InternalServerError" in caplog.text
        assert server.requests == 2 + 3
        server.trouble = lambda inputs: None

        assert extract(texts(12))["id"].tolist() == [f"r{n}" for n in range(12)]

        assert server.requests == 6
        assert query(cache_path, "SELECT attempts FROM results WHERE row_id = 'r6'") == [(4,)]

    def test_other_errors_are_not_tried_again(self, extract: Extract, server: ModelServer) -> None:
        server.trouble = lambda inputs: 400

        assert len(extract(texts(5))) == 0
        assert server.requests == 1

    def test_a_key_that_is_refused_ends_it(self, extract: Extract, server: ModelServer, backend: str) -> None:
        server.trouble = lambda inputs: 401

        with pytest.raises(Exception, match="no luck") as raised:
            extract(texts(100), backend=backend, max_workers=1)

        assert type(raised.value).__name__ == "AuthenticationError"
        assert server.requests == 1

    def test_ids_that_are_missing_are_asked_about_by_themselves(
        self, extract: Extract, server: ModelServer, backend: str
    ) -> None:
        server.script = [lambda results: results[:3]]

        found = extract(texts(5), backend=backend)

        assert len(found) == 5
        assert server.requests == 2
        assert server.asked == {"r0": 1, "r1": 1, "r2": 1, "r3": 2, "r4": 2}

    def test_ids_that_are_always_missing(self, extract: Extract, server: ModelServer) -> None:
        server.trouble = lambda inputs: lambda results: [each for each in results if each["input_id"] != "r2"]

        found = extract(texts(5))

        assert found["id"].tolist() == ["r0", "r1", "r3", "r4"]
        assert found.attrs["failures"] == {"r2": "AnswerError: the answer has no result for the input_id 'r2'."}
        assert server.asked["r2"] == 3
        assert server.asked["r1"] == 1

    def test_an_id_that_comes_twice_is_one_row(self, extract: Extract, server: ModelServer) -> None:
        server.script = [lambda results: [*results, results[1]]]

        assert extract(texts(5))["id"].tolist() == [f"r{n}" for n in range(5)]
        assert server.requests == 1

    def test_an_id_that_comes_with_different_fields_is_asked_about_again(
        self, extract: Extract, server: ModelServer
    ) -> None:
        server.script = [lambda results: [*results, {**results[1], "mood": "furious"}]]

        assert extract(texts(5))["mood"].tolist() == ["calm"] * 5
        assert server.asked == {"r0": 1, "r1": 2, "r2": 1, "r3": 1, "r4": 1}

    def test_foreign_ids_are_ignored(
        self, extract: Extract, server: ModelServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.script = [lambda results: [*results, {"input_id": "r99", "mood": "furious"}]]

        assert extract(texts(5))["mood"].tolist() == ["calm"] * 5
        assert "ids that it wasn't asked about: 'r99'" in caplog.text
        assert server.requests == 1

    @pytest.mark.parametrize("schema", [SCHEMA, Said])
    def test_fields_that_do_not_fit_are_asked_about_again(
        self, extract: Extract, server: ModelServer, schema: Any
    ) -> None:
        server.script = [lambda results: [{**results[0], "mood": 7}, *results[1:]]]

        assert extract(texts(5), schema=schema)["mood"].tolist() == ["calm"] * 5
        assert server.asked["r0"] == 2

    @pytest.mark.parametrize("answer", ["I'd rather not.", '{"results": []}', '{"all_results": [', ""])
    def test_an_answer_that_is_none(self, extract: Extract, server: ModelServer, answer: str) -> None:
        server.script = [answer]

        assert len(extract(texts(5))) == 5
        assert server.requests == 2

    def test_null_keeps_the_rows_and_does_not_ask_again(self, extract: Extract, server: ModelServer) -> None:
        server.trouble = lambda inputs: 400

        found = extract(texts(5), on_error="null", schema=SCHEMA)
        extract(texts(5), on_error="null", schema=SCHEMA)

        assert len(found) == 5
        assert found["mood"].isna().all()
        assert server.requests == 1

    def test_stop_raises_the_error(self, extract: Extract, server: ModelServer) -> None:
        server.trouble = lambda inputs: 400

        with pytest.raises(Exception, match="no luck"):
            extract(texts(50), on_error="stop", max_workers=1)

        assert server.requests == 1


class TestWhatItTook:
    def test_a_cost_that_nobody_knows_is_none(
        self, extract: Extract, caplog: pytest.LogCaptureFixture, cache_path: Path
    ) -> None:
        with caplog.at_level(logging.INFO, "tablevault_like"):
            found = extract(texts(4))

        assert found.attrs == {"tokens": 60}
        assert "these rows took 60 tokens" in caplog.messages
        assert query(cache_path, "SELECT DISTINCT cost FROM results") == [(None,)]

    def test_tokens_and_cost_of_each_row(self, extract: Extract, cache_path: Path, backend: str) -> None:
        found = extract(texts(4), prices={"input": 1_000, "output": 2_000}, backend=backend)

        # The server counts 10 tokens for each input, and 5 for each result.
        assert query(cache_path, "SELECT tokens, cost FROM results") == [(15, pytest.approx(0.02))] * 4
        assert found.attrs == {"tokens": 60, "cost": pytest.approx(0.08)}

    def test_attempts_that_failed_count(self, extract: Extract, server: ModelServer, cache_path: Path) -> None:
        server.script = [lambda results: results[:1], "no JSON", 500]

        extract(texts(3), retries={"attempts": 4, "wait": 0})

        # Three inputs in the first request, then twice the two that were left.
        assert query(cache_path, "SELECT row_id, tokens, attempts FROM results ORDER BY row_id") == [
            ("r0", 15, 1),
            ("r1", 45, 4),
            ("r2", 45, 4),
        ]

    def test_a_budget(self, extract: Extract, server: ModelServer) -> None:
        found = extract(texts(100), budget={"rows": 10}, max_workers=1)

        assert 10 <= len(found) <= 20
        assert server.requests <= 4


class TestClients:
    def test_one_of_the_callers_is_used_and_left_open(
        self, server: ModelServer, cache_path: Path, backend: str
    ) -> None:
        client: Any
        if backend == "openai":
            from openai import OpenAI

            client = OpenAI(api_key="mine", base_url=server.base_url)
        else:
            from anthropic import Anthropic

            client = Anthropic(api_key="mine", base_url=server.url)
        server.script = [500]
        with client:
            found = extract_df(
                texts(5),
                prompt=PROMPT,
                cache_path=cache_path,
                model="small",
                client=client,
                backend=backend,
                retries=1,
            )

            assert len(found) == 0
            assert server.requests == 1  # not what it would try by itself
            assert not client.is_closed()

    def test_one_that_only_looks_like_one(self, cache_path: Path) -> None:
        def create(**arguments: Any) -> Any:
            inputs = json.loads(arguments["messages"][-1]["content"])
            text = json.dumps({"all_results": [{"input_id": each["input_id"], "n": 1} for each in inputs]})
            return SimpleNamespace(choices=[SimpleNamespace(message=SimpleNamespace(content=f"```json\n{text}\n```"))])

        client = SimpleNamespace(chat=SimpleNamespace(completions=SimpleNamespace(create=create)))

        found = extract_df(texts(3), prompt=PROMPT, cache_path=cache_path, model="small", client=client)

        assert found["n"].tolist() == [1, 1, 1]

    def test_an_asynchronous_one_is_refused(self, cache_path: Path) -> None:
        class AsyncOpenAI: ...

        with pytest.raises(TVArgumentError, match="asynchronous"):
            extract_df(texts(3), prompt=PROMPT, cache_path=cache_path, model="small", client=AsyncOpenAI())

    @pytest.mark.parametrize("name", ["openai", "anthropic"])
    def test_without_the_vendors_package(self, extract: Extract, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, name, None)

        with pytest.raises(TVArgumentError, match=r"needs the package .* pip install 'tablevault-like\[llm\]'"):
            extract(texts(1), backend=name)

    @pytest.mark.parametrize(("name", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")])
    def test_without_a_key(self, extract: Extract, name: str, variable: str) -> None:
        with pytest.raises(TVArgumentError, match=f"no key for {name}. Give api_key=, or set {variable}"):
            extract(texts(1), backend=name, base_url=None)

    def test_a_request_that_takes_too_long(self, extract: Extract, server: ModelServer) -> None:
        server.delay = 1.0

        found = extract(texts(1), timeout=0.1, retries=1)

        assert found.attrs["failures"] == {"r0": "APITimeoutError: Request timed out."}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prompt": " "}, "prompt must be a text that isn't empty"),
        ({"model": None}, "model must be a text that isn't empty, not None"),
        ({"schema": {"type": "array"}}, "schema must be a JSON Schema of an object"),
        ({"schema": int}, "schema must be a JSON Schema of an object"),
        ({"backend": "opnai"}, "no back end 'opnai'. Did you mean 'openai'?"),
        ({"chunk_size": 0}, "chunk_size must be a whole number of at least 1"),
        ({"max_workers": 0}, "max_workers must be a whole number of at least 1"),
        ({"parameters": {"model": "x"}}, "parameters can't hold 'model'"),
        ({"parameters": [1]}, "parameters must be a mapping"),
        ({"prices": {"input": 1}}, "prices must say what a million tokens cost"),
        ({"id_col": "name"}, r"df has no column 'name' \(id_col=\)"),
        ({"text_col": "body"}, "df has no column 'body'"),
        ({"fresh": True, "ignore_prompt_hash": True}, "ignore_prompt_hash=True about none that it knows"),
    ],
    ids=str,
)
def test_wrong_arguments(cache_path: Path, change: dict[str, Any], message: str) -> None:
    given = {"prompt": PROMPT, "cache_path": cache_path, "model": "small", **change}

    with pytest.raises(TVArgumentError, match=message):
        extract_df(texts(1), **given)

    assert not cache_path.parent.exists()
