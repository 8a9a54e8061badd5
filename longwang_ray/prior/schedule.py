"""Noise schedules: ``x_t = α(t) x₀ + σ(t) ε`` for ``t`` from 0 (clean) to 1 (noise).

``cosine_squared`` is the published one, ``α = cos²(arccos(√η) t)``, ``σ = √(1 − α² + η²)``.
``power`` spaces the noise-to-signal ratio ``s = σ/α`` evenly in ``s^(1/ρ)`` (Karras et al. 2022)
and keeps unit variance: ``s(t) = (t s_max^{1/ρ} + (1 − t) s_min^{1/ρ})^ρ``, ``α = 1/√(1 + s²)``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor


class Schedule(Protocol):
    """Signal and noise at a time."""

    def alpha(self, t: Tensor) -> Tensor:
        """Share of the clean latent, same shape as ``t``."""

    def sigma(self, t: Tensor) -> Tensor:
        """Standard deviation of the noise, same shape as ``t``."""


@dataclass(frozen=True)
class CosineSquared:
    """The published variance-preserving schedule."""

    eta: float = 1e-3
    kind: Literal["cosine_squared"] = "cosine_squared"

    def alpha(self, t: Tensor) -> Tensor:
        """``cos²(arccos(√η) t)``."""
        return torch.cos(math.acos(math.sqrt(self.eta)) * t).square()

    def sigma(self, t: Tensor) -> Tensor:
        """``√(1 − α² + η²)``."""
        return (1.0 - self.alpha(t).square() + self.eta**2).sqrt()


@dataclass(frozen=True)
class Power:
    """Noise-to-signal ratio from ``s_min`` to ``s_max``, evenly spaced in its ``ρ``-th root."""

    s_min: float = 0.02
    s_max: float = 60.0
    rho: float = 5.0
    kind: Literal["power"] = "power"

    def ratio(self, t: Tensor) -> Tensor:
        """``s(t) = σ/α``."""
        low, high = self.s_min ** (1 / self.rho), self.s_max ** (1 / self.rho)
        return (t * high + (1 - t) * low) ** self.rho

    def alpha(self, t: Tensor) -> Tensor:
        """``1/√(1 + s²)``."""
        return (1.0 + self.ratio(t).square()).rsqrt()

    def sigma(self, t: Tensor) -> Tensor:
        """``s/√(1 + s²)``."""
        return self.ratio(t) * self.alpha(t)
