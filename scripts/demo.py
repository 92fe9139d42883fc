"""Show what becomes of work that is interrupted: killed, failed, restarted, or stopped.

Builds tables of the documentation topics that come with Python, with the builder files of ``builders_examples/topics``.
What is shown as code is the code that runs. Every line that starts with ``->`` is checked: the exit status is not zero
if one of them isn't true.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import importlib.util
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from tablevault_like import TableVault

CHECKOUT = Path(__file__).resolve().parent.parent
EXAMPLES = CHECKOUT / "builders_examples" / "topics"
COLUMN_BUILDERS = {path.stem for path in (EXAMPLES / "analysis").glob("*.yaml")} - {"analysis_index"}
PATIENCE = 30.0  # seconds to wait for a worker


def main() -> None:
    """Run the demo in a temporary folder, or with ``--keep`` in one that stays."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument(
        "--keep", metavar="DIR", type=Path, help="make the vault in this new folder, and leave it there"
    )
    options.add_argument("--work", nargs=2, metavar=("VAULT", "PROCESS_ID"), help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.work:
        work(*chosen.work)
        return
    if importlib.util.find_spec("pydoc_data.topics") is None:
        sys.exit(
            "This Python lacks pydoc_data.topics. Name one with its whole standard library: PYTHON=/path/to/python3"
        )
    # However the demo ends, it ends its workers and removes its folder first.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with folder(chosen.keep) as place:
        os.chdir(CHECKOUT)
        demo = Demo(place)
        demo.run()
        if chosen.keep:
            demo.tell(f"The vault stays in {demo.vault_dir}.")


def work(vault: str, process_id: str) -> None:
    """Execute ``analysis`` in a worker of its own, which doesn't outlive the demo."""

    def follow() -> None:
        sys.stdin.read()  # ends when the demo does
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=follow, daemon=True).start()
    TableVault(vault, "demo").execute_instance("analysis", process_id=process_id or None)


@contextlib.contextmanager
def folder(keep: Path | None) -> Iterator[Path]:
    """Give a folder to work in: a temporary one, unless it is to be kept."""
    if keep is None:
        with tempfile.TemporaryDirectory(prefix="tablevault-demo-") as temporary:
            yield Path(temporary)
        return
    keep = keep.absolute()
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        sys.exit(f"{keep} is not an empty folder. Name a new one.")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep


class Narrator:
    """Prints a story for people: sections, text, code, what it gives, and claims that are checked."""

    WIDTH = 100

    def __init__(self) -> None:
        self._sections = 0
        self._last = "heading"

    def section(self, title: str) -> None:
        self._sections += 1
        heading = f"{self._sections}. {title}"
        self._print("heading", f"\n{heading}\n{'=' * len(heading)}")

    def tell(self, text: str) -> None:
        self._print("text", textwrap.fill(text, self.WIDTH))

    def code(self, text: str, *, prompt: str = ">>> ") -> None:
        self._print("code", textwrap.indent(text, f"    {prompt}"))

    def output(self, text: str) -> None:
        self._print("output", textwrap.indent(text, "    "))

    def claim(self, text: str, is_true: bool) -> None:
        """Print what is claimed, or end the demo if it isn't true."""
        if not is_true:
            raise self.refuted(text)
        self._print("claim", f"    -> {text}")

    def refuted(self, text: str) -> SystemExit:
        return SystemExit(f"\nThis should be true, but isn't: {text}")

    def _print(self, kind: str, text: str) -> None:
        if kind != self._last or kind in ("heading", "text"):
            print()
        print(text, flush=True)
        self._last = kind


class Demo(Narrator):
    """The story, section by section."""

    def __init__(self, place: Path) -> None:
        super().__init__()
        self.vault_dir = place / "vault"
        self.service = Service(place / "service")
        self.names: dict[str, Any] = {"TableVault": TableVault, "folder": str(self.vault_dir)}
        self.rows = 0
        self.has_explained_repeats = False

    def run(self) -> None:
        self.tell(
            "A vault keeps tables that slow and costly functions make, row by row. Here each call of such a function "
            "takes 20 ms and is noted in a file, so that one can see what becomes of it when the work is interrupted."
        )
        self.build()
        self.kill_and_resume()
        self.fail_and_revert()
        self.kill_and_restart()
        self.fail_and_keep()
        self.show_tables()

    def build(self) -> None:
        self.section("A vault with two tables")
        self.do("""
            vault = TableVault(folder, "demo", create=True)
            vault.create_code_module(copy_dir="builders_examples/topics/code_functions")
            vault.create_table("documents")
            vault.create_instance("documents")
            vault.create_builder_file("documents", copy_dir="builders_examples/topics/documents")
            vault.execute_instance("documents")
        """)
        documents = self.vault.get_dataframe("documents")
        self.rows = len(documents)
        self.claim(f"{self.rows} documents, {documents['text'].str.len().sum():,} characters", self.rows > 50)

        self.tell(
            "The table analysis has a row for each document, and four builders that fill its columns: keywords and "
            "sizes look up the text in documents, pace reads the columns of sizes, note writes a file for each row. "
            "First without any disturbance:"
        )
        self.do("""
            vault.create_table("analysis")
            vault.create_instance("analysis", "undisturbed")
            vault.create_builder_file("analysis", version="undisturbed", copy_dir="builders_examples/topics/analysis")
        """)
        started = time.monotonic()
        process_id = self.do('vault.execute_instance("analysis", "undisturbed")')
        seconds = time.monotonic() - started
        calls = self.service.calls(process_id)
        self.claim(
            f"{self.results} results ({self.rows} in each of 4 builders), {calls.total()} calls, {seconds:.1f} s",
            len(calls) == calls.total() == self.results,
        )

    def kill_and_resume(self) -> None:
        self.section("The worker is killed; the same process id goes on")
        self.prepare()
        in_flight = self.kill_worker('vault.execute_instance("analysis", process_id="nightly")', process_id="nightly")
        self.ps()
        record = self.vault.get_process("nightly")
        self.claim(
            "the process keeps its locks, although its worker is dead", not record.is_alive and bool(record.locks)
        )

        self.tell("The same call with the same id goes on:")
        self.do('vault.execute_instance("analysis", process_id="nightly")')
        self.claim_calls("nightly", in_flight)
        self.claim_same_as_undisturbed()

    def fail_and_revert(self) -> None:
        self.section("A function fails, and no process id was given: all is reverted")
        self.prepare()
        instances = self.vault.get_table_instances("analysis", include_temp=True)
        before = snapshot(self.vault_dir)
        self.tell("The service that the functions call goes down half-way.")
        self.fail('vault.execute_instance("analysis")')
        after = snapshot(self.vault_dir)
        new = after.items() - before.items()
        self.claim("no process is left, and no lock", not self.vault.get_active_processes())
        self.claim(
            "the instances are what they were",
            self.vault.get_table_instances("analysis", include_temp=True) == instances,
        )
        self.claim(
            "so are the files; one is new, by which one can see how far it came",
            before.items() <= after.items() and {name for name, _ in new} == {"analysis/TEMP_base/table.parquet"},
        )
        counts = self.do('vault.get_dataframe("analysis", "TEMP_base").count()')
        self.output(counts.to_frame().T.to_string(index=False))

    def kill_and_restart(self) -> None:
        self.section("The worker is killed; the vault is opened with restart=True")
        self.service.mark()
        in_flight = self.kill_worker('vault.execute_instance("analysis")', process_id=None)
        (process_id,) = self.vault.get_active_processes()
        restarted = self.do("""
            vault = TableVault(folder, "demo", restart=True)
            vault.restarted
        """)
        self.output("\n".join(f"{name}: {outcome}" for name, outcome in restarted.items()))
        self.claim("the one process whose worker was dead went on", [*restarted] == [process_id])
        self.claim_calls(process_id, in_flight)
        self.claim_same_as_undisturbed()

    def fail_and_keep(self) -> None:
        self.section("A function fails, and what is done is kept")
        self.prepare()
        self.tell("The service goes down again, and this time there is a process id.")
        self.fail('vault.execute_instance("analysis", process_id="weekly")')
        self.ps()
        self.claim(
            "the process is paused: the same call would go on", self.vault.get_process("weekly").status == "paused"
        )

        self.tell("Instead, let us stop it, and take what is done:")
        self.do('vault.stop_process("weekly", materialize=True)')
        frame = self.vault.get_dataframe("analysis")
        partial = frame.attrs["instance_id"]
        missing = int(frame[["keywords", "words", "pace", "note"]].isna().sum().sum())
        self.claim(
            f"a partial instance with {self.results - missing} of {self.results} results",
            0 < missing < self.results and missing == self.results - self.service.new_calls(),
        )
        self.claim("its success is false", self.vault.get_descriptions(partial, "analysis")["success"] is False)
        complete = self.vault.get_dataframe("analysis", successful_only=True)
        self.claim("with successful_only=True one gets the instance before it", not complete["note"].isna().any())

    def show_tables(self) -> None:
        self.section("The tables")
        lines = []
        for table in self.vault.get_table_instances():
            for instance in self.vault.get_table_instances(table, include_temp=True):
                found = self.vault.get_descriptions(instance, table)
                success = "" if found["success"] else "   partial"
                lines.append(f"{table:<9}  {instance:<59}  {found['rows']} rows{success}")
        self.output("\n".join(lines))
        frame = self.do('vault.get_dataframe("analysis", successful_only=True, full_artifact_path=False)')
        with pd.option_context("display.width", self.WIDTH, "display.max_columns", None):
            self.output(str(frame.head(6)))
        note = Path(self.vault.get_dataframe("analysis", successful_only=True)["note"].iloc[0])
        self.tell(f"The file that its first row names, {note.name}:")
        self.output(note.read_text().strip())

    # What the sections are made of

    @property
    def vault(self) -> TableVault:
        found: TableVault = self.names["vault"]
        return found

    @property
    def results(self) -> int:
        """How many results there are: one for each ColumnBuilder and row."""
        return len(COLUMN_BUILDERS) * self.rows

    @property
    def halfway(self) -> int:
        """The call at which something happens: about half-way, in the middle of the second builder."""
        return self.rows * 7 // 4

    def prepare(self) -> None:
        """Make a new temporary instance of ``analysis``, with its builders."""
        self.vault.create_instance("analysis")
        self.vault.create_builder_file("analysis", copy_dir="builders_examples/topics/analysis")
        self.service.mark()

    def do(self, code: str) -> Any:
        """Show statements, a line each, run them, and return the value of the last."""
        text = textwrap.dedent(code).strip()
        self.code(text)
        *statements, last = text.splitlines()
        exec("\n".join(statements), self.names)
        return eval(last, self.names)

    def fail(self, code: str) -> None:
        """Run a statement during which the service goes down."""
        with self.service.down_after(self.halfway):
            try:
                self.do(code)
            except ConnectionError as error:
                self.output(f"ConnectionError: {error}")
            else:
                raise self.refuted("what the function raises is raised again")

    def kill_worker(self, code: str, *, process_id: str | None) -> set[str]:
        """Let a worker execute ``analysis``, kill it half-way, and return the row keys of the calls that are lost."""
        command = [sys.executable, __file__, "--work", str(self.vault_dir), process_id or ""]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as worker:
            try:
                self.tell(f"Another Python, with the pid {worker.pid}, executes the same builders:")
                self.code(code)
                self.wait_for_calls(self.halfway, worker)
                self.code(f"kill -KILL {worker.pid}", prompt="$ ")
            finally:
                worker.kill()
        process_id = process_id or next(iter(self.vault.get_active_processes()))
        recorded, calls = self.recorded(process_id), self.service.calls(process_id)
        lost = calls.keys() - recorded
        self.claim(
            f"{calls.total()} calls had begun, {len(recorded)} results are recorded, {len(lost)} died with the worker",
            len(lost) < len(recorded) < self.results,
        )
        return lost

    def wait_for_calls(self, number: int, worker: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + PATIENCE
        while self.service.new_calls() < number:
            if worker.poll() is not None or time.monotonic() > deadline:
                raise self.refuted(f"the worker makes {number} calls")
            time.sleep(0.005)

    def recorded(self, process_id: str) -> set[str]:
        """Return the row keys of the results that are recorded. Any SQLite tool can read them."""
        path = self.vault_dir / "metadata" / "processes" / process_id / "rows.sqlite"
        with contextlib.closing(sqlite3.connect(path)) as connection:
            found = connection.execute("SELECT builder, row FROM results WHERE status = 'done'").fetchall()
        return {f"{process_id}:{builder}:{row}" for builder, row in found if builder in COLUMN_BUILDERS}

    def claim_calls(self, process_id: str, in_flight: set[str]) -> None:
        calls = self.service.calls(process_id)
        times = Counter(calls.values())
        repeated = {key for key, number in calls.items() if number > 1}
        self.claim(
            f"{len(calls)} rows ({self.rows} in each of 4 builders): {times[1]} called once, {times[2]} called twice",
            len(calls) == times[1] + times[2] == self.results and repeated == in_flight,
        )
        if in_flight and not self.has_explained_repeats:
            self.has_explained_repeats = True
            self.tell(
                "Called twice were those whose result wasn't recorded yet when the worker died: it was inside their "
                "function, or had left it in the last milliseconds. A service can tell such a call by its row key, "
                "which builders pass as ~ROW_KEY~."
            )

    def claim_same_as_undisturbed(self) -> None:
        frames = [self.vault.get_dataframe("analysis", version=version) for version in ("base", "undisturbed")]
        notes = [[Path(path).read_text() for path in frame.pop("note")] for frame in frames]
        self.claim(
            "the table, and every file that it names, equal those of the undisturbed run",
            frames[0].equals(frames[1]) and notes[0] == notes[1],
        )

    def ps(self) -> None:
        """Show what ``tvl ps`` says."""
        self.code("tvl ps", prompt="$ ")
        command = [sys.executable, "-m", "tablevault_like", "--db-dir", str(self.vault_dir), "ps"]
        environment = {**os.environ, "COLUMNS": str(self.WIDTH - 4), "NO_COLOR": "1"}
        outcome = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
        if outcome.returncode != 0:
            raise self.refuted("tvl ps works")
        self.output(outcome.stdout.rstrip())


class Service:
    """The folder in which the demo and the functions of ``service.py`` know of each other."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._calls = folder / "calls"
        self._calls.touch()
        self._limit = folder / "down_after"
        self._marked = 0
        os.environ["DEMO_SERVICE"] = str(folder)

    def calls(self, process_id: str) -> Counter[str]:
        """Return how often each row key of a process was called: ``<process id>:<builder>:<row>``."""
        return Counter(key for key in self._all() if key.startswith(f"{process_id}:"))

    def mark(self) -> None:
        """Count new calls from here."""
        self._marked = len(self._all())

    def new_calls(self) -> int:
        return len(self._all()) - self._marked

    @contextlib.contextmanager
    def down_after(self, calls: int) -> Iterator[None]:
        """Be down once so many new calls were made."""
        self._limit.write_text(str(self._marked + calls))
        try:
            yield
        finally:
            self._limit.unlink()

    def _all(self) -> list[str]:
        return self._calls.read_text().splitlines()


def snapshot(vault_dir: Path) -> dict[str, str]:
    """Return a digest of every file of a vault, by its path. The catalog keeps the history, so it is left out."""
    paths = (path for path in vault_dir.rglob("*") if path.is_file() and not path.name.startswith("catalog.sqlite"))
    return {path.relative_to(vault_dir).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


if __name__ == "__main__":
    main()
