"""A key stays where it was given: no file of a vault or a cache has it, no error and no log."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pandas as pd
import pytest

from tablevault_like import TableVault, compress_vault, extract_df

SECRET = "sk-this-is-a-secret-0123456789"
WORK = """
import os


def ask(row):
    if os.environ["OPENAI_API_KEY"] and row == 1:
        raise RuntimeError("the service said no")
    return row
"""
INDEX = """
builder_type: IndexBuilder
changed_columns: [temp_name]
python_function: create_data_table_from_list
code_module: table_generation
arguments: {vals: [0, 1, 2]}
"""
COLUMN = """
builder_type: ColumnBuilder
changed_columns: [answer]
python_function: ask
code_module: work
is_custom: true
arguments: {row: "<<self.temp_name[index]>>"}
return_type: row-wise
"""


def has_secret(folder: Path) -> list[str]:
    return [str(path) for path in folder.rglob("*") if path.is_file() and SECRET.encode() in path.read_bytes()]


def told(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def test_the_environment_is_kept_nowhere(
    vault_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    caplog.set_level(logging.DEBUG)
    vault = TableVault(vault_dir, "ada", create=True)
    vault.create_code_module("work", text=WORK)
    vault.create_table("answers")
    vault.create_instance("answers", builders={"answers_index": INDEX, "answer": COLUMN})

    with pytest.raises(RuntimeError, match="the service said no") as caught:
        vault.execute_instance("answers", process_id="nightly")
    background = vault.execute_instance("answers", process_id="nightly", background=True)
    vault.wait(background)
    compress_vault(vault_dir, tmp_path / "archive.tar.xz")

    assert has_secret(tmp_path) == []
    shown = str(vault.get_errors("nightly")) + str(vault.inspect("nightly"))
    assert SECRET not in told(caught.value) + caplog.text + shown


@pytest.mark.parametrize("backend", ["openai", "anthropic"])
def test_a_key_that_is_given_is_kept_nowhere(
    backend: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG, "tablevault_like")
    frame = pd.DataFrame({"id": [1, 2], "text": ["ant", "bee"]})

    with pytest.raises(Exception, match=r"(?i)connect") as caught:
        extract_df(
            frame,
            prompt="Which animal?",
            cache_path=tmp_path / "cache.sqlite",
            model="small",
            backend=backend,
            api_key=SECRET,
            base_url="http://127.0.0.1:9",
            retries=1,
            on_error="stop",
        )

    assert has_secret(tmp_path) == []
    assert SECRET not in told(caught.value) + caplog.text + "".join(capfd.readouterr())


def test_the_test_would_see_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text(f"key: {SECRET}")

    assert has_secret(tmp_path) == [str(tmp_path / "file")]
