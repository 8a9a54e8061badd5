"""What is not on the store yet: each group is listed once, and tiles are made as they are needed.

    to do(tile) = not all its shards are there, each with its receipt

One truth value a tile is all that is kept, so ten million tiles cost ten megabytes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwang_ray.domain.plan import GroupPlan, Tile
from longwang_ray.store.groups import beside, done_one, read_group
from longwang_ray.store.objects import Place


class Backlog:
    """The tiles of a run that are still to be done.

    Args:
        plans: What the run wants.
        todo: For each plan which tiles are missing, ``(realization, time, lat, lon)``.
    """

    def __init__(self, plans: Sequence[GroupPlan], todo: Sequence[NDArray[np.bool_]]) -> None:
        self._plans, self._todo = tuple(plans), tuple(todo)
        self._count = sum(int(np.count_nonzero(missing)) for missing in self._todo)

    def __len__(self) -> int:
        return self._count

    @property
    def n_tiles(self) -> int:
        """Tiles that the run wants in all."""
        return sum(missing.size for missing in self._todo)

    @property
    def done(self) -> int:
        """Tiles that were done when the store was listed."""
        return self.n_tiles - self._count

    def tiles(self) -> Iterator[Tile]:
        """Yield what is to be done, lazily, in the plans' order."""
        for plan, todo in zip(self._plans, self._todo, strict=True):
            for realization, missing in enumerate(todo):
                for m, i, j in np.argwhere(missing).tolist():
                    yield plan.tile(realization, m, i, j)


def open_backlog(
    url: str, plans: Sequence[GroupPlan], storage_options: Mapping[str, Any] | None = None
) -> Backlog:
    """List a store, and find what plans want and it does not have.

    Args:
        url: The store; it must have the plans' groups.
        plans: What a run wants.
        storage_options: For the filesystem.

    Raises:
        StoreError: There is no such group.
    """
    place = Place(url, storage_options)
    return Backlog(plans, [_missing(place, plan) for plan in plans])


def _missing(place: Place, plan: GroupPlan) -> NDArray[np.bool_]:
    """Return which tiles lack a shard: the time shards of each are taken together."""
    path, shards = plan.group.path, plan.shards
    grid = read_group(place, path).grid
    starts = [begin - shards.start for begin, _ in plan.time_cores]
    missing = np.ones((plan.realizations, len(starts), *grid[2:]), bool)

    def look(realization: int) -> None:
        done = done_one(place, path, grid, realization)[shards.start : shards.stop]
        missing[realization] = ~np.logical_and.reduceat(done, starts, axis=0)

    beside(place, look, plan.realizations)
    return missing
