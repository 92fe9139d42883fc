"""The order in which the builders of a table run.

1. The IndexBuilder comes first: it makes the rows.
2. A builder comes after those that make the columns it reads. A column that both the IndexBuilder and a ColumnBuilder
   make is read as the ColumnBuilder leaves it, except by that ColumnBuilder itself. So is one that a row-wise
   IndexBuilder leaves as the origin has it.
3. A builder that reads the whole table comes after all that don't wait for it.
4. Otherwise builders run in the order of their names: the same files always give the same order.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tablevault_like.builders.inputs import Inputs
from tablevault_like.builders.spec import BuilderSpec
from tablevault_like.errors import TVBuilderError, nearest
from tablevault_like.model import INDEX_SUFFIX, BuilderType
from tablevault_like.references.syntax import Reference


@dataclass(frozen=True, slots=True)
class Need:
    """Why a builder waits for another one: it reads its column, with this reference."""

    column: str
    reference: Reference


def check_builders(table: str, specs: Collection[BuilderSpec]) -> BuilderSpec:
    """Return the IndexBuilder of a table.

    Raises TVBuilderError unless there is exactly one, named after the table, and each column has one ColumnBuilder.
    """
    index_name = table + INDEX_SUFFIX
    for spec in specs:
        if spec.is_index and spec.name != index_name:
            raise TVBuilderError(
                f"The IndexBuilder of the table {table!r} must be named {index_name!r}, not {spec.name!r}: "
                f"rename the file to {index_name}.yaml.",
                location=spec.location("builder_type"),
            )
        if spec.name == index_name and not spec.is_index:
            raise TVBuilderError(
                f"{index_name!r} must be the {BuilderType.INDEX} of the table {table!r}: it makes the rows. "
                "Rename the file if it isn't.",
                location=spec.location("builder_type"),
            )
    makers: dict[str, BuilderSpec] = {}
    for spec in sorted(specs, key=lambda spec: spec.name):
        for position, column in enumerate(() if spec.is_index else spec.changed_columns):
            first = makers.setdefault(column, spec)
            if first is not spec:
                raise TVBuilderError(
                    f"The column {column!r} is changed by the builder {first.name!r} already. "
                    "Let one builder change it, or give the columns different names.",
                    location=spec.location("changed_columns", position),
                )
    for spec in specs:
        if spec.is_index:
            return spec
    raise TVBuilderError(
        f"The table {table!r} has no IndexBuilder, which makes its rows. Create the builder file {index_name}.yaml."
    )


def order(
    index: BuilderSpec,
    specs: Mapping[str, BuilderSpec],
    inputs: Mapping[str, Inputs],
    *,
    carried: Sequence[str] = (),
) -> dict[str, tuple[str, ...]]:
    """Return the names of the builders in the order in which they run, each with those that it waits for.

    ``carried`` are the columns that the rows have before any ColumnBuilder runs, besides those that the IndexBuilder
    makes. Raises TVBuilderError for a column that no builder makes, and for builders that wait for each other.
    """
    first = dict.fromkeys((*index.changed_columns, *carried), index.name)
    makers = dict(first)
    for spec in specs.values():
        makers.update((column, spec.name) for column in spec.changed_columns if spec is not index)
    needs = {name: {} if spec is index else _needs(spec, first, makers, inputs[name]) for name, spec in specs.items()}
    awaited = {name: {index.name, *needs[name]} if name != index.name else set() for name in specs}
    whole = {name for name in specs if name != index.name and inputs[name].whole_table is not None}
    ordered: dict[str, tuple[str, ...]] = {}
    while len(ordered) < len(specs):
        pending = specs.keys() - ordered.keys()
        ready = [name for name in pending if awaited[name] <= ordered.keys()]
        if not ready:
            raise _cycle(needs, pending)
        # Of two builders that read the whole table, the one that others wait for can't be the last one.
        blocking = {name for other in pending for name in awaited[other]}
        name = min(ready, key=lambda name: (name in whole, name in whole and name not in blocking, name))
        ordered[name] = tuple(ordered) if name in whole else tuple(n for n in ordered if n in awaited[name])
    return ordered


def _needs(spec: BuilderSpec, first: Mapping[str, str], makers: Mapping[str, str], inputs: Inputs) -> dict[str, Need]:
    """Return the builders whose columns ``spec`` reads, each with a reason.

    ``makers`` are those that make a column in the end, ``first`` those that do so before any ColumnBuilder.
    """
    needs: dict[str, Need] = {}
    for column, reference in inputs.own_columns.items():
        maker = makers.get(column)
        if maker is None:
            raise TVBuilderError(
                f"No builder makes the column {column!r} that {reference.text} reads.{nearest(column, makers)}",
                location=reference.span.source.location,
            )
        if maker == spec.name:
            maker = first.get(column, maker)
        needs.setdefault(maker, Need(column, reference))
    return needs


def _cycle(needs: Mapping[str, Mapping[str, Need]], pending: Iterable[str]) -> TVBuilderError:
    """Return the error that shows a circle of builders that wait for each other; there is one among ``pending``."""
    path = [min(pending)]
    stuck = set(pending)
    while path.count(path[-1]) < 2:
        path.append(min(name for name in needs[path[-1]] if name in stuck))
    circle = path[path.index(path[-1]) :]
    steps = [f"{a} reads self.{needs[a][b].column} of {b}" for a, b in pairwise(circle)]
    if len(steps) == 1:
        message = f"The builder {circle[0]!r} reads self.{needs[circle[0]][circle[0]].column}, which it makes itself."
    else:
        message = f"Builders wait for each other: {' -> '.join(circle)} ({'; '.join(steps)}). Break the circle."
    first = needs[circle[0]][circle[1]].reference
    return TVBuilderError(message, location=first.span.source.location)
