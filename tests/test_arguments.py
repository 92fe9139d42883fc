"""What callers give: whatever is of a wrong kind is refused before anything happens, with what to give instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from tablevault_like import TableVault, arguments
from tablevault_like.errors import TVArgumentError
from tests.tables import write
from tests.test_vault import SIGNATURES

FRAME = pd.DataFrame({"n": [1, 2], "text": ["one", "two"]})


@pytest.fixture
def vault(vault_dir: Path) -> TableVault:
    vault = TableVault(vault_dir, "ada", create=True)
    vault.create_table("words")
    vault.create_instance("words", external_edit=True)
    return vault


@pytest.mark.parametrize(
    ("method", "name"),
    [(method, name.removeprefix("*")) for method, signature in SIGNATURES.items() for name in signature],
)
def test_every_argument_of_a_wrong_kind_is_refused(
    vault: TableVault, vault_dir: Path, tmp_path: Path, method: str, name: str
) -> None:
    needed: dict[str, Any] = {each: "words" for each, default in SIGNATURES[method].items() if default is ...}
    if method == "__init__":
        needed["db_dir"] = str(vault_dir)
    if method == "write_instance":
        needed["table_df"] = FRAME
    call = TableVault if method == "__init__" else getattr(vault, method)
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(TVArgumentError, match=rf"^{name}\b"):
        call(**{**needed, name: object()})

    assert sorted(tmp_path.rglob("*")) == before
    assert vault.get_active_processes() == {}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda v: v.create_table("more", description=7), "description must be a string, not 7."),
        (lambda v: v.create_table(None), "table_name must be a string, not None."),
        (lambda v: v.create_table("more", has_side_effects="no"), "has_side_effects must be True or False, not 'no'."),
        (lambda v: v.create_table("more", description="\ud800"), "description holds characters that aren't Unicode"),
        (lambda v: v.get_process(["p"]), "process_id must be a string, not ['p']."),
        (lambda v: v.create_builder_file("words", "x", copy_dir=5), "copy_dir must be a path, not 5."),
        (lambda v: v.create_builder_file("words", "x", copy_dir="a\0b"), "copy_dir must be a path, not 'a\\x00b'."),
        (lambda v: v.create_instance("words", "x", builders="abc"), "For one builder, give ['abc']."),
        (lambda v: v.create_instance("words", "x", builders=[5]), "not [5]"),
        (lambda v: v.create_instance("words", "x", builders={"a": 5}), "not {'a': 5}"),
        (lambda v: v.write_instance(FRAME, "words", dependencies="s"), "pairs of a table and an instance id"),
        (lambda v: v.write_instance(FRAME, "words", dependencies=["s"]), "not ['s']"),
        (lambda v: v.write_instance(FRAME, "words", dependencies=[("s",)]), "not [('s',)]"),
        (lambda v: v.write_instance(FRAME, "words", dependencies={"s": "x"}), "not {'s': 'x'}"),
        (lambda v: v.write_instance(FRAME, "words", dependencies=[("s", 1)]), "not [('s', 1)]"),
        (lambda v: v.write_instance(FRAME, "words", dtypes=["n"]), "a mapping of columns to dtypes, not ['n']"),
        (lambda v: v.write_instance(FRAME, "words", dtypes={1: "Int8"}), "not {1: 'Int8'}"),
        (lambda v: v.write_instance(FRAME, "words", dtypes={"n": 5}), "dtypes of the column 'n': 5 is not a dtype"),
        (lambda v: v.write_instance(FRAME, "words", dtypes={"n": list}), "<class 'list'> is not a dtype"),
        (
            lambda v: v.write_instance(FRAME, "words", dtypes={"text": pd.CategoricalDtype(["one"])}),
            "can't be given by a name. Convert the column first",
        ),
    ],
)
def test_what_to_give_is_told(vault: TableVault, call: Callable[[TableVault], object], message: str) -> None:
    with pytest.raises(TVArgumentError) as caught:
        call(vault)

    assert message in str(caught.value)
    assert vault.get_table_instances("words", include_temp=True) == ["TEMP_base"]


@pytest.mark.parametrize("seconds", ["x", None, float("nan"), -1, -0.5, True, [1]])
def test_a_lock_timeout_is_a_number_of_seconds(vault_dir: Path, seconds: Any) -> None:
    with pytest.raises(TVArgumentError, match="lock_timeout must be a number of seconds, 0 or more"):
        TableVault(vault_dir, create=True, lock_timeout=seconds)
    assert not vault_dir.exists()


@pytest.mark.parametrize("seconds", [0, 2, 0.5, np.float32(0.5), np.int64(2), float("inf")])
def test_every_kind_of_number_is_a_lock_timeout(vault_dir: Path, seconds: Any) -> None:
    assert TableVault(vault_dir, create=True, lock_timeout=seconds).create_table("words")


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ("Int8", "Int8"),
        ("artifact_string", "artifact_string"),
        (int, "int64"),
        (float, "float64"),
        (bool, "bool"),
        (str, "str"),
        (object, "object"),
        (np.int16, "int16"),
        (np.dtype("float32"), "float32"),
        (pd.Int64Dtype(), "Int64"),
        (pd.StringDtype(), "string"),
        (pd.StringDtype("python"), "string[python]"),
        (pd.DatetimeTZDtype(tz="UTC"), "datetime64[ns, UTC]"),
        (pd.CategoricalDtype(), "category"),
    ],
)
def test_a_dtype_is_named_by_a_text_or_by_itself(given: Any, name: str) -> None:
    assert arguments.dtype_names({"column": given}) == {"column": name}


def test_dtypes_that_are_no_texts_are_kept(vault: TableVault) -> None:
    vault.write_instance(FRAME, "words", dtypes={"n": np.int16, "text": pd.StringDtype()})

    found = vault.get_dataframe("words").dtypes
    assert [str(dtype) for dtype in found] == ["int16", "string"]


def test_pairs_and_names_may_come_in_any_collection(vault: TableVault) -> None:
    source = write(vault, "sources", FRAME)
    pairs: Any = iter([["sources", source]])
    vault.write_instance(FRAME, "words", dependencies=pairs)

    vault.create_instance("words", builders=(name for name in ("text", "size")))

    (made,) = vault.get_table_instances("words")
    assert vault.get_descriptions(made, "words")["dependencies"] == [["sources", source]]
    assert vault.get_builders_list("words") == ["size", "text", "words_index"]


def test_paths_may_be_paths(vault: TableVault, tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text("LIMIT = 3\n")

    vault.create_code_module(copy_dir=tmp_path / "tools.py")

    assert vault.get_code_modules_list() == ["tools"]
