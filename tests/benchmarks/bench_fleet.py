"""What a thousand spot machines come to, on a simulated clock: how busy they are, what is lost.

    python tests/benchmarks/bench_fleet.py [--tiles 100000] [--json fleet.json] [--png fleet.png]

The pool that drives Ray's actors drives simulated workers here (tests/fakes/clockwork.py). Tiles
take ten minutes, more or less (lognormal); 1 % of the nodes are 3 times and 0.2 % of the tiles 5
times as slow; one put in a hundred takes minutes; a worker needs 1 … 5 minutes to start and is
taken away after 8 hours on average, four times out of five with 30 s of notice. Capacity grows to
1,000 within two hours and falls to 600 and to 800 for a while: nodes are then taken away, and
those hired in their place wait.

Utilisation until a time T is

    seconds, before T, of tiles whose result counted / seconds, before T, from workers' starts to
    their ends

where a wait for the store is not counted as work. The run is repeated without copies of late
tiles (a pool that finds nothing late) and with copies made earlier and later (pool.SLOW).
Everything is drawn from seeds: the same command gives the same figures.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import platform
import random
import sys
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from longwang_ray.engine import pool
from longwang_ray.engine.jobs import JobQueue
from tests.fakes.clockwork import NEVER, Clockwork, Numbered, Simulated

WORKERS, POLL, MARKET = 1000, 5.0, 30.0
MINUTE, HOUR = 60.0, 3600.0
TILE, SPREAD = 10 * MINUTE, 0.25
SLOW_NODES, SLOW_TILES, SLOW_PUTS = (0.01, 3.0), (0.002, 5.0), (0.01, MINUTE, 5 * MINUTE)
START, LIFE, NOTICE = (MINUTE, 5 * MINUTE), 8 * HOUR, (0.8, 30.0)
RAMP = (50, 2 * HOUR)
DIPS = ((0.45, 1 * HOUR, 600), (0.75, 0.5 * HOUR, 800))
"""Where in the work (a fraction of the ideal hours), for how long, to how many workers."""
DONE, ASKED = 0.98, 0.95
BINS = 10 * MINUTE


def room(tiles: int, seconds: float) -> int:
    """How many machines there are to be had."""
    for place, length, left in DIPS:
        begin = place * tiles * TILE / WORKERS
        if begin <= seconds < begin + length:
            return left
    return int(min(RAMP[0] + (WORKERS - RAMP[0]) * seconds / RAMP[1], WORKERS))


def tile_seconds(number: int) -> float:
    """What a tile takes on a usual node; the same whoever does it."""
    drawn = random.Random(number)
    slow = SLOW_TILES[1] if drawn.random() < SLOW_TILES[0] else 1.0
    return slow * TILE * drawn.lognormvariate(-(SPREAD**2) / 2, SPREAD)


def node_factor(worker: Simulated) -> float:
    """How much longer everything takes on a worker's node."""
    share, factor = SLOW_NODES
    return factor if random.Random(-1 - worker.number).random() < share else 1.0


@dataclass(frozen=True)
class Work:
    """What a worker did from ``begin`` to ``end``: of that it waited ``put`` s for the store."""

    tile: int
    begin: float
    end: float
    put: float
    fate: str


class Fleet(Clockwork):
    """A crew on spot machines, which writes down what everybody did.

    Args:
        tiles: How many there are to do; capacity dips at fractions of the work.
        seed: Of all that happens.
    """

    def __init__(self, tiles: int, seed: int) -> None:
        super().__init__(
            self._sample,
            count=lambda _: WORKERS,
            start=lambda drawn: drawn.uniform(*START),
            life=lambda drawn: drawn.expovariate(1 / LIFE),
            notice=lambda drawn: NOTICE[1] if drawn.random() < NOTICE[0] else 0.0,
            seed=seed,
        )
        self._tiles = tiles
        self._there: dict[Simulated, None] = {}
        self._waiting: list[Simulated] = []
        self._puts: dict[Simulated, float] = {}
        self.done: set[int] = set()
        self.works: list[Work] = []
        self.preempted = 0
        self._taken: Simulated | None = None
        self._at(0.0, self._market)

    def dismiss(self, hand: Simulated) -> None:
        if hand.alive and hand.calls:
            self._write(hand, "preempted" if hand is self._taken else "let go")
        self._there.pop(hand, None)
        super().dismiss(hand)

    def _sample(self, worker: Simulated, tile: Numbered, drawn: random.Random) -> tuple:
        share, *minutes = SLOW_PUTS
        put = drawn.uniform(*minutes) if drawn.random() < share else 0.0
        self._puts[worker] = put
        return tile_seconds(tile.number) * node_factor(worker) + put, None

    def _write(self, worker: Simulated, fate: str) -> None:
        (tile,) = worker.calls[0]
        if tile.number in self.done:
            fate = "second"
        if fate == "done":
            self.done.add(tile.number)
        put = self._puts.pop(worker)
        self.works.append(Work(tile.number, worker.since, self._clock, put, fate))

    def _begin(self, worker: Simulated) -> object:
        if worker.alive and len(self._there) >= room(self._tiles, self._clock):
            self._waiting.append(worker)
            return None
        if worker.alive:
            self._there[worker] = None
        return super()._begin(worker)

    def _take_away(self, worker: Simulated) -> object:
        self.preempted += worker.alive
        self._taken = worker
        return super()._take_away(worker)

    def _finish(self, worker: Simulated, event: object) -> object:
        if worker.alive:
            self._write(worker, "done")
        return super()._finish(worker, event)

    def _market(self) -> None:
        """Take nodes away that there is no room for; start those that wait while there is."""
        staying = [worker for worker in self._there if worker.node not in self._leaving]
        free = room(self._tiles, self._clock) - len(staying)
        for worker in self._random.sample(staying, max(-free, 0)):
            self._doom(worker, NOTICE[1])
        for _ in range(min(max(free, 0), len(self._waiting))):
            worker = self._waiting.pop(0)
            self._at(0.0, lambda worker=worker: self._begin(worker))
        self._at(MARKET, self._market)


class NothingLate(pool.Pool):
    """A pool that copies nothing."""

    def _late(self) -> list:
        return []


@dataclass(frozen=True)
class Case:
    """One run: ``slow`` is pool.SLOW; None: no copies."""

    tiles: int
    seed: int
    slow: float | None


def simulate(case: Case) -> tuple[dict, dict]:
    """Run a case to its end; a row of the table, and the curves."""
    logging.disable(logging.CRITICAL)
    pool.SLOW = case.slow or pool.SLOW
    fleet = Fleet(case.tiles, case.seed)
    queue = JobQueue(map(Numbered, range(case.tiles)), case.tiles, 3)
    engine = (pool.Pool if case.slow else NothingLate)(fleet, queue)
    came, steps, began = 0, [], time.perf_counter()
    while not engine.idle:
        start = time.perf_counter()
        came += sum(outcome.ok for outcome in engine.step(POLL))
        steps.append(time.perf_counter() - start)
    end = fleet.now()
    engine.stop()
    if came != case.tiles or len(fleet.done) != case.tiles:
        raise SystemExit(f"{came} of {case.tiles} tiles came back well")
    row = account(fleet, case) | {
        "retries": engine.health.retries,
        "hours to 100 %": round(end / HOUR, 2),
        "seconds to simulate": round(time.perf_counter() - began, 1),
        "longest step ms": round(1000 * max(steps), 1),
    }
    return row, curves(fleet, end)


def account(fleet: Fleet, case: Case) -> dict:
    """What the seconds of all workers went into, until 98 % were done and until the end."""
    works = fleet.works
    ends = np.sort([work.end for work in works if work.fate == "done"])
    until = ends[int(np.ceil(DONE * case.tiles)) - 1]
    spans = np.array([(w.started, min(w.ended, fleet.now())) for w in fleet.hired if lived(w)])
    alive, later = clipped(spans, until), clipped(spans, NEVER)
    good = [work for work in works if work.fate == "done"]
    counted = clipped(np.array([(work.begin, work.end) for work in good]), until)
    waits = clipped(np.array([(work.end - work.put, work.end) for work in good]), until)
    lost = Counter()
    for work in works:
        lost[work.fate] += work.end - work.begin
    return {
        **asdict(case),
        f"utilisation to {DONE:.0%}": round((counted - waits) / alive, 4),
        "with waits for the store": round(counted / alive, 4),
        "with starts as paid time": round((counted - waits) / (alive + starts(fleet, until)), 4),
        "lost by preemption": round(lost["preempted"] / later, 4),
        "worked on, let go": round(lost["let go"] / later, 5),
        "worked on twice": round(lost["second"] / later, 5),
        "worker-hours": round(later / HOUR, 1),
        "preemptions": fleet.preempted,
        f"hours to {DONE:.0%}": round(until / HOUR, 2),
    }


def lived(worker: Simulated) -> bool:
    """Whether it ever started."""
    return worker.started < NEVER


def starts(fleet: Fleet, until: float) -> float:
    """Seconds that machines took to start, if a start takes what it does on average."""
    return sum(worker.started < until for worker in fleet.hired) * sum(START) / 2


def clipped(spans: np.ndarray, stop: float, start: float = 0.0) -> float:
    """Seconds of all spans that lie in ``[start, stop)``."""
    return float(np.clip(np.diff(np.clip(spans, start, stop)), 0, None).sum())


def curves(fleet: Fleet, end: float) -> dict:
    """Workers, room and utilisation over time, in steps of ten minutes."""
    spans = np.array([(w.started, min(w.ended, end)) for w in fleet.hired if lived(w)])
    good = [(work.begin, work.end - work.put) for work in fleet.works if work.fate == "done"]
    edges = np.arange(0.0, end + BINS, BINS)
    alive, busy = (
        np.array([clipped(np.array(s), b, a) for a, b in pairwise(edges)]) for s in (spans, good)
    )
    return {
        "hours": np.round(edges[:-1] / HOUR, 3).tolist(),
        "workers": np.round(alive / BINS, 1).tolist(),
        "room": [room(fleet._tiles, t) for t in edges[:-1]],
        "utilisation": np.round(busy / np.maximum(alive, 1e-9), 4).tolist(),
    }


def draw(found: list[tuple[dict, dict]], path: Path) -> None:
    """Workers and utilisation over time: with copies, and at the end without."""
    mpl.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 1, figsize=(9, 6), sharex=True, layout="constrained")
    for (row, curve), colour in zip(found[:2], ("tab:blue", "tab:orange"), strict=True):
        name = f"copies after {row['slow']:g} x" if row["slow"] else "no copies"
        until = row[f"hours to {DONE:.0%}"]
        axes[0].step(curve["hours"], curve["workers"], colour, where="post", label=name)
        axes[1].step(curve["hours"], curve["utilisation"], colour, where="post", label=name)
        axes[1].axvline(until, color=colour, linestyle=":", linewidth=1)
    shown = found[1][1]
    axes[0].step(shown["hours"], shown["room"], "0.6", where="post", label="machines to be had")
    axes[1].axhline(ASKED, color="0.6", label=f"{ASKED:.0%} asked until {DONE:.0%} done (dotted)")
    axes[0].set(ylabel="workers started")
    axes[1].set(ylabel="utilisation in ten minutes", xlabel="hours", ylim=(0, 1.02))
    for axis in axes:
        axis.legend(loc="lower left")
    figure.suptitle(f"{found[0][0]['tiles']:,} tiles, {WORKERS:,} spot machines (simulated)")
    figure.savefig(path, dpi=110)


def main() -> None:
    """Print the table, write the JSON and the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    options = parser.parse_args()
    cases = [Case(options.tiles, options.seed, slow) for slow in (2.0, None, 1.5, 3.0)]
    with multiprocessing.Pool(2) as processes:
        found = processes.map(simulate, cases, chunksize=1)
    rows = [row for row, _ in found]
    for name in rows[0]:
        print(f"{name:26}", *(f"{row[name]!s:>10}" for row in rows))
    first, second = rows[:2]
    spared = second["hours to 100 %"] - first["hours to 100 %"]
    extra = first["worker-hours"] - second["worker-hours"]
    print(f"copies: {spared:.2f} h sooner for {extra:+.0f} worker-hours")
    reached = first[f"utilisation to {DONE:.0%}"]
    print(f"utilisation {reached:.2%}, asked >= {ASKED:.0%}")
    if options.png:
        draw(found, options.png)
    if options.json:
        facts = {
            "machine": f"simulated; on {platform.machine()}, {os.cpu_count()} cores",
            "python": platform.python_version(),
            "workers": WORKERS,
            "asked": ASKED,
            "curves": "of the first row",
        }
        written = {**facts, "rows": rows, **found[0][1], "without copies": found[1][1]}
        options.json.write_text(json.dumps(written, indent=1) + "\n")


if __name__ == "__main__":
    main()
