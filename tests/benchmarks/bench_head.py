"""What a prior's coarse head gives up, and what it saves: the figures of its card.

    python tests/benchmarks/bench_head.py [PRIOR] [--months 2] [--regions 3] [--json head.json]

Held-out months of the synthetic Earth are encoded, window by window, and their latents blended to
one field; another is sampled with guidance for the month that a GCM would have seen. Both are
decoded as a run does it, all windows blended, and read by the head, once. Compared are monthly
means through the real operator, on CMCC-CM2's grid and on regular ones:

    error = Σ_J a_J |A h(z) − A d(z)|_J / Σ_J a_J (A d(z))_J

Asked are 3 % on the CMCC grid, at 3 % of the decoder's cost: in operations counted on one window,
and in seconds of both on the same windows and on the same field, the shortest of several runs.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longwang_ray.data.synthetic import CALENDAR, SyntheticEarth
from longwang_ray.domain.calendar import Month, day_number, month_record
from longwang_ray.domain.grid import RectilinearGrid, columns_in, overlap_lat, overlap_lon, rows_in
from longwang_ray.domain.lattice import Extent
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.evaluation.views import REGIONS, SEASONS, SEEDS, Region
from longwang_ray.posterior.blending import LATENT, Blend, Resolution
from longwang_ray.posterior.fidelity import (
    STEPS,
    Tally,
    compare,
    cost_share,
    regular_grid,
    total,
)
from longwang_ray.posterior.observation import MonthlyRain, monthly_mean
from longwang_ray.posterior.reading import HeadReader
from longwang_ray.posterior.tile import Sampling, sample_latent
from longwang_ray.prior.bundle import Prior, open_prior

CMCC = "CMCC"
ASKED = 0.03
BATCH = 4
REPEATS = 5


def grids() -> dict[str, RectilinearGrid]:
    """CMCC-CM2's grid, about 0.94° × 1.25°, and regular ones."""
    cmcc = RectilinearGrid.from_centres(np.linspace(-90, 90, 192), np.arange(288) * 1.25)
    return {CMCC: cmcc, **{f"{step:g}": regular_grid(step) for step in STEPS}}


def extent_of(prior: Prior, region: Region, month: Month) -> Extent:
    """All windows that touch a region in a month."""
    first, count = rows_in(prior.grid, *region.lat)
    columns = columns_in(prior.grid, *region.lon)
    return prior.lattice.extent((month.start, month.stop), (first, first + count), columns)


def days_of(extents: list[Extent], seed: int) -> np.ndarray:
    """The globe's days that windows of a month touch, ``(day, lat, lon)`` float16."""
    time_span = extents[0].time
    start = (time_span.fine_start - day_number(CALENDAR, 2001, 1)) % 365
    days = SyntheticEarth(seed).days(start, time_span.fine_size)
    return np.stack([day.astype(np.float16) for day in days])


def encoded(prior: Prior, extent: Extent, globe: np.ndarray) -> Tensor:
    """Latents of an extent's days, each window encoded alone, blended."""
    cut = globe[:, extent.lat.fine_cells()][..., extent.lon.fine_cells()].astype(np.float32)
    field, places = torch.from_numpy(cut), tuple(extent.windows())
    here = (1, -1, 1, 1, 1)
    mean, std = (torch.tensor(v).view(here) for v in (prior.latent_mean, prior.latent_std))

    def encode(_: Tensor, which: slice) -> Tensor:
        windows = []
        for place in places[which]:
            t, i, j = (s.window_fine_cells(k) for s, k in zip(extent.spans, place, strict=True))
            windows.append(field[t][:, i][..., j])
        latent, _ = prior.autoencoder.encode(
            prior.transform.forward(torch.stack(windows))[:, None]
        )
        return (latent - mean) / std

    return Blend(extent, BATCH)(encode, torch.zeros(1, *extent.shape), LATENT)


def decoded(prior: Prior, extent: Extent, latent: Tensor) -> Tensor:
    """Rain of a field, all windows blended, ``(days, lat, lon)``."""
    at = Resolution(*prior.compression)
    return Blend(extent, BATCH)(lambda w, _: prior.decode(w)[:, None], latent, at)[0]


def errors(
    prior: Prior, extent: Extent, latent: Tensor, rain: Tensor, month: Month
) -> dict[str, Tally]:
    """Differences of one month on each grid."""
    read = HeadReader(prior.head, closed=extent.lon.wraps)(latent)
    days = (extent.time.fine_start, extent.time.fine_stop)
    cells = extent.lat.fine_cells(), extent.lon.fine_cells()
    return {
        name: compare(read, rain, monthly_mean([month], days, prior.grid, *cells, gcm), gcm)
        for name, gcm in grids().items()
    }


def held_out(prior: Prior, months: int, regions: int) -> Iterator[tuple[str, dict[str, Tally]]]:
    """Encoded latents of months that no training has seen."""
    for name, seed in list(zip(SEASONS, SEEDS, strict=True))[:months]:
        (month,) = month_record(CALENDAR, name, 1).months
        extents = [extent_of(prior, region, month) for region in REGIONS[:regions]]
        globe = days_of(extents, seed)
        for region, extent in zip(REGIONS, extents, strict=False):
            latent = encoded(prior, extent, globe)
            rain = decoded(prior, extent, latent)
            yield f"{name} {region.name}", errors(prior, extent, latent, rain, month)


def guided(prior: Prior, region: Region, seed: int) -> Iterator[tuple[str, dict[str, Tally]]]:
    """Latents that fast guidance has pulled to a GCM's month, through this very head."""
    record = month_record(CALENDAR, SEASONS[1], 1)
    (month,) = record.months
    gcm = grids()[CMCC]
    mean = days_of([extent_of(prior, region, month)], seed).mean(0, dtype=np.float64)
    lat = overlap_lat(gcm.lat_bounds, prior.grid.lat_bounds).weights
    lon = overlap_lon(gcm.lon_bounds, prior.grid.lon_bounds).weights
    monthly = MonthlyRain((lat @ mean @ lon.T)[None].astype(np.float32), gcm, record)
    rows, columns = rows_in(prior.grid, *region.lat), columns_in(prior.grid, *region.lon)
    rows, columns = (rows[0] + 32, 64), (columns[0] + 32, 64)
    layout = Layout.of((record.start, record.stop), rows, columns, prior.grid.n_lon)
    group = Group("Synthetic", "historical", "r1i1p1f1")
    plan = GroupPlan(group, layout, record, prior.lattice, 1, Tiling(1, 1, 0))
    tile = plan.tile(0, 0, 0, 0)
    key = NoiseKey(1, group.gcm, group.variant, 0)
    latent = sample_latent(prior, tile, monthly, key, Sampling())
    rain = decoded(prior, tile.extent, latent)
    yield f"guided {region.name}", errors(prior, tile.extent, latent, rain, month)


def seconds(work: Callable[[], object], repeats: int = REPEATS) -> float:
    """The shortest of several runs, after one to warm up."""
    work()
    found = []
    for _ in range(repeats):
        started = time.process_time()
        work()
        found.append(time.process_time() - started)
    return min(found)


def cost(prior: Prior) -> dict[str, float]:
    """The head's share of the decoder's cost: operations, and seconds in one run."""
    auto, head = prior.autoencoder.config, prior.head
    generator = torch.Generator().manual_seed(0)
    windows = torch.randn(BATCH, prior.channels, *prior.lattice.window, generator=generator)
    month = Month(2001, 1, day_number(CALENDAR, 2001, 1), 31)
    extent = extent_of(prior, Region("small", (30, 46), (140, 156)), month)
    field = torch.randn(prior.channels, *extent.shape, generator=generator)
    read = HeadReader(head, closed=False)
    windows_s = seconds(lambda: prior.decode(windows)), seconds(lambda: head(windows))
    field_s = seconds(lambda: decoded(prior, extent, field), 1), seconds(lambda: read(field))
    return {
        "operations": cost_share(auto, head.config, prior.window),
        "seconds, windows": windows_s[1] / windows_s[0],
        "seconds, field": field_s[1] / field_s[0],
        "decoder, s a window": windows_s[0] / BATCH,
        "head, s a window": windows_s[1] / BATCH,
    }


def row(name: str, found: dict[str, Tally]) -> str:
    """Errors on each grid, and the bias on the CMCC grid."""
    shown = " ".join(f"{100 * found[grid].error:8.2f}" for grid in grids())
    return f"{name:32} {shown} {100 * found[CMCC].bias:+9.2f}"


@torch.no_grad()
def main() -> None:
    """Print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("prior", nargs="?", default="demo")
    parser.add_argument("--months", type=int, default=len(SEASONS))
    parser.add_argument("--regions", type=int, default=len(REGIONS))
    parser.add_argument("--guided", type=int, default=1, help="regions that are sampled")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prior = open_prior(options.prior)
    if prior.head is None:
        parser.error(f"{options.prior} has no head: longwang train-head {options.prior}")
    print(
        f"{platform.processor() or platform.machine()}, {options.threads} threads, prior "
        f"{prior.name} {prior.digest[:12]}, head of {prior.head.config.channels} channels"
    )
    shares = cost(prior)
    for name, share in shares.items():
        print(f"{name:24}", f"{share:.4f}" if "," in name and " a " in name else f"{share:.2%}")
    names = " ".join(f"{grid if grid == CMCC else grid + '°':>8}" for grid in grids())
    print(f"{'monthly error, %':32} {names} {'CMCC bias':>9}", flush=True)
    sums: dict[str, dict[str, Tally]] = {}
    sampled = (r for region in REGIONS[: options.guided] for r in guided(prior, region, SEEDS[1]))
    for kind, rows in (
        ("held-out months", held_out(prior, options.months, options.regions)),
        ("guided samples", sampled),
    ):
        found = []
        for name, one in rows:
            print(row(name, one), flush=True)
            found.append(one)
        if found:
            sums[kind] = {grid: total(one[grid] for one in found) for grid in grids()}
            print(row(f"all {kind}", sums[kind]), flush=True)
    if options.json:
        options.json.write_text(json.dumps(_plain(prior, shares, sums), indent=1) + "\n")
    missed = sums.get("held-out months", {}).get(CMCC)
    if missed is not None:
        met = (
            missed.error <= ASKED and max(shares["operations"], shares["seconds, field"]) <= ASKED
        )
        print("asked: 3 % on the CMCC grid at 3 % of the cost:", "met" if met else "missed")


def _plain(prior: Prior, shares: dict, sums: dict[str, dict[str, Tally]]) -> dict:
    """For the JSON; ``head_errors`` is what a bundle's ``prior.json`` may hold."""
    tables = {
        kind: {g: {"error": round(t.error, 5), "bias": round(t.bias, 5)} for g, t in one.items()}
        for kind, one in sums.items()
    }
    cells = {g: t for g, t in tables.get("held-out months", {}).items() if g != CMCC}
    return {
        "prior": prior.digest,
        "cost": shares,
        "errors": tables,
        "head_errors": {"days": 31, "cells": cells},
    }


if __name__ == "__main__":
    main()
