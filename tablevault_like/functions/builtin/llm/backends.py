"""Two ways to ask a model for JSON, through the vendors' own clients, which are imported when they are needed.

Their own retries are switched off: attempts are counted, paced and paid for by whoever asks.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from tablevault_like.errors import TVArgumentError, nearest

_TOOL = "record_results"
_MAX_TOKENS = 4096  # Anthropic's API wants a number


@dataclass(frozen=True, slots=True)
class Reply:
    """What a model answered: text, or what its JSON holds. ``cut`` tells why it ended early, None if it didn't."""

    content: object
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    cut: str | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """What a model is asked. ``form`` is the answer's JSON Schema; ``is_strict`` tells whether it says anything."""

    model: str
    system: str
    user: str
    form: Mapping[str, Any]
    is_strict: bool
    parameters: Mapping[str, Any]


class Client(Protocol):
    """Asks a model. Threads may share it."""

    def ask(self, request: Request) -> Reply:
        """Send one request. Raises the vendor's errors."""

    def close(self) -> None:
        """Close its connections, if they are its own."""


class Backend(StrEnum):
    """Whose interface is spoken."""

    OPENAI = "openai"
    ANTHROPIC = "anthropic"

    @classmethod
    def read(cls, given: object) -> Backend:
        """Return the back end of that name. Raises TVArgumentError for an unknown one."""
        known = [each.value for each in cls]
        if given not in known:
            hint = nearest(given, known) if isinstance(given, str) else f" Known: {', '.join(known)}."
            raise TVArgumentError(f"There is no back end {given!r}.{hint}")
        return cls(given)


def connect(
    backend: Backend,
    *,
    api_key: str | None = None,
    base_url: str | None = None,
    client: object = None,
    timeout: float | None = None,
) -> Client:
    """Return a client of a back end: a new one, or one around the vendor's ``client``.

    Raises TVArgumentError if the vendor's package isn't installed, there is no key, or ``client`` is asynchronous.
    """
    if client is not None:
        if type(client).__name__.startswith("Async"):
            raise TVArgumentError(
                f"client is an asynchronous one ({type(client).__name__}). Give the plain one; threads make it "
                "concurrent."
            )
        return _BACKENDS[backend](_without_retries(client, timeout), is_own=False)
    made = _made(backend, api_key=api_key, base_url=base_url, timeout=timeout)
    return _BACKENDS[backend](made, is_own=True)


def _made(backend: Backend, *, api_key: str | None, base_url: str | None, timeout: float | None) -> Any:
    options: dict[str, Any] = {"max_retries": 0}
    if base_url is not None:
        options["base_url"] = base_url
        # A server of one's own wants no key, but the vendors' clients do.
        if api_key is None and not os.environ.get(_KEYS[backend]):
            api_key = "none"
    if api_key is not None:
        options["api_key"] = api_key
    elif not os.environ.get(_KEYS[backend]):
        raise TVArgumentError(f"There is no key for {backend}. Give api_key=, or set {_KEYS[backend]}.")
    if timeout is not None:
        options["timeout"] = timeout
    if backend is Backend.OPENAI:
        try:
            from openai import OpenAI
        except ImportError as error:
            raise _not_installed("openai", error) from error
        return OpenAI(**options)
    try:
        from anthropic import Anthropic
    except ImportError as error:
        raise _not_installed("anthropic", error) from error
    return Anthropic(**options)


_KEYS = {Backend.OPENAI: "OPENAI_API_KEY", Backend.ANTHROPIC: "ANTHROPIC_API_KEY"}


def _not_installed(name: str, error: ImportError) -> TVArgumentError:
    return TVArgumentError(
        f"The back end {name!r} needs the package {name}, which can't be imported ({error}). Install it: pip install "
        "'tablevault-like[llm]', or give a client= of your own."
    )


def _without_retries(client: Any, timeout: float | None) -> Any:
    options: dict[str, Any] = {"max_retries": 0}
    if timeout is not None:
        options["timeout"] = timeout
    adapt = getattr(client, "with_options", None)
    return client if adapt is None else adapt(**options)


class _OpenAIClient:
    """Speaks ``/chat/completions``, as OpenAI and many servers of others do."""

    def __init__(self, client: Any, *, is_own: bool) -> None:
        self._client = client
        self._is_own = is_own

    def ask(self, request: Request) -> Reply:
        form: dict[str, Any] = {"type": "json_object"}
        if request.is_strict:
            form = {"type": "json_schema", "json_schema": {"name": _TOOL, "schema": dict(request.form)}}
        answer = self._client.chat.completions.create(
            **_arguments(
                {
                    "model": request.model,
                    "messages": [
                        {"role": "system", "content": request.system},
                        {"role": "user", "content": request.user},
                    ],
                    "response_format": form,
                },
                request.parameters,
            )
        )
        choice = answer.choices[0]
        usage = getattr(answer, "usage", None)
        cut = getattr(choice, "finish_reason", None)
        refusal = getattr(choice.message, "refusal", None)
        return Reply(
            choice.message.content or "",
            _count(usage, "prompt_tokens"),
            _count(usage, "completion_tokens"),
            _price(usage),
            f"it was refused ({refusal})" if refusal else f"it ended by {cut!r}" if cut in _CUT else None,
        )

    def close(self) -> None:
        _close(self._client, self._is_own)


class _AnthropicClient:
    """Speaks ``/v1/messages``: the answer is what the model gives to a tool."""

    def __init__(self, client: Any, *, is_own: bool) -> None:
        self._client = client
        self._is_own = is_own

    def ask(self, request: Request) -> Reply:
        answer = self._client.messages.create(
            **_arguments(
                {
                    "model": request.model,
                    "max_tokens": _MAX_TOKENS,
                    "system": request.system,
                    "messages": [{"role": "user", "content": request.user}],
                    "tools": [
                        {"name": _TOOL, "description": "Record all results.", "input_schema": dict(request.form)}
                    ],
                    "tool_choice": {"type": "tool", "name": _TOOL},
                },
                request.parameters,
            )
        )
        inputs = [each.input for each in answer.content if getattr(each, "type", None) == "tool_use"]
        text = "".join(each.text for each in answer.content if getattr(each, "type", None) == "text")
        usage = getattr(answer, "usage", None)
        cut = getattr(answer, "stop_reason", None)
        return Reply(
            inputs[0] if inputs else text,
            _count(usage, "input_tokens"),
            _count(usage, "output_tokens"),
            _price(usage),
            f"it ended by {cut!r}" if cut in _CUT else None,
        )

    def close(self) -> None:
        _close(self._client, self._is_own)


_BACKENDS: dict[Backend, type[_OpenAIClient | _AnthropicClient]] = {
    Backend.OPENAI: _OpenAIClient,
    Backend.ANTHROPIC: _AnthropicClient,
}

_CUT = ("length", "content_filter", "max_tokens", "refusal")


def _arguments(usual: Mapping[str, Any], parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a request; a parameter takes the place of a usual one, and None takes it away."""
    every = {**usual, **parameters}
    return {name: value for name, value in every.items() if value is not None}


def _count(usage: object, name: str) -> int | None:
    found = getattr(usage, name, None)
    return found if isinstance(found, int) and not isinstance(found, bool) else None


def _price(usage: object) -> float | None:
    found = getattr(usage, "cost", None)  # some services tell
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else None


def _close(client: Any, is_own: bool) -> None:
    if is_own:
        with suppress(Exception):
            client.close()
