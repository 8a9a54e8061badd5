"""Guidance against the closed form: a Gaussian prior and a linear reader have one."""

import math
from dataclasses import dataclass

import pytest
import torch

from longwang_ray.posterior.blending import Resolution
from longwang_ray.posterior.covariance import White
from longwang_ray.posterior.guidance import (
    LARGEST_MOVE,
    HeadGuidance,
    Linear,
    Logarithmic,
    ScoreGuidance,
    _local,
)
from longwang_ray.posterior.observation import MonthlyMean, Observation
from longwang_ray.posterior.sampler import sample
from longwang_ray.prior.schedule import Power

SCHEDULE = Power()
SHAPE = (1, 6, 48, 48)  # one channel, six days
BLOCK = 4  # cells of a GCM cell on each axis
SLOPE = 3.0


@dataclass(frozen=True)
class LinearReader:
    """Rain = slope × latent on ``quarters²`` equal cells; slope may differ from cell to cell."""

    slope: torch.Tensor
    quarters: int = 1

    @property
    def at(self):
        return Resolution(1, self.quarters, self.quarters)

    def __call__(self, latent):
        rain = self.slope * latent[0]
        return rain.repeat_interleave(self.quarters, 1).repeat_interleave(self.quarters, 2)

    def pull_back(self, latent, cotangent):
        q = self.quarters
        return (self.slope * torch.nn.functional.avg_pool2d(cotangent, q) * q * q)[None]

    def steepness(self, latent):
        rain = self(latent)
        return rain, self.pull_back(latent, torch.ones_like(rain))


def unit_normal_denoiser(x, t):
    """E[x₀ | x_t] of independent unit normals."""
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    return alpha * x / (alpha**2 + sigma**2)


def block_mean(shape=SHAPE[1:], block=BLOCK):
    """Two half months of cells that nest."""
    days, rows, columns = shape
    month = torch.zeros(2, days)
    month[0, : days // 2], month[1, days // 2 :] = 2 / days, 2 / days
    lat, lon = (torch.eye(n // block).repeat_interleave(block, 1) / block for n in (rows, columns))
    return MonthlyMean(month, lat, lon, torch.ones(rows // block, columns // block).bool())


def observe(operator, y, std):
    shape = (len(operator.month), len(operator.lat), len(operator.lon))
    full = torch.ones(shape)
    return Observation(y * full, std * full, full.bool())


def fixed(reader):
    """A reader that reads estimates of all times alike."""
    return lambda t: reader


def dense(operator, reader, shape):
    """``A J`` as a matrix: observations × latent cells."""
    days, rows, columns = shape
    basis = torch.eye(days * rows * columns).reshape(-1, days, rows, columns)
    return torch.stack([operator(reader(e[None])).flatten() for e in basis], dim=1)


@pytest.mark.parametrize("t", [0.05, 0.4, 0.7, 1.0])
@pytest.mark.parametrize("quarters", [1, 2])
def test_guided_estimate_is_the_posterior_mean(t, quarters):
    shape = (4, 8, 8)
    generator = torch.Generator().manual_seed(0)
    reader = LinearReader(torch.full(shape, SLOPE), quarters)
    operator = block_mean((4, 8 * quarters, 8 * quarters), 4 * quarters)
    y, std, time = 0.8, 0.3, torch.tensor(t)
    x = torch.randn(1, *shape, generator=generator)
    guided = HeadGuidance(
        unit_normal_denoiser,
        White(SCHEDULE),
        fixed(reader),
        operator,
        observe(operator, y, std),
        passes=1,
    )
    alpha, sigma = SCHEDULE.alpha(time), SCHEDULE.sigma(time)
    matrix = dense(operator, reader, shape).double()
    mean = (alpha * x / (alpha**2 + sigma**2)).flatten().double()
    variance = (sigma**2 / (alpha**2 + sigma**2)).double()
    spread = std**2 * torch.eye(len(matrix)).double() + variance * matrix @ matrix.T
    exact = mean + variance * matrix.T @ torch.linalg.solve(spread, y - matrix @ mean)
    assert torch.allclose(guided(x, time).flatten().double(), exact, atol=2e-5)


def test_row_sums_are_those_of_the_matrix():
    shape = (4, 8, 8)
    generator = torch.Generator().manual_seed(0)
    slope = torch.rand(shape, generator=generator) + 0.5
    month = torch.rand(2, 4, generator=generator)
    lat, lon = (torch.rand(3, 8, generator=generator).clamp(min=0.4) - 0.4 for _ in range(2))
    operator = MonthlyMean(month, lat, lon, torch.ones(3, 3).bool())  # cells overlap at will
    observation = observe(operator, 1.0, 0.5)
    observation.counts[0, 1, 1] = False
    reader = LinearReader(slope)
    latent = torch.zeros(1, *shape)
    local = _local(reader.steepness(latent)[1], reader, operator, observation)
    matrix = dense(operator, reader, shape)
    exact = (matrix @ matrix.T) @ observation.counts.flatten().float()
    found = local.row_sums(lambda field: field)
    assert torch.allclose(found.flatten(), exact, rtol=1e-4)


def test_more_passes_change_nothing_for_a_linear_head():
    """The first step of Newton is the last one, where cells of the GCM do not overlap."""
    reader, operator = LinearReader(torch.full(SHAPE[1:], SLOPE)), block_mean()
    observation, t = observe(operator, 1.0, 0.3), torch.tensor(0.5)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1))
    one, three = (
        HeadGuidance(
            unit_normal_denoiser,
            White(SCHEDULE),
            fixed(reader),
            operator,
            observation,
            passes=passes,
        )(x, t)
        for passes in (1, 3)
    )
    assert torch.allclose(one, three, atol=1e-5)
    assert not torch.allclose(one, unit_normal_denoiser(x, t), atol=1e-2)


@pytest.mark.parametrize("scale", [Linear(), Logarithmic(0.2)])
def test_scales_have_their_slopes(scale):
    rain = torch.tensor([0.0, 0.1, 3.0, 50.0]).requires_grad_()
    (slope,) = torch.autograd.grad(scale(rain).sum(), rain)
    assert torch.allclose(scale.slope(rain.detach()), slope)


def test_a_wet_month_on_a_dry_estimate():
    """Rain exponential in the latent: linear in the logarithm, where one pass nearly arrives."""

    class Exponential(LinearReader):
        def __call__(self, latent):
            return 0.1 * latent[0].exp()

        def pull_back(self, latent, cotangent):
            return (0.1 * latent[0].exp() * cotangent)[None]

    reader, operator = Exponential(torch.ones(SHAPE[1:])), block_mean()
    observation, t = observe(operator, 0.14, 1e-3), torch.tensor(0.9)
    left = {}
    for scale in (Linear(), Logarithmic(1e-3)):
        guided = HeadGuidance(
            unit_normal_denoiser,
            White(SCHEDULE),
            fixed(reader),
            operator,
            observation,
            scale,
            passes=1,
        )
        left[type(scale)] = operator(reader(guided(torch.zeros(SHAPE), t))).mean().item()
    assert left[Logarithmic] == pytest.approx(0.14, rel=0.01)
    assert left[Linear] == pytest.approx(0.1 * math.exp(0.4), rel=0.01)


def test_where_nothing_rains_a_latent_is_moved_by_a_bounded_step():
    """Its slope says next to nothing of how far it is to a wet month."""
    latent = torch.full(SHAPE, -6.0)

    class Exponential(LinearReader):
        def __call__(self, latent):
            return latent[0].exp()

        def pull_back(self, latent, cotangent):
            return (latent[0].exp() * cotangent)[None]

    reader, operator = Exponential(torch.ones(SHAPE[1:])), block_mean()
    guided = HeadGuidance(
        lambda x, t: x,
        White(SCHEDULE),
        fixed(reader),
        operator,
        observe(operator, 8.0, 0.01),
        Logarithmic(),
        passes=2,
    )
    moved = guided(latent, torch.tensor(1.0)) - latent
    assert 0 < moved.min() <= moved.max() <= 2 * LARGEST_MOVE


def test_no_observation_changes_nothing():
    reader, operator = LinearReader(torch.full(SHAPE[1:], SLOPE)), block_mean()
    observation = observe(operator, 1.0, 0.3)
    observation.counts[:] = False
    x, t = torch.randn(SHAPE), torch.tensor(0.5)
    for guided in (
        HeadGuidance(unit_normal_denoiser, White(SCHEDULE), fixed(reader), operator, observation),
        ScoreGuidance(unit_normal_denoiser, SCHEDULE, reader, operator, observation),
    ):
        assert torch.equal(guided(x, t), unit_normal_denoiser(x, t))


def test_guided_samples_have_the_posterior_s_mean_and_covariance():
    """288 GCM cells of 48 latents each are as many samples of one small problem."""
    reader, operator = LinearReader(torch.full(SHAPE[1:], SLOPE)), block_mean()
    y, std = 0.9, 0.4
    guided = HeadGuidance(
        unit_normal_denoiser,
        White(SCHEDULE),
        fixed(reader),
        operator,
        observe(operator, y, std),
        passes=1,
    )
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(5))
    x = sample(guided, noise, SCHEDULE, steps=80, order=2)
    cells = 3 * BLOCK**2
    prior_variance = SLOPE**2 / cells  # of the mean of a month and cell
    gain = prior_variance / (prior_variance + std**2)
    means = operator(reader(x)).flatten()
    count = len(means)
    exact_std = (gain * std**2) ** 0.5
    assert means.mean().item() == pytest.approx(gain * y, abs=4 * exact_std / count**0.5)
    assert means.std().item() == pytest.approx(exact_std, rel=4 / (2 * count) ** 0.5)
    # A latent alone: variance 1 − (what the observation takes off the mean mode), and the cells of
    # one GCM cell are anticorrelated by the same amount.
    taken = (1.0 - exact_std**2 / prior_variance) / cells
    assert x.var().item() == pytest.approx(1 - taken, rel=0.03)


@pytest.mark.parametrize("through", [False, True])
def test_score_guidance_is_the_gradient_of_the_log_likelihood(through):
    reader, operator = LinearReader(torch.full(SHAPE[1:], SLOPE)), block_mean()
    observation, t, gamma = observe(operator, 1.0, 0.3), torch.tensor(0.5), 0.01
    alpha, sigma = SCHEDULE.alpha(t), SCHEDULE.sigma(t)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(2)).requires_grad_()
    clean = unit_normal_denoiser(x, t)
    estimate = clean if through else x / alpha + (clean - x / alpha).detach()
    variance = 0.3**2 + gamma * (sigma / alpha) ** 2
    log_p = -0.5 * ((1.0 - operator(reader(estimate))) ** 2 / variance).sum()
    (gradient,) = torch.autograd.grad(log_p, x)
    pull_back = (lambda x, t, g: alpha / (alpha**2 + sigma**2) * g) if through else None
    guided = ScoreGuidance(
        unit_normal_denoiser, SCHEDULE, reader, operator, observation, pull_back, gamma
    )
    expected = clean + sigma**2 / alpha * gradient
    assert torch.allclose(guided(x.detach(), t), expected, atol=1e-5)
