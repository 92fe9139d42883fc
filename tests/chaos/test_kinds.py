"""Rehearsals of every kind of builder, and of what they read."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault
from tablevault_like.errors import TVArgumentError, TVBuilderError, TVFileError
from tests import states
from tests.chaos.conftest import Make, Rehearse, call, column, committed, returned

CODE = """
import pandas as pd
from pathlib import Path

def pages(start):
    for number in range(start, 50):
        yield f"page {number}"

def page(name, folder):
    (Path(folder) / f"{name}.txt").write_text(name)
    return f"{name}.txt"

def sizes(frame):
    return pd.DataFrame({"sizes": [len(name) for name in frame["name"]]})
"""
RESUMING = """
builder_type: IndexBuilder
changed_columns: [name]
python_function: pages
code_module: work
is_custom: true
return_type: generator
arguments: {start: ~RESUME_FROM~}
"""


def test_generators_that_resume_artifacts_frames_and_batches(make: Make, rehearse: Rehearse) -> None:
    vault = make(
        CODE,
        index=RESUMING,
        page=column(
            "page",
            'name: "<<self.name[index]>>"',
            "folder: ~ARTIFACT_FOLDER~",
            more="dtypes: {page: artifact_string}\nn_threads: 2\n",
        ),
        sizes=column("sizes", 'frame: "<<self>>"', return_type="dataframe"),
    )

    report = rehearse(vault, returned(2), call(5), returned(6), committed(1), sample=5, at_once=True)

    assert report.violations == ()
    assert (report.rows, report.kills) == (5, 4)
    assert {each.builder: each.calls for each in report.builders} == {"words_index": 1, "page": 5, "sizes": 1}


PAGES = """
builder_type: IndexBuilder
changed_columns: [name, page]
python_function: pages
code_module: work
is_custom: true
return_type: dataframe
arguments: {folder: ~ARTIFACT_FOLDER~}
dtypes: {page: artifact_string}
"""


def test_artifacts_of_rows_that_are_not_in_the_sample_are_left_out(make: Make, rehearse: Rehearse) -> None:
    """A function that makes all rows at once writes all of their files, which no cell names then."""
    code = """
import pandas as pd

def pages(folder):
    for number in (0, 1, 3):
        (Path(folder) / f"{number}.txt").write_text(str(number))
    (Path(folder) / "shared.txt").write_text("all")
    names = [f"name {number}" for number in range(6)]
    return pd.DataFrame({"name": names, "page": ["0.txt", "1.txt", "shared.txt", "3.txt", None, "shared.txt"]})
"""
    report = rehearse(make(code, index=PAGES), committed(1), returned(1), sample=3)

    assert report.violations == ()
    assert report.rows == 3


def test_batches(make: Make, rehearse: Rehearse) -> None:
    code = """
import pandas as pd

def names(size, start):
    return pd.DataFrame({"name": [f"name {row}" for row in range(start, start + size)]})

def parts(batch):
    return [name.split()[1] for name in batch['name']]
"""
    index = """
builder_type: IndexBuilder
changed_columns: [name]
python_function: names
code_module: work
is_custom: true
return_type: batch
batch_size: 2
total_rows: 100
arguments: {size: ~BATCH_SIZE~, start: ~BATCH_START~}
"""
    parts = column("parts", 'name: "<<self.name[index]>>"', return_type="batch", more="batch_size: 2\n")
    vault = make(code, index=index, parts=parts)

    report = rehearse(vault, returned(2), call(4), sample=5, at_once=True)

    assert report.violations == ()
    assert (report.rows, report.kills) == (5, 2)
    assert {each.builder: each.calls for each in report.builders} == {"words_index": 3, "parts": 3}


def test_rows_that_are_made_of_an_origin(make: Make, rehearse: Rehearse) -> None:
    vault = make("def again(name):\n    return name + '!'\n")
    vault.execute_instance("words")
    index = column("again", 'name: "<<self.name[index]>>"').replace("ColumnBuilder", "IndexBuilder")
    vault.create_instance("words", copy=True)
    vault.create_builder_file("words", "words_index", text=index.replace("[again]", "[name]"))

    report = rehearse(vault, returned(2), sample=3)

    assert report.violations == ()
    assert report.rows == 3
    assert report.builders[0].calls == 3


def test_inputs_are_copied_as_they_are_pinned(make: Make, rehearse: Rehearse, vault_dir: Path) -> None:
    vault = make(
        "def price(name, prices):\n    return int(prices['price'].iloc[0])\n",
        price=column("price", 'name: "<<self.name[index]>>"', 'prices: "<<prices(old).price>>"'),
    )
    vault.create_table("prices")
    for version, price in (("old", 1), ("new", 2)):
        vault.create_instance("prices", version, external_edit=True)
        vault.write_instance(pd.DataFrame({"price": [price]}), "prices", version)
    before = states.state(vault_dir)

    report = rehearse(vault, returned(5), sample=2, keep=True)

    assert report.violations == ()
    assert report.kept is not None
    kept = TableVault(Path(report.kept) / "trial-1" / "vault")
    assert kept.get_dataframe("words")["price"].tolist() == [1, 1]
    assert states.state(vault_dir) == before


def test_functions_that_are_rehearsed_change_nothing_in_the_vault(
    make: Make, rehearse: Rehearse, vault_dir: Path
) -> None:
    code = f"""
from tablevault_like import TableVault

def shout(name):
    vault = TableVault({str(vault_dir)!r})
    assert vault.get_table_instances() == ["words"]
    vault.create_table("more")
"""
    vault = make(code, shout=column("shout", 'name: "<<self.name[index]>>"'))

    report = rehearse(vault, returned(6))

    assert "chaos() changes nothing in" in report.violations[0].what
    assert vault.get_table_instances() == ["words"]


class TestRefused:
    def test_what_execute_would_refuse(self, make: Make, tmp_path: Path) -> None:
        vault = make("", bad=column("missing"))

        with pytest.raises(TVBuilderError, match="missing"):
            vault.chaos("words", progress=False)
        with pytest.raises(TVArgumentError, match="tales"):
            vault.chaos("tales", progress=False)
        with pytest.raises(TVArgumentError, match="sample must be a whole number, 1 or more"):
            vault.chaos("words", sample=0)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["outside", "vault"]

    def test_a_place_in_the_vault_or_where_nothing_is(self, make: Make, vault_dir: Path, tmp_path: Path) -> None:
        vault = make("")

        with pytest.raises(TVArgumentError, match="lies in the vault"):
            vault.chaos("words", scratch=vault_dir / "words", progress=False)
        with pytest.raises(TVFileError, match="scratch="):
            vault.chaos("words", scratch=tmp_path / "nowhere", progress=False)

    def test_an_instance_without_builders(self, make: Make) -> None:
        vault = make("")
        vault.create_instance("words", "edited", external_edit=True)

        with pytest.raises(TVArgumentError, match="edited externally"):
            vault.chaos("words", version="edited", progress=False)
