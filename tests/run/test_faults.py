"""Many workers, a worker killed, a run stopped and taken up again: always the same bytes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import yaml

from longwang_ray import run_ensemble
from longwang_ray.store import verify

ray = pytest.importorskip("ray")
pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="no signals there")

ROOT = Path(__file__).parents[2]
PATIENCE = 120
TILES = 8


@pytest.fixture
def task(config):
    """4 realizations × 2 time shards: eight tiles."""
    return lambda name, **changes: config(name, months=2, realizations=4, **changes)


@pytest.fixture
def undisturbed(task, shards, whole=[]):  # noqa: B006 - computed once
    """The bytes that one process makes, one tile after the other."""
    if not whole:
        whole.append(shards(run_ensemble(task("undisturbed")).store))
    assert len(whole[0]) == TILES
    return whole[0]


@pytest.fixture(scope="module")
def cluster():
    """A Ray that several tests share."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


def signed(store):
    """Shards that are written, with their receipt."""
    return len(list(Path(store).glob("*/*/*/pr/receipts/?.*.json")))


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def actors():
    """Processes of this one's descendants that are Ray actors of ours."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
    table = [line.split(None, 2) for line in listing.stdout.splitlines()]
    parent = {int(pid): int(ppid) for pid, ppid, *_ in table}

    def ours(pid):
        while pid in parent and pid != os.getpid():
            pid = parent[pid]
        return pid == os.getpid()

    return [int(pid) for pid, _, args in table if args.startswith("ray::Host") and ours(int(pid))]


def test_one_worker_gives_the_bytes_of_the_plain_loop(task, shards, undisturbed, cluster):
    made = task("one", engine={"kind": "ray", "workers": 1})
    assert run_ensemble(made).complete
    assert shards(made.output.path) == undisturbed


def test_kill_9_of_an_actor_in_mid_run(task, shards, undisturbed, cluster):
    """Two workers; one is killed when two tiles are there: the run ends well, same bytes."""
    made = task("killed", engine={"kind": "ray", "workers": 2})
    killed = []

    def kill():
        wait_for(lambda: signed(made.output.path) >= 2, "two tiles")
        killed.append(actors()[0])
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    summary = run_ensemble(made)
    killer.join()
    assert killed
    assert summary.complete
    assert summary.tiles == TILES
    assert shards(summary.store) == undisturbed


@pytest.fixture
def command(task, tmp_path):
    """Start ``longwang run`` as a shell does: in a process group of its own."""
    started = []

    def start(**changes):
        made = task("stopped", **changes)
        path = tmp_path / "run.yaml"
        path.write_text(yaml.safe_dump(made.model_dump(mode="json")))
        process = subprocess.Popen(
            [sys.executable, "-m", "longwang_ray.cli", "run", str(path)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process, made

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()


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
def test_stopped_and_run_again(command, task, shards, undisturbed, kind, number, code):
    process, made = command(engine={"kind": kind, "workers": 1})
    wait_for(lambda: signed(made.output.path) or process.poll() is not None, "a tile")
    returned, err = stopped(process, number)
    assert returned == code, err
    last = err.strip().splitlines()[-1]
    assert last == (
        f"longwang run: stopped by {number.name}: what is written stays, and the same command "
        "samples the rest"
    )
    written = shards(made.output.path)
    there = signed(made.output.path)
    assert 1 <= there < TILES
    again = run_ensemble(task("stopped"))
    assert again.complete
    assert (again.already, again.tiles) == (there, TILES - there)
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
