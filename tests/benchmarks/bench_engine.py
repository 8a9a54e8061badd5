"""What the engine costs real sampling: one worker against a bare loop, two workers against one.

    python tests/benchmarks/bench_engine.py [--tiles 12] [--steps 2] [--repeats 3]
        [--json engine.json]

Tiles are those of configs/quickstart.yaml (the demonstration prior, a synthetic month), of a
quarter of its region and without halos, one a realization. Every run is a process of its own with
a store of its own; a worker computes with one thread. The kinds take turns and each one's fastest
run is told, because others use the machine as well:

    loop       SerialExecutor, in the process itself
    one, two   RayExecutor with one worker, with two
    apart      two loops at the same time, each with half of the tiles: what two cores can give

``tiles/s`` is counted from the first outcome to the last (the first is not counted); of two
workers, whose first outcomes come at the same time, and of ``apart`` likewise: from the second.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import ray
import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from longwang_ray.config import load_config
from longwang_ray.engine import RayExecutor, SerialExecutor
from longwang_ray.run.ensemble import worker_factory
from longwang_ray.run.planning import plan_ensemble
from longwang_ray.run.recipe import group_spec
from longwang_ray.store import create_store
from tests.benchmarks.measure import machine

CONFIG = Path(__file__).parents[2] / "configs" / "quickstart.yaml"
SMALL = ["region.lat=[34.25,50.25]", "region.lon=[340,356]", "tiling.halo_strides=0"]
WORKERS = {"loop": 1, "one": 1, "two": 2, "apart": 2}
ASKED = {"one / loop": 0.97, "two / one": 1.6}


def sample(kind: str, tiles: int, steps: int, store: str) -> None:
    """Sample so many tiles in this process; print when it began and when each was finished."""
    began = time.time()
    torch.set_num_threads(1)
    asked = [f"realizations={tiles}", f"sampler.steps={steps}", f"output.path={store}"]
    prepared = plan_ensemble(load_config(CONFIG, [*SMALL, *asked, "engine.threads=1"]))
    create_store(store, [group_spec(prepared, group) for group in prepared.plan.groups])
    (group,) = prepared.plan.groups
    factory, count = worker_factory(prepared, "cpu"), group.n_tiles
    ready, ends = time.time(), []
    executor = SerialExecutor() if kind == "loop" else RayExecutor(WORKERS[kind], threads=1)
    for outcome in executor.map(factory, group.tiles(), count):
        if not outcome.ok:
            raise SystemExit(outcome.error)
        ends.append(time.time())
    if isinstance(executor, RayExecutor):
        executor.close()
    print(json.dumps({"began": began, "ready": ready, "ends": ends}))


def start(kind: str, tiles: int, steps: int, folder: str) -> subprocess.Popen:
    """Begin a run in a process of its own."""
    store = tempfile.mkdtemp(dir=folder) + "/out.zarr"
    command = [sys.executable, __file__, "--sample", kind, store]
    command += ["--tiles", str(tiles), "--steps", str(steps)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment, text=True)


def timed(kind: str, tiles: int, steps: int) -> dict:
    """Run a kind once; its rate, without and with what comes before the first outcome."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        halves = [tiles // 2] * 2 if kind == "apart" else [tiles]
        name = "loop" if kind == "apart" else kind
        processes = [start(name, some, steps, folder) for some in halves]
        told = [process.communicate()[0] for process in processes]
        if any(process.returncode for process in processes):
            raise SystemExit(f"{kind}: a run failed")
    found = [json.loads(text.splitlines()[-1]) for text in told]
    ends, skipped = sorted(end for one in found for end in one["ends"]), WORKERS[kind]
    first = min(one["ready"] for one in found)
    return {
        "kind": kind,
        "tiles": len(ends),
        "tiles/s": (len(ends) - skipped) / (ends[-1] - ends[skipped - 1]),
        "with the start": len(ends) / (ends[-1] - first),
        "first after s": ends[0] - first,
        "load before": load,
    }


def compared(rows: list[dict]) -> dict[str, float]:
    """The ratios of the fastest runs."""
    best = {
        (kind, what): max(row[what] for row in rows if row["kind"] == kind)
        for kind in WORKERS
        for what in ("tiles/s", "with the start")
    }
    pairs = {"one / loop": ("one", "loop"), "two / one": ("two", "one")}
    pairs["apart / loop"] = ("apart", "loop")
    ratios = {name: best[a, "tiles/s"] / best[b, "tiles/s"] for name, (a, b) in pairs.items()}
    started = best["one", "with the start"] / best["loop", "with the start"]
    return {**ratios, "one / loop with the start": started}


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=12)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--sample", nargs=2, metavar=("KIND", "STORE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.sample:
        kind, store = options.sample
        sample(kind, options.tiles, options.steps, store)
        return
    rows = []
    for _ in range(options.repeats):
        for kind in WORKERS:
            rows.append(timed(kind, options.tiles, options.steps))
            words = (
                f"{k} {v:.3f}" if isinstance(v, float) else str(v) for k, v in rows[-1].items()
            )
            print("  ".join(words), flush=True)
    ratios = compared(rows)
    for name, ratio in ratios.items():
        print(f"{name:26} {ratio:.3f}", f"asked >= {ASKED[name]}" if name in ASKED else "")
    if options.json:
        facts = {
            "machine": machine("cpu", 1),
            "python": platform.python_version(),
            "ray": ray.__version__,
            "steps": options.steps,
        }
        found = {**facts, "asked": ASKED, "ratios": ratios, "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
