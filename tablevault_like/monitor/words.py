"""Times, durations and values in words."""

from __future__ import annotations

import time
from collections.abc import Sequence

_SHOWN = 80


def moment(seconds: float | None) -> str:
    """Return a time (POSIX seconds) as the local date and time; nothing for ``None``."""
    return "" if seconds is None else time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))


def duration(seconds: float | None) -> str:
    """Return a number of seconds in the units that it is told in; nothing for ``None``.

    >>> duration(0.0312), duration(12.34), duration(75), duration(7530), duration(200_000)
    ('31 ms', '12.3 s', '1 min 15 s', '2 h 5 min', '2 d 7 h')
    """
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for limit, unit, (first, second) in ((3_600, 60, ("min", "s")), (86_400, 3_600, ("h", "min"))):
        if whole < limit:
            return f"{whole // unit} {first} {whole % unit // (unit // 60)} {second}"
    return f"{whole // 86_400} d {whole % 86_400 // 3_600} h"


def counted(number: int | None, noun: str) -> str:
    """Return a number with its noun.

    >>> counted(1, "row"), counted(1000, "row"), counted(None, "row")
    ('1 row', '1,000 rows', '? rows')
    """
    return f"{'?' if number is None else f'{number:,}'} {noun}{'' if number == 1 else 's'}"


def shown(value: object) -> str:
    r"""Return a value on one line, cut off where it is long.

    >>> shown("a\nb"), shown(None)
    ('a\\nb', '<NA>')
    """
    if is_missing(value):
        return "<NA>"
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):  # numpy's scalars show their type
        value = value.item()
    text = (value if isinstance(value, str) else repr(value)).replace("\n", "\\n").replace("\t", "\\t")
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 1]}…"


def is_missing(value: object) -> bool:
    """Tell whether a value stands for none: None, NaN, and pandas' own.

    >>> is_missing(None), is_missing(float("nan")), is_missing(""), is_missing(0)
    (True, True, False, False)
    """
    # Without importing pandas, which takes long.
    return (
        value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, float) and value != value)
    )


def listed(names: Sequence[str], count: int) -> str:
    """Return some names, and how many more there are.

    >>> listed(["id=a", "id=b"], 5)
    'id=a; id=b; and 3 more'
    """
    more = [f"and {count - len(names):,} more"] if count > len(names) else []
    return "; ".join([*names, *more])


def printable(text: str) -> str:
    r"""Return a text with its control characters (but tabs and line ends) escaped: none of them steers a terminal.

    >>> printable("a\x1b[2Jb\tc")
    'a\\x1b[2Jb\tc'
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )
