"""What a model says about rows: structured, and several rows in one request.

The vendors' clients come with the extra ``llm``. A key is taken from the environment (``OPENAI_API_KEY``,
``ANTHROPIC_API_KEY``), never from a builder file, which is kept with every instance.
"""

from __future__ import annotations

import atexit
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.builtin.declared import built_in
from tablevault_like.functions.builtin.llm.answers import AnswerError, missing
from tablevault_like.functions.builtin.llm.asking import Extraction
from tablevault_like.functions.builtin.llm.backends import Backend, Client, connect
from tablevault_like.model import Result

if TYPE_CHECKING:
    import pandas as pd


@built_in(version=1)
def extract(
    rows: pd.DataFrame | None = None,
    *,
    prompt: str,
    model: str,
    text: object = None,
    schema: Mapping[str, Any] | None = None,
    backend: str = "openai",
    base_url: str | None = None,
    parameters: Mapping[str, Any] | None = None,
    prices: Mapping[str, float] | None = None,
    timeout: float | None = None,
    chunk_size: int | None = None,
) -> Result:
    """Return what a model says about each row: its fields, as ``schema`` (a JSON Schema of an object) names them.

    Called with a batch (``return_type: batch``), ``rows`` are its rows, and each request is about a whole batch. Called
    for each row (``return_type: row-wise``), ``text`` is its text. Called once for all rows (``return_type:
    dataframe``), ``rows`` is a frame that is cut into requests of ``chunk_size`` rows.

    The fields are the columns that the builder fills, in any order; of a single column that isn't named like the only
    field, the cell holds all fields. ``backend`` is ``openai`` (any service that speaks ``/chat/completions``, at
    ``base_url``) or ``anthropic``; ``parameters`` (``temperature``, ``max_tokens``, ...) go into each request, and
    ``timeout`` is in seconds. Tokens are told to the builder, and so is the cost if ``prices`` says what a million
    tokens cost, as ``{input: 0.15, output: 0.6}``.

    Rows that an answer leaves out are asked about once more, by themselves; raises ``AnswerError`` if that doesn't
    help, and what the vendor's client raises. ``retries``, ``timeout`` and ``rate`` of the builder hold for all of it.
    """
    extraction = Extraction.read(
        prompt=prompt, model=model, schema=schema, backend=backend, parameters=parameters, prices=prices
    )
    if chunk_size is not None and (type(chunk_size) is not int or chunk_size < 1):
        raise TVArgumentError(f"chunk_size must be a whole number of at least 1, not {chunk_size!r}.")
    if rows is None:
        client = _client(extraction.backend, base_url, timeout)
        found, tokens, cost = _asked(extraction, client, {"0": {"text": text}})
        return Result(found["0"], cost=cost, tokens=tokens)
    inputs = _inputs(rows)
    names = list(inputs)
    every: dict[str, dict[str, Any]] = {}
    tokens, cost = 0, 0.0
    client = _client(extraction.backend, base_url, timeout)
    for start in range(0, len(names), chunk_size or max(len(names), 1)):
        chunk = {name: inputs[name] for name in names[start : start + (chunk_size or len(names))]}
        try:
            found, more_tokens, more_cost = _asked(extraction, client, chunk)
        except Exception as error:
            # What the chunks before it took was spent all the same.
            _add_price(error, tokens, cost)
            raise
        every |= found
        tokens, cost = tokens + more_tokens, cost + more_cost
    results = [every[name] for name in names]
    return Result(_frame(results, extraction) if chunk_size is not None else results, cost=cost, tokens=tokens)


def _asked(
    extraction: Extraction, client: Client, inputs: Mapping[str, Mapping[str, object]]
) -> tuple[dict[str, dict[str, Any]], int, float]:
    """Ask about some inputs, and once more about those that the answer left out; return fields, tokens and cost."""
    found: dict[str, dict[str, Any]] = {}
    tokens, cost = 0, 0.0
    for is_last in (False, True):
        left = {name: fields for name, fields in inputs.items() if name not in found}
        try:
            asked = extraction.ask(client, left)
        except Exception as error:
            _add_price(error, tokens, cost)
            raise
        found |= asked.found
        tokens, cost = tokens + (asked.tokens or 0), cost + (asked.cost or 0.0)
        if not asked.problems:
            break
        if is_last:
            raise AnswerError(f"{missing(asked.problems, asked.foreign)}.", tokens=tokens, cost=cost)
    return found, tokens, cost


def _add_price(error: Exception, tokens: int, cost: float) -> None:
    error.tokens = (getattr(error, "tokens", None) or 0) + tokens  # type: ignore[attr-defined]
    error.cost = (getattr(error, "cost", None) or 0.0) + cost  # type: ignore[attr-defined]


def _inputs(rows: pd.DataFrame) -> dict[str, dict[str, object]]:
    """Return the fields of each row by its number, which is its id in the request."""
    columns = [str(name) for name in rows.columns]
    values = [rows.iloc[:, place].astype(object).tolist() for place in range(len(columns))]
    return {str(number): dict(zip(columns, row, strict=True)) for number, row in enumerate(zip(*values, strict=True))}


def _frame(results: Sequence[Mapping[str, Any]], extraction: Extraction) -> pd.DataFrame:
    import pandas as pd

    names = list(dict.fromkeys([*extraction.schema.fields, *(name for each in results for name in each)]))
    columns = {name: pd.Series([each.get(name) for each in results], dtype=object) for name in names}
    return pd.DataFrame(columns, index=range(len(results))).convert_dtypes()


@cache
def _client(backend: Backend, base_url: str | None, timeout: float | None) -> Client:
    """Return a client that keeps its connections from one batch to the next."""
    client = connect(backend, base_url=base_url, timeout=timeout)
    atexit.register(client.close)
    return client
