from __future__ import annotations

from pathlib import Path

import pytest

CODE = """
import text_tools

LIMIT = 3

def make(**arguments):
    return LIMIT

def fill(**arguments):
    return text_tools.clean(arguments)

raise RuntimeError("user code must not run while planning")
"""


TOOLS = """
def clean(text):
    return text

def unused(text):
    return text
"""


@pytest.fixture
def code(tmp_path: Path) -> Path:
    folder = tmp_path / "code_functions"
    folder.mkdir()
    (folder / "work.py").write_text(CODE)
    (folder / "text_tools.py").write_text(TOOLS)
    (folder / "unrelated.py").write_text("x = 1\n")
    return folder
