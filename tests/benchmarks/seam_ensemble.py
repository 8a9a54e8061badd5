"""What seams are looked for in: an ensemble across 0°E, and the synthetic days it was told of."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from longwang_ray.data.synthetic import synthetic_days, synthetic_month
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import Sampling, sample_tile
from longwang_ray.prior.bundle import open_prior
from tests.benchmarks.bench_seams import AXES, gcm_lines, lattice_lines, standing_alone

NORTH, WEST = 160, 1392
"""First row and column: 50° N, 12° W."""


@dataclass(frozen=True)
class Case:
    """An ensemble, its truth, the lines that may show, and the cells of one window alone."""

    rain: np.ndarray
    truth: np.ndarray
    lines: dict[str, tuple[int, np.ndarray]]
    alone: dict[str, np.ndarray]


def ensemble(name: str, realizations: int, cells: int) -> Case:
    """Sample one month on a square of cells, in two tiles a side so that their borders count."""
    prior, source = open_prior(name), synthetic_month()
    monthly, record = MonthlyRain(source.rain, source.grid, source.record), source.record
    days, rows = (record.start, record.stop), (NORTH, NORTH + cells)
    layout = Layout.of(days, (NORTH, cells), (WEST, cells), prior.grid.n_lon, cells // 2)
    group = Group("Synthetic", "historical", "r1i1p1f1")
    plan = GroupPlan(group, layout, record, prior.lattice, 1, Tiling(12, 2))
    rain = np.empty((realizations, days[1] - days[0], cells, cells), np.float32)
    for realization in range(realizations):
        key = NoiseKey(1, group.gcm, group.variant, realization)
        for tile in plan.tiles():
            found = sample_tile(prior, replace(tile, realization=realization), monthly, key,
                                Sampling()).rain  # fmt: skip
            i, j = tile.rows[0] - NORTH, (tile.columns[0] - WEST) % prior.grid.n_lon
            t, (height, width) = tile.days[0] - days[0], found.shape[1:]
            rain[realization, t : t + len(found), i : i + height, j : j + width] = found
    columns = (WEST + np.arange(cells)) % prior.grid.n_lon
    truth = np.stack([day[rows[0] : rows[1]][:, columns] for day in synthetic_days()])
    lines = lattice_lines(prior.lattice, days, rows, (WEST, cells))
    lines |= gcm_lines(prior.grid, monthly.grid, rows, (WEST, cells))
    border = np.arange(1, cells) == cells // 2
    lines |= {f"tile borders, {axis}": (AXES[axis], border) for axis in ("lat", "lon")}
    extent = prior.lattice.extent(days, rows, (WEST, cells), 1)
    starts = {"time": (days[0], days[1] - days[0]), "lat": (NORTH, cells), "lon": (WEST, cells)}
    alone = {
        axis: standing_alone(extent.spans[AXES[axis] + 3], *at) for axis, at in starts.items()
    }
    alone = {axis: cells for axis, cells in alone.items() if cells.any() and not cells.all()}
    return Case(rain, truth, lines, alone)
