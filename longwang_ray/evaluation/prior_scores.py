"""The numbers of a prior: what of a day it keeps, what its own days are like, what its head reads.

Rain is ``(series, day, lat, lon)`` in mm/day. Each comparison holds the truth, what is judged, and
either their ratio (judged / truth: 1 is right) or, for correlations, their difference (judged −
truth: 0 is right). What is not known (no rain to divide by) is ``None``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.scores import (
    cell_lag1,
    cell_mean,
    correlation,
    correlation_length,
    dry_day_fraction,
    percentile,
    power_spectrum,
    spatial_correlation,
    spectral_slope,
    wet_day_fraction,
)

Array = NDArray[np.floating]
Metrics = dict[str, Any]
Score = Callable[[Array, Array | None], Any]
"""Score of days ``(day, lat, lon)`` whose rows have these areas ``(lat, 1)``, or all the same."""

BANDS = ((4, 6), (6, 8), (8, 16), (16, 32))
"""Wavelengths in cells between which power is compared."""

DISTANCES = (1, 2, 4, 8)
"""Cells over which days are correlated in space."""

MESOSCALE = (8, 32)
"""Wavelengths in cells over which the slope of the power of a mode is taken: 200 to 900 km. The
power summed over rings of wavenumber, as slopes of −2 to −3 are stated, is one flatter."""

FEWEST_DAYS = 3
"""Of a run, to say what is left of a day on the next."""

_AMOUNTS: dict[str, Score] = {
    "mean": lambda x, area: cell_mean(x.mean(axis=0, dtype=np.float64), 2, area),
    "dry": lambda x, area: dry_day_fraction(x, 2, area),
    "wet": lambda x, area: wet_day_fraction(x, 2, area),
    "p99": lambda x, area: percentile(x, 99, 2, area),
    "p999": lambda x, area: percentile(x, 99.9, 2, area),
}


def score_reconstruction(real: Sequence[Array], redone: Sequence[Array]) -> Metrics:
    """What encoder and decoder keep, pooled over places and seasons.

    Args:
        real: Days of each scene, ``(series, day, lat, lon)``.
        redone: The same days, encoded and decoded.

    Returns:
        ``{truth, reconstructed, ratio}`` of mean rain, dry (< 0.1 mm) and wet fraction (> 1 mm),
        99th and 99.9th percentile, every cell-day the same; their correlation in mm/day; and the
        ratio of power in each band of wavelengths.
    """
    x, y = (np.concatenate([a.ravel() for a in part])[:, None, None] for part in (real, redone))
    found: Metrics = {
        name: _with_ratio(score(x, None), score(y, None), "reconstructed")
        for name, score in _AMOUNTS.items()
    }
    found["correlation"] = _plain(correlation(x, y))
    found["power_ratio"] = _power_ratio(real, redone)
    return found


def compare_samples(truth: Sequence[Array], sampled: Sequence[Array], lat: Array) -> Metrics:
    """What days of the prior are like beside true days of that place and those seasons.

    Args:
        truth: Of each run of days, ``(series, day, lat, lon)``.
        sampled: Of the same days, ``(realization, day, lat, lon)``.
        lat: Latitudes of the rows, which weight the cells.

    Returns:
        ``{truth, prior, ratio}`` of mean rain, dry fraction (< 0.1 mm), wet fraction (> 1 mm),
        99th and 99.9th percentile over all days, and of the correlation length in cells;
        ``{truth, prior, difference}`` of the spatial correlation over 1, 2, 4 and 8 cells and of
        the cells' lag-1 autocorrelation within a run (both lie low by about 1/days in short
        runs); ratios of power in bands of wavelengths, and both slopes over the mesoscale.
    """
    area = np.cos(np.deg2rad(lat))[:, None]
    x, y = (_all_days(part) for part in (truth, sampled))
    found: Metrics = {
        name: _with_ratio(score(x, area), score(y, area)) for name, score in _AMOUNTS.items()
    }
    found["lag1"] = _with_difference(_lag1(truth, area), _lag1(sampled, area))
    found["space"] = {
        f"{d} cells" if d > 1 else "1 cell": _with_difference(
            spatial_correlation(x, d), spatial_correlation(y, d)
        )
        for d in DISTANCES
    }
    found["length"] = _with_ratio(correlation_length(x), correlation_length(y))
    return found | compare_spectra(x, y)


def compare_spectra(truth: Array, sampled: Array) -> Metrics:
    """Power ratios by bands of wavelengths, and both slopes over the mesoscale."""
    low, high = 1 / MESOSCALE[1], 1 / MESOSCALE[0]
    slopes = (_plain(spectral_slope(*power_spectrum(x), low, high)) for x in (truth, sampled))
    return {
        "power_ratio": _power_ratio([truth], [sampled]),
        "slope": dict(zip(("truth", "prior"), slopes, strict=True)),
    }


def score_head(read: Array, decoded: Array) -> Metrics:
    """How near the coarse head's means are to the decoder's.

    Args:
        read: The head's daily means, ``(realization, day, i, j)``, mm/day.
        decoded: Means of the decoded rain over the same cells.

    Returns:
        Mean absolute error over mean rain of single days, and of the mean over all days on head
        cells and on twice two of them (about 1°); and the bias of the mean.
    """
    rain = decoded.mean(dtype=np.float64)
    error = read - decoded
    month, asked = error.mean(axis=1), decoded.mean(axis=1)
    wide = _halved(asked).mean()
    return {
        "daily_error": _ratio(np.abs(error).mean(), rain),
        "monthly_error": _ratio(np.abs(month).mean(), rain),
        "monthly_error_wide": _ratio(np.abs(_halved(month)).mean(), wide),
        "bias": _ratio(error.mean(), rain),
    }


def _all_days(runs: Sequence[Array]) -> Array:
    return np.concatenate([run.reshape(-1, *run.shape[-2:]) for run in runs])


def _lag1(runs: Sequence[Array], area: Array) -> float:
    """Mean over the runs, by their days; days of two runs do not follow each other."""
    pairs = [(memory, run.shape[1]) for run in runs for memory in cell_lag1(run, 2, area)]
    known = [(m, days) for m, days in pairs if days >= FEWEST_DAYS and np.isfinite(m)]
    if not known:
        return float("nan")
    memories, weights = zip(*known, strict=True)
    return float(np.average(memories, weights=weights))


def _halved(field: Array) -> Array:
    """Means of two by two cells; an odd last row or column is left out."""
    series, rows, columns = field.shape
    even = field[:, : rows // 2 * 2, : columns // 2 * 2]
    return even.reshape(series, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4))


def _power_ratio(truth: Sequence[Array], judged: Sequence[Array]) -> Metrics:
    asked, found = _band_powers(truth), _band_powers(judged)
    return {name: _ratio(found[name], asked[name]) for name in asked}


def _band_powers(scenes: Sequence[Array]) -> dict[str, float]:
    """Mean power between two wavelengths, over all scenes; bands that have a ring in each."""
    found = [power_spectrum(scene) for scene in scenes]
    bands = {}
    for short, long in BANDS:
        parts = [power[(k > 1 / long) & (k <= 1 / short)] for k, power in found]
        if all(part.size for part in parts):
            bands[f"{short}-{long} cells"] = float(np.mean([part.mean() for part in parts]))
    return bands


def _with_ratio(truth: Any, judged: Any, name: str = "prior") -> Metrics:  # noqa: ANN401
    return {"truth": _plain(truth), name: _plain(judged), "ratio": _ratio(judged, truth)}


def _with_difference(truth: float, judged: float) -> Metrics:
    return {"truth": _plain(truth), "prior": _plain(judged), "difference": _plain(judged - truth)}


def _ratio(judged: Any, truth: Any) -> float | None:  # noqa: ANN401 (any of numpy's numbers)
    return _plain(float(judged) / float(truth)) if truth else None


def _plain(value: Any) -> float | None:  # noqa: ANN401 (any of numpy's numbers)
    return round(float(value), 5) if np.isfinite(value) else None
