"""What must hold of the finished site: nothing in it is fetched from elsewhere, and no link leads nowhere."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import tablevault_like

_LOADING = {
    "audio": ("src",),
    "embed": ("src",),
    "iframe": ("src",),
    "image": ("href", "xlink:href"),
    "img": ("src", "srcset"),
    "input": ("src",),
    "object": ("data",),
    "script": ("src",),
    "source": ("src", "srcset"),
    "track": ("src",),
    "use": ("href", "xlink:href"),
    "video": ("poster", "src"),
}
"""The attributes whose targets a browser fetches without being asked, by element; ``link`` is a case of its own."""

_LEADING = {"author", "canonical", "index", "next", "prev", "search", "bookmark", "license"}
_FETCHED_BY_CSS = re.compile(r"""(?:url\(\s*|@import\s+)["']?(?P<target>[^"')\s;]+)""")


@dataclass
class _Document(HTMLParser):
    """What a page of HTML refers to."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    ids: set[str] = field(default_factory=set)
    _in_style: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in_style = tag == "style"
        self.ids |= {given[name] for name in ("id", "name") if given.get(name)}
        self.loads += _FETCHED_BY_CSS.findall(given.get("style", ""))
        self.loads += [given[name] for name in _LOADING.get(tag, ()) if given.get(name)]
        if tag == "link" and not set(given.get("rel", "").split()) <= _LEADING:
            self.loads.append(given.get("href", ""))
        elif tag in ("a", "link") and "href" in given:
            self.links.append(given["href"])

    def handle_data(self, data: str) -> None:
        if self._in_style:
            self.loads += _FETCHED_BY_CSS.findall(data)


def problems(site: Path) -> list[str]:
    """Return a line for everything that is wrong with a site."""
    documents = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    return [*_fetched(site, documents), *_dead_links(documents), *undocumented(documents[site / "python.html"].ids)]


def undocumented(ids: set[str]) -> list[str]:
    """Return a line for each public name that isn't among the names of the Python reference.

    >>> names = {f"tablevault_like.{name}" for name in public_names()}
    >>> undocumented(names)
    []
    >>> undocumented(names - {"tablevault_like.TableVault.create_table"})
    ['docs/python.md: TableVault.create_table is missing. Add it to its subject.']
    """
    missing = (name for name in public_names() if f"tablevault_like.{name}" not in ids)
    return [f"docs/python.md: {name} is missing. Add it to its subject." for name in missing]


def public_names() -> Iterator[str]:
    """Yield what a user may import, the methods of a vault, and the errors."""
    yield from (name for name in tablevault_like.__all__ if name not in ("__version__", "tv_errors"))
    for name, member in vars(tablevault_like.TableVault).items():
        # A second name of a method is told of where the method is.
        if not name.startswith("_") and getattr(member, "__name__", name) == name:
            yield f"TableVault.{name}"
    for name, member in vars(tablevault_like.tv_errors).items():
        if inspect.isclass(member) and issubclass(member, Exception) and not name.startswith("_"):
            yield f"tv_errors.{name}"


def _read(path: Path) -> _Document:
    document = _Document()
    document.feed(path.read_text())
    return document


def _fetched(site: Path, documents: dict[Path, _Document]) -> Iterator[str]:
    for path, document in documents.items():
        yield from (f"{path.name}: fetches {target}" for target in document.loads if _is_elsewhere(target))
    for path in sorted(site.rglob("*.css")):
        found = _FETCHED_BY_CSS.findall(path.read_text())
        yield from (f"{path.relative_to(site)}: fetches {target}" for target in found if _is_elsewhere(target))


def _is_elsewhere(target: str) -> bool:
    return target.startswith("//") or urlsplit(target).scheme not in ("", "data")


def _dead_links(documents: dict[Path, _Document]) -> Iterator[str]:
    ids = {path.resolve(): document.ids for path, document in documents.items()}
    for path, document in documents.items():
        for link in document.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path) if parts.path else path).resolve()
            is_anchor = bool(parts.fragment) and target in ids
            if not target.is_file() or (is_anchor and unquote(parts.fragment) not in ids[target]):
                yield f"{path.name}: links to {link}, which isn't there."
