"""The pages of the site, made of the files of a checkout.

The pages of ``docs/`` and the README are written to be read as they are, too. On their way into the site

- links between files become links between pages; one to a file that has no page is an error;
- the mark ``<!-- file: NAME -->`` before a block becomes the block's caption, and other marks are left out;
- the navigation is added to the first page.

No line is added or removed before the end of a page, so the places in warnings are those in its file.
"""

from __future__ import annotations

import os
import posixpath
import re
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

from scripts.website import commands, examples

NAVIGATION = {
    "First steps": ("readme", "examples", "mapping"),
    "Making tables": ("vault", "builders", "references", "functions", "artifacts", "reuse", "comparing"),
    "Safe and sound": (
        *("processes-and-failures", "runs", "inspecting", "checking", "chaos", "bundles", "archive", "migration"),
        *("security", "reliability"),
    ),
    "Reference": ("command-line", "commands", "python"),
    "Behind it": ("compared-with-tablevault", "design-notes/index", "changelog"),
}
"""The pages in the order in which they are best read. Every page is here, or it is a design note."""

PAGES: dict[str, tuple[str, str | None]] = {
    "readme": ("README.md", "Set-up, and a tour"),
    "examples": (examples.README, None),
    "changelog": ("CHANGELOG.md", None),
}
"""The pages that are made of files elsewhere than in ``docs/``, and what they are called instead there."""

_FENCE = re.compile(r"(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<language>[^`\s]*)[^`]*")
_MARK = re.compile(r"\s*<!-- (?P<kind>no-run|file): (?P<value>.+?) -->\s*")
_LINK = re.compile(r"\]\((?P<target>[^)\s]+)\)")
_MARKUP = re.compile(r"(?P<character>[\\`*_])")
_ESCAPED = r"\\\g<character>"


class SiteError(Exception):
    """Something is wrong with the pages. It is told a line for each thing."""


def write(checkout: Path, folder: Path) -> dict[str, Path]:
    """Write all pages to a folder that isn't there. Returns the files that they are made of, by their names there.

    Raises SiteError for links to what has no page.
    """
    shutil.copytree(checkout / "docs", folder, ignore=shutil.ignore_patterns("conf.py", "_*", "*.md"))
    origins = {f"{name}.md": checkout / source for name, (source, _) in PAGES.items()}
    origins |= {str(path.relative_to(checkout / "docs")): path for path in sorted(checkout.glob("docs/**/*.md"))}
    places = _places(checkout, origins)
    problems = []
    for name, origin in origins.items():
        text = "".join(_marked(origin.read_text()))
        text, unknown = _linked(text, page=name, origin=origin, checkout=checkout, places=places)
        problems += unknown
        title = PAGES.get(name.removesuffix(".md"), (None, None))[1]
        if title is not None:
            text = re.sub(r"\A# .*", f"# {title}", text)
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + _end_of(name, checkout))
    if problems:
        raise SiteError("\n".join(problems))
    (folder / "commands.md").write_text(commands.page())
    return origins


def _places(checkout: Path, origins: Mapping[str, Path]) -> dict[str, str]:
    """Return where in the site each file and folder of the checkout is shown that a page may link to."""
    places = {str(origin.relative_to(checkout)): name for name, origin in origins.items()}
    places |= {posixpath.dirname(file): name for file, name in places.items() if name.endswith("/index.md")}
    for file in examples.files(checkout):
        places[file] = f"examples.md#{examples.anchor(file)}"
        vault = posixpath.join(*file.split("/")[:2])
        places |= {vault: f"examples.md#{examples.anchor(vault)}", examples.FOLDER: "examples.md"}
    places["LICENSE"] = "changelog.md#license"
    return places


def _marked(text: str) -> Iterator[str]:
    """Yield the lines of a page with captions instead of marks."""
    caption: str | None = None
    end: str | None = None  # of the block that this line is in
    blank = 0  # lines in it, at its end so far
    for line in text.splitlines(keepends=True):
        mark, fence = _MARK.fullmatch(line), _FENCE.fullmatch(line)
        if end is None and mark is not None and mark["kind"] == "file":
            caption = mark["value"]  # it takes up its line a little below
        elif end is None and mark is not None:
            yield "\n"
        elif end is None and fence is not None:
            end = fence["indent"] + fence["fence"]
            if caption is None:
                yield line
            else:
                yield f"{end}{{code-block}} {fence['language'] or 'text'}\n"
                yield f"{fence['indent']}:caption: {_MARKUP.sub(_ESCAPED, caption)}\n"
                caption = None
        elif end is not None and not line.strip():
            blank += 1
        elif line.rstrip() == end:
            # A doctest ends with an empty line, which nobody needs to see.
            yield line + blank * "\n"
            end, blank = None, 0
        else:
            yield blank * "\n" + line
            blank = 0


def _linked(text: str, *, page: str, origin: Path, checkout: Path, places: Mapping[str, str]) -> tuple[str, list[str]]:
    """Return a page with links that hold in the site, and a line for each link to what has no page there."""
    unknown: list[str] = []

    def replaced(link: re.Match[str]) -> str:
        path, hash_, anchor = link["target"].partition("#")
        if not path or "://" in path or path.startswith("mailto:"):
            return link[0]
        file = os.path.relpath(os.path.normpath(origin.parent / path), checkout)
        place = places.get(file)
        if place is None:
            unknown.append(f"{origin}: links to {path}, which has no page in the site.")
            return link[0]
        place = posixpath.relpath(place, posixpath.dirname(page) or ".")
        return f"]({place}{hash_}{anchor})" if "#" not in place else f"]({place})"

    parts = re.split(r"(?ms)^( *)(`{3,}|~{3,})(.*?^ *\2) *$", text)
    # Each block comes as three parts: what indents it, its fence, and the rest.
    for number in range(0, len(parts), 4):
        parts[number] = _LINK.sub(replaced, parts[number])
    return "".join(parts), unknown


def _end_of(name: str, checkout: Path) -> str:
    """Return what the site has at the end of a page."""
    if name == "index.md":
        return "".join(_toctree(*pages, caption=caption) for caption, pages in NAVIGATION.items())
    if name == "design-notes/index.md":
        notes = sorted(path.stem for path in (checkout / "docs/design-notes").glob("[0-9]*.md"))
        return _toctree(*notes)
    if name == "examples.md":
        return examples.listing(checkout)
    if name == "changelog.md":
        return f"\n## License\n\n```text\n{(checkout / 'LICENSE').read_text()}```\n"
    return ""


def _toctree(*pages: str, caption: str | None = None) -> str:
    """Return a part of the navigation; with a caption it is shown at the side, else in its place, too."""
    options = f":caption: {caption}\n:hidden:\n" if caption else ":maxdepth: 1\n"
    return "\n```{toctree}\n" + options + "\n" + "\n".join(pages) + "\n```\n"
