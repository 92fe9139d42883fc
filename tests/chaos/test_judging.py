"""What came of a run is held to two undisturbed ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.builders.plan import Plan
from tablevault_like.chaos.judging import Counting, Judge, Made, Recorded, SideEffect, damaged
from tablevault_like.chaos.notes import Call, Notebook, Written, read
from tablevault_like.chaos.report import Harm
from tablevault_like.operations import planning, publication
from tablevault_like.process.operation import View
from tests.chaos.conftest import Make, column


@pytest.fixture
def plan(make: Make) -> Plan:
    vault: TableVault = make(
        "def shout(name):\n    return name\n", shout=column("shout", 'name: "<<self.name[index]>>"')
    )
    journal = vault._journal
    with journal.catalog.snapshot() as db:
        temporary = publication.get_temporary(db, "words", "base")
        return planning.plan(View(db, journal.layout, 0.0), temporary).plan


def made(**changes: Any) -> Made:
    fields: dict[str, Any] = {
        "rows": 2,
        "cells": {"name": ['["a"]', '["b"]'], "shout": ['["A"]', '["B"]']},
        "artifacts": {"a.txt": "1", "b.txt": "2"},
        "side_effects": {"/x": SideEffect("shout", 10, None)},
    }
    return Made(**{**fields, **changes})


class TestJudge:
    def test_the_same_is_no_violation(self, plan: Plan) -> None:
        judge = Judge(plan, made(), made())

        assert list(judge.notes()) == []
        assert list(judge.violations(made(), {})) == []

    def test_a_cell_that_differs_is_told_with_its_builder(self, plan: Plan) -> None:
        other = made(cells={"name": ['["a"]', '["b"]'], "shout": ['["A"]', '["C"]']})

        (violation,) = Judge(plan, made(), made()).violations(other, {"shout": {1}})

        assert (violation.kind, violation.builder, violation.about) == (Harm.RESULT, "shout", "shout")
        assert violation.what == 'column \'shout\' differs in 1 of 2 rows: row 1: "C" instead of "B"'
        assert "~ROW_KEY~" in violation.to_do

    def test_a_generator_is_to_give_the_same_when_it_is_called_again(self, plan: Plan) -> None:
        other = made(cells={"name": ['["a"]', '["c"]'], "shout": ['["A"]', '["B"]']})

        (violation,) = Judge(plan, made(), made()).violations(other, {})

        assert violation.builder == "words_index"
        assert "~RESUME_FROM~" in violation.to_do

    def test_fewer_rows(self, plan: Plan) -> None:
        other = made(rows=1, cells={"name": ['["a"]'], "shout": ['["A"]']})

        (violation,) = Judge(plan, made(), made()).violations(other, {})

        assert violation.what == "1 rows instead of 2"

    def test_what_undisturbed_runs_differ_in_is_noted_and_not_judged(self, plan: Plan) -> None:
        lots = [{"name": ['["a"]', '["b"]'], "shout": [f"[{lot}]", "[0]"]} for lot in range(3)]
        paths = [{"/x": SideEffect("shout", None, str(lot))} for lot in range(3)]
        first, second, third = (
            made(cells=cells, side_effects=path, artifacts={"a.txt": path["/x"].digest})
            for cells, path in zip(lots, paths, strict=True)
        )
        judge = Judge(plan, first, second)

        assert list(judge.violations(third, {})) == []
        columns, files, paths_told = judge.notes()
        assert "column shout." in columns
        assert "artifact a.txt." in files
        assert "file /x outside" in paths_told

    def test_artifacts_and_side_effects_that_differ(self, plan: Plan) -> None:
        other = made(artifacts={"a.txt": "1", "b.txt": "3"}, side_effects={"/x": SideEffect("shout", 15, None)})

        artifact, effect = Judge(plan, made(), made()).violations(other, {})

        assert (artifact.kind, artifact.what) == (Harm.ARTIFACTS, "artifact b.txt differs")
        assert (effect.kind, effect.about) == (Harm.SIDE_EFFECTS, "/x")
        assert "grew by 15 bytes instead of 10" in effect.what


class TestWhatCanNotGoOn:
    STAGING = Path("/vault/metadata/processes/p/staging")
    ARTIFACT = STAGING / "base_1" / "artifacts" / "pages" / "a.txt"

    @pytest.mark.parametrize(
        ("appends", "how"), [(True, "a function appends to it"), (False, "a function writes to it again")]
    )
    def test_over_an_artifact_is_its_writers_doing(self, appends: bool, how: str) -> None:
        written = [Written("other", "/x", True, 0), Written("page", str(self.ARTIFACT), appends, 1)]

        found = damaged(self.ARTIFACT, self.STAGING, written, "it is damaged")

        assert (found.kind, found.builder, found.about) == (Harm.ARTIFACTS, "page", "pages/a.txt")
        assert how in found.what
        assert "~ROW_KEY~" in found.to_do

    def test_over_an_artifact_that_nobody_was_seen_to_write(self) -> None:
        found = damaged(self.ARTIFACT, self.STAGING, [], "it is damaged")

        assert (found.kind, found.builder) == (Harm.ARTIFACTS, None)
        assert "nobody was seen" in found.what

    @pytest.mark.parametrize("path", [STAGING.parent / "rows.sqlite", STAGING, ARTIFACT.parent.parent])
    def test_over_anything_else_is_a_defect_of_the_library(self, path: Path) -> None:
        found = damaged(path, self.STAGING, [], "rows.sqlite is damaged")

        assert (found.kind, found.what) == (Harm.FAILED, "can't be resumed: rows.sqlite is damaged")
        assert "report it, with the seed" in found.to_do


class TestCounting:
    def test_calls_are_told_apart_by_what_was_there_at_the_kill(self, plan: Plan) -> None:
        counting = Counting(plan)
        counting.undisturbed([Call(1, "shout", (row,), True) for row in range(4)])
        first = [Call(1, "shout", (0,), True), Call(1, "shout", (1,), True), Call(1, "shout", (2,), False)]
        second = [Call(2, "shout", (row,), True) for row in (0, 1, 2, 3)]

        violations, again = counting.trial([*first, *second], {1: Recorded({"shout": frozenset({0})})})

        (violation,) = violations
        assert (violation.kind, violation.builder) == (Harm.CALLS, "shout")
        assert "row 0" in violation.what
        assert again == {"shout": {0, 1, 2}}
        shout = counting.table()[1]
        assert (shout.calls, shout.again) == (4, 3)
        assert (shout.recorded, shout.uncommitted, shout.inside) == (1, 1, 1)

    def test_a_row_that_failed_and_is_tried_in_the_same_run_is_none(self, plan: Plan) -> None:
        counting = Counting(plan)
        calls = [Call(1, "shout", (0,), True), Call(1, "shout", (0,), True)]

        violations, again = counting.trial(calls, {})

        assert (violations, again) == ([], {})

    def test_whole_builders(self, plan: Plan) -> None:
        calls = [Call(1, "shout", None, True), Call(2, "shout", None, True)]

        violations, _ = Counting(plan).trial(calls, {1: Recorded(whole=frozenset({"shout"}))})

        assert "all rows" in violations[0].what


def test_notes_of_several_attempts_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "notes"
    first, second = Notebook(path, 1), Notebook(path, 2)
    number = first.begin("shout", [0])
    first.end(number, "shout", [0])
    first.begin("shout", [1])
    second.begin("shout", None)
    second.wrote("shout", "/x", appends=True, size=7)

    calls, written = read(path)

    assert calls == [
        Call(1, "shout", (0,), True),
        Call(1, "shout", (1,), False),
        Call(2, "shout", None, False),
    ]
    assert written == [Written("shout", "/x", True, 7)]
