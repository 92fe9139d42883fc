"""What was written where a function or a class was defined, made sure of: the compiler makes the same code of it.

Source files are edited after they were imported, and notebooks run their cells in any order. What such a file says now
is never taken for a function that it isn't. Nothing is run.
"""

from __future__ import annotations
import __future__

import ast
import inspect
import linecache
import textwrap
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType, ModuleType
from typing import Any

from tablevault_like.functions.constants import constant

_FUTURE_FLAGS = {name: getattr(__future__, name).compiler_flag for name in __future__.all_feature_names}
_NESTED = inspect.CO_NESTED
_LONGEST_LAMBDA = 4000
_GENERATED = ("<string>", "<attrs generated")
"""Where code says that it comes from if the methods of a class weren't written, but made: by ``dataclass``, ..."""

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Written:
    """A definition as it was written: its text, its tree, and the code that says where it lies."""

    text: str
    node: Definition | ast.Lambda
    code: CodeType

    @property
    def place(self) -> tuple[str, int]:
        """The file that it lies in, and the line, by which definitions are put in order."""
        return self.code.co_filename, self.code.co_firstlineno

    @property
    def leaves_annotations(self) -> bool:
        """Tell whether ``from __future__ import annotations`` holds for it."""
        return bool(self.code.co_flags & _FUTURE_FLAGS["annotations"])


class NotAloneError(Exception):
    """A function can't stand alone as source. The message says why, as the end of ``because ...``."""


def written(value: Any) -> Written:
    """Return what was written for a function or a class. Raises ``NotAloneError`` if that can't be had."""
    original = value if isinstance(value, type) else unwrapped(value)
    if isinstance(original, FunctionType):
        _check_alone(value, original)
    try:
        text = textwrap.dedent(inspect.getsource(original)).rstrip() + "\n"
    except (OSError, TypeError, SyntaxError, IndexError) as error:
        raise NotAloneError("its source isn't known") from error
    if isinstance(original, FunctionType) and original.__name__ == "<lambda>":
        return _lambda(original, text)
    try:
        body = ast.parse(text).body
    except (SyntaxError, ValueError) as error:
        raise NotAloneError("its source can't be told from what is around it") from error
    if len(body) != 1 or not isinstance(body[0], Definition) or body[0].name != original.__name__:
        raise NotAloneError("its source can't be told from what is around it")
    node = body[0]
    if isinstance(original, FunctionType):
        if not _is_written(original, text):
            raise NotAloneError("its source was edited since it was defined")
        _check_decorators(value, original, node)
        return Written(text, node, original.__code__)
    methods = [each for each in vars(original).values() if isinstance(each, FunctionType)]
    written = [each for each in methods if not each.__code__.co_filename.startswith(_GENERATED)]
    if not (all(_is_written(each, text) for each in written) and _has_written_constants(original, node)):
        raise NotAloneError(
            f"the class {original.__name__!r}, which it uses, was edited or changed since it was defined"
        )
    (code,) = (
        each for each in compile(text, "<source>", "exec", dont_inherit=True).co_consts if isinstance(each, CodeType)
    )
    if written:
        code = code.replace(
            co_filename=written[0].__code__.co_filename, co_firstlineno=written[0].__code__.co_firstlineno
        )
    return Written(text, node, code)


def unwrapped(function: Callable[..., object]) -> FunctionType:
    """Return the function that was written. Raises ``NotAloneError`` if there is none."""
    original = inspect.unwrap(function)
    if not isinstance(original, FunctionType):
        raise NotAloneError(f"it is no function, but a {type(function).__qualname__}")
    return original


def is_same_code(one: CodeType, other: CodeType) -> bool:
    """Tell whether two code objects do the same, wherever they were written."""
    fields = ("co_argcount", "co_posonlyargcount", "co_kwonlyargcount", "co_names", "co_varnames", "co_freevars")
    return (
        all(getattr(one, name) == getattr(other, name) for name in (*fields, "co_cellvars", "co_code"))
        and one.co_flags & ~_NESTED == other.co_flags & ~_NESTED
        and len(one.co_consts) == len(other.co_consts)
        and all(_is_same_constant(a, b) for a, b in zip(one.co_consts, other.co_consts, strict=True))
    )


def _has_written_constants(cls: type, node: Definition) -> bool:
    """Tell whether the plain constants of a class are those that stand in its text."""
    for statement in node.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            text = constant(_literal(statement.value))
            for target in targets:
                found = constant(vars(cls).get(target.id)) if isinstance(target, ast.Name) else None
                if None not in (text, found) and found not in (text, "None"):
                    return False
    return True


def _literal(node: ast.expr) -> object:
    """Return the value of an expression that is a plain constant; for any other, something that is none."""
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return object()


def _is_written(function: FunctionType, text: str, *, is_line: bool = True) -> bool:
    """Tell whether a function is what ``text`` says: the compiler makes the same code of it.

    What code it makes depends on whether the text around it imports what the function calls. Not ``is_line``: it may
    not be the only function of its name on its line.
    """
    code = function.__code__
    whole = "" if not is_line else "".join(linecache.getlines(code.co_filename))
    imported = [name for name, value in function.__globals__.items() if _is_imported(value, function.__module__)]
    around = "".join(f"import {name}\n" for name in imported if name.isidentifier())
    for source in (whole, text, around + text):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # they were given when the function was defined
                compiled = compile(source, "<source>", "exec", _flags(code), dont_inherit=True)
        except (SyntaxError, ValueError):  # what is around it isn't Python: a page with examples, say
            continue
        for found in _codes(compiled):
            is_there = source is not whole or found.co_firstlineno == code.co_firstlineno
            if found.co_name == code.co_name and is_there and is_same_code(found, code):
                return True
    return False


def _is_imported(value: object, home: str | None) -> bool:
    return isinstance(value, ModuleType) or getattr(value, "__module__", home) not in (home, "builtins")


def _check_alone(value: object, original: FunctionType) -> None:
    if original.__closure__:
        raise NotAloneError(f"it closes over {', '.join(map(repr, original.__code__.co_freevars))}")
    if "." in original.__qualname__.rpartition("<locals>.")[2]:
        raise NotAloneError("it is a method")
    if value is not original and original.__globals__.get(original.__name__) is not value:
        raise NotAloneError("it was wrapped in another function after it was defined")


def _check_decorators(value: object, original: FunctionType, node: Definition) -> None:
    layers, inner = 0, value
    while inner is not original:
        layers, inner = layers + 1, getattr(inner, "__wrapped__", original)
    if layers > len(node.decorator_list):
        raise NotAloneError("it was wrapped in another function after it was defined")
    if node.decorator_list and original.__globals__.get(node.name) is not value:
        raise NotAloneError("what its decorators returned isn't what its name stands for")


def _lambda(function: FunctionType, text: str) -> Written:
    """Find a lambda in the lines that it was written on."""
    text = text[:_LONGEST_LAMBDA]
    start = text.find("lambda")
    while start >= 0:
        for end in range(len(text), start, -1):
            if text[end - 1].isspace():
                continue
            try:
                tree = ast.parse(f"({text[start:end]}\n)", mode="eval")
            except (SyntaxError, ValueError):
                continue
            if isinstance(tree.body, ast.Lambda):
                if _is_written(function, f"({text[start:end]}\n)\n", is_line=False):
                    return Written(f"{ast.unparse(tree.body)}\n", tree.body, function.__code__)
                break
        start = text.find("lambda", start + 1)
    raise NotAloneError("its source can't be told from what is around it")


def _codes(code: CodeType) -> Iterator[CodeType]:
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield inner
            yield from _codes(inner)


def _flags(code: CodeType | None) -> int:
    return 0 if code is None else code.co_flags & sum(_FUTURE_FLAGS.values())


def _is_same_constant(one: object, other: object) -> bool:
    if isinstance(one, CodeType) and isinstance(other, CodeType):
        return is_same_code(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(_is_same_constant(a, b) for a, b in zip(one, other, strict=True))
    return one == other or repr(one) == repr(other)
