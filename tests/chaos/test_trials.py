"""Rehearsals of builders that survive being killed, and of such that don't."""

from __future__ import annotations

from pathlib import Path

from tablevault_like.chaos.points import STAGES, Point, Target
from tablevault_like.chaos.report import Harm, Verdict
from tests import states
from tests.chaos.conftest import Make, Rehearse, alive, call, column, committed, returned, stage

SHOUT = "def shout(name):\n    return name.upper()\n"
LOUD = column("shout", 'name: "<<self.name[index]>>"')


class TestBuildersThatSurvive:
    def test_come_out_the_same_wherever_they_are_killed(
        self, make: Make, rehearse: Rehearse, vault_dir: Path, tmp_path: Path
    ) -> None:
        vault = make(SHOUT, shout=LOUD)
        before = states.state(vault_dir)

        report = rehearse(vault, returned(1), call(6), committed(3), at_once=True)

        assert report.verdict is Verdict.SOUND
        assert report.violations == ()
        assert (report.rows, report.kills, len(report.trials)) == (4, 3, 1)
        assert [death.point for death in report.trials[0].deaths] == [
            "after call 1, before its commit",
            "before call 6",
            "after row 3 was recorded",
        ]
        index, shout = report.builders
        assert (index.calls, shout.calls) == (1, 4)
        assert index.inside == 1
        assert (index.recorded, shout.recorded) == (0, 0)
        assert states.state(vault_dir) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "vault"]
        assert alive(tmp_path) == []

    def test_come_out_the_same_when_they_are_killed_while_publishing(self, make: Make, rehearse: Rehearse) -> None:
        *before, after = STAGES
        vault = make("")

        report = rehearse(vault, *map(stage, before), at_once=True, sample=2)
        finished = rehearse(vault, stage(after), sample=2)

        assert report.is_sound
        assert finished.is_sound
        assert [death.rows_recorded for death in report.trials[0].deaths] == [2, 2, 2, 2, None]
        assert (report.kills, finished.kills) == (5, 1)
        assert report.builders[0].again == finished.builders[0].again == 0

    def test_are_killed_at_random_points_that_a_seed_repeats(self, make: Make) -> None:
        vault = make(SHOUT, shout=LOUD)

        first, second = (vault.chaos("words", sample=3, kills=2, seed=seed, progress=False) for seed in (7, 7))

        assert first.is_sound
        assert first.seed == second.seed == 7
        points = [[death.point for trial in each.trials for death in trial.deaths] for each in (first, second)]
        assert [one.split()[0] for one in points[0]] == [other.split()[0] for other in points[1]]


class TestFunctionsThatAreNeverTwiceTheSame:
    def test_are_not_judged_and_the_report_says_so(self, make: Make, rehearse: Rehearse) -> None:
        vault = make(
            "import random\ndef lot(name):\n    return random.random()\n" + SHOUT,
            lot=column("lot", 'name: "<<self.name[index]>>"'),
            shout=LOUD,
        )

        report = rehearse(vault, returned(6))

        assert report.is_sound
        assert "column lot." in report.notes[0]
        assert "shout" not in report.notes[0]


class TestFunctionsThatAreNotIdempotent:
    def test_appending_to_an_artifact_of_all_rows_is_told(self, make: Make, rehearse: Rehearse) -> None:
        code = """
from tablevault_like import checkpoint

def page(name, folder):
    checkpoint()  # the rows before this one are recorded
    with (Path(folder) / "pages.txt").open("a") as pages:
        pages.write(name)
    return "pages.txt"
"""
        arguments = ('name: "<<self.name[index]>>"', "folder: ~ARTIFACT_FOLDER~")
        vault = make(code, page=column("page", *arguments, more="dtypes: {page: artifact_string}\n"))

        report = rehearse(vault, returned(6))

        (violation,) = report.violations
        assert (violation.kind, violation.builder, violation.about) == (Harm.ARTIFACTS, "page", "pages.txt")
        assert "artifact pages.txt was changed after rows that name it were recorded" in violation.what
        assert "a function appends to it" in violation.what
        assert "~ROW_KEY~" in violation.to_do
        assert violation.trials == (1,)

    def test_appending_to_an_artifact_of_its_own_row_does_no_harm(self, make: Make, rehearse: Rehearse) -> None:
        """What a row has left that wasn't recorded is removed before its function is called again."""
        code = """
def page(name, folder):
    with (Path(folder) / f"{name}.txt").open("a") as page:
        page.write(name)
    return f"{name}.txt"
"""
        arguments = ('name: "<<self.name[index]>>"', "folder: ~ARTIFACT_FOLDER~")
        vault = make(code, page=column("page", *arguments, more="dtypes: {page: artifact_string}\n"))

        report = rehearse(vault, returned(6))

        assert report.is_sound
        assert report.builders[1].again >= 1

    def test_an_artifact_that_depends_on_earlier_calls_is_told(self, make: Make, rehearse: Rehearse) -> None:
        code = """
from tablevault_like import checkpoint

seen = []

def page(name, folder):
    checkpoint()  # the rows before this one are recorded
    seen.append(name)
    (Path(folder) / f"{name}.txt").write_text(" ".join(seen))
    return f"{name}.txt"
"""
        arguments = ('name: "<<self.name[index]>>"', "folder: ~ARTIFACT_FOLDER~")
        vault = make(code, page=column("page", *arguments, more="dtypes: {page: artifact_string}\n"))

        report = rehearse(vault, returned(7))

        (violation,) = report.violations
        assert violation.kind is Harm.ARTIFACTS
        assert "artifacts name 2.txt, name 3.txt differ" in violation.what
        assert report.trials[0].outcome == "completed"

    def test_appending_to_a_file_outside_is_told_with_how_much(
        self, make: Make, rehearse: Rehearse, outside: Path
    ) -> None:
        code = """
def note(name):
    with (OUTSIDE / "notes.txt").open("a") as notes:
        notes.write("one row\\n")
    return name
"""
        report = rehearse(make(code, note=column("note", 'name: "<<self.name[index]>>"')), returned(6))

        (violation,) = report.violations
        assert (violation.kind, violation.builder) == (Harm.SIDE_EFFECTS, "note")
        assert violation.about == str(outside / "notes.txt")
        again = report.builders[1].again
        assert again >= 1
        assert f"grew by {8 * (4 + again)} bytes instead of 32" in violation.what

    def test_a_log_may_grow(self, make: Make, rehearse: Rehearse) -> None:
        code = """
def note(name):
    with (OUTSIDE / "notes.log").open("a") as notes:
        notes.write("one row\\n")
    return name
"""
        assert rehearse(make(code, note=column("note", 'name: "<<self.name[index]>>"')), returned(6)).is_sound

    def test_a_counter_that_no_two_runs_leave_alike_is_named(
        self, make: Make, rehearse: Rehearse, outside: Path
    ) -> None:
        code = """
def note(name):
    counter = OUTSIDE / "counter"
    counter.write_text(str(int(counter.read_text() if counter.exists() else 0) + 1))
    return name
"""
        report = rehearse(make(code, note=column("note", 'name: "<<self.name[index]>>"')), returned(6))

        assert any(str(outside / "counter") in note for note in report.notes)

    def test_a_result_that_depends_on_earlier_calls_is_told(self, make: Make, rehearse: Rehearse) -> None:
        code = """
from tablevault_like import checkpoint

count = 0

def number(name):
    global count
    checkpoint()
    count += 1
    return count
"""
        report = rehearse(make(code, number=column("number", 'name: "<<self.name[index]>>"')), returned(7))

        (violation,) = report.violations
        assert (violation.kind, violation.builder, violation.about) == (Harm.RESULT, "number", "number")
        assert violation.what == "column 'number' differs in 2 of 4 rows: row 2: 1 instead of 3; row 3: 2 instead of 4"
        assert "Let it depend on its arguments alone" in violation.to_do


class TestFunctionsThatFail:
    def test_undisturbed_are_not_killed_at_all(self, make: Make, rehearse: Rehearse) -> None:
        vault = make("def shout(name):\n    raise ValueError('no voice')\n", shout=LOUD)

        report = rehearse(vault, returned(1))

        assert report.verdict is Verdict.UNDECIDED
        assert (report.kills, report.trials) == (0, ())
        (violation,) = report.violations
        assert violation.kind is Harm.FAILED
        assert "ValueError: no voice" in violation.what

    def test_over_what_a_killed_call_has_left_are_told(self, make: Make, rehearse: Rehearse) -> None:
        code = """
def shout(name):
    lock = OUTSIDE / "lock"
    lock.mkdir()
    for _ in range(400):
        (lock / "more").touch()
        (lock / "more").unlink()
    lock.rmdir()
    return name.upper()
"""
        # That is in the loop, whatever the library does with files before.
        report = rehearse(make(code, shout=LOUD), Target(Point.FILE, nth=400), sample=1)

        (violation,) = report.violations
        assert violation.kind is Harm.FAILED
        assert "FileExistsError" in violation.what
        assert violation.trials == (1,)
        assert report.trials[0].outcome == "failed"

    def test_to_end_are_ended_after_the_timeout(self, make: Make, rehearse: Rehearse, tmp_path: Path) -> None:
        code = "import threading\ndef shout(name):\n    threading.Event().wait()\n"
        vault = make(code, shout=LOUD)

        report = rehearse(vault, returned(1), timeout=1)

        assert report.verdict is Verdict.UNDECIDED
        assert [violation.kind for violation in report.violations] == [Harm.HANGS]
        assert "1 seconds" in report.violations[0].what
        assert alive(tmp_path) == []


class TestPrograms:
    def test_that_outlive_the_run_are_told_and_ended(self, make: Make, rehearse: Rehearse, tmp_path: Path) -> None:
        code = """
import subprocess
def shout(name):
    subprocess.Popen(["sleep", "100"], start_new_session=True)
    return name.upper()
"""
        report = rehearse(make(code, shout=LOUD), returned(6), sample=1)

        assert [violation.kind for violation in report.violations] == [Harm.PROGRAMS]
        assert "sleep 100" in report.violations[0].what
        assert alive(tmp_path) == []
