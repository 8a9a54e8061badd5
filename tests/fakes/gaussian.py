"""A prior whose posterior is known: Gaussian latents, denoised exactly, read by a formula.

    z ~ N(0, Σ),  Σ = C(L_t) ⊗ C(L_φ) ⊗ C(L_λ),   C(L)_ij = exp(−|i − j|/L),   rain = f(z)

``L = 0`` leaves cells independent. A window's denoiser is the exact posterior mean of what its own
cells show, ``x̂ = αΣ_w(α²Σ_w + σ²)⁻¹ x``, as a perfect network that sees one window; its
decoder and its coarse head give each fine cell ``f`` of its latent cell. ``GaussianPrior``
stands wherever the package takes a `Prior`, so that lattice, noise, blending, guidance, sampler,
decoding and closure are the real ones.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from types import SimpleNamespace

import torch
from torch import Tensor

from longwang_ray.domain.grid import era5_grid
from longwang_ray.domain.lattice import Extent, Lattice
from longwang_ray.posterior.observation import MonthlyMean
from longwang_ray.prior.estimates import EstimateTables
from longwang_ray.prior.head import QUARTERS
from longwang_ray.prior.schedule import Power

Lengths = tuple[float, float, float]


def correlation(length: float, n: int) -> Tensor:
    """Matrix of ``exp(−|i − j|/L)``; the unit matrix for ``L = 0``."""
    place = torch.arange(n, dtype=torch.float64)
    away = (place[:, None] - place[None, :]).abs()
    return torch.eye(n, dtype=torch.float64) if not length else torch.exp(-away / length)


@dataclass(frozen=True)
class LinearRain:
    """``rain = mean + slope · z``, below zero too."""

    mean: float = 0.0
    slope: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return self.mean + self.slope * z


@dataclass(frozen=True)
class LogNormalRain:
    """``rain = median · exp(spread · z)``: never dry, with a heavy tail."""

    median: float = 2.0
    spread: float = 1.0

    def __call__(self, z: Tensor) -> Tensor:
        return self.median * torch.exp(self.spread * z)


class GaussianDenoiser:
    """The exact denoiser of windows of ``N(0, Σ_w)``, parametrised as ours are (edm)."""

    order = 2
    config = SimpleNamespace(context=0)

    def __init__(self, lengths: Lengths, schedule: Power) -> None:
        self.lengths, self.schedule = lengths, schedule
        self._modes: dict[tuple[int, ...], tuple[list[Tensor], Tensor]] = {}

    def __call__(self, windows: Tensor, times: Tensor, context: Tensor | None = None) -> Tensor:
        bases, power = self._modes_of(tuple(windows.shape[-3:]))
        alpha, sigma = self.schedule.alpha(times[0]), self.schedule.sigma(times[0])
        gain = alpha * power / (alpha.square() * power + sigma.square())
        if not any(self.lengths):
            return gain * windows
        modes = torch.einsum("bctij,tu,iv,jw->bcuvw", windows, *bases)
        return torch.einsum("bcuvw,tu,iv,jw->bctij", gain * modes, *bases)

    def error_moments(self, t: Tensor, shape: tuple[int, int, int]) -> tuple[Tensor, Tensor]:
        """Mean variance of a window's errors, and their correlation with the next cell, ``(3,)``.

        In the basis of the prior's own covariance, ``Cov = λσ²/(α²λ + σ²)``.
        """
        bases, power = self._modes_of(shape)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        left = power * sigma.square() / (alpha.square() * power + sigma.square())
        beside = []
        for axis, basis in enumerate(bases):
            others = left.sum([k for k in range(3) if k != axis])
            pairs = ((basis[1:] * basis[:-1]).sum(0) * others).sum() / (shape[axis] - 1)
            beside.append(pairs * shape[axis] / left.sum())
        return left.mean(), torch.stack(beside)

    def skip(self, t: Tensor) -> Tensor:
        """``∂x̂/∂x`` of a unit-variance latent cell that stands alone."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        return alpha / (alpha.square() + sigma.square())

    def _modes_of(self, shape: tuple[int, ...]) -> tuple[list[Tensor], Tensor]:
        if shape not in self._modes:
            parts = [
                torch.linalg.eigh(correlation(length, n))
                for length, n in zip(self.lengths, shape, strict=True)
            ]
            power = torch.einsum("t,i,j->tij", *(values for values, _ in parts))
            self._modes[shape] = [basis.float() for _, basis in parts], power.float()
        return self._modes[shape]


class RepeatingHead:
    """``f`` of each latent cell on its quarters and days."""

    def __init__(self, rain: LinearRain | LogNormalRain, days: int) -> None:
        self.rain = rain
        self.config = SimpleNamespace(time_compression=days, reach_in_time=0)

    def __call__(self, z: Tensor) -> Tensor:
        return spread(self.rain(z[:, 0]), (self.config.time_compression, QUARTERS, QUARTERS))


def spread(cells: Tensor, factors: tuple[int, int, int]) -> Tensor:
    """Repeat each cell of the last three axes."""
    for axis, factor in zip((-3, -2, -1), factors, strict=True):
        cells = cells.repeat_interleave(factor, axis)
    return cells


@dataclass(frozen=True)
class GaussianPrior:
    """All that sampling asks of a prior; by default on a 2.5° grid with 5° latent cells.

    Attributes:
        rain: ``f``.
        lengths: ``L`` in time, latitude and longitude, latent cells.
        window: Days, rows and columns of a window.
        stride: Days, rows and columns between windows.
        compression: Fine cells a latent cell.
    """

    rain: LinearRain | LogNormalRain = field(default_factory=LogNormalRain)
    lengths: Lengths = (0.0, 0.0, 0.0)
    window: tuple[int, int, int] = (8, 16, 16)
    stride: tuple[int, int, int] = (4, 8, 8)
    compression: tuple[int, int, int] = (1, 2, 2)
    grid_step: float = 2.5
    schedule: Power = field(default_factory=Power)
    dry_threshold: float = -1e9
    name: str = "gaussian"
    channels: int = 1
    estimates: EstimateTables | None = None

    @cached_property
    def grid(self):
        """The fine grid."""
        return era5_grid(self.grid_step)

    @cached_property
    def lattice(self) -> Lattice:
        """All windows, in latent cells."""
        size = zip(self.window, self.stride, self.compression, strict=True)
        window, stride = zip(*((w // c, s // c) for w, s, c in size), strict=True)
        rows, columns = self.compression[1:]
        shape = self.grid.n_lat // rows, self.grid.n_lon // columns
        return Lattice(window, stride, self.compression, shape)

    @cached_property
    def denoiser(self) -> GaussianDenoiser:
        """Exact on a window."""
        return GaussianDenoiser(self.lengths, self.schedule)

    @cached_property
    def head(self) -> RepeatingHead:
        """Exact."""
        return RepeatingHead(self.rain, self.compression[0])

    def decode(self, latent: Tensor, clamp: bool = True) -> Tensor:
        """Rain of latents, ``(batch, channel, T, H, W)`` → ``(batch, days, lat, lon)``."""
        return spread(self.rain(latent[:, 0]), self.compression)

    def tables(self) -> EstimateTables:
        """What its estimates are worth, in closed form, for linear rain."""
        times, knots = torch.linspace(0.0, 1.0, 17), torch.tensor([0.1, 1.0])
        window = tuple(w // c for w, c in zip(self.window, self.compression, strict=True))
        moments = [self.denoiser.error_moments(t, window) for t in times]
        variance = torch.stack([v for v, _ in moments])[:, None, None]
        beside = torch.stack([rho for _, rho in moments]).clamp(0.0, 1.0)
        return EstimateTables.of(times, knots, knots.expand(17, 2), variance, beside)

    def draw(self, extent: Extent, generator: torch.Generator) -> Tensor:
        """A latent field of the prior itself, ``(1, T, H, W)``: a truth."""
        roots = [
            torch.linalg.cholesky(correlation(length, n)).float()
            for length, n in zip(self.lengths, extent.shape, strict=True)
        ]
        noise = torch.randn(extent.shape, generator=generator)
        return torch.einsum("tij,ut,vi,wj->uvw", noise, *roots)[None]

    def seen(self, operator: MonthlyMean) -> Tensor:
        """``A J`` of linear rain, ``(observations, T, H, W)``, float64, observed cells only."""
        month, lat, lon = (
            weights.double().unflatten(1, (-1, factor)).sum(-1)
            for weights, factor in zip(
                (operator.month, operator.lat, operator.lon), self.compression, strict=True
            )
        )
        rows = torch.einsum("mt,ji,kl->mjktil", month, lat, lon)
        return self.rain.slope * rows[:, operator.inside].flatten(0, 1)

    def covariance_times(self, fields: Tensor) -> Tensor:
        """``Σ v`` of fields ``(…, T, H, W)``, float64."""
        parts = (
            correlation(length, n)
            for length, n in zip(self.lengths, fields.shape[-3:], strict=True)
        )
        return torch.einsum("...tij,ut,vi,wj->...uvw", fields, *parts)
