"""What every operation is: a frozen dataclass whose fields are its arguments.

To add one, write a subclass in ``operations/`` with ``declare``, ``execute``, ``publish`` and ``undo``. It registers
itself under its name; the runner does the rest for all of them: claim, resume, pause, revert, stop, restart.

The runner calls, in this order::

    check        refuse arguments that are wrong in themselves
    prepare      keep inputs that depend on no lock, before anything is recorded
    declare      read what is asked for, refuse what is wrong, name the locks       may be called again
    keep         keep the inputs in the process's folder                            CREATED -> RUNNING
    execute      make everything new in staging, then place it                      may be called again
    publish      make it visible, in the transaction that ends the process          RUNNING -> COMPLETED
    finish       housekeeping that may fail                                         may be called again

and ``undo`` at any point before ``publish`` has committed, maybe twice, maybe in another worker.

What is short, and was given no id, is done at once if nobody is in the way (docs/design-notes/0004)::

    stage        make everything new in staging, before anything is recorded
    declare, place, publish                                                         all in one transaction
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from tablevault_like.catalog import Database
from tablevault_like.layout import Layout, ProcessLayout
from tablevault_like.model import Existing, LockRequest
from tablevault_like.process.run import Run

_SHOWN = 60

HOW = {"identifies": False}
"""Field metadata: the argument says how the work is run, not what it is, so a resume may change it."""
INPUT = {"identifies": False, "is_stored": False}
"""Field metadata: the argument is kept by ``keep``, not in the catalog, so a resume need not give it again."""


@dataclass(frozen=True, slots=True)
class View:
    """What an operation may look at when it declares: the catalog at one moment, and the vault's files."""

    db: Database
    layout: Layout
    now: float


@dataclass(frozen=True, slots=True)
class Declaration:
    """The locks that an operation needs, and what it found out when it named them.

    ``claim_locks`` are held only until the inputs are kept. A declaration that is made again under the locks must come
    out equal; else what it rests on has changed, and the claim begins anew.
    """

    locks: tuple[LockRequest, ...]
    claim_locks: tuple[LockRequest, ...] = ()
    facts: Any = None


@dataclass(frozen=True)
class Operation(ABC):
    """One kind of change to a vault."""

    name: ClassVar[str]
    is_catalog_only: ClassVar[bool] = False
    """Nothing but the catalog is touched before ``finish``: claim and publish are one transaction."""
    is_short: ClassVar[bool] = False
    """It can ``stage`` before anything is recorded, so that all else is one transaction."""
    reads_files: ClassVar[bool] = False
    """What is declared depends on files, so it is declared again under the locks."""
    keeps_inputs: ClassVar[bool] = False
    """``keep`` has something to do, so the process is CREATED before it is RUNNING."""
    can_materialize: ClassVar[bool] = False
    """What an unfinished process has done can be kept."""
    can_pause: ClassVar[bool] = False
    """It looks at ``run.stop`` while it runs, so that it can be paused when somebody asks for it."""

    def __init_subclass__(cls, **fields: Any) -> None:
        super().__init_subclass__(**fields)
        if "name" in cls.__dict__:
            REGISTRY[cls.name] = cls

    def check(self) -> None:
        """Raise TableVaultError for arguments that are wrong whatever the vault holds. Called before anything else."""

    @abstractmethod
    def declare(self, view: View) -> Declaration:
        """Return the locks that are needed. Raises TableVaultError for what can't be done. Changes nothing."""

    def prepare(self, folder: ProcessLayout) -> Any:
        """Keep inputs that depend on nothing in the vault, in the process's folder, before the process is recorded.

        What is returned is ``run.prepared``, until the process is claimed anew.
        """

    def keep(self, run: Run) -> None:
        """Keep the inputs in the process's folder, so that a resume finds them whatever has changed since."""

    def for_restart(self) -> Self:
        """Return the operation as ``restart`` runs it: with nothing in it that was meant for one call only."""
        return self

    def on_existing(self) -> Existing:
        """Return what is to be done with a run that the process id has already."""
        return Existing.AUTO

    def renewal(self, view: View, process_id: str) -> Operation | None:
        """Return what has to be done before the work of a process that has completed can be done anew, if anything.

        Raises TableVaultError if it can't be done anew.
        """
        return None

    def has_progress(self, folder: ProcessLayout) -> bool:
        """Tell whether results are recorded in the process's folder that the catalog may not have been told of yet."""
        return False

    def check_resume(self, view: View, files: ProcessLayout) -> None:
        """Raise TableVaultError if the kept inputs are no longer what they were. Changes nothing."""

    def execute(self, run: Run) -> Any:
        """Stage everything that is new, and place it where nobody looks yet. What is returned is ``run.made``."""

    def stage(self, run: Run) -> Any:
        """Stage everything that is new for a process that isn't recorded yet. What is returned is ``run.made``.

        None says that this can't be done now: ``execute`` will do it.
        """
        raise NotImplementedError

    def place(self, run: Run, db: Database) -> bool:
        """Place what ``stage`` returned, in the transaction that records and ends the process.

        False says that what it was staged for has changed since: nothing was placed, ``execute`` will do it.
        """
        raise NotImplementedError

    @abstractmethod
    def publish(self, run: Run, db: Database) -> None:
        """Make the effects visible. Runs in the transaction that ends the process."""

    def finish(self, run: Run) -> None:
        """Do the housekeeping after the commit. If it fails, that is logged and nothing else."""

    def undo(self, run: Run) -> None:
        """Remove what ``execute`` placed. Must work wherever it was interrupted, and when called twice."""

    def undo_in_catalog(self, run: Run, db: Database) -> None:
        """Take back what the process changed in the catalog. Runs in the transaction that ends it as reverted."""

    def materialize(self, run: Run) -> Any:
        """Stage and place what is done, as ``execute`` does with all of it. What is returned is ``run.made``."""
        raise NotImplementedError

    def publish_partial(self, run: Run, db: Database) -> None:
        """Make visible what ``materialize`` placed. Runs in the transaction that ends the process."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """Return the arguments that are recorded, as JSON has them."""
        return {
            field.name: _jsonable(getattr(self, field.name))
            for field in dataclasses.fields(self)
            if field.metadata.get("is_stored", True)
        }

    @classmethod
    def from_arguments(cls, arguments: Mapping[str, Any]) -> Self:
        """Rebuild an operation from what ``arguments`` returned."""
        fields = {field.name for field in dataclasses.fields(cls)}
        return cls(**{name: _frozen(value) for name, value in arguments.items() if name in fields})

    def differences(self, recorded: Mapping[str, Any]) -> list[str]:
        """Return the arguments that identify the work and aren't what is recorded: ``version: 'a' then, 'b' now``."""
        found = []
        for field in dataclasses.fields(self):
            now = _jsonable(getattr(self, field.name))
            if field.metadata.get("identifies", True) and field.name in recorded and recorded[field.name] != now:
                found.extend(_differences(field.name, recorded[field.name], now))
        return found


REGISTRY: dict[str, type[Operation]] = {}


def rebuild(name: str, arguments: Mapping[str, Any]) -> Operation:
    """Return the operation that was recorded under ``name`` with these arguments."""
    return REGISTRY[name].from_arguments(arguments)


def _differences(name: str, then: object, now: object) -> list[str]:
    """Tell how an argument differs from what was recorded; of a mapping only the entries that do."""
    if isinstance(then, Mapping) and isinstance(now, Mapping):
        names = [key for key in {**then, **now} if then.get(key) != now.get(key)]
        return [told for key in names for told in _differences(f"{name}[{key!r}]", then.get(key), now.get(key))]
    if isinstance(then, str) and isinstance(now, str) and max(len(then), len(now)) > _SHOWN:
        # From a bit before the place where they part: what comes earlier would look the same.
        alike = next((at for at, (a, b) in enumerate(zip(then, now, strict=False)) if a != b), min(len(then), len(now)))
        start = max(alike - _SHOWN // 3, 0)
        then, now = (f"{'...' if start else ''}{text[start:]}" for text in (then, now))
    return [f"{name}: {_shown(then)} then, {_shown(now)} now"]


def _shown(value: object) -> str:
    if value is None:
        return "missing"
    if isinstance(value, str):
        return repr(value if len(value) <= _SHOWN else value[: _SHOWN - 3] + "...")
    text = repr(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 3] + "..."


def _jsonable(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_jsonable(item) for item in value]
    if isinstance(value, Mapping):
        return {str(key): _jsonable(item) for key, item in value.items()}
    return value


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
