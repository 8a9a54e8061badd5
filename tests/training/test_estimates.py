"""What estimates stand for, measured: against a closed form, and made monotonic."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from longwang_ray.prior.schedule import Power
from longwang_ray.training.estimates import Estimator, measure_estimates, regression

SPREAD = 1.2


def test_regression_finds_the_conditional_mean():
    """``read`` is the exponential of a mean; the truth scatters about it by a known variance."""
    generator = np.random.default_rng(0)
    mean = generator.normal(size=400_000)
    truth = np.exp(mean + SPREAD * generator.normal(size=len(mean)))
    knots = np.geomspace(0.2, 5.0, 9)
    found = regression(np.exp(mean), truth, knots)
    assert np.allclose(found / knots, np.exp(SPREAD**2 / 2), rtol=0.05)


def test_regression_never_decreases_and_keeps_the_ratio_where_no_data_are():
    generator = np.random.default_rng(1)
    read = generator.gamma(0.5, 2.0, 20_000)
    truth = generator.permutation(read)  # knows nothing of what is read
    knots = np.geomspace(1e-3, 200.0, 33)
    found = regression(read, truth, knots)
    assert (np.diff(found) >= -1e-9).all()
    inside = (knots > 0.1) & (knots < 3.0)
    assert np.allclose(found[inside], 1.0, rtol=0.15)
    assert found[-1] / found[-2] == pytest.approx(knots[-1] / knots[-2], rel=1e-3)


def test_a_handful_of_values_is_enough():
    assert np.isfinite(regression(np.array([1.0, 2.0]), np.array([3.0, 4.0]), np.ones(1))).all()


@dataclass
class White:
    """Unit normal latents, no context: the denoiser's estimate is known in closed form."""

    def one(self, generator, window):
        cells = generator.normal(size=(1, *window)).astype(np.float32)
        return cells, np.zeros(5, np.float32)


class Exact(torch.nn.Module):
    """``E[x₀ | x_t] = α x_t``."""

    class config:
        context = 5

    schedule = Power(0.02, 200.0, 5.0)

    def forward(self, x, t, context=None):
        return self.schedule.alpha(t).view(-1, 1, 1, 1, 1) * x


class Exponential(torch.nn.Module):
    """Reads ``exp(z)`` in each quarter."""

    def __init__(self):
        super().__init__()
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, z):
        return z[:, 0].exp().repeat_interleave(2, -1).repeat_interleave(2, -2)


class AsItIs:
    @staticmethod
    def read(source):
        return source


def test_tables_of_a_denoiser_in_closed_form():
    """``x₀ ~ N(x̂, c)`` with ``c = s²/(1 + s²)``: ``E[exp x₀ | x̂] = exp(x̂ + c/2)``."""
    window = (4, 16, 16)
    estimator = Estimator(Exact(), Exponential(), AsItIs(), window, (2, 8, 8))
    found = measure_estimates(estimator, White(), seed=3, windows=200)
    again = measure_estimates(estimator, White(), seed=3, windows=200)
    for name, value in found.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    for t in (0.0, 0.25, 0.3125):
        time = torch.tensor(t)
        ratio = float(Exact.schedule.ratio(time))
        variance = ratio**2 / (1 + ratio**2)
        read = torch.tensor([0.8, 1.0, 1.25])
        assert torch.allclose(
            found.curve(time)(read) / read, torch.tensor(variance / 2).exp(), rtol=0.07
        )
        errors = found.errors(time)
        assert errors.channels.item() == pytest.approx(variance, rel=0.03)
        assert errors.neighbours.max() < 0.03


def test_errors_that_go_together_are_found():
    """Days of one field each: the error of a day is that of the next."""

    class Lasting(White):
        def one(self, generator, window):
            day = generator.normal(size=(1, 1, *window[1:])).astype(np.float32)
            return np.repeat(day, window[0], axis=1), np.zeros(5, np.float32)

    class Blind(Exact):
        def forward(self, x, t, context=None):
            return torch.zeros_like(x)

    window = (4, 16, 16)
    estimator = Estimator(Blind(), Exponential(), AsItIs(), window, (2, 8, 8))
    errors = measure_estimates(estimator, Lasting(), seed=3, windows=20).errors(torch.tensor(1.0))
    assert errors.neighbours[0] == pytest.approx(1.0, abs=1e-5)
    assert errors.neighbours[1:].max() < 0.1
