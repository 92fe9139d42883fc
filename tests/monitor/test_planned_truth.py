"""A plan comes true whatever is changed: rows, prompts, code, other tables, and wherever a run is interrupted."""

from __future__ import annotations

import random
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tests.monitor.counting import Calls, counted_calls, foretold, hold
from tests.tables import begin, builder, column, write, write_code

__all__ = ["counted_calls"]

CODE = """
from pathlib import Path

def plain(text, prompt):
    return (text + prompt) if {plain} else (prompt + text)

def number(text):
    # Sometimes an integer, sometimes not.
    return len(text) if len(text) % 2 else len(text) / 2 + {number}

def double(number):
    return number * 2

def looked_up(value):
    return None if value is None else value + {looked_up}

def page(text, folder):
    name = text[:3] + ".txt"
    Path(folder, name).write_text(text[:3])
    return name

def read(page):
    return Path(page).read_text() + str({read})

def whole(frame):
    return frame.assign(total=frame["double"].astype("float") + {whole})[["total"]]

def stream(values):
    for value in values["looked"]:
        yield str(value)
"""
FUNCTIONS = ("plain", "number", "looked_up", "read", "whole")


class Story:
    """One vault in which things are changed by chance, and each run is held to its plan."""

    def __init__(self, vault_dir: Path, calls: Calls, seed: int) -> None:
        self.chance = random.Random(seed)
        self.calls = calls
        self.vault = TableVault(vault_dir, "ada", create=True)
        self.has_key = bool(seed % 2)
        self.rows = {f"k{n}": f"text {n}" for n in range(8)}
        self.values = {f"k{n}": n for n in range(6)}
        self.prompts = "!"
        self.constants = dict.fromkeys(FUNCTIONS, 1)
        self.runs = 0

    def change(self) -> None:
        """Change one or two things, or nothing."""
        for _ in range(self.chance.choice((0, 1, 1, 2))):
            self.chance.choice((self.change_rows, self.change_values, self.change_prompt, self.change_code))()

    def change_rows(self) -> None:
        key = self.chance.choice(list(self.rows))
        match self.chance.randrange(4):
            case 0:
                self.rows[key] += "+"
            case 1:
                del self.rows[key]
            case 2:
                self.rows[f"n{self.chance.randrange(99)}"] = f"new {self.chance.randrange(99)}"
            case _:
                self.rows = dict(self.chance.sample(list(self.rows.items()), len(self.rows)))

    def change_values(self) -> None:
        self.values[self.chance.choice(list(self.values))] += 1

    def change_prompt(self) -> None:
        self.prompts += "?"

    def change_code(self) -> None:
        self.constants[self.chance.choice(FUNCTIONS)] += 1

    def begin(self) -> None:
        """Write what was changed, and create the next instance."""
        write_code(self.vault, CODE.format(**self.constants))
        write(self.vault, "source", pd.DataFrame({"id": list(self.rows), "text": list(self.rows.values())}))
        write(self.vault, "values", pd.DataFrame({"key": list(self.values), "value": list(self.values.values())}))
        key = {"primary_key": "id"} if self.has_key else {}
        rows = builder(
            "IndexBuilder",
            "id",
            "text",
            python_function="create_data_table_from_table",
            return_type="dataframe",
            arguments={"df": "<<source>>"},
            **key,
        ).replace("code_module: work\nis_custom: true", "code_module: table_generation\nis_custom: false")
        this = "<<self.{}[index]>>".format
        builders = {
            "index": rows,
            "plain": column("plain", function="plain", arguments={"text": this("text"), "prompt": self.prompts}),
            "number": column("number", function="number", arguments={"text": this("plain")}),
            "double": column("double", function="double", arguments={"number": this("number")}, n_threads=2),
            "looked": column(
                "looked", function="looked_up", arguments={"value": f"<<values.value[key::{this('id')}]>>"}
            ),
            "page": column(
                "page",
                function="page",
                arguments={"text": this("plain"), "folder": "~ARTIFACT_FOLDER~"},
                dtypes={"page": "artifact_string"},
            ),
            "read": column("read", function="read", arguments={"page": this("page")}),
            "whole": builder(
                "ColumnBuilder",
                "total",
                python_function="whole",
                return_type="dataframe",
                arguments={"frame": "<<self.{double}>>"},
            ),
            "stream": builder(
                "ColumnBuilder",
                "stream",
                python_function="stream",
                return_type="generator",
                arguments={"values": "<<self.looked>>"},
            ),
        }
        known = self.vault.get_table_instances("things") if "things" in self.vault.get_table_instances() else []
        begin(self.vault, "things", builders, origin_id=known[-1] if known else "")

    def run(self) -> None:
        """Execute the instance, maybe with an interruption, and hold each part to its plan."""
        self.runs += 1
        process_id = f"p{self.runs}"
        failing = self.chance.choice(("", "plain", "number", "looked", "page", "read"))
        self.calls.clear()
        self.calls.fail(failing, self.chance.randrange(1, 4))
        plan = self.vault.plan("things", process_id=process_id)
        try:
            self.vault.execute_instance("things", process_id=process_id)
        except ConnectionError:
            plan = foretold(self.vault, "things", self.calls, process_id=process_id)
            assert plan.process_id == process_id
        else:
            hold(plan, self.vault.get_process(process_id), self.calls)


@pytest.mark.parametrize("seed", range(4))
def test_a_plan_comes_true(vault_dir: Path, calls: Calls, is_full: bool, seed: int) -> None:
    story = Story(vault_dir, calls, seed)
    for _ in range(40 if is_full else 4):
        story.begin()
        story.run()
        story.change()
