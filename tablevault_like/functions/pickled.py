"""A function as the text of a code module that holds its pickled form: for what can't stand alone as source.

1. Pickled are the function's code, what it closes over, and those values of its module that it uses, as they are at
   that moment; so are the functions that it uses in turn, if they come from the user's own files or notebook. What
   comes with Python or from installed packages is imported.
2. Equal functions give equal text, in another session, too: file names and line numbers outside of the function don't
   count, and neither does the order of sets. So its fingerprint changes where what it does may have changed.
3. The modules that it imports stand in the text, so that those of the vault are known to be needed, without decoding.
4. It is decoded only when the module is run, which only executing an instance does; and only if it is what was written.
5. Code of one version of Python doesn't run in another: then ``unpickled`` says so.
"""

from __future__ import annotations

import base64
import dis
import hashlib
import inspect
import io
import sys
from collections.abc import Callable, Iterator
from types import CellType, CodeType, FunctionType, ModuleType
from typing import Any

import dill

from tablevault_like.errors import TVArgumentError
from tablevault_like.functions.origins import is_installed
from tablevault_like.functions.unpickled import (
    BUILTINS,
    MODULE,
    NAME,
    VERSION,
    complete_function,
    fill_cell,
    make_cell,
    make_function,
    make_namespace,
)

_LIMIT = 4 << 20
_PROTOCOL = 4
_WIDTH = 110
_LOADING = frozenset({"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"})

_TEXT = '''"""The function {name!r}, pickled, because {reason}.

It runs as it was when it was given to create_code_module. To change it, give it again.
"""

from tablevault_like.functions.unpickled import unpickled
{imports}
{source}
{name} = unpickled(
    globals(),
    python="{python}",
    sha256="{sha256}",
    pickled="""
{pickled}
""",
)
'''


def pickled(function: Callable[..., object], name: str, *, reason: str) -> str:
    """Return the text of a module in which ``function`` is called ``name``. ``reason`` is why it isn't source.

    Raises ``TVArgumentError`` that names what can't be pickled, or is too large.
    """
    try:
        content, imported = _dumps(function)
    except RecursionError as error:
        raise TVArgumentError(
            f"The function {name!r} can't be kept: it uses values that are nested too deeply."
        ) from error
    except Exception as error:  # pickling asks objects of any class
        raise TVArgumentError(
            f"The function {name!r} can't be kept as source, because {reason}; and it can't be pickled: "
            f"{_culprit(function)}{error}. Make that inside of the function, or write a code module with text= or "
            "copy_dir=."
        ) from error
    if len(content) > _LIMIT:
        raise TVArgumentError(
            f"The function {name!r} uses values of {len(content) / 1e6:.1f} MB; {_LIMIT / 1e6:.1f} MB are allowed. "
            "Keep them in a table, and pass them as an argument by a <<reference>>."
        )
    return _TEXT.format(
        name=name,
        reason=reason,
        imports=_imports(imported),
        source="".join(f"# {line}".rstrip() + "\n" for line in _source(function)),
        python=VERSION,
        sha256=hashlib.sha256(content).hexdigest(),
        pickled="\n".join(_lines(base64.b64encode(content).decode())),
    )


class _Marker:
    """What the code module in which a function is decoded has, and a pickle doesn't."""


_BUILTINS, _NAME = _Marker(), _Marker()
_MARKERS = {_BUILTINS: BUILTINS, _NAME: NAME}


class _Namespace(dict[str, Any]):
    """The globals of functions of one module, which stay one dict, so that they share its variables."""


class _Pickler(dill.Pickler):  # type: ignore[misc]
    """Pickles functions of the user's by what they are, however they could be imported."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=_PROTOCOL, recurse=True, byref=False)
        self._namespaces: dict[int, _Namespace] = {}
        self._given: dict[int, set[str]] = {}
        self._alive: list[object] = []
        self.imported: set[str] = set()

    def persistent_id(self, obj: object) -> str | None:
        if isinstance(obj, _Marker):
            return _MARKERS[obj]
        if isinstance(obj, ModuleType) and sys.modules.get(obj.__name__) is obj and obj.__name__ != "__main__":
            self.imported.add(obj.__name__)
            return f"{MODULE}{obj.__name__}"
        return None

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if id(obj) in self.memo or self.persistent_id(obj) is not None:
            super().save(obj, save_persistent_id)
        elif isinstance(obj, FunctionType) and _is_own(obj):
            self._save_function(obj)
        elif isinstance(obj, CellType):
            content = _contents(obj)
            self.save_reduce(make_cell, (), content or None, state_setter=fill_cell if content else None, obj=obj)
        elif isinstance(obj, _Namespace):
            self.save_reduce(make_namespace, (_BUILTINS, _NAME), obj=obj)
        elif type(obj) in (set, frozenset):
            items = sorted(obj, key=lambda item: (type(item).__qualname__, repr(item)))
            self.save_reduce(type(obj), (self._kept(items),), obj=obj)
        else:
            super().save(obj, save_persistent_id)

    def _save_function(self, function: FunctionType) -> None:
        """Save what makes a function, and then, when it is known already, what it uses: that may be the function."""
        key = id(function.__globals__)
        namespace, given = self._namespaces.setdefault(key, _Namespace()), self._given.setdefault(key, set())
        used = {name: value for name, value in _used_globals(function).items() if name not in given}
        given |= used.keys()
        state = {
            "__qualname__": function.__qualname__,
            "__defaults__": function.__defaults__,
            "__kwdefaults__": function.__kwdefaults__,
            "__dict__": dict(function.__dict__),
            "__globals__": used,
        }
        for code in _codes(function.__code__):
            self.imported |= {each.argval for each in dis.get_instructions(code) if each.opname == "IMPORT_NAME"}
        code = self._kept(_placed(function.__code__, 1 - function.__code__.co_firstlineno))
        arguments = (code, namespace, function.__name__, function.__closure__)
        completing = self._kept({name: value for name, value in state.items() if value})
        self.save_reduce(make_function, arguments, completing, state_setter=complete_function, obj=function)

    def _kept(self, obj: Any) -> Any:
        """Keep an object alive until all is pickled: what was pickled is known by where it lies."""
        self._alive.append(obj)
        return obj


def _dumps(value: object) -> tuple[bytes, set[str]]:
    """Return a value pickled, and the names of the modules that it imports."""
    file = io.BytesIO()
    pickler = _Pickler(file)
    pickler.dump(value)
    return file.getvalue(), pickler.imported


def _culprit(function: Callable[..., object]) -> str:
    """Return which of the values that a function uses can't be pickled, for a message."""
    pending, seen = [inspect.unwrap(function)], set()
    while pending:
        found = pending.pop()
        if not isinstance(found, FunctionType) or id(found) in seen:
            continue
        seen.add(id(found))
        for name, value in {**_used_globals(found), **_closed_over(found)}.items():
            if isinstance(value, FunctionType):
                pending.append(value)
                continue
            try:
                _dumps(value)
            except Exception:  # noqa: BLE001 - objects of any class may do anything
                return f"{name!r} is a {type(value).__qualname__}; "
    return ""


def _is_own(function: FunctionType) -> bool:
    """Tell whether a function comes from a file or a notebook of the user's."""
    module = sys.modules.get(function.__module__ or "__main__")
    return module is None or not is_installed(module) or "<locals>" in function.__qualname__


def _used_globals(function: FunctionType) -> dict[str, Any]:
    instructions = (each for code in _codes(function.__code__) for each in dis.get_instructions(code))
    names = {each.argval for each in instructions if each.opname in _LOADING} - {"__builtins__", "__name__"}
    return {name: function.__globals__[name] for name in sorted(names) if name in function.__globals__}


def _codes(code: CodeType) -> Iterator[CodeType]:
    yield code
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _codes(inner)


def _closed_over(function: FunctionType) -> dict[str, Any]:
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    return {name: content for name, cell in cells for content in _contents(cell)}


def _contents(cell: CellType) -> tuple[()] | tuple[object]:
    try:
        return (cell.cell_contents,)
    except ValueError:
        return ()


def _placed(code: CodeType, shift: int) -> CodeType:
    """Return code as if it came from a file of its own, which begins with it."""
    constants = tuple(_placed(each, shift) if isinstance(each, CodeType) else each for each in code.co_consts)
    return code.replace(co_filename="<pickled>", co_firstlineno=code.co_firstlineno + shift, co_consts=constants)


def _imports(modules: set[str]) -> str:
    """Return the text of a function, never called, that names the modules which a pickled one imports."""
    lines = "".join(f"    __import__({name!r})\n" for name in sorted(modules) if name)
    return f"\n\ndef _imported():\n{lines}\n" if lines else ""


def _source(function: Callable[..., object]) -> list[str]:
    try:
        return ["What was pickled, as it was written:", "", *inspect.getsource(inspect.unwrap(function)).splitlines()]
    except (OSError, TypeError, SyntaxError, IndexError):
        return ["Its source isn't known."]


def _lines(text: str) -> Iterator[str]:
    return (text[start : start + _WIDTH] for start in range(0, len(text), _WIDTH))
