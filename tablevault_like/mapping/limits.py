"""How a run over rows is limited: read once from the arguments of a call, with errors that name the argument."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tablevault_like.errors import TVArgumentError
from tablevault_like.limits import Budget, MaxFailures, Rate, Retries, seconds
from tablevault_like.model import OnError

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Limits:
    """Of a call of ``map_rows`` or ``extract_df``: how many workers, what may fail, how often and how fast."""

    workers: int
    on_error: OnError
    max_failures: MaxFailures | None = None
    retries: Retries | None = None
    timeout: float | None = None
    rate: Rate | None = None
    budget: Budget | None = None
    fatal: tuple[str, ...] = ()
    """The errors, by their names, after which nothing more is begun."""

    @classmethod
    def read(
        cls,
        *,
        workers: tuple[str, object],
        on_error: object,
        max_failures: object,
        retries: object,
        timeout: object,
        rate: object,
        budget: object,
        fatal: tuple[str, ...] = (),
    ) -> Limits:
        """Read what a caller gave; ``workers`` comes with its name. Raises TVArgumentError."""
        name, count = workers
        known = [each.value for each in OnError]
        if on_error not in known:
            raise TVArgumentError(f"on_error must be one of {', '.join(known)}, not {on_error!r}.")
        return cls(
            workers=whole(name, count),
            on_error=OnError(on_error),
            max_failures=_read("max_failures", MaxFailures.read, max_failures),
            retries=_read("retries", Retries.read, retries),
            timeout=_read("timeout", seconds, timeout),
            rate=_read("rate", Rate.read, rate),
            budget=_read("budget", Budget.read, budget),
            fatal=fatal,
        )


def whole(name: str, value: object) -> int:
    """Return a number of at least 1. Raises TVArgumentError that names the argument."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise TVArgumentError(f"{name} must be a whole number of at least 1, not {value!r}.")
    return value


def _read(name: str, read: Callable[[object], _T], value: object) -> _T | None:
    if value is None:
        return None
    try:
        return read(value)
    except ValueError as error:
        raise TVArgumentError(f"{name} must be {error}; not {value!r}.") from error
