"""The words in arguments that stand for something of the running process."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


class Keyword(StrEnum):
    """What an argument may ask for.

    ``ROW_KEY`` differs from row to row, and those about batches from batch to batch: these and ``RESUME_FROM`` are
    numbers.
    """

    ARTIFACT_FOLDER = "~ARTIFACT_FOLDER~"
    PROCESS_ID = "~PROCESS_ID~"
    ROW_KEY = "~ROW_KEY~"
    RESUME_FROM = "~RESUME_FROM~"
    BATCH_START = "~BATCH_START~"
    BATCH_SIZE = "~BATCH_SIZE~"
    BATCH_INDEX = "~BATCH_INDEX~"


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows that one call makes: how many, from which position on, and which batch of all that is."""

    start: int
    size: int
    index: int

    @property
    def rows(self) -> range:
        return range(self.start, self.start + self.size)


CallKey: TypeAlias = str | Batch | None
"""What a call knows of itself: the key of its row, or the batch that it makes; None for a call for all rows."""


_ALL = tuple(map(str, Keyword))
_KEYWORD_LIKE = re.compile(r"~[A-Z_]+~")
_RESEMBLANCE = 0.75  # "~PROCESS~" and "~ROW_KEYS~" are taken for keywords, "~HOME~" and "~ROW~" are not
_KEYWORD = re.compile("(" + "|".join(map(re.escape, Keyword)) + ")")


def split(text: str) -> tuple[str | Keyword, ...]:
    """Split text into keywords and what is between them.

    >>> split("~ARTIFACT_FOLDER~/a.txt")
    (<Keyword.ARTIFACT_FOLDER: '~ARTIFACT_FOLDER~'>, '/a.txt')
    """
    if "~" not in text:
        return (text,) if text else ()
    pieces = _KEYWORD.split(text)
    return tuple(Keyword(piece) if number % 2 else piece for number, piece in enumerate(pieces) if piece)


def resembled(text: str) -> Keyword | None:
    """Return the keyword that a text is meant for, if it is written like one and isn't one.

    >>> resembled("~PROCESS_IDD~")
    <Keyword.PROCESS_ID: '~PROCESS_ID~'>
    >>> resembled("~HOME~"), resembled("~PROCESS_ID~"), resembled("as ~PROCESS_IDD~")
    (None, None, None)
    """
    if text in _ALL or not _KEYWORD_LIKE.fullmatch(text):
        return None
    import difflib  # it takes long to import, and is needed for errors only

    close = difflib.get_close_matches(text, _ALL, n=1, cutoff=_RESEMBLANCE)
    return Keyword(close[0]) if close else None


def occurring(text: str) -> frozenset[Keyword]:
    """Return the keywords in a text.

    >>> occurring("~ROW_KEY~ of ~PROCESS_ID~") == {Keyword.ROW_KEY, Keyword.PROCESS_ID}
    True
    """
    return frozenset(piece for piece in split(text) if isinstance(piece, Keyword))
