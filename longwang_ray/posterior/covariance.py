"""How a denoiser's estimate is wrong: what guidance spreads its corrections by.

An observation of a month says how wrong the estimates of all its days are in the mean, not which.
What is wrong together is corrected together,

    x̂ ← x̂ + C Jᵀ Aᵀ (…),      C = Cov(x₀ − x̂)

With white errors, ``C = c I`` with ``c = s²/(1 + s²)`` and ``s = σ/α``, the correction goes where
``J`` is steep: rain that is heavy already is made heavier, and the month comes from a few
extremes. Measured errors reach over rows, columns and days. Only how they go together is taken
from the measurement; their size remains ``c``, all that the noise leaves open: in a month that is
not like those of the training, the prior is wrong by more than it was there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from longwang_ray.prior.estimates import EstimateTables
from longwang_ray.prior.schedule import Schedule

Spread = Callable[[Tensor], Tensor]
"""``g → C g`` on fields ``(channel, T, H, W)``."""

Covariance = Callable[[Tensor], Spread]
"""The covariance of estimates at a time ``()``."""


@dataclass(frozen=True)
class White:
    """Unit normal latents, each wrong by itself: ``C = c I``.

    Attributes:
        schedule: Of the denoiser.
    """

    schedule: Schedule

    def __call__(self, t: Tensor) -> Spread:
        """At a time."""
        variance = white_variance(self.schedule, t)
        return lambda field: variance * field


@dataclass(frozen=True)
class Measured:
    """``C = c Σ/σ̄² ⊗ K ⊗ K ⊗ K`` with ``σ̄²`` the mean variance in ``Σ``, measured with the prior.

    Attributes:
        schedule: Of the denoiser.
        tables: What was measured.
        closed: Whether fields go round the circle.
    """

    schedule: Schedule
    tables: EstimateTables
    closed: bool

    def __call__(self, t: Tensor) -> Spread:
        """At a time."""
        errors = self.tables.errors(t)
        size = errors.channels.diagonal().mean().clamp(min=1e-12)
        channels = errors.channels * (white_variance(self.schedule, t) / size)

        def spread(field: Tensor) -> Tensor:
            _, t, i, j = field.shape
            days, rows, columns = errors.kernels((t, i, j), self.closed)
            field = torch.einsum("ab,btij->atij", channels, field)  # one name: each is dropped
            field = torch.einsum("st,atij->asij", days, field)
            return rows @ field @ columns

        return spread


def white_variance(schedule: Schedule, t: Tensor) -> Tensor:
    """``c = s²/(1 + s²)``: what a unit normal still varies given its noisy value."""
    ratio = (schedule.sigma(t) / schedule.alpha(t)).square()
    return ratio / (1.0 + ratio)
