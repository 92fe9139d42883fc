"""Hold README.md and docs/ to what they say: their examples run, their links lead somewhere, every command is named.

The blocks of a page run in order, in one temporary directory:

- ``python``: all blocks of a page share one namespace. A block with ``>>>`` prompts is a doctest.
- ``console``, ``bash``, ``sh``: each line that begins with ``$ `` is a command; its directory and what it exports stay
  for the next. Output that is shown below it must be what it prints, where ``...`` stands for anything; a command
  without shown output must succeed. A block without such lines is only shown.
- Other blocks are only shown, and so is one under ``<!-- no-run: WHY -->``. One under ``<!-- file: NAME -->`` is
  written to that file.
"""

from __future__ import annotations

import doctest
import importlib
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
PAGES = [page for page in [CHECKOUT / "README.md", *sorted(CHECKOUT.glob("docs/*.md"))] if page.is_file()]
NOTES = sorted(CHECKOUT.glob("docs/*/**/*.md"))
COMMANDS = ("tvl", "tablevault-like")

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[\w-]*).*")
_MARK = re.compile(r"<!-- (?P<kind>no-run|file): (?P<value>.+?) -->")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block of a page. ``line`` is that of its first line of text, counted from 1."""

    page: Path
    line: int
    language: str
    text: str
    mark: str | None
    value: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks of a page, each with the mark that stands on the last line of text before it."""
    lines = iter(enumerate(page.read_text().splitlines(), start=1))
    before = ""
    for number, line in lines:
        fence = _FENCE.fullmatch(line)
        if fence is None:
            before = line.strip() or before
            continue
        inside = []
        for _, each in lines:
            if each.strip() == fence["fence"]:
                break
            inside.append(each)
        else:
            raise ValueError(f"{page}:{number}: this block isn't closed.")
        mark = _MARK.fullmatch(before)
        text = "".join(each.removeprefix(fence["indent"]) + "\n" for each in inside)
        yield Block(page, number + 1, fence["language"], text, mark and mark["kind"], mark["value"] if mark else "")
        before = ""


class Page:
    """Runs the blocks of a page in a directory, as a reader would who follows it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "page"
        self._shell = Shell(directory)
        self._names: dict[str, object] = {"__name__": "__main__"}
        self.directory.mkdir()

    def run(self, block: Block) -> None:
        if block.mark == "file":
            path = self.directory / block.value
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif block.mark == "no-run":
            return
        elif block.language == "python":
            self._run_python(block)
        elif block.language in ("console", "bash", "sh"):
            for command, shown in commands(block.text):
                self._shell.check(command, shown=shown, place=str(block))

    def _run_python(self, block: Block) -> None:
        if ">>> " in block.text:
            test = doctest.DocTestParser().get_doctest(block.text, {}, str(block), str(block.page), block.line - 1)
            test.globs = self._names
            doctest.DebugRunner(optionflags=doctest.ELLIPSIS).run(test, clear_globs=False)
        else:
            at_its_line = "\n" * (block.line - 1) + block.text
            exec(compile(at_its_line, block.page, "exec"), self._names)


class Shell:
    """Runs commands one after the other, as one session would: the directory and what is exported stay."""

    def __init__(self, directory: Path) -> None:
        bin_directory = directory / "bin"
        bin_directory.mkdir()
        for name in COMMANDS:
            command = bin_directory / name
            command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m tablevault_like "$@"\n')
            command.chmod(0o755)
        self._state = directory / "state"
        self._state.write_text(f"cd {shlex.quote(str(directory / 'page'))}\n")
        self._environment = {
            **os.environ,
            "COLUMNS": "120",
            "HOME": str(directory),
            "NO_COLOR": "1",
            "PATH": f"{bin_directory}{os.pathsep}{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "PYTHONPATH": str(CHECKOUT),
            "TERM": "dumb",
            "TZ": "UTC",
        }

    def check(self, command: str, *, shown: str, place: str) -> None:
        state = shlex.quote(str(self._state))
        keep = f'{{ export -p; echo cd "$(printf %q "$PWD")"; }} > {state}'
        outcome = subprocess.run(
            ["bash", "-c", f"source {state}\n{command}\ncode=$?\n{keep}\nexit $code"],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        printed = stripped(outcome.stdout)
        if shown:
            is_right = re.fullmatch(pattern(stripped(shown)), printed, re.DOTALL)
            assert is_right, f"{place}: $ {command}\nprints\n{printed}\nbut is shown with\n{shown}"
        else:
            assert outcome.returncode == 0, (
                f"{place}: $ {command}\nfails with exit code {outcome.returncode}:\n{printed}"
            )


def commands(text: str) -> Iterator[tuple[str, str]]:
    r"""Yield each command of a console block, and the output that is shown below it (empty if none is).

    >>> list(commands("$ tvl ls\nstories\n$ tvl show \\\n    stories\n"))
    [('tvl ls', 'stories'), ('tvl show \\\n    stories', '')]
    """
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        lines = part.rstrip("\n").split("\n")
        length = next((number for number, line in enumerate(lines, start=1) if not line.endswith("\\")), len(lines))
        yield "\n".join(lines[:length]), "\n".join(lines[length:])


def pattern(shown: str) -> str:
    """Return the regular expression for output as it is shown: ``...`` stands for anything."""
    return ".*".join(re.escape(part) for part in shown.split("..."))


def stripped(text: str) -> str:
    """Return a text without spaces at the ends of its lines, and without empty lines around it."""
    return "\n".join(line.rstrip() for line in text.splitlines()).strip("\n")


def cli_commands() -> list[str]:
    """Return every command of the command line as one types it: ``tvl execute``."""
    if importlib.util.find_spec("tablevault_like.cli") is None:
        return []
    typer = importlib.import_module("typer")
    return sorted(_command_names("tvl", typer.main.get_command(importlib.import_module("tablevault_like.cli").app)))


def _command_names(name: str, command: object) -> Iterator[str]:
    below = getattr(command, "commands", None)
    if below is None:
        yield name
    else:
        for part, each in below.items():
            if not each.hidden:
                yield from _command_names(f"{name} {part}", each)


def run_page(page: Path, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = Page(directory)
    monkeypatch.chdir(runner.directory)
    for block in blocks(page):
        runner.run(block)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_block_does_what_the_page_says(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_page(page, tmp_path, monkeypatch)


@pytest.mark.parametrize("page", [*PAGES, *NOTES], ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    text = "".join(re.split(r"(?ms)^ *(`{3,}).*?^ *\1 *$", page.read_text())[::2])
    for target in _LINK.findall(text):
        path = target.partition("#")[0]
        if path and "://" not in path and not path.startswith("mailto:"):
            assert (page.parent / path).exists(), f"{page} links to {target}"


@pytest.mark.parametrize("command", cli_commands())
def test_every_command_is_named(command: str) -> None:
    text = "\n".join(page.read_text() for page in PAGES)

    assert re.search(rf"\b{command}\b(?!-)", text), f"No page names `{command}`."


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return a function that runs a page with this text."""

    def run(text: str) -> None:
        page = tmp_path / "page.md"
        page.write_text(text)
        run_page(page, tmp_path, monkeypatch)

    return run


SOUND = {
    "no blocks": "# A page",
    "other languages are shown": "```yaml\n{\n```\n```\n$ false\n```",
    "shell without prompts is shown": "```bash\nfalse\n```",
    "marked blocks are shown": "<!-- no-run: costs money -->\n\n```python\n1 / 0\n```",
    "python blocks share names": "```python\na = 1\n```\ntext\n```python\nassert a == 1\n```",
    "indented block": "1. First\n\n   ```python\n   if True:\n       a = 1\n   ```\n",
    "doctest": "```python\n>>> a = 1\n>>> a\n1\n```\n```python\n>>> a + 1\n2\n```",
    "a file is written": "<!-- file: a/b.txt -->\n```text\nhello\n```\n```console\n$ cat a/b.txt\nhello\n```",
    "python and shell share the directory": "```python\nopen('x', 'w').close()\n```\n```console\n$ ls\nx\n```",
    "directory and exports stay": "```console\n$ mkdir 'a b'\n$ cd a* && export X=1\n$ echo $X ${PWD##*/}\n1 a b\n```",
    "shown failure": "```console\n$ echo no; exit 3\nno\n```",
    "wildcard": "```console\n$ printf 'one 17 s\\n2\\n3\\nfour\\n'\none ... s\n...\nfour\n```",
    "longer command": "```console\n$ echo one \\\n    two\none two\n```",
}

UNSOUND = {
    "python fails": "```python\n1 / 0\n```",
    "python asserts": "```python\nassert 1 == 2\n```",
    "doctest differs": "```python\n>>> 1 + 1\n3\n```",
    "output differs": "```console\n$ echo one\ntwo\n```",
    "output goes on": "```console\n$ printf 'one\\ntwo\\n'\none\n```",
    "output lacks": "```console\n$ echo one\none\ntwo\n```",
    "command fails": "```console\n$ false\n```",
    "unknown command": "```console\n$ no-such-command\n```",
    "open block": "```python\n1",
}


@pytest.mark.parametrize("text", SOUND.values(), ids=SOUND)
def test_a_sound_page_passes(run: Callable[[str], None], text: str) -> None:
    run(text)


@pytest.mark.parametrize("text", UNSOUND.values(), ids=UNSOUND)
def test_an_unsound_page_fails(run: Callable[[str], None], text: str) -> None:
    with pytest.raises((ArithmeticError, AssertionError, ValueError, doctest.DocTestFailure)):
        run(text)


def test_an_error_names_the_line_of_the_page(run: Callable[[str], None], tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        run("# A page\n\n```python\na = 1\na / 0\n```")

    place = caught.traceback[-1]
    assert (Path(place.path), place.lineno + 1) == (tmp_path / "page.md", 5)
