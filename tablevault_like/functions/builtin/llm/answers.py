"""Take the results out of what a model answered, and tell whose each is.

1. A result counts only for the input whose ``input_id`` it bears. Order and number never decide.
2. An id that comes twice with the same fields is one result; with different ones it is none, since one of them belongs
   to somebody else. Ids that nobody asked about are ignored.
3. What can't be used is told, by id: nothing is made up.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tablevault_like.functions.builtin.llm.schemas import ALL_RESULTS, INPUT_ID, Schema, listed

_FENCED = re.compile(r"```(?:json)?\s*\n(.*?)\n?\s*```", re.DOTALL | re.IGNORECASE)


class AnswerError(ValueError):
    """An answer of a model that can't be used. ``tokens`` and ``cost`` are what it took all the same."""

    def __init__(self, message: str, *, tokens: int | None = None, cost: float | None = None) -> None:
        super().__init__(message)
        self.tokens = tokens
        self.cost = cost


@dataclass(slots=True)
class Answers:
    """The fields that were found, by id, and why there are none, by id. ``foreign`` ids weren't asked about."""

    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    foreign: list[str] = field(default_factory=list)


def read_answers(text: object, ids: Sequence[str], schema: Schema) -> Answers:
    """Return what an answer, as text or as what its JSON holds, says about each of ``ids``.

    Raises AnswerError if it isn't ``{"all_results": [...]}``.

    >>> read_answers('{"all_results": [{"input_id": "a", "mood": "glad"}]}', ["a", "b"], Schema()).problems
    {'b': "the answer has no result for the input_id 'b'"}
    """
    given: dict[str, list[Mapping[str, object]]] = {each: [] for each in ids}
    answers = Answers()
    for result in _results(text):
        if not isinstance(result, Mapping):
            continue
        name = _id(result.get(INPUT_ID))
        if name in given:
            given[name].append({key: value for key, value in result.items() if key != INPUT_ID})
        else:
            answers.foreign.append(name)
    for name, results in given.items():
        if not results:
            answers.problems[name] = f"the answer has no result for the input_id {name!r}"
        elif any(each != results[0] for each in results[1:]):
            answers.problems[name] = f"the answer has {len(results)} different results for the input_id {name!r}"
        else:
            try:
                answers.found[name] = schema.checked(results[0])
            except ValueError as error:  # that of pydantic is one, too
                answers.problems[name] = f"the result for the input_id {name!r} doesn't fit the schema: {error}"
    return answers


def missing(problems: Mapping[str, str], foreign: Sequence[str]) -> str:
    """Return in words what is wrong with an answer, for an error."""
    first, *others = problems.values()
    text = first + (f" (and {len(others)} more can't be used)" if others else "")
    return text + (f"; it has results for ids that weren't asked about: {listed(foreign)}" if foreign else "")


def _results(text: object) -> Sequence[object]:
    content = _parsed(text) if isinstance(text, str) else text
    results = content.get(ALL_RESULTS) if isinstance(content, Mapping) else content
    if isinstance(results, str):  # a model that wrote JSON within JSON
        results = _parsed(results)
    if isinstance(results, Mapping):
        results = [results]
    if not isinstance(results, list):
        raise AnswerError(f"The model's answer has no list {ALL_RESULTS!r}: {_shown(content)}.")
    return results


def _parsed(text: str) -> object:
    """Return what JSON holds, also where a model put it into a fence, or words around it."""
    fenced = _FENCED.search(text)
    start, end = text.find("{"), text.rfind("}")
    for candidate in (text, fenced[1] if fenced else "", text[start : end + 1] if start >= 0 else ""):
        try:
            return json.loads(candidate)
        except ValueError:
            continue
    raise AnswerError(f"The model's answer isn't JSON: {_shown(text)}.")


def _id(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, default=str)


def _shown(value: object) -> str:
    text = value if isinstance(value, str) else repr(value)
    return repr(text if len(text) <= 200 else f"{text[:197]}...")
