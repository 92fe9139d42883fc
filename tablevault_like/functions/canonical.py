"""A digest of syntax trees that is the same wherever they mean the same.

Positions, comments, docstrings and statements without effect (``pass``, a lone constant) don't count. Digests are
equal under Python 3.11 to 3.14, whose trees differ: fields that a version lacks or leaves out count as empty, and
f-strings are put in one form.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from hashlib import blake2b

_NOT_COUNTED = frozenset({"ctx", "kind", "type_comment", "type_ignores"})


def digest(nodes: Iterable[ast.AST], *, docstrings: bool = False) -> str:
    """Return 32 hexadecimal digits for ``nodes`` in their order. With ``docstrings`` these count, too."""
    hashed = blake2b(digest_size=16)
    for node in nodes:
        _feed(hashed, node, docstrings)
    return hashed.hexdigest()


def _feed(hashed: blake2b, node: ast.AST, docstrings: bool) -> None:
    """Feed the canonical form of ``node`` to ``hashed``; without recursion, since long ``a + b + ...`` nest deeply."""
    pending: list[object] = [node]
    while pending:
        item = pending.pop()
        if isinstance(item, bytes):
            hashed.update(item)
        elif isinstance(item, ast.AST):
            pending.append(b")")
            for name, value in reversed(list(_fields(item, docstrings))):
                pending += (value, f".{name}=".encode())
            hashed.update(f"({type(item).__name__}".encode())
        elif isinstance(item, list):
            pending.append(b"]")
            pending += reversed(item)
            hashed.update(b"[")
        else:
            hashed.update(_constant(item))


def _fields(node: ast.AST, docstrings: bool) -> Iterator[tuple[str, object]]:
    """Yield the fields of ``node`` that hold something, by name."""
    if isinstance(node, ast.Constant):
        yield "value", _constant(node.value)
        return
    for name in sorted(node._fields):
        value = getattr(node, name, None)
        if isinstance(node, ast.JoinedStr):
            value = _joined(node.values)
        elif isinstance(value, list):
            value = [item for item in value if not _is_without_effect(item, docstrings)]
        elif name == "format_spec" and isinstance(value, ast.JoinedStr) and not _joined(value.values):
            continue
        if name not in _NOT_COUNTED and value is not None and value != []:
            yield name, value


def _is_without_effect(item: object, docstrings: bool) -> bool:
    if isinstance(item, ast.Expr) and isinstance(item.value, ast.Constant):
        return not (docstrings and isinstance(item.value.value, str))
    return isinstance(item, ast.Pass)


def _joined(values: list[ast.expr]) -> list[object]:
    """Return the parts of an f-string with its texts merged; versions put empty ones in different places."""
    parts: list[object] = []
    text = ""
    for value in values:
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            text += value.value
            continue
        if text:
            parts.append(_constant(text))
            text = ""
        parts.append(value)
    if text:
        parts.append(_constant(text))
    return parts


def _constant(value: object) -> bytes:
    """Return a form of a literal that tells types apart and depends on no version of ``repr``."""
    match value:
        case str():
            encoded = value.encode("utf-8", "surrogatepass")
            return b"s%d:%s" % (len(encoded), encoded)
        case bytes():
            return b"b%d:%s" % (len(value), value)
        case bool() | None:
            return str(value).encode()
        case int():
            return f"i{value:x};".encode()
        case float():
            return f"f{value.hex()};".encode()
        case complex():
            return f"c{value.real.hex()},{value.imag.hex()};".encode()
        case _ if value is ...:
            return b"..."
        case _:
            raise TypeError(f"no literal of Python: {value!r}")
