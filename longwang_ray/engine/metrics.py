"""A run as Prometheus metrics, through the exporter that every Ray node has.

    longwang_tiles_done_total, longwang_tiles_failed_total, longwang_retries_total,
    longwang_bytes_written_total, longwang_tile_seconds{stage}, longwang_queue_depth,
    longwang_workers_alive, longwang_workers_wanted

Recorded by the driver from the outcomes, so there is one series each, however many workers come
and go; Ray puts ``ray_`` before the names. Ray exports only where its agent runs, which
``pip install 'ray[default]'`` has and plain ``ray`` has not; without it nothing is said or lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util.metrics import Counter, Gauge, Histogram

from longwang_ray.engine.executor import Outcome, logger
from longwang_ray.engine.meter import Snapshot
from longwang_ray.engine.screens import Viewer

SECONDS = [digit * 10.0**power for power in range(-2, 4) for digit in (1, 2, 5)]
"""Bounds of the histogram; its sum is as exact as these, since Ray adds up their midpoints."""
_MOST = 10_000
"""Tiles whose seconds may wait to be recorded."""
COUNTED = {
    "longwang_tiles_done_total": "tiles done",
    "longwang_tiles_failed_total": "tiles given up",
    "longwang_retries_total": "attempts that had to be repeated",
    "longwang_bytes_written_total": "bytes written to the store",
}
GAUGED = {
    "longwang_queue_depth": "tiles that no worker works on",
    "longwang_workers_alive": "workers that have started",
    "longwang_workers_wanted": "workers that the work left asks for",
}


class Metrics(Viewer):
    """Records a run; see the module for what.

    Args:
        stages: Seconds by stage of a result.
    """

    every = 5.0

    def __init__(self, stages: Callable[[Any], Mapping[str, float]]) -> None:
        self._stages = stages
        self._took: deque[Mapping[str, float]] = deque(maxlen=_MOST)
        self._counted = dict.fromkeys(COUNTED, 0.0)
        self._instruments: _Instruments | None = None

    def add(self, outcome: Outcome[Any]) -> None:
        """Remember how long one took; it is recorded with the next look."""
        if outcome.ok:
            self._took.append(self._stages(outcome.result))

    def show(self, shot: Snapshot, final: bool) -> None:
        """Record what is new since the last look."""
        if not ray.is_initialized():
            return
        if self._instruments is None:
            self._instruments = _Instruments()
            _say_where()
        self._instruments.count(self._new(shot))
        self._instruments.gauge(shot)
        while self._took:
            self._instruments.observe(self._took.popleft())

    def _new(self, shot: Snapshot) -> dict[str, float]:
        counts = (
            shot.done - shot.already,
            shot.failed,
            shot.retried,
            shot.amounts.get("bytes_written", 0.0),
        )
        now = dict(zip(COUNTED, counts, strict=True))
        new = {name: count - self._counted[name] for name, count in now.items()}
        self._counted = now
        return new


class _Instruments:
    """Ray's own; made once Ray is there."""

    def __init__(self) -> None:
        self._counters = {name: Counter(name, text) for name, text in COUNTED.items()}
        self._gauges = {name: Gauge(name, text) for name, text in GAUGED.items()}
        about = "seconds of a tile by stage; encode and put pass beside the others"
        self._seconds = Histogram(
            "longwang_tile_seconds", about, boundaries=SECONDS, tag_keys=("stage",)
        )

    def count(self, new: Mapping[str, float]) -> None:
        for name, value in new.items():
            if value > 0:
                self._counters[name].inc(value)

    def gauge(self, shot: Snapshot) -> None:
        for name, value in zip(GAUGED, (shot.waiting, shot.alive, shot.wanted), strict=True):
            if value is not None:
                self._gauges[name].set(value)

    def observe(self, seconds: Mapping[str, float]) -> None:
        for stage, took in seconds.items():
            self._seconds.observe(took, {"stage": stage})


def exporter() -> str | None:
    """Where this machine's Ray shows its metrics; None: nowhere, its agent is not installed."""
    here = ray.get_runtime_context().get_node_id()
    for node in ray.nodes():  # type: ignore[no-untyped-call]
        if node["NodeID"] == here and node["MetricsExportPort"] > 0:
            return f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics"
    return None


def _say_where() -> None:
    where = exporter()
    if where is not None:
        logger.info("metrics for Prometheus: %s", where)
