"""What a call of ``execute_instance`` may say about batches and sources, given the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tablevault_like.errors import TVArgumentError, TVBuilderError, nearest
from tablevault_like.model import ReturnType

if TYPE_CHECKING:
    from tablevault_like.builders.plan import Plan


def check_start_at(plan: Plan, start_at: Mapping[str, int]) -> None:
    """Raise TVArgumentError unless ``start_at`` is about IndexBuilders that are generators."""
    builders = {builder.name: builder for builder in plan.builders}
    for name in start_at:
        builder = builders.get(name)
        if builder is None:
            raise TVArgumentError(f"start_at names {name!r}, and there is no such builder.{nearest(name, builders)}")
        if not builder.is_index or builder.return_type is not ReturnType.GENERATOR:
            what = f"{'an' if builder.is_index else 'a'} {builder.builder_type}"
            raise TVArgumentError(
                f"start_at is only known to an IndexBuilder whose return_type is generator, and {name!r} is {what} "
                f"whose return_type is {builder.return_type}."
            )


def check_batches(old: Plan, new: Plan) -> None:
    """Raise TVBuilderError if a builder that goes on makes other batches than those that are recorded."""
    before = {builder.name: builder for builder in old.builders}
    for builder in new.builders:
        was = before.get(builder.name)
        if was is None or was.return_type is not builder.return_type:
            continue
        for name in ("batch_size", "total_rows"):
            then, now = was.fields.get(name), builder.fields.get(name)
            if then != now:
                raise TVBuilderError(
                    f"The builder {builder.name!r} now has {name} {now}, and this process was started with {then}. "
                    f"Nothing was done. Set it back to {then}, or call again with on_change='keep' (go on with {then}) "
                    f"or on_change='recompute' (start its rows again). For more rows, finish with {then} and create a "
                    "new instance from that one: it makes only the batches that are missing."
                )
