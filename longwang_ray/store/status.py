"""How far each group of a store is, by listing alone.

    done = asked for by a run ∩ there ∩ with its receipt

Nothing is decoded and nobody is asked: it works from any machine that can read the store.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longwang_ray.store.groups import group_paths, listed, read_group
from longwang_ray.store.objects import Place
from longwang_ray.store.receipts import receipted


@dataclass(frozen=True)
class GroupStatus:
    """How far a group is, by listing alone.

    Attributes:
        path: The group's path.
        realizations: Length of its dimension.
        asked: Shards that runs have asked for.
        done: How many of these are there, with their receipt.
        unsigned: Shards without a receipt, to be checked by the next run.
        rejected: Later, different shards of which the first one was kept.
        periods: Complete periods as of the last seal.
        intended_use: What the store says it is fit for.
        recipe: Digest of the recipe.
    """

    path: str
    realizations: int
    asked: int
    done: int
    unsigned: int
    rejected: int
    periods: tuple[str, ...]
    intended_use: str
    recipe: str


def status(url: str, storage_options: Mapping[str, Any] | None = None) -> list[GroupStatus]:
    """Tell how far each group of a store is, from the store alone; nothing is decoded."""
    place = Place(url, storage_options)
    return [_status(place, path) for path in group_paths(place)]


def _status(place: Place, path: str) -> GroupStatus:
    info = read_group(place, path)
    there, signed = listed(place, path)
    wanted = info.expected()
    return GroupStatus(
        path,
        info.realizations,
        int(wanted.sum()),
        int((there & signed & wanted).sum()),
        int((there & ~signed).sum()),
        sum(rejected for _, rejected in receipted(place, path)),
        tuple(info.attributes.get("complete_periods", ())),
        str(info.attributes.get("intended_use", "")),
        str(info.attributes["recipe_sha256"]),
    )
