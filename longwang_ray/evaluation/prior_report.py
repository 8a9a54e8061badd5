"""How good a prior is, by itself: on days that it has not seen, before any observation.

Three questions, in regions of a few thousand kilometres and in several seasons:

    reconstruction   what do encoder and decoder keep of a real day?
    samples          is rain drawn from the prior alone, by the real lattice and its blending,
                     like the rain of that place and season?
    head             does the coarse head read the monthly mean that the decoder would give?

Days that were held out and a band of longitudes that was held out are different questions, and are
answered apart. The numbers go into the bundle's ``prior.json`` under ``metrics``, which its digest
leaves out.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from longwang_ray.evaluation.figures import draw_prior, draw_spectra
from longwang_ray.evaluation.prior_fields import Drawing, draw, reconstruct
from longwang_ray.evaluation.prior_scores import Metrics, compare_samples, score_reconstruction
from longwang_ray.evaluation.scores import power_spectrum
from longwang_ray.evaluation.views import DAYS, Parts, Region, View, views_of
from longwang_ray.prior.bundle import Prior
from longwang_ray.training.days import DayBlock

Array = NDArray[np.floating]

log = logging.getLogger(__name__)
SHOWN_DAYS = 4


@dataclass(frozen=True)
class PriorReport:
    """What was found.

    Attributes:
        metrics: For each part of what was held out plain numbers under the three questions; JSON
            can hold them.
        days: Held-out days, their reconstructions, and samples.
        spectra: Power of held-out days, reconstructions and samples.
    """

    metrics: Metrics
    days: Figure
    spectra: Figure


@dataclass(frozen=True)
class _Scene:
    """A view with its rain, ``(series, day, lat, lon)``."""

    view: View
    truth: Array
    reconstructed: Array
    sampled: Array
    head: Metrics | None


def assess_prior(
    prior: Prior,
    held_out: Parts | Sequence[DayBlock],
    *,
    regions: Sequence[Region] | None = None,
    drawing: Drawing = Drawing(),  # noqa: B008 (frozen)
) -> PriorReport:
    """Measure a prior against days that it has not seen; takes minutes.

    Args:
        prior: As it was opened from its bundle: with the weights that users get.
        held_out: Days of the globe or of a box, perhaps by the parts in which they are judged;
            runs of the same days and cells are taken together as that season's truth.
        regions: Where to look; by default chosen by the days' own boxes.
        drawing: How samples are drawn.

    Raises:
        ValueError: if nothing that was held out holds a window of the prior.
    """
    parts = held_out if isinstance(held_out, Mapping) else {DAYS: held_out}
    scenes, missing = {}, []
    for name, blocks in parts.items():
        try:
            scenes[name] = _look_all(prior, name, views_of(prior, blocks, regions), drawing)
        except ValueError as error:
            log.warning("%s: not assessed: %s", name, error)
            missing.append(f"{name}: {error}")
    if not scenes:
        raise ValueError("; ".join(missing) or "no days were held out to assess the prior on")
    everything = [scene for part in scenes.values() for scene in part]
    return PriorReport(
        {name: _measured(part) for name, part in scenes.items()},
        _draw_days(prior, next(iter(scenes.values()))),
        _draw_spectra(prior, everything),
    )


def _look_all(prior: Prior, part: str, views: Sequence[View], drawing: Drawing) -> list[_Scene]:
    scenes = []
    for index, view in enumerate(views):
        span = " to ".join(view.period)
        log.info("%s %d of %d: %s, %s", part, index + 1, len(views), view.name, span)
        if scene := _look(prior, view, drawing):
            scenes.append(scene)
    if not scenes:
        raise ValueError(
            f"none of {len(views)} regions and runs of days is without missing values, in a box "
            "around " + ", ".join(dict.fromkeys(view.name for view in views))
        )
    return scenes


def _look(prior: Prior, view: View, drawing: Drawing) -> _Scene | None:
    size = (view.rows[1] - view.rows[0], view.columns[1])
    around = view.margins(_reach(prior, size), prior.compression[1:])
    rain = view.read(around)
    if not np.isfinite(rain).all():
        missing = 1 - np.isfinite(rain).mean()
        log.info("%s: %.2g %% of its values are missing; left out", view.name, 100 * missing)
        return None
    inner = (..., slice(around[0], around[0] + size[0]), slice(around[2], around[2] + size[1]))
    redone = np.stack([reconstruct(prior, days)[inner] for days in rain])
    sampled = draw(prior, view, drawing)
    return _Scene(view, rain[inner], redone, sampled.rain, sampled.head)


def _reach(prior: Prior, size: tuple[int, int]) -> tuple[int, int]:
    """Cells around a region in which its windows overlap, or which it lacks for a window."""
    cells = zip(prior.window[1:], prior.stride[1:], size, strict=True)
    rows, columns = (max(window - stride, window - n) for window, stride, n in cells)
    return rows, columns


def _measured(scenes: Sequence[_Scene]) -> Metrics:
    found: Metrics = {
        "periods": [list(period) for period in sorted({scene.view.period for scene in scenes})],
        "reconstruction": score_reconstruction(
            [s.truth for s in scenes], [s.reconstructed for s in scenes]
        ),
        "samples": {
            name: compare_samples([s.truth for s in same], [s.sampled for s in same], lat)
            for name, same, lat in _by_region(scenes)
        },
    }
    heads = [scene.head for scene in scenes if scene.head is not None]
    if heads:
        found["head"] = {key: _mean([head[key] for head in heads]) for key in heads[0]}
    return found


def _by_region(scenes: Sequence[_Scene]) -> list[tuple[str, list[_Scene], Array]]:
    found = []
    for name in dict.fromkeys(scene.view.name for scene in scenes):
        same = [scene for scene in scenes if scene.view.name == name]
        found.append((name, same, same[0].view.lat))
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(float(np.mean(known)), 5) if known else None


def _draw_days(prior: Prior, scenes: Sequence[_Scene]) -> Figure:
    """The region and run with most rain."""
    scene = max(scenes, key=lambda s: float(s.truth.mean()))
    last = scene.truth.shape[1] - 1
    days = np.unique(np.linspace(0, last, SHOWN_DAYS).astype(int))
    title = f"prior {prior.name} ({prior.intended_use}), {scene.view.name}"
    real, redone, sampled = (
        part[0, days] for part in (scene.truth, scene.reconstructed, scene.sampled)
    )
    return draw_prior(real, redone, sampled, scene.view.lat, scene.view.lon, title)


def _draw_spectra(prior: Prior, scenes: Sequence[_Scene]) -> Figure:
    kinds = {"held-out days": "truth", "reconstructed": "reconstructed", "prior": "sampled"}
    rings = min(min(scene.truth.shape[-2:]) for scene in scenes) // 2
    spectra = {}
    for label, kind in kinds.items():
        found = [power_spectrum(getattr(scene, kind), rings) for scene in scenes]
        spectra[label] = (found[0][0], np.mean([power for _, power in found], axis=0))
    return draw_spectra(spectra, f"prior {prior.name}: power of daily rain")
