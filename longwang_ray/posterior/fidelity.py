"""What the coarse head gives up for its speed: months as a GCM would see them, and operations.

    error = Σ_J a_J |A h(z) − A d(z)|_J / Σ_J a_J (A d(z))_J,      J cells of the GCM, a their area

with the head ``h``, the decoder ``d``, and ``A`` on the cells of each. A GCM cell finer than the
head's is read as the mean of the head's cell that holds it: its error says what that costs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.posterior.observation import MonthlyMean
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.head import CoarseHead, HeadConfig, head_cell
from longwang_ray.prior.work import imagined, work_of

STEPS = (0.25, 0.5, 1.0, 2.5)
"""Degrees of the GCM cells for which a head's error is stated."""

STATED = "head_errors"
"""Where a prior's card states them: ``{"days": …, "cells": {"1": {"error": …, "bias": …}}}``."""


class Tally(NamedTuple):
    """Sums over GCM cells, weighted by their area, mm/day.

    Attributes:
        absolute: Of absolute differences, head − decoder.
        signed: Of the differences.
        rain: Of the decoder's means.
    """

    absolute: float
    signed: float
    rain: float

    @property
    def error(self) -> float:
        """Mean absolute difference over mean rain."""
        return self.absolute / self.rain if self.rain else math.nan

    @property
    def bias(self) -> float:
        """Mean difference over mean rain."""
        return self.signed / self.rain if self.rain else math.nan


def total(parts: Iterable[Tally]) -> Tally:
    """Several places and months taken together."""
    absolute, signed, rain = (math.fsum(column) for column in zip(*parts, strict=True))
    return Tally(absolute, signed, rain)


def compare(read: Tensor, decoded: Tensor, operator: MonthlyMean, gcm: RectilinearGrid) -> Tally:
    """Monthly means of what the head reads against those of what the decoder gives.

    Args:
        read: The head's daily means, ``(days, 2H, 2W)``, mm/day.
        decoded: Daily rain of the same latents, ``(days, lat, lon)``, mm/day.
        operator: ``A`` from the fine cells.
        gcm: The grid that it leads to.

    Returns:
        Sums over months and the GCM cells that lie wholly inside.
    """
    rows, columns = (n // m for n, m in zip(decoded.shape[1:], read.shape[1:], strict=True))
    seen, truth = operator.coarsen(1, rows, columns)(read), operator(decoded)
    area = torch.from_numpy(gcm.areas()).to(truth) * operator.inside
    error = seen - truth
    sums = ((area * field).sum().item() for field in (error.abs(), error, truth))
    return Tally(*sums)


def regular_grid(step: float) -> RectilinearGrid:
    """A GCM's grid of ``step × step`` degrees, edges at the poles and at 0°E."""
    n = round(180 / step)
    lat, lon = 90 - step * (np.arange(n) + 0.5), step * (np.arange(2 * n) + 0.5)
    return RectilinearGrid.from_centres(lat, lon)


def cost_share(auto: AutoencoderConfig, head: HeadConfig, window: tuple[int, int, int]) -> float:
    """The head's operations over the decoder's, counted on one window.

    Args:
        auto: Sizes of the autoencoder.
        head: Sizes of the head.
        window: Days, rows and columns, fine cells.
    """
    cells = [w // c for w, c in zip(window, auto.compression, strict=True)]
    with imagined():
        decoder, reader = Autoencoder(auto), CoarseHead(head)
        z = torch.empty(1, auto.latent_channels, *cells)
        return work_of(lambda: reader(z)).flops / work_of(lambda: decoder.decode(z)).flops


def stated_error(prior: Prior, cell: tuple[float, float]) -> float | None:
    """The error that a prior's card lets one expect on GCM cells of some size.

    Args:
        prior: With its card: errors by size of cell, or what ``longwang assess`` found.
        cell: Height and width of the GCM's cells, degrees.

    Returns:
        That of the largest cells stated that are no larger; of the smallest, if all are.
        ``None`` where nothing is stated.
    """
    cells = prior.card.get(STATED, {}).get("cells", {})
    known = {float(step): float(one["error"]) for step, one in cells.items()} or _assessed(prior)
    if not known:
        return None
    size = math.sqrt(cell[0] * cell[1])
    return known[max((s for s in known if s <= size * 1.001), default=min(known))]


def _assessed(prior: Prior) -> dict[float, float]:
    """Errors on the head's own cells and on two by two of them: the largest of all parts."""
    metrics = prior.card.get("metrics", {})
    parts = [metrics, *(part for part in metrics.values() if isinstance(part, Mapping))]
    heads = [part["head"] for part in parts if isinstance(part.get("head"), Mapping)]
    own = math.sqrt(math.prod(head_cell(prior.compression, prior.grid_step)))
    sizes = {"monthly_error": own, "monthly_error_wide": 2 * own}
    return {
        size: max(float(head[key]) for head in heads)
        for key, size in sizes.items()
        if heads and all(head.get(key) for head in heads)
    }


def cell_size(gcm: RectilinearGrid) -> tuple[float, float]:
    """Height and width of a GCM's usual cell, degrees: its medians."""
    heights, widths = (np.abs(np.diff(b, axis=1)) for b in (gcm.lat_bounds, gcm.lon_bounds))
    return round(float(np.median(heights)), 6), round(float(np.median(widths)), 6)


def finer_than_head(cell: tuple[float, float], head: tuple[float, float]) -> bool:
    """Whether GCM cells are smaller than the head's on either axis (both in degrees)."""
    return any(c < h * 0.999 for c, h in zip(cell, head, strict=True))
