"""Training on Ray: the same as in one process, whatever happens to the workers."""

from __future__ import annotations

import csv
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.fit_prior import train_prior
from longwang_ray.training.post import Post

ray = pytest.importorskip("ray")
pytest.importorskip("ray.train.torch", reason="needs longwang-ray[train]")
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])

from longwang_ray.engine.connection import connected  # noqa: E402
from longwang_ray.training.crew import Crew, await_room, crew_for  # noqa: E402
from longwang_ray.training.launch import explain, launch  # noqa: E402

ROOT = Path(__file__).parents[2]
STAGE = "autoencoder"
HOW = f"{STAGE}.optimisation"
#: A small rate: with a large one Adam makes much of the rounding of vanishing gradients.
SHORT = (
    f"{HOW}.steps=12", f"{HOW}.checkpoint_every=4", f"{HOW}.evaluate_every=6",
    f"{HOW}.report_every=1", f"{HOW}.learning_rate=1e-4",
)  # fmt: skip


@pytest.fixture(scope="module")
def cluster():
    """A Ray of two CPUs for all tests of this file."""
    with connected(2):
        yield


def on_ray(workers=1):
    return ("engine.kind=ray", "engine.device=cpu", f"engine.workers={workers}")


def curve(config):
    with (Path(config.output) / f"{STAGE}.csv").open() as file:
        return [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]


def state(config):
    return torch.load(Path(config.output) / f"{STAGE}.pt", weights_only=True)


def die_once(sight):
    """Kill the worker that looks, the first time."""
    try:
        (Path(sight.url) / "died").touch(exist_ok=False)
    except FileExistsError:
        return
    os.kill(os.getpid(), signal.SIGKILL)


def die(sight):
    os.kill(os.getpid(), signal.SIGKILL)


def test_one_worker_killed_in_mid_training_ends_as_one_process(cluster, tiny, caplog):
    calm, shaken = tiny("calm", *SHORT), tiny("shaken", *SHORT, *on_ray())
    train_prior(calm, STAGE)
    with caplog.at_level(logging.INFO, "longwang_ray"):
        assert launch(shaken, STAGE, die_once) == f"{shaken.output}/{STAGE}.pt"
    assert "a worker died" in caplog.text
    assert f"{STAGE}: goes on from step 4 of 12" in caplog.text
    assert [step for step, _ in curve(shaken)] == list(range(1, 13)), "each step once"
    assert curve(shaken) == curve(calm)
    expected, found = state(calm), state(shaken)
    for part in ("module", "ema"):
        for key, weights in expected[part].items():
            assert torch.equal(found[part][key], weights), key


def test_two_workers_are_one_to_rounding(cluster, tiny):
    alone, shared = tiny("alone", *SHORT), tiny("shared", *SHORT, *on_ray(2))
    train_prior(alone, STAGE)
    launch(shared, STAGE)
    assert [step for step, _ in curve(shared)] == list(range(1, 13))
    for (_, one), (_, two) in zip(curve(alone), curve(shared), strict=True):
        assert two == pytest.approx(one, rel=1e-5)


def test_what_no_retry_can_help_reaches_the_user_in_one_line(cluster, tiny, caplog):
    config = tiny("out", *SHORT, *on_ray())
    (Path(config.output) / f"{STAGE}.pt").write_bytes(b"rubbish")
    with pytest.raises(TrainingError, match=rf"{STAGE}\.pt: is no checkpoint") as caught:
        launch(config, STAGE)
    assert "\n" not in str(caught.value)
    assert "going on" not in caplog.text


@pytest.mark.chaos
def test_a_worker_that_always_dies_is_given_up(cluster, tiny, caplog):
    config = tiny("out", *SHORT, *on_ray(), f"{HOW}.checkpoint_every=12", "engine.failures=1")
    with pytest.raises(TrainingError, match=r"a worker died.*2 in a row without a new checkpoint"):
        launch(config, STAGE, die)
    assert caplog.text.count("going on from the last checkpoint") == 1


@pytest.mark.chaos
def test_a_new_checkpoint_makes_up_for_a_failure(cluster, tiny, caplog):
    config = tiny("out", *SHORT, *on_ray(), f"{HOW}.checkpoint_every=6", "engine.failures=1")
    launch(config, STAGE, die)  # at 6; from there at 12; and then there is nothing left to do
    assert caplog.text.count("a worker died") == 2
    assert Checkpoints(config.output).steps_done(STAGE) == 12


@pytest.fixture
def command(tiny):
    """``longwang train`` as in a terminal, in a process group of its own, its first step done."""
    config = tiny("out", *SHORT, *on_ray(), f"{HOW}.checkpoint_every=100000")
    file = Path(config.output) / "train.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    words = [sys.executable, "-m", "longwang_ray.cli", "train", "--only", STAGE, str(file)]
    where = {"cwd": ROOT, "env": os.environ | {"PYTHONPATH": str(ROOT)}, "text": True}
    process = subprocess.Popen(
        [*words, f"{HOW}.steps=100000", f"{HOW}.evaluate_every=99999"],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,
        **where,
    )
    try:
        until = time.monotonic() + 240
        while not (Path(config.output) / f"{STAGE}.csv").exists():
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < until
            time.sleep(0.05)
        yield SimpleNamespace(config=config, process=process, words=words, where=where)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.chaos
@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_leaves_a_checkpoint_and_the_same_command_finishes(command, number, send):
    config, process = command.config, command.process
    send(process.pid, number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + number, errors
    assert "Traceback" not in errors
    done = Checkpoints(config.output).steps_done(STAGE)
    assert done > 0
    assert curve(config)[-1][0] <= done
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    more = [f"{HOW}.steps={done + 2}", "engine.kind=serial"]
    subprocess.run([*command.words, *more], check=True, capture_output=True, **command.where)
    assert [step for step, _ in curve(config)] == list(range(1, done + 3))


@pytest.mark.chaos
def test_a_signal_that_ends_ray_too_is_not_waited_for(command):
    os.killpg(command.process.pid, signal.SIGTERM)  # as systemd and Slurm do
    _, errors = command.process.communicate(timeout=45)
    assert command.process.returncode == 143, errors


def nobody():
    return SimpleNamespace(signals=[])


def test_a_cluster_that_is_too_small_is_said(cluster, tiny):
    engine = tiny("out", *on_ray(8)).engine
    crew = crew_for(engine.model_copy(update={"device": "cuda"}), private=False)
    assert crew.each == {"CPU": 1, "GPU": 1}
    asked = r"8 × \(1 CPU, 1 GPU\) are asked for, Ray has \d+ CPU and 0 GPU on one machine"
    with pytest.raises(TrainingError, match=asked):
        await_room(crew, nobody(), patience=0.3)
    with pytest.raises(TrainingError, match="Ray sees no GPU on this machine"):
        crew_for(engine.model_copy(update={"device": "cuda"}), private=True)
    await_room(Crew(2, {"CPU": 1}, 1), nobody(), patience=0.0)
    with pytest.raises(TrainingError, match=r"1 × \(99 CPU\)"):
        await_room(Crew(1, {"CPU": 99}, 1), nobody(), patience=0.0)


def test_auto_is_one_worker_without_gpus(cluster, tiny):
    crew = crew_for(tiny("out", "engine.kind=ray", "engine.threads=3").engine, private=True)
    assert (crew.count, crew.each, crew.threads) == (1, {"CPU": 1}, 3)


def test_batches_that_cannot_be_shared_are_refused_before_workers_start(cluster, tiny):
    with pytest.raises(TrainingError, match="cannot be shared evenly by 3 workers"):
        launch(tiny("out", *on_ray(3)), STAGE)


def failed(**workers):
    error = RuntimeError("Training failed")
    error.worker_failures = dict(enumerate(workers.values()))
    return error


def died(cause):
    return SimpleNamespace(health_check_failure=cause)


def test_the_cause_that_tells_most_is_told():
    lost = ray.exceptions.RayActorError()
    gloo = RuntimeError("Connection reset by peer\nand more")
    wrong = TrainingError("the folder is full")
    memory = ray.exceptions.OutOfMemoryError("killed")
    assert explain(failed(a=gloo, b=died(lost))).text.startswith("a worker died")
    assert explain(failed(a=gloo, b=wrong, c=died(lost))) == ("refused", "the folder is full")
    assert "ran out of memory" in explain(failed(a=gloo, b=died(memory))).text
    assert explain(failed(a=TrainingStopped("at 3"), b=TrainingStopped("at 3"))).how == "stopped"
    only = explain(failed(a=gloo))
    assert only == ("lost", "a worker failed (RuntimeError: Connection reset by peer)")


class Slow:
    """A mail whose answers take their time."""

    def __init__(self):
        self.sent, self.asked, self.left = [], [], False

    def send(self, level, line):
        self.sent.append(line)

    def ask(self):
        from concurrent.futures import Future

        self.asked.append(Future())
        return self.asked[-1]

    def leaving(self):
        return self.left


def test_a_step_never_waits_for_the_answer():
    mail = Slow()
    post = Post(mail, leads=True)
    assert not any(post.stop_asked() for _ in range(100))
    assert len(mail.asked) == 1, "one question is under way at most"
    mail.asked[0].set_result(True)
    assert post.stop_asked()
    assert post.stop_asked()


def test_a_machine_that_is_taken_away_is_left_and_only_the_first_worker_speaks():
    mail = Slow()
    Post(mail, leads=False).tell("nobody hears this")
    Post(mail, leads=True).tell("a line")
    assert mail.sent == ["a line"]
    mail.left = True
    assert Post(mail, leads=False).stop_asked()


def test_without_ray_train_it_says_what_to_install(monkeypatch, tiny):
    monkeypatch.setitem(sys.modules, "ray.train.torch", None)
    with pytest.raises(TrainingError, match=r"pip install 'longwang-ray\[train\]'"):
        launch(tiny("out", *on_ray()), STAGE)


def test_serial_is_this_process(tiny):
    config = tiny("out", f"{HOW}.steps=2")
    assert launch(config, STAGE) == f"{config.output}/{STAGE}.pt"
