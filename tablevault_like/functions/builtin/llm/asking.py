"""Ask a model about several inputs in one request."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.builtin.llm.answers import AnswerError, read_answers
from tablevault_like.functions.builtin.llm.backends import Backend, Client, Reply, Request
from tablevault_like.functions.builtin.llm.schemas import ALL_RESULTS, INPUT_ID, Schema, listed

_log = logging.getLogger(__name__)

TRANSIENT = (
    *("RateLimitError", "APIConnectionError", "APITimeoutError", "InternalServerError", "ConflictError"),
    *("OverloadedError", "ServiceUnavailableError", "RequestTimeoutError", "AnswerError"),
)
"""The errors after which asking again may help, by the names that the vendors' clients give them."""

HOPELESS = ("AuthenticationError", "PermissionDeniedError")
"""The errors that every other request would meet as well."""


def prompt_hash(prompt: str) -> str:
    """Return 16 hexadecimal digits of the prompt's SHA-256.

    >>> prompt_hash("What is the mood?")
    '223ad0f99792e22f'
    """
    return hashlib.sha256(prompt.encode()).hexdigest()[:16]


@dataclass(frozen=True, slots=True)
class Prices:
    """What a million tokens cost, of what is sent and of what is answered."""

    input: float
    output: float

    @classmethod
    def read(cls, given: object) -> Prices | None:
        """Read ``{"input": 0.15, "output": 0.6}``. Raises TVArgumentError for anything else but None."""
        if given is None or isinstance(given, Prices):
            return given
        if isinstance(given, Mapping) and set(given) == {"input", "output"}:
            numbers = list(given.values())
            if all(isinstance(each, int | float) and not isinstance(each, bool) and each >= 0 for each in numbers):
                return cls(float(given["input"]), float(given["output"]))
        raise TVArgumentError(
            f"prices must say what a million tokens cost, as {{'input': 0.15, 'output': 0.6}}; not {given!r}."
        )


@dataclass(slots=True)
class Asked:
    """What one request gave: fields by id, why there are none by id, and what it took."""

    found: dict[str, dict[str, Any]]
    problems: dict[str, str]
    foreign: list[str]
    tokens: int | None
    cost: float | None


@dataclass(frozen=True, kw_only=True)
class Extraction:
    """What a model is asked about each input. Each is a mapping of its own fields, and has an id."""

    prompt: str
    model: str
    schema: Schema = field(default_factory=Schema)
    backend: Backend = Backend.OPENAI
    parameters: Mapping[str, Any] = field(default_factory=dict)
    prices: Prices | None = None

    @classmethod
    def read(
        cls,
        *,
        prompt: object,
        model: object,
        schema: object = None,
        backend: object = "openai",
        parameters: object = None,
        prices: object = None,
    ) -> Extraction:
        """Make it of what a caller or a builder file gives. Raises TVArgumentError for what can't be used."""
        for name, value in (("prompt", prompt), ("model", model)):
            if not isinstance(value, str) or not value.strip():
                raise TVArgumentError(f"{name} must be a text that isn't empty, not {value!r}.")
        if parameters is not None and not isinstance(parameters, Mapping):
            raise TVArgumentError(f"parameters must be a mapping such as {{'temperature': 0}}, not {parameters!r}.")
        taken = {"model", "messages", "system", "stream"} & set(parameters or ())
        if taken:
            raise TVArgumentError(f"parameters can't hold {min(taken)!r}: that is said elsewhere, or not at all.")
        return cls(
            prompt=str(prompt),
            model=str(model),
            schema=Schema.read(schema),
            backend=Backend.read(backend),
            parameters=dict(parameters or {}),
            prices=Prices.read(prices),
        )

    @cached_property
    def system(self) -> str:
        """The prompt as it is sent, with what is said about the form of the answer."""
        wanted = "the keys that were asked for"
        if self.schema.form is not None:
            wanted = f"what this JSON Schema says: {_json(self.schema.form)}"
        return (
            f"{self.prompt.strip()}\n\n"
            f"The input is a JSON array. Answer with one JSON object and nothing else: "
            f'{{"{ALL_RESULTS}": [...]}}, whose list has exactly one element for each element of the input. It has '
            f'"{INPUT_ID}", copied from the input as it is, and {wanted}.'
        )

    @property
    def recipe(self) -> tuple[object, ...]:
        """All that an answer depends on but the input: of what the key of a cache is made."""
        form = None if self.schema.form is None else _json(self.schema.form, sort_keys=True)
        parameters = json.dumps(self.parameters, sort_keys=True, default=repr, ensure_ascii=False)
        return "extract", self.backend.value, self.model, self.system, parameters, form

    def ask(self, client: Client, inputs: Mapping[str, Mapping[str, object]]) -> Asked:
        """Ask about some inputs, by id, in one request.

        Raises AnswerError if nothing of the answer can be used, and whatever the vendor's client raises.
        """
        user = _json(
            [{INPUT_ID: name, **{key: _sent(v) for key, v in fields.items()}} for name, fields in inputs.items()]
        )
        form = self.schema.envelope()
        reply = client.ask(Request(self.model, self.system, user, form, self.schema.form is not None, self.parameters))
        tokens, cost = self._price(reply)
        try:
            answers = read_answers(reply.content, list(inputs), self.schema)
        except AnswerError as error:
            why = f"{str(error).rstrip('.')}; {reply.cut}." if reply.cut else str(error)
            hint = " Lower chunk_size, or raise max_tokens in parameters." if "length" in why or "max_" in why else ""
            raise AnswerError(f"{why}{hint}", tokens=tokens, cost=cost) from None
        if answers.foreign:
            _log.warning("the model answered about ids that it wasn't asked about: %s", listed(answers.foreign))
        return Asked(answers.found, answers.problems, answers.foreign, tokens, cost)

    def _price(self, reply: Reply) -> tuple[int | None, float | None]:
        counts = [each for each in (reply.input_tokens, reply.output_tokens) if each is not None]
        cost = reply.cost
        if cost is None and self.prices is not None and counts:
            sent, answered = reply.input_tokens or 0, reply.output_tokens or 0
            cost = (sent * self.prices.input + answered * self.prices.output) / 1_000_000
        return (sum(counts) if counts else None), cost


def _sent(value: object) -> object:
    """Return a cell as it is sent: what is missing as null."""
    is_missing = type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    return None if is_missing else value


def _json(value: object, *, sort_keys: bool = False) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=sort_keys, default=str)
