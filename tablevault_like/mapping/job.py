"""One call of ``map_rows`` or ``extract_df``: from a frame to a frame, through the cache."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tablevault_like import displays
from tablevault_like.mapping.cache import Cache, Recipe
from tablevault_like.mapping.frames import Rows, joined
from tablevault_like.mapping.limits import Limits
from tablevault_like.mapping.running import Call, Running, stops_above
from tablevault_like.model import OnError

_TOLD = ("failures", "tokens", "cost")
"""What ``attrs`` of the frame that is returned tell."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What is to be done: which rows, by which recipe, kept where, within which limits. ``step`` is its name."""

    step: str
    path: Path
    rows: Rows
    recipe: Recipe
    limits: Limits
    fresh: bool = False
    any_recipe: bool = False
    progress: bool | None = None
    fields: Sequence[str] | None = None
    """The columns of the results, as far as they are known; None if they are whatever comes."""
    leaves_out_failures: bool = False
    is_costly: bool = False

    def run(self, cut: Callable[[Sequence[str]], Sequence[Sequence[str]]], call: Call) -> pd.DataFrame:
        """Compute what is missing, cut into pieces, and return the frame with all results that there are."""
        inputs = self.rows.hashes()
        with Cache.opened(self.path) as cache:
            missing = cache.begin(self.recipe, inputs, fresh=self.fresh, any_recipe=self.any_recipe)
            left = [name for name in self.rows.ids if name in missing]
            total = len(inputs)
            if len(left) < total:
                _log.info("skipping %d / %d rows", total - len(left), total)
            pieces = cut(left)
            with displays.shown(self.path.name, wanted=self.progress, is_child=bool(stops_above())) as observer:
                running = Running(cache, self.limits, self.step, total, observer, is_costly=self.is_costly)
                running.run(pieces, call, done=total - len(left) - cache.skipped)
            results, failures, totals = cache.results(), cache.failures(), cache.totals()
            is_null = self.limits.on_error is OnError.NULL
            if len(results) + (len(failures) if is_null else 0) >= total:
                cache.complete()
        only = None
        if self.leaves_out_failures:
            only = [*results, *(failures if is_null else ())]
        frame = joined(self.rows, results, fields=self.fields, only=only)
        frame.attrs = {name: value for name, value in self.rows.frame.attrs.items() if name not in _TOLD}
        if failures:
            frame.attrs["failures"] = failures
        if totals.tokens:
            frame.attrs["tokens"] = totals.tokens
        if totals.cost is not None:
            frame.attrs["cost"] = totals.cost
        if totals.tokens or totals.cost:
            cost = "" if totals.cost is None else f", and a cost of {totals.cost:.6g}"
            _log.info("these rows took %d tokens%s", totals.tokens, cost)
        return frame
