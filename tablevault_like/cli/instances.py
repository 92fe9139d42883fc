"""Commands that create, write and delete instances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tablevault_like.cli import completion
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.formats import counted
from tablevault_like.cli.options import Description, Table
from tablevault_like.cli.session import Finished, Session, Writing
from tablevault_like.errors import TVArgumentError, TVFileError
from tablevault_like.layout import InstanceLayout
from tablevault_like.model import BASE_VERSION, InstanceRecord, temporary_id
from tablevault_like.operations.sources import read_sources

if TYPE_CHECKING:
    import pandas as pd

_TEXT_DTYPES = ("string", "object", "artifact_string")
_SEPARATORS = {".csv": ",", ".tsv": "\t"}

InstanceId = Annotated[
    str, typer.Argument(metavar="INSTANCE", help="Its id, such as TEMP_base.", autocompletion=completion.instances)
]


@command(
    "create-instance",
    panel=Panel.INSTANCES,
    example="tvl create-instance stories --copy --builder score.yaml",
)
def create_instance(
    session: Writing,
    table: Table,
    *,
    version: Annotated[str, typer.Option("--version", help="The version that it is to be.")] = BASE_VERSION,
    copy: Annotated[
        bool, typer.Option("--copy", help="Copy the builders of the newest instance of this version, if there is one.")
    ] = False,
    origin: Annotated[
        str,
        typer.Option("--origin", help="Copy the builders of this instance.", autocompletion=completion.instances),
    ] = "",
    origin_table: Annotated[
        str,
        typer.Option(
            "--origin-table", help="The table of --origin or --copy, if another.", autocompletion=completion.tables
        ),
    ] = "",
    builder: Annotated[
        list[str] | None,
        typer.Option(
            "--builder",
            metavar="NAME|FILE",
            help="A builder to make from a template, or a .yaml file to copy. Repeatable.",
        ),
    ] = None,
    external_edit: Annotated[
        bool, typer.Option("--external-edit", help="It gets no builders: `tvl write-instance` gives the frame.")
    ] = False,
    description: Description = "",
) -> None:
    """Create a temporary instance, whose builders can then be written and executed."""
    finished = session.run(
        partial(
            session.vault.create_instance,
            table,
            version,
            origin_id=origin,
            origin_table=origin_table,
            external_edit=external_edit,
            copy=copy,
            builders=_builders(builder or ()),
            description=description,
        )
    )
    instance_id = temporary_id(version)
    sentence = f"Created {table}/{instance_id}."
    if copy and not finished.had_completed and session.vault.get_descriptions(instance_id, table)["origin"] is None:
        sentence += " There was no instance to copy, so it is a new one."
    if not finished.had_completed and not external_edit:
        place = InstanceLayout(session.reader.folder(table=table, instance_id=instance_id))
        names = session.vault.get_builders_list(table, version=version)
        sentence = "\n".join([sentence, "Its builders, to be edited:", *(f"  {place.builder(name)}" for name in names)])
    session.give(finished, sentence, table_name=table, instance_id=instance_id)


@command("write-instance", panel=Panel.INSTANCES, example="tvl write-instance papers papers.csv --dtype year=Int64")
def write_instance(
    session: Writing,
    table: Table,
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="A .csv, .tsv or .parquet file. Not needed to go on with a process."),
    ] = None,
    *,
    version: Annotated[str, typer.Option("--version", help="The version that is written.")] = BASE_VERSION,
    dtype: Annotated[
        list[str] | None,
        typer.Option("--dtype", metavar="COLUMN=DTYPE", help="The pandas dtype of a column. Repeatable."),
    ] = None,
    made_from: Annotated[
        list[str] | None,
        typer.Option("--made-from", metavar="TABLE/INSTANCE", help="An instance that it was made from. Repeatable."),
    ] = None,
) -> None:
    """Materialize a file as an instance that was created with --external-edit.

    An empty cell of a CSV file is a missing value; "NA", "None" and the like stay text. The file is only read.
    """
    dtypes = dict(_pairs("--dtype", dtype or (), "="))
    frame = None if file is None else read_frame(file, dtypes)
    sources = _pairs("--made-from", made_from or (), "/")
    finished = session.run(
        partial(session.vault.write_instance, frame, table, version, dependencies=sources, dtypes=dtypes)
    )
    give_instance(session, finished, table)


@command("delete-instance", panel=Panel.INSTANCES, example="tvl delete-instance stories TEMP_base")
def delete_instance(session: Writing, table: Table, instance_id: InstanceId) -> None:
    """Delete an instance, materialized or temporary.

    Its files go to the vault's trash.
    """
    finished = session.run(partial(session.vault.delete_instance, instance_id, table))
    session.give(finished, f"Deleted {table}/{instance_id}.", table_name=table, instance_id=instance_id)


def give_instance(session: Writing, finished: Finished, table: str) -> None:
    """Print which instance a process has materialized."""
    made = made_by(session, finished.record.process_id, table)
    sentence = (
        f"Materialized {table}/{made.instance_id}: {counted(made.rows, 'row')}." if made else "It was deleted since."
    )
    known = {"instance_id": made.instance_id, "rows": made.rows} if made else {"instance_id": None, "rows": None}
    session.give(finished, sentence, table_name=table, **known)


def made_by(session: Session, process_id: str, table: str) -> InstanceRecord | None:
    """Return the materialized instance that a process has made, ``None`` if it made none or it was deleted since."""
    try:
        records = session.reader.instance_records(table)
    except TVArgumentError:  # the table was deleted since
        return None
    return next((record for record in records if record.process_id == process_id and not record.is_temporary), None)


def read_frame(path: Path, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Return a file as a DataFrame. What is to be text is read as text. Raises TVArgumentError, TVFileError."""
    import pandas as pd
    from pyarrow import ArrowException

    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path, dtype_backend="numpy_nullable")
        if path.suffix in _SEPARATORS:
            return pd.read_csv(
                path,
                sep=_SEPARATORS[path.suffix],
                dtype={column: "string" for column, dtype in dtypes.items() if dtype in _TEXT_DTYPES},
                keep_default_na=False,
                na_values=[""],
                dtype_backend="numpy_nullable",
            )
    except FileNotFoundError as error:
        raise TVArgumentError(f"There is no file {path}.") from error
    except OSError as error:
        raise TVFileError(f"{path} can't be read: {error.strerror or error}.", path=path) from error
    except (ValueError, ArrowException) as error:  # pandas' parser errors are ValueErrors
        raise TVFileError(f"{path} can't be read as {path.suffix}: {error}", path=path) from error
    raise TVArgumentError(f"{path} is of a kind that isn't read here. Give a .csv, .tsv or .parquet file.")


def _builders(given: Sequence[str]) -> dict[str, str]:
    """Return builder texts by name; an empty one stands for a template."""
    texts: dict[str, str] = {}
    for each in given:
        if each.endswith(".yaml"):
            texts.update(read_sources("builder", ".yaml", None, copy_dir=each, text=None, template=str))
        else:
            texts[each] = ""
    return texts


def _pairs(option: str, given: Sequence[str], separator: str) -> list[tuple[str, str]]:
    pairs = []
    for each in given:
        left, found, right = each.partition(separator)
        if not (left and found and right):
            raise TVArgumentError(f"{option} takes two names with {separator!r} between them, not {each!r}.")
        pairs.append((left, right))
    return pairs
