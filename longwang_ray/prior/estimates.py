"""What a denoiser's estimates are worth: the rain they stand for, and how they are wrong together.

An estimate ``x̂ = E[x₀ | x_t]`` is a mean of latents, and two things of the samples that it stands
for are not in it. Both are measured on training days (`training.estimates`) at a few times, and
interpolated between them.

* **Rain.** It is convex in the latent: while noise is high, the head reads far less rain from an
  estimate than its samples will have (13 times less at the first step of the demonstration prior,
  2 times at the fifth of eight). Compared with an observation must be

      φ_t(r) = E[h(x₀) | h(x̂) = r]

  which increases with ``r``. Between its knots it is linear in ``log(r + δ)`` and ``log(φ + δ)``,
  beyond them it keeps their ratio.

* **Error.** Cells and days beside each other are wrong together, and channels with one another:

      Cov(x₀ − x̂) ≈ Σ_t ⊗ K(ρ_time) ⊗ K(ρ_lat) ⊗ K(ρ_lon),    K_ij = (1 − d/(D + 1))₊ ρ^d

  with ``d = |i − j|``. ``K`` is positive definite, as the product of two kernels that are, and
  ends after ``D`` cells.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

SMALLEST = 1e-3
"""``δ``, mm/day: what is below it counts as nothing."""

REACH = (3, 6, 6)
"""``D``: latent days, rows and columns that errors reach."""


@dataclass(frozen=True)
class EstimatesConfig:
    """Sizes of the tables.

    Attributes:
        latent_channels: Channels of the latent.
        times: How many times of the schedule.
        knots: Of ``φ``.
    """

    latent_channels: int = 16
    times: int = 17
    knots: int = 33


@dataclass(frozen=True)
class Curve:
    """``φ`` at one time.

    Attributes:
        read: ``log(r + δ)`` of the knots, increasing, ``(knots,)``.
        expected: ``log(φ(r) + δ)``, the same shape.
    """

    read: Tensor
    expected: Tensor

    def __call__(self, rain: Tensor) -> Tensor:
        """Expected rain of what was read, mm/day, any shape; differentiable, never negative."""
        log = (rain + SMALLEST).log()
        before = torch.searchsorted(self.read, log.detach().contiguous()) - 1
        first, last = before < 0, before >= len(self.read) - 1
        k = before.clamp(0, len(self.read) - 2)
        rise = (self.expected[k + 1] - self.expected[k]) / (self.read[k + 1] - self.read[k])
        slope = torch.where(first | last, 1.0, rise)
        knot = k + last
        moved = self.expected[knot] + slope * (log - self.read[knot])
        return (moved.exp() - SMALLEST).clamp(min=0.0)


@dataclass(frozen=True)
class Errors:
    """The errors' covariance at one time.

    Attributes:
        channels: ``Σ``, ``(channel, channel)``.
        neighbours: ``ρ`` in time, latitude and longitude, ``(3,)``.
    """

    channels: Tensor
    neighbours: Tensor

    def kernels(self, shape: tuple[int, int, int], closed: bool) -> list[Tensor]:
        """``K`` along each axis of a field.

        Args:
            shape: Latent days, rows and columns.
            closed: Whether the columns go round the circle.
        """
        rounds = (False, False, closed)
        return [
            _kernel(n, rho, reach, around)
            for n, rho, reach, around in zip(shape, self.neighbours, REACH, rounds, strict=True)
        ]


class EstimateTables(nn.Module):
    """Both at all times that were measured; nothing here is learned.

    Attributes:
        times: From 0 (clean) to 1 (noise), increasing, ``(times,)``.
        read: Knots ``r``, mm/day, increasing, ``(knots,)``.
        expected: ``φ``, mm/day, ``(times, knots)``.
        channels: ``Σ``, ``(times, channel, channel)``.
        neighbours: ``ρ``, ``(times, 3)``.
    """

    times: Tensor
    read: Tensor
    expected: Tensor
    channels: Tensor
    neighbours: Tensor

    def __init__(self, config: EstimatesConfig) -> None:
        super().__init__()
        self.config = config
        times, knots, c = config.times, config.knots, config.latent_channels
        self.register_buffer("times", torch.linspace(0.0, 1.0, times))
        self.register_buffer("read", torch.linspace(SMALLEST, 1.0, knots))
        self.register_buffer("expected", torch.zeros(times, knots))
        self.register_buffer("channels", torch.zeros(times, c, c))
        self.register_buffer("neighbours", torch.zeros(times, 3))

    @classmethod
    def of(
        cls, times: Tensor, read: Tensor, expected: Tensor, channels: Tensor, neighbours: Tensor
    ) -> EstimateTables:
        """Tables that hold these, as float32.

        Raises:
            ValueError: if times or knots do not increase, or ``expected`` decreases along them.
        """
        if not ((times.diff() > 0).all() and (read.diff() > 0).all()):
            raise ValueError("times and knots must increase")
        if (expected.diff(dim=1) < 0).any():
            raise ValueError("what is expected must not decrease with what is read")
        made = cls(EstimatesConfig(channels.shape[1], len(times), len(read)))
        found = {"times": times, "read": read, "expected": expected}
        found |= {"channels": channels, "neighbours": neighbours}
        made.load_state_dict({name: value.float() for name, value in found.items()})
        return made

    def curve(self, t: Tensor) -> Curve:
        """``φ`` at a time ``()``."""
        return Curve((self.read + SMALLEST).log(), self._at(t, (self.expected + SMALLEST).log()))

    def errors(self, t: Tensor) -> Errors:
        """Their covariance at a time ``()``."""
        return Errors(self._at(t, self.channels), self._at(t, self.neighbours))

    def _at(self, t: Tensor, table: Tensor) -> Tensor:
        """A row of a table, interpolated in time."""
        k = int(torch.searchsorted(self.times, t.contiguous()).clamp(1, len(self.times) - 1))
        share = ((t - self.times[k - 1]) / (self.times[k] - self.times[k - 1])).clamp(0.0, 1.0)
        return torch.lerp(table[k - 1], table[k], share)


def _kernel(n: int, rho: Tensor, reach: int, around: bool) -> Tensor:
    """``K``, ``(n, n)``."""
    at = torch.arange(n, device=rho.device)
    apart = (at[:, None] - at[None, :]).abs()
    if around:
        apart = torch.minimum(apart, n - apart)
    return (1.0 - apart / (reach + 1)).clamp(min=0.0) * rho.clamp(min=0.0) ** apart
