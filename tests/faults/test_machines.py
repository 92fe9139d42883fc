"""One directory under two paths, for workers of two machines: the locks of the kernel hold over both.

A real second machine can't be had here; another host name can, in a namespace of its own.
"""

from __future__ import annotations

import ctypes
import json
import os
import pickle
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tablevault_like import TableVault, compress_vault
from tablevault_like.cli import app
from tablevault_like.errors import TVFileError, TVLockError, TVProcessError
from tablevault_like.layout import Layout
from tablevault_like.storage import networks
from tests import library, states
from tests.faults import tally
from tests.faults.tally import Row
from tests.workers import Action, Fault, Workers

_NEW_UTS = 0x04000000
ELSEWHERE = "elsewhere.example"


@pytest.fixture
def two_paths(copy_dir: Path, tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """Return two paths of one vault: its own, and one at which the same directory is mounted once more."""
    other = tmp_path / "mounted"
    other.mkdir()
    if os.geteuid() != 0 or shutil.which("mount") is None:
        tally.skip(Row.HOSTILE, "mounting needs root and mount")
    done = subprocess.run(["mount", "--bind", copy_dir, other], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        tally.skip(Row.HOSTILE, f"nothing can be mounted here: {done.stderr.strip()}")
    try:
        yield copy_dir, other
    finally:
        subprocess.run(["umount", "--lazy", other], check=True)


def attempt_elsewhere(vault_dir: Path, operation: str, made: str, process_id: str) -> str:
    """Attempt an operation as a worker of another machine would: under another host name."""
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.unshare(_NEW_UTS) == 0, os.strerror(ctypes.get_errno())
    socket.sethostname(ELSEWHERE)
    return library.attempt(vault_dir, operation, made, process_id)


def test_locks_are_seen_by_both_paths(two_paths: tuple[Path, Path], made: str, workers: Workers) -> None:
    one, other = two_paths
    worker = workers.start(
        attempt_elsewhere, other, "execute_instance", made, "nightly", faults=[Fault("shout cat", Action.WAIT)]
    )
    worker.arrive()
    vault = TableVault(one, "bob", lock_timeout=0.05)

    record = vault.get_process("nightly")
    assert (record.is_alive, record.status, record.host) == (True, "running", ELSEWHERE)
    with pytest.raises(TVLockError, match=f"held by process 'nightly'.*{ELSEWHERE}"):
        vault.delete_table("words")
    with pytest.raises(TVProcessError, match="A living worker is at process 'nightly'"):
        vault.execute_instance("words", process_id="nightly")
    vault.set_description("of this machine", "scores")

    worker.go()
    worker.result()
    states.assert_sound(one)
    assert TableVault(other).get_descriptions(table_name="scores")["description"] == "of this machine"


def test_the_same_pid_here_says_nothing_of_a_worker_there(
    two_paths: tuple[Path, Path], made: str, workers: Workers
) -> None:
    """A worker of another host is alive as long as the kernel says so, and is never signalled from here."""
    one, other = two_paths
    worker = workers.start(
        attempt_elsewhere, other, "execute_instance", made, "nightly", faults=[Fault("shout cat", Action.WAIT)]
    )
    worker.arrive()
    vault = TableVault(one, "bob", lock_timeout=0.05)

    assert TableVault(one, restart=True).restarted == {}
    with pytest.raises(TVProcessError, match=f"lives .pid {worker.pid} on {ELSEWHERE}.*can't be ended from here"):
        vault.stop_process("nightly", force=True)
    assert vault.get_process("nightly").is_alive

    worker.kill()
    assert not vault.get_process("nightly").is_alive
    vault.stop_process("nightly")
    states.assert_sound(one)


def test_a_worker_there_is_dead_though_its_pid_is_in_use_here(
    two_paths: tuple[Path, Path], made: str, workers: Workers
) -> None:
    one, other = two_paths
    workers.run(attempt_elsewhere, other, "execute_instance", made, "nightly", faults=[Fault("shout cat", Action.KILL)])
    lock = Layout(one).process("nightly").worker_lock
    lock.write_text(json.dumps({**json.loads(lock.read_text()), "pid": os.getpid()}))
    vault = TableVault(one, "bob", lock_timeout=0.05)

    assert vault.get_process("nightly").status == "interrupted"
    vault.execute_instance("words", process_id="nightly")
    states.assert_sound(one)


class TestOnANetwork:
    """As the mount table tells it."""

    @pytest.fixture(autouse=True)
    def _everything_is_far(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "mounts").write_text("1 0 0:1 / / rw - nfs4 server:/ rw\n")
        monkeypatch.setattr(networks, "_MOUNTS", tmp_path / "mounts")
        monkeypatch.delenv(networks.VARIABLE, raising=False)

    def test_a_vault_is_refused_unless_it_is_allowed(self, copy_dir: Path) -> None:
        with pytest.raises(TVFileError, match=r"network file system \(nfs4\).*allow_network=True"):
            TableVault(copy_dir)

        vault = TableVault(copy_dir, "ada", allow_network=True)
        vault.create_table("papers")
        assert "papers" in vault.get_table_instances()

    def test_none_is_made_there_unless_that_is_allowed(self, vault_dir: Path) -> None:
        with pytest.raises(TVFileError, match="network file system"):
            TableVault(vault_dir, "ada", create=True)
        assert not list(vault_dir.parent.glob("*vault*"))

        TableVault(vault_dir, "ada", create=True, allow_network=True)
        TableVault(vault_dir, "ada", create=True, replace=True, allow_network=True).create_table("papers")

    def test_a_pickled_vault_is_still_allowed(self, copy_dir: Path) -> None:
        again = pickle.loads(pickle.dumps(TableVault(copy_dir, "ada", allow_network=True)))

        assert again.get_table_instances() == ["words", "scores"]

    def test_the_variable_allows_all_of_it(
        self, copy_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv(networks.VARIABLE, "1")

        assert TableVault(copy_dir).get_table_instances() == ["words", "scores"]
        compress_vault(copy_dir, tmp_path / "archive")

    def test_the_command_line_has_an_option(self, copy_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(networks.VARIABLE, "0")  # so that what the option sets doesn't outlast the test

        refused = CliRunner().invoke(app, ["--db-dir", str(copy_dir), "ls"])
        allowed = CliRunner().invoke(app, ["--allow-network", "--db-dir", str(copy_dir), "ls"])

        assert refused.exit_code != 0
        assert "tvl --allow-network" in " ".join(refused.output.split())
        assert (allowed.exit_code, "words" in allowed.output) == (0, True)
