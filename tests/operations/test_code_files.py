from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like.errors import TVArgumentError
from tablevault_like.layout import Layout
from tablevault_like.operations import code_files


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path)


def put(layout: Layout, *names: str) -> None:
    for name in names:
        path = layout.code_functions / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def there(layout: Layout, name: str) -> set[str]:
    return {path.relative_to(layout.code_functions).as_posix() for path in code_files.files_of(layout, name)}


def test_a_name_stands_for_the_module_and_the_package_of_that_name(layout: Layout) -> None:
    put(layout, "a.py", "a/__init__.py", "a/words.txt", "a/b/c.py", "a/__pycache__/b.pyc", "ab.py")

    assert there(layout, "a") == {"a.py", "a/__init__.py", "a/words.txt", "a/b/c.py"}
    assert there(layout, "a.b") == set()
    assert there(layout, "a.b.c") == {"a/b/c.py"}


def test_a_folder_that_is_no_package_has_no_files_of_a_module(layout: Layout) -> None:
    put(layout, "a/b.py")

    assert there(layout, "a") == set()


def test_links_are_told_and_not_followed(layout: Layout, tmp_path: Path) -> None:
    put(layout, "a/__init__.py")
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.py").touch()
    (layout.code_functions / "a" / "link").symlink_to(outside)
    (layout.code_functions / "gone.py").symlink_to(tmp_path / "nothing")
    (layout.code_functions / "b").symlink_to(layout.code_functions / "a")

    assert there(layout, "a") == {"a/__init__.py", "a/link"}
    assert there(layout, "gone") == {"gone.py"}
    assert there(layout, "b") == set()


@pytest.mark.parametrize("path", ["", "..", "a/../../b.py", "/etc/passwd"])
def test_a_path_that_leads_out_is_refused(path: str) -> None:
    with pytest.raises(TVArgumentError, match="leads out of the folder of code modules"):
        code_files.inside(path)


def test_a_path_inside_stays_what_it_is() -> None:
    assert code_files.inside("a/b.py") == Path("a", "b.py")
