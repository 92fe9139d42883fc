"""What a function of a script or a notebook does, as text of which a digest is made, without running anything.

It counts what the function says (its syntax tree; comments, docstrings and layout don't count), what it closes over,
its defaults, and the values of its module that it uses; functions and classes of the user's own with what those use in
turn. What comes with Python or from installed packages counts by its name.

What the function itself changes (a list that it appends to, a cache, a counter) is where it keeps something, not what
it does, and doesn't count. Objects of classes of others, such as clients and locks, count by their class: whoever
changes what these do says so with ``version``.
"""

from __future__ import annotations
import __future__

import ast
import dis
import enum
import functools
import inspect
import linecache
import sys
import textwrap
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from dataclasses import is_dataclass
from hashlib import blake2b
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import Any

from tablevault_like.errors import TableVaultError
from tablevault_like.functions import canonical
from tablevault_like.functions.constants import constant
from tablevault_like.functions.origins import is_installed
from tablevault_like.functions.written import is_same_code
from tablevault_like.storage.digests import digest

_FORMAT = 1
_FUTURE = sum(getattr(__future__, name).compiler_flag for name in __future__.all_feature_names)
_GLOBAL_LOADS = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})
_CELL_LOADS = frozenset({"LOAD_DEREF", "LOAD_CLASSDEREF", "LOAD_FROM_DICT_OR_DEREF"})
_CHANGING = frozenset(
    {
        *("append", "extend", "insert", "add", "update", "setdefault", "pop", "popitem", "clear", "remove", "discard"),
        *("appendleft", "extendleft", "popleft", "write", "put", "put_nowait", "subtract", "reverse", "sort"),
    }
)
_FIRST_STEPS = frozenset({"__init__", "__post_init__", "__new__", "__set_name__", "__setstate__"})
_MADE_UP = ("<string>", "<attrs generated", "<frozen")

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def recipe_of(function: Callable[..., object], *, version: object = None) -> str:
    """Return 32 hexadecimal digits that tell what ``function`` does, and which ``version`` of it is meant."""
    found = _Description(frozenset(), frozenset())
    found.of(function)
    # Once more, now that it is known what it changes.
    text = _Description(frozenset(found.changed), frozenset(found.changed_attributes)).of(function)
    said = _value_text(version)
    if said is None:
        said = _Description(frozenset(), frozenset()).of(version)
    return blake2b(f"{_FORMAT} {text} {said}".encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


class _Description:
    """Describes values. ``skipped`` are the ids of those that don't count, ``attributes`` the names of such ones."""

    def __init__(self, skipped: frozenset[int], attributes: frozenset[str]) -> None:
        self._skipped = skipped
        self._attributes = attributes
        self._seen: dict[int, int] = {}
        self._alive: list[object] = []
        self.changed: set[int] = set()
        self.changed_attributes: set[str] = set()

    def of(self, value: Any) -> str:
        text = self._unless_changed(value) or _value_text(value)
        if text is not None:
            return text
        if id(value) in self._seen:
            return f"#{self._seen[id(value)]}"
        self._seen[id(value)] = len(self._seen)
        self._alive.append(value)
        return self._nested(value)

    def _unless_changed(self, value: object) -> str | None:
        return f"changed {_name(type(value))}" if id(value) in self._skipped else None

    def _nested(self, value: Any) -> str:
        match value:
            case functools.partial():
                return f"partial({self.of(value.func)}, {self.of(value.args)}, {self.of(value.keywords)})"
            case MethodType():
                return f"method({self.of(value.__func__)}, {self.of(value.__self__)})"
            case FunctionType():
                return self._function(value) if _is_own(value) else _name(value)
            case BuiltinFunctionType():
                owner = value.__self__
                bound = "" if owner is None or isinstance(owner, ModuleType) else self.of(owner)
                return f"{_name(value)}({bound})"
            case type():
                return self._class(value) if _is_own(value) else _name(value)
            case ModuleType():
                return f"module {value.__name__}"
            case enum.Enum():
                return f"{_name(type(value))}.{value.name}={self.of(value.value)}"
            case staticmethod() | classmethod():
                return f"{type(value).__name__}({self.of(value.__func__)})"
            case property():
                return f"property({self.of(value.fget)}, {self.of(value.fset)})"
            case dict():
                return f"{_name(type(value))}{self._pairs({self.of(key): item for key, item in value.items()})}"
            case list() | tuple():
                return f"{_name(type(value))}[{', '.join(map(self.of, value))}]"
            case set() | frozenset():
                return f"{_name(type(value))}{{{', '.join(sorted(map(self.of, value)))}}}"
        return self._object(value)

    def _object(self, value: Any) -> str:
        wrapped = getattr(value, "__wrapped__", None)
        if callable(wrapped):  # lru_cache, and the like
            return f"{_name(type(value))}({self.of(wrapped)})"
        kind = type(value)
        if not (_is_own(kind) or is_dataclass(value) or isinstance(value, SimpleNamespace | Namespace)):
            return f"a {_name(kind)}"
        slots = [name for each in kind.__mro__ for name in _listed(vars(each).get("__slots__", ()))]
        fields = {name: getattr(value, name) for name in slots if hasattr(value, name)} | getattr(value, "__dict__", {})
        kept = {name: item for name, item in fields.items() if name not in self._attributes}
        return f"object({self.of(kind)}, {self._pairs(kept)})"

    def _class(self, cls: type) -> str:
        hidden = ("__", "_abc_", "model_") if hasattr(cls, "model_json_schema") else ("__", "_abc_")
        members = {
            name: member
            for name, member in vars(cls).items()
            if not _is_made_up(member)
            and (isinstance(member, FunctionType) or not name.startswith(hidden))
            and name not in self._attributes
        }
        form = ""
        if hasattr(cls, "model_json_schema"):  # a class of pydantic's
            try:
                form = repr(cls.model_json_schema())
            except Exception:  # noqa: BLE001 - it is asked for what many can't give
                form = ""
        bases = ", ".join(self.of(base) for base in cls.__bases__ if base is not object)
        return f"class {cls.__qualname__}({bases}) {form} {self._pairs(members)}"

    def _function(self, function: FunctionType) -> str:
        node = _node(function)
        used, cells = _used_globals(function), _closed_over(function)
        self._note_changes(function, node, {**used, **cells})
        reads_docstrings = any("__doc__" in code.co_names for code in _codes(function.__code__))
        if node is not None:
            said = canonical.digest([node], docstrings=reads_docstrings)
        else:
            said = repr(_code_text(function.__code__))
        rest = {
            "defaults": function.__defaults__,
            "keywords": function.__kwdefaults__,
            "wrapped": getattr(function, "__wrapped__", None),
        }
        values = {name: value for name, value in {**used, **cells}.items() if not self._is_counter(function, name)}
        return (
            f"function({said}, {self._pairs({name: each for name, each in rest.items() if each})}, "
            f"{self._pairs(values)}, {self._modules(function, used)})"
        )

    def _pairs(self, values: dict[str, Any]) -> str:
        return "{" + ", ".join(f"{name!r}: {self.of(values[name])}" for name in sorted(values)) + "}"

    def _modules(self, function: FunctionType, used: dict[str, Any]) -> str:
        """Describe what the function uses of modules of the user's own, which it has imported whole."""
        names = {name for code in _codes(function.__code__) for name in code.co_names}
        parts = []
        for module in used.values():
            if isinstance(module, ModuleType) and not is_installed(module):
                found = {name: vars(module)[name] for name in names if name in vars(module)}
                parts.append(f"{module.__name__}{self._pairs(found)}")
        return f"[{', '.join(parts)}]"

    def _is_counter(self, function: FunctionType, name: str) -> bool:
        """Tell whether the function stores into this name of its module, or of what is around it."""
        return any(
            each.opname in ("STORE_GLOBAL", "STORE_DEREF") and each.argval == name and name not in code.co_cellvars
            for code in _codes(function.__code__)
            for each in dis.get_instructions(code)
        )

    def _note_changes(self, function: FunctionType, node: Function | None, values: dict[str, Any]) -> None:
        names: set[str] = set()
        is_first = function.__name__ in _FIRST_STEPS
        found = _changed_by_code(function.__code__, values) if node is None else _changed_by_node(node)
        for name, is_attribute in found:
            if not is_attribute:
                names.add(name)
            elif not is_first:
                self.changed_attributes.add(name)
        self.changed |= {id(values[name]) for name in names if name in values}


def _value_text(value: object) -> str | None:
    """Return a text for a value that is nothing but a value; None for any other."""
    text = constant(value)
    if text is not None:
        return text
    if isinstance(value, type | ModuleType) or callable(value):
        return None
    try:
        return f"value {digest(value).hex()}"
    except (TableVaultError, TypeError, ValueError, RecursionError):
        return None


def _name(value: Any) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', type(value).__qualname__)}"


def _listed(slots: Any) -> list[str]:
    return [slots] if isinstance(slots, str) else list(slots)


def _is_own(value: Any) -> bool:
    """Tell whether a function or a class comes from a file or a notebook of the user's."""
    module = sys.modules.get(getattr(value, "__module__", None) or "__main__")
    return module is None or not is_installed(module)


def _is_made_up(member: object) -> bool:
    return isinstance(member, FunctionType) and member.__code__.co_filename.startswith(_MADE_UP)


def _used_globals(function: FunctionType) -> dict[str, Any]:
    names = {
        each.argval
        for code in _codes(function.__code__)
        for each in dis.get_instructions(code)
        if each.opname in _GLOBAL_LOADS
    }
    home = function.__globals__
    return {name: home[name] for name in sorted(names - {"__builtins__", "__name__"}) if name in home}


def _closed_over(function: FunctionType) -> dict[str, Any]:
    found = {}
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            found[name] = cell.cell_contents
        except ValueError:  # it isn't bound yet
            continue
    return found


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _code_text(code: CodeType) -> tuple[object, ...]:
    """Return what compiled code says, for a function whose source can't be had."""
    constants = [_code_text(each) if isinstance(each, CodeType) else repr(each) for each in code.co_consts]
    return code.co_code, code.co_names, code.co_varnames, code.co_freevars, constants


def _changed_by_node(node: ast.AST) -> Iterator[tuple[str, bool]]:
    """Yield names of variables and attributes whose values a function changes; and whether it is an attribute."""
    for each in ast.walk(node):
        match each:
            case ast.Call(func=ast.Attribute(value=owner, attr=name)) if name in _CHANGING:
                yield from _terminal(owner)
            case ast.Subscript(value=owner, ctx=ast.Store() | ast.Del()):
                yield from _terminal(owner)
            case ast.Attribute(attr=name, ctx=ast.Store() | ast.Del()):
                yield name, True
            case ast.AugAssign(target=ast.Name(id=name)):
                yield name, False


def _terminal(node: ast.expr) -> Iterator[tuple[str, bool]]:
    """Yield the name of what an expression such as ``self.seen[key]`` or ``CACHE`` stands for."""
    while isinstance(node, ast.Subscript | ast.Call):
        node = node.value if isinstance(node, ast.Subscript) else node.func
    if isinstance(node, ast.Name):
        yield node.id, False
    elif isinstance(node, ast.Attribute):
        yield node.attr, True


def _changed_by_code(code: CodeType, values: dict[str, Any]) -> Iterator[tuple[str, bool]]:
    """Yield names of variables and attributes whose values a function changes, as far as its compiled code tells.

    The second part tells whether it is an attribute. A container that is stored into is the one that was loaded last.
    """
    for each in _codes(code):
        before, container = "", ""
        for step in dis.get_instructions(each):
            name = str(step.argval)
            if step.opname in _GLOBAL_LOADS | _CELL_LOADS:
                before = name
                container = name if isinstance(values.get(name), dict | list | set) else container
            elif step.opname in ("LOAD_ATTR", "LOAD_METHOD"):
                if name in _CHANGING and before:
                    yield before.removeprefix("."), before.startswith(".")
                before = f".{name}"
            elif step.opname == "STORE_ATTR":
                yield name, True
            elif step.opname in ("STORE_SUBSCR", "DELETE_SUBSCR") and container:
                yield container, False
            elif step.opname not in ("PUSH_NULL", "CACHE", "NOP"):
                before = ""


def _node(function: FunctionType) -> Function | None:
    """Return the syntax tree of a function, made sure of: the compiler makes the same code of it. None without one."""
    code = function.__code__
    found = _in_file("".join(linecache.getlines(code.co_filename, function.__globals__)), code)
    if found is not None:
        return found
    try:
        text = textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError, SyntaxError, IndexError):
        return None
    return _in_file(text, code, is_line=False)


def _in_file(text: str, code: CodeType, *, is_line: bool = True) -> Function | None:
    parsed = _parsed(text, code.co_flags & _FUTURE)
    if parsed is None:
        return None
    tree, compiled = parsed
    nodes = [
        node
        for node in ast.walk(tree)
        if isinstance(node, Function)
        and getattr(node, "name", "<lambda>") == code.co_name
        and (not is_line or _line(node) == code.co_firstlineno)
    ]
    if len(nodes) != 1:
        return None
    is_same = any(
        (not is_line or each.co_firstlineno == code.co_firstlineno)
        and each.co_name == code.co_name
        and is_same_code(each, code)
        for each in _codes(compiled)
    )
    return nodes[0] if is_same else None


@functools.lru_cache(maxsize=64)
def _parsed(text: str, flags: int) -> tuple[ast.Module, CodeType] | None:
    if not text:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they were given when the file was imported
            return ast.parse(text), compile(text, "<source>", "exec", flags, dont_inherit=True)
    except (SyntaxError, ValueError):
        return None


def _line(node: Function) -> int:
    decorators: list[ast.expr] = getattr(node, "decorator_list", [])
    return min([node.lineno, *(each.lineno for each in decorators)])
