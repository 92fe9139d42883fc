"""How Sphinx makes the site. ``scripts/docs`` prepares the pages and runs it; see ``scripts/website``."""

from __future__ import annotations

import re
from enum import EnumType
from typing import Any

import tablevault_like
from tablevault_like import tv_errors


def _colors(accent: str) -> dict[str, str]:
    names = ("brand-primary", "brand-content", "brand-visited", "api-name", "api-pre-name")
    return {f"color-{name}": accent for name in names}


project = "tablevault_like"
author = "the tablevault_like authors"
version = release = tablevault_like.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc"]
root_doc = "index"
source_suffix = {".md": "markdown"}
nitpicky = True
nitpick_ignore_regex = [
    # What belongs to others. Their references are elsewhere, and nothing is fetched when the site is built.
    (r"py:.*", r"(collections|contextlib|datetime|os|pathlib|types|typing|pandas|pd|pyarrow|pa|rich|np|numpy)\..*"),
    (r"py:.*", r"(Any|Callable|DataFrame|Iterable|Iterator|Mapping|Path|Sequence|Tree|date|datetime|timedelta)"),
]

myst_heading_anchors = 4
smartquotes_action = "q"  # dashes and dots stay what they are: --force, ...

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
add_module_names = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "tablevault_like"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_favicon = "_static/favicon.svg"
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {
    "light_css_variables": _colors("#0b6b57"),
    "dark_css_variables": _colors("#56c7ad"),
}
pygments_style = "friendly"
pygments_dark_style = "github-dark"

_ERRORS = [
    name for name, member in vars(tv_errors).items() if isinstance(member, type) and issubclass(member, Exception)
]
_ERROR = re.compile(rf"(?<![\w`.])({'|'.join(_ERRORS)})(?![\w`])")


def link_errors(app: Any, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Make links of the errors that a docstring names."""
    for number, line in enumerate(lines):
        # Examples and drawings are indented, or begin with a prompt.
        if line == line.lstrip() and not line.startswith(">>>"):
            lines[number] = _ERROR.sub(r":exc:`~tablevault_like.tv_errors.\1`", line)


def hide_fields_of_records(
    app: Any, what: str, name: str, obj: object, options: object, signature: str | None, returns: str | None
) -> tuple[str, str | None] | None:
    """Leave out how records are made: nobody but the library makes them, and their fields are listed below."""
    is_record = hasattr(obj, "__dataclass_fields__") and not name.endswith(".Row")
    if what == "class" and (is_record or isinstance(obj, EnumType)):
        return "", returns
    return None


def find_by_last_name(app: Any, env: Any, node: Any, content: Any) -> Any:
    """Resolve a type that a signature names as the source does, without its module."""
    if node.get("refdomain") != "py":
        return None
    domain = env.get_domain("py")
    found = [name for name in domain.objects if name.rpartition(".")[2] == node["reftarget"].rpartition(".")[2]]
    if len(found) != 1:
        return None
    target = {**node.attributes, "reftype": "obj", "reftarget": found[0]}
    return domain.resolve_xref(env, node["refdoc"], app.builder, "obj", found[0], _with(node, target), content)


def _with(node: Any, attributes: dict[str, Any]) -> Any:
    copied = node.copy()
    copied.attributes.update(attributes)
    return copied


def setup(app: Any) -> None:
    """Tell Sphinx of the functions above."""
    app.connect("autodoc-process-docstring", link_errors)
    app.connect("autodoc-process-signature", hide_fields_of_records)
    app.connect("missing-reference", find_by_last_name)
