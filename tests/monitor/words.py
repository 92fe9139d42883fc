"""The scene of ``words``: an IndexBuilder, one called by row, one by batch, and one for all rows.

The IndexBuilder yields its rows; or it makes them in batches; or they are known before it has run, as its function
comes with the library.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tablevault_like import TableVault
from tests.tables import begin, builder, column, index, write_code

CODE = """
def name(number):
    return f"w{number}"

def each():
    yield from map(name, range(10))

def make(start, size):
    return [name(number) for number in range(start, start + size)]

def loud(word):
    return word.upper()

def louder(rows, mark):
    return rows["loud"] + mark

def whole(frame):
    return frame.assign(size=len(frame))[["size"]]
"""
OTHER = CODE.replace('f"w{number}"', '"w" + str(number)')
INDEX = index("word", function="each", return_type="generator")
LOUD = column("loud", function="loud", arguments={"word": "<<self.word[index]>>"})
WHOLE = builder(
    "ColumnBuilder", "size", python_function="whole", return_type="dataframe", arguments={"frame": "<<self.{louder}>>"}
)


def louder(mark: str, *, size: int = 4) -> str:
    arguments = {"loud": "<<self.loud[index]>>", "mark": mark}
    return column("louder", function="louder", return_type="batch", batch_size=size, arguments=arguments)


def listed(rows: int = 10) -> str:
    """Return the text of an IndexBuilder whose rows are known before it has run."""
    return builder(
        "IndexBuilder",
        "word",
        python_function="create_data_table_from_list",
        code_module="table_generation",
        is_custom=False,
        return_type="dataframe",
        arguments={"vals": [f"w{number}" for number in range(rows)], "column": "word"},
    )


def making(total: int = 10, *, size: int = 4, **fields: object) -> str:
    arguments = {"start": "~BATCH_START~", "size": "~BATCH_SIZE~"}
    return index(
        "word", function="make", return_type="batch", batch_size=size, total_rows=total, arguments=arguments, **fields
    )


@pytest.fixture(name="vault")
def words_vault(vault_dir: Path) -> TableVault:
    """Return a vault with the code of the builders. To be imported by the tests of this scene."""
    vault = TableVault(vault_dir, "ada", create=True)
    write_code(vault, CODE)
    return vault


def again(vault: TableVault, **changed: str) -> None:
    """Create the next instance of ``words``, with some builders changed."""
    made = vault.get_table_instances("words") if "words" in vault.get_table_instances() else []
    builders = {"index": INDEX, "loud": LOUD, "louder": louder("!"), "whole": WHOLE, **changed}
    begin(vault, "words", builders, origin_id=made[-1] if made else "")
