"""Forks while the catalog is used: neither the parent nor the child loses or disturbs anything.

They happen in interpreters of their own: one that has threads, as that of the tests, had better not fork.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tablevault_like.catalog import Catalog, vaults

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 50.0
"""How many seconds a script may take before a test fails. On a busy disk a commit takes one, and none waits."""

TOOLS = """
import os, sys, threading
from pathlib import Path
from tablevault_like.catalog import Catalog, catalog as module, forks, vaults
from tablevault_like.errors import TVFileError

catalog = Catalog(Path(sys.argv[1]))
module.BUSY_SECONDS = 10.0
is_open, may_commit = threading.Event(), threading.Event()

def write(**fields):
    with catalog.transaction() as db:
        vaults.write(db, fields)

def write_slowly():
    with catalog.transaction() as db:
        vaults.write(db, {"before": "1"})
        is_open.set()
        may_commit.wait()
        vaults.write(db, {"after": "1"})

def read_slowly():
    with catalog.snapshot() as db:
        vaults.read(db)
        is_open.set()
        may_commit.wait()

def start(task):
    thread = threading.Thread(target=task)
    thread.start()
    is_open.wait()
    return thread

def is_child():
    pid = os.fork()
    if pid:
        status = os.waitpid(pid, 0)[1]
        assert status == 0, f"the child ended with {status}"
    return not pid
"""


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    found = Catalog.create(tmp_path / "catalog.sqlite")
    yield found
    found.close()


def run(script: str, catalog: Catalog) -> dict[str, str]:
    """Run a script in an interpreter of its own, and return what is in the catalog then."""
    found = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TOOLS + script, str(catalog.path)],
        cwd=ROOT,
        timeout=PATIENCE,
        capture_output=True,
        text=True,
    )
    assert (found.returncode, found.stderr) == (0, "")
    assert catalog.integrity_errors() == []
    with catalog.snapshot() as db:
        return vaults.read(db)


def test_a_child_has_a_connection_of_its_own(catalog: Catalog) -> None:
    script = """
write(parent="1")
if is_child():
    write(child="1")
    sys.exit(0)  # as any interpreter ends: it closes what it has
write(after="1")
"""
    assert run(script, catalog) == dict.fromkeys(["parent", "child", "after"], "1")


@pytest.mark.parametrize("task", ["write_slowly", "read_slowly"])
def test_a_fork_waits_until_no_other_thread_is_in_a_transaction(catalog: Catalog, task: str) -> None:
    """Otherwise the child would take the locks that its parent has on the file for its own."""
    script = f"""
# What is registered last is called first: the thread goes on only when the fork has begun.
os.register_at_fork(before=may_commit.set)
thread = start({task})
if is_child():
    write(child="1")
    sys.exit(0)
thread.join()
"""
    assert run(script, catalog) == dict.fromkeys(
        ["before", "after", "child"] if task == "write_slowly" else ["child"], "1"
    )


def test_a_transaction_waits_for_a_fork_that_has_begun(catalog: Catalog) -> None:
    """Unless its thread is in another one, for whose end the fork waits."""
    script = """
other = Catalog.create(catalog.path.with_name("other.sqlite"))
ends = []

def nest():
    with other.transaction():
        is_open.set()
        may_commit.wait()
        write(nested="1")

def begin():
    with catalog.transaction() as db:
        ends.append("transaction")

def fork():
    if is_child():
        sys.exit(0)
    ends.append("fork")

outer = start(nest)
late = threading.Thread(target=begin)

def let_go():
    late.start()
    may_commit.set()

# After the gate has closed, before it waits: the threads come when the fork has begun.
close = forks._gate.close
wait_for = forks._gate._changed.wait_for
def watched(*arguments):
    threading.Thread(target=let_go).start()
    return wait_for(*arguments)
forks._gate._changed.wait_for = watched
os.register_at_fork(after_in_parent=lambda: ends.append("forked"))
fork()
outer.join()
late.join()
assert ends[0] == "forked", ends
assert "transaction" in ends
"""
    assert run(script, catalog) == {"nested": "1"}


def test_a_fork_in_the_middle_of_a_transaction_leaves_it_alone_and_the_child_is_told(catalog: Catalog) -> None:
    script = """
forks.PATIENCE = 0.01
thread = start(write_slowly)
if is_child():
    for use in (write, catalog.integrity_errors):
        try:
            use()
        except TVFileError as error:
            assert "was forked while its parent" in str(error)
        else:
            raise AssertionError("the child used it")
    other = Catalog.create(catalog.path.with_name("other.sqlite"))
    with other.transaction() as db:
        vaults.write(db, {"child": "1"})
    sys.exit(0)
may_commit.set()
thread.join()
"""
    assert run(script, catalog) == dict.fromkeys(["before", "after"], "1")


def test_a_transaction_that_was_left_open_by_an_interrupt_holds_up_no_fork_once_it_is_recovered(
    catalog: Catalog,
) -> None:
    script = """
def leave_open():
    left = catalog.transaction()
    left.__enter__()
    catalog.recover()
    is_open.set()
    may_commit.wait()
    del left

thread = start(leave_open)
if is_child():
    write(child="1")
    sys.exit(0)
may_commit.set()
thread.join()
"""
    assert run(script, catalog) == {"child": "1"}
