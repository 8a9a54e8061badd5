"""Rain as guidance reads it from a latent field, and the gradient of what it read.

``WindowReader`` decodes all windows and blends them in mm/day. ``HeadReader`` applies the coarse
head to the field itself: its receptive field is two latent cells and it is the same everywhere, so
it is a function of the global field as windows are, and each cell is read once instead of once a
window. While noise is high, it reads what an estimate stands for (`prior.estimates`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from longwang_ray.posterior.blending import Blend, Resolution, WindowFn
from longwang_ray.prior.estimates import Curve, EstimateTables
from longwang_ray.prior.head import QUARTERS, REACH, CoarseHead

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

    def steepness(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """What is read at a latent, and ``Jᵀ 1`` there: both for the price of the gradient."""


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

    def steepness(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Read, then pulled back."""
        rain = self(latent)
        return rain, self.pull_back(latent, torch.ones_like(rain))


@dataclass(frozen=True)
class HeadReader:
    """The coarse head on a field.

    Attributes:
        head: The head.
        closed: Whether the field goes round the circle.
        tables: What estimates stand for at each time; ``None`` takes them as they are.
        curve: What is read stands for; ``None`` reads a clean latent.
    """

    head: CoarseHead
    closed: bool
    tables: EstimateTables | None = None
    curve: Curve | None = None

    def at_time(self, t: Tensor) -> HeadReader:
        """Reads estimates of the time ``t`` as the rain that they stand for."""
        return self if self.tables is None else replace(self, curve=self.tables.curve(t))

    @property
    def at(self) -> Resolution:
        """Two head cells a latent cell, and its days."""
        return Resolution(self.head.config.time_compression, QUARTERS, QUARTERS)

    def __call__(self, latent: Tensor) -> Tensor:
        """Daily means of quarter cells."""
        return torch.cat([self._read(latent[:, part.seen], part) for part in self._parts(latent)])

    def pull_back(self, latent: Tensor, cotangent: Tensor) -> Tensor:
        """A few latent steps at a time, each with the neighbours that the head looks at."""
        pulled = torch.zeros_like(latent)
        for part in self._parts(latent):
            self._pull(latent, part, cotangent[part.days], pulled)
        return pulled

    def steepness(self, latent: Tensor) -> tuple[Tensor, Tensor]:
        """Likewise."""
        pulled = torch.zeros_like(latent)
        read = [self._pull(latent, part, None, pulled) for part in self._parts(latent)]
        return torch.cat(read), pulled

    def _pull(self, latent: Tensor, part: _Part, back: Tensor | None, pulled: Tensor) -> Tensor:
        """Read a part, and add its ``Jᵀ g`` (``Jᵀ 1`` without ``g``) to what is pulled."""
        seen = latent[:, part.seen].detach().requires_grad_()
        with torch.enable_grad():
            rain = self._read(seen, part)
        (grad,) = torch.autograd.grad(rain, seen, torch.ones_like(rain) if back is None else back)
        pulled[:, part.seen] += grad
        return rain.detach()

    def _parts(self, latent: Tensor) -> Iterator[_Part]:
        time, rows, columns = latent.shape[1:]
        reach = self.head.config.reach_in_time
        step = max(1, 2 * reach, CELLS_AT_ONCE // (rows * columns))
        for first in range(0, time, step):
            stop = min(first + step, time)
            seen = slice(max(first - reach, 0), min(stop + reach, time))
            yield _Part(slice(first, stop), seen, self.at.time)

    def _read(self, seen: Tensor, part: _Part) -> Tensor:
        rain = self._as_it_is(seen, part)
        return rain if self.curve is None else self.curve(rain)

    def _as_it_is(self, seen: Tensor, part: _Part) -> Tensor:
        if not self.closed:
            return self.head(seen[None])[0, part.kept]
        around = torch.cat([seen[..., -REACH:], seen, seen[..., :REACH]], dim=-1)
        cut = REACH * QUARTERS
        return self.head(around[None])[0, part.kept, :, cut:-cut]


class _Part(NamedTuple):
    """Latent steps that are read together.

    Attributes:
        steps: Whose days they give.
        seen: These and their neighbours.
        n_days: Days a latent step.
    """

    steps: slice
    seen: slice
    n_days: int

    @property
    def days(self) -> slice:
        """The days among all of the field's."""
        return slice(self.steps.start * self.n_days, self.steps.stop * self.n_days)

    @property
    def kept(self) -> slice:
        """The same days among those of `seen`."""
        first = self.seen.start * self.n_days
        return slice(self.days.start - first, self.days.stop - first)
