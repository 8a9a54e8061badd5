"""How far a tile is from the global run, for each halo: the table that sets the default.

    python tests/benchmarks/bench_halo.py [--prior demo] [--steps 8] [--core 64] [--json F]

One core of cells is sampled with ever larger halos; the run with the largest stands for the global
one. Error is the mean absolute difference of daily rain in the core over its mean rain, closed and
decoded. In space the record is one month; in time it is seven months, and the core is the shard in
the middle of them. The observation is the synthetic Earth's climatology on a 1.25° × 0.94° grid
with 40 % of noise from cell to cell, so that guidance has work to do.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from pathlib import Path

import numpy as np
import torch

from longwang_ray.data.synthetic import climate
from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid, overlap_lat, overlap_lon
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import Sampling, sample_tile
from longwang_ray.prior.bundle import Prior, open_prior

CORE = 64
LARGEST_ERROR = 1e-3
"""Of mean rain: what the design allows a tiling to change."""

ROWS, COLUMNS = (160, CORE), (1408, CORE)  # 50…34° N, 8° W…8° E: storm track and dry zone, 0°E


def monthly_record(months: int) -> MonthlyRain:
    """Climatology with noise from cell to cell."""
    fine = era5_grid()
    gcm = RectilinearGrid.from_centres(np.linspace(90, -90, 192), np.arange(288) * 1.25)
    record = month_record("noleap", (2001, 1), months)
    lat = overlap_lat(gcm.lat_bounds, fine.lat_bounds).weights
    lon = overlap_lon(gcm.lon_bounds, fine.lon_bounds).weights
    generator = np.random.default_rng(7)
    rain = []
    for index in range(months):
        season = climate((index + 0.5) / 12)
        mean = lat @ (season.wet * season.amount) @ lon.T
        rain.append(mean * np.exp(0.4 * generator.standard_normal(mean.shape)))
    return MonthlyRain(np.array(rain, np.float32), gcm, record)


def sampled(
    prior: Prior,
    monthly: MonthlyRain,
    sampling: Sampling,
    shard: int,
    tiling: Tiling,
    core: int = CORE,
) -> tuple[np.ndarray, int]:
    """Rain of the core, and how many windows it took."""
    record, size = monthly.record, core if len(monthly.record.months) == 1 else core // 2
    layout = Layout.of(
        (record.start, record.stop), (ROWS[0], size), (COLUMNS[0], size), prior.grid.n_lon
    )
    group = Group("Synthetic", "historical", "r1i1p1f1")
    plan = GroupPlan(group, layout, record, prior.lattice, 1, tiling)
    tile = plan.tile(0, shard, 0, 0)
    key = NoiseKey(1, group.gcm, group.variant, 0)
    return sample_tile(prior, tile, monthly, key, sampling).rain, tile.extent.n_windows


def table(
    prior: Prior, sampling: Sampling, core: int = CORE
) -> list[dict[str, float | str | int]]:
    """One row a halo."""
    rows: list[dict[str, float | str | int]] = []
    month, months = monthly_record(1), monthly_record(7)
    cases = (
        ("space, strides", month, 0, {h: Tiling(1, h) for h in (4, 0, 1, 2, 3)}),
        ("time, months", months, 3, {h: Tiling(1, 0, h) for h in (3, 0, 1, 2)}),
    )
    for axis, monthly, shard, tilings in cases:
        reference: np.ndarray | None = None
        for halo, tiling in tilings.items():
            started = time.process_time()
            rain, windows = sampled(prior, monthly, sampling, shard, tiling, core)
            if reference is None:
                reference = rain
                continue
            error = float(np.abs(rain - reference).mean() / reference.mean())
            seconds = time.process_time() - started
            rows.append(
                {"axis": axis, "halo": halo, "error": error, "windows": windows, "cpu_s": seconds}
            )
            print(f"{axis:15} {halo:4} {error:10.2e} {windows:8} {seconds:8.0f}", flush=True)
    return rows


def default_halo(rows: list[dict[str, float | str | int]]) -> dict[str, object]:
    """``prior.json``'s ``halo``: the fewest strides and months that stay within 1e-3."""
    kept = [{key: row[key] for key in ("axis", "halo", "error")} for row in rows]
    enough = [(r["axis"], int(r["halo"])) for r in rows if float(r["error"]) <= LARGEST_ERROR]
    fewest = {
        axis: min((halo for of, halo in enough if of == axis), default=None)
        for axis in ("space, strides", "time, months")
    }
    return {
        "strides": fewest["space, strides"],
        "months": fewest["time, months"],
        "error_of_mean_rain": kept,
        "command": "python tests/benchmarks/bench_halo.py",
    }


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prior", default="demo")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--guidance", default="fast")
    parser.add_argument("--core", type=int, default=CORE, help="cells of the core on each side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    prior = open_prior(options.prior)
    print(f"{platform.processor() or platform.machine()}, {options.threads} threads, prior "
          f"{prior.name}, {options.steps} steps, {options.guidance}")  # fmt: skip
    print(f"{'axis':15} {'halo':>4} {'error':>10} {'windows':>8} {'cpu s':>8}")
    rows = table(prior, Sampling(options.steps, options.guidance), options.core)
    if options.json:
        about = {"prior": prior.digest, "steps": options.steps, "guidance": options.guidance}
        halo = default_halo(rows)
        options.json.write_text(json.dumps({**about, "halo": halo, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
