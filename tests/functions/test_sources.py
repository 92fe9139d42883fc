from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from tablevault_like.errors import TVBuilderError
from tablevault_like.functions.sources import CodeFolder


def test_a_folder_stays_what_it_was_when_it_was_opened(tmp_path: Path) -> None:
    (tmp_path / "scoring.py").write_text("x = 1")
    code = CodeFolder(tmp_path)
    first = code.require("scoring")
    (tmp_path / "scoring.py").write_text("x = 2")
    (tmp_path / "helper.py").write_text("")
    assert code.require("scoring") is first
    assert code.names == {"scoring"}
    assert CodeFolder(tmp_path).require("scoring") is not first


def test_pythons_warnings_about_a_text_come_once(tmp_path: Path) -> None:
    (tmp_path / "scoring.py").write_text("x = 1 is 1")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(3):
            CodeFolder(tmp_path).require("scoring")
    assert len(caught) == 1


def test_the_encoding_that_a_file_declares_is_used(tmp_path: Path) -> None:
    (tmp_path / "scoring.py").write_bytes("# coding: latin-1\nx = 'ä'".encode("latin-1"))
    space: dict[str, object] = {}
    exec(CodeFolder(tmp_path).require("scoring").code, space)
    assert space["x"] == "ä"
    (tmp_path / "broken.py").write_bytes(b"x = '\xff'")
    with pytest.raises(TVBuilderError, match=r"broken\.py.*can't be read as Python"):
        CodeFolder(tmp_path).require("broken")


def test_modules_inside_a_package_have_dotted_names(tmp_path: Path) -> None:
    for name in ("__init__", "clean", "steps/__init__", "steps/first", "data/loose"):
        path = tmp_path / "pipeline" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    code = CodeFolder(tmp_path)
    names = ["pipeline", "pipeline.clean", "pipeline.steps", "pipeline.steps.first"]
    assert sorted(code.inner_modules("pipeline")) == names
    assert [code.require(name).package for name in names] == [
        ("pipeline",),
        ("pipeline",),
        ("pipeline", "steps"),
        ("pipeline", "steps"),
    ]
    assert code.find("pipeline.data.loose") is None
