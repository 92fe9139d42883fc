"""A model's structured output for each row of a frame, several rows in a request, with a file that remembers."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tablevault_like.engines.attempts import Attempts
    from tablevault_like.functions.builtin.llm.asking import Extraction
    from tablevault_like.functions.builtin.llm.backends import Client
    from tablevault_like.mapping.frames import Rows
    from tablevault_like.mapping.running import Outcome

ATTEMPTS = 3
"""Requests for a chunk, in all, if the caller says nothing else."""


def extract_df(
    df: pd.DataFrame,
    *,
    prompt: str,
    cache_path: str | os.PathLike[str],
    model: str,
    schema: Mapping[str, Any] | type | None = None,
    backend: str = "openai",
    id_col: str = "id",
    text_col: str = "text",
    chunk_size: int = 5,
    max_workers: int = 20,
    fresh: bool = False,
    ignore_prompt_hash: bool = False,
    api_key: str | None = None,
    base_url: str | None = None,
    client: object = None,
    parameters: Mapping[str, Any] | None = None,
    prices: Mapping[str, float] | None = None,
    on_error: str = "continue",
    max_failures: float | str | None = None,
    retries: int | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    rate: str | None = None,
    budget: Mapping[str, float] | None = None,
    progress: bool | None = None,
) -> pd.DataFrame:
    """Ask a model about each row of a frame, and return the frame with the fields of its answers, in the frame's order.

    Each request is about ``chunk_size`` rows (``id_col`` and ``text_col``); the model answers ``{"all_results":
    [...]}``, each with its ``input_id``. ``schema`` is a JSON Schema of an object, or a class of pydantic's; without
    one any fields will do. ``backend`` is ``"openai"`` (any service that speaks ``/chat/completions``, at ``base_url``)
    or ``"anthropic"``; ``client`` is a client of the vendor's to be used instead of a new one with ``api_key``.
    ``parameters`` (``temperature``, ...) go into each request; ``prices``, for a million tokens, as ``{"input": 0.15,
    "output": 0.6}``, tell what it cost.

    Results are kept in ``cache_path`` as by ``map_rows``, by prompt, model, parameters, schema and text, so only what
    is missing is asked about, and going back to an earlier prompt costs nothing. ``ignore_prompt_hash=True`` takes a
    row's newest result, whatever prompt, model and schema gave it. ``fresh=True`` asks about all rows again, and goes
    on when it was interrupted.

    Rows that an answer leaves out, doubles with other fields, or that don't fit the schema are asked about again, by
    themselves. Requests are tried three times after errors that may pass; ``Retry-After`` is honoured. ``retries`` says
    otherwise, ``timeout`` is in seconds for each request, and ``rate``, ``budget``, ``max_failures`` and ``progress``
    are those of ``map_rows``. Rows that failed all the same are missing from what is returned, and are asked about
    again by the next call; with ``on_error="null"`` they are there, without fields, and aren't asked about again;
    ``"stop"`` raises the error.

    Raises TVArgumentError for arguments that can't be used, TVLockError if another process uses the file, TVFileError
    if the file can't be used, and the vendor's error if the key is refused.
    """
    from tablevault_like.errors import TVArgumentError
    from tablevault_like.functions.builtin.llm.asking import HOPELESS, TRANSIENT, Extraction, prompt_hash
    from tablevault_like.functions.builtin.llm.backends import connect
    from tablevault_like.mapping.cache import Recipe, cache_file
    from tablevault_like.mapping.frames import Rows
    from tablevault_like.mapping.job import Job
    from tablevault_like.mapping.limits import Limits, whole
    from tablevault_like.storage.digests import digest

    path = cache_file(cache_path)
    extraction = Extraction.read(
        prompt=prompt, model=model, schema=schema, backend=backend, parameters=parameters, prices=prices
    )
    size = whole("chunk_size", chunk_size)
    given: object = ATTEMPTS if retries is None else retries
    if isinstance(given, int) and not isinstance(given, bool):
        given = {"attempts": given}
    if isinstance(given, Mapping) and "on" not in given:
        given = {**given, "on": TRANSIENT}
    limits = Limits.read(
        workers=("max_workers", max_workers),
        on_error=on_error,
        max_failures=max_failures,
        retries=given,
        timeout=timeout,
        rate=rate,
        budget=budget,
        fatal=HOPELESS,
    )
    if fresh and ignore_prompt_hash:
        raise TVArgumentError(
            "fresh=True asks about all rows again, and ignore_prompt_hash=True about none that it knows."
        )
    rows = Rows.of(df, id_col, [text_col], argument="id_col")
    recipe = Recipe(digest(*extraction.recipe).hex(), prompt_hash(extraction.prompt))
    job = Job(
        extraction.model,
        path,
        rows,
        recipe,
        _for_requests(limits),
        fresh=fresh,
        any_recipe=ignore_prompt_hash,
        progress=progress,
        fields=extraction.schema.fields,
        leaves_out_failures=True,
        is_costly=True,
    )
    with ExitStack() as closing:
        asker = _Asker(extraction, rows, text_col)

        def cut(left: Sequence[str]) -> list[Sequence[str]]:
            if left:  # without anything to ask, neither a key nor the vendor's package is needed
                asker.client = connect(
                    extraction.backend, api_key=api_key, base_url=base_url, client=client, timeout=limits.timeout
                )
                closing.callback(asker.client.close)
            return [left[start : start + size] for start in range(0, len(left), size)]

        return job.run(cut, asker)


def _for_requests(limits: Any) -> Any:
    """Return the limits without the timeout, which the vendor's client keeps: it can end a request, a thread can't."""
    from dataclasses import replace

    return replace(limits, timeout=None)


@dataclass
class _Asker:
    """Asks about one chunk of rows, as often as it may be tried."""

    extraction: Extraction
    rows: Rows
    text_col: str
    client: Client | None = None

    def __call__(self, ids: Sequence[str], attempts: Attempts) -> list[Outcome]:
        from tablevault_like.engines.attempts import CallFailed
        from tablevault_like.mapping.running import Outcome

        client = self.client
        assert client is not None
        chunk = _Chunk({name: {"text": self.rows.row(name)[self.text_col]} for name in ids})
        error: BaseException | None = None
        try:
            attempts.call(lambda: chunk.ask(self.extraction, client))
        except CallFailed as failed:
            error = failed.original
        outcomes = []
        for name in ids:
            took = (chunk.attempts[name], chunk.cost.get(name), chunk.tokens.get(name))
            text, problem = _encoded(chunk.found[name]) if name in chunk.found else (None, chunk.problem(name, error))
            outcomes.append(Outcome(name, text, problem, *took))
        return outcomes


def _encoded(fields: Mapping[str, Any]) -> tuple[str | None, BaseException | None]:
    from tablevault_like.errors import TableVaultError
    from tablevault_like.storage.values import encode_cells

    try:
        return encode_cells([fields])[1:-1], None
    except TableVaultError as error:
        return None, error


@dataclass
class _Chunk:
    """Some rows that are asked about together, and what is known of each by now."""

    inputs: dict[str, dict[str, object]]
    found: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, int] = field(default_factory=dict)
    cost: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.attempts = dict.fromkeys(self.inputs, 0)

    @property
    def left(self) -> list[str]:
        return [name for name in self.inputs if name not in self.found]

    def ask(self, extraction: Extraction, client: Client) -> None:
        """Ask about the rows that there are no fields of. Raises AnswerError if there are such rows afterwards."""
        from tablevault_like.functions.builtin.llm.answers import AnswerError, missing

        left = self.left
        for name in left:
            self.attempts[name] += 1
        self.problems = {}
        try:
            asked = extraction.ask(client, {name: self.inputs[name] for name in left})
        except Exception as error:
            self._share(left, getattr(error, "tokens", None), getattr(error, "cost", None))
            raise
        self._share(left, asked.tokens, asked.cost)
        self.found |= asked.found
        self.problems = asked.problems
        if asked.problems:
            raise AnswerError(f"{missing(asked.problems, asked.foreign)}.")

    def problem(self, name: str, error: BaseException | None) -> BaseException:
        """Return why there are no fields of a row."""
        from tablevault_like.functions.builtin.llm.answers import AnswerError

        if name in self.problems:
            return AnswerError(f"{self.problems[name]}.")
        return error if error is not None else AnswerError("the request was never sent.")

    def _share(self, names: Sequence[str], tokens: int | None, cost: float | None) -> None:
        """Share what a request took among the rows that it was about: whole tokens, none of which gets lost."""
        for place, name in enumerate(names):
            if tokens is not None:
                whole, rest = divmod(tokens, len(names))
                self.tokens[name] = self.tokens.get(name, 0) + whole + (place < rest)
            if cost is not None:
                self.cost[name] = self.cost.get(name, 0.0) + cost / len(names)
