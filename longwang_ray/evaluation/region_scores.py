"""Scores of one region-month: what each method's rain is like, and how near it is to the truth.

A score of an ensemble is the mean of its realizations' scores, as published, but for those of the
whole ensemble: fair CRPS, R² of its mean, spread–skill, reliability, fractions skill. A
deterministic method's CRPS is its mean absolute error. Cells count by their area.

Where few values decide, chance does: a region-month's longest ring of wavenumbers holds four modes
a day, so the mean of its spectral ratios lies above 1 even of a perfect ensemble, as that of its
reliability lies above 0. The same scores of all region-months together are in `pooled`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation import scores
from longwang_ray.evaluation.neighbourhood import SCALES, THRESHOLDS
from longwang_ray.evaluation.pooled import Pooled, pool_scene
from longwang_ray.evaluation.scene import Scene

Array = NDArray[np.floating]

LIKE: dict[str, Callable[[Array, Array], Array]] = {
    "mean": lambda x, area: scores.cell_mean(x.mean(axis=-3, dtype=np.float64), 2, area),
    "wet_fraction": lambda x, area: scores.wet_day_fraction(x, 2, area),
    "dry_fraction": lambda x, area: scores.dry_day_fraction(x, 2, area),
    "lag1": lambda x, area: scores.domain_lag1(x, 2, area),
    "lag1_cells": lambda x, area: scores.cell_lag1(x, 2, area),
}
"""What rain ``(realization, day, lat, lon)`` is like: ``(realization,)``."""

HEAVY = {"r95p": 95.0, "r99p": 99.0}
"""Share of rain above a percentile of the truth's wet days."""

HIGH = {"p99": 99.0, "p999": 99.9}
"""Percentiles of all cell-days, mm/day."""

FSS = (THRESHOLDS.index(10.0), SCALES.index(9))
"""Of the fractions skill scores, the one among the scores: 10 mm/day in squares of 9 cells."""


def score_scene(
    scene: Scene, pooled: Mapping[str, Pooled] | None = None
) -> dict[str, dict[str, float]]:
    """Every score of the truth and of each method: ``{method or "truth": {score: value}}``.

    Of truth and methods: mean (mm/day), wet_fraction (> 1 mm), dry_fraction (< 0.1 mm), r95p and
    r99p (of the truth's wet days), lag1 (of the region's mean), lag1_cells, p99 and p999 (mm/day),
    length (at which the spatial correlation is 1/e, cells). Of methods only: r2_monthly (mean of
    the single realizations'), r2_monthly_mean (of the ensemble mean), wasserstein and crps
    (mm/day), monthly_consistency (relative error of the region's total, as published),
    cell_consistency (of the GCM cells, if any lies inside), spectrum_ratio_max (8–64 cells),
    spectrum_ratio_short (4–8), fss (10 mm, 9 cells); spread_skill and reliability of those with
    two realizations or more.

    NaN where a score makes no sense, as the share of heavy rain where it never rained.

    Args:
        scene: The region-month.
        pooled: What `pool_scene` says of it, if that is known already.
    """
    pooled = pool_scene(scene) if pooled is None else pooled
    limits = {name: scores.wet_percentile(scene.truth, p) for name, p in HEAVY.items()}
    with np.errstate(divide="ignore", invalid="ignore"):  # deserts: becomes NaN below
        found = {"truth": _like(scene.truth[None], scene.area, limits)}
        for name, rain in scene.methods.items():
            found[name] = (
                _like(rain, scene.area, limits)
                | _near(rain, scene)
                | _pooled(pooled[name], pooled["truth"])
            )
    return {
        name: {k: v if np.isfinite(v) else float("nan") for k, v in values.items()}
        for name, values in found.items()
    }


def _like(rain: Array, area: Array, limits: dict[str, float]) -> dict[str, float]:
    found = {name: float(np.mean(score(rain, area))) for name, score in LIKE.items()}
    for name, limit in limits.items():
        # without a wet day in truth there is no limit, and nothing would be above it
        share = scores.heavy_rain_fraction(rain, limit, 2, area)
        found[name] = float(np.mean(share)) if np.isfinite(limit) else float("nan")
    for name, percent in HIGH.items():
        found[name] = float(np.mean(scores.percentile(rain, percent, 2, area)))
    found["length"] = scores.correlation_length(rain)
    return found


def _near(rain: Array, scene: Scene) -> dict[str, float]:
    truth, area = scene.truth, scene.area
    mean = rain.mean(axis=0, dtype=np.float64)
    error = scores.fair_crps(rain, truth) if len(rain) > 1 else np.abs(mean - truth)
    found = {
        "r2_monthly": scores.monthly_r2(rain, truth, 2, area),
        "r2_monthly_mean": scores.monthly_r2(mean, truth, 2, area),
        "wasserstein": np.array([scores.wasserstein1(x, truth) for x in rain]),
        "crps": scores.cell_mean(error, 2, area),
        "monthly_consistency": scores.monthly_consistency(rain, truth, 2, area),
    }
    single = {name: float(np.mean(values)) for name, values in found.items()}
    return single | _cell_consistency(rain, scene)


def _cell_consistency(rain: Array, scene: Scene) -> dict[str, float]:
    """Σ |A x − A y| / Σ A y over the GCM cells inside, mean over the realizations."""
    operator = scene.operator
    if operator is None or not operator.inside.any():
        return {}
    month, rows, columns = (w.numpy() for w in (operator.month, operator.lat, operator.lon))
    inside = operator.inside.numpy()

    def observe(days: Array) -> Array:
        fine = np.einsum("d,...dij->...ij", month[0], days)
        return (rows @ fine @ columns.T)[..., inside]

    asked, seen = observe(scene.truth), observe(rain)
    return {"cell_consistency": float(np.mean(np.abs(seen - asked)) / asked.mean())}


def _pooled(of: Pooled, truth: Pooled) -> dict[str, float]:
    """The scores that the scene's own pooled statistics tell."""
    found = {
        "spectrum_ratio_max": of.spectrum.worst(truth.spectrum, "long"),
        "spectrum_ratio_short": of.spectrum.worst(truth.spectrum, "short"),
    }
    if of.neighbourhood:
        found["fss"] = float(of.neighbourhood.skill[FSS])
    if of.ranks and of.spread:
        found |= {"spread_skill": of.spread.ratio, "reliability": of.ranks.reliability}
    return found
