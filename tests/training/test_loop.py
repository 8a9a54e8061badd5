"""The loop on a problem with a known answer, and the losses on cases that can be reckoned."""

import math
import signal

import numpy as np
import pytest
import torch
from torch import nn

from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.training.loop import Optimisation, TrainingError, fit, read_checkpoint
from longwang_ray.training.losses import central, denoiser_loss

SLOPE = 2.5


def line(module):
    """Fit y = SLOPE · x."""

    def loss(generator):
        x = torch.from_numpy(generator.normal(size=(16, 1)).astype("f4"))
        value = (module(x) - SLOPE * x).square().mean()
        return value, {"error": value.item()}

    return loss


def fitted(folder, steps, seed=1, **more):
    torch.manual_seed(0)
    module = nn.Linear(1, 1)
    how = Optimisation(steps, 16, learning_rate=0.1, warmup=5, ema=0.9, **more)
    return fit("line", module, line(module), how, folder, seed)


def test_the_loss_falls_and_the_answer_is_found(tmp_path):
    average = fitted(tmp_path, 200)
    assert average.weight.item() == pytest.approx(SLOPE, abs=0.05)
    assert average.bias.item() == pytest.approx(0, abs=0.05)
    rows = np.genfromtxt(tmp_path / "line.csv", delimiter=",", names=True)
    assert rows["step"].tolist() == [50, 100, 150, 200]
    assert rows["loss"][-1] < rows["loss"][0]


def test_resumed_in_parts_it_ends_with_the_same_weights(tmp_path):
    """The rate's schedule needs the final number of steps, so the run is cut, not shortened."""
    whole = fitted(tmp_path / "whole", 20)

    class Cut(Exception):
        pass

    def cut_at(step):
        torch.manual_seed(0)
        module = nn.Linear(1, 1)
        inner, calls = line(module), []

        def loss(generator):
            calls.append(1)
            if len(calls) > step:
                raise Cut
            return inner(generator)

        how = Optimisation(20, 16, learning_rate=0.1, warmup=5, ema=0.9, checkpoint_every=4)
        with pytest.raises(Cut):
            fit("line", module, loss, how, tmp_path / "parts", 1)

    cut_at(7)  # leaves 4 steps
    cut_at(6)  # and from there 8
    assert read_checkpoint(tmp_path / "parts" / "line.pt")["step"] == 8
    parts = fitted(tmp_path / "parts", 20, checkpoint_every=4)
    assert torch.equal(whole.weight, parts.weight)
    assert torch.equal(whole.bias, parts.bias)


def interrupted(folder, number):
    """Fit while a signal arrives in the third step."""
    torch.manual_seed(0)
    module = nn.Linear(1, 1)
    inner, calls = line(module), []

    def loss(generator):
        calls.append(1)
        if len(calls) == 3:
            signal.raise_signal(number)
        return inner(generator)

    return fit("line", module, loss, Optimisation(9, 16), folder, 1)


def test_an_interrupt_waits_for_the_step_and_never_returns_an_unfinished_network(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        interrupted(tmp_path, signal.SIGINT)
    assert read_checkpoint(tmp_path / "line.pt")["step"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append(1))
    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted(tmp_path / "deaf", signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert heard == [1]


def test_an_ignored_signal_stays_ignored(tmp_path):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        interrupted(tmp_path, signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert read_checkpoint(tmp_path / "line.pt")["step"] == 9


def test_a_bad_batch_is_skipped(tmp_path):
    torch.manual_seed(0)
    module = nn.Linear(1, 1)
    inner, calls = line(module), []

    def loss(generator):
        calls.append(1)
        value, metrics = inner(generator)
        return (value * float("nan") if len(calls) == 3 else value), metrics

    how = Optimisation(6, 16, learning_rate=0.1, warmup=1)
    assert torch.isfinite(fit("line", module, loss, how, tmp_path, 1).weight).all()


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
