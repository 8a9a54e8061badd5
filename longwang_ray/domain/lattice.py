"""Where the networks look: windows at fixed places of the globe.

The lattice belongs to the globe and never to a tile. On each axis window k covers the latent cells

    [s_k, s_k + window),   s_k = k · stride                     (time, longitude)
                           s_k = round(k (n − window) / m)      (latitude, k = 0 … m)

Latent time counts from day 0 of the calendar (0001-01-01), latent longitude from 0°E eastward,
latent latitude from the north. A tile is only a set of windows: an `Extent`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longwang_ray.domain.span import Extent, Ints, Span, Weights

__all__ = ["Extent", "Ints", "Lattice", "Span", "Weights"]


@dataclass(frozen=True)
class Lattice:
    """All windows of the globe.

    Attributes:
        window: Latent cells of a window ``(time, lat, lon)``.
        stride: Latent cells between windows ``(time, lat, lon)``; in latitude at most.
        compression: Fine cells in a latent cell ``(time, lat, lon)``.
        shape: Latent cells of the globe ``(lat, lon)``.

    Raises:
        ValueError: if windows leave gaps, exceed the globe, or do not close the circle.
    """

    window: tuple[int, int, int]
    stride: tuple[int, int, int]
    compression: tuple[int, int, int]
    shape: tuple[int, int]

    def __post_init__(self) -> None:
        axes = ("time", "lat", "lon")
        for axis, window, stride in zip(axes, self.window, self.stride, strict=True):
            if not 1 <= stride <= window:
                raise ValueError(
                    f"lattice.stride on {axis} is {stride}, must be in 1 … {window} (the window): "
                    "a larger one leaves cells that no window covers"
                )
        for axis, window, n in zip(("lat", "lon"), self.window[1:], self.shape, strict=True):
            if window > n:
                raise ValueError(
                    f"lattice.window on {axis} is {window} latent cells, the globe has {n}; "
                    "use a prior with a smaller window or a finer grid"
                )
        if self.shape[1] % self.stride[2]:
            raise ValueError(
                f"lattice.stride on lon is {self.stride[2]}, must divide the circle of "
                f"{self.shape[1]} latent cells"
            )
        if min(self.compression) < 1:
            raise ValueError(f"lattice.compression is {self.compression}, must be positive")

    @property
    def fine_shape(self) -> tuple[int, int]:
        """Fine cells of the globe ``(lat, lon)``."""
        return self.shape[0] * self.compression[1], self.shape[1] * self.compression[2]

    @property
    def stride_days(self) -> int:
        """Days between windows."""
        return self.stride[0] * self.compression[0]

    def lat_starts(self) -> Ints:
        """First latent row of each latitude window; the first and last touch the globe's edges."""
        room = self.shape[0] - self.window[1]
        gaps = -(-room // self.stride[1])
        k = np.arange(gaps + 1)
        return (2 * k * room + gaps) // max(2 * gaps, 1)  # rounded half up, in integers

    def time_span(self, day0: int, day1: int, halo: int = 0) -> Span:
        """All windows that touch the days ``[day0, day1)``, and ``halo`` more on either side."""
        window, stride, compression = self.window[0], self.stride[0], self.compression[0]
        first, stop = _touching(*_latent(day0, day1, compression), window, stride)
        return _regular(first - halo, stop - first + 2 * halo, window, stride, compression)

    def lat_span(self, row0: int, row1: int, halo: int = 0) -> Span:
        """All windows that touch the fine rows ``[row0, row1)``, and ``halo`` more to the poles.

        Raises:
            ValueError: if the rows are not on the globe.
        """
        if not 0 <= row0 < row1 <= self.fine_shape[0]:
            raise ValueError(
                f"rows [{row0}, {row1}) are not on the globe, which has [0, {self.fine_shape[0]})"
            )
        window = self.window[1]
        low, high = _latent(row0, row1, self.compression[1])
        starts = self.lat_starts()
        touching = np.flatnonzero((starts < high) & (starts + window > low))
        first = max(int(touching[0]) - halo, 0)
        last = min(int(touching[-1]) + halo, len(starts) - 1)
        start, stop = int(starts[first]), int(starts[last]) + window
        return Span(
            start=start,
            size=stop - start,
            offsets=tuple(int(s) - start for s in starts[first : last + 1]),
            window=window,
            overlap=window - self.stride[1],
            compression=self.compression[1],
            blunt=(first == 0, last == len(starts) - 1),
        )

    def lon_span(self, col0: int, ncols: int, halo: int = 0) -> Span:
        """All windows that touch ``ncols`` fine columns from ``col0`` eastward, and ``halo`` more.

        The circle closes as soon as the covered cells meet: then all windows are taken, each once,
        from 0°E eastward.

        Raises:
            ValueError: if there are no columns, or more than the circle has.
        """
        if not 1 <= ncols <= self.fine_shape[1]:
            raise ValueError(f"{ncols} columns asked, the circle has 1 … {self.fine_shape[1]}")
        window, stride, compression = self.window[2], self.stride[2], self.compression[2]
        n = self.shape[1]
        first, stop = _touching(*_latent(col0, col0 + ncols, compression), window, stride)
        first, count = first - halo, stop - first + 2 * halo
        if (count - 1) * stride + window < n:
            return _regular(first, count, window, stride, compression, period=n)
        offsets = tuple(range(0, n, stride))
        return Span(0, n, offsets, window, window - stride, compression, period=n, wraps=True)

    def extent(
        self, days: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int], halo: int = 0
    ) -> Extent:
        """All windows that touch a box of fine cells, and ``halo`` more on each side in space.

        A halo in time is counted in whole months and so is the planner's: widen ``days``.

        Args:
            days: Day numbers ``[first, stop)``.
            rows: Fine rows ``[first, stop)``.
            columns: Fine columns ``(first, count)``; may pass 0°E.
            halo: Further windows on each side in latitude and longitude.
        """
        return Extent(
            self.time_span(*days), self.lat_span(*rows, halo), self.lon_span(*columns, halo)
        )


def _latent(fine0: int, fine1: int, compression: int) -> tuple[int, int]:
    """Latent cells that hold the fine cells ``[fine0, fine1)``."""
    return fine0 // compression, -(-fine1 // compression)


def _touching(low: int, high: int, window: int, stride: int) -> tuple[int, int]:
    """First and one past the last k with ``k·stride + [0, window)`` touching ``[low, high)``."""
    if low >= high:
        raise ValueError(f"nothing to cover: cells {low} … {high}")
    return (low - window) // stride + 1, -(-high // stride)


def _regular(
    first: int, count: int, window: int, stride: int, compression: int, period: int | None = None
) -> Span:
    """The windows ``first … first + count − 1`` of an axis with one stride."""
    start = first * stride if period is None else first * stride % period
    return Span(
        start=start,
        size=(count - 1) * stride + window,
        offsets=tuple(k * stride for k in range(count)),
        window=window,
        overlap=window - stride,
        compression=compression,
        period=period,
    )
