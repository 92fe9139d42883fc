from __future__ import annotations

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.cli.conditions import read_conditions
from tablevault_like.errors import TVArgumentError
from tests.cli.conftest import Tvl

FRAME = pd.DataFrame(
    {
        "year": pd.Series(dtype="Int64"),
        "zip": pd.Series(dtype="string"),
        "made": pd.Series(dtype="datetime64[us]"),
        "is_in": pd.Series(dtype="boolean"),
    }
)


@pytest.mark.parametrize(
    ("text", "condition"),
    [
        ("year >= 2020", ("year", ">=", 2020)),
        ("year=2020", ("year", "=", 2020)),
        ("year != null", ("year", "!=", None)),
        ("year in [1, 2.5, null]", ("year", "in", [1, 2.5, None])),
        ("year not  in [1]", ("year", "not in", [1])),
        ("zip == 01234", ("zip", "==", "01234")),
        ("zip == 1234", ("zip", "==", "1234")),
        ('zip == "1234"', ("zip", "==", "1234")),
        ("zip == null", ("zip", "==", None)),
        ("zip in [1, null]", ("zip", "in", ["1", None])),
        ("zip == a = b", ("zip", "==", "a = b")),
        ("zip ==", ("zip", "==", "")),
        ("made < 2020-01-01", ("made", "<", "2020-01-01")),
        ("made < 2020", ("made", "<", "2020")),
        ("is_in == true", ("is_in", "==", True)),
    ],
)
def test_conditions_are_read_as_their_columns_need_them(text: str, condition: tuple[str, str, object]) -> None:
    assert read_conditions([text], FRAME) == [condition]


@pytest.mark.parametrize("text", ["", "year", "year ~ 3", "> 3"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(TVArgumentError, match=r"can't be read\. Give COLUMN OP VALUE"):
        read_conditions([text], FRAME)


def test_frames_are_shown_in_part(tvl: Tvl, vault: TableVault) -> None:
    vault.execute_instance("words")
    instance = vault.get_table_instances("words")[0]
    show = ("show", "words", "--db-dir=vault")

    said = tvl(*show, "--filter", "word > ape", "-f", 'shout in ["BEE", "APE"]', "-s", "shout").out.splitlines()

    assert said[-1] == f"1 of 3 rows of words/{instance}"
    assert said[:2] == ["shout", "BEE"]
    assert [each["word"] for each in tvl(*show, "--filter=word != bee", "--json").json["records"]] == ["ape", "cat"]
    assert tvl(*show, "--filter=word == null", "--csv").out == "word,shout\n"
    assert "no column 'wort'. Did you mean 'word'" in tvl(*show, "--filter=wort == 1", code=3).err
