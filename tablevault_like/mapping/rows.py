"""A function over the rows of a frame, with a file that remembers."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

    from tablevault_like.mapping.running import Call


def map_rows(
    df: pd.DataFrame,
    function: Callable[[dict[str, Any]], object],
    cache_path: str | os.PathLike[str],
    *,
    key: str = "id",
    columns: Sequence[str] | None = None,
    n_threads: int = 20,
    fresh: bool = False,
    on_error: str = "continue",
    max_failures: float | str | None = None,
    retries: int | Mapping[str, Any] | None = None,
    timeout: float | None = None,
    rate: str | None = None,
    budget: Mapping[str, float] | None = None,
    progress: bool | None = None,
    version: object = None,
) -> pd.DataFrame:
    """Call a function for each row of a frame, and return the frame with the results: all rows, in its order.

    ``function`` takes a row as a dict of its columns (of ``columns``, if they are named), and returns a scalar, which
    becomes the column ``result``, a dict, whose keys become columns, or a ``Result`` with what it cost. Results are
    kept in ``cache_path``, an SQLite file with a table ``results``, as soon as they are there, so that the same call
    again, after a kill or a power cut, too, calls only what is missing. What counts as the same row: its ``key``, the
    content of its columns, and what the function does (its source with that of its own functions, what it closes over,
    and ``version``, for what can't be seen). ``fresh=True`` computes all rows again; when it was interrupted, it goes
    on.

    Rows that fail are missing in their results; the table ``failures`` tells why, and the next call tries them again.
    ``on_error="stop"`` raises the first error instead, ``"null"`` doesn't try such rows again. ``max_failures`` is a
    count, or a share such as ``"5%"``, after which it stops. ``retries`` is a number of attempts, or a mapping of
    ``attempts``, ``wait``, ``max_wait`` and ``on``; ``timeout`` is in seconds for each attempt; ``rate`` is such as
    ``"60/min"``; ``budget`` is a mapping of ``seconds``, ``rows``, ``failures`` and ``cost``, which end the call early.
    ``progress`` is what it shows of how far it is: None for bars on a terminal or in a notebook, and a line in the log
    every few seconds elsewhere; True for that line on stderr; False for nothing.

    Raises TVArgumentError for arguments that can't be used, such as keys that aren't unique; TVLockError if another
    process uses the file, and says which; TVFileError if the file can't be used. Ctrl-C waits for the calls in flight,
    records them, and is raised. So does a pause or a stop of the process of a vault whose user code makes this call;
    then that goes on with it.
    """
    from tablevault_like.errors import TVArgumentError
    from tablevault_like.mapping.cache import Recipe, cache_file
    from tablevault_like.mapping.frames import Rows
    from tablevault_like.mapping.job import Job
    from tablevault_like.mapping.limits import Limits
    from tablevault_like.mapping.meaning import recipe_of

    if not callable(function):
        raise TVArgumentError(f"function must be a function, not a {type(function).__name__}.")
    if inspect.iscoroutinefunction(function):
        raise TVArgumentError("function is asynchronous. Give one that runs it, with asyncio.run().")
    path = cache_file(cache_path)
    limits = Limits.read(
        workers=("n_threads", n_threads),
        on_error=on_error,
        max_failures=max_failures,
        retries=retries,
        timeout=timeout,
        rate=rate,
        budget=budget,
    )
    rows = Rows.of(df, key, columns)
    digest = recipe_of(function, version=version)
    job = Job(_name(function), path, rows, Recipe(digest, digest[:16]), limits, fresh=fresh, progress=progress)
    return job.run(lambda left: [[each] for each in left], _caller(function, rows))


def _name(function: Callable[..., object]) -> str:
    """Return what people call a function; those that have no name are known by their class."""
    if isinstance(function, functools.partial):
        return _name(function.func)
    name = getattr(function, "__name__", None)
    return name.strip("<>") if isinstance(name, str) else type(function).__name__


def _caller(function: Callable[[dict[str, Any]], object], rows: Any) -> Call:
    from tablevault_like.engines.attempts import Attempts, CallFailed
    from tablevault_like.errors import TableVaultError
    from tablevault_like.mapping.frames import check_names
    from tablevault_like.mapping.running import Outcome
    from tablevault_like.storage.values import encode_cells

    def call(ids: Sequence[str], attempts: Attempts) -> list[Outcome]:
        (name,) = ids
        try:
            tried = attempts.call(lambda: function(rows.row(name)))
        except CallFailed as failed:
            return [Outcome(name, None, failed.original, failed.attempts, failed.cost, failed.tokens)]
        took = (tried.attempts, tried.cost, tried.tokens)
        try:
            check_names(tried.value)
            return [Outcome(name, encode_cells([tried.value])[1:-1], None, *took)]
        except TableVaultError as error:
            return [Outcome(name, None, error, *took)]

    return call
