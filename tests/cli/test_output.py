from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest

from tablevault_like.cli import output
from tablevault_like.cli.output import ClosedOutput, Facts, Listing, Output, Verbatim, note, visible
from tablevault_like.errors import TVFileError
from tablevault_like.model import State

CHECKOUT = Path(__file__).resolve().parents[2]
LONG = "base_1795308586_760e1d03-b33d-5de4-b0d7-cc7437aec627"
TABLE = Listing(("INSTANCE", "ROWS"), [[LONG, "3"], ["b", ("17", "red")]], right=("ROWS",))


class Stream(io.TextIOWrapper):
    """A stream that keeps what is written to it, and may be a terminal."""

    def __init__(self, *, is_terminal: bool = False, encoding: str = "utf-8") -> None:
        self.kept = io.BytesIO()
        self._is_terminal = is_terminal
        super().__init__(self.kept, encoding=encoding, errors="backslashreplace")

    def isatty(self) -> bool:
        return self._is_terminal

    @property
    def text(self) -> str:
        return self.kept.getvalue().decode(self.encoding)


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Return a stream that is no terminal."""
    monkeypatch.setenv("COLUMNS", "20")
    return Stream()


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Stream:
    """Return a stream that is a terminal, 30 columns wide."""
    monkeypatch.setenv("COLUMNS", "30")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    return Stream(is_terminal=True)


def give(shown: object, stream: Stream) -> None:
    """Print what people are to see on a stream."""
    with redirect_stdout(stream):
        Output().give(None, lambda: shown)


def give_json(document: object, stream: Stream) -> None:
    with redirect_stdout(stream):
        Output(as_json=True).give(document, lambda: "never")


def test_a_table_in_a_pipe_is_neither_cut_off_nor_wrapped(pipe: Stream) -> None:
    give(TABLE, pipe)

    width = len(LONG)
    assert pipe.text == f"{'INSTANCE':{width}}  ROWS\n{LONG}     3\n{'b':{width}}    17\n"


def test_a_long_text_in_a_pipe_stays_on_its_line(pipe: Stream) -> None:
    give("word " * 100, pipe)

    assert pipe.text == ("word " * 100).strip() + "\n"


def test_a_table_that_is_too_wide_for_the_terminal_is_shown_row_by_row(terminal: Stream) -> None:
    give(TABLE, terminal)

    lines = [line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", terminal.text).splitlines()]
    assert lines[:5] == [
        f"INSTANCE  {LONG[:20]}",
        f"          {LONG[20:40]}",
        f"          {LONG[40:]}",
        "ROWS      3",
        "",
    ]
    assert lines[5:] == ["INSTANCE  b", "ROWS      17"]


def test_a_terminal_that_is_wide_enough_gets_the_table(terminal: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")

    give(TABLE, terminal)

    assert terminal.text.splitlines()[1].startswith(f"{LONG}     3")


def test_colours_are_for_terminals(terminal: Stream, monkeypatch: pytest.MonkeyPatch) -> None:
    give(Listing(("STATE",), [[("paused", "yellow")]]), terminal)
    coloured = terminal.text
    monkeypatch.setenv("NO_COLOR", "1")
    give(Listing(("STATE",), [[("paused", "yellow")]]), terminal)

    assert "\x1b[33mpaused" in coloured
    assert "\x1b[33m" not in terminal.text.removeprefix(coloured)


def test_a_pipe_gets_no_colours(pipe: Stream) -> None:
    give(Listing(("STATE",), [[("paused", "yellow")]]), pipe)

    assert pipe.text == "STATE\npaused\n"


def test_facts_leave_out_what_is_not_known(pipe: Stream) -> None:
    give(Facts([("process", "p1"), ("parent", ""), ("locks", "a\nb")]), pipe)

    assert pipe.text == "process  p1\nlocks    a\n         b\n"


def test_what_could_steer_a_terminal_is_made_visible(pipe: Stream) -> None:
    give([Listing(("A",), [["\x1b[2J\x07"]]), "b\x1b]0;title\x07", "c\td\ne"], pipe)

    assert pipe.text == "A\n\\x1b[2J\\x07\nb\\x1b]0;title\\x07\nc       d\ne\n"
    assert visible("ümläut ✓\n") == "ümläut ✓\n"


def test_a_text_is_printed_verbatim_to_a_file_and_safely_to_a_terminal(pipe: Stream) -> None:
    give(Verbatim("a  \r\n\x1b[2J"), pipe)

    assert pipe.text == "a  \r\n\x1b[2J"


def test_markup_in_data_is_only_text(pipe: Stream) -> None:
    give(["[bold]x[/bold] :smile:", Listing(("[A]",), [["[red]1[/red]"]])], pipe)

    assert pipe.text == "[bold]x[/bold] :smile:\n[A]\n[red]1[/red]\n"


def test_json_is_one_document(pipe: Stream) -> None:
    give_json({"state": State.PAUSED, "rows": (1, None), "listing": TABLE}, pipe)

    assert pipe.text.count("\n") == 1
    assert json.loads(pipe.text)["state"] == "PAUSED"
    assert json.loads(pipe.text)["rows"] == [1, None]
    assert json.loads(pipe.text)["listing"]["columns"] == ["INSTANCE", "ROWS"]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_comes_through_every_encoding(encoding: str) -> None:
    stream = Stream(encoding=encoding)

    give_json(["é ✓ \udc80"], stream)

    assert json.loads(stream.text) == ["é ✓ \udc80"]


def test_a_reader_who_left_ends_the_command_quietly() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "w") as stream:
        with pytest.raises(ClosedOutput):
            output.write("x" * 100_000, stream)

        output.write("goes nowhere", stream)


def test_an_unbuffered_stream_gets_every_character(tmp_path: Path) -> None:
    class Hesitant(io.RawIOBase):
        written = b""

        def writable(self) -> bool:
            return True

        def write(self, data: object) -> int:
            piece = bytes(data)[:3]  # type: ignore[call-overload]
            self.written += piece
            return len(piece)

    raw = Hesitant()
    output.write("abcdefgh✓", io.TextIOWrapper(raw, encoding="utf-8", write_through=True))  # type: ignore[type-var]

    assert raw.written.decode() == "abcdefgh✓"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="has no /dev/full")
def test_a_full_disk_is_told() -> None:
    with Path("/dev/full").open("w") as stream, pytest.raises(TVFileError, match="No space left"):
        output.write("x", stream)


def test_a_note_goes_to_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    note("there is no table", heading="Error:")
    note("", heading="Interrupted.")
    note("only a note")

    assert capsys.readouterr() == ("", "Error: there is no table\nInterrupted.\nonly a note\n")


OTHER_CODE = """
import os
from tablevault_like.cli.output import Output

output = Output(as_json={as_json})
with output.reserved():
    print("user code", flush=True)
    os.system("echo a program")
output.give([], lambda: "done")
"""


@pytest.mark.parametrize(
    ("as_json", "out", "err"),
    [(True, "[]\n", "user code\na program\n"), (False, "user code\na program\ndone\n", "")],
    ids=["json", "people"],
)
def test_json_is_alone_on_stdout_whatever_other_code_prints(as_json: bool, out: str, err: str) -> None:
    code = OTHER_CODE.format(as_json=as_json)

    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT, check=True)

    assert (ended.stdout, ended.stderr) == (out, err)
