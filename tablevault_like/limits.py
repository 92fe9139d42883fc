"""How much a run may try, spend and bear: retries, rates, budgets, and failures.

Each is made from what a builder file or a caller says with ``read``, which raises ``ValueError`` with what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Self

_RATE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*/\s*(s|sec|second|min|minute|h|hour|d|day)\s*")
_PERIODS = {"s": 1, "sec": 1, "second": 1, "min": 60, "minute": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_SHARE = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*%\s*")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a call that fails is made again.

    ``attempts`` are calls in all. Before the second one ``wait`` seconds pass, give or take, and twice as many before
    each further one, up to ``max_wait``. ``on`` names the classes of exceptions that are worth it, by their names or
    with their modules, as ``TimeoutError`` or ``requests.Timeout``; without any, it is every ``Exception``.
    """

    attempts: int = 1
    wait: float = 1.0
    max_wait: float = 60.0
    on: tuple[str, ...] = ()

    @classmethod
    def read(cls, value: object) -> Self:
        """Read ``3``, or ``{attempts: 3, wait: 0.5, max_wait: 30, on: [ConnectionError]}``.

        >>> Retries.read({"attempts": 3, "on": "TimeoutError"})
        Retries(attempts=3, wait=1.0, max_wait=60.0, on=('TimeoutError',))
        """
        given = {"attempts": value} if isinstance(value, int) else value
        if isinstance(given, Mapping):  # YAML takes the word for a boolean
            given = {"on" if name is True else name: each for name, each in given.items()}
        said = _mapping(given, cls, "a number of attempts, or a mapping of attempts, wait, max_wait and on")
        on = said.get("on", ())
        names = (on,) if isinstance(on, str) else tuple(on) if isinstance(on, list | tuple) else (None,)
        if not all(isinstance(name, str) and all(map(str.isidentifier, name.split("."))) for name in names):
            raise ValueError("a mapping whose 'on' names classes of exceptions, such as TimeoutError")
        wait = _number(said, "wait", default=1.0)
        return cls(
            attempts=int(_number(said, "attempts", default=3, least=1, is_whole=True)),
            wait=wait,
            max_wait=_number(said, "max_wait", default=max(60.0, wait), least=wait),
            on=names,
        )


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so many calls in so many seconds, evenly spread."""

    calls: float
    seconds: float

    @classmethod
    def read(cls, value: object) -> Self:
        """Read a rate such as ``60/min``, ``2.5/s`` or ``1000/day``.

        >>> Rate.read("60/min").interval
        1.0
        """
        found = _RATE.fullmatch(value) if isinstance(value, str) else None
        if found is None or float(found[1]) <= 0:
            raise ValueError("calls in a time, such as 60/min, 2/s or 1000/day")
        return cls(float(found[1]), float(_PERIODS[found[2]]))

    @property
    def interval(self) -> float:
        """Seconds from one call to the next."""
        return self.seconds / self.calls


@dataclass(frozen=True, slots=True)
class Budget:
    """What a run may spend: seconds of time, rows that are made, rows that fail, and what functions say they cost."""

    seconds: float | None = None
    rows: int | None = None
    failures: int | None = None
    cost: float | None = None

    @classmethod
    def read(cls, value: object) -> Self:
        """Read some of ``{seconds: 3600, rows: 1000, failures: 10, cost: 5.0}``.

        >>> Budget.read({"cost": 5})
        Budget(seconds=None, rows=None, failures=None, cost=5.0)
        """
        said = _mapping(value, cls, "a mapping of seconds, rows, failures and cost")
        if not said:
            raise ValueError("a mapping of some of seconds, rows, failures and cost")
        rows, failures = (
            int(_number(said, name, default=0, least=1, is_whole=True)) if name in said else None
            for name in ("rows", "failures")
        )
        spent, cost = (_number(said, name, default=0) if name in said else None for name in ("seconds", "cost"))
        return cls(spent, rows, failures, cost)

    def used_up(self, *, seconds: float, rows: int, failures: int, cost: float) -> str | None:
        """Return in words what has been used up, None if there is something left of everything.

        >>> Budget(rows=10).used_up(seconds=1, rows=10, failures=0, cost=0)
        '10 of 10 rows'
        """
        spent = {"seconds": seconds, "rows": rows, "failures": failures, "cost": cost}
        for name, limit in self.to_json().items():
            if spent[name] >= limit:
                unit = "" if name == "cost" else f" {name}"
                return f"{'a cost of ' if name == 'cost' else ''}{spent[name]:.6g} of {limit:.6g}{unit}"
        return None

    def to_json(self) -> dict[str, float]:
        """Return what ``read`` reads."""
        every = {each.name: getattr(self, each.name) for each in fields(self)}
        return {name: limit for name, limit in every.items() if limit is not None}


@dataclass(frozen=True, slots=True)
class MaxFailures:
    """How many rows of a builder may fail before it stops: a count, or a share of all its rows."""

    count: int | None = None
    share: float | None = None

    @classmethod
    def read(cls, value: object) -> Self:
        """Read a count such as ``10``, or a share such as ``5%`` or ``0.05``.

        >>> MaxFailures.read("5%"), MaxFailures.read(3)
        (MaxFailures(count=None, share=0.05), MaxFailures(count=3, share=None))
        """
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return cls(count=value)
        if isinstance(value, float) and 0 <= value < 1:
            return cls(share=value)
        found = _SHARE.fullmatch(value) if isinstance(value, str) else None
        if found is not None and float(found[1]) <= 100:
            return cls(share=float(found[1]) / 100)
        raise ValueError("a count of rows, or a share of them such as 5% or 0.05")

    def are_exceeded(self, failed: int, *, total: int) -> bool:
        """Tell whether ``failed`` of ``total`` rows are too many."""
        return failed > self.most(total)

    def most(self, total: int) -> int:
        """Return how many of ``total`` rows may fail.

        >>> MaxFailures.read("29%").most(100), MaxFailures.read("29%").most(99)
        (29, 28)
        """
        if self.count is not None:
            return self.count
        # Rounded: as a float, 29% of 100 are a little less than 29.
        return math.floor(round((self.share or 0.0) * total, 6))


def seconds(value: object) -> float:
    """Return a time in seconds that is more than none. Raises ValueError for anything else."""
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return float(value)
    raise ValueError("a number of seconds above 0")


def _mapping(value: object, form: type, allowed: str) -> Mapping[str, object]:
    names = {each.name for each in fields(form)}
    if not isinstance(value, Mapping):
        raise ValueError(allowed)
    if unknown := [name for name in value if name not in names]:
        raise ValueError(f"{allowed}; there is no {unknown[0]!r}")
    return {name: given for name, given in value.items() if given is not None}


def _number(
    said: Mapping[str, object], name: str, *, default: float, least: float = 0, is_whole: bool = False
) -> float:
    value = said.get(name, default)
    is_number = isinstance(value, int if is_whole else int | float) and not isinstance(value, bool)
    if not is_number or not least <= value < math.inf:  # type: ignore[operator]
        raise ValueError(
            f"a mapping whose {name!r} is {'a whole number' if is_whole else 'a number'} of at least {least:g}"
        )
    return float(value)  # type: ignore[arg-type]
