"""What workers do at once to one vault, and whether the outcome is one that they could have had one after the other."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import combinations, permutations
from pathlib import Path
from typing import TypeAlias

from tablevault_like import TableVault
from tests import hammer, library, states
from tests.faults import tracing
from tests.faults.scheduling import Schedule, Scheduler
from tests.faults.tracing import Ending

ID = "nightly"
CONTENTION = ("TVLockError", "TVProcessError", "FencedError", "KeyboardInterrupt", "SystemExit", "TVPausedError")
"""What is raised by a call that has no effect, because of others, or that was stopped."""

CHILD = "module as child"
"""This is done below the process ``ID``, while that runs; what comes of it is the same as without."""

Deed: TypeAlias = Callable[[TableVault, str], object]
Told: TypeAlias = str | None
"""What a call returned or raised, as far as it doesn't tell of times and new ids; ``None`` if nobody knows."""


def _frame(vault: TableVault, made: str) -> str:
    found = vault.get_dataframe("words", made).drop(columns="page")  # a path
    return hashlib.sha256(found.to_csv().encode()).hexdigest()


def _module(number: int) -> Deed:
    return lambda vault, made: vault.create_code_module("tools", text=f"LIMIT = {number}\n")


CHANGES: dict[str, Deed] = {
    "create": lambda vault, made: vault.create_table("papers"),
    "create it too": lambda vault, made: vault.create_table("papers", process_id="too"),
    "rename": lambda vault, made: vault.rename_table("terms", "words"),
    "rename named": lambda vault, made: vault.rename_table("terms", "words", process_id="renamed"),
    "rename other": lambda vault, made: vault.rename_table("terms", "scores"),
    "describe": lambda vault, made: vault.set_description("loud ones", "words"),
    "delete table": lambda vault, made: vault.delete_table("words", process_id="away"),
    "delete instance": lambda vault, made: vault.delete_instance(made, "words"),
    "copy": lambda vault, made: vault.create_instance("words", "draft", made, builders=["mood"]),
    "copy named": lambda vault, made: vault.create_instance("words", "draft", made, process_id=ID),
    "module": _module(3),
    "other module": _module(4),
    "module named": lambda vault, made: vault.create_code_module("tools", text="LIMIT = 5\n", process_id=ID),
    CHILD: lambda vault, made: vault.create_code_module("more", text="LIMIT = 6\n"),
    "delete module": lambda vault, made: vault.delete_code_module("tools", process_id="gone"),
    "builder": lambda vault, made: vault.create_builder_file(
        "words", "shout", text=library.BUILDERS["shout"] + "n_threads: 3\n"
    ),
    "delete builder": lambda vault, made: vault.delete_builder_file("shout", "words"),
    "write": lambda vault, made: vault.write_instance(library.scores(), "scores"),
    "write named": lambda vault, made: vault.write_instance(library.scores(), "scores", process_id=ID),
    "execute": lambda vault, made: vault.execute_instance("words"),
    "execute named": lambda vault, made: vault.execute_instance("words", process_id=ID),
    "pin": lambda vault, made: vault.pin("words", made),
    "read": _frame,
    "list": lambda vault, made: [len(vault.get_table_instances(name)) for name in vault.get_table_instances()],
}
READS = ("read", "list")
STEERING: dict[str, Deed] = {
    "restart": lambda vault, made: TableVault(vault.db_dir, "ada", restart=True, lock_timeout=1.0),
    "stop": lambda vault, made: vault.stop_process(ID, force=True),
    "stop gently": lambda vault, made: vault.stop_process(ID),
    "pause": lambda vault, made: vault.pause_process(ID),
}
"""What has no effect of its own, but decides on what becomes of others."""


@dataclass(frozen=True)
class Bench:
    """Where workers meet: ``library_dir`` holds the vault that is copied below ``folder``."""

    library_dir: Path
    folder: Path
    deeds: tuple[str, ...]
    """What each of them does."""

    @property
    def vault_dir(self) -> Path:
        return self.folder / "vault"

    def run(self, seed: int, *, kills: int = 0, jumps: int = 0, within: int = 600) -> tuple[Schedule, list[str]]:
        """Let them do it by turns, and tell what is wrong then."""
        self._refresh()
        scheduler = Scheduler(self.vault_dir, seed, kills, jumps, within)
        schedule = scheduler.run([partial(self._watched, name) for name in self.deeds])
        return schedule, list(self._wrong(schedule))

    def _wrong(self, schedule: Schedule) -> Iterator[str]:
        errors = self.folder / "errors"
        if errors.exists():
            yield errors.read_text()
        if not schedule.is_over:
            yield "it doesn't end"
            return
        settled = tracing.aside(self._settle)
        if not settled.returned:
            yield f"what comes next raises {settled.error}"
        if unsound := states.unsound(self.vault_dir):
            yield "; ".join(unsound)
        if not any(order.fits(schedule.endings, self.deeds, self._found) for order in self._orders(schedule)):
            told = list(zip(self.deeds, map(_told, schedule.endings), strict=True))
            orders = [(order.names, order.told) for order in self._orders(schedule)]
            yield f"no order of the calls does this: {told}, but {orders}"

    @property
    def _found(self) -> states.State:
        return _comparable(states.shape(self.vault_dir, known=self._made))

    def _orders(self, schedule: Schedule) -> Iterator[Order]:
        """Return what comes of the calls one after the other: all that tell of an effect, with or without others."""
        changes = [who for who, name in enumerate(self.deeds) if name in CHANGES]
        certain = [who for who in changes if _is_certain(self.deeds[who], schedule.endings[who])]
        rest = [who for who in changes if who not in certain]
        for count in range(len(rest) + 1):
            for some in combinations(rest, count):
                for order in permutations([*certain, *some]):
                    yield _in_order(self, tuple(self.deeds[who] for who in order), order)

    def in_order(self, names: Sequence[str]) -> tuple[tuple[Told, ...], states.State]:
        """Do this one after the other, undisturbed; return what was told, and what the vault is then."""
        self._refresh()
        told = tuple(_told(tracing.aside(partial(self._do, name))) for name in names)
        ending = tracing.aside(self._settle)
        assert ending.returned, ending.error
        return told, self._found

    def _refresh(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        (self.folder / "held").mkdir(parents=True)
        shutil.copytree(self.library_dir / "vault", self.vault_dir)

    @property
    def _made(self) -> str:
        return (self.library_dir / "made").read_text()

    def _watched(self, name: str) -> object:
        hammer.watch_locks(self.folder / "held", note=lambda text: hammer.note(self.vault_dir, text))
        return self._do(name, parent_id=ID if name == CHILD else None)

    def _do(self, name: str, parent_id: str | None = None) -> object:
        deed = CHANGES.get(name) or STEERING[name]
        told = deed(TableVault(self.vault_dir, "bob", parent_id=parent_id, lock_timeout=5.0), self._made)
        return told if name in READS else "done"

    def _settle(self) -> None:
        vault = TableVault(self.vault_dir, "ada", restart=True)
        for process_id in vault.get_active_processes():
            vault.stop_process(process_id)


@dataclass(frozen=True)
class Order:
    """What comes of calls that are made one after the other."""

    whose: tuple[int, ...]
    names: tuple[str, ...]
    told: tuple[Told, ...]
    shape: states.State

    def fits(self, endings: Sequence[Ending | None], deeds: Sequence[str], found: states.State) -> bool:
        """Tell whether workers were told the same, and left the same behind."""
        for who, told in zip(self.whose, self.told, strict=True):
            if _is_certain(deeds[who], endings[who]) and _told(endings[who]) != told:
                return False
        return not states.differences(found, self.shape)


def _in_order(bench: Bench, names: tuple[str, ...], whose: tuple[int, ...]) -> Order:
    elsewhere = Bench(bench.library_dir, bench.folder.with_name("in order"), bench.deeds)
    return Order(whose, names, *_known(elsewhere, names))


@cache
def _known(bench: Bench, names: tuple[str, ...]) -> tuple[tuple[Told, ...], states.State]:
    return bench.in_order(names)


def _told(ending: Ending | None) -> Told:
    if ending is None or ending.code < 0:
        return None
    return str(ending.value) if ending.returned else ending.raised[0]


def _is_certain(name: str, ending: Ending | None) -> bool:
    """Tell whether a call was made, for all that its caller knows. A child may find its parent not begun, or ended."""
    told = _told(ending)
    return told == "done" if name == CHILD else told is not None and told not in CONTENTION


def _comparable(found: states.State) -> states.State:
    return states.without_partial_frames(states.without_trash(found))
