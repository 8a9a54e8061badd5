"""One tile, from noise to closed daily rain: the composition of this package.

    x̂ = sample(guide(blend(denoiser, lattice), y, A), noise);   rain = close(blend(decode, x̂), y)

A tile is a pure function of its arguments.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from longwang_ray.domain.calendar import year_fraction
from longwang_ray.domain.lattice import Extent
from longwang_ray.domain.noise import NoiseKey, noise_field
from longwang_ray.domain.plan import Tile
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.covariance import Measured, White
from longwang_ray.posterior.decoding import DecodedMonth, MonthLedger, decode_months
from longwang_ray.posterior.guidance import (
    BoundedScoreGuidance,
    Guidance,
    HeadGuidance,
    Logarithmic,
    PullBack,
)
from longwang_ray.posterior.observation import (
    ErrorModel,
    MonthlyRain,
    Observation,
    operator_on,
)
from longwang_ray.posterior.reading import HeadReader, WindowReader
from longwang_ray.posterior.sampler import Denoise, sample
from longwang_ray.posterior.stopwatch import Stopwatch
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.context import window_context
from longwang_ray.prior.head import QUARTERS

ALGORITHM_VERSION = 3


@dataclass(frozen=True)
class Sampling:
    """How a field is sampled; all of it is part of the recipe but the batch.

    Attributes:
        steps: Denoiser evaluations.
        guidance: ``fast``, ``detached`` or ``exact``; ``none`` samples the prior itself.
        error: Of the observation.
        batch: Windows denoised at once.
        decode_batch: Windows decoded at once.
        context: Whether the denoiser is told place and season; without, the unconditional prior.
    """

    steps: int = 8
    guidance: Guidance = "fast"
    error: ErrorModel = field(default_factory=ErrorModel)
    batch: int = 16
    decode_batch: int = 2
    context: bool = True


@dataclass(frozen=True)
class SampledTile:
    """A finished tile.

    Attributes:
        rain: Core, ``(days, rows, columns)``, mm/day, float32.
        ledger: One entry a month that has its middle in the core.
    """

    rain: np.ndarray
    ledger: tuple[MonthLedger, ...]


def sample_tile(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    key: NoiseKey,
    sampling: Sampling,
    device: torch.device | str = "cpu",
) -> SampledTile:
    """Sample the posterior on a tile, and hold all of its core.

    Args:
        prior: On the device already.
        tile: What to compute.
        monthly: What is observed.
        key: Whose noise.
        sampling: How.
        device: Where.
    """
    return joined(tile, sample_months(prior, tile, monthly, key, sampling, device))


def sample_months(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    key: NoiseKey,
    sampling: Sampling,
    device: torch.device | str = "cpu",
    clock: Stopwatch | None = None,
) -> Iterator[DecodedMonth]:
    """Sample a tile's latent now, and decode its months as they are asked for.

    Args:
        prior: On the device already.
        tile: What to compute.
        monthly: What is observed.
        key: Whose noise.
        sampling: How.
        device: Where.
        clock: Takes the seconds.
    """
    latent = sample_latent(prior, tile, monthly, key, sampling, device, clock)
    error, batch = sampling.error, sampling.decode_batch
    return decode_months(prior, tile, monthly, latent, error, batch, clock)


@torch.no_grad()
def sample_latent(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    key: NoiseKey,
    sampling: Sampling,
    device: torch.device | str = "cpu",
    clock: Stopwatch | None = None,
) -> Tensor:
    """The latent of a tile's whole extent, ``(channel, T, H, W)``, standardised."""
    clock = clock or Stopwatch(device)
    with clock("read"):
        extent = tile.extent
        blend = Blend(extent, sampling.batch, device)
        told = torch.from_numpy(contexts(extent, prior, monthly.record.calendar)).to(blend.device)
        context = told if sampling.context and prior.denoiser.config.context else None
        denoise = BlendedDenoiser(blend, prior.denoiser, context)
        guided = guide(denoise, prior, tile, monthly, sampling)
        drawn = noise_field(key, extent, prior.channels, prior.lattice)
        noise = [torch.from_numpy(drawn).to(blend.device)]
        del drawn
    denoiser = prior.denoiser
    with clock("sample"):  # popped: the noise is the sampler's alone, who drops it
        return sample(guided, noise.pop(), denoiser.schedule, sampling.steps, denoiser.order)


def guide(
    denoise: BlendedDenoiser, prior: Prior, tile: Tile, monthly: MonthlyRain, sampling: Sampling
) -> Denoise:
    """A denoiser that agrees with what is observed in a tile's extent."""
    if sampling.guidance == "none" or not len(tile.months):
        return denoise
    blend, schedule = denoise.blend, prior.denoiser.schedule
    operator = operator_on(tile.extent, prior.grid, monthly, tile.months).to(blend.device)
    y = monthly.rain[tile.months.start : tile.months.stop]
    observation = Observation.of(y, operator, sampling.error)
    if sampling.guidance == "fast":
        if prior.head is None:
            raise ValueError(
                f"sampler.guidance: fast needs a coarse head, prior {prior.name} has none; "
                "choose detached"
            )
        closed, tables = tile.extent.lon.wraps, prior.estimates
        head = HeadReader(prior.head, closed, tables)
        errors = White(schedule) if tables is None else Measured(schedule, tables, closed)
        rows, columns = prior.compression[1] // QUARTERS, prior.compression[2] // QUARTERS
        quarters = operator.coarsen(1, rows, columns)
        return HeadGuidance(denoise, errors, head.at_time, quarters, observation, Logarithmic())
    at = Resolution(*prior.compression)
    few = Blend(tile.extent, sampling.decode_batch, blend.device)
    decoder = WindowReader(few, lambda w, _: prior.decode(w, clamp=False)[:, None], at)

    def held(x: Tensor, t: Tensor, cotangent: Tensor) -> Tensor:
        return prior.denoiser.skip(t) * cotangent

    through: PullBack = denoise.pull_back if sampling.guidance == "exact" else held
    return BoundedScoreGuidance(denoise, schedule, decoder, operator, observation, through)


def joined(tile: Tile, months: Iterator[DecodedMonth]) -> SampledTile:
    """A tile's closed months in one array."""
    rain, ledger = np.empty(tile.core_shape, np.float32), []
    for month in months:
        first = month.first_day - tile.days[0]
        np.multiply(month.open, month.factor, out=rain[first : first + len(month.open)])
        if month.ledger is not None:
            ledger.append(month.ledger)
    return SampledTile(rain, tuple(ledger))


def contexts(extent: Extent, prior: Prior, calendar: str) -> np.ndarray:
    """Context of every window of an extent, in its order, ``(windows, 5)``."""
    compression, grid = prior.compression, prior.grid
    t, i, j = (
        (span.start + np.array(span.offsets) + span.window / 2) * c
        for span, c in zip(extent.spans, compression, strict=True)
    )
    season = np.array([year_fraction(day, calendar) for day in t])
    lat = np.interp(i - 0.5, np.arange(grid.n_lat), grid.lat)
    lon = grid.lon[0] + (j - 0.5) * prior.grid_step
    told = window_context(lat[None, :, None], lon[None, None, :], season[:, None, None])
    return np.ascontiguousarray(told.reshape(-1, told.shape[-1]))
