"""Exact agreement with the month: a smooth factor on every day of it.

With ``m̄`` the month's mean rain and ``r = y / A(f m̄)``, the factor field ``f`` starts at 1 and is
iterated, first

    f ← f · I(r)                      I: bilinear between GCM cell centres,

so that the GCM's grid is not drawn into the rain, then for what that leaves open (per mille)

    f ← f · (Aᵀ r / Aᵀ 1)^1.5         Richardson–Lucy, over-relaxed.

The first alone may run away: where two cells have their only rain on the edge they share, it has
no solution. The second descends (at exponent 1, the Kullback–Leibler divergence) for any ``y``,
``y = 0`` too. Zeros stay zero, nothing turns negative, and the days of a month keep their
proportions. A cell with ``y > 0`` and no rain, or so
little that it would have to grow more than ``LARGEST`` times, is not forced: its residual is
recorded.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longwang_ray.domain.grid import CIRCLE, RectilinearGrid
from longwang_ray.posterior.observation import MonthlyMean, Observation

ITERATIONS = 60
SMOOTH = 12
"""How many of them interpolate; they leave a correction of 0.05 % in the median."""

STEP, SMOOTH_RANGE = 4.0, 8.0
"""How much the smooth factor changes in one iteration and in all."""

RELAXATION = 1.5
LARGEST = 30.0
"""The largest factor: a sliver of rain may not have to bring a whole cell's month."""


@dataclass(frozen=True)
class Interpolation:
    """Bilinear interpolation from GCM cell centres to fine cells; constant beyond the last centre.

    Attributes:
        lat: ``(lat, gcm_lat)``; rows sum to one.
        lon: ``(lon, gcm_lon)``; rows sum to one; periodic if the GCM goes round the circle.
    """

    lat: Tensor
    lon: Tensor

    def __call__(self, values: Tensor) -> Tensor:
        """``(…, gcm_lat, gcm_lon)`` → ``(…, lat, lon)``."""
        return self.lat @ values @ self.lon.T

    def to(self, device: torch.device) -> Interpolation:
        """The same on another device."""
        return Interpolation(self.lat.to(device), self.lon.to(device))


def interpolation(
    fine: RectilinearGrid, rows: np.ndarray, columns: np.ndarray, gcm: RectilinearGrid
) -> Interpolation:
    """Interpolation from a GCM's grid to a box of fine cells."""
    lat = _linear(gcm.lat, fine.lat[rows])
    west = gcm.lon[0] - CIRCLE / 2 if not gcm.is_global_lon else gcm.lon[0]
    centres = np.sort((gcm.lon - west) % CIRCLE)
    order = np.argsort((gcm.lon - west) % CIRCLE)
    at = (fine.lon[columns] - west) % CIRCLE
    if gcm.is_global_lon:
        centres = np.concatenate([[centres[-1] - CIRCLE], centres, [centres[0] + CIRCLE]])
        order = np.concatenate([[order[-1]], order, [order[0]]])
    weights = _linear(centres, at)
    lon = np.zeros((len(at), gcm.n_lon))
    np.add.at(lon.T, order, weights.T)
    return Interpolation(torch.from_numpy(lat), torch.from_numpy(lon))


def _linear(centres: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Weights of linear interpolation, ``(at, centres)``; centres monotonic either way."""
    if len(centres) == 1:
        return np.ones((len(at), 1))
    if centres[0] > centres[-1]:
        return _linear(centres[::-1], at)[:, ::-1].copy()
    left = np.clip(np.searchsorted(centres, at) - 1, 0, len(centres) - 2)
    share = np.clip((at - centres[left]) / (centres[left + 1] - centres[left]), 0.0, 1.0)
    weights = np.zeros((len(at), len(centres)))
    weights[np.arange(len(at)), left] = 1.0 - share
    weights[np.arange(len(at)), left + 1] = share
    return weights


@dataclass(frozen=True)
class Closed:
    """A closed month and what closing it took.

    Attributes:
        factor: ``f``, ``(lat, lon)``.
        before: ``A x`` before, ``(gcm_lat, gcm_lon)``, mm/day; NaN where nothing is observed.
        after: ``A (f x)``, the same.
        mean_factor: ``A f``, the same, no dimension.
        conflict: ``((y − A x)/σ_y)²`` before: is this month outside what the prior knows?
    """

    factor: Tensor
    before: Tensor
    after: Tensor
    mean_factor: Tensor
    conflict: Tensor


def close_month(
    mean: Tensor,
    operator: MonthlyMean,
    interpolate: Interpolation,
    observation: Observation,
    iterations: int = ITERATIONS,
) -> Closed:
    """The factor field that makes one month's means equal its observation.

    Args:
        mean: Mean rain of the month, ``(lat, lon)``, mm/day.
        operator: ``A``; only its latitude and longitude are used.
        interpolate: ``I``.
        observation: That month alone, ``(1, gcm_lat, gcm_lon)``.
        iterations: Fixed, so that a tile's size does not matter.
    """
    rows, columns = operator.lat.double(), operator.lon.double()
    field, counts = mean.double(), observation.counts[0]
    y, std = observation.mean[0].double(), observation.std[0].double()
    before = now = rows @ field @ columns.T
    reach = rows.T @ torch.ones_like(now) @ columns
    factor = torch.ones_like(field)
    for iteration in range(iterations):
        ratio = torch.where(counts & (now > 0), y / now.clamp(min=1e-30), 1.0)
        if iteration < SMOOTH:
            step = interpolate(ratio.clamp(1 / STEP, STEP))
            factor = (factor * step).clamp(1 / SMOOTH_RANGE, SMOOTH_RANGE)
        else:
            step = torch.where(reach > 0, rows.T @ ratio @ columns / reach, 1.0)
            factor = (factor * step**RELAXATION).clamp(max=LARGEST)
        now = rows @ (factor * field) @ columns.T
    absent = torch.full_like(before, torch.nan)
    return Closed(
        factor,
        torch.where(counts, before, absent),
        torch.where(counts, now, absent),
        torch.where(counts, rows @ factor @ columns.T, absent),
        torch.where(counts, ((y - before) / std).square(), absent),
    )
