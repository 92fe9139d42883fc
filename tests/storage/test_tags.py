"""What stands in stored files stays readable: each tag with a text as it was written, and the value that it is."""

from __future__ import annotations

import datetime
import uuid
import zoneinfo
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault_like.storage import tags
from tablevault_like.storage.tags import untag
from tablevault_like.storage.values import decode, encode
from tests.storage.exact import same

MOMENT = datetime.datetime(2024, 1, 31, 12, 30)
BERLIN = zoneinfo.ZoneInfo("Europe/Berlin")
BIG = 10**600

STORED = [
    (f'{{"~int":"{BIG:x}"}}', BIG),
    ('{"~float":"inf"}', float("inf")),
    ('{"~tuple":[1,"a"]}', (1, "a")),
    ('{"~dict":[[1,"a"]]}', {1: "a"}),
    ('{"~set":[1]}', {1}),
    ('{"~frozenset":[1]}', frozenset({1})),
    ('{"~bytes":"YQA="}', b"a\0"),
    ('{"~date":"2024-01-31"}', MOMENT.date()),
    ('{"~datetime":"2024-01-31T12:30:00"}', MOMENT),
    ('{"~datetime":["2024-01-31T12:30:00","Europe/Berlin",0]}', MOMENT.replace(tzinfo=BERLIN)),
    ('{"~datetime":["2024-01-31T12:30:00",[0,null],1]}', MOMENT.replace(tzinfo=datetime.UTC, fold=1)),
    ('{"~time":"12:30:00"}', MOMENT.time()),
    ('{"~timedelta":86400000001}', datetime.timedelta(days=1, microseconds=1)),
    ('{"~decimal":"1.50"}', Decimal("1.50")),
    ('{"~uuid":"00000000-0000-0000-0000-000000000001"}', uuid.UUID(int=1)),
    ('{"~numpy":["<i2",5]}', np.int16(5)),
    ('{"~array":["<i2",[2,1],"AQACAA=="]}', np.array([[1], [2]], "<i2")),
    ('{"~array":["|O",[2],[null,{"~tuple":[]}]]}', np.array([None, ()], dtype=object)),
    ('{"~timestamp":["<M8[us]",1000000,"Europe/Berlin"]}', pd.Timestamp(1, unit="s", tz=BERLIN).as_unit("us")),
    ('{"~pandas_timedelta":["<m8[s]",60]}', pd.Timedelta(minutes=1).as_unit("s")),
    ('{"~NA":null}', pd.NA),
    ('{"~NaT":null}', pd.NaT),
]


@pytest.mark.parametrize(("text", "value"), STORED)
def test_a_tag_is_written_and_read_as_ever(text: str, value: Any) -> None:
    assert encode(value) == text
    assert same(decode(text), value)


def test_no_tag_is_left_out_here() -> None:
    assert {text.split('"')[1] for text, _ in STORED} == {f"~{name}" for name in tags.NAMES}


@pytest.mark.parametrize("found", [{}, {"date": "2024-01-31"}, {"~date": "2024-01-31", "b": 1}])
def test_what_is_no_tag_stays_as_it_is(found: dict[str, Any]) -> None:
    assert untag(found) is found


def test_a_tag_of_a_newer_version_is_told() -> None:
    with pytest.raises(ValueError, match="unknown tag '~colour', perhaps of a newer version"):
        untag({"~colour": "red"})
