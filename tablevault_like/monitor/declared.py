"""Which files a function reads, as far as its code says so, without loading it.

What a function declares with ``reads_files`` is known for certain only when it is loaded. Here it is read from its
source, and whatever could be otherwise counts as not known.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path

from tablevault_like.builders.plan import PlannedBuilder
from tablevault_like.errors import TableVaultError
from tablevault_like.functions import builtin
from tablevault_like.functions.file_arguments import file_arguments, files_by_default, reads_files
from tablevault_like.functions.sources import CodeFolder, function_name

_NAME = reads_files.__name__


def stand_in(builder: PlannedBuilder, code_folder: Path) -> Callable[..., object] | None:
    """Return what declares the same files as a function, and can't be called; ``None`` if they aren't known."""
    fields = builder.fields
    if not fields["is_custom"]:
        function = builtin.function(fields["code_module"], fields["python_function"])
        return _declaring(files_by_default(function))
    try:
        found = _declared(CodeFolder(code_folder), fields["code_module"], fields["python_function"], builder.modules)
    except (TableVaultError, OSError):
        return None
    return None if found is None else _declaring(found)


def _declared(code: CodeFolder, module: str, function: str, files: tuple[str, ...]) -> Mapping[str, object] | None:
    """Return the arguments that are declared, with their defaults; ``None`` if that can't be read from the source."""
    if not any(_NAME.encode() in (code.folder / file).read_bytes() for file in files):
        return {}
    tree, name = code.require(module).tree, function_name(module, function)
    bound = [node for node in tree.body if getattr(node, "name", None) == name]
    imported = any(name == (alias.asname or alias.name) for alias in _imported(tree))
    if len(bound) != 1 or imported or not isinstance(bound[0], ast.FunctionDef | ast.AsyncFunctionDef):
        return None
    names: list[str] = []
    for decorator in reversed(bound[0].decorator_list):  # in the order in which they are applied
        literal = _literal_call(decorator)
        if literal is None:
            return None
        names += literal
    defaults = _defaults(bound[0].args)
    try:
        return {each: ast.literal_eval(defaults[each]) if each in defaults else None for each in names}
    except ValueError:
        return None


def _imported(tree: ast.Module) -> list[ast.alias]:
    return [
        alias
        for node in tree.body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
        if alias.name != _NAME
    ]


def _literal_call(node: ast.expr) -> list[str] | None:
    """Return the names in ``@reads_files("path")``, ``None`` for any other decorator."""
    if not isinstance(node, ast.Call) or node.keywords:
        return None
    called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", None)
    given = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
    return given if called == _NAME and len(given) == len(node.args) else None


def _defaults(arguments: ast.arguments) -> dict[str, ast.expr]:
    placed = [*arguments.posonlyargs, *arguments.args]
    found = dict(
        zip([each.arg for each in placed[len(placed) - len(arguments.defaults) :]], arguments.defaults, strict=True)
    )
    named = zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    return found | {each.arg: default for each, default in named if default is not None}


def _declaring(files: Mapping[str, object]) -> Callable[..., object]:
    """Return a function that declares these arguments as files, with these defaults."""

    def stands_in(**arguments: object) -> object:
        raise AssertionError("nothing is called to plan a run")

    if files:
        kind = inspect.Parameter.KEYWORD_ONLY
        stands_in.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [inspect.Parameter(name, kind, default=default) for name, default in files.items()]
        )
        stands_in = reads_files(*files)(stands_in)
    assert file_arguments(stands_in) == tuple(files)
    return stands_in
