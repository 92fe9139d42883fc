from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.errors import TVBuilderError
from tablevault_like.functions.imports import closure

VAULT = {
    "scoring.py": "import helper, os.path\n",
    "helper.py": "def clean():\n    from deep import x\n",
    "deep.py": "if False:\n    import scoring\n",
    "spare.py": "import helper\n",
    "users.py": "from pipeline.steps import first\n",
    "pipeline/__init__.py": "",
    "pipeline/steps/__init__.py": "",
    "pipeline/steps/first.py": "from ...deep import x\nfrom ... import spare\n",
    "pipeline/prompts/rate.txt": "Rate this.",
    "pipeline/.cache": "",
    "pipeline/__pycache__/first.pyc": "",
    "not_a_package/deep.py": "",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in VAULT.items():
        write(tmp_path / name, text)
    return tmp_path


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_modules_are_followed_through_every_kind_of_import(folder: Path) -> None:
    assert closure(folder, "scoring") == ("deep.py", "helper.py", "scoring.py")


def test_a_package_counts_with_all_its_files(folder: Path) -> None:
    assert closure(folder, "users") == (
        "deep.py",
        "helper.py",
        "pipeline/__init__.py",
        "pipeline/prompts/rate.txt",
        "pipeline/steps/__init__.py",
        "pipeline/steps/first.py",
        "scoring.py",
        "spare.py",
        "users.py",
    )
    assert closure(folder, "pipeline.steps.first") == tuple(
        name for name in closure(folder, "users") if name != "users.py"
    )


@pytest.mark.parametrize(
    "text",
    [
        "import helper as h",
        "from helper import *",
        "from .helper import x",
        "from . import helper",
        "class A:\n    def f(self):\n        import helper",
        "try:\n    import faster\nexcept ImportError:\n    import helper",
        "import importlib\nimportlib.import_module('.helper', __package__)",
        "__import__('helper')",
    ],
)
def test_every_form_of_import_counts(folder: Path, text: str) -> None:
    write(folder / "new.py", text)
    assert closure(folder, "new") == ("deep.py", "helper.py", "new.py", "scoring.py")


@pytest.mark.parametrize(
    "text",
    ["import os", "import helpers", "from somewhere import helper", "import new", "from .. import helper", "# helper"],
)
def test_other_imports_do_not_count(folder: Path, text: str) -> None:
    write(folder / "new.py", text)
    assert closure(folder, "new") == ("new.py",)


@pytest.mark.parametrize("text", ["import importlib as i\ni.import_module(n)", "__import__(n)", "exec(n)", "eval(n)"])
def test_a_module_with_computed_imports_may_need_all(folder: Path, text: str) -> None:
    write(folder / "new.py", text)
    assert set(closure(folder, "new")) == {*closure(folder, "users"), "new.py"}


def test_nothing_is_run(folder: Path) -> None:
    write(folder / "new.py", "open(__file__ + '.ran', 'w').close()")
    closure(folder, "new")
    assert not (folder / "new.py.ran").exists()


def test_unknown_module_names_the_nearest(folder: Path) -> None:
    with pytest.raises(TVBuilderError, match=r"no code module 'helpr'\. Did you mean 'helper'\?"):
        closure(folder, "helpr")


def test_a_syntax_error_anywhere_has_its_place(folder: Path) -> None:
    write(folder / "deep.py", "x = 1\nif x\n    pass\n")
    with pytest.raises(TVBuilderError, match=r"deep\.py:2:\d+: This can't be read as Python: expected ':'") as raised:
        closure(folder, "scoring")
    assert raised.value.location is not None
    assert raised.value.location.path == str(folder / "deep.py")


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = tmp_path_factory.mktemp("outside") / "secret.txt"
    outside.write_text("")
    (folder / "pipeline" / "link.txt").symlink_to(outside)
    with pytest.raises(TVBuilderError, match=r"link\.txt: This is a link that leads out of the folder"):
        closure(folder, "users")


def test_a_link_inside_the_folder_is_a_file(folder: Path) -> None:
    (folder / "alias.py").symlink_to(folder / "deep.py")
    assert closure(folder, "alias") == ("alias.py", "deep.py", "helper.py", "scoring.py")
