"""Metrics as Prometheus reads them from Ray's exporter; and silence where there is none."""

from __future__ import annotations

import importlib.util
import logging
import re
import sys
import time
import urllib.request
from dataclasses import dataclass

import pytest

ray = pytest.importorskip("ray")

from longwang_ray.engine import Measure, Outcome, RayExecutor, Snapshot, watch  # noqa: E402
from longwang_ray.engine.metrics import COUNTED, GAUGED, Metrics, exporter  # noqa: E402

ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
PATIENCE = 60
WRITTEN = Measure("bytes_written", lambda outcome: 100.0, str)


@dataclass(frozen=True)
class Item:
    key: str


def quick():
    def work(item):
        if item.key == "t3":
            raise ValueError("poison")
        return {"read": 0.04, "put": 30.0}

    return work


def metrics():
    return Metrics(lambda result: result)


def test_without_ray_nothing_happens(caplog):
    caplog.set_level(logging.DEBUG)
    assert not ray.is_initialized()
    shown = metrics()
    shown.add(Outcome("k", {"read": 1.0}, None, 1, 1.0))
    shown.show(Snapshot(done=1), True)
    assert not caplog.records


@pytest.fixture(scope="module")
def cluster():
    """A Ray of two nodes, as a driver finds it elsewhere."""
    from ray.cluster_utils import Cluster

    made = Cluster()
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20, include_dashboard=False)
    made.add_node(num_cpus=1, object_store_memory=80 * 2**20)
    yield made
    made.shutdown()


def read(url):
    """The values of our metrics, by name and stage; histograms by sum and count."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found = re.findall(r"^ray_(longwang_\w+)\{([^}]*)\} (\S+)$", text, re.MULTILINE)
    values = {}
    for name, tags, value in found:
        if not name.endswith("_bucket"):
            stage = re.search(r'stage="(\w+)"', tags)
            values[name, stage[1] if stage else None] = float(value)
            assert "t1" not in tags
    return values


@pytest.mark.cluster
@pytest.mark.skipif(
    importlib.util.find_spec("opencensus") is None, reason="needs ray[default]'s exporter"
)
def test_a_run_on_a_cluster_is_exported(cluster):
    shown = metrics()
    items = [Item(f"t{n}") for n in range(8)]
    with RayExecutor(workers=2, address=cluster.address) as executor:
        outcomes = executor.map(quick, items, total=8)
        passed = watch(
            outcomes, 9, already=1, viewers=[shown], measures=[WRITTEN],
            health=lambda: executor.health,
        )  # fmt: skip
        assert len(list(passed)) == 8
        url = exporter()
        assert url is not None
        wanted = {(name, None) for name in (*COUNTED, *GAUGED)}
        wanted |= {("longwang_tile_seconds_count", stage) for stage in ("read", "put")}
        end, found = time.monotonic() + PATIENCE, {}
        while not wanted <= found.keys():
            assert time.monotonic() < end, wanted - found.keys()
            time.sleep(0.5)
            found = read(url)
    assert {name: found[name, None] for name in COUNTED} == {
        "longwang_tiles_done_total": 7,
        "longwang_tiles_failed_total": 1,
        "longwang_retries_total": 2,
        "longwang_bytes_written_total": 700,
    }
    assert found["longwang_tile_seconds_count", "read"] == 7
    assert found["longwang_tile_seconds_sum", "put"] == pytest.approx(7 * 30, rel=0.3)
    assert found["longwang_queue_depth", None] <= 1, "as of the last look"


@pytest.mark.skipif(
    importlib.util.find_spec("opencensus") is not None, reason="ray[default] is installed"
)
def test_without_an_exporter_nothing_is_said_and_little_lost(caplog):
    caplog.set_level(logging.INFO)
    with RayExecutor(workers=1) as executor:
        shown = metrics()
        list(watch(executor.map(quick, [Item("t1")], total=1), 1, viewers=[shown]))
        assert exporter() is None
        assert not caplog.records
        began = time.perf_counter()
        for n in range(1000):
            shown.add(Outcome(f"t{n}", dict.fromkeys("abcdef", 1.0), None, 1, 1.0))
        shown.show(Snapshot(done=1001), False)
        assert time.perf_counter() - began < 1
