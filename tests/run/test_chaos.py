"""Real processes under faults: a run ends well, or says why it can't; the bytes are the same.

One test for each fault; the bytes are those of an undisturbed run in one process.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from longwang_ray.cli import main
from longwang_ray.run import ensemble, execute
from longwang_ray.store import verify
from tests.fakes.gcs import FakeGcs, Fault

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="signals, /proc, tmpfs"),
]
GROUP = "TEST/historical/r1i1p1f1"
TWO = {"kind": "ray", "workers": 2}
ONE = {"kind": "ray", "workers": 1}
SERIAL = {"kind": "serial"}
ENDS = 300
"""Seconds that a command may take."""


@pytest.fixture(scope="module")
def local():
    """A Ray on this machine that several tests share."""
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", log_to_driver=False)
    yield
    ray.shutdown()


def output(process):
    """What a command printed, once it has ended."""
    out, err = process.communicate(timeout=ENDS)
    assert "Traceback" not in err, err
    return process.returncode, out, err


# --- workers ------------------------------------------------------------------------------------


@pytest.mark.parametrize("many", [False, True], ids=["one", "all at once"])
def test_kill_9_of_actors(task, world, shards, undisturbed, faults, local, many):
    faults(delay=0.3)
    made = task("killed", engine=TWO)
    killed = []

    def kill():
        world.wait_for(lambda: world.signed(made.output.path) >= 2, "two tiles")
        killed.extend(world.actors() if many else world.actors()[:1])
        for process in killed:
            os.kill(process, signal.SIGKILL)

    with world.meanwhile(kill):
        summary = execute(made)
    assert len(killed) == (2 if many else 1)
    assert summary.complete
    assert summary.tiles == world.TILES
    assert shards(summary.store) == undisturbed


def test_a_worker_that_raises(task, world, shards, undisturbed, faults, local, tmp_path, caplog):
    faults(raises=("r1.t0", "r3.t1"), once=str(tmp_path))
    summary = execute(task("raised", engine=TWO))
    assert summary.complete
    assert shards(summary.store) == undisturbed
    told = [r.message for r in caplog.records if "attempt 1 failed" in r.message]
    assert len(told) == 2
    assert all("OSError: a hiccup of the network" in line for line in told)


def test_a_tile_that_kills_its_worker_each_time(command, world, task, shards, undisturbed, capsys):
    process, made = command("poison", faults={"kill": ["r1.t0"]}, engine=TWO)
    code, out, err = output(process)
    assert code == 3, err
    key = "TEST~historical~r1i1p1f1~r1.t0-0.y0.x0"
    assert f"{key} was given up: its worker died" in out
    assert "not complete: 1 tiles are missing; the same command tries them again" in out
    assert err.count(f"{key}: attempt") == 2
    assert err.count(f"{key}: given up after 3 attempts") == 1
    left = shards(made.output.path)
    assert len(left) == world.TILES - 1
    assert all(undisturbed[name] == data for name, data in left.items())
    assert main(["status", made.output.path]) == 0
    said = capsys.readouterr().out
    assert key in said
    assert "incomplete" in said
    summary = execute(task("poison", engine=SERIAL))  # … without the poison
    assert (summary.complete, summary.tiles, summary.already) == (True, 1, world.TILES - 1)
    assert shards(made.output.path) == undisturbed
    main(["status", made.output.path])
    assert key not in capsys.readouterr().out


def test_a_tile_that_hangs(task, shards, undisturbed, faults, local, tmp_path, caplog):
    faults(hang=("r2.t0",), once=str(tmp_path))
    summary = execute(task("hung", engine={**ONE, "tile_timeout": 4.0}))
    assert summary.complete
    assert shards(summary.store) == undisturbed
    assert "no answer within the deadline of 4 s" in caplog.text


def test_out_of_memory(command, task, world, shards, undisturbed):
    """What was foreseen and what to change is said once for the tile; nothing is made smaller."""
    process, made = command("starved", faults={"memory": ["r0.t1"]}, engine=ONE)
    code, out, err = output(process)
    assert code == 3, err
    (line,) = [line for line in out.splitlines() if "was given up" in line]
    assert "the plan foresaw" in line
    assert "GiB" in line
    assert "lower tiling.shards_per_tile" in line
    left = shards(made.output.path)
    assert len(left) == world.TILES - 1
    assert all(undisturbed[name] == data for name, data in left.items())


# --- the driver ---------------------------------------------------------------------------------


def test_kill_9_of_the_driver_then_the_same_command(command, world, shards, undisturbed, task):
    process, made = command("orphan", faults={"delay": 0.4}, engine=TWO)
    path = made.output.path
    world.wait_for(lambda: world.signed(path) >= 2 or process.poll() is not None, "two tiles")
    workers = world.actors(process.pid)
    assert workers
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    world.wait_for(lambda: not any(map(alive, workers)), "the workers to go with their driver")
    before = shards(path)
    assert 2 <= len(before) < world.TILES
    assert main(["verify", path]) in (0, 1)
    code, out, err = output(command("orphan", engine=TWO)[0])
    assert code == 0, err
    assert f"{world.TILES - len(before)} tiles sampled" in out
    assert f"{len(before)} were there before" in out
    assert shards(path) == undisturbed
    assert verify(path).ok


def alive(process):
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_a_signal_then_the_same_command(command, world, shards, undisturbed, task, number):
    process, made = command("stopped", faults={"delay": 0.4}, engine=TWO)
    path = made.output.path
    world.wait_for(lambda: world.signed(path) >= 2 or process.poll() is not None, "two tiles")
    os.kill(process.pid, number)
    code, _, err = output(process)
    assert code == 128 + number, err
    assert "what is written stays" in err
    found = verify(path)
    assert not [p for p in found.problems if p.what != "missing"], "no torn object"
    before = shards(path)
    assert all(undisturbed[name] == data for name, data in before.items())
    summary = execute(task("stopped", engine=SERIAL))
    assert summary.tiles == world.TILES - summary.already
    assert shards(path) == undisturbed


def test_two_drivers_on_one_store(command, world, shards, undisturbed):
    """Harmless: the first object stays, and the other's are the same bytes."""
    slow = {"faults": {"delay": 0.3}, "engine": ONE}
    first, made = command("shared", **slow)
    second, _ = command("shared", **slow)
    for process in (first, second):
        code, out, err = output(process)
        assert code == 0, err
        assert "months differ" in out
    assert shards(made.output.path) == undisturbed
    found = verify(made.output.path)
    assert found.ok
    assert found.rejected == 0


def test_another_recipe_is_refused(task, shards):
    made = task("recipe", engine=SERIAL)
    execute(made)
    before = shards(made.output.path)
    with pytest.raises(ensemble.StoreError) as refused:
        execute(task("recipe", engine=SERIAL, seed=5, sampler={"steps": 2}))
    said = str(refused.value)
    assert "recipe.noise.seed: the store has 0, now 5" in said
    assert "recipe.sampler.steps: the store has 1, now 2" in said
    assert shards(made.output.path) == before


def test_more_of_everything_on_a_finished_store(task, write_months, shards, world, tmp_path):
    few = task("more", months=3, realizations=1, period=["2000-01", "2000-01"], engine=SERIAL)
    before = shards(execute(few).store)
    historical = few.sources[0].model_dump()
    other = write_months(tmp_path / "other.nc", months=3, seed=3)
    sources = [
        historical,
        {**historical, "scenario": "ssp585", "path": other},
        {**historical, "gcm": "OTHER", "path": other},
    ]
    summary = execute(task("more", months=3, realizations=2, sources=sources, engine=TWO))
    after = shards(summary.store)
    assert summary.already == len(before) == 1
    assert summary.tiles == len(after) - 1
    assert {key: after[key] for key in before} == before
    assert {key.rsplit("/pr/")[0] for key in after} == {
        GROUP,
        "TEST/ssp585/r1i1p1f1",
        "OTHER/historical/r1i1p1f1",
    }


# --- the store ----------------------------------------------------------------------------------


def harm(path, how):
    if how == "deleted":
        path.unlink()
    elif how == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    else:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 255
        path.write_bytes(bytes(data))


@pytest.mark.parametrize("how", ["corrupted", "truncated", "deleted"])
def test_a_shard_is_harmed(command, world, task, shards, undisturbed, capsys, how):
    made = task("harmed", engine=SERIAL)
    execute(made)
    path = Path(made.output.path)
    shard = path / GROUP / "pr/c/2/1/0/0"
    harm(shard, how)
    receipts = {p: p.stat().st_mtime_ns for p in path.rglob("receipts/**/*.json")}
    assert main(["verify", made.output.path]) == 1
    (line,) = [x for x in capsys.readouterr().out.splitlines() if x.startswith("problem: ")]
    assert f"{GROUP}/pr/c/2/1/0/0" in line
    code, out, err = output(command("harmed", "--repair", engine=SERIAL)[0])
    assert code == 0, err
    assert "1 tiles sampled" in out
    assert shards(path) == undisturbed
    assert main(["verify", made.output.path]) == 0
    same = {p for p, when in receipts.items() if p.exists() and p.stat().st_mtime_ns == when}
    assert len(same) >= world.TILES - 1, "nothing else was written again"


@contextlib.contextmanager
def small_disk(folder, *options):
    """A real file system of a megabyte."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", ",".join(["size=1m", *options]), "tmpfs", str(folder)],
        capture_output=True,
    )
    if mounted.returncode:
        pytest.skip("may not mount a file system here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_fills_up_in_mid_run(command, world, shards, undisturbed, tmp_path, task):
    with small_disk(tmp_path / "disk") as disk:
        where = {"output": {"path": str(disk / "out.zarr")}, "engine": TWO}
        process, made = command("full", faults={"delay": 0.5}, **where)
        path = made.output.path
        world.wait_for(lambda: world.signed(path) >= 2 or process.poll() is not None, "two tiles")
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        fill = disk / "other-peoples-data"
        fill.write_bytes(b"\0" * free)
        code, _, err = output(process)
        assert code == 1, err
        assert "No space left on device" in err
        assert str(disk) in err
        assert not [p for p in verify(path).problems if p.what != "missing"], (
            "what is there is safe"
        )
        fill.unlink()
        summary = execute(task("full", **where | {"engine": SERIAL}))
        assert summary.complete
        assert 2 <= summary.already < world.TILES
        assert shards(path) == undisturbed


def test_a_disk_too_small_is_refused_before_anything_is_sampled(command, tmp_path):
    with small_disk(tmp_path / "disk") as disk:
        (disk / "other-peoples-data").write_bytes(b"\0" * (2**20 - 600 * 1024))
        where = {"output": {"path": str(disk / "out.zarr")}, "engine": SERIAL}
        process, _ = command("small", region=None, **where)
        code, _, err = output(process)
    assert code == 1
    assert "output.path" in err
    assert "the disk has" in err
    assert "free" in err
    assert "tiles/" not in err, "nothing was begun"


def test_a_disk_that_is_read_only(command, tmp_path):
    with small_disk(tmp_path / "disk", "ro") as disk:
        where = {"output": {"path": str(disk / "out.zarr")}, "engine": SERIAL}
        code, _, err = output(command("ro", **where)[0])
    assert code == 1
    assert "output.path" in err
    assert "ead-only" in err


@pytest.fixture
def gcs(monkeypatch):
    """An in-process Google Cloud Storage with one bucket, which may be told to fail."""
    with FakeGcs() as server:
        server.buckets["bucket"] = {}
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", server.url)
        yield server


def in_bucket(gcs):
    """The shards of a bucket, by their key below the store."""
    found = gcs.buckets["bucket"].items()
    return {k.split(".zarr/")[1]: stored.content for k, stored in found if "/pr/c/" in k}


def test_a_run_into_a_bucket_with_faults(command, undisturbed, gcs):
    """Refusals, cut lines, and answers lost after the write landed: counted done, same bytes."""
    puts = "POST .*upload"
    gcs.faults = [
        Fault(match=puts, after=True, drop=True, chance=0.1),
        Fault(match=puts, status=503, chance=0.05),
        Fault(match="GET", status=429, chance=0.05),
        Fault(match="GET", drop=True, chance=0.03),
    ]
    where = {"output": {"path": "gs://bucket/out.zarr"}, "engine": TWO}
    process, made = command("cloud", faults={"delay": 0.1}, **where)
    code, _, err = output(process)
    assert code == 0, err
    assert "retried" not in err, "no tile is sampled twice for it"
    assert in_bucket(gcs) == undisturbed
    gcs.faults = []
    found = verify(made.output.path)
    assert found.ok, found.problems
    assert found.rejected == 0


@pytest.mark.parametrize(
    ("status", "words"),
    [(401, "credentials"), (403, "access is refused"), (None, "no such bucket")],
)
def test_a_bucket_that_refuses_is_told_before_anything_is_sampled(command, gcs, status, words):
    if status is None:
        gcs.buckets.clear()
    else:
        gcs.faults = [Fault(match="(POST|GET)", status=status)]
    where = {"output": {"path": "gs://bucket/out.zarr"}, "engine": SERIAL}
    code, _, err = output(command("refused", **where)[0])
    assert code == 1
    assert "output.path: gs://bucket/out.zarr" in err
    assert words in err.lower()
    assert "tiles/" not in err, "nothing was begun"
    assert "fault of ours" not in err


def test_a_bucket_that_fills_up_in_mid_run(command, world, undisturbed, gcs, task):
    """Its quota is used up: the run stops with what is safe there."""
    where = {"output": {"path": "gs://bucket/out.zarr"}, "engine": ONE}
    process, _ = command("quota", faults={"delay": 0.4}, **where)
    world.wait_for(lambda: len(in_bucket(gcs)) >= 2 or process.poll() is not None, "two tiles")
    gcs.faults = [Fault(match="POST .*upload", status=403)]
    code, _, err = output(process)
    assert code == 1, err
    assert "output.path: gs://bucket/out.zarr" in err
    assert "given up" not in err, "that is no fault of the tile"
    before = in_bucket(gcs)
    gcs.faults = []
    summary = execute(task("quota", **where | {"engine": SERIAL}))
    assert summary.already == len(before)
    assert in_bucket(gcs) == undisturbed
