from __future__ import annotations

import functools
import linecache
import math
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from tablevault_like.errors import TVArgumentError, TVBuilderError
from tablevault_like.functions.file_arguments import file_arguments
from tablevault_like.functions.fingerprint import difference, fingerprint
from tablevault_like.functions.given import module_text
from tablevault_like.functions.imports import closure
from tablevault_like.functions.modules import Loader
from tests.functions import given_functions as given


@pytest.fixture
def keep(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Return a function that keeps a function as a code module, and loads it as an execution does."""
    loaders: list[Loader] = []

    def keep(function: Callable[..., object], module: str = "kept") -> Any:
        (tmp_path / f"{module}.py").write_text(module_text(function, module=module))
        loaders.append(Loader(tmp_path, label="test"))
        name = getattr(function, "__name__", "<")
        return loaders[-1].function(module, name if name.isidentifier() else module)

    yield keep
    for loader in loaders:
        loader.close()


def is_source(function: Callable[..., object]) -> bool:
    return "unpickled(" not in module_text(function, module="kept")


class TestSource:
    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            (given.alone, ["abc"]),
            (given.with_helpers, ["One two THREE four"]),
            (given.with_modules, ["/tmp/folder"]),
            (given.with_constants, ["good"]),
            (given.decorated, [4]),
            (given.cached, [4]),
            (given.with_class, [4]),
            (given.recursive, [5]),
            (given.typed, [Decimal(1)]),
            (given.with_lazy_import, []),
            (given.with_type_variable, [4]),
            (given.nested(), [4]),
            (given.double, [4]),
            (given.PAIR[1], [4]),
            (textwrap.shorten, ["one two three", 8]),
            (math.sqrt, [4.0]),
            (len, ["abc"]),
        ],
        ids=lambda value: getattr(value, "__name__", ""),
    )
    def test_what_stands_alone_is_kept_as_source_and_does_the_same(
        self, keep: Callable[..., Any], function: Callable[..., object], arguments: list[object]
    ) -> None:
        assert is_source(function)
        assert keep(function)(*arguments) == function(*arguments)

    def test_the_source_is_as_it_was_written(self) -> None:
        text = module_text(given.with_helpers, module="kept")

        assert text.startswith("from __future__ import annotations\n\nLIMIT = 3\nWORD = ")
        assert text.endswith(
            '''

def with_helpers(text: str, n: int = LIMIT) -> list[str]:
    """Return the first words."""
    return [clean(word) for word in words(text)][:n]


def words(text: str) -> list[str]:
    return WORD.findall(text)


def clean(word: str) -> str:
    # This comment stays.
    return word.lower()
'''
        )

    def test_what_is_installed_is_imported(self) -> None:
        assert module_text(textwrap.shorten, module="kept") == "from textwrap import shorten\n"
        lines = module_text(given.with_modules, module="kept").splitlines()
        assert {"import numpy as np", "import os", "import xml.etree.ElementTree"} <= {*lines}
        assert "from pathlib import Path" in lines

    def test_classes_come_with_what_they_use(self, keep: Callable[..., Any]) -> None:
        text = module_text(given.with_class, module="kept")

        assert text.index("@dataclass\nclass Pair") > text.index("LIMIT = 3")
        assert "def add(" in text

    def test_variables_of_the_module_start_from_what_they_are(self, keep: Callable[..., Any]) -> None:
        given.COUNT = 5
        kept = keep(given.counting)

        assert [kept(), kept(), given.COUNT] == [6, 7, 5]

    def test_declarations_of_files_stay(self, keep: Callable[..., Any]) -> None:
        assert file_arguments(keep(given.reads)) == ("path",)

    def test_generators_and_rows(self, keep: Callable[..., Any]) -> None:
        assert list(keep(given.generator)(2)) == list(given.generator(2))

    def test_a_lambda_is_called_like_its_module(self) -> None:
        assert module_text(given.PAIR[1], module="plus") == "plus = lambda n: n + 2\n"

    def test_a_comment_changes_no_fingerprint_and_a_helper_does(self, tmp_path: Path) -> None:
        text = module_text(given.with_helpers, module="kept")
        digests = []
        for number, changed in enumerate([text, text.replace("comment", "remark"), text.replace("lower", "upper")]):
            (tmp_path / f"{number}").mkdir()
            (tmp_path / f"{number}" / "kept.py").write_text(changed)
            digests.append(fingerprint(tmp_path / f"{number}", "kept", "with_helpers").digest)

        assert digests[0] == digests[1] != digests[2]

    def test_an_edited_file_is_not_taken_for_what_was_imported(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Callable[..., Any]
    ) -> None:
        path = tmp_path / "edited_module.py"
        path.write_text("def rate(n):\n    return n + 1\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        import edited_module  # type: ignore[import-not-found]

        assert is_source(edited_module.rate)
        path.write_text("def rate(n):\n    return n + 1000\n")
        linecache.checkcache()

        assert "its source was edited" in module_text(edited_module.rate, module="kept")
        assert keep(edited_module.rate)(1) == 2
        del sys.modules["edited_module"]


class TestPickled:
    def test_what_closes_over_values_does_the_same(self, keep: Callable[..., Any]) -> None:
        function = given.prefixed("> ")

        assert not is_source(function)
        assert keep(function)("WORD") == "> word"

    def test_the_text_says_why_and_shows_the_source(self) -> None:
        text = module_text(given.prefixed("> "), module="kept")

        assert text.startswith("\"\"\"The function 'add_prefix', pickled, because it closes over 'prefix'.")
        assert '#         return f"{prefix}{clean(text)}"' in text

    def test_functions_that_call_themselves(self, keep: Callable[..., Any]) -> None:
        assert keep(given.countdown())(3) == [3, 2, 1]

    def test_functions_that_share_variables_go_on_sharing_them(self, keep: Callable[..., Any]) -> None:
        function = given.counter()
        function()
        kept = keep(function)

        assert [kept(), kept(), function()] == [2, 3, 2]

    @pytest.mark.parametrize(
        ("function", "arguments"),
        [
            (given.with_frame, [4]),
            (given.with_lock, [4]),
            (given.computed_default, [1]),
            (given.with_file, []),
            (functools.partial(given.add, 1), [2]),
            (given.Scorer(3).score, [2]),
            (given.Scorer.plain, [2]),
            (given.doubled(given.alone), ["abc"]),
        ],
    )
    def test_other_functions_whose_source_would_not_do(
        self, keep: Callable[..., Any], function: Callable[..., object], arguments: list[object]
    ) -> None:
        assert not is_source(function)
        assert keep(function)(*arguments) == function(*arguments)

    @pytest.mark.parametrize(
        "value", [{"a", "b"}, {"k": [1, None]}, Decimal("1.5"), pd.Timestamp("2024-01-01"), given.Pair(1), given.clean]
    )
    def test_values(self, keep: Callable[..., Any], value: object) -> None:
        found = keep(given.closing_over(value))()

        assert found("A") == "a" if callable(found) else found == value

    def test_frames(self, keep: Callable[..., Any]) -> None:
        pd.testing.assert_frame_equal(keep(given.closing_over(given.FRAME))(), given.FRAME)

    def test_equal_functions_have_equal_texts(self) -> None:
        assert module_text(given.prefixed("a"), module="kept") == module_text(given.prefixed("a"), module="kept")
        assert module_text(given.prefixed("a"), module="kept") != module_text(given.prefixed("b"), module="kept")

    def test_imports_inside_find_the_modules_of_the_vault(self, tmp_path: Path, keep: Callable[..., Any]) -> None:
        def call() -> object:
            import helper_of_the_vault  # type: ignore[import-not-found]

            return helper_of_the_vault.NAME, value

        value = 3
        (tmp_path / "helper_of_the_vault.py").write_text("NAME = 'ours'")

        assert keep(call)() == ("ours", 3)
        assert closure(tmp_path, "kept") == ("helper_of_the_vault.py", "kept.py")
        before = fingerprint(tmp_path, "kept", "call")
        (tmp_path / "helper_of_the_vault.py").write_text("NAME = 'other'")
        assert difference(before, fingerprint(tmp_path, "kept", "call")) == ["helper_of_the_vault.NAME changed"]
        assert "helper_of_the_vault" not in sys.modules

    def test_modules_of_the_users_are_those_of_the_vault_where_it_has_them(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: Callable[..., Any]
    ) -> None:
        (tmp_path / "outside").mkdir()
        (tmp_path / "outside" / "local_module.py").write_text("NAME = 'outside'")
        monkeypatch.syspath_prepend(tmp_path / "outside")
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        import local_module  # type: ignore[import-not-found]

        monkeypatch.setattr(given, "os", local_module)
        kept = given.closing_over(given.with_modules)
        (tmp_path / "local_module.py").write_text("NAME = 'the vault'")

        assert keep(kept)().__globals__["os"].NAME == "the vault"
        del sys.modules["local_module"]

    def test_a_damaged_pickle_is_refused(self, tmp_path: Path) -> None:
        text = module_text(given.prefixed("a"), module="kept")
        (tmp_path / "kept.py").write_text(text.replace("gAS", "gAT"))

        with Loader(tmp_path, label="test") as loader, pytest.raises(TVBuilderError, match="'kept' is damaged"):
            loader.function("kept", "add_prefix")

    def test_another_python_is_told_what_to_do(self, tmp_path: Path) -> None:
        text = module_text(given.prefixed("a"), module="kept")
        now = f"cpython {sys.version_info[0]}.{sys.version_info[1]}"
        (tmp_path / "kept.py").write_text(text.replace(now, "cpython 3.9"))

        with Loader(tmp_path, label="test") as loader, pytest.raises(TVBuilderError, match=r"by cpython 3\.9.* again"):
            loader.function("kept", "add_prefix")

    def test_finding_out_what_it_does_decodes_nothing(self, tmp_path: Path) -> None:
        class Trap:
            def __reduce__(self) -> tuple[object, ...]:
                return os.mkdir, (str(tmp_path / "it was decoded"),)

        (tmp_path / "kept.py").write_text(module_text(given.closing_over(Trap()), module="kept"))
        found = fingerprint(tmp_path, "kept", "give")

        assert "kept.give" in found.parts
        assert not (tmp_path / "it was decoded").exists()
        with Loader(tmp_path, label="test") as loader:
            loader.function("kept", "give")
        assert (tmp_path / "it was decoded").exists()


class TestMistakes:
    @pytest.mark.parametrize(
        ("function", "message"),
        [
            (3, "not a value of type int"),
            (given.Scorer, "not the class Scorer"),
            (given.Scorer.score, "is a method"),
            (given.asynchronous, "is asynchronous"),
            (given.with_generator, "it uses 'ENDLESS', a value of type generator; .* 'ENDLESS' is a generator"),
            (given.closing_over(given.ENDLESS), "closes over 'value'.*'value' is a generator.*of the function"),
            (given.closing_over("x" * (5 << 20)), r"values of 5\.2 MB; 4\.2 MB are allowed"),
            (given.with_unknown, "it uses 'nowhere', which isn't defined. Define it"),
            (given.with_relative, "imports from '.', which is relative .* copy_dir="),
        ],
    )
    def test_what_cannot_be_kept_is_told(self, function: Any, message: str) -> None:
        with pytest.raises(TVArgumentError, match=message):
            module_text(function, module="kept")


# As a notebook has it: cells are run in the main module, and their text is known under names that no file has.
NOTEBOOK = """
import linecache, sys
CELLS = [
    "import json\\nLIMIT = 2\\nseen = {'x', 'y', 'z'}",
    "def clean(text):\\n    return text.strip()[:LIMIT]",
    "def rate(text):\\n    return json.dumps(clean(text))",
    "def make(prefix):\\n    def join(text):\\n        return prefix + rate(text) + str(len(seen))\\n    return join",
]
for number, cell in enumerate(CELLS):
    name = f"<ipython-input-{number}-{sys.argv[1]}>"
    linecache.cache[name] = (len(cell), None, cell.splitlines(True), name)
    exec(compile(cell, name, "exec"), globals())
from pathlib import Path
from tablevault_like.functions.given import module_text
for name, function in {"plain": rate, "closed": make("> ")}.items():
    Path(sys.argv[2], f"{name}.py").write_text(module_text(function, module=name))
"""


def test_functions_of_a_notebook_outlive_it_and_come_out_the_same_each_time(tmp_path: Path) -> None:
    texts = []
    for session in ("1", "2"):
        folder = tmp_path / session
        folder.mkdir()
        environment = {**os.environ, "PYTHONHASHSEED": session}
        subprocess.run([sys.executable, "-c", NOTEBOOK, session, str(folder)], env=environment, check=True)
        texts.append([(folder / f"{name}.py").read_text() for name in ("plain", "closed")])
        with Loader(folder, label="test") as loader:
            assert loader.function("plain", "rate")(" abc ") == '"ab"'
            assert loader.function("closed", "join")(" abc ") == '> "ab"3'

    assert texts[0] == texts[1]
    assert "unpickled" not in texts[0][0]
    assert "unpickled" in texts[0][1]
