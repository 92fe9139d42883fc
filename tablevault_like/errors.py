"""The errors that this library raises.

Every error says what was wrong, where, and what to do next. Branches are by what the caller would do about it::

    TableVaultError
    ├── TVArgumentError      (ValueError)    call again with other arguments
    ├── TVBuilderError       (ValueError)    mend the builder file
    ├── TableReferenceError  (LookupError)   mend the ``<<reference>>``
    ├── TVLockError          (TimeoutError)  wait, resume or stop the holder
    ├── TVProcessError       (RuntimeError)  look at the process: it is running, has ended, or was taken over
    │   ├── FencedError                      this worker lost its claim; it must write nothing more
    │   ├── TVPausedError                    call again when it is to go on: somebody has paused it
    │   └── TVTimeoutError   (TimeoutError)  wait again, or longer: the process is still at work
    ├── TVTableError         (ValueError)    a value doesn't fit its column
    ├── TVArtifactError      (ValueError)    an artifact and its cell don't match
    ├── TVRowsError          (RuntimeError)  see ``get_errors``, and call again: only rows that failed are tried
    └── TVFileError          (OSError)       the disk refused, or what is on it is not what it should be
        └── TVCheckpointError                what an unfinished process has kept is damaged: ``on_damage="recompute"``

``TVTableError`` and ``TVArtifactError`` are about what a user's function returned, so a process treats them like
an exception from that function. All others are about what the caller asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


class TableVaultError(Exception):
    """Anything that this library refuses. Catch it to catch all of them."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.__dict__)


def _rebuild(cls: type[TableVaultError], message: str, fields: dict[str, object]) -> TableVaultError:
    """Make the error anew from its fields, as unpickling does, whatever its constructor takes."""
    # A class that is an OSError as well is made by that, whichever of its bases comes first.
    made_by = OSError if issubclass(cls, OSError) else Exception
    error = made_by.__new__(cls, message)
    Exception.__init__(error, message)
    error.__dict__.update(fields)
    return error


class TVArgumentError(TableVaultError, ValueError):
    """An argument that can't be used: a bad or unknown name, or arguments that contradict each other."""


class Location:
    """A place in a file, counted from 1, for messages: ``path:line:column``."""

    __slots__ = ("column", "line", "path")

    def __init__(self, path: Path | str, line: int | None = None, column: int | None = None) -> None:
        self.path = str(path)
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return ":".join(str(part) for part in (self.path, self.line, self.column) if part is not None)

    def __reduce__(self) -> tuple[type[Location], tuple[str, int | None, int | None]]:
        return Location, (self.path, self.line, self.column)


class _LocatedError(TableVaultError):
    """An error that knows its place in a file."""

    def __init__(self, message: str, *, location: Location | None = None) -> None:
        super().__init__(f"{location}: {message}" if location else message)
        self.location = location


class TVBuilderError(_LocatedError, ValueError):
    """A builder file that can't be used. ``location`` names file, line and column where they are known."""


class TableReferenceError(_LocatedError, LookupError):
    """A ``<<reference>>`` that can't be read or resolved. The message points at the character."""


class TVLockError(TableVaultError, TimeoutError):
    """A lock that could not be had in time.

    ``resource`` is what was asked for; ``holder`` is the id of the process that has it (``None`` if it is gone).
    """

    def __init__(self, message: str, *, resource: str | None = None, holder: str | None = None) -> None:
        super().__init__(message)
        self.resource = resource
        self.holder = holder


class TVProcessError(TableVaultError, RuntimeError):
    """A process that is not in a state for what was asked. ``process_id`` names it."""

    def __init__(self, message: str, *, process_id: str | None = None) -> None:
        super().__init__(message)
        self.process_id = process_id


class FencedError(TVProcessError):
    """This worker's claim on the process is over: another worker claimed it, or it was stopped."""


class TVPausedError(TVProcessError):
    """A process that was paused while it ran, because somebody else asked for it."""


class TVTimeoutError(TVProcessError, TimeoutError):
    """A process that was still at work when the time to wait for it was over. It goes on."""


class TVTableError(TableVaultError, ValueError):
    """A value that its column can't hold. ``column`` and ``row`` (a position) say where."""

    def __init__(self, message: str, *, column: str | None = None, row: int | None = None) -> None:
        super().__init__(message)
        self.column = column
        self.row = row


class TVArtifactError(TableVaultError, ValueError):
    """An artifact without its cell, a cell without its artifact, or one that leads outside its folder."""


class TVRowsError(TableVaultError, RuntimeError):
    """Rows whose functions failed while the others went on. ``failed`` counts them by builder."""

    def __init__(self, message: str, *, failed: Mapping[str, int] | None = None) -> None:
        super().__init__(message)
        self.failed = dict(failed or {})


class TVFileError(TableVaultError, OSError):
    """A file of the vault that is missing, damaged or can't be written. ``path`` names it."""

    def __init__(self, message: str, *, path: Path | str | None = None) -> None:
        super().__init__(message)
        self.path = None if path is None else str(path)


class TVCheckpointError(TVFileError):
    """What an unfinished process has kept is damaged. The process stays as it is.

    ``process_id`` names the process, ``path`` the file. ``builder`` and ``rows`` (positions) say what of it is lost;
    they are ``None`` if that isn't known, or if it isn't about rows.
    """

    def __init__(
        self,
        message: str,
        *,
        path: Path | str | None = None,
        process_id: str | None = None,
        builder: str | None = None,
        rows: Sequence[int] | None = None,
    ) -> None:
        super().__init__(message, path=path)
        self.process_id = process_id
        self.builder = builder
        self.rows = None if rows is None else tuple(rows)


def message_of(error: BaseException) -> str:
    """Return the message of an exception, whose class is maybe somebody else's and fails to give it."""
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it may do anything
        return f"(its message can't be had: {type(error).__qualname__} fails to give it)"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return a hint for an unknown ``name``: ``" Did you mean 'stories'?"``, or what there is. Case doesn't count.

    >>> nearest("Storys", ["stories", "papers"])
    " Did you mean 'stories'?"
    >>> nearest("x", ["stories", "papers"])
    ' Known: papers, stories.'
    >>> nearest("x", [])
    ' There are none yet.'
    """
    import difflib  # it takes long to import, and is needed for errors only

    choices = sorted(known)
    close = difflib.get_close_matches(str(name).casefold(), [choice.casefold() for choice in choices], n=1)
    if close:
        same = [choice for choice in choices if choice.casefold() == close[0]]
        (best,) = difflib.get_close_matches(str(name), same, n=1, cutoff=0)
        return f" Did you mean {best!r}?"
    if not choices:
        return " There are none yet."
    shown = ", ".join(choices[:10])
    return f" Known: {shown}{', ...' if len(choices) > 10 else ''}."
