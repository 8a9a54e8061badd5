"""What the driver can do: a million tiles through Ray to workers that sample nothing.

    python tests/benchmarks/bench_driver.py [--tiles 10000 100000 1000000] [--workers 2]
        [--json driver.json]

Tiles are real ones, of a plan of 165 years on the globe in the demonstration prior's lattice;
receipts are what a worker sends; progress, measures and Ray's metrics are on. Workers answer at
once, so all seconds are the driver's and the messages'. All sizes run in one driver, one after the
other, after a first run that is not counted. Memory is resident: of the driver, the most that was
there while a size ran; of Ray's ``gcs_server``, what was there at the size's end. Before that:
what one step of the pool takes with a thousand simulated workers that are all busy, without Ray.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import ray

sys.path.insert(0, str(Path(__file__).parents[2]))

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.layout import SHARD_DAYS, Group, Layout
from longwang_ray.domain.plan import GroupPlan, Tile
from longwang_ray.engine import Measure, RayExecutor, watch
from longwang_ray.engine.jobs import JobQueue
from longwang_ray.engine.metrics import Metrics
from longwang_ray.engine.pool import Pool
from longwang_ray.engine.screens import Lines, size
from longwang_ray.prior.bundle import open_prior
from longwang_ray.run.worker import TileReport
from tests.benchmarks.bench_run import children
from tests.benchmarks.measure import MIB, machine, resident
from tests.fakes.clockwork import Clockwork, Numbered

YEARS, SHARD_CELLS = 165, (103, 160)
STAGES = ("read", "sample", "decode", "close", "encode", "put")
MEASURES = (
    Measure("bytes_written", lambda outcome: outcome.result.bytes, size),
    Measure("cells", lambda outcome: outcome.result.cells, lambda n: f"{n:.3g} cells"),
)
ASKED = {"tiles/s": 1000, "growth MiB": 50}


def plan_of(count: int) -> GroupPlan:
    """A plan of at least so many tiles."""
    record = month_record("noleap", (1850, 1), YEARS * 12)
    layout = Layout.of((record.start, record.stop), (0, 720), (0, 1440), shard_cells=SHARD_CELLS)
    group = Group("CMCC-CM2-SR5", "historical", "r1i1p1f1")
    one = GroupPlan(group, layout, record, open_prior("demo").lattice, 1)
    return GroupPlan(group, layout, record, one.lattice, -(-count // one.n_tiles))


class NoWork:
    """A worker that samples nothing and says that it has."""

    def __call__(self, tile: Tile) -> TileReport:
        shards, (days, rows, columns) = len(tile.shard_indices), tile.core_shape
        seconds = {stage: 0.123 + place for place, stage in enumerate(STAGES)}
        written = int(0.76 * shards * SHARD_DAYS * rows * columns)
        return TileReport(shards, written, 0, days * rows * columns, seconds)


class Peak(threading.Thread):
    """Looks at this process's memory four times a second."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen, self._over = 0, threading.Event()

    def run(self) -> None:
        while not self._over.wait(0.25):
            self.seen = max(self.seen, resident("VmRSS"))

    def end(self) -> int:
        self._over.set()
        self.join()
        return max(self.seen, resident("VmRSS"))


def gcs_memory() -> int:
    """Resident bytes of Ray's server, which runs below this process."""
    for process in children(os.getpid()):
        status = Path(f"/proc/{process}/status").read_text()
        if status.split(None, 2)[1].startswith("gcs_server"):
            return int(status.split("VmRSS:")[1].split()[0]) * 1024
    raise SystemExit("no gcs_server runs below this process")


def cpu_seconds() -> float:
    """Of this process, all its threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def counted(executor: RayExecutor, tiles: Iterator[Tile], count: int, log: Path) -> dict:
    """Send so many tiles through; a row of the table."""
    peak, before = Peak(), gcs_memory() if ray.is_initialized() else None
    peak.start()
    began, first, busy = time.monotonic(), None, cpu_seconds()
    with log.open("w") as stream:
        viewers = [Lines(stream, "tile", MEASURES, 1.0), Metrics(lambda report: report.seconds)]
        outcomes = watch(
            executor.map(NoWork, islice(tiles, count), count),
            count,
            measures=MEASURES,
            viewers=viewers,
            health=lambda: executor.health,
        )
        done = 0
        for outcome in outcomes:
            first = first or time.monotonic()
            done += outcome.ok
    seconds = time.monotonic() - first
    if done != count:
        raise SystemExit(f"{done} of {count} tiles came back well")
    return {
        "tiles": count,
        "tiles/s": round(count / seconds),
        "start s": round(first - began, 2),
        "driver CPU us a tile": round(1e6 * (cpu_seconds() - busy) / count, 1),
        "driver peak MiB": round(peak.end() / MIB, 1),
        "gcs before MiB": before and round(before / MIB, 1),
        "gcs after MiB": round(gcs_memory() / MIB, 1),
        "last line": deque(log.read_text().splitlines(), 1)[0],
    }


class Timed(Clockwork):
    """A simulated crew that knows how long it was listened to."""

    listened = 0.0

    def listen(self, timeout: float) -> list:
        began = time.perf_counter()
        events = super().listen(timeout)
        self.listened = time.perf_counter() - began
        return events


def step_ms(workers: int = 1000, steps: int = 1000) -> float:
    """Milliseconds that the pool thinks in a step, the median: tiles of ten minutes."""
    crew = Timed(lambda worker, item, drawn: (600 * drawn.random(), 0), count=lambda _: workers)
    pool, taken = Pool(crew, JobQueue(map(Numbered, range(10**6)), 10**6, 3)), []
    for _ in range(steps):
        began = time.perf_counter()
        deque(pool.step(1.0), 0)
        taken.append(1000 * (time.perf_counter() - began - crew.listened))
    return sorted(taken)[steps // 2]


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, nargs="+", default=[10**4, 10**5, 10**6])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    plan, rows = plan_of(max(options.tiles)), []
    facts = {
        "machine": machine("cpu", 1),
        "python": platform.python_version(),
        "ray": ray.__version__,
        "workers": options.workers,
        "tiles of the plan": plan.n_tiles,
        "load before": os.getloadavg(),
        "ms of a step, 1000 workers": round(step_ms(), 2),
    }
    log = Path(tempfile.mkdtemp()) / "lines"
    with RayExecutor(options.workers) as executor:
        counted(executor, plan.tiles(), 1000, log)
        for count in options.tiles:
            row = counted(executor, plan.tiles(), count, log)
            print("  ".join(f"{name} {value}" for name, value in row.items()), flush=True)
            rows.append(row)
    growth = rows[-1]["driver peak MiB"] - rows[0]["driver peak MiB"]
    slowest = min(row["tiles/s"] for row in rows)
    print(facts)
    print(f"driver's growth {growth:.1f} MiB, asked < {ASKED['growth MiB']}")
    print(f"slowest {slowest} tiles/s, asked >= {ASKED['tiles/s']}")
    if options.json:
        found = {**facts, "asked": ASKED, "growth MiB": round(growth, 1), "rows": rows}
        options.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
