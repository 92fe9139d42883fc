"""Hold the folder of a table to the catalog: its place, its description, its view of artifacts, and what lies in it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tablevault_like.check.facts import Facts, KnownTable
from tablevault_like.check.findings import About, Finding, Kind, told
from tablevault_like.check.looking import FOLDER, MISSING, entries, identity, kind_of
from tablevault_like.layout import InstanceLayout, Layout, TableLayout, is_instance_folder
from tablevault_like.model import Resource
from tablevault_like.operations import artifact_views
from tablevault_like.storage import descriptions, documents, files

_LONGEST_DESCRIPTION = 1 << 20
_REPAIR = "It is done when the vault is next restarted, or by check(repair=True)."


def place_of(layout: Layout, table: KnownTable) -> TableLayout:
    """Return the folder of a table, whether or not it has followed a rename yet."""
    place = layout.table(table.record.folder)
    if table.record.next_folder is not None and kind_of(place.folder) != FOLDER:
        return layout.table(table.record.next_folder)
    return place


@dataclass(frozen=True)
class TableCheck:
    """Looks at the folder of one table, and not into its instances."""

    facts: Facts
    table: KnownTable

    def find(self) -> Iterator[Finding]:
        """Yield what is wrong with it."""
        folder = self._place.folder
        kind = kind_of(folder)
        if kind != FOLDER:
            if kind == MISSING and not self.table.instances:
                yield self._unfinished(folder, "The table's folder isn't made yet.")
            else:
                yield self._about.finding(
                    Kind.CORRUPTION, folder, f"The folder of the table is {kind}.", "Restore it from a backup."
                )
            return
        if self.table.record.next_folder is not None and self._is_free:
            yield self._unfinished(folder, "The table's folder hasn't followed its new name yet.")
        try:
            found = entries(folder)
        except OSError as error:
            yield self._about.unchecked(folder, error, "The folder of the table")
            return
        yield from self._find_strangers(found)
        yield from self._find_in_description()
        yield from self._find_active()
        if not self.table.record.allow_multiple_artifacts:
            yield from self._find_in_view()

    @property
    def _about(self) -> About:
        return About(self.facts.layout.root, self.table.name)

    @property
    def _place(self) -> TableLayout:
        return place_of(self.facts.layout, self.table)

    @property
    def _is_free(self) -> bool:
        return self.facts.is_free(Resource.table(self.table.name))

    def _find_strangers(self, found: list[Path]) -> Iterator[Finding]:
        place = self._place
        known = {each.instance_id for each in self.table.instances}
        known |= {place.artifacts.name, place.description.name, place.description.with_suffix(".yaml.new").name}
        for path in found:
            if path.name in known:
                continue
            if not is_instance_folder(path.name) or kind_of(path) != FOLDER:
                yield self._about.finding(
                    Kind.UNKNOWN,
                    path,
                    "It lies in the folder of a table, and isn't the vault's own.",
                    "Move it away, unless it is meant to be there: it is never touched.",
                )
            elif self._is_free:  # else whoever works in the table may have placed it, and be about to publish it
                whole = kind_of(InstanceLayout(path).manifest) != MISSING
                yield self._about.finding(
                    Kind.LITTER,
                    path,
                    f"The catalog knows of no such instance{', which is whole' if whole else ''}: whoever made it was "
                    "killed before it was published, or it was deleted.",
                    "It is moved to the trash when the vault is next restarted, or by check(repair=True).",
                    mended="It was moved to the trash.",
                    trace=identity(path),
                )

    def _find_active(self) -> Iterator[Finding]:
        active = [each.instance_id for each in self.table.instances if each.active]
        if self.table.record.has_side_effects and len(active) > 1:
            yield self._about.finding(
                Kind.CORRUPTION,
                self._place.folder,
                f"The table has side effects, and {len(active)} of its instances are active instead of one.",
                f"Readers get the newest, {active[-1]!r}. Write or execute a new one, which makes all others inactive.",
                has_weight=True,
            )

    def _find_in_description(self) -> Iterator[Finding]:
        path = self._place.description
        try:
            with files.opened(path) as descriptor, open(descriptor, "rb", closefd=False) as file:
                raw = file.read(_LONGEST_DESCRIPTION)
        except OSError as error:
            why = "is missing" if isinstance(error, FileNotFoundError) else f"can't be read ({told(error)})"
            yield self._unfinished(path, f"The copy of the table's description {why}.")
            return
        said = documents.described(raw)
        is_same = all(
            said.get(name, value) == value for name, value in descriptions.describe_table(self.table.record).items()
        )
        if "table" not in said or not is_same or not self._is_told(said):
            yield self._unfinished(path, "The copy of the table's description isn't what the catalog says.")

    def _is_told(self, said: Mapping[str, object]) -> bool:
        """Tell whether a description knows which instances are pinned and inactive. What was deleted doesn't count."""
        pinned, inactive = said.get("pinned"), said.get("inactive")
        known = {each.instance_id for each in self.table.instances}
        told_pins = {key: pin for key, pin in pinned.items() if key in known} if isinstance(pinned, dict) else {}
        told_inactive = [each for each in inactive if each in known] if isinstance(inactive, list) else []
        pins, idle = self._standing
        return told_pins == {key: list(pin) for key, pin in pins.items()} and told_inactive == idle

    @property
    def _standing(self) -> tuple[dict[str, tuple[float, str]], list[str]]:
        """What may change of the instances: their pins, and which are inactive for good."""
        made = [each for each in self.table.instances if not each.is_temporary]
        pinned = {
            each.instance_id: (each.pinned_at, each.pinned_by or "") for each in made if each.pinned_at is not None
        }
        live = self.facts.live
        return pinned, [each.instance_id for each in made if not each.active and each.deactivated_by not in live]

    def _find_in_view(self) -> Iterator[Finding]:
        newest = [each for each in self.table.instances if not each.is_temporary and each.success]
        source = self._place.instance(newest[-1].instance_id).artifacts if newest else None
        try:
            is_followed = artifact_views.shows(self._place.artifacts, source)
        except OSError:
            is_followed = kind_of(self._place.artifacts) in (FOLDER, MISSING)  # the instance tells what it lacks
        if not is_followed:
            newest_of_all = newest[-1].instance_id if newest else None
            yield self._unfinished(
                self._place.artifacts,
                "The table's folder doesn't show the artifacts of its newest instance.",
                trace=newest_of_all,
            )

    def _unfinished(self, path: Path, what: str, *, trace: object = None) -> Finding:
        return self._about.finding(Kind.UNFINISHED, path, what, _REPAIR, mended="It was done.", trace=trace)
