"""Functions for the tables ``documents`` and ``analysis``: the documentation topics that come with Python."""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import service

COMMON = {"about", "after", "being", "called", "first", "given", "other", "should", "their", "there", "these", "those"}
COMMON |= {"using", "value", "where", "which", "while", "within", "without", "would"}


def documents() -> Iterator[dict[str, str]]:
    """Yield the name and the text of every topic that ``help()`` knows."""
    try:
        from pydoc_data.topics import topics
    except ImportError:
        raise RuntimeError("This Python lacks pydoc_data.topics. Use one with its whole standard library.") from None
    for name in sorted(topics):
        yield {"name": name, "text": topics[name]}


def sizes(text: str, row_key: str) -> tuple[int, int]:
    """Count the words and the sentences of a text."""
    service.call(row_key)
    sentences = re.findall(r"[.!?:](?=\s|$)", text)
    return len(_words(text)), max(1, len(sentences))


def pace(words: int, sentences: int, row_key: str) -> float:
    """Return the words a sentence."""
    service.call(row_key)
    return round(words / sentences, 1)


def keywords(text: str, count: int, row_key: str) -> list[str]:
    """Return the words that are used most, leaving out short and common ones."""
    service.call(row_key)
    long_words = (word for word in _words(text) if len(word) > 4 and word not in COMMON)
    ranked = sorted(Counter(long_words).items(), key=lambda item: (-item[1], item[0]))
    return [word for word, _ in ranked[:count]]


def write_note(name: str, keywords: list[str], summary: str, folder: str, row_key: str) -> str:
    """Write a note about a topic into ``folder``, and return the name of its file."""
    service.call(row_key)
    path = Path(folder) / f"{name}.md"
    path.write_text(f"# {name}\n\n{summary}\n\n" + "".join(f"- {word}\n" for word in keywords), encoding="utf-8")
    return path.name


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z]+", text.lower())
