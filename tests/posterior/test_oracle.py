"""Guided sampling against the exact posterior of a Gaussian prior, with everything else real.

Linear rain on windows, blended; a real month and GCM cells that do not nest in latent cells. The
sampler is then affine in its noise, so that its mean and its covariance are read off by
transposing it: there is no Monte-Carlo error. Errors are in exact posterior standard deviations
(sd) of the GCM cells' monthly means, ratios are of sd.

Measured, cells independent in the prior:

    fast, 1 pass       64 steps   mean within 0.02 sd, sd × 1.01     8 steps   0.02, × 0.98
    detached, exact    32 steps   mean within 0.05 sd, sd × 1.00     8 steps   0.02, × 0.94
    fast, 3 passes      8 steps   mean within 0.01 sd, sd × 0.97

It is exact but for edges that cells share. With correlated cells, and guidance that knows how
estimates are wrong together (``together``, what a run does) or takes them for independent:

                                 L = 2 all round    L_t = 30 > window   L_φ, L_λ = 30 > window
    blending (no guidance), sd   × 0.95             × 0.73              × 0.84
    together, 1 pass, 8 steps    0.15, × 1.16       0.17, × 1.00        0.06, × 0.78
    together, 3 passes, 8 steps  0.02, × 0.83       0.11, × 0.88        0.15, × 0.58
    independent, 3 passes        0.44, × 1.83       0.54, × 1.64        0.84, × 1.86
    detached, 8 steps            0.63, × 1.93       0.67, × 1.71        1.10, × 1.92
    exact, 8 steps               0.29, × 0.88       0.03, × 0.55        0.20, × 0.98

Taken for independent, a month's days hardly vary together, and guidance moves too little. The
row sums of what reaches far in space bound the matrix generously, and the passes make up for it:
sd is then × 0.6 … 0.9. The published ``γ s²`` is exact only if it equals the
variance ``c A J Jᵀ Aᵀ`` of what is still open, that is if ``γ = A J Jᵀ Aᵀ`` and ``s ≪ 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.covariance import Measured, White
from longwang_ray.posterior.guidance import FAST_PASSES, HeadGuidance, ScoreGuidance
from longwang_ray.posterior.observation import MonthlyRain, Observation, operator_on
from longwang_ray.posterior.reading import HeadReader, Reader, WindowReader
from longwang_ray.posterior.sampler import sample
from longwang_ray.prior.head import QUARTERS
from tests.fakes.gaussian import GaussianPrior, LinearRain

ERROR = 0.25
"""σ_y, mm/day; a GCM cell's month has a prior standard deviation of 0.21 (independent) … 0.97."""


class _Through(torch.autograd.Function):
    """A linear pull-back, and what it transposes as its gradient."""

    @staticmethod
    def forward(ctx, cotangent, pull, push):
        ctx.push = push
        return pull(cotangent)

    @staticmethod
    def backward(ctx, cotangent):
        return ctx.push(cotangent), None, None


@dataclass(frozen=True)
class Traced:
    """A linear reader whose pull-back can be differentiated too."""

    reader: Reader

    @property
    def at(self):
        return self.reader.at

    def __call__(self, latent):
        return self.reader(latent)

    def pull_back(self, latent, cotangent):
        pull = lambda g: self.reader.pull_back(latent.detach(), g)  # noqa: E731
        return _Through.apply(cotangent, pull, self.reader)

    def steepness(self, latent):
        rain = self(latent)
        return rain, self.reader.pull_back(latent.detach(), torch.ones_like(rain))


class World:
    """A region and a month of a linear Gaussian prior, observed on a GCM that does not nest."""

    def __init__(self, lengths=(0.0, 0.0, 0.0)):
        self.prior = GaussianPrior(
            LinearRain(0.0, 4.0), lengths, window=(16, 16, 16), stride=(8, 8, 8)
        )
        record = month_record("noleap", "2000-02", 1)
        self.extent = self.prior.lattice.extent((record.start, record.stop), (24, 28), (140, 4))
        gcm = RectilinearGrid.from_centres(np.linspace(90, -90, 14), np.arange(0, 360, 18.0))
        monthly = MonthlyRain(np.zeros((1, *gcm.shape), np.float32), gcm, record)
        inside = record.months_inside(self.extent.time.fine_start, self.extent.time.fine_stop)
        self.operator = operator_on(self.extent, self.prior.grid, monthly, inside)
        self.seen = self.prior.seen(self.operator)

    def guided(self, mode, y, passes=1, gamma=1e-2):
        """A denoiser guided to ``y``; everything but the networks is what a worker uses."""
        blend = Blend(self.extent, batch=64)
        denoise = BlendedDenoiser(blend, self.prior.denoiser, None)
        observed = Observation(
            torch.zeros(len(self.operator.month), *self.operator.inside.shape),
            torch.full((len(self.operator.month), *self.operator.inside.shape), ERROR),
            self.operator.inside.expand(len(self.operator.month), -1, -1),
        )
        observed.mean[observed.counts] = y.float()
        schedule = self.prior.schedule
        if mode == "none":
            return denoise
        if mode in ("fast", "together"):
            quarters = self.operator.coarsen(
                1, *(n // QUARTERS for n in self.prior.compression[1:])
            )
            reader = Traced(HeadReader(self.prior.head, closed=False))
            white, together = White(schedule), Measured(schedule, self.prior.tables(), False)
            errors = white if mode == "fast" else together
            return HeadGuidance(
                denoise, errors, lambda t: reader, quarters, observed, passes=passes
            )
        at = Resolution(*self.prior.compression)
        reader = Traced(WindowReader(blend, lambda w, _: self.prior.decode(w)[:, None], at))

        def through(x, t, cotangent):
            if mode == "detached":
                return self.prior.denoiser.skip(t) * cotangent
            pull = lambda g: denoise.pull_back(x.detach(), t, g)  # noqa: E731
            return _Through.apply(cotangent, pull, lambda g: denoise(g, t))

        return ScoreGuidance(denoise, schedule, reader, self.operator, observed, through, gamma)

    def sampled(self, guided, steps, probes):
        """Mean field and covariance of probes of it: the sampler is affine in its noise."""
        noise = torch.zeros(1, *self.extent.shape, requires_grad=True)
        field = sample(guided, noise, self.prior.schedule, steps, order=2)[0]
        rows = []
        for probe in probes.float():
            (row,) = torch.autograd.grad(field, noise, probe, retain_graph=True)
            rows.append(row.flatten().double())
        rows = torch.stack(rows)
        return field.detach().double(), rows @ rows.T

    def exact(self, y, probes):
        """Mean field, and covariance of probes."""
        weighted = self.prior.covariance_times(self.seen).flatten(1)
        seen = self.seen.flatten(1)
        gram = weighted @ seen.T
        spread = torch.linalg.inv(gram + ERROR**2 * torch.eye(len(seen)).double())
        mean = (weighted.T @ (spread @ y)).unflatten(0, self.extent.shape)
        cross = probes.flatten(1) @ weighted.T
        own = probes.flatten(1) @ self.prior.covariance_times(probes).flatten(1).T
        return mean, own - cross @ spread @ cross.T, gram


@cache
def world(*lengths):
    return World(lengths)


@cache
def errors(lengths, mode, steps, passes=1):
    """Root mean square error of the GCM cells' means and of single cells; ratio of sd."""
    it = world(*lengths)
    nothing = torch.zeros(len(it.seen), dtype=torch.float64)
    _, _, gram = it.exact(nothing, it.seen)
    spread = gram + ERROR**2 * torch.eye(len(gram), dtype=torch.float64)
    draw = torch.randn(len(gram), generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    y = torch.linalg.cholesky(spread) @ draw
    mean, covariance, _ = it.exact(y, it.seen)
    field, found = it.sampled(it.guided(mode, y, passes), steps, it.seen)
    std = (gram if mode == "none" else covariance).diagonal().sqrt()
    away = (it.seen * (field - mean)).sum((1, 2, 3)) / std
    cells = (field - mean).square().mean() / mean.square().mean()
    ratios = found.diagonal().sqrt() / std
    return away.square().mean().sqrt().item(), cells.sqrt().item(), ratios


ALONE = (0.0, 0.0, 0.0)
EACH, DAYS, SPACE = (2.0, 2.0, 2.0), (30.0, 0.0, 0.0), (0.0, 30.0, 30.0)


def test_the_oracle_is_right():
    """Posterior of the observation in two ways; and it is not the prior."""
    it = world(*EACH)
    mean, covariance, gram = it.exact(torch.ones(len(it.seen)).double(), it.seen)
    error = ERROR**2 * torch.eye(len(gram)).double()
    assert torch.allclose(
        torch.linalg.inv(covariance), gram.inverse() + error.inverse(), rtol=1e-6
    )
    expected = covariance @ (error.inverse() @ torch.ones(len(gram)).double())
    assert torch.allclose((it.seen * mean).sum((1, 2, 3)), expected, rtol=1e-6)
    assert (covariance.diagonal() < 0.1 * gram.diagonal()).all()


def test_what_the_operator_sees_is_what_the_reader_gives():
    it = world(*ALONE)
    field = torch.randn(it.extent.shape, generator=torch.Generator().manual_seed(3))
    rain = it.prior.decode(field[None, None])[0]
    seen = it.operator(rain)[it.operator.inside[None]]
    assert torch.allclose((it.seen * field).sum((1, 2, 3)).float(), seen, atol=1e-5)


@pytest.mark.parametrize(
    ("mode", "steps", "low", "high"),
    [
        ("fast", 64, 0.98, 1.03),
        ("fast", 8, 0.95, 1.03),
        ("detached", 32, 0.97, 1.05),
        ("exact", 32, 0.97, 1.05),
        ("exact", 8, 0.90, 1.05),
    ],
)
def test_independent_cells_have_the_exact_posterior(mode, steps, low, high):
    mean, cells, ratios = errors(ALONE, mode, steps)
    assert mean < 0.08
    assert cells < 0.2  # of the posterior mean's own size: where GCM cells share a latent cell
    assert low < ratios.min() <= ratios.max() < high


@pytest.mark.parametrize("mode", ["fast", "together"])
def test_more_passes_do_not_agree_more_than_they_should(mode):
    mean, cells, ratios = errors(ALONE, mode, 8, passes=3)
    assert mean < 0.03
    assert cells < 0.05
    assert 0.94 < ratios.min() <= ratios.max() < 1.0


@pytest.mark.parametrize(("lengths", "sd"), [(EACH, 0.95), (DAYS, 0.73), (SPACE, 0.84)])
def test_blending_loses_what_no_window_can_see(lengths, sd):
    """Longer than a window, correlations are lost: the monthly means of the prior vary less."""
    ratios = errors(lengths, "none", 64)[2]
    assert ratios.square().mean().sqrt().item() == pytest.approx(sd, abs=0.04)


@pytest.mark.parametrize("lengths", [EACH, DAYS, SPACE])
def test_correlated_cells_as_the_user_gets_them(lengths):
    """The default (three passes, eight steps): little bias; some of the spread is missing."""
    mean, cells, ratios = errors(lengths, "together", 8, passes=FAST_PASSES)
    assert mean < 0.2
    assert 0.5 < ratios.min() <= ratios.max() < 1.0
    weak, blurred, wide = errors(lengths, "fast", 8, passes=FAST_PASSES)
    assert mean < 0.3 * weak
    assert cells < 0.7 * blurred
    assert 1.5 < wide.min() <= wide.max() < 2.0


@pytest.mark.parametrize("lengths", [EACH, DAYS, SPACE])
@pytest.mark.parametrize(("mode", "mean", "low", "high"), [
    ("exact", 0.45, 0.45, 1.3), ("detached", 1.4, 1.4, 2.2),
])  # fmt: skip
def test_correlated_cells_as_published(lengths, mode, mean, low, high):
    found, _, ratios = errors(lengths, mode, 8)
    assert found < mean
    assert low < ratios.min() <= ratios.max() < high
