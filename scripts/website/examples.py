"""The page of the example builders: all files of ``builders_examples``, each under its name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

FOLDER = "builders_examples"
README = f"{FOLDER}/README.md"
_LANGUAGES = {".py": "python", ".yaml": "yaml", ".jsonl": "json", ".md": "markdown"}


def files(checkout: Path) -> list[str]:
    """Return the paths of the examples in the checkout: of each vault the modules first, of each table the index."""
    found = [path for path in (checkout / FOLDER).rglob("*") if path.is_file() and path != checkout / README]
    found = [path for path in found if path.parent.name != "__pycache__" and not path.name.startswith(".")]
    return [str(path) for path in sorted((path.relative_to(checkout) for path in found), key=_order)]


def anchor(file: str) -> str:
    """Return what a link to an example's file, or to one of its folders, ends with.

    >>> anchor("builders_examples/topics/analysis/note.yaml")
    'example-topics-analysis-note-yaml'
    """
    return "example-" + re.sub(r"\W+", "-", file.removeprefix(f"{FOLDER}/"))


def listing(checkout: Path) -> str:
    """Return the files as Markdown, with a heading for each vault."""
    return "".join(_parts(checkout))


def _parts(checkout: Path) -> Iterator[str]:
    for vault, examples in groupby(files(checkout), key=lambda file: file.split("/")[1]):
        yield f"\n({anchor(vault)})=\n\n## The files of {vault}\n"
        for file in examples:
            shown = file.removeprefix(f"{FOLDER}/{vault}/")
            language = _LANGUAGES.get(Path(file).suffix, "text")
            text = _text(checkout / file)
            yield f"\n({anchor(file)})=\n\n### {shown}\n\n````{language}\n{text}````\n"


def _text(path: Path) -> str:
    content = path.read_bytes()
    try:
        return content.decode()
    except UnicodeDecodeError:
        return f"{len(content)} bytes that aren't text\n"


def _order(file: Path) -> tuple[str, bool, str, bool, str]:
    vault, folder = file.parts[1:3]
    return vault, folder != "code_functions", str(file.parent), file.stem != f"{folder}_index", file.name
