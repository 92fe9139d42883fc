"""Texts that nobody should write, for each parser: read, or refused by the vault's own errors, in bounded time."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from tablevault_like.builders import document
from tablevault_like.builders.plan import Plan
from tablevault_like.bundles.label import Label
from tablevault_like.errors import TableVaultError
from tablevault_like.references import grammar
from tablevault_like.storage import manifests, values
from tablevault_like.tapes.members import Unfit
from tests import library
from tests.faults import hostile, tally
from tests.faults.tally import Row
from tests.workers import Workers

SEED = 17
FUZZ_VARIABLE = "TABLEVAULT_FUZZ_SECONDS"
"""How many seconds each parser is fed with what chance makes of good texts. Half a second, unless it says more."""


def _manifest(text: str, folder: Path) -> object:
    (folder / "manifest.json").write_text(text)
    return manifests.contents(folder / "manifest.json", "artifacts")


PARSERS: Mapping[str, tuple[Callable[[str, Path], object], Sequence[str]]] = {
    "YAML": (
        lambda text, _: document.read(text, "x.yaml"),
        [*library.BUILDERS.values(), "a: [1, {b: 'c'}]\n? x\n: |\n y"],
    ),
    "references": (
        lambda text, _: grammar.parse(text),
        ["<<stories.text[index]>>", "a <<t(<<self.v>>).{a,b}[x::'y z', k:1:<<q.r>>]>> b", "<<a.b[c::<<d.e[f]>>]>>"],
    ),
    "manifests": (_manifest, ['{"format": 1, "files": {"artifacts/a": {"sha256": "00", "size": 3}}}']),
    "bundles' labels": (
        lambda text, _: Label.from_json(text.encode()),
        ['{"tablevault_like_bundle": 1, "kind": "instance"}'],
    ),
    "plans": (lambda text, _: Plan.from_json(text), ['{"format": 1, "builders": [{"name": "a", "fields": {}}]}']),
    "row values": (
        lambda text, _: values.decode(text),
        ['{"~": "date", "v": "2024-05-01"}', '[1, null, {"a": "b"}]', values.encode((1, b"x", {2.5: {"a"}}))],
    ),
}
_BITS = [
    "<<",
    ">>",
    "[",
    "]",
    "{",
    "}",
    ":",
    "::",
    "'",
    '"',
    ",",
    "\\",
    "~",
    "&a",
    "*a",
    "!!",
    "\n",
    "\0",
    " ",
    "-",
    "9" * 30,
]
_BITS += ["(", ")", ".", "index", "null", "1e999", "\ud800", "\u202e", "%", "#", "|", ">", "?", "@", "`", "\t"]


@pytest.mark.fault(Row.HOSTILE)
@pytest.mark.timeout(4_000)
@pytest.mark.parametrize("parser", PARSERS)
def test_parsers_are_brought_down_by_nothing(parser: str, tmp_path: Path, workers: Workers) -> None:
    seconds = float(os.environ.get(FUZZ_VARIABLE, "0.5"))
    tried, violations = workers.start(fuzz, parser, tmp_path, seconds).result(patience=seconds + 60.0)
    tally.add(Row.HOSTILE, tried, violations)
    assert tried > 10
    assert violations == []


def fuzz(parser: str, folder: Path, seconds: float) -> tuple[int, Sequence[str]]:
    """Feed a parser with what chance makes of good texts, for so long; stop at the first that brings it down."""
    parse, seeds = PARSERS[parser]
    chance, begun, tried = random.Random(SEED if seconds < 1 else None), time.monotonic(), 0
    hostile.limit(seconds=int(seconds) + 30)
    while time.monotonic() - begun < seconds:
        text = chance.choice(seeds)
        for _ in range(chance.choice([1, 2, 5, 20])):
            text = _changed(text, chance)
        tried += 1
        started = time.process_time()
        try:
            parse(text, folder)
        except (TableVaultError, Unfit, ValueError):
            pass
        except BaseException as error:
            return tried, [f"{parser}: {text!r:.2000} raised {type(error).__name__}: {error}"]
        if time.process_time() - started > 5:
            return tried, [f"{parser}: {text!r:.2000} took {time.process_time() - started:.1f} s"]
    return tried, []


def _changed(text: str, chance: random.Random) -> str:
    at, until = sorted((chance.randrange(len(text) + 1), chance.randrange(len(text) + 1)))
    bit = chance.choice(_BITS)
    match chance.randrange(5):
        case 0:
            return text[:at] + bit + text[at:]
        case 1:
            return text[:at] + text[until:]
        case 2:
            return (text[:at] + text[at:until] * chance.choice([2, 3, 50]) + text[until:])[:50_000]
        case 3:
            return text[:at] + (bit * chance.choice([1, 10, 1_000]))[:5_000] + text[at:]
        case _:
            return text[:at] + chr(chance.randrange(0x3000)) + text[until:]
