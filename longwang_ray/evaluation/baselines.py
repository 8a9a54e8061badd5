"""What an ensemble must beat: interpolation of the monthly means.

Linear in latitude, longitude and time ("trilinear"), each axis one small matrix, so that

    x[t, i, j] = Σ_m Σ_J Σ_I  T[t, m] B[i, J] L[j, I] y[m, J, I]

It is smooth, rains every day, and keeps neither the month's mean nor any extreme.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.floating]


def linear_weights(sources: Array, points: Array, period: float | None = None) -> Array:
    """Matrix that interpolates values at ``sources`` linearly to ``points``.

    Args:
        sources: Ascending or descending, shape ``(n,)``; with a period, within one turn of it.
        points: Shape ``(p,)``, same unit.
        period: Length of the circle (360 for longitudes); None: constant beyond the ends.

    Returns:
        Shape ``(p, n)``; every row sums to 1.

    >>> linear_weights(np.array([0.0, 180.0]), np.array([90.0, 270.0]), period=360)
    array([[0.5, 0.5],
           [0.5, 0.5]])
    """
    order = np.argsort(sources)
    axis = np.asarray(sources, dtype=np.float64)[order]
    if period is not None:
        points = axis[0] + np.mod(points - axis[0], period)
        axis, order = np.append(axis, axis[0] + period), np.append(order, order[0])
    upper = np.clip(np.searchsorted(axis, points, side="right"), 1, max(len(axis) - 1, 1))
    if len(axis) == 1:
        return np.ones((len(points), 1))
    width = axis[upper] - axis[upper - 1]
    share = np.clip((points - axis[upper - 1]) / width, 0.0, 1.0)
    weights = np.zeros((len(points), len(sources)))
    rows = np.arange(len(points))
    np.add.at(weights, (rows, order[upper - 1]), 1 - share)
    np.add.at(weights, (rows, order[upper]), share)
    return weights


def bilinear(monthly: Array, lat: Array, lon: Array, fine_lat: Array, fine_lon: Array) -> Array:
    """The monthly means between the centres of the GCM's cells.

    Args:
        monthly: Shape ``(month, J, I)``, any unit.
        lat: Centres of the GCM's rows, shape ``(J,)``, degrees.
        lon: Of its columns, ``(I,)``, ascending; taken as periodic if they close the circle (the
            gap at the end is no wider than one and a half cells).
        fine_lat: Where it is wanted, shape ``(i,)``.
        fine_lon: Likewise, shape ``(j,)``.

    Returns:
        Shape ``(month, i, j)``, the same unit, float32.
    """
    step = float(np.median(np.abs(np.diff(lon)))) if len(lon) > 1 else 360.0
    closed = 360 - (np.max(lon) - np.min(lon)) <= 1.5 * step
    if not closed:  # a region: bring the points to the turn that the region's longitudes stand in
        middle = (np.max(lon) + np.min(lon)) / 2
        fine_lon = middle + np.mod(fine_lon - middle + 180, 360) - 180
    rows = linear_weights(lat, fine_lat)
    columns = linear_weights(lon, fine_lon, period=360 if closed else None)
    fine = np.einsum("iJ,mJI,jI->mij", rows, monthly, columns, optimize=True)
    return fine.astype(np.float32)


def trilinear(
    monthly: Array,
    month_starts: Array,
    lat: Array,
    lon: Array,
    fine_lat: Array,
    fine_lon: Array,
) -> Array:
    """Daily rain from the monthly means alone: bilinear, then linear between mid-months.

    Args:
        monthly: Shape ``(month, J, I)``, mm/day.
        month_starts: First day of each month and, last, the day after them all: ``(month + 1,)``.
        lat: As for `bilinear`; so are ``lon``, ``fine_lat`` and ``fine_lon``.
        lon: See ``lat``.
        fine_lat: See ``lat``.
        fine_lon: See ``lat``.

    Returns:
        Shape ``(day, i, j)``, one field for every day of the months, mm/day, float32; before the
        first and after the last mid-month it is constant.
    """
    starts = np.asarray(month_starts, dtype=np.float64)
    days = np.arange(starts[0], starts[-1]) + 0.5
    in_time = linear_weights((starts[1:] + starts[:-1]) / 2, days).astype(np.float32)
    months = bilinear(monthly, lat, lon, fine_lat, fine_lon)
    return np.tensordot(in_time, months, axes=(1, 0))
