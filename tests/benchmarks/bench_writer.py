"""What writing costs a sampler: tiles sampled alone, and sampled and written, in turn.

    python -m tests.benchmarks.bench_writer [--degrees 64] [--steps 8] [--repeats 3] [--json FILE]

A tile is a month of a box by the demonstration prior in one thread. Alone, its shards are made and
dropped; written, they go to a new store on this disk each time, through the worker that a run has.
Asked: a throughput of 0.97 of the sampler's alone. CPU time is the process's, the writer's thread
included. The error is the largest of what the store has, relative to what was sampled.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import Tile
from longwang_ray.posterior.stopwatch import Stopwatch
from longwang_ray.posterior.tile import sample_months
from longwang_ray.run.worker import TileReport, TileWorker, cut
from longwang_ray.store import open_ensemble
from tests.benchmarks.bench_memory import factory, prepare
from tests.benchmarks.measure import machine

SECONDS_A_DAY = 86400.0
Row = dict[str, Any]


def alone(worker: TileWorker, tile: Tile) -> list[np.ndarray]:
    """Sample a tile and cut it into shards."""
    job, group = worker.job, tile.group
    key = NoiseKey(job.seed, group.gcm, group.variant, tile.realization)
    monthly = job.sources[group.path]
    months = sample_months(worker.prior, tile, monthly, key, job.sampling, job.device)
    return [rain for _, rain in cut(tile, months, [], Stopwatch())]


def timed(what: str, work: Callable[[], object]) -> Row:
    """Seconds of the wall and of the process, and how busy the machine was."""
    began, spent = time.monotonic(), time.process_time()
    work()
    return {
        "what": what,
        "wall s": round(time.monotonic() - began, 2),
        "CPU s": round(time.process_time() - spent, 2),
        "load": round(os.getloadavg()[0], 2),
    }


def largest_error(url: str, path: str, tile: Tile, sampled: np.ndarray) -> float:
    """Of the rain on the store, relative to what was sampled, where that rains."""
    flux = open_ensemble(url, path).pr.isel(realization=tile.realization).to_numpy()
    there = flux[: len(sampled)] * SECONDS_A_DAY
    wet = sampled > 0
    return float((np.abs(there - sampled)[wet] / sampled[wet]).max())


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--degrees", type=int, default=64)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    rows: list[Row] = []
    for _ in range(options.repeats):
        with tempfile.TemporaryDirectory(prefix="longwang-writer-") as folder:
            prepared = prepare(Path(folder), 0, options.degrees, options.steps)
            (group,) = prepared.plan.groups
            tile, worker = group.tile(0, 0, 0, 0), factory(prepared)()
            sampled: list[np.ndarray] = []
            reports: list[TileReport] = []
            rows.append(timed("alone", lambda: sampled.extend(alone(worker, tile))))  # noqa: B023
            rows.append(timed("written", lambda: reports.append(worker(tile))))  # noqa: B023
            worker.close()
            report, rain = reports[0], np.concatenate(sampled)
            url = prepared.config.output.path
            rows[-1] |= {
                "shards": report.shards,
                "bytes a value": round(report.bytes / rain.size, 3),
                "encode s": report.seconds["encode"] / report.shards,
                "put s": report.seconds["put"] / report.shards,
                "largest error": largest_error(url, tile.group.path, tile, rain),
            }
    ratios = {
        name: round(
            median(row[name] for row in rows if row["what"] == "alone")
            / median(row[name] for row in rows if row["what"] == "written"),
            3,
        )
        for name in ("wall s", "CPU s")
    }
    about = {"machine": machine("cpu", 1), "command": " ".join(sys.argv),
             "throughput, written over alone": ratios, "asked": 0.97}  # fmt: skip
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
