"""Repair: what is damaged is moved aside; the next run finds it missing and makes it again.

    {group}/pr/c/2/1/0/0  →  {group}/pr/damaged/2.1.0.0~{number}   (its receipt: ….json)

Nothing is deleted or overwritten. A shard's digest tells of every changed byte; one that has no
receipt yet is judged by whether it can be decoded into rain. The shard is moved before its
receipt: whoever is interrupted in between leaves a receipt without a shard, which is mended too.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from longwang_ray.domain.plan import GroupPlan
from longwang_ray.store.groups import listed
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import Index, receipt_key
from longwang_ray.store.shards import BAD_RECEIPT, ShardStore


@dataclass(frozen=True)
class Repaired:
    """One shard, or its receipt, that was moved aside.

    Attributes:
        key: Key of the shard.
        why: What was wrong.
        moved: Keys under which what was moved lies now.
    """

    key: str
    why: str
    moved: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.key}: {self.why}; moved to {', '.join(self.moved)}"


def repair(
    url: str, plans: Sequence[GroupPlan], storage_options: Mapping[str, Any] | None = None
) -> list[Repaired]:
    """Read the shards of some plans, and move aside those that are damaged.

    What :func:`open_backlog` finds missing afterwards is what has to be made again; a shard
    without receipt that is otherwise sound stays, and is checked and signed by the run.

    Args:
        url: The store; it must have the plans' groups.
        plans: Their realizations and periods are looked at, and nothing else.
        storage_options: For the filesystem.

    Returns:
        What was moved; also told of shards that are gone and left their receipt.

    Raises:
        StoreError: There is no such group.
    """
    place = Place(url, storage_options)
    return [found for plan in plans for found in _repair_group(place, plan)]


def _repair_group(place: Place, plan: GroupPlan) -> Iterator[Repaired]:
    shards = ShardStore(place, plan.group.path)
    there, signed = listed(place, plan.group.path)
    first, stop = plan.shards.start, plan.shards.stop
    for r, t, i, j in np.argwhere((there | signed)[: plan.realizations, first:stop]).tolist():
        shard = r, t + first, i, j
        if not there[shard]:
            yield _aside(shards, shard, "missing, but for its receipt", whole=False)
            continue
        checked = shards.check(shard)
        if checked.damage:
            yield _aside(shards, shard, checked.damage)
        elif BAD_RECEIPT in checked.remarks:
            yield _aside(shards, shard, BAD_RECEIPT, whole=False)


def _aside(shards: ShardStore, shard: Index, why: str, whole: bool = True) -> Repaired:
    """Move a shard and its receipt aside, or its receipt alone."""
    place, path, key = shards.place, shards.path, shards.key(shard)
    name = f"{'.'.join(map(str, shard))}~{secrets.token_hex(4)}"  # nobody else takes it
    new = f"{path}/pr/damaged/{name}"
    moves = [(key, new)] if whole else []
    moves.append((receipt_key(path, shard), f"{new}.json"))
    return Repaired(key, why, tuple(new for old, new in moves if place.move(old, new)))
