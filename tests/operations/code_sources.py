"""A folder of code modules and packages, for tests that copy it into a vault."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def write(folder: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write files into ``folder``, by their paths, and return the folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


SCORING = """
from pipeline import clean
from pipeline.steps.shout import shout


def rate(text):
    import pipeline.late

    return shout(clean(text)) + pipeline.late.MARK
"""

CLEAN = """
from importlib.resources import files

WORDS = (files(__package__) / "words.txt").read_text().split()
SIZE = len((files(__package__) / "model.bin").read_bytes())


def clean(text):
    return " ".join(word for word in text.split() if word not in WORDS)
"""

SHOUT = """
from ..clean import SIZE


def shout(text):
    return text.upper() * (SIZE == 3)
"""


def write_sources(folder: Path) -> Path:
    """Write a module, a package with a package and files in it, and what isn't code."""
    return write(
        folder,
        {
            "scoring.py": SCORING,
            "pipeline/__init__.py": "from .clean import clean\n",
            "pipeline/clean.py": CLEAN,
            "pipeline/late.py": "MARK = '!'\n",
            "pipeline/words.txt": "the a\n",
            "pipeline/model.bin": b"\x80\xff\x00",
            "pipeline/steps/__init__.py": "",
            "pipeline/steps/shout.py": SHOUT,
            "pipeline/__pycache__/clean.pyc": b"compiled",
            "pipeline/.hidden": "hidden",
            "notes.txt": "not for us",
            "data/plain.py": "x = 1",
        },
    )


def tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
