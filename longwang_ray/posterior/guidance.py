"""Pull a denoiser towards an observation: denoiser in, denoiser out.

With ``C`` the covariance of an estimate's errors (`posterior.covariance`) and ``s = σ/α``:

* ``HeadGuidance`` (``fast``) moves the estimate to the most likely one given the month, through
  the coarse head ``h``. That is where ``R w = y − A h(x̂ + C Jᵀ Aᵀ w)``, and a few steps of Newton
  find the weights ``w`` of the observations:

      Δw = (R + D)⁻¹ (y − A h(x̂) − R w),    R = σ_y²,    D_j ≈ Σ_l (A J C Jᵀ Aᵀ)_jl
      w ← w + Δw,    x̂ ← x̂ + C Jᵀ Aᵀ Δw

  One pass is the posterior mean of a linear head, and more change nothing then. The row sums
  ``D`` bound the matrix, so that observations finer than a latent cell do not overshoot together;
  for coarser ones they are its diagonal. The denoiser and decoder are not touched: a pass costs a
  few per cent of a decoder's. Rain is close to exponential in the latent: linearised at a dry
  estimate, a wet month would ask for a leap. So both sides are compared on a logarithmic scale,
  ``g(y) − g(A h)`` with ``g = log(· + floor)``, where the head is close to linear; ``R`` and ``J``
  are those of the compared values. And while noise is high, ``h`` reads the rain that an estimate
  stands for, not its own (`prior.estimates`).

* ``ScoreGuidance`` is the published Gaussian score (SDA, Rozet & Louppe 2023) through the decoder
  ``d``, with or without the denoiser (``exact``, ``detached``),

      log p = −½ Σ (y − A d(x̂))² / (σ_y² + γ s²),    x̂ ← x̂ + σ²/α ∇_x log p

  ``BoundedScoreGuidance``, which runs use, keeps its steps from overshooting.

No sum runs over a tile except those that ``A`` itself is made of.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol

import torch
from torch import Tensor

from longwang_ray.posterior.covariance import Covariance, Spread, White
from longwang_ray.posterior.observation import MonthlyMean, Observation
from longwang_ray.posterior.reading import Reader
from longwang_ray.posterior.sampler import Denoise
from longwang_ray.prior.schedule import Schedule

Guidance = Literal["fast", "detached", "exact", "none"]
ReaderAt = Callable[[Tensor], Reader]
"""How estimates of a time ``()`` are read."""

PullBack = Callable[[Tensor, Tensor, Tensor], Tensor]
"""``(x, t, g) → Jᵀ g`` of a denoiser at ``x`` and time ``t``."""

FAST_PASSES = 2
LARGEST_MOVE = 0.5
"""Of a latent in a pass, in standard deviations: where nothing rains, a slope tells little."""

GAMMA = 1e-2


class Scale(Protocol):
    """On which scale an estimate is compared with its observation."""

    def __call__(self, rain: Tensor) -> Tensor:
        """Rain in mm/day on this scale."""

    def slope(self, rain: Tensor) -> Tensor:
        """Derivative of the scale."""


class Linear:
    """mm/day as they are."""

    def __call__(self, rain: Tensor) -> Tensor:
        """The rain itself."""
        return rain

    def slope(self, rain: Tensor) -> Tensor:
        """One."""
        return torch.ones_like(rain)


@dataclass(frozen=True)
class Logarithmic:
    """``log(rain + floor)``.

    Attributes:
        floor: Where the logarithm turns linear, mm/day.
    """

    floor: float = 0.2

    def __call__(self, rain: Tensor) -> Tensor:
        """Logarithm of rain."""
        return (rain + self.floor).log()

    def slope(self, rain: Tensor) -> Tensor:
        """``1/(rain + floor)``."""
        return 1.0 / (rain + self.floor)


@dataclass(frozen=True)
class HeadGuidance:
    """The most likely estimate given the month, through the coarse head.

    Attributes:
        denoise: The denoiser to guide.
        covariance: Of its errors, by time.
        read: The coarse head on the field, by time.
        operator: ``A`` on the head's cells.
        observation: ``y`` and its error.
        scale: On which estimate and observation are compared.
        passes: Steps of Newton.
    """

    denoise: Denoise
    covariance: Covariance
    read: ReaderAt
    operator: MonthlyMean
    observation: Observation
    scale: Scale = field(default_factory=Linear)
    passes: int = FAST_PASSES

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """The guided estimate of the clean latent."""
        estimate = self.denoise(x, t)
        errors, read = self.covariance(t), self.read(t)
        observed, scale = self.observation, self.scale
        aim, error = scale(observed.mean), observed.std * scale.slope(observed.mean)
        seen, sums = self._steepness(estimate, read, errors)
        spread = error.square() + scale.slope(seen).square() * sums
        weight = torch.zeros_like(aim)
        for later in range(self.passes):
            if later:
                seen = self.operator(read(estimate))
            open_yet = aim - scale(seen) - error.square() * weight
            step = torch.where(observed.counts, open_yet / spread, 0.0)
            weight = weight + step
            estimate = self._moved(estimate, scale.slope(seen) * step, read, errors)
        return estimate

    # Fields of the whole extent live in the two below and not longer: they are what a tile costs.

    def _steepness(self, estimate: Tensor, read: Reader, errors: Spread) -> tuple[Tensor, Tensor]:
        """What is seen of an estimate, and the row sums there."""
        rain, pulled = read.steepness(estimate)
        seen = self.operator(rain)
        del rain
        local = _local(pulled, read, self.operator, self.observation)
        del pulled
        return seen, local.row_sums(errors)

    def _moved(self, estimate: Tensor, pull: Tensor, read: Reader, errors: Spread) -> Tensor:
        """``x̂ + C Jᵀ Aᵀ Δw``, no further than a pass may."""
        move = errors(read.pull_back(estimate, self.operator.transpose(pull)))
        return estimate + move.clamp_(-LARGEST_MOVE, LARGEST_MOVE)


class _Local(NamedTuple):
    """A reader taken as local: how much rain a latent cell makes, and how it is seen.

    Attributes:
        slope: ``S``: ``Jᵀ 1`` over the cells that a latent cell is read in, of its shape.
        shares: ``A'ᵀ1``: the shares that latent cells have in what is observed.
        latent: ``A'``, the operator on means over latent cells.
    """

    slope: Tensor
    shares: Tensor
    latent: MonthlyMean

    def row_sums(self, errors: Spread) -> Tensor:
        """``D = A' (S · C (S A'ᵀ1))``."""
        return self.latent((self.slope * errors(self.shares * self.slope)).sum(0))


def _local(
    pulled: Tensor, read: Reader, operator: MonthlyMean, observation: Observation
) -> _Local:
    """Of ``Jᵀ 1`` at an estimate."""
    at = read.at
    latent = operator.coarsen(*at)
    shares = latent.transpose(observation.counts.to(pulled.dtype))
    return _Local(pulled / (at.time * at.lat * at.lon), shares, latent)


@dataclass(frozen=True)
class ScoreGuidance:
    """The published Gaussian score through the decoder.

    Attributes:
        denoise: The denoiser to guide.
        schedule: Its schedule.
        read: The decoder on all windows.
        operator: ``A`` on fine cells.
        observation: ``y`` and its error.
        denoise_pull_back: Gradient through the denoiser, ``(x, t, g) → Jᵀg`` (``exact``);
            ``None`` takes ``∂x̂/∂x = 1/α`` (``detached`` of an ε-prediction).
        gamma: ``γ``: how uncertain an estimate is at each noise level.
    """

    denoise: Denoise
    schedule: Schedule
    read: Reader
    operator: MonthlyMean
    observation: Observation
    denoise_pull_back: PullBack | None = None
    gamma: float = GAMMA

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """The guided estimate of the clean latent."""
        estimate = self.denoise(x, t)
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        ratio = (sigma / alpha).square()
        residual = self.observation.residual(self.operator(self.read(estimate)))
        pull = residual / (self.observation.std.square() + self._spread(x, t, estimate))
        score = self.read.pull_back(estimate, self.operator.transpose(pull))
        if self.denoise_pull_back is None:
            return estimate + ratio * score
        return estimate + sigma.square() / alpha * self.denoise_pull_back(x, t, score)

    def _spread(self, x: Tensor, t: Tensor, estimate: Tensor) -> Tensor:
        """Variance of what is observed, given the noisy latent; published: ``γ s²``."""
        ratio = (self.schedule.sigma(t) / self.schedule.alpha(t)).square()
        return self.gamma * ratio.expand(self.observation.mean.shape)


@dataclass(frozen=True)
class BoundedScoreGuidance(ScoreGuidance):
    """The same with steps that do not overshoot: ``max(γ s², D)`` in the place of ``γ s²``.

    Where the decoder is steep, ``γ s²`` is far below the variance ``D`` (row sums of
    ``A J C Jᵀ Aᵀ``, with the covariance ``C = σ²/α ∂x̂/∂x`` of the estimate, or ``c`` where that is
    larger) that the observed value still has. A step then moves it many times past ``y``, and an
    exponential decoder never comes back: on the demonstration prior 8 published steps end in NaN.
    """

    def _spread(self, x: Tensor, t: Tensor, estimate: Tensor) -> Tensor:
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        sizes = zip(estimate.shape[1:], self.read.at, strict=True)
        pulled = self.read.pull_back(estimate, estimate.new_ones([n * r for n, r in sizes]))
        local = _local(pulled, self.read, self.operator, self.observation)
        seen = local.row_sums(White(self.schedule)(t))
        if (back := self.denoise_pull_back) is not None:
            seen = torch.maximum(
                seen, local.row_sums(lambda field: sigma.square() / alpha * back(x, t, field))
            )
        return torch.maximum(seen, super()._spread(x, t, estimate))
