from __future__ import annotations

import dataclasses
import inspect
import shutil
import string
import sys
import threading
import traceback
import typing
from collections.abc import Iterator
from pathlib import Path

import pytest

from tablevault_like.errors import TVBuilderError
from tablevault_like.functions.modules import Loader, modules


def write(folder: Path, **texts: str) -> Path:
    """Write modules into ``folder``; ``pipeline__clean`` is ``pipeline/clean.py``."""
    for name, text in texts.items():
        path = folder / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def write_package(folder: Path, init: str = "", **texts: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    write(folder, **texts)
    (folder / "__init__.py").write_text(init)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "code_functions"


def load(folder: Path, module: str, name: str) -> typing.Any:
    """Load a function with a loader that stays open until the test is over."""
    return open_loader(folder).function(module, name)


_opened: list[Loader] = []


def open_loader(folder: Path, label: str = "test") -> Loader:
    _opened.append(Loader(folder, label=label))
    return _opened[-1]


@pytest.fixture(autouse=True)
def interpreter_stays_as_it_was() -> Iterator[None]:
    path, before = list(sys.path), {name: id(module) for name, module in sys.modules.items()}
    yield
    while _opened:
        _opened.pop().close()
    after = {name: id(module) for name, module in sys.modules.items()}
    assert sys.path == path
    assert {name: after.get(name) for name in before} == before
    assert not any(name.startswith("vault_code") for name in after)
    assert not {"helper", "scoring", "pipeline"} & after.keys()


class TestFinding:
    def test_lists_modules_and_packages(self, folder: Path) -> None:
        write(folder, scoring="", helper="", notes__draft="")
        write_package(folder / "pipeline", clean="")
        (folder / "my-script.py").write_text("")
        (folder / "prompt.txt").write_text("")
        assert modules(folder) == ["helper", "pipeline", "scoring"]

    def test_no_folder_is_no_modules(self, folder: Path) -> None:
        assert modules(folder) == []

    def test_a_package_wins_over_a_module_of_its_name(self, folder: Path) -> None:
        write(folder, scoring="def rate(): return 'module'")
        write_package(folder / "scoring", init="def rate(): return 'package'")
        assert load(folder, "scoring", "rate")() == "package"

    def test_a_function_may_be_named_with_its_module(self, folder: Path) -> None:
        write(folder, scoring="def rate(): return 1")
        assert load(folder, "scoring", "scoring.rate")() == 1

    def test_unknown_module_names_the_nearest(self, folder: Path) -> None:
        write(folder, scoring="", helper="")
        with pytest.raises(TVBuilderError, match=r"no code module 'scorin'\. Did you mean 'scoring'\?"):
            load(folder, "scorin", "rate")

    @pytest.mark.parametrize("name", ["../scoring", "/etc/passwd", "", ".", "a..b", "scoring.py", "scoring.rate"])
    def test_names_that_are_no_module_lead_nowhere(self, folder: Path, name: str) -> None:
        write(folder / "inner", scoring="")
        write(folder, scoring="")
        with pytest.raises(TVBuilderError, match="no code module"):
            load(folder / "inner", name, "rate")

    def test_unknown_function_names_the_nearest_and_the_file(self, folder: Path) -> None:
        write(folder, scoring="from os.path import join\ndef rate(): ...\ndef other(): ...")
        with pytest.raises(TVBuilderError, match=r"has no function 'rat'\. Did you mean 'rate'\?") as raised:
            load(folder, "scoring", "rat")
        assert str(folder / "scoring.py") in str(raised.value)

    def test_another_modules_prefix_is_no_function(self, folder: Path) -> None:
        write(folder, scoring="def rate(): ...", helper="def clean(): ...")
        with pytest.raises(TVBuilderError, match=r"has no function 'helper\.clean'"):
            load(folder, "scoring", "helper.clean")

    def test_what_is_no_function_says_what_it_is(self, folder: Path) -> None:
        write(folder, scoring="rate = 'high'")
        with pytest.raises(TVBuilderError, match=r"'rate' .* is not a function but a value of type str"):
            load(folder, "scoring", "rate")

    def test_a_link_out_of_the_folder_is_refused(self, folder: Path, tmp_path: Path) -> None:
        write(tmp_path, outside="def rate(): ...")
        folder.mkdir()
        (folder / "scoring.py").symlink_to(tmp_path / "outside.py")
        with pytest.raises(TVBuilderError, match="leads out of the folder"):
            load(folder, "scoring", "rate")

    def test_a_syntax_error_has_file_line_and_column(self, folder: Path) -> None:
        write(folder, scoring="import helper\ndef rate(): ...", helper="x = 1\ny = = 2\n")
        with pytest.raises(TVBuilderError, match=rf"{folder}/helper\.py:2:5: .*invalid syntax") as raised:
            load(folder, "scoring", "rate")
        assert raised.value.location is not None
        assert (raised.value.location.line, raised.value.location.column) == (2, 5)

    @pytest.mark.parametrize(
        "text", ["x = 1\0", "return 1", "(" * 5000, "-" * 100_000 + "1"], ids=["null", "compile", "nested", "deep"]
    )
    def test_what_python_cannot_compile_is_refused(self, folder: Path, text: str) -> None:
        write(folder, scoring=text)
        with pytest.raises(TVBuilderError, match="can't be read as Python"):
            load(folder, "scoring", "rate")

    def test_errors_of_the_module_itself_are_raised_as_they_are(self, folder: Path) -> None:
        write(folder, scoring="import helper", helper="{}['prompt']")
        with pytest.raises(KeyError, match="prompt"):
            load(folder, "scoring", "rate")
        write(folder, other="import a_package_that_nobody_has")
        with pytest.raises(ModuleNotFoundError, match="a_package_that_nobody_has"):
            load(folder, "other", "rate")


class TestImports:
    @pytest.mark.parametrize(
        "text",
        [
            "import helper\ndef rate(): return helper.clean()",
            "import helper as h\ndef rate(): return h.clean()",
            "from helper import clean\ndef rate(): return clean()",
            "from helper import *\ndef rate(): return clean()",
            "from .helper import clean\ndef rate(): return clean()",
            "from . import helper\ndef rate(): return helper.clean()",
            "def rate():\n    import helper\n    return helper.clean()",
            "def rate():\n    from helper import clean\n    return clean()",
            "def rate(): return __import__('helper').clean()",
            "import importlib\ndef rate(): return importlib.import_module('.helper', __package__).clean()",
            "def rate():\n    exec('import helper', space := {})\n    return space['helper'].clean()",
            "rate = lambda: [__import__('helper').clean() for _ in 'x'][0]",
        ],
    )
    def test_modules_import_each_other(self, folder: Path, text: str) -> None:
        write(folder, scoring=text, helper="def clean(): return 'cleaned'")
        assert load(folder, "scoring", "rate")() == "cleaned"

    @pytest.mark.parametrize(
        "text",
        [
            "import pipeline.steps.clean\ndef rate(): return pipeline.steps.clean.clean()",
            "import pipeline.steps.clean as c\ndef rate(): return c.clean()",
            "from pipeline.steps import clean\ndef rate(): return clean.clean()",
            "from pipeline.steps.clean import clean as rate",
            "from pipeline import through_relative_imports as rate",
            "def rate():\n    import pipeline.steps.clean\n    return pipeline.steps.clean.clean()",
        ],
    )
    def test_packages(self, folder: Path, text: str) -> None:
        write(folder, scoring=text, helper="SUFFIX = 'ed'")
        write_package(
            folder / "pipeline",
            "from .entry import through_relative_imports",
            entry="from .steps.clean import clean as through_relative_imports",
        )
        write_package(
            folder / "pipeline" / "steps",
            clean="from ...helper import SUFFIX\nfrom .. import entry\ndef clean(): return 'clean' + SUFFIX",
        )
        assert load(folder, "scoring", "rate")() == "cleaned"

    def test_functions_of_modules_in_packages(self, folder: Path) -> None:
        write_package(folder / "pipeline", clean="def clean(): return __name__.rpartition('.')[2]")
        assert load(folder, "pipeline.clean", "clean")() == "clean"

    def test_packages_read_files_beside_them(self, folder: Path) -> None:
        text = (
            "from importlib.resources import files\ndef prompt(): return (files(__name__) / 'prompt.txt').read_text()"
        )
        write_package(folder / "pipeline", text)
        (folder / "pipeline" / "prompt.txt").write_text("Rate this.")
        assert load(folder, "pipeline", "prompt")() == "Rate this."

    def test_the_environment_can_be_imported(self, folder: Path) -> None:
        write(
            folder, scoring="import os.path, json as j\nfrom collections import abc\ndef rate(): return os.path, j, abc"
        )
        import collections.abc
        import json
        import os.path

        assert load(folder, "scoring", "rate")() == (os.path, json, collections.abc)

    def test_a_module_hides_a_package_of_its_name_from_the_folder_only(self, folder: Path) -> None:
        write(folder, string="WORD = 'ours'", scoring="import string\ndef rate(): return string.WORD")
        assert load(folder, "scoring", "rate")() == "ours"
        assert sys.modules["string"] is string
        assert not hasattr(string, "WORD")

    def test_a_module_that_imports_its_own_name_means_the_environments(self, folder: Path) -> None:
        write(folder, string="import string\nfrom string import digits\ndef rate(): return string.digits + digits")
        assert load(folder, "string", "rate")() == string.digits * 2

    def test_a_module_whose_name_nobody_else_has_imports_itself(self, folder: Path) -> None:
        write(folder, scoring="import scoring\nWORD = 'own'\ndef rate(): return scoring.WORD")
        assert load(folder, "scoring", "rate")() == "own"

    def test_circular_imports_work_as_in_python(self, folder: Path) -> None:
        write(
            folder,
            first="import second\nNAME = 'first'\ndef both(): return NAME + second.NAME",
            second="import first\nNAME = 'second'\ndef both(): return first.NAME + NAME",
            third="from fourth import NAME\nOTHER = 1",
            fourth="from third import OTHER\nNAME = 1",
        )
        loader = open_loader(folder)
        assert loader.function("first", "both")() == loader.function("second", "both")() == "firstsecond"
        with pytest.raises(ImportError, match="cannot import name 'OTHER' from partially initialized module"):
            loader.function("third", "rate")

    def test_a_module_that_failed_can_be_loaded_again(self, folder: Path) -> None:
        write(
            folder,
            scoring="open(__file__ + '.ready').close()\ndef rate(): return 1",
        )
        loader = open_loader(folder)
        with pytest.raises(OSError, match="ready"):
            loader.function("scoring", "rate")
        (folder / "scoring.py.ready").touch()
        assert loader.function("scoring", "rate")() == 1

    def test_a_module_runs_once_for_each_loader(self, folder: Path) -> None:
        write(folder, counting="import helper\ndef bump(): helper.COUNT += 1; return helper.COUNT", helper="COUNT = 0")
        first, second = open_loader(folder, "same"), open_loader(folder, "same")
        assert [first.function("counting", "bump")() for _ in range(3)] == [1, 2, 3]
        assert second.function("counting", "bump")() == 1

    def test_nothing_is_written_into_the_folder(self, folder: Path) -> None:
        write(folder, scoring="import pipeline.clean\ndef rate(): ...")
        write_package(folder / "pipeline", clean="")
        before = sorted(folder.rglob("*"))
        load(folder, "scoring", "rate")
        assert sorted(folder.rglob("*")) == before

    def test_an_edit_within_the_same_second_is_seen(self, folder: Path) -> None:
        write(folder, scoring="def rate(): return 1")
        assert load(folder, "scoring", "rate")() == 1
        write(folder, scoring="def rate(): return 2")
        assert load(folder, "scoring", "rate")() == 2


class TestIsolation:
    def test_two_folders_with_the_same_names(self, tmp_path: Path) -> None:
        text = (
            "import helper\ndef now(): return helper.NAME\ndef later():\n    from helper import NAME\n    return NAME"
        )
        found = []
        for name in ("one", "two"):
            write(tmp_path / name, scoring=text, helper=f"NAME = '{name}'")
            loader = open_loader(tmp_path / name)
            found.append((loader.function("scoring", "now"), loader.function("scoring", "later")))
        assert [(now(), later()) for now, later in found] == [("one", "one"), ("two", "two")]

    def test_imports_inside_functions_in_many_threads(self, tmp_path: Path) -> None:
        late = "import threading\ndef rate():\n    import late\n    from late import NAME\n    return NAME, late.NAME"
        functions = []
        for name in ("one", "two"):
            write(tmp_path / name, scoring=late, late=f"NAME = '{name}'\nimport other", other="from late import NAME")
            functions.append((name, load(tmp_path / name, "scoring", "rate")))
        start, answers = threading.Barrier(16), list[tuple[str, object]]()

        def call(name: str, function: typing.Any) -> None:
            start.wait()
            answers.extend((name, function()) for _ in range(100))

        threads = [threading.Thread(target=call, args=functions[number % 2]) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(answers) == 1600
        assert all(answer == (name, name) for name, answer in answers)

    def test_threads_that_load_at_once_get_the_same_function(self, folder: Path) -> None:
        write(folder, scoring="import helper\ndef rate(): ...", helper="import time\ntime.sleep(0.01)")
        loader = open_loader(folder)
        start, found = threading.Barrier(8), []

        def get() -> None:
            start.wait()
            found.append(loader.function("scoring", "rate"))

        threads = [threading.Thread(target=get) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(found) == 8
        assert len(set(found)) == 1

    def test_closing_one_loader_leaves_others_alone(self, folder: Path) -> None:
        write(folder, scoring="def rate():\n    import helper\n    return helper.NAME", helper="NAME = 1")
        first, second = open_loader(folder, "same"), open_loader(folder, "same")
        functions = first.function("scoring", "rate"), second.function("scoring", "rate")
        first.close()
        first.close()
        assert functions[1]() == 1
        with pytest.raises(ImportError, match="'helper' can't be imported any more: the code of same was closed"):
            functions[0]()
        with pytest.raises(ValueError, match="was closed"):
            first.function("scoring", "rate")

    def test_functions_go_on_working_after_close(self, folder: Path) -> None:
        write(folder, scoring="import helper\ndef rate(): return helper.NAME", helper="NAME = 1")
        with Loader(folder, label="test") as loader:
            function = loader.function("scoring", "rate")
        assert function() == 1


class TestPython:
    """What rests on ``sys.modules`` or on files."""

    def test_dataclasses_and_type_hints_with_postponed_annotations(self, folder: Path) -> None:
        write(
            folder,
            scoring="from __future__ import annotations\n"
            "import dataclasses, typing\n"
            "@dataclasses.dataclass(slots=True)\n"
            "class Score:\n"
            "    value: int\n"
            "    parent: Score | None = None\n"
            "    LIMIT: typing.ClassVar[int] = 5\n"
            "def rate(text: str) -> Score: return Score(len(text))\n",
        )
        rate = load(folder, "scoring", "rate")
        score = rate("abc")
        assert dataclasses.asdict(score) == {"value": 3, "parent": None}
        assert typing.get_type_hints(rate) == {"text": str, "return": type(score)}
        assert typing.get_type_hints(type(score))["parent"] == type(score) | None

    def test_enums_namedtuples_and_pickles_find_their_module(self, folder: Path) -> None:
        write(
            folder,
            scoring="import enum, pickle\n"
            "class Mood(enum.Enum):\n    GOOD = 1\n"
            "def copy(): return pickle.loads(pickle.dumps(Mood.GOOD)) is Mood.GOOD\n",
        )
        assert load(folder, "scoring", "copy")() is True

    def test_tracebacks_show_the_file_and_the_line(self, folder: Path) -> None:
        write(folder, scoring="import helper\ndef rate():\n    return helper.clean()\n")
        write(folder, helper="def clean():\n    return {}['prompt']  # here\n")
        with pytest.raises(KeyError) as raised:
            load(folder, "scoring", "rate")()
        shown = "".join(traceback.format_exception(raised.value))
        assert f'File "{folder}/helper.py", line 2, in clean' in shown
        assert "return {}['prompt']  # here" in shown

    def test_tracebacks_of_imports_show_only_user_code_and_the_loader(self, folder: Path) -> None:
        write(folder, scoring="import helper\n", helper="1 / 0\n")
        with pytest.raises(ZeroDivisionError) as raised:
            load(folder, "scoring", "rate")
        files = [Path(frame.filename).name for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert files[1:] == ["test_modules.py", "modules.py", "modules.py", "scoring.py", "modules.py", "helper.py"]

    def test_tracebacks_from_a_copy_name_the_original_as_long_as_it_says_the_same(self, folder: Path) -> None:
        write(folder, scoring="import helper\ndef rate():\n    helper.clean()\n", helper="def clean():\n    1 / 0\n")
        copy = Path(shutil.copytree(folder, folder.parent / "copy"))
        write(folder, helper="# edited\ndef clean():\n    1 / 0\n")
        with Loader(copy, label="test", original=folder) as loader:
            rate = loader.function("scoring", "rate")
        with pytest.raises(ZeroDivisionError) as raised:
            rate()
        files = [frame.filename for frame in traceback.extract_tb(raised.value.__traceback__)]
        assert files[1:] == [str(folder / "scoring.py"), str(copy / "helper.py")]
        shutil.rmtree(copy)
        assert inspect.getsource(rate) == "def rate():\n    helper.clean()\n"

    def test_the_source_can_be_inspected(self, folder: Path) -> None:
        write(folder, scoring="def rate():\n    return 1\n")
        assert inspect.getsource(load(folder, "scoring", "rate")) == "def rate():\n    return 1\n"

    def test_label_shows_in_the_modules_name(self, folder: Path) -> None:
        write(folder, scoring="def rate(): ...")
        with Loader(folder, label="stories/base") as loader:
            assert loader.function("scoring", "rate").__module__.startswith("vault_code_stories_base_")
