"""Many workers, a worker killed, a run stopped and taken up again: always the same bytes."""

from __future__ import annotations

import os
import signal
import sys
import time

import pytest

from longwang_ray.run import execute
from longwang_ray.store import verify

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals there")

PATIENCE = 120


@pytest.fixture(scope="module")
def cluster():
    """A Ray that several tests share."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


def test_one_worker_gives_the_bytes_of_the_plain_loop(task, shards, undisturbed, cluster):
    made = task("one", engine={"kind": "ray", "workers": 1})
    assert execute(made).complete
    assert shards(made.output.path) == undisturbed


def stopped(process, number):
    """Signal the whole group, as a terminal does; return the code and the error stream."""
    os.killpg(process.pid, number)
    _, err = process.communicate(timeout=PATIENCE)
    assert "Traceback" not in err, err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)  # nobody is left
    return process.returncode, err


@pytest.mark.parametrize(
    ("kind", "number", "code"),
    [("ray", signal.SIGINT, 130), ("serial", signal.SIGTERM, 143)],
    ids=["Ctrl-C with Ray", "SIGTERM without"],
)
def test_stopped_and_run_again(command, world, task, shards, undisturbed, kind, number, code):
    process, made = command(engine={"kind": kind, "workers": 1})
    world.wait_for(lambda: world.signed(made.output.path) or process.poll() is not None, "a tile")
    returned, err = stopped(process, number)
    assert returned == code, err
    last = err.strip().splitlines()[-1]
    assert last == (
        f"longwang run: stopped by {number.name}: what is written stays, and the same command "
        "samples the rest"
    )
    written = shards(made.output.path)
    there = world.signed(made.output.path)
    assert 1 <= there < world.TILES
    again = execute(task("stopped"))
    assert again.complete
    assert (again.already, again.tiles) == (there, world.TILES - there)
    after = shards(made.output.path)
    assert after == undisturbed
    assert {key: after[key] for key in written} == written
    assert verify(made.output.path).ok


def test_ctrl_c_while_ray_starts(command):
    process, _ = command(engine={"kind": "ray", "workers": 1})
    assert "created" in process.stderr.readline()
    time.sleep(0.5)
    code, err = stopped(process, signal.SIGINT)
    assert code == 130, err
    assert err.strip().splitlines()[-1].startswith("longwang run: stopped by SIGINT")
