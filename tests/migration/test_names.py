"""Names that aren't allowed become ones that are."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tablevault_like.migration import names as naming
from tablevault_like.migration.names import Names, chosen
from tablevault_like.model import (
    check_builder_name,
    check_module_name,
    check_process_id,
    check_table_name,
    check_version,
)

CHECKS = [(check_table_name, "-"), (check_version, "-"), (check_module_name, "_"), (check_builder_name, "-")]


@pytest.mark.parametrize(("check", "joint"), CHECKS, ids=lambda each: getattr(each, "__name__", ""))
@given(given_names=st.lists(st.text(max_size=12) | st.sampled_from(["TEMP_a", "trash", "class", "1", "a b", "a-b"])))
def test_every_name_gets_an_allowed_one_of_its_own(
    check: Callable[[str], str], joint: str, given_names: list[str]
) -> None:
    found = chosen(given_names, check, joint=joint)

    assert list(found) == list(dict.fromkeys(given_names))
    assert len(set(found.values())) == len(found)
    for old, new in found.items():
        check(new)
        assert new == old or chosen([old], check, joint=joint)[old] != old


@given(st.lists(st.text(max_size=200), unique=True))
def test_every_process_id_gets_an_allowed_one_of_its_own(ids: list[str]) -> None:
    found = [naming.process_id(each) for each in ids]

    assert [check_process_id(each) for each in found] == found
    assert len(set(found)) == len(ids)


def test_a_long_name_is_cut() -> None:
    [(_, new)] = chosen(["a " * 200], check_table_name).items()

    assert check_table_name(new) == new


def test_references_name_what_is_named_otherwise_now() -> None:
    names = Names({"code": "code-1", "a": "a"}, {"v1.0": "v1-0"}, {})
    old = "v1.0_1700000000_0d3d8438-4fdd-4574-90e8-15143337be9c"

    for text, wanted in {
        "<<code>>": "<<code-1>>",
        "<< code . x >>": "<< code-1 . x >>",
        "<<code(v1.0).{x, y}[k::1:2]>>": "<<code-1(v1-0).{x, y}[k::1:2]>>",
        f"<<a({old}).x>>": f"<<a({old.replace('.', '-')}).x>>",
        "<<a.code[code::<<code.code[index]>>]>>": "<<a.code[code::<<code-1.code[index]>>]>>",
        r"code \<<code>> <<self.code>> <<codes>>": r"code \<<code>> <<self.code>> <<codes>>",
        "<<a()>>": "<<a()>>",
    }.items():
        assert names.in_references(text) == wanted
