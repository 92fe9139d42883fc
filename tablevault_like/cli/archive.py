"""Commands that make an archive of a vault, restore one, and delete a vault."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tablevault_like.archive import SUFFIX, compress_vault, decompress_vault, delete_vault
from tablevault_like.cli.app import Panel, command
from tablevault_like.cli.output import note
from tablevault_like.cli.questions import is_confirmed
from tablevault_like.cli.session import Session
from tablevault_like.errors import TVArgumentError

if TYPE_CHECKING:
    from tablevault_like.archive.progress import Observer, Progress

_SHOWN = 5


@command("compress", panel=Panel.VAULT, example="tvl compress my_vault --output backups/my_vault.tar.xz")
def compress(
    session: Session,
    folder: Annotated[
        str | None, typer.Argument(metavar="DIR", help="The vault; by default what --db-dir would name.")
    ] = None,
    *,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where; by default DIR.tar.xz, beside the vault."),
    ] = None,
    preset: Annotated[int, typer.Option("--preset", min=0, max=9, help="That of xz, from 0 (fast) to 9 (small).")] = 6,
) -> None:
    """Make an archive of a vault, which may be in use.

    Processes that are paused or under way are in it, and can be resumed where it is restored. The trash isn't.
    """
    with _progress_shown() as observer:
        made = compress_vault(folder or session.folder, output, preset, observer=observer)
    document = {
        "archive": str(made.path),
        "files": made.files,
        "bytes": made.total,
        "archive_bytes": made.size,
        "left_out": {each.name: each.why for each in made.left_out},
    }
    session.output.give(
        document, lambda: f"Archived {made.files:,} files ({_bytes(made.total)}) in {made.path} ({_bytes(made.size)})."
    )
    if not session.as_json:
        for each in made.left_out[:_SHOWN]:
            note(f"Left out: {each}.")
        if len(made.left_out) > _SHOWN:
            note(f"Left out: {len(made.left_out) - _SHOWN:,} more; --json tells all of them.")


@command("decompress", panel=Panel.VAULT, example="tvl decompress backups/my_vault.tar.xz my_vault")
def decompress(
    session: Session,
    archive: Annotated[str, typer.Argument(metavar="ARCHIVE", help="What `tvl compress` has made.")],
    folder: Annotated[
        str | None,
        typer.Argument(metavar="DIR", help="Where; by default what --db-dir names, or ARCHIVE without .tar.xz."),
    ] = None,
    *,
    max_bytes: Annotated[
        int | None, typer.Option("--max-bytes", min=0, metavar="N", help="Refuse an archive that holds more bytes.")
    ] = None,
) -> None:
    """Restore a vault from its archive, in a folder that is empty or isn't there yet.

    It appears there when all of it is written, and every checksum was found right. Nothing of it is run.
    """
    target = folder or session.db_dir or archive.removesuffix(SUFFIX)
    if target == archive:
        raise typer.BadParameter(f"{archive} doesn't end with {SUFFIX}, so say where to restore it: give DIR as well.")
    with _progress_shown() as observer:
        made = decompress_vault(target, archive, max_bytes=max_bytes, observer=observer)
    document = {
        "db_dir": str(made.path),
        "files": made.files,
        "bytes": made.total,
        "unfinished": list(made.unfinished),
    }
    session.output.give(
        document, lambda: f"Restored the vault in {made.path}: {made.files:,} files ({_bytes(made.total)})."
    )
    if made.unfinished and not session.as_json:
        many = "A process hasn't" if len(made.unfinished) == 1 else f"{len(made.unfinished):,} processes haven't"
        note(f"{many} ended: `tvl --db-dir {made.path} ps` shows what can be done.")


@command("delete-vault", panel=Panel.VAULT, example="tvl delete-vault old_vault")
def delete(
    session: Session,
    folder: Annotated[str, typer.Argument(metavar="DIR", help="The vault. It has to be named here.")],
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Delete a vault for good, its trash too, unless a worker lives in it."""
    place = Path(folder).absolute()
    if not yes and not is_confirmed(f"Delete the vault {place} for good?"):
        raise TVArgumentError("Nothing was deleted: that wasn't confirmed. With --yes nobody is asked.")
    delete_vault(folder)
    session.output.give({"db_dir": str(place)}, lambda: f"Deleted the vault {place}.")


@contextmanager
def _progress_shown() -> Iterator[Observer | None]:
    """Give what shows progress on stderr, if that is a terminal."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn()
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("")

        def show(progress: Progress) -> None:
            bar.update(
                task, description=progress.stage.capitalize(), completed=progress.done, total=progress.total or None
            )

        yield show


def _bytes(count: int) -> str:
    """Return a number of bytes for people.

    >>> _bytes(999), _bytes(12_345), _bytes(3_000_000_000)
    ('999 bytes', '12.3 kB', '3.0 GB')
    """
    if count < 1000:
        return f"{count} byte{'' if count == 1 else 's'}"
    sizes = ((unit, count / 1000**power) for power, unit in enumerate(("kB", "MB", "GB"), start=1))
    unit, number = next((each for each in sizes if each[1] < 1000), ("TB", count / 1000**4))
    return f"{number:,.1f} {unit}"
