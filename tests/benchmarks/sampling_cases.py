"""What the sampling benchmarks sample: a few windows, a month that the prior has not seen.

A case is a tile of ``n × n`` windows in space and all that touch one month, taken from the prior's
own lattice; its truth is the synthetic Earth's, and what is observed of it is the month's mean
through the real operator, on CMCC-CM2's grid. Beside the guidance that a run may ask for stands

    fast+decoder    fast, and in the last two steps one more pass through the decoder itself
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longwang_ray.data.synthetic import CALENDAR, synthetic_days
from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, columns_in, overlap_lat, overlap_lon, rows_in
from longwang_ray.domain.lattice import Extent, Span
from longwang_ray.domain.layout import Group
from longwang_ray.domain.noise import NoiseKey, noise_field
from longwang_ray.domain.plan import Tile
from longwang_ray.evaluation.views import REGIONS, SEASONS, SEEDS, Region
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.closure import close_month, interpolation
from longwang_ray.posterior.covariance import White
from longwang_ray.posterior.guidance import HeadGuidance, Logarithmic
from longwang_ray.posterior.observation import ErrorModel, MonthlyRain, Observation, operator_on
from longwang_ray.posterior.sampler import Denoise
from longwang_ray.posterior.tile import Sampling, contexts, guide
from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.head import CoarseHead

UNGUIDED, FAST, FAST_DECODER, DETACHED, EXACT = KINDS = (
    "none", "fast", "fast+decoder", "detached", "exact",
)  # fmt: skip
LAST = 2
"""Steps in which ``fast+decoder`` asks the decoder."""

SAMPLING = Sampling()
GROUP = Group("Synthetic", "historical", "r1i1p1f1")
MONTHS = tuple(zip(SEASONS, SEEDS, strict=True))


def cmcc() -> RectilinearGrid:
    """CMCC-CM2's grid, about 0.94° × 1.25°."""
    return RectilinearGrid.from_centres(np.linspace(-90, 90, 192), np.arange(288) * 1.25)


@dataclass(frozen=True)
class Case:
    """One region-month.

    Attributes:
        name: Of region and month.
        tile: Its core is the whole extent but for the days beyond the month.
        monthly: What is observed.
        truth: ``(days, rows, columns)``, mm/day.
    """

    name: str
    tile: Tile
    monthly: MonthlyRain
    truth: np.ndarray


@dataclass(frozen=True)
class Rain:
    """A finished month.

    Attributes:
        closed: ``(days, rows, columns)``, mm/day.
        gap: Mean of ``|y − A x|`` over the observed cells, over their mean y, before closing.
        conflict: Mean of ``((y − A x)/σ_y)²`` before closing.
    """

    closed: np.ndarray
    gap: float
    conflict: float


def truth_of(prior: Prior, name: str, seed: int, cache: Path) -> np.ndarray:
    """A held-out month of the globe on the prior's grid, ``(days, lat, lon)`` float16."""
    path = cache / f"truth-{name}-{seed}-{prior.grid.n_lat}.npy"
    if path.exists():
        return np.load(path, mmap_mode="r")
    coarse, days = prior.grid.shape, []
    for day in synthetic_days(name, seed):
        rows, columns = (n // m for n, m in zip(day.shape, coarse, strict=True))
        blocks = day.reshape(coarse[0], rows, coarse[1], columns)
        days.append(blocks.mean((1, 3)).astype(np.float16))
    cache.mkdir(parents=True, exist_ok=True)
    np.save(path, np.stack(days))
    return np.load(path, mmap_mode="r")


def case_of(prior: Prior, region: Region, name: str, globe: np.ndarray, windows: int) -> Case:
    """The case of ``windows × windows`` windows in the middle of a region."""
    record = month_record(CALENDAR, name, 1)
    tile = tile_of(prior, region, (record.start, record.stop), windows)
    mean, gcm = globe.mean(0, dtype=np.float64), cmcc()
    lat = overlap_lat(gcm.lat_bounds, prior.grid.lat_bounds).weights
    lon = overlap_lon(gcm.lon_bounds, prior.grid.lon_bounds).weights
    monthly = MonthlyRain((lat @ mean @ lon.T)[None].astype(np.float32), gcm, record)
    cells = globe[:, tile.extent.lat.fine_cells()][..., tile.extent.lon.fine_cells()]
    return Case(f"{region.name} {name}", tile, monthly, cells.astype(np.float32))


def cases(prior: Prior, count: int, windows: int, cache: Path) -> list[Case]:
    """Region-months: all regions of the first month, then of the second."""
    if count > len(MONTHS) * len(REGIONS):
        raise ValueError(f"{count} region-months asked, there are {len(MONTHS) * len(REGIONS)}")
    places = [(month, region) for region in REGIONS for month in MONTHS][:count]
    globes = {month: truth_of(prior, *month, cache) for month, _ in places}
    return [case_of(prior, r, month[0], globes[month], windows) for month, r in places]


def tile_of(prior: Prior, region: Region, days: tuple[int, int], windows: int) -> Tile:
    """A one-month tile without halo, of so many windows each way round a region's middle."""
    lattice, grid = prior.lattice, prior.grid
    (row, rows), (column, columns) = rows_in(grid, *region.lat), columns_in(grid, *region.lon)
    middle = (column + columns // 2) % grid.n_lon
    lat = few(lattice.lat_span(row + rows // 2, row + rows // 2 + 1, windows), windows)
    lon = few(lattice.lon_span(middle, 1, windows), windows)
    extent = Extent(lattice.time_span(*days), lat, lon)
    return Tile(
        GROUP, 0, (0, 1), 0, 0, days,
        (lat.fine_start, lat.fine_stop), (lon.fine_start, lon.fine_size),
        extent, range(1), range(1),
    )  # fmt: skip


def few(span: Span, count: int) -> Span:
    """The ``count`` windows in the middle of a span."""
    first = (span.count - count) // 2
    offsets = span.offsets[first : first + count]
    start = span.start + offsets[0]
    return replace(
        span,
        start=start if span.period is None else start % span.period,
        size=offsets[-1] - offsets[0] + span.window,
        offsets=tuple(offset - offsets[0] for offset in offsets),
        blunt=(span.blunt[0] and first == 0, span.blunt[1] and first + count == span.count),
    )


@dataclass(frozen=True)
class LastSteps:
    """One guidance until the last steps, another in these.

    Attributes:
        early: Until then.
        late: From then on.
        since: Time of the schedule from which on it is late.
    """

    early: Denoise
    late: Denoise
    since: float

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """The guided estimate."""
        return (self.late if float(t) <= self.since else self.early)(x, t)


def guided(
    prior: Prior, case: Case, kind: str, steps: int, device: str, batch: int = SAMPLING.batch
) -> Denoise:
    """A denoiser of a case with any kind of guidance."""
    tile, monthly = case.tile, case.monthly
    blend = Blend(tile.extent, batch, device)
    told = torch.from_numpy(contexts(tile.extent, prior, CALENDAR)).to(blend.device)
    denoise = BlendedDenoiser(blend, prior.denoiser, told)
    if kind in (UNGUIDED, FAST):
        return guide(denoise, prior, tile, monthly, replace(SAMPLING, guidance=kind))
    through = EXACT if kind == EXACT else DETACHED
    score = guide(denoise, prior, tile, monthly, replace(SAMPLING, guidance=through))
    few_at_once = Blend(tile.extent, min(batch, SAMPLING.decode_batch), device)
    score = replace(score, read=replace(score.read, blend=few_at_once))
    if kind != FAST_DECODER:
        return score
    fast = guide(denoise, prior, tile, monthly, replace(SAMPLING, guidance=FAST))
    late = HeadGuidance(
        fast,
        White(score.schedule),
        lambda t: score.read,
        score.operator,
        score.observation,
        Logarithmic(),
        1,
    )
    return LastSteps(fast, late, (LAST + 0.5) / steps)


def noise_of(prior: Prior, case: Case, realization: int, device: str) -> Tensor:
    """The noise of a realization; the same for every setting."""
    key = NoiseKey(1, GROUP.gcm, GROUP.variant, realization)
    field = noise_field(key, case.tile.extent, prior.channels, prior.lattice)
    return torch.from_numpy(field).to(device)


def finished(prior: Prior, case: Case, latent: Tensor, batch: int = 2) -> Rain:
    """Decode a case's month, dry and close it."""
    extent, monthly = case.tile.extent, case.monthly
    at = Resolution(*prior.compression)
    decode = Blend(extent, batch, latent.device)
    rain = decode(lambda w, _: prior.decode(w)[:, None], latent, at)[0].cpu()
    first = case.tile.days[0] - extent.time.fine_start
    rain = rain[first : first + len(case.truth)]
    rain = torch.where(rain < prior.dry_threshold, 0.0, rain)
    operator = operator_on(extent, prior.grid, monthly, range(1))
    observation = Observation.of(monthly.rain, operator, ErrorModel())
    cells = extent.lat.fine_cells(), extent.lon.fine_cells()
    smooth = interpolation(prior.grid, *cells, monthly.grid)
    closed = close_month(rain.mean(0), operator, smooth, observation)
    counts = observation.counts[0]
    y = observation.mean[0][counts]
    gap = (closed.before[counts] - y).abs().mean() / y.mean()
    field = (rain * closed.factor).float().numpy()
    return Rain(field, float(gap), float(closed.conflict[counts].mean()))


def widened(prior: Prior, factor: int) -> Prior:
    """An untrained prior of ``factor`` times the channels, on the same windows."""
    auto, den = prior.autoencoder.config, prior.denoiser.config
    wide = Prior(
        autoencoder=Autoencoder(replace(auto, channels=factor * auto.channels)),
        denoiser=Denoiser(
            replace(den, channels=tuple(factor * n for n in den.channels)),
            prior.denoiser.schedule,
        ),
        head=CoarseHead(replace(prior.head.config, channels=factor * prior.head.config.channels)),
        transform=prior.transform,
        latent_mean=prior.latent_mean,
        latent_std=prior.latent_std,
        window=prior.window,
        stride=prior.stride,
        grid_step=prior.grid_step,
        card={"name": f"{prior.name} × {factor}, untrained"},
    )
    for module in wide.modules.values():
        module.eval().requires_grad_(False)
    return wide


def seconds(work: Callable[[], object], device: str, repeats: int = 3) -> float:
    """The shortest of several runs after one to warm up, or that one; of a CPU its own time."""
    found = []
    for _ in range(repeats + 1):
        started = now(device)
        work()
        found.append(now(device) - started)
    return min(found[1:] or found)


def now(device: str) -> float:
    """Seconds: of an accelerator when all it was given is done, of a CPU its cores' mean."""
    if device == "cpu":
        return time.process_time() / torch.get_num_threads()
    torch.cuda.synchronize()
    return time.perf_counter()
