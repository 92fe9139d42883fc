"""The work that is measured: the same calls with the same files, whichever of the two libraries they are made on.

Run by the interpreter of the library's own environment, as a program::

    python workload.py LIBRARY JOB ARGUMENTS FOLDER RESULT

``LIBRARY`` is ``tablevault_like`` or ``tablevault``, ``ARGUMENTS`` are the job's, in JSON, ``FOLDER`` is where vaults
are made, and ``RESULT`` the file that the seconds are written to. Uses nothing but what the two public faces share.
"""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

FUNCTIONS = '''"""The functions that the builders of the benchmarks name."""

import os
import time

import pandas as pd


def names(count):
    return pd.DataFrame({"name": [f"name {number}" for number in range(count)]})


def shout(name):
    return name.upper()


def wait(name, seconds):
    time.sleep(seconds)
    return name.upper()


def fail_once(name, last, gate, called):
    if name == last:
        if not os.path.exists(gate):
            raise RuntimeError("the gate is closed")
        with open(called, "w") as file:
            file.write(repr(time.perf_counter()))
    return name.upper()
'''

INDEX = """
builder_type: IndexBuilder
changed_columns: [name]
primary_key: [name]
python_function: names
code_module: benchmark_functions
is_custom: true
return_type: dataframe
dtypes: {name: string}
"""

COLUMN = """
builder_type: ColumnBuilder
changed_columns: [shouted]
code_module: benchmark_functions
is_custom: true
return_type: row-wise
dtypes: {shouted: string}
"""

Vault = Any
OPERATIONS = ("create_table", "create_instance", "create_builder_file", "write_instance")


def trivial(open_vault: Callable[[Path], Vault], folder: Path, *, rows: int, repeat: int) -> list[float]:
    """Execute a table whose only ColumnBuilder calls a function that does next to nothing, in one thread."""
    return _executed(open_vault, folder, rows=rows, repeat=repeat, function="shout", threads=1)


def waiting(
    open_vault: Callable[[Path], Vault], folder: Path, *, rows: int, repeat: int, threads: int, seconds: float
) -> list[float]:
    """Execute a table whose function sleeps, as one that asks a model would, in many threads."""
    return _executed(
        open_vault, folder, rows=rows, repeat=repeat, function="wait", threads=threads, further={"seconds": seconds}
    )


def resuming(open_vault: Callable[[Path], Vault], folder: Path, *, rows: int, repeat: int) -> dict[str, list[float]]:
    """Go on with an execution of which ``rows`` rows are recorded and one, the last, is missing.

    ``reached`` is from the call until the missing row's function is called, ``whole`` until the call returns.
    """
    found: dict[str, list[float]] = {"reached": [], "whole": []}
    for is_warm, count in ((False, 10), *[(True, rows)] * repeat):
        with _vault(open_vault, folder) as (vault, place):
            gate, called = place / "gate", place / "called"
            further = {"last": f"name {count}", "gate": str(gate), "called": str(called)}
            _prepare(vault, rows=count + 1, function="fail_once", threads=1, further=further)
            execute = partial(vault.execute_instance, "table", process_id=vault.generate_process_id())
            try:
                execute()
            except RuntimeError:
                gate.touch()
            start = perf_counter()
            execute()
            end = perf_counter()
            _check(vault, rows=count + 1)
            if is_warm:
                found["whole"].append(end - start)
                found["reached"].append(float(called.read_text()) - start)
    return found


def operating(
    open_vault: Callable[[Path], Vault], folder: Path, *, samples: int, tables: int, rows: int
) -> dict[str, dict[str, list[float]]]:
    """Make tables with instances, in a vault that is new and, in turns with it, in one that holds ``tables`` tables."""
    found: dict[str, dict[str, list[float]]] = {size: {name: [] for name in OPERATIONS} for size in ("small", "large")}
    with _vault(open_vault, folder) as (small, _), _vault(open_vault, folder) as (large, _):
        _make_table(small, "warm", rows=rows)
        for number in range(tables):
            _make_table(large, f"table{number}", rows=rows)
        for number in range(samples):
            for size, vault in (("small", small), ("large", large)):
                for name, seconds in _make_table(vault, f"sample{number}", rows=rows).items():
                    found[size][name].append(seconds)
    return found


def pausing(open_vault: Callable[[Path], Vault], folder: Path) -> str:
    """Make a vault with a paused process in it, which stays, and return its folder."""
    place = folder / f"vault-{uuid.uuid4().hex}"
    vault = open_vault(place)
    vault.create_code_module("benchmark_functions", text=FUNCTIONS)
    further = {"last": "name 3", "gate": str(place / "none"), "called": ""}
    _prepare(vault, rows=4, function="fail_once", threads=1, further=further)
    try:
        vault.execute_instance("table", process_id="paused")
    except RuntimeError:
        return str(place)
    raise AssertionError("the execution was to fail")


JOBS: dict[str, Callable[..., Any]] = {job.__name__: job for job in (trivial, waiting, resuming, operating, pausing)}


def _executed(
    open_vault: Callable[[Path], Vault],
    folder: Path,
    *,
    rows: int,
    repeat: int,
    function: str,
    threads: int,
    further: Mapping[str, object] | None = None,
) -> list[float]:
    """Return what ``repeat`` executions took, each in a new vault, after a small one that loads what is loaded late."""
    found = []
    for count in (min(rows, threads * 4), *[rows] * repeat):
        with _vault(open_vault, folder) as (vault, _):
            _prepare(vault, rows=count, function=function, threads=threads, further=further or {})
            start = perf_counter()
            vault.execute_instance("table")
            found.append(perf_counter() - start)
            _check(vault, rows=count)
    return found[1:]


def _prepare(vault: Vault, *, rows: int, function: str, threads: int, further: Mapping[str, object]) -> None:
    arguments = {"name": "<<self.name[index]>>", **further}
    vault.create_table("table")
    vault.create_instance("table")
    vault.create_builder_file("table", "table_index", text=f"{INDEX}arguments: {json.dumps({'count': rows})}\n")
    vault.create_builder_file(
        "table",
        "shouted",
        text=f"{COLUMN}python_function: {function}\nn_threads: {threads}\narguments: {json.dumps(arguments)}\n",
    )


def _check(vault: Vault, *, rows: int) -> None:
    """Fail unless the instance holds what the functions made: a fast benchmark of nothing would be worth nothing."""
    found = vault.get_dataframe("table")
    frame = found[0] if isinstance(found, tuple) else found
    expected = [f"NAME {number}" for number in range(rows)]
    if frame["shouted"].tolist() != expected:
        raise AssertionError(f"the instance of {rows} rows is not what was to be made")


def _make_table(vault: Vault, name: str, *, rows: int) -> dict[str, float]:
    """Make a table with a temporary instance and a written one, and return the seconds of each operation."""
    import pandas as pd

    frame = pd.DataFrame({"number": range(rows), "text": [f"text {number}" for number in range(rows)]})
    text = f"{INDEX}arguments: {{count: 10}}\n"
    seconds = {}
    start = perf_counter()
    vault.create_table(name)
    seconds["create_table"] = perf_counter() - start
    start = perf_counter()
    vault.create_instance(name)
    seconds["create_instance"] = perf_counter() - start
    start = perf_counter()
    vault.create_builder_file(name, f"{name}_index", text=text)
    seconds["create_builder_file"] = perf_counter() - start
    vault.create_instance(name, version="written", external_edit=True)
    start = perf_counter()
    vault.write_instance(frame, name, version="written")
    seconds["write_instance"] = perf_counter() - start
    return seconds


@contextmanager
def _vault(open_vault: Callable[[Path], Vault], folder: Path) -> Iterator[tuple[Vault, Path]]:
    with tempfile.TemporaryDirectory(dir=folder) as place:
        vault = open_vault(Path(place, "vault"))
        vault.create_code_module("benchmark_functions", text=FUNCTIONS)
        yield vault, Path(place)


def main() -> None:
    library, job, arguments, folder, result = sys.argv[1:]
    # The peer keeps its class in a module of its own.
    face = importlib.import_module("tablevault.core" if library == "tablevault" else library)

    def open_vault(place: Path) -> Vault:
        return face.TableVault(str(place), "benchmark", create=True)

    found = JOBS[job](open_vault, Path(folder), **json.loads(arguments))
    Path(result).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
