"""Tables for programs that read parts of them by themselves: as pyarrow data sets.

A file is opened once, and can be read to its end whatever becomes of its name. What is in it is looked at only as far
as somebody reads it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds

from tablevault_like.storage.tables import told


@contextmanager
def dataset(path: Path) -> Iterator[Any]:
    """Return a table as a ``pyarrow.dataset.Dataset``. Raises TVFileError if the table is missing or damaged.

    What Arrow has no type for is the tagged JSON text that it is stored as; categories are their values.
    """
    with told(path):
        source = pa.OSFile(os.fspath(path))
    with source:
        with told(path):
            file_format = ds.ParquetFileFormat()
            fragment = file_format.make_fragment(source)
            schema = pa.schema([_widened(field) for field in fragment.physical_schema])
            found = ds.FileSystemDataset([fragment], schema, file_format)
        yield found


def _widened(field: Any) -> Any:
    """Return a field that other programs know: few have floats of 16 bits."""
    kind = pa.float32() if pa.types.is_float16(field.type) else field.type
    return pa.field(field.name, kind)
