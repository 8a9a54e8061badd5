"""A small group with all that is awkward: noleap months, a region across 0°E, cut shards."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid, overlap_lat, overlap_lon
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.store import GroupSpec, ShardWriter, finished
from longwang_ray.store.metadata import cells

GROUP = Group("CMCC-CM2-SR5", "historical", "r1i1p1f1")
RECIPE = {"seed": 1, "prior": {"digest": "abc", "name": "demo"}, "sampler": {"steps": 8}}
RECORD = month_record("noleap", "1960-11", 3)


def gcm_grid():
    lon = np.arange(0, 360, 2.5)
    return RectilinearGrid.from_centres(np.arange(88, -89, -4.0), lon)


def make_spec(**changes):
    """40 rows × 48 columns from 4°W to 8°E, shards of 32 days × 20 × 48, the last cut short."""
    grid = era5_grid()
    layout = Layout.of((RECORD.start, RECORD.stop), (300, 40), (1424, 48), shard_days=32)
    layout = replace(layout, shard=(32, 20, 48))
    coarse = gcm_grid()
    base = GroupSpec(
        group=GROUP,
        layout=layout,
        grid=grid,
        record=RECORD,
        realizations=2,
        recipe=RECIPE,
        observation=np.zeros((3, coarse.n_lat, coarse.n_lon), np.float32),
        gcm_grid=coarse,
        attributes={"intended_use": "demonstration", "tracking_id": "hdl:1"},
    )
    spec = replace(base, **changes)
    if "observation" not in changes:
        spec = replace(spec, observation=observe(spec))
    return spec


def rain_of(spec, realization):
    """Rain, mm/day, whose monthly means are the same for every realization."""
    generator = np.random.default_rng(7)
    rain = generator.gamma(0.4, 8, spec.layout.shape).astype(np.float32)
    rain[rain < 0.3] = 0
    for month in spec.record.months:
        days = slice(month.start - spec.layout.first_day, month.stop - spec.layout.first_day)
        rain[days] = np.roll(rain[days], realization, axis=0)  # another day, the same month
    return rain


def observe(spec):
    """Monthly means of that rain on the GCM's grid; NaN where a cell sticks out of the region."""
    grid, rain = cells(spec), rain_of(spec, 0)
    lat = overlap_lat(spec.gcm_grid.lat_bounds, grid.lat_bounds)
    lon = overlap_lon(spec.gcm_grid.lon_bounds, grid.lon_bounds)
    means = []
    for month in spec.record.months:
        days = slice(month.start - spec.layout.first_day, month.stop - spec.layout.first_day)
        means.append(lat.weights @ rain[days].mean(axis=0, dtype=np.float64) @ lon.weights.T)
    inside = lat.whole[:, None] & lon.whole[None, :]
    assert inside.sum() >= 3
    return np.where(inside, np.stack(means), np.nan).astype(np.float32)


@dataclass(frozen=True)
class Piece:
    """A tile as the store sees it."""

    group: Group
    shard_indices: tuple[tuple[int, int, int, int], ...]

    @property
    def key(self):
        return "t" + ".".join(map(str, self.shard_indices[0]))


def pieces(spec):
    times, rows, columns = spec.layout.grid
    return [
        Piece(spec.group, tuple((r, t, i, j) for t in range(times)))
        for r in range(spec.realizations)
        for i in range(rows)
        for j in range(columns)
    ]


def write(url, spec, chosen=None, change=lambda shard, rain: rain, **options):
    """Write pieces as a worker would; return the receipts."""
    receipts = []
    with ShardWriter(url, **options) as writer:
        for piece in pieces(spec) if chosen is None else chosen:
            for shard in piece.shard_indices:
                part = rain_of(spec, shard[0])[spec.layout.slices_of(*shard[1:])]
                writer.put(spec.group, shard, change(shard, part), piece.key)
            receipts += writer.flush()
    return receipts


def missing(url, work):
    """The pieces of which a shard is not done yet."""
    for piece in work:
        done = finished(url, piece.group.path)
        if not all(done[shard] for shard in piece.shard_indices):
            yield piece


@pytest.fixture
def kit():
    """The helpers of this file, for tests that need more than one spec."""
    return SimpleNamespace(
        make_spec=make_spec, rain_of=rain_of, pieces=pieces, write=write, missing=missing
    )


@pytest.fixture
def spec():
    return make_spec()


@pytest.fixture
def url(tmp_path):
    return str(tmp_path / "out.zarr")
