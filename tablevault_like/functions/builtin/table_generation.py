"""Tables from other tables, from files, and from folders of files.

Paths are those of the machine that executes; relative ones start from the folder in which it was called. What a
function reads counts by its content, not by its path. All raise ``TVArgumentError`` for a file or a folder that isn't
there, or that isn't what its function reads.
"""

from __future__ import annotations

import json
import lzma
import os
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from tablevault_like.errors import TVArgumentError, nearest
from tablevault_like.functions.builtin.declared import built_in
from tablevault_like.functions.file_arguments import reads_files

_FILE_COLUMNS = ["file_name", "artifact_name", "original_path"]


@built_in(version=1)
def create_data_table_from_table(
    df: pd.DataFrame, nrows: int | None = None, random_sample: bool = False, seed: int | None = None
) -> pd.DataFrame:
    """Return the rows of ``df``: all, the first ``nrows``, or ``nrows`` random ones.

    Of a random sample no row comes twice, and with a ``seed`` it is the same each time. Raises ``TVArgumentError`` if
    it asks for more rows than there are.
    """
    if nrows is None:
        return df.reset_index(drop=True)
    if nrows < 0:
        raise TVArgumentError(f"nrows is {nrows}; it can't be negative.")
    if not random_sample:
        return df.head(nrows).reset_index(drop=True)
    if nrows > len(df):
        raise TVArgumentError(f"A random sample of {nrows} rows can't be taken from a table of {len(df)}.")
    return df.sample(n=nrows, replace=False, random_state=seed, ignore_index=True)


@built_in(version=1)
@reads_files("csv_file_path")
def create_data_table_from_csv(
    csv_file_path: str,
    separator: str = ",",
    encoding: str = "utf-8",
    missing_values: Sequence[str] = ("",),
    dtypes: Mapping[str, str] | None = None,
) -> pd.DataFrame:
    """Return the rows of a CSV file (also compressed: ``.gz``, ``.zip``, ...) whose first line names the columns.

    Only fields that are one of ``missing_values`` are missing: by default the empty ones, while ``NA``, ``None`` and
    ``nan`` stay text. Columns of nothing but numbers or booleans become nullable ``Int64``, ``Float64`` and
    ``boolean``, all others ``string``; ``dtypes`` names other ones, such as ``{"zip_code": "string"}`` to keep zeros
    in front. Raises ``TVArgumentError`` for a file that isn't CSV in this encoding, a value that its dtype can't hold,
    and rows that have more fields than there are columns.
    """
    path = _existing_file(csv_file_path)
    with _telling(path, "as CSV"):
        frame = pd.read_csv(
            path,
            sep=separator,
            encoding=encoding,
            keep_default_na=False,
            na_values=list(missing_values),
            dtype=dict(dtypes or {}),
            dtype_backend="numpy_nullable",
            low_memory=False,  # or else the types of a large file's columns would depend on where its chunks end
        )
    if not isinstance(frame.index, pd.RangeIndex):
        raise TVArgumentError(f"Rows of {csv_file_path} have more fields than its first line has columns.")
    return frame


@built_in(version=1)
@reads_files("parquet_file_path")
def create_data_table_from_parquet(parquet_file_path: str, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Return the rows of a Parquet file, with nullable dtypes; of ``columns`` only, if they are named.

    Nested values become lists and dicts. An index with a name that pandas wrote into the file becomes a column. Raises
    ``TVArgumentError`` for a file that isn't Parquet, and for columns that it lacks.
    """
    names = None if columns is None else _listed(columns)
    path = _existing_file(parquet_file_path)
    with _telling(path, "as Parquet"):
        known = pq.read_schema(path).names
        if unknown := [name for name in names or () if name not in known]:
            raise TVArgumentError(f"{path} has no column {unknown[0]!r}.{nearest(unknown[0], known)}")
        frame = pd.read_parquet(path, columns=names, dtype_backend="numpy_nullable")
    named = [level for level, name in enumerate(frame.index.names) if name is not None]
    if names is None and named:
        frame = frame.reset_index(level=named)
    for name in frame.select_dtypes(object):
        frame[name] = pd.Series([_plain(value) for value in frame[name]], index=frame.index, dtype=object)
    return frame.reset_index(drop=True)


@built_in(version=1)
@reads_files("jsonl_file_path")
def create_data_table_from_jsonl(jsonl_file_path: str, encoding: str = "utf-8-sig") -> pd.DataFrame:
    """Return a row for each line of a JSON Lines file, with a column for each key, in the order of their first use.

    Values keep the types that JSON gives them; a key that a line lacks is missing there. Empty lines are skipped.
    Raises ``TVArgumentError``, with file and line, for a line that isn't a JSON object.
    """
    path = _existing_file(jsonl_file_path)
    with _telling(path, f"as text in {encoding}"), path.open(encoding=encoding) as lines:
        rows = list(_json_objects(path, lines))
    columns = dict.fromkeys(key for row in rows for key in row)
    return pd.DataFrame({name: _column([row.get(name) for row in rows]) for name in columns}, index=range(len(rows)))


@built_in(version=1)
def create_data_table_from_list(vals: Iterable[object], column: str = "temp_name") -> pd.DataFrame:
    """Return a frame of one column, named ``column``, with a row for each of ``vals``. Values keep their types.

    Raises ``TVArgumentError`` for a text or a mapping, which are single values.
    """
    if isinstance(vals, str | bytes | Mapping):
        raise TVArgumentError(
            f"vals must be a list of values, not a {type(vals).__name__}. For a single one, give [it]."
        )
    return pd.DataFrame({column: _column(list(vals))})


@built_in(version=1)
@reads_files("folder_dir")
def create_paper_table_from_folder(
    folder_dir: str, copies: int, artifact_folder: str, extension: str = ".pdf"
) -> pd.DataFrame:
    """Copy the files of a folder that end in ``extension`` into ``artifact_folder``, and return a row for each copy.

    Columns: ``file_name`` (without its extension), ``artifact_name`` and ``original_path``. If ``copies`` is more than
    one, the names get a number each (``paper_0.pdf``). Files are taken in the order of their names; folders inside, and
    files whose names start with a dot, are left alone. Give ``artifact_name`` the dtype ``artifact_string``, and pass
    ``~ARTIFACT_FOLDER~`` for ``artifact_folder``. Of a link to a file in the folder the file is copied; raises
    ``TVArgumentError`` for one that leads out of the folder, or to nothing.
    """
    if copies < 1:
        raise TVArgumentError(f"copies is {copies}; it must be at least 1.")
    target = _existing_folder(artifact_folder)
    rows = []
    for path in _files(_existing_folder(folder_dir), extension):
        for name in [path.stem] if copies == 1 else [f"{path.stem}_{number}" for number in range(copies)]:
            copy = target / f"{name}{path.suffix}"
            shutil.copyfile(path, copy)
            rows.append((name, copy.name, str(path)))
    return pd.DataFrame(rows, columns=_FILE_COLUMNS)


@built_in(version=1)
@reads_files("folder_dir")
def create_artifact_table_from_folder(
    folder_dir: str, artifact_folder: str, extension: str = "", recursive: bool = False
) -> pd.DataFrame:
    """Copy the files of a folder into ``artifact_folder``, and return a row for each.

    Columns: ``file_name`` (with its extension), ``artifact_name`` and ``original_path``. With ``recursive`` the files
    of folders inside are taken, too, and ``artifact_name`` holds their path (``letters/first.txt``). Files are
    taken in the order of their paths; those whose names start with a dot are left out. Give ``artifact_name`` the dtype
    ``artifact_string``, and pass ``~ARTIFACT_FOLDER~`` for ``artifact_folder``.

    Of a link to a file in the folder the file is copied. Links to folders in it are left alone: with ``recursive`` what
    is in them is taken where it lies. Raises ``TVArgumentError`` for a link that leads out of ``folder_dir``, or to
    nothing.
    """
    source, target = _existing_folder(folder_dir), _existing_folder(artifact_folder)
    rows = []
    for path in _files(source, extension, recursive=recursive):
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, copy)
        rows.append((path.name, copy.relative_to(target).as_posix(), str(path)))
    return pd.DataFrame(rows, columns=_FILE_COLUMNS)


def _column(values: list[object]) -> pd.Series[Any]:
    """Return ``values`` with the nullable dtype of their type; as ``object`` where none holds all of them exactly."""
    kinds = {type(value) for value in values if value is not None}
    dtype = "object"
    if kinds == {str}:
        dtype = "string"
    elif kinds == {bool}:
        dtype = "boolean"
    elif kinds == {int} and all(value is None or -(2**63) <= value < 2**63 for value in values):  # type: ignore[operator]
        dtype = "Int64"
    elif kinds == {float} and all(value == value for value in values):  # NaN would become a missing value
        dtype = "Float64"
    return pd.Series(values, dtype=dtype)


def _plain(value: object) -> object:
    """Return a nested value as Python's lists and dicts."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def _json_objects(path: Path, lines: Iterable[str]) -> Iterator[dict[str, object]]:
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise TVArgumentError(f"{path}:{number}: This line is not JSON: {error}") from error
        if not isinstance(row, dict):
            raise TVArgumentError(f"{path}:{number}: This line is not a JSON object with a value for each column.")
        yield row


@contextmanager
def _telling(path: Path, how: str) -> Iterator[None]:
    """Tell which file can't be read, and why, where a reader raises errors of its own."""
    try:
        yield
    except TVArgumentError:
        raise
    except (
        ValueError,
        LookupError,
        TypeError,
        EOFError,
        OSError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        # Errors of pandas and pyarrow, of decoding and of decompressing are of these classes.
        raise TVArgumentError(f"{path} can't be read {how}: {error}") from error


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _existing_file(name: str | os.PathLike[str]) -> Path:
    path = Path(name)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "isn't there"
        raise TVArgumentError(f"The file {os.fspath(name)!r} {what}{_from(path)}.")
    return path


def _existing_folder(name: str | os.PathLike[str]) -> Path:
    folder = Path(name)
    if not folder.is_dir():
        what = "is a file, not a folder" if folder.is_file() else "isn't there"
        raise TVArgumentError(f"The folder {os.fspath(name)!r} {what}{_from(folder)}.")
    return folder


def _from(path: Path) -> str:
    return "" if path.is_absolute() else f", looked for from {Path.cwd()}"


def _files(folder: Path, extension: str, *, recursive: bool = False) -> list[Path]:
    """Return the files to take. Raises TVArgumentError for a link that would be one of them, or a folder of them."""
    found = []
    for path in folder.rglob("*") if recursive else folder.iterdir():
        if any(part.startswith(".") for part in path.relative_to(folder).parts):
            continue
        is_wanted = path.name.endswith(extension)
        if path.is_symlink() and (is_wanted or (recursive and path.is_dir())):
            _check_link(path, folder)
        if is_wanted and path.is_file():
            found.append(path)
    return sorted(found)


def _check_link(path: Path, folder: Path) -> None:
    end = Path(os.path.realpath(path))
    if not end.is_relative_to(os.path.realpath(folder)):
        raise TVArgumentError(
            f"{path} is a link that leads out of the folder, to {end}, so nothing was copied. Put the file itself "
            "there, or remove the link."
        )
    if not path.exists():
        raise TVArgumentError(f"{path} is a link to {end}, which isn't there. Mend or remove it.")
