"""Machines of a cluster come and go while a run goes on; the bytes are the same.

Ray's nodes are real processes on this machine, and their GPUs are counted, not there.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import ray
from ray.cluster_utils import Cluster

from longwang_ray.run import ensemble, execute

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes"),
]


@pytest.fixture
def cluster(monkeypatch):
    """A cluster of one machine without room for workers; nodes of one logical GPU may be added."""
    assert not ray.is_initialized()
    made = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 0,
            "object_store_memory": 80 * 2**20,
            "include_dashboard": False,
        },
    )
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    # logical GPUs: Ray counts them, torch computes on the CPU
    monkeypatch.setattr(ensemble, "device_of", lambda _: "cuda")
    true = ensemble.worker_factory
    monkeypatch.setattr(ensemble, "worker_factory", lambda prepared, _: true(prepared, "cpu"))
    yield made
    if ray.is_initialized():
        ray.shutdown()
    made.shutdown()


def add_node(cluster):
    return cluster.add_node(num_cpus=1, num_gpus=1, object_store_memory=80 * 2**20)


def hosts(node):
    """Actors of ours on a node."""
    raylet = node.all_processes["raylet"][0].process.pid
    listing = subprocess.run(["ps", "-eo", "ppid=,args="], capture_output=True, text=True)
    rows = [line.split(None, 1) for line in listing.stdout.splitlines()]
    return [args for ppid, args in rows if int(ppid) == raylet and args.startswith("ray::Host")]


def test_a_node_is_removed_and_one_is_added(task, world, shards, undisturbed, faults, cluster):
    faults(delay=1.0)
    first = add_node(cluster)
    made = task("nodes", engine={"kind": "ray"})
    used, summaries = [], []

    def change():
        world.wait_for(lambda: world.signed(made.output.path) >= 1, "a tile")
        second = add_node(cluster)
        world.wait_for(lambda: hosts(second), "the new node to be used")
        used.append(second)
        cluster.remove_node(first, allow_graceful=False)

    with world.meanwhile(lambda: summaries.append(execute(made))):
        change()
    (summary,) = summaries
    assert used
    assert summary.complete
    assert shards(summary.store) == undisturbed


def test_a_node_gets_a_drain_notice(task, world, shards, undisturbed, faults, cluster, caplog):
    faults(delay=1.0)
    first = add_node(cluster)
    made = task("drained", engine={"kind": "ray"})
    summaries = []

    def drain():
        world.wait_for(lambda: world.signed(made.output.path) >= 2, "two tiles")
        add_node(cluster)
        give_notice(cluster.address, first.node_id)
        world.wait_for(lambda: not hosts(first), "the drained node to be left")

    with world.meanwhile(lambda: summaries.append(execute(made))):
        drain()
    (summary,) = summaries
    assert summary.complete
    assert shards(summary.store) == undisturbed
    assert "attempt" not in caplog.text, "what it worked on was finished, the rest handed back"


def give_notice(address, node):
    """Tell Ray, as an autoscaler does, that a node will be taken away in ten minutes."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import DrainNodeReason

    reason = DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    accepted, why = GcsClient(address=address).drain_node(node, reason, "spot", 2**41)
    assert accepted, why
