"""Scores of daily rain: what it is like, and how near it is to a truth.

Every field has the shape ``(..., day, *cells)``, mm/day, where ``cells`` is ``(lat, lon)`` or any
list of cells, and what stands in front (realizations) is reduced by none of the first kind:

    what it is like       wet and dry days, percentiles, R95p fraction, correlation in space and
                          from day to day, power spectrum
    how near to a truth   fair CRPS, Wasserstein-1, R² and consistency of monthly totals

Means over cells are area-weighted if ``area`` is given; it broadcasts against the cells. Without
it every cell counts the same, as in the published evaluation (arXiv 2605.17603), whose numbers
these functions reproduce: there each score is the mean over the realizations.
"""

from __future__ import annotations

import numpy as np
import scoringrules
from numpy.typing import NDArray

Array = NDArray[np.floating]

WET = 1.0
"""A day is wet above this, mm/day (ETCCDI)."""

DRY = 0.1
"""A day is dry below this, mm/day."""

FOLD = float(np.exp(-1))
"""Fields belong together up to the distance at which their correlation falls to this."""


def cell_mean(field: Array, cells: int, area: Array | None = None) -> Array:
    """Mean over the last ``cells`` axes, weighted by ``area``.

    >>> float(cell_mean(np.array([[1.0, 3.0]]), cells=1, area=np.array([3.0, 1.0]))[0])
    1.5
    """
    axes = tuple(range(field.ndim - cells, field.ndim))
    if area is None:
        return np.mean(field, axis=axes, dtype=np.float64)
    weight = np.broadcast_to(area, field.shape[field.ndim - cells :]).astype(np.float64)
    return np.sum(field * weight, axis=axes) / weight.sum()


def wet_day_fraction(rain: Array, cells: int = 2, area: Array | None = None) -> Array:
    """Share of cell-days with more than 1 mm: shape ``(...)``, without unit."""
    return cell_mean(np.mean(rain > WET, axis=-cells - 1), cells, area)


def dry_day_fraction(rain: Array, cells: int = 2, area: Array | None = None) -> Array:
    """Share of cell-days with less than 0.1 mm: shape ``(...)``, without unit."""
    return cell_mean(np.mean(rain < DRY, axis=-cells - 1), cells, area)


def percentile(rain: Array, percent: float, cells: int = 2, area: Array | None = None) -> Array:
    """The value that ``percent`` of all cell-days do not pass: shape ``(...)``, mm/day.

    Without ``area`` it is numpy's (linear between the ranks); with it, the inverse of the weighted
    distribution function.
    """
    lead = rain.shape[: -cells - 1]
    flat = rain.reshape(*lead, -1)
    if area is None:
        return np.percentile(flat, percent, axis=-1)
    shape = rain.shape[-cells - 1 :]
    weight = np.broadcast_to(area, shape).reshape(-1).astype(np.float64)
    rows = flat.reshape(-1, flat.shape[-1])
    return np.array([_weighted_quantile(row, weight, percent / 100) for row in rows]).reshape(lead)


def _weighted_quantile(values: Array, weight: Array, share: float) -> float:
    order = np.argsort(values)
    mass = np.cumsum(weight[order])
    return float(values[order[min(np.searchsorted(mass, share * mass[-1]), len(order) - 1)]])


def wet_percentile(rain: Array, percent: float = 95) -> float:
    """Percentile of the wet cell-days alone, mm/day; NaN where no day is wet.

    >>> wet_percentile(np.array([[0.0, 2.0], [0.5, 4.0]]), 50)
    3.0
    """
    wet = rain[rain > WET]
    return float(np.percentile(wet, percent)) if wet.size else float("nan")


def heavy_rain_fraction(
    rain: Array, threshold: float, cells: int = 2, area: Array | None = None
) -> Array:
    """Share of all rain that falls on cell-days above ``threshold`` mm: shape ``(...)``.

    With ``threshold = wet_percentile(truth, 95)`` this is the R95p fraction, with 99 R99p.
    """
    heavy = cell_mean(np.mean(np.where(rain > threshold, rain, 0.0), axis=-cells - 1), cells, area)
    return heavy / cell_mean(np.mean(rain, axis=-cells - 1, dtype=np.float64), cells, area)


def lag1_autocorrelation(series: Array, axis: int = -1) -> Array:
    """How much of a day's anomaly is left on the next: Σ a(t) a(t+1) / Σ a(t)², a = x − mean x.

    NaN where the series is constant.

    >>> float(lag1_autocorrelation(np.array([1.0, 2.0, 3.0, 4.0])))
    0.25
    """
    days = np.moveaxis(np.asarray(series, dtype=np.float64), axis, -1)
    anomaly = days - days.mean(axis=-1, keepdims=True)
    variance = np.sum(anomaly**2, axis=-1)
    covariance = np.sum(anomaly[..., 1:] * anomaly[..., :-1], axis=-1)
    return np.divide(covariance, variance, out=np.full_like(variance, np.nan), where=variance > 0)


def domain_lag1(rain: Array, cells: int = 2, area: Array | None = None) -> Array:
    """Lag-1 autocorrelation of the domain's daily mean: shape ``(...)``."""
    return lag1_autocorrelation(cell_mean(rain, cells, area))


def cell_lag1(rain: Array, cells: int = 2, area: Array | None = None) -> Array:
    """Mean over the cells of each cell's own lag-1 autocorrelation, cells that never change left
    out: shape ``(...)``, NaN where all never change."""
    memory = lag1_autocorrelation(rain, axis=-cells - 1)
    known = np.isfinite(memory)
    weight = np.where(known, 1.0 if area is None else area, 0.0)
    axes = tuple(range(memory.ndim - cells, memory.ndim))
    total = weight.sum(axis=axes)
    memory_sum = np.sum(np.where(known, memory, 0.0) * weight, axis=axes)
    return np.divide(memory_sum, total, out=np.full_like(total, np.nan), where=total > 0)


def spatial_correlation(rain: Array, distance: int) -> float:
    """Correlation of cells that lie so far apart, over all days.

        r(d) = corr( x(s), x(s + d) ),   the mean of d along rows and d along columns

    Args:
        rain: Shape ``(..., lat, lon)``, mm/day.
        distance: In cells.

    Returns:
        −1 … 1; NaN where rain is the same everywhere, or no two cells are that far apart.

    >>> spatial_correlation(np.array([[0.0, 1.0, 0.0, 1.0]] * 2), 2)
    1.0
    """
    pairs = (
        (rain[..., distance:, :], rain[..., :-distance, :]),
        (rain[..., distance:], rain[..., :-distance]),
    )
    found = [correlation(x, y) for x, y in pairs if x.size]
    known = [r for r in found if np.isfinite(r)]
    return float(np.mean(known)) if known else float("nan")


def correlation_length(rain: Array) -> float:
    """Distance at which the spatial correlation falls to 1/e, in cells, linear between cells.

    At most half the shorter side: where it has not fallen until there, that is the answer. NaN
    where rain is the same everywhere.
    """
    longest, before = min(rain.shape[-2:]) // 2, 1.0
    for distance in range(1, longest + 1):
        here = spatial_correlation(rain, distance)
        if np.isnan(here):
            return here
        if here < FOLD:
            return distance - (FOLD - here) / (before - here)
        before = here
    return float(longest)


def correlation(x: Array, y: Array) -> float:
    """Pearson's correlation of two fields, over all values; NaN where one never changes."""
    a = x.astype(np.float64).ravel() - np.mean(x, dtype=np.float64)
    b = y.astype(np.float64).ravel() - np.mean(y, dtype=np.float64)
    size = np.sqrt(np.dot(a, a) * np.dot(b, b))
    return float(np.dot(a, b) / size) if size > 0 else float("nan")


def fair_crps(ensemble: Array, truth: Array) -> Array:
    """Continuous ranked probability score of each value, fair to small ensembles.

        CRPS = 1/m Σ_i |x_i − y|  −  1/(2 m (m − 1)) Σ_i Σ_j |x_i − x_j|

    Args:
        ensemble: m realizations, shape ``(m, ...)``, m ≥ 2.
        truth: Shape ``(...)``.

    Returns:
        Shape ``(...)``, the unit of the rain; its mean is the score, one value can be negative.

    >>> float(fair_crps(np.array([[1.0], [3.0]]), np.array([2.0]))[0])
    0.0
    """
    m = len(ensemble)
    if m < 2:
        raise ValueError(f"the fair CRPS compares realizations: it needs 2 or more, found {m}")
    # "pwm" sorts, "fair" is the same number from all m² differences: 25 times slower at m = 16;
    # named, since scoringrules would take numba if it is there, and then compile
    return scoringrules.crps_ensemble(
        truth.astype(np.float64),
        ensemble.astype(np.float64),
        m_axis=0,
        estimator="pwm",
        backend="numpy",
    )


def wasserstein1(first: Array, second: Array) -> float:
    """Mean distance between two distributions of values: ∫ |F⁻¹(q) − G⁻¹(q)| dq, their unit.

    The number that `scipy.stats.wasserstein_distance` gives, in a sixth of the time on samples of
    one size.

    >>> wasserstein1(np.array([0.0, 1.0]), np.array([5.0, 6.0, 5.0, 6.0]))
    5.0
    """
    x = np.sort(first, axis=None).astype(np.float64)
    y = np.sort(second, axis=None).astype(np.float64)
    edges = np.union1d(np.arange(1, len(x) + 1) / len(x), np.arange(1, len(y) + 1) / len(y))
    middle = edges - np.diff(edges, prepend=0.0) / 2
    gap = np.abs(x[(middle * len(x)).astype(int)] - y[(middle * len(y)).astype(int)])
    return float(np.sum(gap * np.diff(edges, prepend=0.0)))


def monthly_r2(rain: Array, truth: Array, cells: int = 2, area: Array | None = None) -> Array:
    """Coefficient of determination of the totals over the days, cell by cell: shape ``(...)``.

    R² = 1 − Σ (x − y)² / Σ (y − mean y)²
    """
    total = rain.sum(axis=-cells - 1, dtype=np.float64)
    asked = truth.sum(axis=-cells - 1, dtype=np.float64)
    spread = cell_mean((asked - cell_mean(asked, cells, area)) ** 2, cells, area)
    return 1 - cell_mean((total - asked) ** 2, cells, area) / spread


def monthly_consistency(
    rain: Array, truth: Array, cells: int = 2, area: Array | None = None
) -> Array:
    """Relative error of the domain's total over the days: shape ``(...)``, without unit.

    |mean x − mean y| / mean y.
    """
    asked = cell_mean(truth, cells, area).mean(axis=-1)
    return np.abs(cell_mean(rain, cells, area).mean(axis=-1) - asked) / asked


def power_spectrum(rain: Array, bins: int | None = None) -> tuple[Array, Array]:
    """Radially averaged power of the fields, from a Hann-windowed two-dimensional transform.

    Args:
        rain: Shape ``(..., lat, lon)``; the mean of each field is taken off.
        bins: Rings of wavenumber; half the shorter side by default.

    Returns:
        The wavenumber of each ring in cycles per cell (wavelength = 1 / wavenumber cells; at most
        0.5), and the mean power of the modes in it over all fields, both ``(bins,)``.
    """
    bins = bins or min(rain.shape[-2:]) // 2
    power, radius = power_of_modes(rain)
    ring = np.ceil(radius / 0.5 * bins).astype(int)  # ring k: (k − 1, k] / bins × 0.5; 0 the mean
    modes = np.bincount(ring.ravel(), minlength=bins + 1)[1 : bins + 1]
    total = np.bincount(ring.ravel(), power.ravel(), minlength=bins + 1)[1 : bins + 1]
    wavenumber = (np.arange(bins) + 0.5) / bins * 0.5
    return wavenumber, np.divide(total, modes, out=np.full(bins, np.nan), where=modes > 0)


def power_of_modes(rain: Array) -> tuple[Array, Array]:
    """Power of each mode of the Hann-windowed two-dimensional transform, mean over the fields.

    Args:
        rain: Shape ``(..., lat, lon)``; the mean of each field is taken off.

    Returns:
        The power and the modes' wavenumbers in cycles per cell, both ``(lat, lon)`` in the order
        of the transform. White noise has its variance everywhere.
    """
    n_lat, n_lon = rain.shape[-2:]
    taper = np.outer(np.hanning(n_lat), np.hanning(n_lon))
    fields = rain.reshape(-1, n_lat, n_lon).astype(np.float64)
    fields = (
        (fields - fields.mean(axis=(1, 2), keepdims=True)) * taper / np.sqrt(np.mean(taper**2))
    )
    power = np.mean(np.abs(np.fft.fft2(fields)) ** 2, axis=0) / (n_lat * n_lon)
    radius = np.hypot(np.fft.fftfreq(n_lat)[:, None], np.fft.fftfreq(n_lon)[None, :])
    return power, radius


def spectral_slope(wavenumber: Array, power: Array, low: float, high: float) -> float:
    """Exponent b of power ∝ wavenumber^b between two wavenumbers, by least squares in log–log.

    NaN where fewer than two rings have any power.
    """
    used = (wavenumber >= low) & (wavenumber <= high) & (power > 0)
    if used.sum() < 2:
        return float("nan")
    slope, _ = np.polyfit(np.log(wavenumber[used]), np.log(power[used]), 1)
    return float(slope)
