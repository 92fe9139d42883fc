"""The words of a vault: names, ids, states, and the records that describe tables, instances and processes."""

from __future__ import annotations

import keyword
import math
import operator
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import Any

from tablevault_like.errors import TVArgumentError

BASE_VERSION = "base"
TEMP_PREFIX = "TEMP_"
INDEX_SUFFIX = "_index"
ARTIFACT_DTYPE = "artifact_string"

RESERVED_NAMES = frozenset(
    {
        "_temp",
        "archived_trash",
        "artifacts",
        "builders",
        "code",
        "code_functions",
        "description",
        "execution_archive",
        "index",
        "locks",
        "metadata",
        "processes",
        "provenance",
        "restart",
        "self",
        "staging",
        "trash",
        "vault",
    }
)

_TABLE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_VERSION = re.compile(r"[A-Za-z0-9-]{1,100}")
_MODULE = re.compile(r"[A-Za-z0-9_-]{1,100}")
_PROCESS_ID = re.compile(r"(?!\.)[A-Za-z0-9._-]{1,128}")
_INSTANCE_ID = re.compile(r"[A-Za-z0-9-]{1,100}_[0-9]{1,20}_[0-9a-f-]{36}")


class State(StrEnum):
    """The state of a process. ``process.state`` holds the legal transitions between them."""

    CREATED = "CREATED"
    """It has begun, or waits for its locks. What it needs isn't kept yet, so if its worker dies it is reverted."""
    RUNNING = "RUNNING"
    """A worker is at it, or was when it died: then ``status`` is ``interrupted``, and it can be resumed."""
    PAUSED = "PAUSED"
    """No worker is at it. It keeps its locks and what it has done until it is resumed or stopped."""
    REVERTING = "REVERTING"
    """What it has done is being undone. If that is interrupted, whoever takes it on next finishes it."""
    STOPPING = "STOPPING"
    """Somebody is stopping it, and its worker may write nothing more. Whoever takes it on next finishes that."""
    REVERTED = "REVERTED"
    """It has ended as if it had never been. Its id may be used again."""
    MATERIALIZED = "MATERIALIZED"
    """It was stopped, and what it had done is kept as a partial instance."""
    COMPLETED = "COMPLETED"
    """It has done all of its work."""

    @property
    def has_ended(self) -> bool:
        """Whether nothing more is to come of it: it was completed, reverted or materialized."""
        return self in ENDED_STATES


ENDED_STATES = frozenset({State.REVERTED, State.MATERIALIZED, State.COMPLETED})


class StopIntent(StrEnum):
    """What a stopper wants done with what its target has computed."""

    REVERT = "revert"
    """It is undone."""
    MATERIALIZE = "materialize"
    """It is kept, as a partial instance."""


class LockMode(StrEnum):
    SHARED = "shared"
    EXCLUSIVE = "exclusive"


class BuilderType(StrEnum):
    INDEX = "IndexBuilder"
    COLUMN = "ColumnBuilder"


class ReturnType(StrEnum):
    """How a builder's function is called: once for all rows, for each row, for rows at a time, or followed."""

    DATAFRAME = "dataframe"
    ROW_WISE = "row-wise"
    BATCH = "batch"
    GENERATOR = "generator"


class Reuse(StrEnum):
    """Whether a builder's rows may be taken over from the origin instance."""

    AUTO = "auto"
    NEVER = "never"


class OnChange(StrEnum):
    """What a resume does when a builder or its code is no longer what the process started with."""

    ERROR = "error"
    CONTINUE = "continue"
    RECOMPUTE = "recompute"
    KEEP = "keep"


class OnDamage(StrEnum):
    """What a resume does when something that the process has kept is damaged."""

    ERROR = "error"
    RECOMPUTE = "recompute"


class OnError(StrEnum):
    """What a row that fails means for the others: they stop, they go on, or it is left empty."""

    STOP = "stop"
    CONTINUE = "continue"
    NULL = "null"


class Existing(StrEnum):
    """What an execution does with a run that its process id has already."""

    AUTO = "auto"
    ERROR = "error"
    RERUN = "rerun"


class RowStatus(IntEnum):
    """What is recorded of a row. A row that isn't recorded has not been computed.

    A row is skipped if it failed and its builder leaves such rows empty: nothing more is done about it.
    """

    DONE = 1
    FAILED = 2
    SKIPPED = 3


class InstanceStatus(StrEnum):
    TEMPORARY = "temporary"
    MATERIALIZED = "materialized"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Row:
    """One row that a generator yields out of order: its position and its values.

    ``values`` is what a row-wise function may return: a scalar, a tuple in the order of ``changed_columns``, or a dict.
    """

    index: int
    values: object


@dataclass(frozen=True, slots=True)
class Result:
    """What a function returns for a row, or a batch, that it knows the price of.

    ``values`` is what it would return otherwise. ``cost`` is in whatever currency budgets are meant in. Raises
    TVArgumentError for a price that is no number, or below 0.

    >>> Result("An ant carries a leaf.", cost=0.002, tokens=412).tokens
    412
    """

    values: object
    cost: float = 0.0
    tokens: int = 0

    def __post_init__(self) -> None:
        # Here, where its mistake is: a price that can't be added up would be found when it is recorded.
        try:
            cost = math.nan if isinstance(self.cost, str | bool) else float(self.cost)
            tokens = -1 if isinstance(self.tokens, bool) else operator.index(self.tokens)
        except (TypeError, ValueError):
            cost = tokens = -1
        if not 0 <= cost < math.inf or not 0 <= tokens < 2**63:
            raise TVArgumentError(
                f"A cost is a number and tokens are a whole one, from 0: not {self.cost!r:.60} and {self.tokens!r:.60}."
            )
        object.__setattr__(self, "cost", cost)
        object.__setattr__(self, "tokens", tokens)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a builder is. Its rows are recorded.

    ``total`` rows there are to be, None where that isn't known yet. ``reused`` of the ``done`` ones were taken over;
    ``skipped`` ones failed and are left empty. ``cost`` and ``tokens`` are those of all attempts.
    """

    done: int
    failed: int
    total: int | None
    reused: int = 0
    skipped: int = 0
    batch_size: int | None = None
    cost: float = 0.0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Pause:
    """Why a process is to be paused, or was.

    ``completed_through`` names the step that was to be reached. ``is_by_caller``: the call that runs the process asked
    for it, so that it ends as if all were done; else its caller is told by an exception.
    """

    reason: str
    completed_through: str | None = None
    is_by_caller: bool = True


@dataclass(frozen=True, slots=True)
class Resource:
    """What a lock is about: a path of names. A lock on a path covers every path below it.

    >>> str(Resource("stories", "TEMP_base"))
    'stories/TEMP_base'
    >>> Resource("stories").overlaps(Resource("stories", "TEMP_base"))
    True
    >>> Resource("stories").overlaps(Resource("papers"))
    False
    """

    path: tuple[str, ...]

    def __init__(self, *path: str) -> None:
        object.__setattr__(self, "path", path)

    def __str__(self) -> str:
        return "/".join(self.path) or "vault"

    @classmethod
    def parse(cls, text: str) -> Resource:
        return cls() if text == "vault" else cls(*text.split("/"))

    @property
    def is_instance(self) -> bool:
        """Tell whether this is an instance: not a table, not something that lies beside its instances, not code."""
        return (
            len(self.path) == 2 and self.path[0] != "code_functions" and self.path[1] not in ("artifacts", "builders")
        )

    def overlaps(self, other: Resource) -> bool:
        shared = min(len(self.path), len(other.path))
        return self.path[:shared] == other.path[:shared]

    @classmethod
    def vault(cls) -> Resource:
        return cls()

    @classmethod
    def table(cls, table: str) -> Resource:
        return cls(table)

    @classmethod
    def instance(cls, table: str, instance_id: str) -> Resource:
        return cls(table, instance_id)

    @classmethod
    def artifacts(cls, table: str) -> Resource:
        return cls(table, "artifacts")

    @classmethod
    def builders(cls, table: str, version: str, builder: str | None = None) -> Resource:
        """The builder files of a temporary instance. They lie beside it, so that they can be edited while it runs."""
        base = (table, "builders", version)
        return cls(*base) if builder is None else cls(*base, builder)

    @classmethod
    def code(cls, module: str | None = None) -> Resource:
        return cls("code_functions") if module is None else cls("code_functions", module)


@dataclass(frozen=True, slots=True)
class LockRequest:
    """One lock that an operation declares."""

    resource: Resource
    mode: LockMode

    @classmethod
    def shared(cls, resource: Resource) -> LockRequest:
        return cls(resource, LockMode.SHARED)

    @classmethod
    def exclusive(cls, resource: Resource) -> LockRequest:
        return cls(resource, LockMode.EXCLUSIVE)

    def conflicts_with(self, other: LockRequest) -> bool:
        both_shared = self.mode is LockMode.SHARED and other.mode is LockMode.SHARED
        return not both_shared and self.resource.overlaps(other.resource)


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an instance: its name and its pandas dtype (or ``artifact_string``)."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class TableRecord:
    """A table, as the catalog knows it."""

    table_id: int
    name: str
    folder: str
    next_folder: str | None
    allow_multiple_artifacts: bool
    has_side_effects: bool
    description: str
    author: str
    created_at: float


@dataclass(frozen=True, slots=True)
class InstanceRecord:
    """An instance of a table. ``columns`` and ``rows`` are those of its frame, empty and ``None`` while temporary."""

    table_id: int
    table_name: str
    folder: str
    next_folder: str | None
    instance_id: str
    version: str
    status: InstanceStatus
    active: bool
    success: bool
    external_edit: bool
    description: str
    author: str
    origin_table: str | None
    origin_id: str | None
    created_at: float
    materialized_at: float | None
    rows: int | None
    manifest_sha256: str | None
    process_id: str
    pinned_at: float | None = None
    pinned_by: str | None = None

    @property
    def is_temporary(self) -> bool:
        return self.status is InstanceStatus.TEMPORARY


@dataclass(frozen=True, slots=True)
class ErrorRecord:
    """An exception as it is shown."""

    type: str
    """The name of its class."""
    message: str
    """What it says, with its notes."""
    traceback: str
    """Its traceback as Python formats it, in several lines."""


@dataclass(frozen=True, slots=True)
class StepRecord:
    """A step of a process. Times are seconds since the epoch (POSIX), counts of rows those that are committed."""

    name: str
    """Of an execution: the name of the builder, or ``materialize``."""
    is_done: bool
    started_at: float | None
    """When it began; ``None`` if it hasn't, or if it has no rows."""
    finished_at: float | None
    rows_total: int | None
    """How many rows it will have; ``None`` where that isn't known yet, or it has none."""
    rows_done: int
    """How many rows have their values, whether they were computed or reused."""
    rows_failed: int
    """How many rows have failed; a resume calls their function again."""
    rows_reused: int
    """How many of ``rows_done`` were taken over from the origin."""
    rows_skipped: int = 0
    """How many rows have failed and are left empty, because their builder's ``on_error`` is ``null``."""
    batch_size: int | None = None
    """How many rows are made in one call, if it works in batches."""
    cost: float = 0.0
    """What all attempts have cost, as far as functions told."""
    tokens: int = 0
    """How many tokens all attempts took, as far as functions told."""

    @property
    def batches_done(self) -> int | None:
        """How many batches are complete, the last one of all even if it is smaller; None if it doesn't work in them."""
        if self.batch_size is None:
            return None
        return self.batches_total if self.rows_done == self.rows_total else self.rows_done // self.batch_size

    @property
    def batches_total(self) -> int | None:
        """How many batches there are in all, None if that isn't known or it doesn't work in batches."""
        if self.batch_size is None or self.rows_total is None:
            return None
        return -(-self.rows_total // self.batch_size)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessRecord:
    """A process, as ``get_active_processes`` shows it. Times are seconds since the epoch (POSIX).

    ``rows_done``, ``rows_failed``, ``rows_skipped``, ``rows_reused`` and ``rows_total`` are those of the step that is
    under way, else of the last one that has rows; ``steps`` has all of them.
    """

    process_id: str
    operation: str
    """The name of the method that began it: ``execute_instance``, ..."""
    arguments: Mapping[str, Any]
    """What it was called to do, by name; of a frame, only what tells it from others."""
    author: str
    state: State
    is_alive: bool
    """Whether a living worker holds it."""
    is_named: bool
    """Whether the caller gave it its id, and so means to come back to it."""
    host: str | None
    """The machine of the worker that holds it, or that was the last to."""
    pid: int | None
    """The number of that worker on its machine."""
    created_at: float
    started_at: float | None = None
    updated_at: float
    """When anything was last recorded of it."""
    ended_at: float | None = None
    parent_id: str | None = None
    """The process in whose user code it was called, or that was named as its parent."""
    steps_done: tuple[str, ...] = ()
    steps_to_come: tuple[str, ...] = ()
    """The steps that aren't done, the one that is under way among them."""
    rows_done: int = 0
    rows_failed: int = 0
    rows_reused: int = 0
    rows_total: int | None = None
    rows_skipped: int = 0
    cost: float = 0.0
    """What all attempts of all steps have cost, as far as functions told."""
    tokens: int = 0
    """How many tokens they took, as far as functions told."""
    rate: float | None = None
    """Rows a second since the step was begun or resumed; ``None`` where that isn't known."""
    remaining: float | None = None
    """How many seconds the step will take at that rate; ``None`` where that isn't known."""
    locks: tuple[str, ...] = ()
    """The locks that it holds, such as ``stories/TEMP_base (exclusive)``."""
    waits_for: tuple[str, ...] = ()
    """The locks that it waits for."""
    blocked_by: tuple[str, ...] = ()
    """The ids of the processes that it waits for."""
    error: ErrorRecord | None = None
    """What ended or paused it, if that was an error."""
    next_steps: str
    """What may be done about it, in a sentence."""
    paused_on_request: bool = False
    """Whether it is paused because somebody asked for that, and not by an error or a signal. ``restart`` leaves it."""
    pause_requested_by: str | None = None
    """Who wants it paused, until it is."""
    pause_reason: str | None = None
    """Why it is paused on request."""
    completed_through: str | None = None
    """The step that it was to stop after, once it has been reached."""
    stop_intent: StopIntent | None = None
    """What whoever is stopping it, or has stopped it, wants done with what it has computed."""
    epoch: int = 0
    """How many workers have claimed it."""
    steps: tuple[StepRecord, ...] = field(default=(), repr=False)

    @property
    def status(self) -> str:
        """The state in one word for people: a live state whose worker is dead is ``interrupted``."""
        if self.state in (State.PAUSED, *ENDED_STATES) or self.is_alive:
            return self.state.lower()
        return "interrupted"


def check_table_name(name: str) -> str:
    """Return ``name`` if a table may have it.

    >>> check_table_name("artifacts")
    Traceback (most recent call last):
    tablevault_like.errors.TVArgumentError: Forbidden Table Name: artifacts
    """
    _check_form("table name", name, _TABLE, "1 to 100 ASCII letters, digits, '_' and '-'")
    if name.lower() in RESERVED_NAMES or name.upper().startswith(TEMP_PREFIX):
        raise TVArgumentError(f"Forbidden Table Name: {name}")
    return name


def check_version(version: str) -> str:
    """Return ``version`` if an instance may have it."""
    _check_form("version", version, _VERSION, "1 to 100 ASCII letters, digits and '-'")
    if version.lower() in RESERVED_NAMES:
        raise TVArgumentError(f"Forbidden Version: {version}")
    return version


def check_builder_name(name: str) -> str:
    """Return ``name`` (without ``.yaml``) if a builder may have it."""
    return _check_form("builder name", name, _MODULE, "1 to 100 ASCII letters, digits, '_' and '-', without '.yaml'")


def check_module_name(name: str) -> str:
    """Return ``name`` (without ``.py``) if a code module may have it: it must be importable."""
    _check_form("code module name", name, _MODULE, "a Python identifier of at most 100 ASCII characters")
    if not name.isidentifier():
        raise TVArgumentError(f"The code module name {name!r} can't be imported: it must be a Python identifier.")
    if keyword.iskeyword(name):
        raise TVArgumentError(f"The code module name {name!r} can't be imported: it is a keyword of Python.")
    return name


def check_process_id(process_id: str) -> str:
    """Return ``process_id`` if a process may have it."""
    allowed = "1 to 128 ASCII letters, digits, '.', '_' and '-', not starting with '.'"
    return _check_form("process id", process_id, _PROCESS_ID, allowed)


def _check_form(what: str, name: object, form: re.Pattern[str], allowed: str) -> str:
    if not isinstance(name, str):
        raise TVArgumentError(f"The {what} must be a string, not {type(name).__name__}.")
    if not form.fullmatch(name):
        shown = repr(name if len(name) <= 60 else name[:57] + "...")
        raise TVArgumentError(f"The {what} {shown} is not allowed: use {allowed}.")
    return name


def temporary_id(version: str) -> str:
    """Return the id of the temporary instance of a version: ``TEMP_base``."""
    return TEMP_PREFIX + version


def is_instance_id(text: str) -> bool:
    """Tell whether ``text`` has the form of a materialized or temporary instance's id, rather than of a version."""
    if text.startswith(TEMP_PREFIX):
        return _VERSION.fullmatch(text.removeprefix(TEMP_PREFIX)) is not None
    return _INSTANCE_ID.fullmatch(text) is not None


def new_process_id() -> str:
    """Return a new id for a process."""
    return str(uuid.uuid4())
