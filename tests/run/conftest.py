"""Runs of eight tiles, the bytes they must come to, and commands as a shell starts them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml

from longwang_ray.run import ensemble, execute
from tests.fakes.faulty import Faults, FaultyFactory

ROOT = Path(__file__).parents[2]
PATIENCE = 120
TILES = 8


@pytest.fixture
def task(config):
    """4 realizations × 2 time shards: eight tiles."""
    return lambda name, **changes: config(name, **{"months": 2, "realizations": 4} | changes)


@pytest.fixture
def undisturbed(task, shards, whole=[]):  # noqa: B006 - computed once
    """The bytes that one process makes, one tile after the other."""
    if not whole:
        whole.append(shards(execute(task("undisturbed")).store))
    assert len(whole[0]) == TILES
    return whole[0]


def signed(store):
    """Shards that are written, with their receipt."""
    return len(list(Path(store).glob("*/*/*/pr/receipts/**/[0-9]*.json")))


def wait_for(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.02)


def descendants(pid=None):
    """Command lines of all processes below one, by process."""
    listing = subprocess.run(["ps", "-eo", "pid=,ppid=,args="], capture_output=True, text=True)
    table = [line.split(None, 2) for line in listing.stdout.splitlines()]
    parent, root = {int(row[0]): int(row[1]) for row in table}, pid or os.getpid()

    def below(process):
        while process in parent and process != root:
            process = parent[process]
        return process == root

    return {int(row[0]): row[2] for row in table if len(row) == 3 and below(int(row[0]))}


def actors(pid=None):
    """Processes below one that are Ray actors of ours."""
    return [p for p, args in descendants(pid).items() if args.startswith("ray::Host")]


@contextlib.contextmanager
def meanwhile(work):
    """Do something in a thread beside the block; its error is this one's."""
    errors = []

    def guarded():
        try:
            work()
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=guarded)
    thread.start()
    try:
        yield
    finally:
        thread.join()
    if errors:
        raise errors[0]


@pytest.fixture
def faults(monkeypatch):
    """Give the runs of this process workers that fail."""

    def install(**which):
        true = ensemble.worker_factory
        monkeypatch.setattr(
            ensemble,
            "worker_factory",
            lambda *how: FaultyFactory(true(*how), Faults(**which)),
        )

    return install


@pytest.fixture
def world():
    """The helpers of this file."""
    return SimpleNamespace(
        TILES=TILES, signed=signed, wait_for=wait_for, actors=actors, meanwhile=meanwhile
    )


@pytest.fixture
def command(task, tmp_path):
    """Start ``longwang COMMAND`` as a shell does, in a process group of its own.

    ``faults`` are those of tests.fakes.faulty; ``made`` is the run's configuration.
    """
    started = []

    def start(name="stopped", *options, faults=None, **changes):
        made = task(name, **changes)
        path = tmp_path / f"{name}-{len(started)}.yaml"
        path.write_text(yaml.safe_dump(made.model_dump(mode="json")))
        program = ["-m", "longwang_ray.cli"]
        if faults:
            program = ["-m", "tests.fakes.faulty", json.dumps(faults)]
        process = subprocess.Popen(
            [sys.executable, *program, "run", str(path), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        started.append(process)
        return process, made

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
