from __future__ import annotations

import io
import logging
import sys
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from pathlib import Path
from types import ModuleType, SimpleNamespace
from xml.etree import ElementTree

import pytest
from rich.console import Console

from tablevault_like import TableVault, displays
from tablevault_like.displays import BarDisplay, LineDisplay, NotebookDisplay, display
from tablevault_like.model import Progress
from tests.tables import begin, column, index
from tests.workers import wait_until


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Terminal:
    """A terminal of 120 columns, of which one sees what it was last drawn with."""

    def __init__(self) -> None:
        self.written = io.StringIO()
        self.console = Console(file=self.written, force_terminal=True, width=120, height=20, color_system=None)

    def __str__(self) -> str:
        return self.written.getvalue()


@pytest.fixture
def terminal() -> Terminal:
    return Terminal()


class TestLines:
    @pytest.fixture
    def lines(self) -> list[str]:
        return []

    def test_come_every_few_seconds(self, clock: Clock, lines: list[str]) -> None:
        shown = LineDisplay("words", lines.append, clock=clock)
        for done in range(0, 101, 10):
            shown.show("loud", Progress(done, 0, 1000))
            clock.now += 1

        assert lines == [
            "words: loud: 50 of 1000 rows, 10 rows/s, 1 min 35 s left",
            "words: loud: 100 of 1000 rows, 10 rows/s, 1 min 30 s left",
        ]

    def test_tell_the_end_of_a_step_of_which_they_have_told(self, clock: Clock, lines: list[str]) -> None:
        shown = LineDisplay("words", lines.append, clock=clock)
        for step, seconds in (("short", 1.0), ("long", 6.0)):
            shown.show(step, Progress(0, 0, 3))
            clock.now += seconds
            shown.show(step, Progress(2, 0, 3))
            shown.show(step, Progress(3, 0, 3), is_done=True)

        assert [line.partition(" rows")[0] for line in lines] == ["words: long: 2 of 3", "words: long: 3 of 3"]

    def test_count_only_what_was_made_for_the_rate(self, clock: Clock, lines: list[str]) -> None:
        shown = LineDisplay("words", lines.append, clock=clock)
        shown.show("loud", Progress(500, 0, 1000, reused=400))  # of which 100 were made by an earlier worker
        clock.now += 5
        shown.show("loud", Progress(510, 0, 1000, reused=400))

        assert lines == ["words: loud: 510 of 1000 rows, 400 reused, 2 rows/s, 4 min 5 s left"]

    def test_tell_what_went_wrong_and_what_it_cost(self, clock: Clock, lines: list[str]) -> None:
        shown = LineDisplay("words", lines.append, clock=clock)
        clock.now += 5
        shown.show("loud", Progress(7, 2, None, skipped=1, cost=0.125))

        assert lines == ["words: loud: 7 rows, 2 failed, 1 left empty, cost 0.125"]

    def test_tell_slow_rates_by_the_minute(self, clock: Clock, lines: list[str]) -> None:
        shown = LineDisplay("words", lines.append, clock=clock)
        shown.show("loud", Progress(0, 0, 10))
        clock.now += 30
        shown.show("loud", Progress(1, 0, 10))

        assert lines == ["words: loud: 1 of 10 rows, 2 rows/min, 4 min 30 s left"]


class TestBars:
    @pytest.fixture
    def shown(self, terminal: Terminal, clock: Clock) -> Iterator[BarDisplay]:
        shown = BarDisplay("words", console=terminal.console, clock=clock)
        yield shown
        shown.close()

    def test_show_every_step_with_what_is_known_of_it(
        self, shown: BarDisplay, clock: Clock, terminal: Terminal
    ) -> None:
        shown.show("words_index", Progress(0, 0, None))
        shown.show("words_index", Progress(200, 0, 200), is_done=True)
        shown.show("loud", Progress(50, 0, 200, reused=50))
        clock.now += 10
        shown.show("loud", Progress(150, 1, 200, reused=50))
        shown.close()

        said = str(terminal)
        assert "words: words_index" in said
        assert "200/200" in said
        assert "150/200 50 reused, 1 failed, 10.1 rows/s, 5 s left" in said

    def test_show_nothing_of_what_is_over_in_a_moment(
        self, shown: BarDisplay, clock: Clock, terminal: Terminal
    ) -> None:
        shown.show("loud", Progress(0, 0, 3))
        clock.now += 0.1
        shown.show("loud", Progress(3, 0, 3), is_done=True)
        shown.close()

        assert str(terminal) == ""

    def test_are_those_of_one_run_at_a_time(
        self, shown: BarDisplay, clock: Clock, terminal: Terminal, caplog: pytest.LogCaptureFixture
    ) -> None:
        other = BarDisplay("papers", console=terminal.console, clock=clock)
        clock.now += 1
        shown.show("loud", Progress(1, 0, 3))
        with caplog.at_level(logging.INFO, "tablevault_like"):
            other.show("title", Progress(0, 0, 3))
            clock.now += 6
            other.show("title", Progress(2, 0, 3))
            other.close()
        shown.close()

        assert "title" not in str(terminal)
        assert "papers: title: 2 of 3 rows" in caplog.text
        third = BarDisplay("pages", console=terminal.console, clock=clock)
        clock.now += 1
        third.show("text", Progress(1, 0, 3))
        third.close()
        assert "pages: text" in str(terminal)

    def test_give_back_the_terminal_twice_without_harm(self, shown: BarDisplay, clock: Clock) -> None:
        clock.now += 1
        shown.show("loud", Progress(1, 0, 3))

        shown.close()
        shown.close()

        assert displays._showing.acquire(blocking=False)
        displays._showing.release()


class Cell:
    """What stands below a cell of a notebook: each thing by its id, in the newest form."""

    def __init__(self) -> None:
        self.forms: list[dict[str, str]] = []
        self.messages = 0
        self.before: Callable[[], None] = lambda: None
        """Called before anything is shown."""

    def display(self, forms: dict[str, str], *, raw: bool, display_id: bool) -> Handle:
        self.before()
        assert raw
        assert display_id is True
        self.forms.append(forms)
        self.messages += 1
        return Handle(self, len(self.forms) - 1)


class Handle:
    def __init__(self, cell: Cell, place: int) -> None:
        self._cell = cell
        self._place = place

    def update(self, forms: dict[str, str], *, raw: bool) -> None:
        assert raw
        self._cell.forms[self._place] = forms
        self._cell.messages += 1


@pytest.fixture
def cell(monkeypatch: pytest.MonkeyPatch) -> Cell:
    """Make this interpreter the kernel of a notebook, as far as IPython's public functions tell."""
    cell = Cell()
    shell = SimpleNamespace(kernel=object())
    ipython, public = ModuleType("IPython"), ModuleType("IPython.display")
    monkeypatch.setattr(ipython, "get_ipython", lambda: shell, raising=False)
    monkeypatch.setattr(public, "display", cell.display, raising=False)
    monkeypatch.setitem(sys.modules, "IPython", ipython)
    monkeypatch.setitem(sys.modules, "IPython.display", public)
    return cell


class TestNotebooks:
    @pytest.fixture
    def shown(self, cell: Cell, clock: Clock) -> NotebookDisplay:
        return NotebookDisplay("words", clock=clock)

    def test_show_every_step_in_one_place(self, shown: NotebookDisplay, cell: Cell, clock: Clock) -> None:
        shown.show("words_index", Progress(200, 0, 200), is_done=True)
        shown.show("loud", Progress(50, 0, 200, reused=50))
        clock.now += 10
        shown.show("loud", Progress(150, 1, 200, reused=50))

        (forms,) = cell.forms
        assert forms["text/plain"].splitlines() == [
            "words: words_index: 200 of 200 rows",
            "words: loud: 150 of 200 rows, 50 reused, 1 failed, 10.1 rows/s, 5 s left",
        ]
        rows = rows_of(forms["text/html"])
        assert rows == [
            ["words: words_index", {"value": "200", "max": "200"}, "200/200", ""],
            [
                *("words: loud", {"value": "150", "max": "200"}, "150/200"),
                "50 reused, 1 failed, 10.1 rows/s, 5 s left",
            ],
        ]

    def test_show_nothing_of_what_is_over_in_a_moment(self, shown: NotebookDisplay, cell: Cell, clock: Clock) -> None:
        shown.show("loud", Progress(0, 0, 3))
        clock.now += 0.1
        shown.show("loud", Progress(3, 0, 3), is_done=True)
        shown.close()

        assert cell.forms == []

    def test_are_told_a_few_times_a_second_and_once_at_the_end(
        self, shown: NotebookDisplay, cell: Cell, clock: Clock
    ) -> None:
        for done in range(1, 1_001):
            clock.now += 0.001
            shown.show("loud", Progress(done, 0, 2_000))
        assert 2 <= cell.messages <= 4

        shown.close()
        shown.close()

        assert cell.forms[0]["text/plain"] == "words: loud: 1000 of 2000 rows"  # and no rate: it isn't going on
        assert cell.messages <= 5

    def test_of_several_runs_stand_below_each_other(self, shown: NotebookDisplay, cell: Cell, clock: Clock) -> None:
        other = NotebookDisplay("papers", clock=clock)
        clock.now += 1
        shown.show("loud", Progress(1, 0, 3))
        other.show("title", Progress(2, 0, 3))

        assert [each["text/plain"] for each in cell.forms] == ["words: loud: 1 of 3 rows", "papers: title: 2 of 3 rows"]

    def test_leave_the_bar_of_what_has_no_end_open(self, shown: NotebookDisplay, cell: Cell, clock: Clock) -> None:
        clock.now += 1
        shown.show("pages", Progress(7, 0, None))
        assert rows_of(cell.forms[0]["text/html"]) == [["words: pages", {}, "7", ""]]

        shown.show("pages", Progress(8, 0, None), is_done=True)
        shown.close()

        assert rows_of(cell.forms[0]["text/html"]) == [["words: pages", {"value": "8", "max": "8"}, "8/8", ""]]

    def test_fill_the_bar_of_what_has_no_rows(self, shown: NotebookDisplay, cell: Cell, clock: Clock) -> None:
        clock.now += 1
        shown.show("loud", Progress(0, 0, 0), is_done=True)

        assert rows_of(cell.forms[0]["text/html"]) == [["words: loud", {"value": "1", "max": "1"}, "0/0", ""]]

    def test_show_names_as_they_are(self, cell: Cell, clock: Clock) -> None:
        shown = NotebookDisplay("a<b>&c", clock=clock)
        clock.now += 1
        shown.show("<script>", Progress(1, 0, 3))

        ((name, *_),) = rows_of(cell.forms[0]["text/html"])
        assert name == "a<b>&c: <script>"
        assert "<script>" not in cell.forms[0]["text/html"]

    @pytest.mark.parametrize(
        ("wanted", "is_child", "kind"),
        [
            (None, False, NotebookDisplay),
            (True, False, NotebookDisplay),
            (False, False, type(None)),
            (None, True, LineDisplay),
        ],
    )
    def test_are_noticed(self, cell: Cell, wanted: bool | None, is_child: bool, kind: type[object]) -> None:
        assert type(display("words", wanted=wanted, is_child=is_child)) is kind

    @pytest.mark.parametrize("shell", [None, SimpleNamespace()], ids=["imported", "on a terminal"])
    def test_are_not_where_there_is_only_ipython(
        self, cell: Cell, monkeypatch: pytest.MonkeyPatch, shell: object
    ) -> None:
        monkeypatch.setattr("IPython.get_ipython", lambda: shell)

        assert type(display("words")) is LineDisplay


def rows_of(html: str) -> list[list[object]]:
    """Return the cells of a table: their texts, and the attributes of the bars."""
    table = ElementTree.fromstring(html)
    assert table.tag == "table"
    return [[dict(cell[0].attrib) if len(cell) else cell.text or "" for cell in row] for row in table.iterfind("tr")]


class TestWhatTakesLong:
    """Rows may take an hour: what runs is seen before the first one is done."""

    @pytest.fixture(autouse=True)
    def at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(displays, "PATIENCE", 0.02)

    def test_is_seen_on_a_terminal(self, terminal: Terminal, clock: Clock) -> None:
        shown = BarDisplay("words", console=terminal.console, clock=clock)
        shown.show("loud", Progress(0, 0, 3))

        wait_until(lambda: "0/3" in str(terminal))

        shown.show("loud", Progress(1, 0, 3))
        shown.close()
        assert "1/3" in str(terminal)

    def test_is_seen_in_a_notebook(self, cell: Cell, clock: Clock) -> None:
        cause: ContextVar[str] = ContextVar("cause", default="")
        seen: list[str] = []
        cell.before = lambda: seen.append(cause.get())
        cause.set("this cell")
        shown = NotebookDisplay("words", clock=clock)
        shown.show("loud", Progress(0, 0, 3))

        wait_until(lambda: cell.messages == 1)

        shown.close()
        assert cell.forms[0]["text/plain"] == "words: loud: 0 of 3 rows"
        assert seen == ["this cell"]

    def test_is_not_seen_after_its_end(self, cell: Cell, clock: Clock) -> None:
        shown = NotebookDisplay("words", clock=clock)
        shown.show("loud", Progress(0, 0, 3))
        late = shown._late
        assert late is not None
        shown.close()

        late.join(20)
        shown._draw_late()

        assert cell.forms == []

    def test_that_can_not_be_seen_disturbs_nothing(
        self, cell: Cell, clock: Clock, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail() -> None:
            raise OSError("the kernel is gone")

        cell.before = fail
        shown = NotebookDisplay("words", clock=clock)
        shown.show("loud", Progress(0, 0, 3))

        wait_until(lambda: "the progress of words can't be shown" in caplog.text)

        clock.now += 10
        shown.show("loud", Progress(1, 0, 3))
        shown.close()
        assert len(caplog.records) == 1


class TestWhatIsShown:
    @pytest.mark.parametrize(
        ("is_terminal", "wanted", "is_child", "kind"),
        [
            (True, None, False, BarDisplay),
            (True, True, False, BarDisplay),
            (True, False, False, type(None)),
            (True, None, True, LineDisplay),
            (False, None, False, LineDisplay),
            (False, True, False, LineDisplay),
            (False, False, False, type(None)),
        ],
    )
    def test_is_what_there_is_place_for(
        self,
        monkeypatch: pytest.MonkeyPatch,
        is_terminal: bool,
        wanted: bool | None,
        is_child: bool,
        kind: type[object],
    ) -> None:
        monkeypatch.setattr("sys.stderr.isatty", lambda: is_terminal, raising=False)

        assert type(display("words", wanted=wanted, is_child=is_child)) is kind

    def test_without_a_terminal_goes_to_stderr_if_it_is_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(displays, "INTERVAL", 0.0)
        found = display("words", wanted=True)
        assert found is not None

        found.show("loud", Progress(1, 0, 3))

        assert capsys.readouterr().err.startswith("words: loud: 1 of 3 rows")


class TestAnExecution:
    @pytest.fixture
    def vault(self, tmp_path: Path) -> TableVault:
        vault = TableVault(tmp_path / "vault", "ada", create=True)
        halve = column("half", function="halve", arguments={"n": "<<self.n[index]>>"})
        code = "def rows():\n    yield from [2, 4]\ndef halve(n):\n    return n / 2\n"
        begin(vault, "words", {"index": index("n"), "half": halve}, code=code)
        return vault

    def test_tells_how_far_it_is(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(displays, "INTERVAL", 0.0)

        vault.execute_instance("words", progress=True)

        said = capsys.readouterr().err.splitlines()
        assert "words/base: words_index: 2 of 2 rows" in said
        assert said[-1] == "words/base: half: 2 of 2 rows"

    def test_tells_nothing_where_that_is_not_wanted(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(displays, "INTERVAL", 0.0)

        vault.execute_instance("words", progress=False)

        assert capsys.readouterr() == ("", "")

    def test_goes_on_where_it_can_not_be_shown(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise OSError("no terminal any more")

        monkeypatch.setattr(LineDisplay, "show", fail)

        vault.execute_instance("words")

        assert vault.get_dataframe("words")["half"].tolist() == [1.0, 2.0]
        assert "can't be shown" in caplog.text

    def test_that_has_completed_stays_so_where_its_display_can_not_be_ended(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object) -> None:
            raise OSError("no terminal any more")

        monkeypatch.setattr(LineDisplay, "close", fail)

        vault.execute_instance("words")

        assert vault.get_dataframe("words")["half"].tolist() == [1.0, 2.0]
        assert "the progress of words/base can't be shown" in caplog.text

    def test_is_shown_in_a_notebook(
        self, vault: TableVault, cell: Cell, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(displays, "PATIENCE", 0.0)

        vault.execute_instance("words")

        (forms,) = cell.forms
        assert [cells[0] for cells in rows_of(forms["text/html"])] == ["words/base: words_index", "words/base: half"]
        assert forms["text/plain"].endswith("half: 2 of 2 rows")
        assert capsys.readouterr() == ("", "")

    def test_of_a_resume_is_shown_too(
        self, vault: TableVault, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(displays, "INTERVAL", 0.0)
        vault.execute_instance("words", process_id="p", until="words_index", progress=False)

        vault.execute_instance("words", process_id="p", progress=True)

        assert "words/base: half: 2 of 2 rows" in capsys.readouterr().err
