from __future__ import annotations

from pathlib import Path

from tablevault_like import TableVault
from tests.cli.conftest import SHOUT, Tvl


def test_builder_files_come_from_a_file_a_folder_stdin_or_a_template(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "files").mkdir()
    for name in ("one", "two"):
        (folder / "files" / f"{name}.yaml").write_text(SHOUT.replace("[shout]", f"[{name}]"))
    line = ("create-builder-file", "words", "--db-dir=vault")

    wrote = tvl(*line, "--from", "files/one.yaml").out
    tvl(*line, "--from", "files")
    tvl(*line, "three", "--from", "-", stdin=SHOUT.replace("[shout]", "[three]"))
    tvl(*line, "four")

    assert wrote == f"Wrote {folder}/vault/words/TEMP_base/builders/one.yaml\n"
    assert vault.get_builders_list("words") == ["four", "one", "shout", "three", "two", "words_index"]
    assert "[three]" in vault.get_builder_str("words", "three")
    assert tvl(*line, "five", "--json").json["files"] == [f"{folder}/vault/words/TEMP_base/builders/five.yaml"]


def test_a_wrong_builder_is_told_with_its_place(tvl: Tvl, vault: TableVault) -> None:
    said = tvl("create-builder-file", "words", "bad", "--from=-", "--db-dir=vault", stdin="builder_type: X\n", code=4)

    assert "bad.yaml:1:" in said.err


def test_a_builder_file_is_deleted(tvl: Tvl, vault: TableVault) -> None:
    said = tvl("delete-builder-file", "words", "shout", "--db-dir=vault")

    assert said.out == "Deleted the builder 'shout' of words/TEMP_base.\n"
    assert vault.get_builders_list("words") == ["words_index"]


def test_code_modules_come_and_go(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "prompts.py").write_text("LIMIT = 3\n")

    assert tvl("create-code-module", "--from=prompts.py", "--db-dir=vault").out == (
        f"Wrote {folder}/vault/code_functions/prompts.py\n"
    )
    tvl("create-code-module", "other", "--from=-", "--db-dir=vault", stdin="LIMIT = 4\n")
    tvl("create-code-module", "third", "--db-dir=vault")
    assert vault.get_code_modules_list() == ["other", "prompts", "third", "tools"]
    assert vault.get_code_module_str("other") == "LIMIT = 4\n"

    assert tvl("delete-code-module", "other", "--db-dir=vault").out == "Deleted the code module 'other'.\n"
    assert vault.get_code_modules_list() == ["prompts", "third", "tools"]


def test_what_is_not_python_is_told_with_its_place(tvl: Tvl, vault: TableVault) -> None:
    said = tvl("create-code-module", "bad", "--from=-", "--db-dir=vault", stdin="x = \n", code=4)

    assert "bad.py:1:" in said.err


def test_stdin_needs_a_name_and_a_text(tvl: Tvl, vault: TableVault) -> None:
    assert "needs a name" in tvl("create-code-module", "--from=-", "--db-dir=vault", stdin="x = 1", code=3).err
    assert "nothing to read" in tvl("create-code-module", "x", "--from=-", "--db-dir=vault", stdin="", code=3).err
    assert vault.get_code_modules_list() == ["tools"]


def test_creating_again_under_a_completed_id_does_nothing(tvl: Tvl, vault: TableVault) -> None:
    line = ("create-builder-file", "words", "new", "--db-dir=vault", "--process-id=p1")
    tvl(*line)
    vault.delete_instance("TEMP_base", "words")

    assert "had completed before" in tvl(*line).out


def test_packages_come_and_go(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    for name in ("pipeline/__init__.py", "pipeline/steps/__init__.py", "pipeline/steps/clean.py"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(f"NAME = {name!r}\n")

    wrote = tvl("create-code-module", "--from=pipeline", "--db-dir=vault")
    assert wrote.out == f"Wrote {folder}/vault/code_functions/pipeline\n"
    changed = tvl("create-code-module", "pipeline.late", "--from=-", "--db-dir=vault", "--json", stdin="N = 1\n")
    assert changed.json["files"] == [f"{folder}/vault/code_functions/pipeline/late.py"]
    assert "pipeline.steps.clean\n" in tvl("ls", "--code", "--db-dir=vault").out
    shown = tvl("show", "--code", "pipeline.steps.clean", "--db-dir=vault")
    assert shown.out == "NAME = 'pipeline/steps/clean.py'\n"

    tvl("delete-code-module", "pipeline.steps", "--db-dir=vault")
    assert vault.get_code_modules_list() == ["pipeline", "pipeline.late", "tools"]
    tvl("delete-code-module", "pipeline", "--db-dir=vault")
    assert vault.get_code_modules_list() == ["tools"]
