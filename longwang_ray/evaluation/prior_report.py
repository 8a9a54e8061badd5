"""How good a prior is, by itself: on days that it has not seen, before any observation.

Three questions, in regions of a few thousand kilometres and in several seasons:

    reconstruction   what do encoder and decoder keep of a real day?
    samples          is rain drawn from the prior alone, by the real lattice and its blending,
                     like the rain of that place and season?
    head             does the coarse head read the monthly mean that the decoder would give?

The numbers go into the bundle's ``prior.json`` under ``metrics``, which its digest leaves out.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import Tensor

from longwang_ray.data.synthetic import CALENDAR, synthetic_days
from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import columns_in, rows_in
from longwang_ray.domain.lattice import Extent
from longwang_ray.domain.noise import NoiseKey, noise_field
from longwang_ray.evaluation.figures import draw_prior, draw_spectra
from longwang_ray.evaluation.prior_scores import (
    Metrics,
    compare_samples,
    compare_spectra,
    score_head,
    score_reconstruction,
)
from longwang_ray.evaluation.scores import power_spectrum
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.reading import HeadReader
from longwang_ray.posterior.sampler import sample
from longwang_ray.posterior.tile import contexts
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.head import QUARTERS

Array = NDArray[np.floating]

log = logging.getLogger(__name__)
SEASONS = ("2001-01", "2001-07")
SEEDS = (501, 502)
"""Of held-out synthetic months; training has seeds from 1000 on, the quickstart's month 7."""

SHOWN_DAYS = 4


@dataclass(frozen=True)
class Region:
    """A place to look at: cell centres in ``[low, high)``, longitude across 0°E or not."""

    name: str
    lat: tuple[float, float]
    lon: tuple[float, float]


REGIONS = (
    Region("storm track", (33, 65), (340, 12)),
    Region("tropical ocean", (-16, 16), (140, 172)),
    Region("subtropical land", (8, 40), (0, 32)),
)


@dataclass(frozen=True)
class HeldOutDays:
    """Consecutive days of the globe that the prior has not seen.

    Attributes:
        rain: ``(day, lat, lon)`` on the prior's grid, mm/day, any float, memory-mapped or not.
        first_day: Day number of the first.
        calendar: Its calendar.
    """

    rain: Array
    first_day: int
    calendar: str = CALENDAR

    @property
    def days(self) -> tuple[int, int]:
        """Day numbers ``[first, stop)``."""
        return self.first_day, self.first_day + len(self.rain)


@dataclass(frozen=True)
class PriorReport:
    """What was found.

    Attributes:
        metrics: Plain numbers under the three questions; JSON can hold them.
        days: Held-out days, their reconstructions, and samples.
        spectra: Power of held-out days, reconstructions and samples.
    """

    metrics: Metrics
    days: Figure
    spectra: Figure


def synthetic_held_out(
    months: Iterable[str] = SEASONS, seeds: Iterable[int] = SEEDS
) -> list[HeldOutDays]:
    """Months of the synthetic Earth that no training has seen, kept as float16.

    Args:
        months: ``"YYYY-MM"``, in the calendar without leap days.
        seeds: Of the synthetic Earth; one whole month each.
    """
    return [
        HeldOutDays(
            np.stack([day.astype(np.float16) for day in synthetic_days(month, seed)]),
            month_record(CALENDAR, month, 1).start,
        )
        for month, seed in product(months, seeds)
    ]


def assess_prior(
    prior: Prior,
    held_out: Sequence[HeldOutDays],
    *,
    regions: Sequence[Region] = REGIONS,
    steps: int = 12,
    realizations: int = 1,
    seed: int = 0,
    batch: int = 16,
) -> PriorReport:
    """Measure a prior against days that it has not seen.

    Args:
        prior: As it was opened from its bundle: with the weights that users get.
        held_out: Days; those of one period are taken together as that season's truth.
        regions: Where to look.
        steps: Denoiser evaluations of a sample.
        realizations: Samples of each region and season.
        seed: Of the samples' noise.
        batch: Windows computed at once.

    Raises:
        ValueError: if there are too few days for a window of the prior.
    """
    seasons: dict[tuple[int, int], list[HeldOutDays]] = {}
    for days in held_out:
        seasons.setdefault(days.days, []).append(days)
    scenes = [
        _look(prior, region, truths, _Drawing(steps, realizations, seed, batch))
        for truths in seasons.values()
        for region in regions
    ]
    return _report(prior, scenes)


@dataclass(frozen=True)
class _Drawing:
    steps: int
    realizations: int
    seed: int
    batch: int


@dataclass(frozen=True)
class _Scene:
    """One region in one season; rain is ``(series, day, lat, lon)``."""

    name: str
    truth: Array
    real: Array
    reconstructed: Array
    sampled: Array
    head: Metrics | None
    lat: Array
    lon: Array


@torch.no_grad()
def _look(
    prior: Prior, region: Region, truths: Sequence[HeldOutDays], drawing: _Drawing
) -> _Scene:
    grid, first = prior.grid, truths[0]
    log.info("assessing the prior: %s, days %d to %d", region.name, *first.days)
    row, n_rows = rows_in(grid, *region.lat)
    column, n_columns = columns_in(grid, *region.lon)
    rows, columns = (row, row + n_rows), (column, n_columns)
    whole = prior.lattice.extent(first.days, rows, columns)
    inner = prior.lattice.extent(_inner_days(prior, first), rows, columns)
    across = np.arange(column, column + n_columns) % grid.n_lon
    truth = np.stack([t.rain[:, slice(*rows)][..., across] for t in truths]).astype(np.float32)
    span = slice(inner.time.fine_start - first.first_day, inner.time.fine_stop - first.first_day)
    redone = [
        _cut(_reconstruct(prior, inner, t, drawing.batch), inner, rows, columns) for t in truths
    ]
    latents = [
        _draw(prior, whole, first.calendar, drawing, r) for r in range(drawing.realizations)
    ]
    rain = [_dried(prior, _decode(prior, whole, z, drawing.batch)) for z in latents]
    begin = first.first_day - whole.time.fine_start
    drawn = [_cut(field, whole, rows, columns)[begin : begin + len(first.rain)] for field in rain]
    return _Scene(
        region.name,
        truth,
        truth[:, span],
        np.stack(redone),
        np.stack(drawn),
        _judge_head(prior, whole, latents, rain),
        grid.lat[slice(*rows)],
        grid.lon[across],
    )


def _inner_days(prior: Prior, held: HeldOutDays) -> tuple[int, int]:
    """Days all of whose windows lie within those held out."""
    length, (first, stop) = prior.window[0], held.days
    if stop - first < 2 * length + 1:
        raise ValueError(
            f"{stop - first} held-out days are too few for windows of {length} days: "
            f"give at least {2 * length + 1} in a row"
        )
    return first + length, stop - length


def _reconstruct(prior: Prior, extent: Extent, held: HeldOutDays, batch: int) -> Tensor:
    """Days through encoder and decoder, window by window, blended in mm/day as samples are."""
    days = extent.time.fine_cells() - held.first_day
    rain = held.rain[days][:, extent.lat.fine_cells()][..., extent.lon.fine_cells()]
    field = torch.from_numpy(np.ascontiguousarray(rain, dtype=np.float32))
    places = tuple(extent.windows())
    spans = extent.spans

    def through(_: Tensor, which: slice) -> Tensor:
        cuts = []
        for place in places[which]:
            t, i, j = (s.window_fine_cells(k) for s, k in zip(spans, place, strict=True))
            cuts.append(field[t][:, i][..., j])
        mean, _ = prior.autoencoder.encode(prior.transform.forward(torch.stack(cuts)[:, None]))
        return prior.transform.inverse(prior.autoencoder.decode(mean))

    nothing = torch.zeros(1, *extent.shape)
    blended = Blend(extent, batch)(through, nothing, Resolution(*prior.compression))[0]
    return _dried(prior, blended)


def _draw(
    prior: Prior, extent: Extent, calendar: str, drawing: _Drawing, realization: int
) -> Tensor:
    """A latent of the prior alone: the sampler and lattice of a run, without its guidance."""
    key = NoiseKey(drawing.seed, "prior", "assessment", realization)
    noise = torch.from_numpy(noise_field(key, extent, prior.channels, prior.lattice))
    told = torch.from_numpy(contexts(extent, prior, calendar))
    denoise = BlendedDenoiser(Blend(extent, drawing.batch), prior.denoiser, told)
    denoiser = prior.denoiser
    return sample(denoise, noise, denoiser.schedule, drawing.steps, denoiser.order)


def _decode(prior: Prior, extent: Extent, latent: Tensor, batch: int) -> Tensor:
    blend = Blend(extent, max(1, batch // 4))
    return blend(lambda w, _: prior.decode(w)[:, None], latent, Resolution(*prior.compression))[0]


def _dried(prior: Prior, rain: Tensor) -> Tensor:
    return torch.where(rain < prior.dry_threshold, 0.0, rain)


def _cut(rain: Tensor, extent: Extent, rows: tuple[int, int], columns: tuple[int, int]) -> Array:
    i = extent.lat.local_fine(rows[0], rows[1] - rows[0])
    j = extent.lon.local_fine(*columns)
    return rain.numpy()[:, i][..., j]


def _judge_head(
    prior: Prior, extent: Extent, latents: Sequence[Tensor], rain: Sequence[Tensor]
) -> Metrics | None:
    if prior.head is None:
        return None
    read = HeadReader(prior.head, closed=extent.lon.wraps)
    cells = (prior.compression[1] // QUARTERS, prior.compression[2] // QUARTERS)
    decoded = torch.stack([F.avg_pool2d(field[None], cells)[0] for field in rain])
    return score_head(torch.stack([read(z) for z in latents]).numpy(), decoded.numpy())


def _report(prior: Prior, scenes: Sequence[_Scene]) -> PriorReport:
    samples: dict[str, Metrics] = {}
    for name in dict.fromkeys(scene.name for scene in scenes):
        same = [scene for scene in scenes if scene.name == name]
        samples[name] = _mean([compare_samples(s.truth, s.sampled, s.lat) for s in same])
    metrics: Metrics = {
        "reconstruction": score_reconstruction(
            [s.real for s in scenes], [s.reconstructed for s in scenes]
        ),
        "samples": samples,
        "samples_spectrum": _mean([compare_spectra(s.truth, s.sampled) for s in scenes]),
    }
    heads = [scene.head for scene in scenes if scene.head is not None]
    if heads:
        metrics["head"] = _mean(heads)
    return PriorReport(metrics, _draw_days(prior, scenes[0]), _draw_spectra(prior, scenes))


def _mean(parts: Sequence[Metrics]) -> Metrics:
    """Means over scenes, key by key."""
    first = parts[0]
    return {
        key: _mean([part[key] for part in parts])
        if isinstance(first[key], Mapping)
        else round(float(np.mean([part[key] for part in parts])), 5)
        for key in first
    }


def _draw_days(prior: Prior, scene: _Scene) -> Figure:
    days = np.linspace(0, scene.real.shape[1] - 1, SHOWN_DAYS).astype(int)
    title = f"prior {prior.name} ({prior.intended_use}), {scene.name}"
    real, redone, sampled = (
        part[0, days] for part in (scene.real, scene.reconstructed, scene.sampled)
    )
    return draw_prior(real, redone, sampled, scene.lat, scene.lon, title)


def _draw_spectra(prior: Prior, scenes: Sequence[_Scene]) -> Figure:
    kinds = {"held-out days": "truth", "reconstructed": "reconstructed", "prior": "sampled"}
    rings = min(min(scene.truth.shape[-2:]) for scene in scenes) // 2
    spectra = {}
    for label, kind in kinds.items():
        found = [power_spectrum(getattr(scene, kind), rings) for scene in scenes]
        spectra[label] = (found[0][0], np.mean([power for _, power in found], axis=0))
    return draw_spectra(spectra, f"prior {prior.name}: power of daily rain")
