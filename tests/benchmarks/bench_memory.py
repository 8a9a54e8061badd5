"""A worker's peak memory beside the plan's, for tiles of some months and regions of some size.

    python -m tests.benchmarks.bench_memory [--months 1 4 12] [--degrees 32 64] [--json FILE]

Each worker is a process of its own (``memory_worker``), one thread, the demonstration prior; its
peak is what was resident from its birth until its shards were written. A tile has so many
shards of 32 days and lies in the middle of a record of three years, so that its extent has the
halo of an archive's; ``--months 0`` is the quickstart's: a record of one month. Memory does not
depend on the number of steps beyond three. The largest tile takes some ten minutes on one core.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from longwang_ray.config import parse_config
from longwang_ray.domain.plan import Tile
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.run import plan_ensemble
from longwang_ray.run.planning import Prepared, sampling_of
from longwang_ray.run.recipe import group_spec
from longwang_ray.run.worker import WorkerFactory
from longwang_ray.store import create_store
from tests.benchmarks.measure import MIB, machine
from tests.benchmarks.sampling_cases import cmcc

RECORD = 36
SOUTH, WEST = 34.25, 340.0
STAGES = ("start", "read", "sample", "decode", "close", "between")
Row = dict[str, object]


def write_months(path: Path, months: int) -> str:
    """A climate model's months on CMCC-CM2's grid: wet in the tropics."""
    gcm = cmcc()
    edges = xr.date_range("2000-01-01", periods=months + 1, freq="MS", calendar="noleap",
                          use_cftime=True)  # fmt: skip
    days = np.array([(edge - edges[0]).days for edge in edges], float)
    wet = 1.0 + 5.0 * np.cos(np.deg2rad(gcm.lat)) ** 4
    rain = np.broadcast_to(wet[:, None], (months, *gcm.shape)) / 86400
    time = {"units": "days since 2000-01-01", "calendar": "noleap", "bounds": "time_bnds"}
    xr.Dataset(
        {
            "pr": (("time", "lat", "lon"), rain.astype("f4"), {"units": "kg m-2 s-1"}),
            "time_bnds": (("time", "bnds"), np.stack([days[:-1], days[1:]], 1)),
        },
        coords={
            "time": ("time", (days[:-1] + days[1:]) / 2, time),
            "lat": ("lat", gcm.lat, {"units": "degrees_north"}),
            "lon": ("lon", gcm.lon, {"units": "degrees_east"}),
        },
        attrs={"source_id": "BENCH"},
    ).to_netcdf(path, engine="netcdf4")
    return str(path)


def prepare(folder: Path, months: int, degrees: int, steps: int) -> Prepared:
    """The plan of a box, and its store."""
    record, shards = (RECORD, months) if months else (1, 1)
    path = folder / f"{record}.nc"
    source = {"gcm": "BENCH", "scenario": "historical", "variant": "r1i1p1f1"}
    north, east = SOUTH + degrees, (WEST + degrees) % 360
    prepared = plan_ensemble(
        parse_config(
            {
                "prior": "demo",
                "sources": [{**source, "path": str(path) if path.exists() else write_months(
                    path, record)}],
                "region": {"lat": [SOUTH if north <= 90 else 90 - degrees, min(north, 90)],
                           "lon": [WEST, east]},
                "realizations": 1,
                "sampler": {"steps": steps},
                "tiling": {"shards_per_tile": shards},
                "engine": {"kind": "serial"},
                "output": {"path": str(folder / f"{months}-{degrees}.zarr")},
            }
        )
    )  # fmt: skip
    url = prepared.config.output.path
    create_store(url, [group_spec(prepared, group) for group in prepared.plan.groups])
    return prepared


def factory(prepared: Prepared) -> WorkerFactory:
    """What a run would make a worker from."""
    config = prepared.config
    rain = {
        path: MonthlyRain(source.rain, source.grid, source.record)
        for path, source in prepared.sources.items()
    }
    where = config.output.path
    return WorkerFactory(config.prior, rain, sampling_of(config), config.seed, where, "cpu", 1)


def work(job: WorkerFactory, tile: Tile, folder: Path) -> Row:
    """Have a process of its own work on a tile; return what it told."""
    file = folder / "work.pickle"
    file.write_bytes(pickle.dumps((job, tile)))
    ran = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.memory_worker", str(file)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    told: Row = json.loads(ran.stdout.splitlines()[-1])
    return told


def measured(folder: Path, months: int, degrees: int, steps: int) -> Row:
    """One tile, planned and worked on."""
    prepared = prepare(folder, months, degrees, steps)
    (group,) = prepared.plan.groups
    tile = group.tile(0, len(group.time_cores) // 2, 0, 0)
    planned = prepared.plan.cost().memory
    told = work(factory(prepared), tile, folder)
    ratio = int(str(told["peak"])) / planned
    return {"months": months, "degrees": degrees, "windows": tile.extent.n_windows,
            "latent": tile.extent.shape, "core": tile.core_shape, "planned": planned,
            "ratio": ratio, **told}  # fmt: skip


def shown(row: Row) -> str:
    """A row of the table."""
    peaks = row["peaks"]
    assert isinstance(peaks, dict)
    stages = " ".join(f"{peaks.get(stage, 0) / MIB:8.0f}" for stage in STAGES)
    peak, planned = (int(str(row[name])) / MIB for name in ("peak", "planned"))
    return (
        f"{row['months']!s:>6} {row['degrees']!s:>7} {row['windows']!s:>7} {stages} "
        f"{peak:8.0f} {planned:8.0f} {row['ratio']:6.2f}"
    )


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--months", type=int, nargs="+", default=(0, 1, 4, 12))
    parser.add_argument("--degrees", type=int, nargs="+", default=(32, 64))
    parser.add_argument("--steps", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    about = {"machine": machine("cpu", 1), "command": " ".join(sys.argv)}
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    print("\nPeak of a worker's resident memory by stage, and the plan's, MiB")
    print(f"months degrees windows {' '.join(f'{s:>8}' for s in STAGES)}     peak  planned  ratio")
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for degrees in options.degrees:
            for months in options.months:
                rows.append(measured(Path(folder), months, degrees, options.steps))
                print(shown(rows[-1]), flush=True)
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
