from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TableVaultError, TVArgumentError, TVBuilderError, TVFileError
from tablevault_like.model import State
from tests import states, tasks
from tests.functions import given_functions as given
from tests.operations.code_sources import SHOUT, tree, write, write_sources
from tests.tables import PATIENCE, Background, begin, build, column, index
from tests.workers import Action, Fault, Trouble, Workers


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    return TableVault(vault_dir, "ada", create=True)


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    return write_sources(tmp_path / "sources")


MODULES = ["pipeline", "pipeline.clean", "pipeline.late", "pipeline.steps", "pipeline.steps.shout", "scoring"]
BUILDERS = {
    "index": index("text", function="texts"),
    "rated": column("rated", function="rate", code_module="scoring", arguments={"text": "<<self.text[index]>>"}),
}
TEXTS = "def texts():\n    yield 'the quick fox'\n    yield 'a dog'\n"


class TestPackages:
    def test_a_folder_brings_its_modules_and_packages(self, vault: TableVault, sources: Path, vault_dir: Path) -> None:
        before = tree(sources)

        vault.create_code_module(copy_dir=sources)

        assert vault.get_code_modules_list() == MODULES
        copied = {name for name in before if name.startswith(("pipeline", "scoring"))}
        copied -= {"pipeline/__pycache__/clean.pyc", "pipeline/.hidden"}
        assert tree(vault_dir / "code_functions") == {name: before[name] for name in copied}
        assert tree(sources) == before

    def test_a_package_is_copied_by_itself_and_under_another_name(self, vault: TableVault, sources: Path) -> None:
        vault.create_code_module(copy_dir=sources / "pipeline")
        vault.create_code_module("flow", sources / "pipeline")
        vault.create_code_module("steps", sources / "pipeline" / "steps")

        assert vault.get_code_modules_list() == [
            *(f"flow{name.removeprefix('pipeline')}" for name in MODULES[:-1]),
            *MODULES[:-1],
            "steps",
            "steps.shout",
        ]

    def test_one_package_of_a_folder_is_named(self, vault: TableVault, sources: Path) -> None:
        vault.create_code_module("pipeline", sources)

        assert vault.get_code_modules_list() == MODULES[:-1]

    def test_the_current_folder_has_a_name(
        self, vault: TableVault, sources: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(sources / "pipeline")
        vault.create_code_module(copy_dir=".")

        assert vault.get_code_modules_list() == MODULES[:-1]

    def test_texts_are_read_by_dotted_names(self, vault: TableVault, sources: Path) -> None:
        vault.create_code_module(copy_dir=sources)

        assert vault.get_code_module_str("pipeline") == "from .clean import clean\n"
        assert vault.get_code_module_str("pipeline.steps.shout") == SHOUT
        with pytest.raises(
            TVArgumentError, match=r"no code module 'pipeline\.step'\. Did you mean 'pipeline\.steps'\?"
        ):
            vault.get_code_module_str("pipeline.step")

    def test_modules_in_packages_are_created_replaced_and_deleted(self, vault: TableVault, sources: Path) -> None:
        vault.create_code_module(copy_dir=sources)

        vault.create_code_module("pipeline.late", text="MARK = '?'\n")
        vault.create_code_module("pipeline.new", text="N = 1\n")
        vault.delete_code_module("pipeline.steps.shout")

        assert vault.get_code_module_str("pipeline.late") == "MARK = '?'\n"
        assert vault.get_code_modules_list() == [
            *("pipeline", "pipeline.clean", "pipeline.late", "pipeline.new", "pipeline.steps", "scoring")
        ]

    def test_a_module_in_no_package_is_refused(self, vault: TableVault, sources: Path) -> None:
        vault.create_code_module(copy_dir=sources)

        with pytest.raises(TVArgumentError, match=r"no package 'pipelin'.*Did you mean 'pipeline'\?.*copy_dir="):
            vault.create_code_module("pipelin.late", text="")
        with pytest.raises(TVArgumentError, match="no package 'scoring'"):
            vault.create_code_module("scoring.late", text="")

    def test_a_package_replaces_all_that_had_its_name(self, vault: TableVault, sources: Path, vault_dir: Path) -> None:
        vault.create_code_module("pipeline", text="x = 1\n")
        vault.create_code_module("pipeline", sources / "pipeline")
        assert vault.get_code_modules_list() == MODULES[:-1]

        (sources / "pipeline" / "steps" / "shout.py").unlink()
        vault.create_code_module("pipeline", sources / "pipeline")
        assert "pipeline.steps.shout" not in vault.get_code_modules_list()

        vault.create_code_module("pipeline", text="x = 2\n")
        assert tree(vault_dir / "code_functions") == {"pipeline.py": b"x = 2\n"}
        assert vault.get_code_module_str("pipeline") == "x = 2\n"

    def test_a_file_may_become_a_folder_and_the_reverse(
        self, vault: TableVault, tmp_path: Path, vault_dir: Path
    ) -> None:
        first = write(tmp_path / "first" / "p", {"__init__.py": "", "part": "text"})
        second = write(tmp_path / "second" / "p", {"__init__.py": "", "part/inner.txt": "text"})
        for source in (first, second, first):
            vault.create_code_module(copy_dir=source)
            assert tree(vault_dir / "code_functions" / "p") == tree(source)

    def test_deleting_a_package_takes_all_of_it(self, vault: TableVault, sources: Path, vault_dir: Path) -> None:
        vault.create_code_module(copy_dir=sources)
        (vault_dir / "code_functions" / "pipeline" / "__pycache__").mkdir()

        vault.delete_code_module("pipeline")

        assert [path.name for path in (vault_dir / "code_functions").iterdir()] == ["scoring.py"]
        with pytest.raises(TVArgumentError, match="no code module 'pipeline'"):
            vault.delete_code_module("pipeline")

    def test_new_files_have_the_users_permissions(self, vault: TableVault, sources: Path, vault_dir: Path) -> None:
        (sources / "pipeline" / "clean.py").chmod(0o777)
        old = os.umask(0o077)
        try:
            vault.create_code_module(copy_dir=sources)
        finally:
            os.umask(old)

        below = (vault_dir / "code_functions").rglob("*")
        assert {stat.S_IMODE(path.stat().st_mode) for path in below} == {0o700, 0o600}

    @pytest.mark.parametrize(
        ("spoil", "error", "message"),
        [
            (lambda s: (s / "pipeline.py").write_text(""), TVArgumentError, r"pipeline\.py and a package pipeline"),
            (
                lambda s: (s / "pipeline/bad.py").write_text("x ="),
                TVBuilderError,
                r"pipeline/bad\.py:1:\d: .*not Python",
            ),
            (lambda s: (s / "pipeline/bad.py").write_bytes(b"\xff"), TVBuilderError, r"bad\.py: .* not UTF-8"),
            (lambda s: os.mkfifo(s / "pipeline/pipe"), TVFileError, "neither a file nor a folder"),
            (lambda s: (s / "pipeline/link").symlink_to(s / "data"), TVFileError, "neither a file nor a folder"),
            (lambda s: (s / "pipeline/gone").symlink_to(s / "none"), TVFileError, "neither a file nor a folder"),
            (lambda s: os.truncate(s / "pipeline/words.txt", 17 << 20), TVArgumentError, "more than 16 MB"),
            (lambda s: (s / "pipeline").rename(s / "pipe-line"), TVArgumentError, "'pipe-line' can't be imported"),
        ],
    )
    def test_what_cannot_be_copied_changes_nothing(
        self,
        vault: TableVault,
        sources: Path,
        vault_dir: Path,
        spoil: Callable[[Path], object],
        error: type[TableVaultError],
        message: str,
    ) -> None:
        vault.create_code_module("scoring", text="x = 1\n")
        spoil(sources)

        with pytest.raises(error, match=message):
            vault.create_code_module(copy_dir=sources)

        assert tree(vault_dir / "code_functions") == {"scoring.py": b"x = 1\n"}

    def test_what_is_meant_must_be_clear(self, vault: TableVault, sources: Path) -> None:
        with pytest.raises(TVArgumentError, match="is a package, and 'clean' is in it"):
            vault.create_code_module("clean", sources / "pipeline")

    @pytest.mark.parametrize("name", ["pipeline/link.txt", "linked.py"])
    def test_links_are_left_alone(self, vault: TableVault, sources: Path, vault_dir: Path, name: str) -> None:
        vault.create_code_module(copy_dir=sources / "pipeline")
        (vault_dir / "code_functions" / name).symlink_to(sources / "notes.txt")
        module = name.partition("/")[0].removesuffix(".py")

        for change in (vault.delete_code_module, vault.create_code_module):
            with pytest.raises(TVFileError, match="is a link, so nothing was changed"):
                change(module)

        assert (sources / "notes.txt").read_text() == "not for us"
        assert "pipeline.clean" in vault.get_code_modules_list()

    def test_a_folder_of_the_users_is_left_alone(self, vault: TableVault, sources: Path, vault_dir: Path) -> None:
        write(vault_dir / "code_functions" / "pipeline", {"precious.txt": "mine"})

        with pytest.raises(TVArgumentError, match=r"isn't a package.*Move it away"):
            vault.create_code_module(copy_dir=sources)

        assert tree(vault_dir / "code_functions") == {"pipeline/precious.txt": b"mine"}

    def test_what_was_executed_is_stored_with_the_instance(
        self, vault: TableVault, sources: Path, vault_dir: Path
    ) -> None:
        vault.create_code_module(copy_dir=sources)
        code = tree(vault_dir / "code_functions")

        frame = build(vault, "words", BUILDERS, code=TEXTS)
        vault.create_code_module("pipeline.late", text="MARK = '?'\n")
        vault.delete_code_module("scoring")

        assert frame["rated"].tolist() == ["QUICK FOX!", "DOG!"]
        (instance_id,) = vault.get_table_instances("words")
        assert tree(vault_dir / "words" / instance_id / "code") == {**code, "work.py": TEXTS.encode()}
        states.assert_sound(vault_dir)

    def test_functions_of_modules_in_packages_are_called(self, vault: TableVault, sources: Path) -> None:
        vault.create_code_module(copy_dir=sources)
        builder = BUILDERS["rated"].replace("code_module: scoring", "code_module: pipeline.steps.shout")

        frame = build(vault, "words", {**BUILDERS, "rated": builder.replace("rate\n", "shout\n")}, code=TEXTS)

        assert frame["rated"].tolist() == ["THE QUICK FOX", "A DOG"]


NAMED = "import helper\n\n\ndef rate(text):\n    from late import MARK\n    return text + helper.NAME + MARK\n"


def test_two_vaults_with_modules_of_the_same_names_run_at_once(tmp_path: Path) -> None:
    vaults = []
    for name in ("one", "two"):
        vault = TableVault(tmp_path / name, create=True)
        code = {"scoring": NAMED, "helper": f"NAME = ' {name}'\n", "late": f"MARK = ' {name}!'\n"}
        for module, text in code.items():
            vault.create_code_module(module, text=text)
        texts = "def texts():\n    for number in range(30):\n        yield str(number)\n"
        begin(vault, "words", {**BUILDERS, "rated": BUILDERS["rated"] + "n_threads: 4\n"}, code=texts)
        vaults.append(vault)
    for done in [Background(vault.execute_instance, "words") for vault in vaults]:
        done.result()

    for vault, name in zip(vaults, ("one", "two"), strict=True):
        assert vault.get_dataframe("words")["rated"].tolist() == [f"{number} {name} {name}!" for number in range(30)]
    assert not {"scoring", "helper", "late"} & sys.modules.keys()


SCRIPT = """
import sys
from tablevault_like import TableVault

LIMIT = 2

def shorten(word):
    return word[:LIMIT]

def texts():
    yield from map(shorten, ["stories", "papers"])

class Marks:
    def __init__(self, texts):
        self.texts = texts

    def first(self):
        return clean(self.texts[0])

def clean(text):
    return text.strip()

def exclaim(text, marks):
    import late
    return text + marks.first() + late.END

LAST = {"exclaim": exclaim}

def make(prefix, marks, steps):
    def rate(text):
        return steps["exclaim"](prefix + shorten(text), marks)
    return rate

vault = TableVault(sys.argv[1], create=True)
vault.create_code_module("work", function=texts)
vault.create_code_module("late", text="END = '.'")
vault.create_code_module("scoring", function=make("> ", Marks([" ! ", "?"]), LAST), process_id="given")
"""


class TestFunctions:
    @pytest.fixture
    def scripted(self, vault_dir: Path) -> TableVault:
        """Return a vault whose code modules were given by a script that has ended."""
        path = vault_dir.with_name("script.py")
        path.write_text(SCRIPT)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        subprocess.run([sys.executable, path, vault_dir], check=True, env=environment)
        return TableVault(vault_dir)

    def test_functions_of_a_script_run_in_another_interpreter(self, scripted: TableVault, vault_dir: Path) -> None:
        assert build(scripted, "words", BUILDERS)["rated"].tolist() == ["> st!.", "> pa!."]

        (instance_id,) = scripted.get_table_instances("words")
        stored = vault_dir / "words" / instance_id / "code"
        assert tree(stored) == tree(vault_dir / "code_functions")
        assert scripted.get_code_module_str("work").startswith("LIMIT = 2\n")
        assert "unpickled(" in scripted.get_code_module_str("scoring")
        states.assert_sound(vault_dir)

    def test_they_run_in_the_background(self, scripted: TableVault) -> None:
        begin(scripted, "words", BUILDERS)
        scripted.execute_instance("words", process_id="p", background=True)
        assert scripted.wait("p", timeout=PATIENCE).state is State.COMPLETED

        assert scripted.get_dataframe("words")["rated"].tolist() == ["> st!.", "> pa!."]

    def test_a_pickled_function_goes_on_after_the_death_of_its_worker(
        self, scripted: TableVault, vault_dir: Path, workers: Workers
    ) -> None:
        begin(scripted, "words", BUILDERS)
        faults = [Fault("after tablevault_like.storage.rows:RowStore.record", Action.KILL, 2)]
        with pytest.raises(Trouble):
            workers.start(tasks.execute, vault_dir, "words", "p", faults=faults).result()

        TableVault(vault_dir, restart=True)

        assert scripted.get_dataframe("words")["rated"].tolist() == ["> st!.", "> pa!."]

    def test_giving_it_again_is_no_change_and_giving_another_is(self, vault: TableVault) -> None:
        vault.create_code_module("scoring", function=given.prefixed("> "))
        builders = {**BUILDERS, "rated": BUILDERS["rated"].replace("rate\n", "add_prefix\n")}
        begin(vault, "words", builders, code="def texts():\n    yield 'a'\n    yield 1 / 0\n")
        with pytest.raises(ZeroDivisionError):
            vault.execute_instance("words", process_id="p")

        vault.create_code_module("work", text=TEXTS.replace("'the", "'b the"))
        vault.create_code_module("scoring", function=given.prefixed("> "))
        with pytest.raises(TVBuilderError) as same:
            vault.execute_instance("words", process_id="p")
        vault.create_code_module("scoring", function=given.prefixed("< "))
        with pytest.raises(TVBuilderError) as other:
            vault.execute_instance("words", process_id="p")

        assert "scoring.add_prefix" not in str(same.value)
        assert "scoring.add_prefix changed" in str(other.value)

    def test_the_module_is_called_like_the_function_unless_it_is_named(self, vault: TableVault) -> None:
        vault.create_code_module(function=given.alone)
        vault.create_code_module("other", function=given.alone)
        vault.create_code_module("third", function=lambda text: len(text))

        assert vault.get_code_modules_list() == ["alone", "other", "third"]
        assert vault.get_code_module_str("third") == "third = lambda text: len(text)\n"

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"function": len, "text": "x = 1"}, "as function=, as text=, or where it lies as copy_dir="),
            ({"function": len, "copy_dir": "x"}, "as function=, as text=, or where it lies as copy_dir="),
            ({"function": lambda: 1}, "this function has none of its own"),
            ({"module_name": "a-b", "function": len}, "must be a Python identifier"),
            ({"module_name": "x", "function": "len"}, "not a value of type str"),
            ({"module_name": "x", "function": given.with_unknown}, "'nowhere', which isn't defined"),
        ],
    )
    def test_mistakes_are_told(self, vault: TableVault, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(TVArgumentError, match=message):
            vault.create_code_module(**fields)
        assert vault.get_code_modules_list() == []
