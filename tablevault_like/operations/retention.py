"""Which instances may be pruned, and why each of the others stays.

1. It is decided from the catalog alone, as it is in one transaction.
2. What an instance that stays was made from stays, too.
3. Whatever is in doubt stays.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from tablevault_like.catalog import Database, instances, locks, processes
from tablevault_like.model import TEMP_PREFIX, InstanceRecord, LockRequest, Resource

TOO_YOUNG = "it is too young"
NO_KEEP = "instances only go where keep= says how many of them stay"


@dataclass(frozen=True, slots=True)
class Retention:
    """What is asked for: how many instances of each table and version stay, and none that is younger than ``latest``.

    Without ``keep`` all of them stay. ``latest`` is in seconds since the epoch (POSIX).
    """

    keep: int | None
    latest: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of an instance, and why."""

    record: InstanceRecord
    goes: bool
    why: str


def verdicts(db: Database, wanted: Retention, *, family: Sequence[str] = ()) -> list[Verdict]:
    """Return what becomes of each materialized instance, newest first.

    ``family`` are the processes whose locks don't count: those of whoever prunes.
    """
    users: dict[tuple[int, str], list[instances.Use]] = defaultdict(list)
    for use in instances.uses(db):
        users[use.source].append(use)
    returned = _Returned()
    going: set[tuple[int, str]] = set()
    found = []
    # Newest first: whoever was made from an instance is newer, and decided already.
    for record in reversed(instances.materialized(db)):
        rank, active = returned.place(record)
        key = (record.table_id, record.instance_id)
        why = _why_it_stays(record, wanted, rank=rank, active=active)
        why = why or _why_it_is_needed(db, record, [each for each in users[key] if each.user not in going], family)
        if why is None:
            going.add(key)
        newer = "is 1 newer one" if rank == 1 else f"are {rank:,} newer ones"
        found.append(Verdict(record, why is None, why or f"there {newer} of its version"))
    return found


class _Returned:
    """What readers get who name no instance. It is told the instances newest first."""

    def __init__(self) -> None:
        self._ranks: dict[tuple[int, str], int] = defaultdict(int)
        self._seen: set[tuple[int, str | None, bool]] = set()

    def place(self, record: InstanceRecord) -> tuple[int, str | None]:
        """Return how many newer ones there are of its table and version, and what it is the newest of."""
        version = (record.table_id, record.version)
        rank = self._ranks[version]
        self._ranks[version] += 1
        newest = None
        if record.active and self._is_first(record.table_id, record.version, False):
            newest = f"it is the newest active instance of version {record.version!r}"
        if record.active and record.success and self._is_first(record.table_id, record.version, True):
            newest = newest or f"it is the newest active instance of version {record.version!r} that is complete"
        if record.success and self._is_first(record.table_id, None, True):
            newest = newest or "it is the newest complete instance of its table"
        return rank, newest

    def _is_first(self, table_id: int, version: str | None, is_complete: bool) -> bool:
        key = (table_id, version, is_complete)
        is_first = key not in self._seen
        self._seen.add(key)
        return is_first


def _why_it_stays(record: InstanceRecord, wanted: Retention, *, rank: int, active: str | None) -> str | None:
    if record.pinned_at is not None:
        return f"{record.pinned_by} has pinned it"
    if active is not None:
        return active
    if wanted.keep is None:
        return NO_KEEP
    if rank < wanted.keep:
        return f"it is among the newest {wanted.keep} of its version"
    if (record.materialized_at or record.created_at) > wanted.latest:
        return TOO_YOUNG
    return None


def _why_it_is_needed(
    db: Database, record: InstanceRecord, users: Sequence[instances.Use], family: Sequence[str]
) -> str | None:
    if users:
        _, user = users[0].user
        more = f", and {len(users) - 1} more" if len(users) > 1 else ""
        does = "begins with its rows" if user.startswith(TEMP_PREFIX) else "was made from it"
        return f"{users[0].user_table}/{user} {does}{more}"
    request = LockRequest.exclusive(Resource.instance(record.table_name, record.instance_id))
    held = locks.conflicting(db, request, family=family)
    if held:
        holder = processes.find(db, held[0].process_id)
        what = "" if holder is None else f" ({holder.operation}, {holder.state.lower()})"
        return f"process {held[0].process_id!r}{what} uses it"
    return None
