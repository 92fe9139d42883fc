from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault, tv_errors
from tablevault_like.cli.instances import read_frame
from tests.cli.conftest import SHOUT, Tvl

CSV = "id,zip,name,score\n1,01234,NA,1.5\n2,00007,,\n3,5,None,-2\n"


@pytest.fixture
def papers(vault: TableVault, folder: Path) -> TableVault:
    """Return the vault with a table that is written from a file, which is there."""
    vault.create_table("papers")
    vault.create_instance("papers", external_edit=True)
    (folder / "papers.csv").write_text(CSV)
    return vault


def test_an_instance_is_created_with_builders_to_edit(tvl: Tvl, vault: TableVault, folder: Path) -> None:
    (folder / "loud.yaml").write_text(SHOUT)

    said = tvl(
        "create-instance", "words", "--db-dir=vault", "--version=v2", "--builder=loud.yaml", "--builder=mood",
        "--description=Second",
    )  # fmt: skip

    builders = folder / "vault/words/TEMP_v2/builders"
    assert said.out.splitlines() == [
        "Created words/TEMP_v2.",
        "Its builders, to be edited:",
        f"  {builders}/loud.yaml",
        f"  {builders}/mood.yaml",
        f"  {builders}/words_index.yaml",
    ]
    assert vault.get_builder_str("words", "loud", version="v2") == SHOUT
    assert vault.get_descriptions("TEMP_v2", "words")["description"] == "Second"


def test_an_instance_is_copied_from_its_origin(tvl: Tvl, vault: TableVault) -> None:
    vault.execute_instance("words")
    (made,) = vault.get_table_instances("words")
    vault.create_table("tales")

    tvl("create-instance", "words", "--copy", "--db-dir=vault")
    tvl("create-instance", "tales", "--origin", made, "--origin-table=words", "--db-dir=vault")

    assert vault.get_builders_list("words") == ["shout", "words_index"]
    assert vault.get_builders_list("tales") == ["shout", "tales_index"]


def test_a_copy_of_nothing_is_told(tvl: Tvl, vault: TableVault) -> None:
    said = tvl("create-instance", "words", "--version=v2", "--copy", "--db-dir=vault")

    assert said.out.splitlines()[0] == "Created words/TEMP_v2. There was no instance to copy, so it is a new one."
    assert vault.get_builders_list("words", version="v2") == ["words_index"]
    vault.execute_instance("words")
    assert tvl("create-instance", "words", "--copy", "--db-dir=vault").out.splitlines()[0] == "Created words/TEMP_base."


def test_a_frame_without_an_instance_is_told_what_to_create(tvl: Tvl, papers: TableVault) -> None:
    said = tvl("write-instance", "papers", "papers.csv", "--version=v2", "--db-dir=vault", code=3)

    assert "`tvl create-instance papers --version v2 --external-edit`" in said.err


def test_a_csv_file_becomes_an_instance(tvl: Tvl, papers: TableVault) -> None:
    said = tvl(
        "write-instance", "papers", "papers.csv", "--db-dir=vault", "--dtype=zip=string", "--dtype=score=Float32"
    )

    (made,) = papers.get_table_instances("papers")
    assert said.out == f"Materialized papers/{made}: 3 rows.\n"
    frame = papers.get_dataframe("papers")
    assert frame["zip"].tolist() == ["01234", "00007", "5"]
    assert frame["name"].tolist() == ["NA", pd.NA, "None"]
    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "id": "Int64",
        "zip": "string",
        "name": "string",
        "score": "Float32",
    }


def test_writing_tells_what_it_was_made_from(tvl: Tvl, papers: TableVault) -> None:
    papers.execute_instance("words")
    (source,) = papers.get_table_instances("words")

    document = tvl(
        "write-instance", "papers", "papers.csv", "--db-dir=vault", f"--made-from=words/{source}", "--json"
    ).json

    assert document["rows"] == 3
    described = papers.get_descriptions(document["instance_id"], "papers")
    assert described["dependencies"] == [["words", source]]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_every_kind_of_file_gives_the_same_frame(tmp_path: Path, suffix: str) -> None:
    frame = pd.DataFrame({"i": [1, None], "t": ["a", None], "b": [True, None]}).convert_dtypes()
    path = tmp_path / f"frame{suffix}"
    if suffix == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="," if suffix == ".csv" else "\t")

    pd.testing.assert_frame_equal(read_frame(path, {}), frame)


def test_files_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_text("no")
    (tmp_path / "bad.csv").write_text('a,b\n1,2,3,4\n"')
    (tmp_path / "empty.csv").touch()
    (tmp_path / "folder.csv").mkdir()

    for name in ("bad.parquet", "bad.csv", "empty.csv", "folder.csv"):
        with pytest.raises(tv_errors.TVFileError, match="can't be read"):
            read_frame(tmp_path / name, {})
    with pytest.raises(tv_errors.TVArgumentError, match="no file"):
        read_frame(tmp_path / "nothing.csv", {})
    with pytest.raises(tv_errors.TVArgumentError, match=r"Give a \.csv"):
        read_frame(tmp_path / "frame.xlsx", {})


def test_a_value_that_does_not_fit_is_a_value_error(tvl: Tvl, papers: TableVault) -> None:
    said = tvl("write-instance", "papers", "papers.csv", "--db-dir=vault", "--dtype=name=Int64", code=7)

    assert "column 'name'" in said.err


def test_pairs_are_checked(tvl: Tvl, papers: TableVault) -> None:
    line = ("write-instance", "papers", "papers.csv", "--db-dir=vault")

    assert "--dtype takes two names with '=' between them, not 'zip'." in tvl(*line, "--dtype=zip", code=3).err
    assert "--made-from takes two names with '/'" in tvl(*line, "--made-from=words", code=3).err


def test_without_a_file_there_must_be_a_process_to_go_on_with(tvl: Tvl, papers: TableVault) -> None:
    said = tvl("write-instance", "papers", "--db-dir=vault", code=6)

    assert "no frame to write" in said.err


def test_an_instance_is_deleted(tvl: Tvl, vault: TableVault) -> None:
    assert tvl("delete-instance", "words", "TEMP_base", "--db-dir=vault").out == "Deleted words/TEMP_base.\n"
    assert vault.get_table_instances("words", include_temp=True) == []


def test_an_instance_that_was_deleted_since_is_no_error(tvl: Tvl, papers: TableVault) -> None:
    line = ("write-instance", "papers", "papers.csv", "--db-dir=vault", "--process-id=p1", "--json")
    papers.delete_instance(tvl(*line).json["instance_id"], "papers")

    assert tvl(*line).json["instance_id"] is None
