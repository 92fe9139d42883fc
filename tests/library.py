"""A small vault on which every operation can be tried, and what each operation does to it.

The table ``words`` has one materialized instance and a temporary one with four builders: a generator makes the rows,
two row-wise builders fill columns (one writes an artifact a row), one returns a whole frame; none of them reuses what
the materialized instance has, which is the origin. The table ``scores`` has a
temporary instance that is edited externally. Every call of user code is noted (``workers.note_call``), and is a point
(``workers.pass_point``): ``word 3``, ``shout dog``, ``page dog``, ``length``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias
from unittest import mock

import pandas as pd

from tablevault_like import TableVault
from tablevault_like.process.operation import REGISTRY, Operation
from tests.workers import CALLS_VARIABLE

WORDS = ["ape", "bee", "cat", "dog", "eel", "fox"]

CODE = """
from pathlib import Path

import pandas as pd

from tests.workers import note_call, pass_point


def words(start):
    for number, word in list(enumerate(["ape", "bee", "cat", "dog", "eel", "fox"]))[start:]:
        note_call(f"word {number}")
        pass_point(f"word {number}")
        yield word


def shout(word):
    note_call(f"shout {word}")
    pass_point(f"shout {word}")
    return word.upper()


def page(word, folder):
    note_call(f"page {word}")
    Path(folder, f"{word}.txt").write_text(word * 3)
    pass_point(f"page {word}")
    return f"{word}.txt"


def length(words):
    note_call("length")
    pass_point("length")
    return pd.DataFrame({"length": words["word"].str.len()})
"""

BUILDERS = {
    "words_index": """
builder_type: IndexBuilder
changed_columns: [word]
python_function: words
code_module: tools
is_custom: true
arguments: {start: ~RESUME_FROM~}
return_type: generator
""",
    "shout": """
builder_type: ColumnBuilder
reuse: never
changed_columns: [shout]
python_function: shout
code_module: tools
is_custom: true
arguments: {word: "<<self.word[index]>>"}
return_type: row-wise
""",
    "page": """
builder_type: ColumnBuilder
reuse: never
changed_columns: [page]
python_function: page
code_module: tools
is_custom: true
arguments: {word: "<<self.word[index]>>", folder: ~ARTIFACT_FOLDER~}
return_type: row-wise
dtypes: {page: artifact_string}
n_threads: 2
""",
    "length": """
builder_type: ColumnBuilder
reuse: never
changed_columns: [length]
python_function: length
code_module: tools
is_custom: true
arguments: {words: "<<self.{word}>>"}
return_type: dataframe
""",
}

CALLS = [
    *(f"word {number}" for number in range(len(WORDS))),
    *(f"shout {word}" for word in WORDS),
    *(f"page {word}" for word in WORDS),
    "length",
]
"""All calls of an undisturbed execution."""


def make(vault_dir: Path) -> str:
    """Make the vault, and return the id of its materialized instance."""
    vault = TableVault(vault_dir, "ada", create=True)
    vault.create_code_module("tools", text=CODE)
    vault.create_table("words", has_side_effects=True)
    vault.create_instance("words", builders=BUILDERS)
    vault.execute_instance("words")
    vault.create_instance("words", copy=True)
    vault.create_table("scores")
    vault.create_instance("scores", external_edit=True)
    return vault.get_table_instances("words")[0]


def scores() -> pd.DataFrame:
    return pd.DataFrame({"name": ["ada", "bob"], "score": [1.5, None]})


def add_what_can_be_pruned(vault_dir: Path, _: Path) -> None:
    """Add a table with two instances, the newer one pinned, and put a table into the trash."""
    vault = TableVault(vault_dir, "ada")
    vault.create_table("counts")
    for count in (1, 2):
        vault.create_instance("counts", external_edit=True)
        vault.write_instance(pd.DataFrame({"count": [count]}), "counts")
    vault.pin("counts", vault.get_table_instances("counts")[-1])
    vault.create_table("drafts")
    vault.delete_table("drafts")


def add_bundles(vault_dir: Path, shared: Path) -> None:
    """Put bundles of another vault beside this one: an instance with artifacts and code, and what a builder has made.

    They are made once, in the folder that is shared.
    """
    found = shared / "bundles"
    if not found.exists():
        with mock.patch.dict(os.environ, {CALLS_VARIABLE: str(shared / "calls elsewhere")}):
            _make_bundles(shared / "elsewhere", shared / "making")
        (shared / "making").rename(found)
    shutil.copytree(found, vault_dir.with_name("bundles"), dirs_exist_ok=True)


def _make_bundles(vault_dir: Path, folder: Path) -> None:
    make(vault_dir)
    vault = TableVault(vault_dir, "eve")
    vault.create_code_module("more", text=CODE)
    vault.delete_instance("TEMP_base", "words")
    named = {name: text.replace("code_module: tools", "code_module: more") for name, text in BUILDERS.items()}
    vault.create_instance("words", builders=named)
    vault.execute_instance("words")
    folder.mkdir()
    vault.export_instance("words", path=folder / INSTANCE)
    vault.export_instance("words", path=folder / RESULTS, builder="shout")


INSTANCE, RESULTS = "instance.bundle.tar.xz", "results.bundle.tar.xz"


def bundle(vault: TableVault, name: str) -> Path:
    """Return the path of a bundle."""
    return Path(vault.db_dir).with_name("bundles") / name


Call: TypeAlias = Callable[[TableVault, str, str], str]


@dataclass(frozen=True)
class Attempt:
    """One operation on the library. ``call`` and ``wrong`` get the vault, the materialized instance and a process id.

    ``wrong`` is the same operation with something that it refuses. ``rival`` is an operation that needs the same locks;
    the same call, where that doesn't look at what the first has done by then. ``prepare`` adds to the library what it
    needs; it gets the vault's folder, and one in which it may keep what it has made for others of its kind.
    ``registered`` is the name that the operation has, where an attempt is another one at the same.
    """

    operation: str
    call: Call
    wrong: Call
    rival: str | None = None
    prepare: Callable[[Path, Path], None] = lambda vault_dir, shared: None
    registered: str | None = None

    @property
    def kind(self) -> str:
        """The operation's registered name."""
        return self.registered or self.operation

    def __str__(self) -> str:
        return self.operation

    def is_at_once(self, *, is_named: bool) -> bool:
        """Tell whether it is one transaction, where nobody is in its way."""
        return self._class.is_catalog_only or (self.is_short and not is_named)

    @property
    def is_short(self) -> bool:
        """Tell whether it can be staged before anything is recorded."""
        return self._class.is_short

    @property
    def keeps_inputs(self) -> bool:
        return self._class.keeps_inputs

    def point(self, when: str, method: str) -> str:
        """Return a point: before or after a method of the operation."""
        return f"{when} {self._class.__module__}:{self._class.__name__}.{method}"

    @property
    def _class(self) -> type[Operation]:
        return REGISTRY[self.kind]


def attempt(vault_dir: Path, operation: str, made: str, process_id: str) -> str:
    """Make an attempt: the task of a worker."""
    return BY_NAME[operation].call(TableVault(vault_dir, "bob", lock_timeout=0.3), made, process_id)


ATTEMPTS = (
    Attempt(
        "create_table",
        lambda vault, made, p: vault.create_table("papers", description="to be read", process_id=p),
        lambda vault, made, p: vault.create_table("words", process_id=p),
    ),
    Attempt(
        "rename_table",
        lambda vault, made, p: vault.rename_table("terms", "words", process_id=p),
        lambda vault, made, p: vault.rename_table("scores", "words", process_id=p),
    ),
    Attempt(
        "set_description",
        lambda vault, made, p: vault.set_description("loud ones", "words", process_id=p),
        lambda vault, made, p: vault.set_description("loud ones", "word", process_id=p),
    ),
    Attempt(
        "delete_table",
        lambda vault, made, p: vault.delete_table("words", process_id=p),
        lambda vault, made, p: vault.delete_table("word", process_id=p),
    ),
    Attempt(
        "delete_instance",
        lambda vault, made, p: vault.delete_instance(made, "words", process_id=p),
        lambda vault, made, p: vault.delete_instance(made, "scores", process_id=p),
    ),
    Attempt(
        "create_instance",
        lambda vault, made, p: vault.create_instance("words", "draft", made, builders=["mood"], process_id=p),
        lambda vault, made, p: vault.create_instance("words", process_id=p),
    ),
    Attempt(
        "create_code_module",
        lambda vault, made, p: vault.create_code_module("tools", text="LIMIT = 3\n", process_id=p),
        lambda vault, made, p: vault.create_code_module("tools", text="LIMIT =\n", process_id=p),
    ),
    Attempt(
        "delete_code_module",
        lambda vault, made, p: vault.delete_code_module("tools", process_id=p),
        lambda vault, made, p: vault.delete_code_module("tool", process_id=p),
        rival="create_code_module",
    ),
    Attempt(
        "create_builder_file",
        lambda vault, made, p: vault.create_builder_file(
            "words", "shout", text=BUILDERS["shout"] + "n_threads: 3\n", process_id=p
        ),
        lambda vault, made, p: vault.create_builder_file("words", "shout", text="builder_type: X", process_id=p),
    ),
    Attempt(
        "delete_builder_file",
        lambda vault, made, p: vault.delete_builder_file("shout", "words", process_id=p),
        lambda vault, made, p: vault.delete_builder_file("shouts", "words", process_id=p),
        rival="create_builder_file",
    ),
    Attempt(
        "write_instance",
        lambda vault, made, p: vault.write_instance(
            scores(), "scores", dependencies=[("words", made)], dtypes={"score": "Float64"}, process_id=p
        ),
        lambda vault, made, p: vault.write_instance(scores(), "words", process_id=p),
    ),
    Attempt(
        "execute_instance",
        lambda vault, made, p: vault.execute_instance("words", process_id=p),
        lambda vault, made, p: vault.execute_instance("scores", process_id=p),
    ),
    Attempt(
        "pin",
        lambda vault, made, p: vault.pin("words", made, process_id=p),
        lambda vault, made, p: vault.pin("words", "TEMP_base", process_id=p),
    ),
    Attempt(
        "unpin",
        lambda vault, made, p: vault.unpin("counts", vault.get_table_instances("counts")[-1], process_id=p),
        lambda vault, made, p: vault.unpin("words", "TEMP_base", process_id=p),
        prepare=add_what_can_be_pruned,
    ),
    Attempt(
        "prune",
        lambda vault, made, p: str(vault.prune(keep=1, dry_run=False, process_id=p).process_id),
        lambda vault, made, p: str(vault.prune(keep=0, dry_run=False, process_id=p).process_id),
        prepare=add_what_can_be_pruned,
    ),
    Attempt(
        "import_instance",
        lambda vault, made, p: vault.import_instance(bundle(vault, INSTANCE), "loans", process_id=p, with_code=True),
        lambda vault, made, p: vault.import_instance(bundle(vault, INSTANCE), "artifacts", process_id=p),
        prepare=add_bundles,
    ),
    Attempt(
        "import_results",
        lambda vault, made, p: vault.import_instance(bundle(vault, RESULTS), process_id=p),
        lambda vault, made, p: vault.import_instance(bundle(vault, RESULTS), "scores", process_id=p),
        prepare=add_bundles,
        registered="import_instance",
    ),
)

BY_NAME = {attempt.operation: attempt for attempt in ATTEMPTS}
