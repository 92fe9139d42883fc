"""A small vault, and the command line to use it with."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from typer.testing import CliRunner

from tablevault_like import TableVault
from tablevault_like.cli import app

CHECKOUT = Path(__file__).resolve().parents[2]

INDEX = """
builder_type: IndexBuilder
changed_columns: [word]
python_function: words
code_module: tools
is_custom: true
return_type: generator
"""
SHOUT = """
builder_type: ColumnBuilder
changed_columns: [shout]
python_function: shout
code_module: tools
is_custom: true
arguments: {word: "<<self.word[index]>>"}
return_type: row-wise
"""
CODE = '''
import os
import time
from pathlib import Path

from tablevault_like.process.context import current


def words():
    yield from ["ape", "bee", "cat"]


def shout(word):
    """Shout, unless a file named after the word tells to do something else."""
    print("shouting", word, flush=True)
    os.system("echo a program says something")
    if Path("fail " + word).exists():
        raise ConnectionError("nobody answers")
    if Path("wait " + word).exists():
        process = current(Path("vault").absolute())
        Path("waits").touch()
        while Path("wait " + word).exists():
            if process.stop.requested:
                Path("told").touch()
            time.sleep(0.01)
    if Path("number " + word).exists():
        return object()
    return word.upper()
'''


@dataclass(frozen=True)
class Said:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Tvl: TypeAlias = Callable[..., Said]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder, which is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    return tmp_path


@pytest.fixture
def tvl(folder: Path) -> Tvl:
    """Return what runs a command in this interpreter, as if in a pipe."""

    def run(*arguments: str, stdin: str | None = None, code: int = 0) -> Said:
        result = CliRunner().invoke(app, [str(each) for each in arguments], input=stdin, prog_name="tvl")
        said = Said(result.exit_code, result.stdout, result.stderr)
        assert said.code == code, said
        return said

    return run


@pytest.fixture
def shell(folder: Path) -> Callable[..., subprocess.Popen[str]]:
    """Return what starts a command in an interpreter of its own."""

    def start(*arguments: str, **options: Any) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "tablevault_like", *arguments],
            text=True,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT), **options.pop("env", {})},
            **{"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options},
        )

    return start


@pytest.fixture
def vault(folder: Path) -> TableVault:
    """Return a vault in the current folder, with a table ``words`` that is ready to be executed."""
    (folder / "vault").mkdir()
    vault = TableVault(folder / "vault", "ada", "Words", create=True)
    vault.create_code_module("tools", text=CODE)
    vault.create_table("words", description="Loud words")
    vault.create_instance("words", builders={"words_index": INDEX, "shout": SHOUT})
    return vault
