"""Builders that the machine writes: their files, and what they are to make, in a few lines of Python each.

A builder is a ``Recipe``. ``Code`` is what the two code modules say: ``edition`` and ``aid`` are numbers in them that
functions use, ``note`` is a comment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import Enum
from functools import lru_cache
from typing import TypeAlias

from tablevault_like.model import ReturnType
from tests import tables

Cell: TypeAlias = int | str | None
ROW_WISE, GENERATOR, DATAFRAME = ReturnType.ROW_WISE, ReturnType.GENERATOR, ReturnType.DATAFRAME
BATCH, BATCH_SIZE = ReturnType.BATCH, 2
INDEX_COLUMNS = ("k", "t")
PAGE = "page"


class Kind(Enum):
    """What a builder makes. With its return type, its function, and the numbers in code that it uses."""

    LIST = ("keys from a list", GENERATOR, "make", ("edition",))
    FRAME = ("keys from a list, all at once", DATAFRAME, "make_frame", ("edition",))
    OTHER = ("keys of another table", GENERATOR, "make", ("edition",))
    KEEP = ("keys, and the rows of the origin", GENERATOR, "make", ("edition",))
    KEEP_KEY = ("keys, and the rows of the origin that have others", GENERATOR, "make", ("edition",))
    AGAIN = ("each row of the origin anew", ROW_WISE, "make_again", ())
    ADD = ("a sum with numbers in code", ROW_WISE, "add", ("edition", "aid"))
    BATCH = ("a sum with a number in code, some rows at a time", BATCH, "add_to_some", ("edition",))
    COPY = ("another column as text", ROW_WISE, "copy", ())
    SUM = ("the sum of all keys", DATAFRAME, "sum_up", ())
    STREAM = ("products", GENERATOR, "stream", ())
    FIND = ("what another table says of the key", ROW_WISE, "find", ())
    PAGE = ("an artifact", ROW_WISE, "write", ("edition",))
    CHILD = ("a table for each row", ROW_WISE, "bear", ())

    def __init__(self, what: str, return_type: ReturnType, function: str, uses: tuple[str, ...]) -> None:
        self.what = what
        self.return_type = return_type
        self.function = function
        self.uses = uses

    @property
    def is_index(self) -> bool:
        return self in INDEX_KINDS

    @property
    def is_by_row(self) -> bool:
        """Tell whether rows are called for by their positions, so that one may fail by itself."""
        return self.return_type in (ROW_WISE, BATCH)

    @property
    def keeps_old(self) -> bool:
        return self in (Kind.KEEP, Kind.KEEP_KEY)


INDEX_KINDS = (Kind.LIST, Kind.FRAME, Kind.OTHER, Kind.KEEP, Kind.KEEP_KEY, Kind.AGAIN)
COLUMN_KINDS = tuple(kind for kind in Kind if kind not in INDEX_KINDS)


@dataclass(frozen=True)
class Recipe:
    """A builder file.

    ``numbers`` are the keys that an IndexBuilder makes. ``other`` is the table that it reads, ``source`` a column of
    its own table. ``note`` is a comment, which makes no difference, as does ``on_error`` to what is made.
    """

    kind: Kind
    column: str = ""
    number: int = 0
    numbers: tuple[int, ...] = ()
    other: str = ""
    source: str = ""
    note: int = 0
    on_error: str = ""

    def __repr__(self) -> str:
        """Only what is said, for failures are long."""
        said = [f"{each.name}={value!r}" for each in fields(self)[1:] if (value := getattr(self, each.name))]
        return f"Recipe({', '.join([str(self.kind), *said])})"

    @property
    def columns(self) -> tuple[str, ...]:
        return INDEX_COLUMNS if self.kind.is_index else (self.column,)

    @property
    def meaning(self) -> Recipe:
        """The recipe without what makes no difference."""
        return Recipe(self.kind, self.column, self.number, self.numbers, self.other, self.source)

    @property
    def reads(self) -> tuple[str, ...]:
        """The columns of its own table that a ColumnBuilder reads."""
        if self.kind.is_index:
            return ()
        return (self.source,) if self.kind is Kind.COPY else ("k",)

    def text(self) -> str:
        return _text(self)


@lru_cache(maxsize=4096)
def _text(recipe: Recipe) -> str:
    kind, number = recipe.kind, recipe.number
    more: dict[str, object] = {"return_type": str(kind.return_type)}
    arguments: dict[str, object] = {"process": "~PROCESS_ID~"}
    if recipe.on_error:
        more |= {"on_error": recipe.on_error}
    if kind is Kind.BATCH:
        more |= {"batch_size": BATCH_SIZE}
    if kind.is_by_row:
        arguments["row"] = "<<self.index>>"
    match kind:
        case Kind.LIST | Kind.FRAME | Kind.KEEP | Kind.KEEP_KEY:
            arguments |= {"numbers": list(recipe.numbers)}
        case Kind.OTHER:
            arguments |= {"numbers": f"<<{recipe.other}.k>>"}
        case Kind.AGAIN:
            arguments |= {"k": "<<self.k[index]>>", "t": "<<self.t[index]>>"}
        case Kind.ADD | Kind.BATCH:
            arguments |= {"k": "<<self.k[index]>>"}
        case Kind.CHILD:
            arguments |= {"k": "<<self.k[index]>>", "key": "~ROW_KEY~"}
        case Kind.PAGE:
            arguments |= {"k": "<<self.k[index]>>", "folder": "~ARTIFACT_FOLDER~"}
            more |= {"dtypes": {recipe.column: "artifact_string"}}
        case Kind.COPY:
            arguments |= {"value": f"<<self.{recipe.source}[index]>>"}
        case Kind.SUM | Kind.STREAM:
            arguments |= {"frame": "<<self.k>>"}
        case Kind.FIND:
            arguments |= {"found": f"<<{recipe.other}.t[k::<<self.k[index]>>]>>"}
    if kind.keeps_old:
        more |= {"keep_old": True}
    if kind is Kind.KEEP_KEY:
        more |= {"primary_key": ["k"]}
    arguments |= {"number": number, "who": "index" if kind.is_index else recipe.column}
    make = tables.index if kind.is_index else tables.column
    text = make(*recipe.columns, function=kind.function, arguments=arguments, **more)
    return f"{text}# note {recipe.note}\n" if recipe.note else text


@dataclass(frozen=True)
class Code:
    """What the code modules say; None for ``edition`` if there is no module ``work``."""

    edition: int | None = 0
    aid: int = 0
    note: int = 0

    def used_by(self, recipe: Recipe) -> tuple[object, ...]:
        return tuple(getattr(self, name) for name in recipe.kind.uses)

    def module(self, name: str) -> str:
        if name == "aid":
            return f'"""Note {self.note}."""\n\nAID = {self.aid}\n'
        return _WORK.replace("NOTE", str(self.note)).replace("EDITION_NUMBER", str(self.edition))


_WORK = '''"""Functions of the machine. NOTE"""

import zlib
from pathlib import Path

import pandas as pd

from aid import AID
from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError
from tests.machine import world
from tests.machine.world import enter, leave

EDITION = EDITION_NUMBER


def make(numbers, number, who, process):
    for row, k in enumerate(listed(numbers)):
        enter(who, row)
        yield leave(who, row, (k, f"w{number + EDITION}"))


def make_frame(numbers, number, who, process):
    enter(who, 0)
    keys = listed(numbers)
    frame = pd.DataFrame({"k": pd.array(keys, dtype="Int64"), "t": [f"w{number + EDITION}"] * len(keys)})
    return leave(who, 0, frame.astype({"t": "string"}))


def listed(numbers):
    return numbers if isinstance(numbers, list) else numbers["k"].tolist()


def make_again(k, t, number, who, row, process):
    enter(who, row)
    return leave(who, row, (k + number, t))


def add(k, number, who, row, process):
    enter(who, row)
    return leave(who, row, k + number + 10 * EDITION + 100 * AID)


def add_to_some(frame, number, who, process):
    rows = frame["row"].tolist()
    enter(who, *rows)
    sums = [k + number + 10 * EDITION for k in frame["k"].tolist()]
    return leave(who, rows, pd.DataFrame({who: pd.array(sums, dtype="Int64")}))


def copy(value, number, who, row, process):
    enter(who, row)
    return leave(who, row, f"{value}/{number}")


def sum_up(frame, number, who, process):
    enter(who, 0)
    made = pd.DataFrame({who: pd.array([int(frame["k"].sum()) + number] * len(frame), dtype="Int64")})
    return leave(who, 0, made)


def stream(frame, number, who, process):
    for row, k in enumerate(frame["k"].tolist()):
        enter(who, row)
        yield leave(who, row, k * number)


def find(found, number, who, row, process):
    enter(who, row)
    return leave(who, row, f"{found} {number}")


def write(k, number, who, folder, row, process):
    enter(who, row)
    if k % 3 == 0:
        return leave(who, row, None)
    path = Path(folder) / f"p{k}" / f"{number}-{EDITION}.txt"
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"{k} {number} {EDITION}")
    return leave(who, row, f"p{k}/{path.name}")


def bear(k, number, who, row, process, key):
    enter(who, row)
    name = f"kid_{zlib.crc32(key.encode())}"
    try:
        TableVault(world.current.vault_dir).create_table(name)
    except TVArgumentError:  # by the same row of a run that was made anew: what children have made stays
        assert name in TableVault(world.current.vault_dir).get_table_instances()
    return leave(who, row, k + number)
'''


def page(k: int, number: int, edition: int) -> tuple[str, str]:
    """Return the name and the content of an artifact."""
    return f"p{k}/{number}-{edition}.txt", f"{k} {number} {edition}"


def index_rows(recipe: Recipe, code: Code, keys: Sequence[int], old: Sequence[tuple[int, str]]) -> list[tuple]:
    """Return the rows that an IndexBuilder makes: from its own keys, those of another table, or its origin's rows."""
    assert code.edition is not None
    if recipe.kind is Kind.AGAIN:
        return [(k + recipe.number, t) for k, t in old]
    return [(k, f"w{recipe.number + code.edition}") for k in keys]


def cells(recipe: Recipe, code: Code, columns: Mapping[str, list[Cell]], lookup: Mapping[int, list[str]]) -> list[Cell]:
    """Return the cells of a ColumnBuilder. ``lookup`` are the texts of the table that it reads, by their keys."""
    assert code.edition is not None
    keys: list[int] = columns["k"]  # type: ignore[assignment]
    number = recipe.number
    match recipe.kind:
        case Kind.ADD:
            return [k + number + 10 * code.edition + 100 * code.aid for k in keys]
        case Kind.BATCH:
            return [k + number + 10 * code.edition for k in keys]
        case Kind.COPY:
            return [f"{value}/{number}" for value in columns[recipe.source]]
        case Kind.SUM:
            return [sum(keys) + number] * len(keys)
        case Kind.STREAM:
            return [k * number for k in keys]
        case Kind.FIND:
            return [f"{_found(lookup.get(k, []))} {number}" for k in keys]
        case Kind.PAGE:
            return [None if k % 3 == 0 else page(k, number, code.edition)[0] for k in keys]
        case Kind.CHILD:
            return [k + number for k in keys]
    raise AssertionError(recipe)


def _found(texts: list[str]) -> object:
    if not texts:
        return None
    return texts[0] if len(texts) == 1 else texts


def order(recipes: Mapping[str, Recipe], index: str, carried: Iterable[str] = ()) -> dict[str, frozenset[str]] | None:
    """Return the builders in the order in which they run, each with those it waits for; None if they can't run.

    ``carried`` are the columns that the rows have from the origin.
    """
    first = dict.fromkeys((*INDEX_COLUMNS, *carried), index)
    makers = dict(first)
    made: set[str] = set(INDEX_COLUMNS)
    for name, recipe in recipes.items():
        if name != index:
            if recipe.column in made:
                return None
            made.add(recipe.column)
            makers[recipe.column] = name
    needs: dict[str, frozenset[str]] = {}
    for name, recipe in recipes.items():
        if any(column not in makers for column in recipe.reads):
            return None
        read = {makers[column] if makers[column] != name else first.get(column, name) for column in recipe.reads}
        needs[name] = frozenset(read | ({index} - {name}))
    ordered: dict[str, frozenset[str]] = {}
    while len(ordered) < len(recipes):
        ready = [name for name in recipes if name not in ordered and needs[name] <= ordered.keys()]
        if not ready:
            return None
        ordered[min(ready)] = needs[min(ready)]
    return ordered
