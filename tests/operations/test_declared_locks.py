"""The table of locks in docs/processes-and-failures.md says what operations declare, all of it and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pytest

from tablevault_like import TableVault
from tablevault_like.model import LockMode, LockRequest, Resource
from tablevault_like.process.journal import Journal
from tablevault_like.process.operation import REGISTRY
from tests import held
from tests.library import ATTEMPTS, Attempt, scores

PAGE = held.CHECKOUT / "docs" / "processes-and-failures.md"
HEAD = "| operation | nobody else may change | nobody may delete |"

Do: TypeAlias = Callable[[TableVault, str], object]


def kind(resource: Resource) -> str:
    """Return what a lock is about, in a word of the table."""
    first, *rest = resource.path
    if "description" in resource.path:
        return "description"
    if first == "code_functions":
        return "modules"
    if not rest:
        return "trash" if first == "trash" else "table"
    if rest[0] == "builders":
        return "builders"
    return "temporary instance" if rest[0].startswith("TEMP_") else "instance"


def table() -> dict[str, tuple[str, str]]:
    """Return what the page says of each operation: what nobody else may change, and what nobody may delete."""
    _, _, after = PAGE.read_text().partition(HEAD)
    rows = [held.cells(row) for row in after.split("\n\n")[0].splitlines()[2:]]
    return {name: (changes, deletes) for names, changes, deletes in rows for name in held.named(names)}


KINDS = {
    "its builders": {"builders"},
    "its origin": {"instance"},
    "the builders of a temporary one": {"builders"},
    "the description": {"description"},
    "the instance": {"instance"},
    "the instance that is made, or the table that is new": {"instance", "table"},
    "the instance, if it is there already": {"instance"},
    "the instance, temporary or not": {"instance", "temporary instance"},
    "the instances that are read": {"instance"},
    "the instances that go": {"instance"},
    "the table and all that is in it": {"table"},
    "the temporary instance": {"temporary instance"},
    "the temporary instance, for a builder's results": {"temporary instance"},
    "the temporary instance, if it is that one's": {"temporary instance"},
    "these builders": {"builders"},
    "these modules": {"modules"},
    "these modules, `with_code`": {"modules"},
    "what is in the trash": {"trash"},
}


def reads_another_table(vault: TableVault, made: str) -> None:
    text = vault.get_builder_str("words", "shout").replace("<<self.word[index]>>", "<<more.name>>")
    vault.write_instance(scores(), "scores")
    vault.rename_table("more", "scores")
    vault.create_builder_file("words", "shout", text=text)
    vault.execute_instance("words", process_id="p", until="words_index")


def prune(vault: TableVault, made: str) -> None:
    vault.write_instance(scores(), "scores")
    vault.create_instance("scores", external_edit=True)
    vault.write_instance(scores(), "scores")
    vault.prune(keep=1, older_than=0, dry_run=False)


def import_what_is_there(vault: TableVault, made: str) -> None:
    vault.import_instance(bundle(vault, made))


def import_what_was_deleted(vault: TableVault, made: str) -> None:
    path = bundle(vault, made)
    vault.delete_instance(made, "words")
    vault.import_instance(path)


def import_a_table_with_code(vault: TableVault, made: str) -> None:
    path = bundle(vault, made)
    vault.rename_table("terms", "words")
    vault.delete_code_module("tools")
    vault.import_instance(path, with_code=True)


def import_results(vault: TableVault, made: str) -> None:
    vault.import_instance(bundle(vault, made, builder="shout"))


def bundle(vault: TableVault, made: str, **fields: Any) -> Any:
    return vault.export_instance("words", made, path=Path(vault.db_dir).parent / "bundle", **fields)


MORE: dict[str, list[Do]] = {
    "delete_instance": [lambda vault, made: vault.delete_instance("TEMP_base", "words")],
    "execute_instance": [reads_another_table],
    "import_instance": [
        import_what_is_there,
        import_what_was_deleted,
        import_a_table_with_code,
        import_results,
    ],
    "pin": [lambda vault, made: vault.pin("words", made)],
    "prune": [prune],
    "set_description": [lambda vault, made: vault.set_description("soon", "words", "TEMP_base")],
    "unpin": [lambda vault, made: vault.unpin("words", made)],
}
"""What shows locks that the attempts of the library don't."""


def try_out(attempt: Attempt, shared: Path, vault: TableVault, made: str) -> None:
    attempt.prepare(Path(vault.db_dir), shared)
    attempt.call(vault, made, "p")


def attempts(operation: str, shared: Path) -> list[Do]:
    found = [each for each in ATTEMPTS if each.kind == operation]
    return [*(partial(try_out, each, shared) for each in found), *MORE.get(operation, [])]


@pytest.fixture
def declared(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[LockRequest]]:
    """Return the locks that processes have got, by their operation."""
    found: dict[str, list[LockRequest]] = {}
    add = Journal.add

    def adding(journal: Journal, db: Any, process_id: str, **fields: Any) -> int:
        found.setdefault(fields["operation"], []).extend(fields["needed"])
        return add(journal, db, process_id, **fields)

    monkeypatch.setattr(Journal, "add", adding)
    return found


def test_every_operation_is_in_the_table() -> None:
    assert sorted(table()) == sorted(REGISTRY)


@pytest.mark.usefixtures("calls")
@pytest.mark.parametrize("operation", sorted(REGISTRY))
def test_what_it_says_is_what_is_declared(
    operation: str, library_dir: Path, made: str, tmp_path: Path, declared: dict[str, list[LockRequest]]
) -> None:
    locks = []
    for number, do in enumerate(attempts(operation, library_dir)):
        vault_dir = Path(shutil.copytree(library_dir / "vault", tmp_path / str(number) / "vault"))
        declared.clear()
        do(TableVault(vault_dir, "ada"), made)
        locks += declared[operation]

    for cell, mode in zip(table()[operation], (LockMode.EXCLUSIVE, LockMode.SHARED), strict=True):
        said = {word for what in cell.split("; ") if what for word in KINDS[what]}
        assert {kind(each.resource) for each in locks if each.mode is mode} == said
