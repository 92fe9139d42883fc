"""What commands print: the result on stdout, everything else on stderr.

1. With ``--json`` there is one JSON document on stdout and nothing else. Otherwise there are tables for people.
2. Nothing is ever cut off or wrapped when stdout is not a terminal. On a terminal, a table that is too wide is shown as
   a list of its rows, so that no id is cut off there either.
3. A reader that goes away early (``| head``) ends the command quietly, and never in the middle of work.
4. What could steer a terminal is made visible.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO, TypeAlias

from tablevault_like.errors import TVFileError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.text import Text

Cell: TypeAlias = "str | tuple[str, str]"
"""A cell of a table: its text, or its text and its style."""

_UNLIMITED = 1_000_000


class ClosedOutput(Exception):  # noqa: N818 - nothing is wrong: the reader has seen enough
    """Tell that nobody reads what is printed any more."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A table for people. ``right`` names the columns that are aligned to the right."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    right: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one thing, for people: names and cells, a line each. Empty ones are left out."""

    facts: Sequence[tuple[str, Cell]]


@dataclass(frozen=True, slots=True)
class Verbatim:
    """A text that is printed as it is; on a terminal, without what could steer that."""

    text: str


@dataclass(frozen=True)
class Output:
    """Where a command prints its result."""

    as_json: bool = False

    def give(self, document: object, people: Callable[[], object]) -> None:
        """Print ``document`` as JSON if that was asked for; else what ``people`` returns.

        That is a text (maybe with a style), Verbatim, a Listing, Facts, what rich can print, or a list of these.
        """
        if self.as_json:
            write(json.dumps(jsonable(document), ensure_ascii=not _is_unicode(sys.stdout)) + "\n", sys.stdout)
            return
        shown = people()
        for part in shown if isinstance(shown, list) else [shown]:
            _print(part, sys.stdout)

    @contextmanager
    def reserved(self) -> Iterator[None]:
        """With ``--json``, send what other code prints meanwhile (user code, its programs) to stderr."""
        if not self.as_json:
            yield
            return
        with _descriptor_redirected(sys.stdout, sys.stderr), redirect_stdout(sys.stderr):
            yield


def note(text: str, *, heading: str = "") -> None:
    """Print a message on stderr, after a heading that stands out. Raises ClosedOutput if nobody reads it."""
    from rich.text import Text

    message = Text(visible(heading), style="bold red")
    _print(message.append(visible(f" {text}" if heading and text else text), style="not bold default"), sys.stderr)


def visible(text: str) -> str:
    r"""Return a text with its control characters (but tabs and line ends) escaped.

    >>> visible("a\x1b[2Jb\tc")
    'a\\x1b[2Jb\tc'
    """
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() or each in "\n\t" else each.encode("unicode_escape").decode() for each in text
    )


def jsonable(value: object) -> object:
    """Return a value with everything that JSON lacks as text, numbers and lists."""
    if is_dataclass(value) and not isinstance(value, type):
        return jsonable(asdict(value))
    if isinstance(value, Mapping):
        return {str(key): jsonable(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [jsonable(item) for item in value]
    return value


def write(text: str, stream: TextIO) -> None:
    """Write a text at once. Raises ClosedOutput if nobody reads it, TVFileError if it can't be written."""
    try:
        _write_all(text, stream)
    except BrokenPipeError:
        _silence(stream)
        raise ClosedOutput from None
    except OSError as error:
        _silence(stream)
        raise TVFileError(f"The output can't be written: {error.strerror}.") from error


def _write_all(text: str, stream: TextIO) -> None:
    """Write a text to its last character: an unbuffered stream may take only a part of it at a time."""
    stream.flush()
    rest = memoryview(text.encode(stream.encoding, stream.errors or "strict"))
    while rest:
        rest = rest[stream.buffer.write(rest) :]
    stream.buffer.flush()


def write_line(text: str) -> None:
    """Write a line on stdout, as ``write`` does."""
    write(text + "\n", sys.stdout)


def _print(part: object, stream: TextIO) -> None:
    if isinstance(part, Verbatim):
        write(visible(part.text) if stream.isatty() else part.text, stream)
        return
    console = _console(stream)
    if isinstance(part, Listing):
        part = _listing(part, console)
    elif isinstance(part, Facts):
        part = _records([part.facts])
    elif isinstance(part, str | tuple):
        part = _text(part)
    with console.capture() as captured:
        console.print(part, soft_wrap=not _is_table(part))
    write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()), stream)


def _console(stream: TextIO) -> Console:
    from rich.console import Console

    return Console(
        file=stream,
        width=None if stream.isatty() else _UNLIMITED,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )


def _is_table(part: object) -> bool:
    from rich.table import Table

    return isinstance(part, Table)


def _listing(listing: Listing, console: Console) -> RenderableType:
    table = _table(listing)
    if not console.is_terminal or _width(table, console) <= console.width:
        return table
    return _records([list(zip(listing.columns, row, strict=True)) for row in listing.rows])


def _width(table: RenderableType, console: Console) -> int:
    from rich.measure import Measurement

    return Measurement.get(console, console.options.update(max_width=_UNLIMITED), table).maximum


def _table(listing: Listing) -> RenderableType:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for name in listing.columns:
        table.add_column(_text(name), justify="right" if name in listing.right else "left", no_wrap=True)
    for row in listing.rows:
        table.add_row(*map(_text, row))
    return table


def _records(records: Sequence[Sequence[tuple[str, Cell]]]) -> RenderableType:
    """Return records one below the other, a line for each of their cells that isn't empty."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for number, record in enumerate(records):
        if number:
            table.add_row()
        for name, cell in record:
            if text := _text(cell):
                table.add_row(_text(name), text)
    return table


def _text(cell: Cell) -> Text:
    from rich.text import Text

    text, style = (cell, "") if isinstance(cell, str) else cell
    return Text(visible(text), style=style)


def _is_unicode(stream: TextIO) -> bool:
    return (getattr(stream, "encoding", None) or "").lower().replace("-", "") == "utf8"


def _silence(stream: TextIO) -> None:
    """Let what is still buffered go nowhere, so that the interpreter doesn't complain about it when it ends."""
    with suppress(OSError, ValueError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), stream.fileno())


@contextmanager
def _descriptor_redirected(stream: TextIO, other: TextIO) -> Iterator[None]:
    """Send what is written to the file descriptor of one stream, by any program, to that of another."""
    try:
        descriptor, target = stream.fileno(), other.fileno()
    except (OSError, ValueError):
        yield
        return
    stream.flush()
    kept = os.dup(descriptor)
    try:
        os.dup2(target, descriptor)
        yield
    finally:
        os.dup2(kept, descriptor)
        os.close(kept)
