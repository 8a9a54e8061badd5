"""The Ray executor under faults: kill -9, raising, poison, hanging, Ctrl-C."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from longwang_ray.engine import EngineError, RayExecutor, SerialExecutor, StopRun

cloudpickle = pytest.importorskip("ray.cloudpickle")
cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Tile:
    number: int
    folder: str

    @property
    def key(self) -> str:
        return f"t{self.number:03d}"


def tiles(folder, count):
    return [Tile(number, str(folder)) for number in range(count)]


def once(tile, name):
    """Return True the first time that anybody asks, in whatever process."""
    try:
        (Path(tile.folder) / f"{tile.key}.{name}").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


@pytest.fixture(scope="module")
def executor():
    with RayExecutor(workers=2, deadline=60) as executor:
        list(executor.map(squarer, [Tile(0, "")]))
        yield executor


def squarer():
    return lambda tile: tile.number**2


def results(outcomes):
    return {outcome.key: outcome.result for outcome in outcomes}


def test_ray_and_the_plain_loop_give_the_same(executor, tmp_path):
    work = tiles(tmp_path, 20)
    ours = list(executor.map(squarer, work, total=20))
    assert len(ours) == 20
    assert results(ours) == results(SerialExecutor().map(squarer, work))


def test_more_items_than_were_announced(executor, tmp_path):
    assert len(list(executor.map(squarer, tiles(tmp_path, 7), total=2))) == 7


def test_workers_have_one_thread_from_the_start(executor, tmp_path):
    def reader():
        threads = os.environ["OMP_NUM_THREADS"]  # read when the worker is made
        return lambda tile: (threads, os.environ.get("CUDA_VISIBLE_DEVICES"))

    (outcome,) = executor.map(reader, tiles(tmp_path, 1))
    assert outcome.result == ("1", "")


def suicidal():
    def work(tile):
        time.sleep(1.01)  # slow enough to be alone in its call, or nobody is charged
        if tile.number == 3 and once(tile, "killed"):
            os.kill(os.getpid(), signal.SIGKILL)
        return tile.number**2

    return work


def test_kill_9_of_an_actor_in_mid_run(executor, tmp_path):
    work = tiles(tmp_path, 12)
    outcomes = list(executor.map(suicidal, work, total=12))
    assert results(outcomes) == results(SerialExecutor().map(squarer, work))
    attempts = {outcome.key: outcome.attempts for outcome in outcomes}
    assert attempts.pop("t003") == 2
    assert set(attempts.values()) == {1}, "only the item that was worked on is charged"
    assert executor.health.retries >= 1


def faulty():
    def work(tile):
        if tile.number == 1:
            os._exit(1)
        if tile.number == 2:
            raise ValueError("bad rain")
        if tile.number == 4 and once(tile, "raised"):
            raise OSError("hiccup")
        return tile.number

    return work


def test_poison_is_quarantined_whether_it_kills_or_raises(executor, tmp_path):
    outcomes = {o.key: o for o in executor.map(faulty, tiles(tmp_path, 8), total=8)}
    assert len(outcomes) == 8
    bad = {key: o for key, o in outcomes.items() if not o.ok}
    assert {key: o.attempts for key, o in bad.items()} == {"t001": 3, "t002": 3}
    assert "worker died" in bad["t001"].error
    assert bad["t002"].error == "ValueError: bad rain"
    assert outcomes["t004"].attempts == 2


def test_a_hanging_item_is_killed_at_the_deadline(executor, tmp_path):
    def hanging():
        def work(tile):
            if tile.number == 0 and once(tile, "hung"):
                time.sleep(600)
            return tile.number

        return work

    impatient = RayExecutor(workers=2, deadline=1.5)
    outcomes = list(impatient.map(hanging, tiles(tmp_path, 4), total=4))
    assert results(outcomes) == {f"t{i:03d}": i for i in range(4)}
    assert max(o.attempts for o in outcomes) == 2


def test_workers_that_do_not_start_are_named(executor, tmp_path):
    def broken():
        raise FileNotFoundError("no prior at /nowhere")

    with pytest.raises(EngineError, match="no prior at /nowhere"):
        list(executor.map(broken, tiles(tmp_path, 2), total=2))


def test_a_worker_can_stop_the_run(executor, tmp_path):
    def full():
        def work(tile):
            raise StopRun("disk full")

        return work

    with pytest.raises(StopRun, match="disk full"):
        list(executor.map(full, tiles(tmp_path, 4), total=4))


def test_refuses_impossible_wishes():
    with pytest.raises(EngineError, match="at least 1"):
        RayExecutor(workers=0)
    with pytest.raises(EngineError, match="whole number"):
        RayExecutor(gpus=0.5)


def test_sigint_leaves_nothing_behind(tmp_path):
    """Ctrl-C reaches the whole process group, as in a terminal; the run ends at once, quietly."""
    script = tmp_path / "drive.py"
    script.write_text(
        textwrap.dedent(
            """
            import pathlib, signal, sys, time
            from dataclasses import dataclass
            from longwang_ray.engine import RayExecutor

            @dataclass(frozen=True)
            class Tile:
                key: str

            def factory():
                def work(tile):
                    time.sleep(0.2)
                return work

            if __name__ == "__main__":
                before = signal.getsignal(signal.SIGTERM)
                with RayExecutor(workers=1) as executor:
                    try:
                        for outcome in executor.map(factory, (Tile(str(i)) for i in range(10**9))):
                            assert signal.getsignal(signal.SIGTERM) is before
                            print(outcome.key, flush=True)
                    except KeyboardInterrupt:
                        print("interrupted", flush=True)
                        sys.exit(130)
            """
        )
    )
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    try:
        assert process.stdout.readline().strip() == "0"
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=30)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 130
    assert out.splitlines()[-1] == "interrupted"
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
