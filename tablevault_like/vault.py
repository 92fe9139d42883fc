"""``TableVault``: the face of a vault. Every method is one line of work; what it does is elsewhere."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, TypeAlias

from tablevault_like import arguments, founding
from tablevault_like.background import start as start_in_background
from tablevault_like.catalog import Catalog
from tablevault_like.errors import TVArgumentError
from tablevault_like.model import BASE_VERSION, OnChange, ProcessRecord, State, check_process_id, new_process_id
from tablevault_like.operations import folders
from tablevault_like.operations.builder_files import CreateBuilderFile, DeleteBuilderFile
from tablevault_like.operations.code import CreateCodeModule, DeleteCodeModule
from tablevault_like.operations.descriptions import SetDescription
from tablevault_like.operations.execute import ExecuteInstance
from tablevault_like.operations.instances import CreateInstance, DeleteInstance
from tablevault_like.operations.tables import CreateTable, DeleteTable, RenameTable
from tablevault_like.operations.trash import Prune, TrashRecord
from tablevault_like.operations.write import WriteInstance
from tablevault_like.process import records, watching
from tablevault_like.process.journal import Journal
from tablevault_like.process.runner import Outcome, Runner
from tablevault_like.reading import Part, Reader, Which

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from rich.tree import Tree

Filters: TypeAlias = Sequence[tuple[str, str, object]] | Sequence[Sequence[tuple[str, str, object]]]


@arguments.checked
class TableVault:
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
    ) -> None:
        """Open the vault at ``db_dir``, or make one there.

        ``author`` defaults to the user of the operating system. ``create`` makes a new vault, in a folder that is
        empty or isn't there; ``replace`` deletes a vault that is there first. ``restart`` goes on with every process
        whose worker died, here and now; ``restarted`` tells what became of each. ``verbose`` logs what happens.
        Operations become children of ``parent_id``. ``lock_timeout`` is how many seconds an operation waits for its
        locks.

        Raises TVArgumentError if there is no vault (or with ``create``, if there is something else).
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
            founding.create(layout, author=self.author, description=description or "", replace=replace)
        elif replace:
            raise TVArgumentError("replace=True deletes a vault to create another; it needs create=True.")
        founding.check_marker(layout)
        catalog = Catalog(layout.catalog)
        self._journal = Journal(catalog, layout, time.time)
        self._runner = Runner(
            self._journal,
            self.author,
            parent_id=check_process_id(parent_id) if parent_id else None,
            lock_timeout=timeout,
        )
        self._reader = Reader(catalog, layout)
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
        return _opened, (*opening, self._runner.parent_id, self._runner.lock_timeout)

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
    ) -> str:
        """Build a temporary instance by its builders, and materialize it.

        Every row is recorded when it is done. With a ``process_id``, what user code raises (or Ctrl-C, or SIGTERM)
        pauses the process, and the same call goes on with what is missing. ``on_change`` says what a resume does if
        builders or code have changed since: ``error``, ``continue`` (finished rows stay), ``recompute`` (the changed
        builders' rows), or ``keep`` (finish with the code as it was). ``background`` runs it in a worker that
        outlives the caller, and returns as soon as it is under way; what it prints goes to ``output.log`` in the
        process's folder.

        Raises TVBuilderError and TableReferenceError for builder files, TVLockError if locks can't be had, and
        whatever the builders' functions raise.
        """
        operation = ExecuteInstance(
            table_name, version or BASE_VERSION, force_execute, background=background, on_change=_on_change(on_change)
        )
        if background:
            return start_in_background(self._runner, operation, process_id or None)
        return self._runner.submit(operation, process_id or None)

    def delete_instance(self, instance_id: str, table_name: str, process_id: str | None = None) -> str:
        """Delete a materialized or temporary instance; its files go to the trash.

        What was made from it stays, and still names it.
        """
        return self._runner.submit(DeleteInstance(instance_id, table_name), process_id or None)

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

    def get_trash(self, include_pruned: bool = False) -> list[TrashRecord]:
        """Return what was deleted and whose files lie in the trash, oldest first: what it was, when, by whom.

        ``include_pruned`` adds what is on record of what was pruned.
        """
        return self._reader.trash(include_pruned=include_pruned)

    def prune(self, older_than: float | timedelta | None = None, process_id: str | None = None) -> str:
        """Remove what is in the trash for good; with ``older_than``, what was removed at least so many seconds ago.

        What it was stays on record. Nothing is touched that the vault hasn't put there itself.
        """
        if isinstance(older_than, timedelta):
            older_than = older_than.total_seconds()
        age = None if older_than is None else arguments.seconds("older_than", older_than)
        return self._runner.submit(Prune(age), process_id or None)

    # --- processes

    def generate_process_id(self) -> str:
        """Return a new process id. An operation that is given one can be resumed with it."""
        return new_process_id()

    def get_active_processes(self) -> dict[str, ProcessRecord]:
        """Return the processes that haven't ended or that wait for their locks, by id, oldest first.

        Children are among them: ``parent_id`` tells whose they are.
        """
        with self._journal.catalog.snapshot() as db:
            return records.active(db, self._journal.layout)

    def get_process(self, process_id: str) -> ProcessRecord:
        """Return a process, ended ones too. Raises TVArgumentError if there is none of that id."""
        with self._journal.catalog.snapshot() as db:
            return records.find(db, self._journal.layout, process_id)

    def get_process_completion(self, process_id: str) -> bool:
        """Tell whether a process has completed, or was stopped and materialized.

        Raises TVArgumentError if there is none of that id.
        """
        return self.get_process(process_id).state in (State.COMPLETED, State.MATERIALIZED)

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

    def wait(self, process_id: str, timeout: float | None = None) -> ProcessRecord:
        """Wait until a process has ended or is paused, wherever it runs, and return it.

        One whose worker is dead is returned, too: its ``status`` is ``interrupted``. ``timeout`` is in seconds; without
        one, it waits for as long as it takes.

        Raises TVArgumentError if there is none of that id, TVTimeoutError (a TimeoutError) if a worker is still at it
        when the time is over, and TVProcessError if it never began, as it didn't get its locks, or if this code is part
        of it.
        """
        seconds = None if timeout is None else arguments.seconds("timeout", timeout)
        return watching.wait(self._journal, process_id, timeout=seconds)

    # --- reading

    def get_dataframe(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> pd.DataFrame:
        """Return the frame of the newest instance of ``version``, or of the one that ``instance_id`` names.

        Only what is asked for is read: some ``columns``, in that order; the rows for which ``filters`` hold, conditions
        such as ``[("year", ">=", 2020)]`` (all of a list, or one of several lists; ``==``, ``!=``, ``<``, ``>``,
        ``<=``, ``>=``, ``in``, ``not in``); and of those the first ``rows``. The index holds the positions of the rows.
        Cells of dtype ``artifact_string`` become absolute paths, which ``filters`` take as well as names, unless
        ``full_artifact_path`` is false. ``attrs["table_name"]`` and ``attrs["instance_id"]`` tell what was read. An
        explicit ``instance_id`` ignores ``active_only`` and ``version``; ``TEMP_<version>`` reads what the execution of
        a temporary instance has done by now, or had done when it was paused or reverted.

        Raises TVArgumentError for what isn't there, and for a value that can't be compared with its column.
        """
        which = Which(instance_id or None, version or BASE_VERSION, active_only, successful_only)
        part = Part.read(columns=columns, filters=filters, rows=rows, full_artifact_path=full_artifact_path)
        return self._reader.dataframe(table_name, which, part)

    def to_arrow(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> pa.Table:
        """Return what ``get_dataframe`` does as a ``pyarrow.Table``, without making a frame of it.

        Its schema's metadata has ``table_name`` and ``instance_id``. A category is a dictionary; values of dtype
        ``object`` that Arrow can't hold are the tagged JSON text that they are stored as, and their field's metadata
        says so: ``encoding`` is ``json``. Raises what ``get_dataframe`` raises.
        """
        which = Which(instance_id or None, version or BASE_VERSION, active_only, successful_only)
        part = Part.read(columns=columns, filters=filters, rows=rows, full_artifact_path=full_artifact_path)
        return self._reader.arrow(table_name, which, part)

    def iter_batches(
        self,
        table_name: str,
        instance_id: str = "",
        version: str = BASE_VERSION,
        active_only: bool = True,
        successful_only: bool = False,
        rows: int | None = None,
        full_artifact_path: bool = True,
        *,
        batch_size: int = 10_000,
        columns: Sequence[str] | None = None,
        filters: Filters | None = None,
    ) -> Iterator[pd.DataFrame]:
        """Return an iterator over what ``get_dataframe`` returns, in frames of at most ``batch_size`` rows.

        The instance is found when this is called, and is read to its end whatever becomes of it meanwhile; only a batch
        or so is in memory. Without any row, there is no frame. Raises what ``get_dataframe`` raises.
        """
        which = Which(instance_id or None, version or BASE_VERSION, active_only, successful_only)
        part = Part.read(columns=columns, filters=filters, rows=rows, full_artifact_path=full_artifact_path)
        return self._reader.batches(table_name, which, part, batch_size=batch_size)

    def get_table_instances(self, table_name: str = "", version: str = "", include_temp: bool = False) -> list[str]:
        """Return the ids of a table's instances, oldest first; without a table, the names of all tables."""
        if not table_name:
            return self._reader.table_names()
        return self._reader.instance_ids(table_name, version=version or None, include_temporary=include_temp)

    def get_descriptions(self, instance_id: str = "", table_name: str = "") -> dict[str, object]:
        """Return what describes an instance, a table, or the vault if neither is given.

        All have ``description``, ``author`` and ``created``; a table what it was created with; an instance among others
        ``version``, ``active``, ``success``, ``rows``, ``columns`` (dtypes by name), ``origin``, ``dependencies`` (what
        it was made from) and ``process_id``. Times are ISO 8601, in UTC.
        """
        if instance_id and not table_name:
            raise TVArgumentError("An instance is described by instance_id and table_name; table_name is missing.")
        return self._reader.describe(table=table_name or None, instance_id=instance_id or None)

    def get_builders_list(
        self, table_name: str, instance_id: str = "", version: str = BASE_VERSION, is_temp: bool = True
    ) -> list[str]:
        """Return the names of the builders of a temporary instance, sorted; those of one that was written are none.

        It is the temporary instance of ``version``, with ``is_temp=False`` the newest materialized one of it, active or
        not. ``instance_id`` wins over both: that very instance, of whichever kind. Raises TVArgumentError if there is
        no such instance.
        """
        return self._reader.builder_names(
            table_name, instance_id=instance_id or None, version=version or BASE_VERSION, is_temporary=is_temp
        )

    def get_builder_str(
        self,
        table_name: str,
        builder_name: str = "",
        instance_id: str = "",
        version: str = BASE_VERSION,
        is_temp: bool = True,
    ) -> str:
        """Return the text of a builder file; by default that of the IndexBuilder.

        Which instance it is of is said as in ``get_builders_list``: ``instance_id`` wins over ``version`` and
        ``is_temp``. Raises TVArgumentError if there is no such instance, or no such builder in it.
        """
        return self._reader.builder_text(
            table_name,
            builder_name or None,
            instance_id=instance_id or None,
            version=version or BASE_VERSION,
            is_temporary=is_temp,
        )

    def get_code_modules_list(self) -> list[str]:
        """Return the names of the code modules; those in packages are dotted: ``package.module``."""
        return self._reader.module_names()

    def get_code_module_str(self, module_name: str) -> str:
        """Return the text of a code module; of a package, that of its ``__init__.py``.

        Raises TVArgumentError, with the nearest name, if there is none of that name.
        """
        return self._reader.module_text(module_name)

    def get_artifact_folder(
        self, table_name: str, instance_id: str = "", version: str = BASE_VERSION, is_temp: bool = True
    ) -> str:
        """Return the folder with the artifacts of a temporary instance, or with ``is_temp=False`` of the newest one.

        It is always the instance's own, in which nothing changes once it is materialized, whether or not the table has
        ``allow_multiple_artifacts``. Which instance is meant is said as in ``get_builders_list``: ``instance_id`` wins
        over ``version`` and ``is_temp``. Raises TVArgumentError if there is no such instance.
        """
        folder = self._reader.artifact_folder(
            table_name, instance_id=instance_id or None, version=version or BASE_VERSION, is_temporary=is_temp
        )
        return os.fspath(folder)

    def get_file_tree(
        self,
        instance_id: str = "",
        table_name: str = "",
        code_files: bool = True,
        builder_files: bool = True,
        metadata_files: bool = False,
        artifact_files: bool = False,
    ) -> Tree:
        """Return the files of the vault, a table or an instance as a ``rich.tree.Tree`` that can be printed.

        Frames, manifests and descriptions are always among them, hidden files never. ``code_files`` are the code
        modules, and the code that is kept with each instance; ``builder_files`` the builders of all instances;
        ``artifact_files`` the artifacts of instances and tables; ``metadata_files`` what is in ``metadata/``: the
        catalog, processes, and the trash. Raises TVArgumentError for a table or an instance that isn't there.
        """
        from tablevault_like import tree

        folder = self._reader.folder(table=table_name or None, instance_id=instance_id or None)
        return tree.file_tree(
            folder, code=code_files, builders=builder_files, metadata=metadata_files, artifacts=artifact_files
        )


def _opened(db_dir: str, author: str, is_verbose: bool, parent_id: str | None, lock_timeout: float) -> TableVault:
    return TableVault(db_dir, author, verbose=is_verbose, parent_id=parent_id, lock_timeout=lock_timeout)


def _on_change(text: str) -> OnChange:
    try:
        return OnChange(text)
    except ValueError:
        allowed = ", ".join(repr(str(choice)) for choice in OnChange)
        raise TVArgumentError(f"on_change={text!r} is not known. Use one of {allowed}.") from None
