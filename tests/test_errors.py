from __future__ import annotations

import pytest

from tablevault_like.errors import nearest


@pytest.mark.parametrize(
    ("name", "known", "hint"),
    [
        ("Id", ["d", "id"], " Did you mean 'id'?"),
        ("S", ["s", "papers"], " Did you mean 's'?"),
        ("STORYS", ["Stories", "papers"], " Did you mean 'Stories'?"),
        ("text", ["TEXT", "tet"], " Did you mean 'TEXT'?"),
        ("TEXT", ["Text", "texts"], " Did you mean 'Text'?"),
        ("int65", ["Int64", "int64"], " Did you mean 'int64'?"),
        ("Int65", ["Int64", "int64"], " Did you mean 'Int64'?"),
        ("x", ["B", "a"], " Known: B, a."),
        ("x", [str(number) for number in range(10, 22)], " Known: 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, ...."),
        ("x", [], " There are none yet."),
    ],
)
def test_the_nearest_name_is_suggested_whatever_its_case(name: str, known: list[str], hint: str) -> None:
    assert nearest(name, known) == hint
