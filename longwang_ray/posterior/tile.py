"""One tile, from noise to closed daily rain: the composition of this package.

    x̂ = sample(guide(blend(denoiser, lattice), y, A), noise);   rain = close(blend(decode, x̂), y)

A tile is a pure function of its arguments. The core alone is decoded, month by month, with as much
around it as closing needs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from longwang_ray.domain.calendar import Record, year_fraction
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.lattice import Extent, Span
from longwang_ray.domain.noise import NoiseKey, noise_field
from longwang_ray.domain.plan import Tile
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.closure import Closed, close_month, interpolation
from longwang_ray.posterior.guidance import (
    Guidance,
    HeadGuidance,
    Logarithmic,
    PullBack,
    ScoreGuidance,
)
from longwang_ray.posterior.observation import (
    ErrorModel,
    MonthlyMean,
    Observation,
    monthly_mean,
)
from longwang_ray.posterior.reading import HeadReader, WindowReader
from longwang_ray.posterior.sampler import Denoise, sample
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.context import window_context
from longwang_ray.prior.head import QUARTERS

ALGORITHM_VERSION = 1
NEIGHBOURS = 2
"""GCM cells beyond the core that closing looks at: further ones move its factors below 1e-3."""


@dataclass(frozen=True)
class Sampling:
    """How a field is sampled; all of it is part of the recipe but the batch.

    Attributes:
        steps: Denoiser evaluations.
        guidance: ``fast``, ``detached`` or ``exact``.
        error: Of the observation.
        batch: Windows denoised at once.
        decode_batch: Windows decoded at once.
    """

    steps: int = 8
    guidance: Guidance = "fast"
    error: ErrorModel = field(default_factory=ErrorModel)
    batch: int = 16
    decode_batch: int = 2


@dataclass(frozen=True)
class MonthlyRain:
    """What a source says.

    Attributes:
        rain: ``(months, gcm_lat, gcm_lon)``, mm/day; NaN where masked.
        grid: The GCM's native grid.
        record: Its months.
    """

    rain: np.ndarray
    grid: RectilinearGrid
    record: Record


@dataclass(frozen=True)
class MonthLedger:
    """How well a month was met, on the GCM cells whose centre lies in the core; NaN elsewhere.

    Attributes:
        month: Index into the record.
        before: ``A x`` before closing, ``(gcm_lat, gcm_lon)``, mm/day.
        after: ``A x`` after closing.
        conflict: ``((y − A x)/σ_y)²`` before closing.
    """

    month: int
    before: np.ndarray
    after: np.ndarray
    conflict: np.ndarray


@dataclass(frozen=True)
class SampledTile:
    """A finished tile.

    Attributes:
        rain: Core, ``(days, rows, columns)``, mm/day, float32.
        ledger: One entry a month that has its middle in the core.
    """

    rain: np.ndarray
    ledger: tuple[MonthLedger, ...]


@torch.no_grad()
def sample_tile(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    key: NoiseKey,
    sampling: Sampling,
    device: torch.device | str = "cpu",
) -> SampledTile:
    """Sample the posterior on a tile.

    Args:
        prior: On the device already.
        tile: What to compute.
        monthly: What is observed.
        key: Whose noise.
        sampling: How.
        device: Where.
    """
    latent = sample_latent(prior, tile, monthly, key, sampling, device)
    return decode_tile(prior, tile, monthly, latent, sampling)


@torch.no_grad()
def sample_latent(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    key: NoiseKey,
    sampling: Sampling,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The latent of a tile's whole extent, ``(channel, T, H, W)``, standardised."""
    extent = tile.extent
    noise = noise_field(key, extent, prior.channels, prior.lattice)
    blend = Blend(extent, sampling.batch, device)
    told = torch.from_numpy(contexts(extent, prior, monthly.record.calendar)).to(blend.device)
    context = told if prior.denoiser.config.context else None
    denoise = BlendedDenoiser(blend, prior.denoiser, context)
    guided = guide(denoise, prior, tile, monthly, sampling)
    field = torch.from_numpy(noise).to(blend.device)
    denoiser = prior.denoiser
    return sample(guided, field, denoiser.schedule, sampling.steps, denoiser.order)


def guide(
    denoise: BlendedDenoiser, prior: Prior, tile: Tile, monthly: MonthlyRain, sampling: Sampling
) -> Denoise:
    """A denoiser that agrees with what is observed in a tile's extent."""
    if not len(tile.months):
        return denoise
    blend, schedule = denoise.blend, prior.denoiser.schedule
    operator = operator_on(tile.extent, prior, monthly, tile.months).to(blend.device)
    y = monthly.rain[tile.months.start : tile.months.stop]
    observation = Observation.of(y, operator, sampling.error)
    if sampling.guidance == "fast":
        if prior.head is None:
            raise ValueError(
                f"sampler.guidance: fast needs a coarse head, prior {prior.name} has none; "
                "choose detached"
            )
        head = HeadReader(prior.head, closed=tile.extent.lon.wraps)
        rows, columns = prior.compression[1] // QUARTERS, prior.compression[2] // QUARTERS
        quarters = operator.coarsen(1, rows, columns)
        return HeadGuidance(denoise, schedule, head, quarters, observation, Logarithmic())
    at = Resolution(*prior.compression)
    decoder = WindowReader(blend, lambda w, _: prior.decode(w, clamp=False)[:, None], at)

    def held(x: Tensor, t: Tensor, cotangent: Tensor) -> Tensor:
        return prior.denoiser.skip(t) * cotangent

    through: PullBack = denoise.pull_back if sampling.guidance == "exact" else held
    return ScoreGuidance(denoise, schedule, decoder, operator, observation, through)


@torch.no_grad()
def decode_tile(
    prior: Prior, tile: Tile, monthly: MonthlyRain, latent: Tensor, sampling: Sampling
) -> SampledTile:
    """Decode, dry, close and cut out the core, one month at a time."""
    days, rows, columns = tile.core_shape
    rain = np.empty((days, rows, columns), np.float32)
    ledger = []
    for index in tile.core_months:
        month = monthly.record.months[index]
        box = closing_extent(prior, tile, monthly.grid, (month.start, month.stop))
        field = _decode(prior, tile.extent, box, latent, sampling.decode_batch)
        first = month.start - box.time.fine_start
        field = field[first : first + month.days]
        closed = _close(field, box, prior, monthly, index, sampling.error)
        begin, end = max(month.start, tile.days[0]), min(month.stop, tile.days[1])
        core = field[begin - month.start : end - month.start]
        i = box.lat.local_fine(tile.rows[0], rows)
        j = box.lon.local_fine(*tile.columns)
        factor = closed.factor[i[0] : i[-1] + 1][:, j].float()
        cut = core[:, i[0] : i[-1] + 1][..., j] * factor
        rain[begin - tile.days[0] : end - tile.days[0]] = cut.cpu().numpy()
        if tile.days[0] <= month.start + month.days // 2 < tile.days[1]:
            ledger.append(_ledger(index, closed, tile, prior, monthly.grid))
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


def operator_on(extent: Extent, prior: Prior, monthly: MonthlyRain, months: range) -> MonthlyMean:
    """``A`` from the fine cells of an extent."""
    return monthly_mean(
        monthly.record.months[months.start : months.stop],
        (extent.time.fine_start, extent.time.fine_stop),
        prior.grid,
        extent.lat.fine_cells(),
        extent.lon.fine_cells(),
        monthly.grid,
    )


def closing_extent(
    prior: Prior, tile: Tile, gcm: RectilinearGrid, days: tuple[int, int]
) -> Extent:
    """The fewest windows with the core and all GCM cells near it, whole if the extent has them."""
    lattice = prior.lattice
    widest = [np.abs(np.diff(b, axis=1)).max() for b in (gcm.lat_bounds, gcm.lon_bounds)]
    lat_halo, lon_halo = (
        int(np.ceil((1 + NEIGHBOURS) * cell / (stride * prior.grid_step)))
        for cell, stride in zip(widest, prior.stride[1:], strict=True)
    )
    return Extent(
        lattice.time_span(*days),
        _largest(lambda halo: lattice.lat_span(*tile.rows, halo), lat_halo, tile.extent.lat),
        _largest(lambda halo: lattice.lon_span(*tile.columns, halo), lon_halo, tile.extent.lon),
    )


def _largest(span_of: Callable[[int], Span], halo: int, limit: Span) -> Span:
    """The span with the largest halo up to ``halo`` that stays within the tile's own."""
    return next(s for h in range(halo, -1, -1) if (s := span_of(h)).size <= limit.size)


def _decode(prior: Prior, whole: Extent, box: Extent, latent: Tensor, batch: int) -> Tensor:
    """Blended rain of some of an extent's windows, ``(days, lat, lon)``, dried."""
    t, i, j = (
        torch.from_numpy(_places(part, span)).to(latent.device)
        for part, span in zip(box.spans, whole.spans, strict=True)
    )
    field = latent[:, t][:, :, i][..., j]
    blend = Blend(box, batch, latent.device)
    at = Resolution(*prior.compression)
    rain = blend(lambda w, _: prior.decode(w)[:, None], field, at)[0]
    return torch.where(rain < prior.dry_threshold, 0.0, rain)


def _places(part: Span, whole: Span) -> np.ndarray:
    """Latent cells of a span as indices into a larger one."""
    cells = part.start - whole.start + np.arange(part.size)
    return cells if whole.period is None else cells % whole.period


def _close(
    field: Tensor, box: Extent, prior: Prior, monthly: MonthlyRain, index: int, error: ErrorModel
) -> Closed:
    gcm = monthly.grid
    operator = operator_on(box, prior, monthly, range(index, index + 1)).to(field.device)
    smooth = interpolation(prior.grid, box.lat.fine_cells(), box.lon.fine_cells(), gcm)
    observation = Observation.of(monthly.rain[index : index + 1], operator, error)
    return close_month(field.mean(0), operator, smooth.to(field.device), observation)


def _ledger(
    index: int, closed: Closed, tile: Tile, prior: Prior, gcm: RectilinearGrid
) -> MonthLedger:
    """What closing a month took, on the GCM cells that have their centre in the core."""
    edges = prior.grid.lat_bounds[tile.rows[0] : tile.rows[1]]
    north, south = edges.max(), edges.min()
    west = prior.grid.lon_bounds[tile.columns[0], 0]
    lat = (gcm.lat <= north) & ((gcm.lat > south) | (south <= -90.0))
    lon = (gcm.lon - west) % 360.0 < tile.columns[1] * prior.grid_step
    own = lat[:, None] & lon[None, :]
    before, after, conflict = (
        np.where(own, values.cpu().numpy(), np.nan).astype(np.float32)
        for values in (closed.before, closed.after, closed.conflict)
    )
    return MonthLedger(index, before, after, conflict)
