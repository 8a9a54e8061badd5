"""The numbers of a prior: what of a day it keeps, what its own days are like, what its head reads.

Rain is ``(series, day, lat, lon)`` in mm/day; each pair is (truth, what is judged). A ratio is
always judged / truth: 1 is right.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.scores import (
    WET,
    cell_lag1,
    cell_mean,
    dry_day_fraction,
    percentile,
    power_spectrum,
    spectral_slope,
    wet_day_fraction,
)

Array = NDArray[np.floating]
Metrics = dict[str, Any]

BANDS = ((4, 6), (6, 8), (8, 16), (16, 32))
"""Wavelengths in cells between which power is compared."""

MESOSCALE = (8, 32)
"""Wavelengths in cells over which the slope of the power of a mode is taken: 200 to 900 km. The
power summed over rings of wavenumber, as slopes of −2 to −3 are stated, is one flatter."""


def score_reconstruction(real: Sequence[Array], redone: Sequence[Array]) -> Metrics:
    """What encoder and decoder keep, pooled over places and seasons.

    Args:
        real: Days of each scene, ``(series, day, lat, lon)``.
        redone: The same days, encoded and decoded.

    Returns:
        Ratios of the wet-day fraction (> 1 mm) and of the 99th and 99.9th percentile, correlation
        and mean bias in mm/day, and the ratio of power in each band of wavelengths.
    """
    x, y = (np.concatenate([a.ravel() for a in part]) for part in (real, redone))
    found: Metrics = {
        "wet_ratio": _plain(np.mean(y > WET) / np.mean(x > WET)),
        "p99_ratio": _plain(np.percentile(y, 99) / np.percentile(x, 99)),
        "p999_ratio": _plain(np.percentile(y, 99.9) / np.percentile(x, 99.9)),
        "mean_ratio": _plain(y.mean(dtype=np.float64) / x.mean(dtype=np.float64)),
        "correlation": _plain(np.corrcoef(x, y)[0, 1]),
    }
    powers = [_band_powers(part) for part in (real, redone)]
    found["power_ratio"] = {name: _plain(powers[1][name] / powers[0][name]) for name in powers[0]}
    return found


def compare_samples(truth: Array, sampled: Array, lat: Array) -> Metrics:
    """What days of the prior are like beside true days of that place and season.

    Args:
        truth: ``(series, day, lat, lon)``.
        sampled: ``(realization, day, lat, lon)``.
        lat: Latitudes of the rows, which weight the cells.

    Returns:
        For each score its value for the truth and for the samples: mean rain, dry fraction
        (< 0.1 mm), wet fraction (> 1 mm), 99th and 99.9th percentile, lag-1 autocorrelation.
    """
    area = np.cos(np.deg2rad(lat))[:, None]
    return {
        name: {"truth": _plain(score(truth, area)), "prior": _plain(score(sampled, area))}
        for name, score in _SCORES.items()
    }


_SCORES = {
    "mean": lambda x, area: cell_mean(x.mean(axis=1), 2, area).mean(),
    "dry": lambda x, area: dry_day_fraction(x, 2, area).mean(),
    "wet": lambda x, area: wet_day_fraction(x, 2, area).mean(),
    "p99": lambda x, area: percentile(x, 99, 2, area).mean(),
    "p999": lambda x, area: percentile(x, 99.9, 2, area).mean(),
    "lag1": lambda x, area: cell_lag1(x, 2, area).mean(),
}


def compare_spectra(truth: Array, sampled: Array) -> Metrics:
    """Power ratios by bands of wavelengths, and both slopes over the mesoscale."""
    powers = [_band_powers([part]) for part in (truth, sampled)]
    low, high = 1 / MESOSCALE[1], 1 / MESOSCALE[0]
    slopes = (_plain(spectral_slope(*power_spectrum(x), low, high)) for x in (truth, sampled))
    return {
        "power_ratio": {name: _plain(powers[1][name] / powers[0][name]) for name in powers[0]},
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
    return {
        "daily_error": _plain(np.abs(error).mean() / rain),
        "monthly_error": _plain(np.abs(month).mean() / rain),
        "monthly_error_wide": _plain(np.abs(_halved(month)).mean() / _halved(asked).mean()),
        "bias": _plain(error.mean() / rain),
    }


def _halved(field: Array) -> Array:
    """Means of two by two cells; an odd last row or column is left out."""
    series, rows, columns = field.shape
    even = field[:, : rows // 2 * 2, : columns // 2 * 2]
    return even.reshape(series, rows // 2, 2, columns // 2, 2).mean(axis=(2, 4))


def _band_powers(scenes: Sequence[Array]) -> dict[str, float]:
    """Mean power between two wavelengths, over all scenes."""
    found = [power_spectrum(scene) for scene in scenes]
    bands = {}
    for short, long in BANDS:
        parts = [power[(k > 1 / long) & (k <= 1 / short)] for k, power in found]
        bands[f"{short}-{long} cells"] = float(np.mean([part.mean() for part in parts]))
    return bands


def _plain(value: Any) -> float:  # noqa: ANN401 (any of numpy's numbers)
    return round(float(value), 5)
