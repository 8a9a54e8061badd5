"""Rain as guidance reads it from a latent field, and the gradient of what it read.

``WindowReader`` decodes all windows and blends them in mm/day. ``HeadReader`` applies the coarse
head to the field itself: its receptive field is two latent cells and it is the same everywhere, so
it is a function of the global field as windows are, and each cell is read once instead of once a
window.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from longwang_ray.posterior.blending import Blend, Resolution, WindowFn
from longwang_ray.prior.head import QUARTERS, CoarseHead

REACH = 2
"""Latent cells on each side that the head sees."""

CELLS_AT_ONCE = 40_000
"""Latent cells read at once: bounds what the head's gradient keeps in memory."""


class Reader(Protocol):
    """A map from a latent field to daily rain."""

    @property
    def at(self) -> Resolution:
        """Cells of rain per latent cell."""

    def __call__(self, latent: Tensor) -> Tensor:
        """``(channel, T, H, W)`` → ``(days, lat, lon)``, mm/day."""

    def pull_back(self, latent: Tensor, cotangent: Tensor) -> Tensor:
        """``Jᵀ g`` at a latent: ``(days, lat, lon)`` → ``(channel, T, H, W)``."""


@dataclass(frozen=True)
class WindowReader:
    """Windows read one by one and blended.

    Attributes:
        blend: The windows.
        windows: Latent windows ``(batch, channel, T, H, W)`` → rain ``(batch, 1, …)``.
        at: Cells of rain per latent cell.
    """

    blend: Blend
    windows: WindowFn
    at: Resolution

    def __call__(self, latent: Tensor) -> Tensor:
        """Blended rain."""
        return self.blend(self.windows, latent, self.at)[0]

    def pull_back(self, latent: Tensor, cotangent: Tensor) -> Tensor:
        """Window by window."""
        return self.blend.pull_back(self.windows, latent, cotangent[None], self.at)


@dataclass(frozen=True)
class HeadReader:
    """The coarse head on a field.

    Attributes:
        head: The head.
        closed: Whether the field goes round the circle.
    """

    head: CoarseHead
    closed: bool

    @property
    def at(self) -> Resolution:
        """Two head cells a latent cell, and its days."""
        return Resolution(self.head.config.time_compression, QUARTERS, QUARTERS)

    def __call__(self, latent: Tensor) -> Tensor:
        """Daily means of quarter cells."""
        return torch.cat([self._read(latent[:, days]) for days, _ in self._parts(latent)])

    def pull_back(self, latent: Tensor, cotangent: Tensor) -> Tensor:
        """A few days at a time: the head does not look from day to day."""
        pulled = torch.empty_like(latent)
        for days, rain_days in self._parts(latent):
            part = latent[:, days].detach().requires_grad_()
            with torch.enable_grad():
                rain = self._read(part)
            (pulled[:, days],) = torch.autograd.grad(rain, part, cotangent[rain_days])
        return pulled

    def _parts(self, latent: Tensor) -> Iterator[tuple[slice, slice]]:
        time, rows, columns = latent.shape[1:]
        step = max(1, CELLS_AT_ONCE // (rows * columns))
        for first in range(0, time, step):
            stop = min(first + step, time)
            yield slice(first, stop), slice(first * self.at.time, stop * self.at.time)

    def _read(self, latent: Tensor) -> Tensor:
        if not self.closed:
            return self.head(latent[None])[0]
        around = torch.cat([latent[..., -REACH:], latent, latent[..., :REACH]], dim=-1)
        cut = REACH * QUARTERS
        return self.head(around[None])[0, ..., cut:-cut]
