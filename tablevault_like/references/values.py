"""What a template, a reference or an argument comes to: the same for all rows, or something for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tablevault_like.references.keywords import Batch, CallKey, Keyword, split
from tablevault_like.references.syntax import Reference, Template

Getter = Callable[[Any, CallKey], Any]


@dataclass(frozen=True, slots=True)
class Value:
    """A value that is fixed or varies from row to row.

    ``get(row, row_key)`` returns it. What a row is, those decide who make and who ask: its index while a reference
    is resolved, what the references came to while arguments are made. The key may be a batch. A fixed
    value looks at neither.
    """

    get: Getter
    varies: bool

    @classmethod
    def fixed(cls, value: Any) -> Value:
        return cls(lambda row, row_key: value, False)

    @property
    def constant(self) -> Any:
        """The value, if it is fixed."""
        assert not self.varies
        return self.get(None, None)

    def then(self, function: Callable[[Any], Any]) -> Value:
        """Return the value that ``function`` makes of this one."""
        if not self.varies:
            return Value.fixed(function(self.constant))
        get = self.get
        return Value(lambda row, row_key: function(get(row, row_key)), True)


ROW_KEY = Value(lambda row, row_key: row_key, True)


def _of_batch(get: Callable[[Batch], int]) -> Value:
    def get_of(row: Any, row_key: CallKey) -> int:
        assert isinstance(row_key, Batch)
        return get(row_key)

    return Value(get_of, True)


_OF_CALL = {
    Keyword.ROW_KEY: ROW_KEY,
    Keyword.BATCH_START: _of_batch(lambda batch: batch.start),
    Keyword.BATCH_SIZE: _of_batch(lambda batch: batch.size),
    Keyword.BATCH_INDEX: _of_batch(lambda batch: batch.index),
}
"""What differs from call to call, whatever row it is about."""


def compose(
    template: Template, of_reference: Callable[[Reference], Value], keywords: Mapping[Keyword, Any] | None
) -> Value:
    """Return what a template comes to: a value if it is one reference or one keyword, otherwise text.

    Without ``keywords`` there are none in the text. Raises TableReferenceError for a keyword that has no value.
    """
    pieces: list[Value] = []
    for part in template.parts:
        if isinstance(part, Reference):
            pieces.append(of_reference(part))
        elif keywords is None:
            pieces.append(Value.fixed(part))
        else:
            pieces.extend(_keyword_or_text(piece, template, keywords) for piece in split(part))
    if len(pieces) == 1:
        return pieces[0]
    if not any(piece.varies for piece in pieces):
        return Value.fixed("".join(str(piece.constant) for piece in pieces))
    getters = [piece.get for piece in pieces]
    return Value(lambda row, row_key: "".join([str(get(row, row_key)) for get in getters]), True)


def _keyword_or_text(piece: str | Keyword, template: Template, keywords: Mapping[Keyword, Any]) -> Value:
    if not isinstance(piece, Keyword):
        return Value.fixed(piece)
    if piece in _OF_CALL:
        return _OF_CALL[piece]
    if piece not in keywords:
        raise template.error(f"{piece} has no value here.")
    return Value.fixed(keywords[piece])
