"""Make vaults with TableVault 0.1, for the tests of the migration: ``python make_vaults.py FOLDER``.

This is run by an interpreter that has ``tablevault==0.1.1``, and imports nothing of this checkout. It makes a folder
for each function below, and an archive of each (``<name>.tar.xz``), which is what lies in ``vaults/``. What is
commented on here as not possible isn't possible with 0.1.1, whatever its documentation says.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

STORIES = '''
"""Make stories, and ask a model about them."""

import os


def stories(folder, edition):
    """Write a page for each story."""
    names = ["fox", "dove", "raven"] if edition == 1 else ["fox", "dove", "lion"]
    for number, name in enumerate(names):
        path = os.path.join(folder, name + ".txt")
        if name != "raven" and (edition == 1 or name != "dove"):
            with open(path, "w") as file:
                file.write("%s, edition %d" % (name, edition))
        yield name, 1990 + number, None if name == "raven" else name + ".txt"


def ask(title, question):
    """Stand for a model that is asked once a row."""
    return "%s %s?" % (question, title), len(title) / 2


def show(frame):
    """Return a column for all rows at once."""
    return frame[["title"]].rename(columns={"title": "shown"})


def fail(title):
    if title == "dove":
        raise ConnectionError("the model is gone")
    return title.upper(), len(title)


def die(title):
    import os

    if len(open("calls.txt").read()) >= 2:
        os._exit(9)
    with open("calls.txt", "a") as calls:
        calls.write(".")
    return title, 1
'''

STORIES_INDEX = """
builder_type: IndexBuilder
changed_columns: [title, year, page]      # the page is an artifact
primary_key: [title]
python_function: stories
code_module: stories
is_custom: true
arguments:
  folder: ~ARTIFACT_FOLDER~
  edition: {edition}
return_type: generator
dtypes:
  year: Int64
  page: artifact_string
"""

ANSWERS_INDEX = """
builder_type: IndexBuilder
changed_columns: [title]
python_function: create_data_table_from_table
code_module: table_generation
is_custom: false
arguments: {df: "<<stories.title>>"}
"""

ANSWER = """
builder_type: ColumnBuilder
changed_columns: [answer, score]
python_function: FUNCTION
code_module: stories
is_custom: true
arguments: {title: "<<self.title[index]>>", question: Who is the}
return_type: row-wise
n_threads: 2
dtypes:
  score: float64
"""


def library(place: Path) -> None:
    """Make a vault of tables of all kinds, with several versions, artifacts, and things that were deleted."""
    vault = open_vault(place, "ada", "Stories and what models say of them", create=True)
    vault.create_code_module("stories", text=STORIES)
    vault.create_code_module("unused", text="import tablevault\n")

    vault.create_table("stories", description="Short stories, with a page each")
    for edition, version in ((1, "base"), (1, "first"), (2, "base")):
        # Both editions write fox.txt. The second one doesn't write dove.txt, which 0.1 takes from the table's folder.
        vault.create_instance("stories", version, description=f"Edition {edition}")
        text = STORIES_INDEX.replace("{edition}", str(edition))
        vault.create_builder_file("stories", "stories_index", version, text=text)
        vault.execute_instance("stories", version, process_id=f"edition-{edition}-{version}")

    vault.create_table("replies")
    vault.create_instance("replies", builders=["answer"], description="What the model says")
    vault.create_builder_file("replies", "replies_index", text=ANSWERS_INDEX)
    vault.create_builder_file("replies", "answer", text=ANSWER.replace("FUNCTION", "ask"))
    vault.execute_instance("replies")
    vault.rename_table("answers", "replies")

    # A write with dtypes is not possible, so the frame has the dtypes that are wanted.
    vault.create_table("letters", allow_multiple_artifacts=True)
    for number in (1, 2):
        vault.create_instance("letters", external_edit=True)
        folder = Path(vault.get_artifact_folder("letters"))
        (folder / "to").mkdir()
        (folder / "to" / "crow.txt").write_text(f"Dear crow, {number}")
        (folder / f"note{number}.txt").write_text("A file that no cell names")
        letters = pd.DataFrame({"letter": ["to/crow.txt", None], "number": [number, None]})
        letters = letters.astype({"letter": "artifact_string", "number": "Int64"})
        source = vault.get_table_instances("stories")[0]
        vault.write_instance(letters, "letters", dependencies=[("stories", source)])

    vault.create_table("values")
    vault.create_instance("values", external_edit=True, description="One column of each dtype")
    vault.write_instance(values(), "values")
    vault.create_instance("values", "text", external_edit=True)
    texts = pd.DataFrame({"text": pd.array(["NA", "", None, 'a,"b"\nc', "None", " é "], dtype="string")})
    vault.write_instance(texts, "values", "text")

    # A frame with dates can be written, and then not be read, so that it stays in its temporary instance.
    vault.create_instance("values", "dates", external_edit=True)
    days = pd.to_datetime(pd.Series(["2024-01-02", "2024-05-06 07:08:09", None]), format="ISO8601")
    dates = pd.DataFrame({"day": days.astype("datetime64[ns]"), "count": pd.array([1, 2, None], dtype="Int64")})
    failing(lambda: vault.write_instance(dates, "values", "dates", process_id="dates"))

    vault.create_table("sent", has_side_effects=True, description="What was sent")
    for _ in range(2):
        vault.create_instance("sent")
        vault.create_builder_file("sent", "sent_index", text=ANSWERS_INDEX)
        vault.execute_instance("sent", force_execute=True)

    vault.create_table("old")
    vault.create_instance("old", external_edit=True)
    vault.write_instance(pd.DataFrame({"a": [1]}), "old")
    vault.delete_table("old")
    for number in (1, 2):
        vault.create_instance("values", "gone", external_edit=True)
        vault.write_instance(pd.DataFrame({"a": [number]}), "values", "gone")
    vault.delete_instance(vault.get_table_instances("values", "gone")[0], "values", process_id="tidy")

    vault.create_instance("stories", copy=True, description="To be edited")
    vault.create_instance("answers", "wrong", builders=["answer"])
    vault.create_builder_file("answers", "answers_index", "wrong", text=ANSWERS_INDEX)
    vault.create_builder_file("answers", "answer", "wrong", text=ANSWER.replace("FUNCTION", "nothing"))
    failing(lambda: vault.execute_instance("answers", "wrong"))


def values() -> pd.DataFrame:
    """Return a frame with a column of each dtype that 0.1.1 can write and read."""
    return pd.DataFrame(
        {
            "integer": pd.array([2**53 + 1, None, -3], dtype="Int64"),
            "small": pd.array([255, 0, None], dtype="UInt8"),
            "number": pd.array([0.1, None, 1e300], dtype="Float64"),
            "truth": pd.array([True, None, False], dtype="boolean"),
            "text": pd.array(['é, "x"', None, "two\nlines"], dtype="string"),
            "kind": pd.Categorical(["b", None, "a"]),
            "anything": pd.Series([[1, 2], None, {"a": 1}], dtype=object),
        }
    )


def interrupted(place: Path) -> None:
    """Make a vault in which a process waits for its resumption, one was killed, and one was stopped half-way."""
    vault = open_vault(place, "ada", create=True)
    vault.create_code_module("stories", text=STORIES)
    vault.create_table("stories")
    vault.create_instance("stories", external_edit=True)
    vault.write_instance(pd.DataFrame({"title": ["fox", "dove", "raven"]}), "stories")
    for table, function, process_id in (("paused", "fail", "p1"), ("stopped", "fail", "p2"), ("killed", "die", "p3")):
        vault.create_table(table)
        vault.create_instance(table, builders=["answer"])
        vault.create_builder_file(table, f"{table}_index", text=ANSWERS_INDEX)
        text = ANSWER.replace("FUNCTION", function).replace(", question: Who is the", "").replace("float64", "Int64")
        vault.create_builder_file(table, "answer", text=text.replace("n_threads: 2", "n_threads: 1"))
        if function == "die":
            Path("calls.txt").write_text("")
            worker = os.fork()
            if not worker:
                open_vault(place, "ada").execute_instance(table, process_id=process_id)
            assert os.waitpid(worker, 0)[1]
            Path("calls.txt").unlink()
        else:
            failing(partial(vault.execute_instance, table, process_id=process_id))
    vault.stop_process("p2", materialize=True, process_id="stop")


def strange(place: Path) -> None:
    """Make a vault of what 0.1 allows, and our format doesn't."""
    vault = open_vault(place, "ada lovelace", "Strange names", create=True)
    vault.create_code_module("my-code", text="def rows():\n    yield 'one'\n")
    vault.create_code_module("broken", text="def rows(:\n")
    vault.create_table("trash")
    vault.create_instance("trash", "v1.0")
    index = """
name: some_other_name
builder_type: IndexBuilder
changed_columns: [word]
python_function: rows
code_module: my-code
is_custom: true
arguments: {}
return_type: generator
speed: high
dtypes: {word: str}
dependencies: null
"""
    vault.create_builder_file("trash", "trash_index", "v1.0", text=index)
    vault.execute_instance("trash", "v1.0", process_id="run of today")
    vault.create_table("my words")
    vault.create_instance("my words", builders=["all of.them"])
    index = ANSWERS_INDEX.replace("<<stories.title>>", "<<trash(v1.0).word>>").replace("title", "word")
    vault.create_builder_file("my words", "my words_index", text=index)
    builder = """
builder_type: ColumnBuilder
changed_columns: [size]
python_function: rows
code_module: my-code
is_custom: true
arguments: &shared {word: "<<self.word[index]>>"}
return_type: row-wise
"""
    vault.create_builder_file("my words", "all of.them", text=builder)
    (place / "notes.txt").write_text("Mine")


def empty(place: Path) -> None:
    """Make a vault of nothing."""
    open_vault(place, "ada", create=True)


def open_vault(place: Path, *given: str, create: bool = False) -> Any:
    """Open a vault by the class that this interpreter has."""
    return importlib.import_module("tablevault.core").TableVault(str(place), *given, create=create)


def failing(call: Callable[[], object]) -> None:
    """Call what is to fail, and go on."""
    try:
        call()
    except Exception as error:
        print(f"fails as expected: {type(error).__name__}: {error}")
    else:
        raise AssertionError("this was to fail")


VAULTS = (library, interrupted, strange, empty)


def main(folder: Path) -> None:
    """Make all vaults, each in an interpreter of its own, and archive them."""
    for make in VAULTS:
        subprocess.run([sys.executable, __file__, str(folder), make.__name__], check=True, cwd=folder)
        for path in [folder / make.__name__, *(folder / make.__name__).rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)
        with tarfile.open(folder / f"{make.__name__}.tar.xz", "w:xz", preset=9) as archive:
            archive.add(folder / make.__name__, make.__name__, filter=_without_owner)


def _without_owner(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    target = Path(sys.argv[1])
    if len(sys.argv) > 2:
        {make.__name__: make for make in VAULTS}[sys.argv[2]](target / sys.argv[2])
    else:
        main(target)
