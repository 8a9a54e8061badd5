"""The loop on a problem with a known answer, and the losses on cases that can be reckoned."""

import math
import signal

import numpy as np
import pytest
import torch
from torch import nn

from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.training.channel import signals_collected
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.loader import Loader
from longwang_ray.training.loop import Evaluation, Objective, Optimisation, fit
from longwang_ray.training.losses import central, denoiser_loss
from longwang_ray.training.worker import SOLO

SLOPE = 2.5


class Line(Objective):
    """Fit y = SLOPE · x."""

    def forward(self, x):
        error = (self.network(x) - SLOPE * x).square().mean()
        return error, {"error": error}


def draw(generator, _index):
    return (torch.from_numpy(generator.normal(size=1).astype("f4")),)


class Heard:
    """A channel that wishes to stop after so many steps."""

    def __init__(self, steps=None):
        self.left, self.lines = steps, []

    def tell(self, line):
        self.lines.append(line)

    def stop_asked(self):
        if self.left is not None:
            self.left -= 1
        return self.left == 0


def fitted(folder, steps, *, draw=draw, channel=None, accumulate=1, evaluate=None, **more):
    torch.manual_seed(0)
    threads = more.pop("threads", 0)
    how = Optimisation(
        steps, 16, learning_rate=0.1, warmup=5, ema=0.9, accumulate=accumulate, **more
    )
    loader = Loader(draw, 1, 0, how.batch, accumulate, SOLO, threads)
    files = Checkpoints(str(folder))
    return fit("line", Line(nn.Linear(1, 1)), loader, how, files, channel or Heard(), evaluate)


def table(folder):
    return np.genfromtxt(folder / "line.csv", delimiter=",", names=True)


def test_the_loss_falls_and_the_answer_is_found(tmp_path):
    average = fitted(tmp_path, 200)
    assert average.weight.item() == pytest.approx(SLOPE, abs=0.05)
    assert average.bias.item() == pytest.approx(0, abs=0.05)
    rows = table(tmp_path)
    assert rows["step"].tolist() == [50, 100, 150, 200]
    assert rows["loss"][-1] < rows["loss"][0]


def test_the_user_is_told_rate_and_time_left(tmp_path):
    heard = Heard()
    fitted(tmp_path, 100, channel=heard)
    assert len(heard.lines) == 2
    assert heard.lines[0].startswith("line 50/100 loss=")
    assert "windows/s, " in heard.lines[0]
    assert heard.lines[0].endswith(" left")


def test_stopped_and_resumed_in_parts_it_ends_with_the_same_weights_and_curve(tmp_path):
    whole = fitted(tmp_path / "whole", 20, report_every=2)
    for steps in (7, 6):
        with pytest.raises(TrainingStopped, match="stopped at step"):
            fitted(tmp_path / "parts", 20, channel=Heard(steps), report_every=2)
    assert Checkpoints(str(tmp_path / "parts")).steps_done("line") == 13
    parts = fitted(tmp_path / "parts", 20, report_every=2)
    assert torch.equal(whole.weight, parts.weight)
    assert torch.equal(whole.bias, parts.bias)
    calm, cut = table(tmp_path / "whole"), table(tmp_path / "parts")
    assert calm["step"].tolist() == cut["step"].tolist()
    assert calm["loss"].tolist() == cut["loss"].tolist()


class Killed(BaseException):
    pass


def test_killed_between_two_checkpoints_no_row_stands_twice(tmp_path):
    class Kills(Heard):
        def stop_asked(self):
            self.left -= 1
            if self.left == 0:
                raise Killed
            return False

    with pytest.raises(Killed):
        fitted(tmp_path, 20, channel=Kills(7), report_every=1, checkpoint_every=4)
    assert table(tmp_path)["step"][-1] == 7
    fitted(tmp_path, 20, report_every=1, checkpoint_every=4)
    assert table(tmp_path)["step"].tolist() == list(range(1, 21))


def test_a_batch_may_be_computed_in_parts(tmp_path):
    whole, parts = (fitted(tmp_path / str(n), 30, accumulate=n) for n in (1, 4))
    assert parts.weight.item() == pytest.approx(whole.weight.item(), rel=1e-5)


def test_threads_that_draw_ahead_change_nothing(tmp_path):
    here, ahead = (fitted(tmp_path / str(n), 30, threads=n) for n in (0, 3))
    assert torch.equal(here.weight, ahead.weight)


def test_an_error_of_a_thread_that_draws_is_the_trainings(tmp_path):
    def broken(generator, index):
        raise TrainingError(f"window {index} is missing")

    with pytest.raises(TrainingError, match="window 0 is missing"):
        fitted(tmp_path, 30, draw=broken, threads=2)


def test_compiled_it_learns_the_same(tmp_path, monkeypatch):
    """The real back end needs a C++ compiler; which one is used is not what is tested here."""
    inner, used = nn.Module.compile, []

    def eagerly(self):
        used.append(self)
        inner(self, backend="eager")

    monkeypatch.setattr(nn.Module, "compile", eagerly)
    plain, compiled = (fitted(tmp_path / str(c), 10, compile=c) for c in (False, True))
    assert len(used) == 1
    assert torch.allclose(plain.weight, compiled.weight)


def test_evaluations_see_the_averaged_network_and_stand_in_the_curve(tmp_path):
    seen = []

    def look(network, step):
        seen.append((step, network.weight.requires_grad))
        return Evaluation({"error": float(step)}, None)

    fitted(tmp_path, 25, evaluate=look, evaluate_every=10, report_every=10)
    assert seen == [(10, False), (20, False), (25, False)]
    assert table(tmp_path)["held_out_error"].tolist() == [10, 20, 25]


@pytest.mark.parametrize(("capability", "told"), [("AVX2", True), ("AVX512", False)])
def test_bf16_on_a_cpu_that_has_none_is_said(tmp_path, monkeypatch, capability, told):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    heard = Heard()
    fitted(tmp_path, 1, channel=heard, bf16=True)
    assert any("line.optimisation.bf16=false" in line for line in heard.lines) == told


def test_an_interrupt_waits_for_the_step(tmp_path):
    calls = []

    def interrupting(generator, index):
        calls.append(1)
        if len(calls) == 40:  # in the third step
            signal.raise_signal(signal.SIGINT)
        return draw(generator, index)

    with signals_collected() as here, pytest.raises(TrainingStopped):
        fitted(tmp_path, 9, draw=interrupting, channel=here)
    assert here.signals == [signal.SIGINT]
    assert Checkpoints(str(tmp_path)).read_state("line")["step"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_signal_is_not_waited_for():
    with signals_collected() as here:
        signal.raise_signal(signal.SIGINT)
        assert here.stop_asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with signals_collected() as here:
            signal.raise_signal(signal.SIGINT)
        assert not here.stop_asked()
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_bad_batch_is_skipped(tmp_path):
    calls = []

    def spoiled(generator, index):
        calls.append(1)
        (x,) = draw(generator, index)
        return (x * float("nan") if len(calls) == 40 else x,)

    assert torch.isfinite(fitted(tmp_path, 6, draw=spoiled).weight).all()


def test_a_training_that_learns_nothing_says_so(tmp_path):
    def spoiled(generator, index):
        return (draw(generator, index)[0] * float("nan"),)

    with pytest.raises(TrainingError, match=r"gradients of 20 steps in a row were not finite, up"):
        fitted(tmp_path, 60, draw=spoiled)


def test_a_torn_checkpoint_is_named(tmp_path):
    (tmp_path / "line.pt").write_bytes(b"not a checkpoint")
    with pytest.raises(TrainingError, match=r"line\.pt: is no checkpoint"):
        fitted(tmp_path, 2)


def test_the_rate_warms_up_and_falls_along_a_cosine():
    how = Optimisation(1100, 1, learning_rate=1.0, warmup=100)
    assert how.rate(0) == pytest.approx(0.01)
    assert how.rate(99) == pytest.approx(1.0)
    assert how.rate(600) == pytest.approx(0.02 + 0.98 * 0.5)
    assert how.rate(1100) == pytest.approx(0.02)


def test_central_differences_of_a_slope_are_the_slope():
    ramp = 3.0 * torch.arange(10.0).expand(1, 1, 2, 4, 10)
    assert central(ramp, 4).item() == pytest.approx(3.0)
    assert central(ramp, 3).item() == 0.0


@pytest.mark.parametrize("parametrisation", ["edm", "epsilon"])
def test_the_denoisers_loss_is_that_of_its_networks_output(parametrisation):
    """A network that says 0 is wrong by its target: (1/√(1 + s²)) x₀ − … of unit variance."""
    config = DenoiserConfig(2, (4, 4), (1,), ((1, 2, 2),), (), 2, 8, 5, "cell", parametrisation)
    denoiser = Denoiser(config, Power())
    for parameter in denoiser.parameters():
        nn.init.zeros_(parameter)
    generator = torch.Generator().manual_seed(0)
    latent, noise = (torch.randn(64, 2, 2, 8, 8, generator=generator) for _ in range(2))
    t = torch.linspace(0.0, 1.0, 64)
    told, known = torch.zeros(64, 5), torch.ones(64)
    loss, _ = denoiser_loss(denoiser, latent, t, noise, told, known)
    assert loss.item() == pytest.approx(1.0, abs=0.05)
    assert math.isfinite(loss.item())
