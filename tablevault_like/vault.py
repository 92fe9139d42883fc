"""``TableVault``: the face of a vault. What only reads is in ``vault_reading``.

Every method is one line of work; what it does is elsewhere.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from tablevault_like import arguments, displays, founding
from tablevault_like.background import start as start_in_background
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import (
    BASE_VERSION,
    Existing,
    OnChange,
    OnDamage,
    check_process_id,
    new_process_id,
)
from tablevault_like.monitor.monitor import Monitor
from tablevault_like.monitor.predictions import PlannedRun
from tablevault_like.operations import folders, pruning
from tablevault_like.operations.builder_files import CreateBuilderFile, DeleteBuilderFile
from tablevault_like.operations.code import CreateCodeModule, DeleteCodeModule
from tablevault_like.operations.descriptions import SetDescription
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.operations.importing import ImportInstance
from tablevault_like.operations.instances import CreateInstance, DeleteInstance
from tablevault_like.operations.pins import Pin, Unpin
from tablevault_like.operations.prunable import Pruning
from tablevault_like.operations.pruning import Prune
from tablevault_like.operations.tables import CreateTable, DeleteTable, RenameTable
from tablevault_like.operations.write import WriteInstance
from tablevault_like.process import context
from tablevault_like.process.driving import HAD_COMPLETED
from tablevault_like.process.journal import Journal
from tablevault_like.process.runner import Outcome, Runner
from tablevault_like.reading import Reader
from tablevault_like.vault_reading import VaultReading

if TYPE_CHECKING:
    import pandas as pd

    from tablevault_like.bundles.packing import Exported
    from tablevault_like.chaos.report import ChaosReport
    from tablevault_like.check import CheckReport


@arguments.checked
class TableVault(VaultReading):
    """A vault: a directory of versioned tables.

    Every method that changes something takes an optional ``process_id`` and returns the id of its process. Without
    one, an operation that fails is reverted as if it had never been; with one, it is paused, and the same call with
    the same id goes on where it stopped. Empty strings mean "not given".

    Every method raises TVArgumentError for a name that is unknown or not allowed, and for arguments that can't be used.
    Those that change something raise TVLockError if they can't have their locks in time, TVProcessError if a worker is
    at the process already, and TVFileError if the disk refuses.

    >>> import tempfile
    >>> vault = TableVault(tempfile.mkdtemp() + "/vault", "ada", create=True)
    >>> process_id = vault.create_table("stories")
    >>> vault.get_table_instances()
    ['stories']
    """

    def __init__(
        self,
        db_dir: str | os.PathLike[str],
        author: str | None = None,
        description: str = "",
        create: bool = False,
        restart: bool = False,
        verbose: bool = False,
        parent_id: str | None = None,
        *,
        replace: bool = False,
        lock_timeout: float = 5.0,
        allow_network: bool = False,
    ) -> None:
        """Open the vault at ``db_dir``, or make one there.

        ``author`` defaults to the user of the operating system. ``create`` makes a new vault, in a folder that is
        empty or isn't there; ``replace`` deletes a vault that is there first. ``restart`` goes on with every process
        whose worker died, here and now; ``restarted`` tells what became of each. ``verbose`` logs what happens.
        Operations become children of ``parent_id``. ``lock_timeout`` is how many seconds an operation waits for its
        locks. ``allow_network`` opens a vault on a network file system, which is refused otherwise; only one machine
        may use it then.

        Raises TVArgumentError if there is no vault (or with ``create``, if there is something else), and TVFileError
        for one on a network file system.
        """
        self.db_dir = os.fspath(db_dir)
        self.author = author or founding.user()
        timeout = arguments.seconds("lock_timeout", lock_timeout)
        self._is_verbose = verbose
        if verbose:
            logging.basicConfig()
            logging.getLogger("tablevault_like").setLevel(logging.INFO)
        layout = founding.locate(self.db_dir)
        if create:
            founding.create(
                layout,
                author=self.author,
                description=description or "",
                replace=replace,
                allow_network=allow_network,
            )
        elif replace:
            raise TVArgumentError("replace=True deletes a vault to create another; it needs create=True.")
        founding.check_marker(layout)
        catalog = Catalog(layout.catalog, allow_network=allow_network)
        self._journal = Journal(catalog, layout, time.time)
        self._runner = Runner(
            self._journal,
            self.author,
            parent_id=check_process_id(parent_id) if parent_id else None,
            lock_timeout=timeout,
        )
        self._reader = Reader(catalog, layout)
        self._monitor = Monitor(catalog, layout)
        self.restarted: dict[str, Outcome] = {}
        if restart:
            self.restarted = self._runner.restart()
            folders.tidy(self._journal)

    def __repr__(self) -> str:
        return f"TableVault({self.db_dir!r}, {self.author!r})"

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle what opens the vault anew, so that workers of a pool can be given it."""
        # By its absolute path: the worker's current folder may be another.
        opening = (os.fspath(self._journal.layout.root), self.author, self._is_verbose)
        how = (self._runner.parent_id, self._runner.lock_timeout, self._journal.catalog.allows_network)
        return _opened, (*opening, *how)

    # --- tables

    def create_table(
        self,
        table_name: str,
        allow_multiple_artifacts: bool = False,
        has_side_effects: bool = False,
        description: str = "",
        process_id: str | None = None,
    ) -> str:
        """Create an empty table.

        Every instance has artifacts of its own. Unless the table has ``allow_multiple_artifacts``, its folder has an
        ``artifacts``, too, which shows those of its newest successful instance. With ``has_side_effects``, a table's
        other instances become inactive the moment that one is executed or written, and active again if that is
        reverted.

        Raises TVArgumentError for a name that is taken or forbidden.
        """
        return self._runner.submit(
            CreateTable(table_name, allow_multiple_artifacts, has_side_effects, description or ""), process_id or None
        )

    make_table = create_table

    def rename_table(self, new_table_name: str, table_name: str, process_id: str | None = None) -> str:
        """Give a table another name. Raises TVArgumentError for an unknown table, or a name that is taken."""
        return self._runner.submit(RenameTable(new_table_name, table_name), process_id or None)

    def delete_table(self, table_name: str, process_id: str | None = None) -> str:
        """Delete a table with all of its instances; its files go to the trash. ``get_trash`` tells what was deleted."""
        return self._runner.submit(DeleteTable(table_name), process_id or None)

    # --- instances

    def create_instance(
        self,
        table_name: str,
        version: str = "",
        origin_id: str = "",
        origin_table: str = "",
        external_edit: bool = False,
        copy: bool = False,
        builders: Mapping[str, str] | Iterable[str] | None = None,
        description: str = "",
        process_id: str | None = None,
    ) -> str:
        """Create a temporary instance, ``TEMP_<version>``, whose builders can then be written and executed.

        ``origin_id`` names a materialized instance, in ``origin_table`` or by default in the same table, whose builders
        are copied and whose rows can be reused. ``copy=True`` takes the newest of that table and of this version
        instead, else the newest of any, else none; next to an ``origin_id`` it says nothing. Without an origin there
        is a template of an IndexBuilder. ``builders`` names further builder files to make from a template, or maps
        names to their YAML text; what is named replaces what was copied. With ``external_edit`` there are no builders:
        ``write_instance`` gives the frame.

        Raises TVArgumentError if there is a temporary instance of this version already, which is never replaced, or if
        the origin isn't there or is a temporary one, and TVBuilderError for a text that is no builder.
        """
        operation = CreateInstance(
            table_name,
            version or BASE_VERSION,
            origin_id or None,
            origin_table or None,
            external_edit,
            copy,
            arguments.builder_texts(builders),
            description or "",
        )
        return self._runner.submit(operation, process_id or None)

    def write_instance(
        self,
        table_df: pd.DataFrame | None,
        table_name: str,
        version: str = BASE_VERSION,
        dependencies: Iterable[tuple[str, str]] | None = None,
        dtypes: Mapping[str, object] | None = None,
        process_id: str | None = None,
    ) -> str:
        """Materialize a DataFrame as an instance that was created with ``external_edit=True``.

        ``dependencies`` are (table, instance id) that it was made from; an empty id stands for the newest active
        instance of that table, of any version. ``dtypes`` are pandas dtypes (or their names, or ``artifact_string``) by
        column. The index of the frame isn't kept.

        With a ``process_id``, the frame is kept until the process ends: the same call resumes it, with the same frame
        or with ``None`` in its place. Then ``dtypes`` and ``dependencies`` may be left out, too: they are what they
        were. Another frame is refused.

        Raises TVTableError for a value that its dtype can't hold, TVArtifactError for artifacts and cells that don't
        match, and TVProcessError for ``None`` where no process of that id has kept a frame.
        """
        sources, names = arguments.sources(dependencies), arguments.dtype_names(dtypes)
        operation = WriteInstance.read(
            table_df, table_name, version or BASE_VERSION, sources, names, is_named=bool(process_id)
        )
        return self._runner.submit(operation, process_id or None)

    def execute_instance(
        self,
        table_name: str,
        version: str = BASE_VERSION,
        force_execute: bool = False,
        process_id: str | None = None,
        background: bool = False,
        *,
        on_change: str = "error",
        on_damage: str = "error",
        existing: str = "auto",
        until: str = "",
        from_builder: str = "",
        budget: Mapping[str, float] | None = None,
        start_at: Mapping[str, int] | None = None,
        progress: bool | None = None,
    ) -> str:
        """Build a temporary instance by its builders, and materialize it.

        Every row is recorded when it is done. With a ``process_id``, what user code raises (or Ctrl-C, or SIGTERM)
        pauses the process, and the same call goes on with what is missing. ``on_change`` says what a resume does if
        builders or code have changed since: ``error``, ``continue`` (finished rows stay), ``recompute`` (the changed
        builders' rows), or ``keep`` (finish with the code as it was). ``on_damage`` says what it does if something that
        the process has kept is damaged: ``error``, or ``recompute`` (what is sound stays, and only the rest is made
        again). ``background`` runs it in a worker that outlives the caller, and returns as soon as it is under way;
        what it prints goes to ``output.log`` in the process's folder.

        ``existing`` says what is done with a run that the id has already: ``auto`` takes what it made, or goes on with
        it; ``error`` refuses; ``rerun`` keeps its record as ``<id>~<n>`` (what it hadn't finished is reverted) and
        starts anew, reusing nothing. What it made stays, and is active, until the new run is complete.

        ``until`` names a builder: that one and what it needs are run, then the process is paused on request, and
        ``completed_through`` says so. A ``budget`` of ``seconds``, ``rows``, ``failures`` or ``cost`` that is used up
        pauses it likewise. Both return the id as if all were done; the same call goes on. ``from_builder`` runs that
        builder and all that read what it makes anew, whatever is cached: in a process that goes on by forgetting their
        rows, once; in a new one by taking what that builder needs over from the origin, as it is.

        ``start_at`` names a generator that makes the rows, and how many values of its source come before the first row.
        It is part of what the work is: a resume is called with the same.

        Bars on a terminal, or in a notebook, show how far it is; where there is neither, the log has a line every few
        seconds (stderr, with ``progress=True``). ``progress=False`` shows nothing.

        Raises TVBuilderError and TableReferenceError for builder files, TVLockError if locks can't be had,
        TVProcessError for ``error`` where there is a run, and for ``rerun`` where a worker is at it, TVPausedError if
        somebody else has paused it, TVCheckpointError if something is damaged that the process has kept, and whatever
        the builders' functions raise.
        """
        operation = _execution(
            table_name,
            version,
            force_execute,
            process_id,
            background,
            on_change=on_change,
            on_damage=on_damage,
            existing=existing,
            until=until,
            from_builder=from_builder,
            budget=budget,
            start_at=start_at,
        )
        if background:
            return start_in_background(self._runner, operation, process_id or None)
        is_child = context.current(self._journal.layout.root) is not None
        title = f"{table_name}/{operation.version}"
        display = partial(displays.shown, title, wanted=progress, is_child=is_child)
        return replace(self._runner, display=display).submit(operation, process_id or None)

    def plan(
        self,
        table_name: str,
        version: str = BASE_VERSION,
        force_execute: bool = False,
        process_id: str | None = None,
        background: bool = False,
        *,
        on_change: str = "error",
        on_damage: str = "error",
        existing: str = "auto",
        until: str = "",
        from_builder: str = "",
        budget: Mapping[str, float] | None = None,
        start_at: Mapping[str, int] | None = None,
        progress: bool | None = None,
        sample: int = 0,
    ) -> PlannedRun:
        """Return what ``execute_instance`` would do now if it were called with the same arguments, and why.

        For each builder: how many rows are reused, made, and have failed before; how often its function is called;
        how sure that is; which argument (or line of a prompt), function, or upstream rows have changed; and how long it
        takes, by what earlier runs took. ``inputs`` are the instances that are read. Nothing is recorded, locked or
        written, and no code of the vault runs. It is taken that no row fails.

        ``action`` says whether a run starts, a process goes on, is run again, or has completed, so that there is
        nothing to do. ``refusal`` is what the call would be refused with, as long as there is something to plan all
        the same; ``pause`` what it is paused for: ``until`` a builder, or a ``budget``. Without a ``process_id`` a
        process that holds the instance is planned, and its id is named. ``background`` and ``progress`` change nothing.

        ``sample`` makes the first so many rows in memory, to look at: user code runs then, the IndexBuilder's too, but
        can't change the vault, and nothing is kept. ``PlannedRun.sample`` is the DataFrame.

        Raises what ``execute_instance`` raises for arguments, builder files and references, and with ``sample`` what
        the builders' functions raise.
        """
        operation = _execution(
            table_name,
            version,
            force_execute,
            process_id,
            background,
            on_change=on_change,
            on_damage=on_damage,
            existing=existing,
            until=until,
            from_builder=from_builder,
            budget=budget,
            start_at=start_at,
        )
        rows, now = arguments.count("sample", sample), self._journal.now()
        return self._monitor.plan(operation, process_id or None, sample=rows, now=now)

    def chaos(
        self,
        table_name: str,
        *,
        version: str = BASE_VERSION,
        sample: int = 20,
        kills: int = 10,
        seed: int | None = None,
        timeout: float = 600.0,
        scratch: str | os.PathLike[str] = "",
        keep: bool = False,
        progress: bool | None = None,
    ) -> ChaosReport:
        """Rehearse failures of an execution on a sample, in a copy of what it needs, and return what came of it.

        It is run twice undisturbed, and then again and again, in workers that are killed by SIGKILL ``kills`` times in
        all: before, in and after calls, at commits, while it is resumed, and while it is published. Each run goes on
        under its id until it is complete, and is held to the undisturbed ones: the frame, the artifacts, the files that
        its functions wrote elsewhere, which rows were called again, and what is left: litter, locks, programs. What two
        undisturbed runs differ in isn't judged, and ``notes`` say so.

        **The builders' functions are really called**, with all that they do and cost: for each row up to ``kills`` + 2
        times, and once more if it was inside its function at a kill. Nothing is reused. The vault itself isn't changed.

        ``sample`` is how many rows the IndexBuilder makes, ``timeout`` how many seconds one run may take. A ``seed``
        chooses the same points again. The copy lies beside the vault, or in the folder ``scratch``, and is removed at
        the end, unless ``keep`` is set. ``progress`` tells how far it is on stderr, by default on a terminal.

        Raises TVArgumentError, TVBuilderError and TableReferenceError as ``execute_instance`` does, and TVFileError if
        the copy can't be made. What the builders' functions raise is in the report.
        """
        from tablevault_like import chaos

        wanted = chaos.Wanted(
            table_name,
            version or BASE_VERSION,
            sample=arguments.positive("sample", sample),
            kills=arguments.positive("kills", kills),
            seed=None if seed is None else arguments.count("seed", seed),
            timeout=arguments.seconds("timeout", timeout),
            scratch=scratch or None,
            keep=keep,
        )
        return chaos.rehearse(self._journal, wanted, author=self.author, tell=displays.lines("chaos", wanted=progress))

    def delete_instance(self, instance_id: str, table_name: str, process_id: str | None = None) -> str:
        """Delete a materialized or temporary instance; its files go to the trash.

        What was made from it stays, and still names it.
        """
        return self._runner.submit(DeleteInstance(instance_id, table_name), process_id or None)

    # --- bundles

    def export_instance(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        path: str | os.PathLike[str] | None = None,
        *,
        builder: str | None = None,
    ) -> Exported:
        """Make one file of an instance, with its builders, code, artifacts and lineage, for ``import_instance``.

        It is the newest active instance of ``version``, or the one that ``instance_id`` names; with ``TEMP_<version>``
        what its execution has done by now, as a partial instance. With a ``builder``, the bundle has only what that one
        has made. ``path`` is a new file, or a folder; by default it is named after what is in it, in the current
        folder. Nothing is locked. What is returned can be used as the path, and tells what the bundle has.

        Raises TVArgumentError for what isn't there, and if something is at ``path`` already, and TVFileError if a file
        is damaged, or the disk refuses. No bundle is left behind then.
        """
        from tablevault_like.bundles import packing

        wanted = packing.Wanted(table_name, instance_id or None, version or BASE_VERSION, builder or None)
        return packing.export(self._journal, wanted, path or None)

    def import_instance(
        self,
        path: str | os.PathLike[str],
        table_name: str = "",
        version: str = "",
        process_id: str | None = None,
        *,
        with_code: bool = False,
        max_bytes: int | None = None,
    ) -> str:
        """Take in what ``export_instance`` has put into a file, which may come from anybody. None of it is run.

        An instance keeps its id, version, description and author; it becomes one of ``table_name`` (by default of the
        table that it comes from, which is made if it isn't there) and can be an origin like any other. One that is
        there already stays as it is. One builder's results are kept with the temporary instance of ``version`` (by
        default of theirs), whose execution then reuses them. ``with_code`` adds the code in it to the vault's code
        modules, where it never replaces another. ``max_bytes`` is how many bytes its files may have.

        Raises TVFileError, which names the member, for a bundle that is damaged or hostile, and TVArgumentError if
        another instance of that id is there, or a code module that differs. Nothing is left behind then. A process that
        goes on raises TVCheckpointError if what it has kept of the bundle was damaged meanwhile.
        """
        known = self._journal.find(process_id) if process_id else None
        operation = ImportInstance.read(
            path, table_name or None, version or None, with_code=with_code, max_bytes=max_bytes, known=known
        )
        return self._runner.submit(operation, process_id or None)

    # --- code and builders

    def create_code_module(
        self,
        module_name: str = "",
        copy_dir: str | os.PathLike[str] = "",
        text: str = "",
        process_id: str | None = None,
        *,
        function: Callable[..., object] | None = None,
    ) -> str:
        """Create a code module from ``text``, a file or a folder (``copy_dir``), a ``function``, or a template.

        A folder with an ``__init__.py`` is a package, and copied whole; of another one, all modules and packages in it
        are. ``package.module`` names a module in a package that is there. What has that name is replaced.

        A ``function`` of a script or a notebook is kept as source, with what it uses, where it stands alone; else it is
        pickled, with the values that it closes over.

        Raises TVBuilderError, with the place, for what isn't Python, and TVArgumentError for a function that can't be
        kept.
        """
        operation = CreateCodeModule.read(
            module_name or None, copy_dir=copy_dir or None, text=text or None, function=function
        )
        return self._runner.submit(operation, process_id or None)

    def delete_code_module(self, module_name: str, process_id: str | None = None) -> str:
        """Delete a code module, or a package with its files. Instances that were made with it keep their copies."""
        return self._runner.submit(DeleteCodeModule(module_name), process_id or None)

    def create_builder_file(
        self,
        table_name: str,
        builder_name: str = "",
        version: str = BASE_VERSION,
        copy_dir: str | os.PathLike[str] = "",
        text: str = "",
        process_id: str | None = None,
    ) -> str:
        """Create a builder file in a temporary instance, from ``text``, a file or folder (``copy_dir``), or a template.

        What has that name is replaced. The form is checked now, references and code when the instance is executed.
        Raises TVBuilderError, with file, line and column.
        """
        operation = CreateBuilderFile.read(
            table_name, builder_name or None, version or BASE_VERSION, copy_dir=copy_dir or None, text=text or None
        )
        return self._runner.submit(operation, process_id or None)

    def delete_builder_file(
        self, builder_name: str, table_name: str, version: str = BASE_VERSION, process_id: str | None = None
    ) -> str:
        """Delete a builder file from a temporary instance."""
        return self._runner.submit(
            DeleteBuilderFile(builder_name, table_name, version or BASE_VERSION), process_id or None
        )

    # --- descriptions and the trash

    def set_description(
        self, description: str, table_name: str = "", instance_id: str = "", process_id: str | None = None
    ) -> str:
        """Describe an instance anew, or a table, or the vault if neither is given. ``get_descriptions`` tells it.

        A temporary instance can't be described while it is executed. Raises TVArgumentError for what isn't there.
        """
        return self._runner.submit(
            SetDescription(description, table_name or None, instance_id or None), process_id or None
        )

    def pin(self, table_name: str, instance_id: str, process_id: str | None = None) -> str:
        """Keep a materialized instance, and what it was made from, from being pruned, until it is unpinned.

        ``get_descriptions`` tells who has pinned it, and since when; to pin it once more changes nothing. It can still
        be deleted by ``delete_instance``. Raises TVArgumentError for a temporary instance, and for what isn't there.
        """
        return self._runner.submit(Pin(table_name, instance_id), process_id or None)

    def unpin(self, table_name: str, instance_id: str, process_id: str | None = None) -> str:
        """Let an instance be pruned again, whoever has pinned it. Nothing happens if nobody has.

        Raises TVArgumentError for a temporary instance, and for what isn't there.
        """
        return self._runner.submit(Unpin(table_name, instance_id), process_id or None)

    def prune(
        self,
        keep: int | None = None,
        older_than: float | timedelta | None = None,
        dry_run: bool = True,
        process_id: str | None = None,
    ) -> Pruning:
        """Remove for good what nobody needs any more. Unless ``dry_run`` is false, only tell what that would be.

        What goes is what lies in the trash, what processes that have ended left behind (their output, say), and with
        ``keep`` old instances: those that aren't among the newest ``keep`` of their table and version. With
        ``older_than``, in seconds or as a ``timedelta``, only what was removed, has ended or was made at least so long
        ago. What an instance was stays on record.

        These instances never go: what is pinned; what readers get who name no instance (the newest active one of each
        version, and the newest of these that is complete); what an instance that stays was made from, or a temporary
        one begins with; and what a process uses that hasn't ended.

        What is returned has the things that go and those that stay, each with its reason and its bytes. If it was
        done, ``process_id`` is that of the process that did it: like any other, it does all of it or nothing.

        Raises TVArgumentError for a ``keep`` that is no number of 1 or more.
        """
        if isinstance(older_than, timedelta):
            older_than = older_than.total_seconds()
        operation = Prune(keep, None if older_than is None else arguments.seconds("older_than", older_than))
        if dry_run:
            return pruning.look(self._journal, operation)
        pruned_by = self._runner.submit(operation, process_id or None)
        try:  # here, for a context manager could be interrupted while it is entered
            return pruning.done(self._journal, operation, pruned_by)
        except BaseException as error:
            error.add_note(HAD_COMPLETED.format(pruned_by))
            raise

    # --- processes

    def generate_process_id(self) -> str:
        """Return a new process id. An operation that is given one can be resumed with it."""
        return new_process_id()

    def stop_process(self, process_id: str, force: bool = False, materialize: bool = False) -> str:
        """Revert a process that hasn't ended, or keep what it has done as a partial instance, and return its id.

        ``force`` first ends a living worker, and those of its children (terminate, wait, kill; all at once).
        ``materialize`` keeps the rows that an ``execute_instance`` has recorded, in an instance whose ``success`` is
        false; what any other operation has done can't be kept. Children that are under way are reverted in any case,
        those that have completed stay.

        Raises TVProcessError if the process has ended, hasn't begun as it waits for its locks, or if its worker (or
        that of a child) lives and ``force`` wasn't given, and TVArgumentError for an unknown id, or for ``materialize``
        where nothing can be kept; the process stays as it was then.
        """
        return self._runner.stop(process_id, force=force, materialize=materialize)

    def pause_process(self, process_id: str) -> str:
        """Ask an execution to pause at the next safe point, wherever its worker is, and return its id.

        Its worker hears of it within half a second, hands out nothing more, and pauses when the calls that are under
        way have returned; what they give is recorded. ``wait`` tells when. The call that runs it raises TVPausedError.
        An execution whose worker is dead is paused at once. ``restart`` leaves it alone until it is called again with
        its id. Its children are paused with it, whichever worker is at them.

        Raises TVProcessError if it has ended or is being stopped, and TVArgumentError for other operations.
        """
        return self._runner.pause(process_id)

    def check(self, table_name: str | None = None, *, contents: bool = True, repair: bool = False) -> CheckReport:
        """Hold the catalog against the disk, and every file against its checksum, of the vault or of one table.

        The report is what one iterates over to get its findings: what is wrong, where, and what to do. It is ``ok`` if
        nothing is wrong; ``to_frame`` gives a DataFrame. Nothing is written, and others may go on working meanwhile.
        ``contents=False`` doesn't read files whose sizes are right, which is much faster. ``repair`` mends what can be
        mended without losing anything, and tells what that was (``repaired``).

        Raises TVArgumentError for an unknown table, and with ``repair`` TVFileError if the vault may not be written to.
        """
        from tablevault_like.check import check_vault

        return check_vault(self._journal.layout, table_name or None, contents=contents, repair=repair)


def _opened(
    db_dir: str, author: str, is_verbose: bool, parent_id: str | None, lock_timeout: float, allow_network: bool = False
) -> TableVault:
    return TableVault(
        db_dir,
        author,
        verbose=is_verbose,
        parent_id=parent_id,
        lock_timeout=lock_timeout,
        allow_network=allow_network,
    )


def _execution(
    table_name: str,
    version: str,
    force_execute: bool,
    process_id: str | None,
    background: bool,
    *,
    on_change: str,
    on_damage: str,
    existing: str,
    until: str,
    from_builder: str,
    budget: Mapping[str, float] | None,
    start_at: Mapping[str, int] | None,
) -> ExecuteInstance:
    """Return what is asked of an execution, or of the plan of one. Raises TVArgumentError for what makes no sense."""
    with_existing = arguments.choice("existing", existing, Existing)
    if with_existing is not Existing.AUTO and not process_id:
        raise TVArgumentError(
            f"existing={str(existing)!r} is about the run that a process_id has already, and none is given. Without an "
            "id, every call is a run of its own."
        )
    return ExecuteInstance(
        table_name,
        version or BASE_VERSION,
        force_execute,
        background=background,
        on_change=arguments.choice("on_change", on_change, OnChange),
        on_damage=arguments.choice("on_damage", on_damage, OnDamage),
        existing=with_existing,
        until=until or None,
        from_builder=from_builder or None,
        budget=arguments.budget(budget),
        start_at=arguments.offsets(start_at),
    )
