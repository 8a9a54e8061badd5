"""A run of windows on one axis, the cells they cover, and the weights that blend them.

The weight of window k at a cell is a fixed linear taper τ of the place in the window, divided by
the sum over the windows that are present:

    w_k(c) = τ(c − s_k) / Σ_l τ(c − s_l),    τ(d) = min(d + ½, window − d − ½, overlap)

so that Σ_k w_k = 1 at every cell of the span. At a cell all of whose windows are present the
weights do not depend on the span. Tapers are multiples of ½: their sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Weights = NDArray[np.float32]


@dataclass(frozen=True)
class Span:
    """A contiguous run of windows on one axis, and the latent cells they cover.

    Attributes:
        start: First latent cell, global; in ``0 … period − 1`` on a periodic axis.
        size: Latent cells covered; equals ``period`` when the windows close the circle.
        offsets: First cell of each window, relative to ``start``, ascending.
        window: Cells in a window.
        overlap: Nominal overlap of neighbours (window − stride): how far a taper rises.
        compression: Fine cells (or days) in one latent cell.
        period: Latent cells round the circle on a periodic axis, else None.
        wraps: True if the windows close the circle; only then local indices wrap too.
        blunt: Whether the first and the last window stand at the globe's edge: no taper outwards.

    >>> span = Span(start=8, size=20, offsets=(0, 8), window=12, overlap=4)
    >>> span.weights()[:, [0, 7, 8, 11]].round(3).tolist()
    [[1.0, 1.0, 0.875, 0.125], [0.125, 1.0, 1.0, 1.0]]
    """

    start: int
    size: int
    offsets: tuple[int, ...]
    window: int
    overlap: int
    compression: int = 1
    period: int | None = None
    wraps: bool = False
    blunt: tuple[bool, bool] = (False, False)

    @property
    def count(self) -> int:
        """Number of windows."""
        return len(self.offsets)

    @property
    def stop(self) -> int:
        """One past the last latent cell, not wrapped."""
        return self.start + self.size

    @property
    def fine_start(self) -> int:
        """First fine cell (or day), global."""
        return self.start * self.compression

    @property
    def fine_size(self) -> int:
        """Fine cells (or days) covered."""
        return self.size * self.compression

    @property
    def fine_stop(self) -> int:
        """One past the last fine cell (or day), not wrapped."""
        return self.fine_start + self.fine_size

    def cells(self) -> Ints:
        """Global indices of the span's latent cells, shape ``(size,)``."""
        return _wrapped(np.arange(self.start, self.stop), self.period)

    def fine_cells(self) -> Ints:
        """Global indices of the span's fine cells (or day numbers), shape ``(fine_size,)``."""
        period = None if self.period is None else self.period * self.compression
        return _wrapped(np.arange(self.fine_start, self.fine_stop), period)

    def window_starts(self) -> Ints:
        """Global first latent cell of each window, shape ``(count,)``."""
        return _wrapped(self.start + np.array(self.offsets), self.period)

    def window_cells(self, k: int) -> Ints:
        """Latent cells of window ``k`` as indices into the span, shape ``(window,)``."""
        cells = np.arange(self.offsets[k], self.offsets[k] + self.window)
        return _wrapped(cells, self.size if self.wraps else None)

    def window_fine_cells(self, k: int) -> Ints:
        """Fine cells of window ``k`` as indices into the span's fine cells."""
        first = self.offsets[k] * self.compression
        cells = np.arange(first, first + self.window * self.compression)
        return _wrapped(cells, self.fine_size if self.wraps else None)

    def local_fine(self, first: int, count: int) -> Ints:
        """Indices into the span's fine cells of ``count`` global fine cells from ``first`` on.

        Raises:
            IndexError: if one of them lies outside the span.
        """
        cells = np.arange(first, first + count) - self.fine_start
        if self.period is not None:
            cells %= self.period * self.compression
        if count and not (0 <= cells.min() and cells.max() < self.fine_size):
            raise IndexError(
                f"fine cells {first} … {first + count - 1} are not all in the span "
                f"{self.fine_start} … {self.fine_stop - 1}; choose an extent that holds them"
            )
        return cells

    def weights(self) -> Weights:
        """Blending weights, shape ``(count, window)``: their sum at every cell is one."""
        tapers = np.tile(_taper(self.window, self.overlap), (self.count, 1))
        _flatten_outwards(tapers, self.blunt)
        total = np.zeros(self.size)
        for k, taper in enumerate(tapers):
            total[self.window_cells(k)] += taper
        shares = [taper / total[self.window_cells(k)] for k, taper in enumerate(tapers)]
        return np.array(shares, dtype=np.float32)

    def fine_weights(self) -> Weights:
        """The same weights on fine cells, shape ``(count, window · compression)``."""
        return np.repeat(self.weights(), self.compression, axis=1)


@dataclass(frozen=True)
class Extent:
    """Everything a tile computes: a span of windows on each axis.

    Attributes:
        time: Windows in time; latent days since day 0 of the calendar.
        lat: Windows in latitude.
        lon: Windows in longitude.
    """

    time: Span
    lat: Span
    lon: Span

    @property
    def spans(self) -> tuple[Span, Span, Span]:
        """The three spans: time, lat, lon."""
        return self.time, self.lat, self.lon

    @property
    def shape(self) -> tuple[int, int, int]:
        """Latent cells ``(time, lat, lon)``."""
        return self.time.size, self.lat.size, self.lon.size

    @property
    def fine_shape(self) -> tuple[int, int, int]:
        """Fine cells ``(days, lat, lon)``."""
        return self.time.fine_size, self.lat.fine_size, self.lon.fine_size

    @property
    def n_windows(self) -> int:
        """Number of windows."""
        return self.time.count * self.lat.count * self.lon.count

    def windows(self) -> Iterator[tuple[int, int, int]]:
        """Window indices ``(time, lat, lon)`` in the one order in which they are always summed."""
        return product(range(self.time.count), range(self.lat.count), range(self.lon.count))


def _taper(window: int, overlap: int) -> NDArray[np.float64]:
    """min(d + ½, window − d − ½), no higher than the overlap; strictly positive."""
    distance = np.arange(window) + 0.5
    rising: NDArray[np.float64] = np.minimum(distance, distance[::-1])
    return np.minimum(rising, max(overlap, 0.5))


def _flatten_outwards(tapers: NDArray[np.float64], blunt: tuple[bool, bool]) -> None:
    """Keep the taper's height towards the globe's edge, where no neighbour is blended in."""
    half = (tapers.shape[1] + 1) // 2
    if blunt[0]:
        tapers[0, :half] = tapers[0, :half].max()
    if blunt[1]:
        tapers[-1, -half:] = tapers[-1, -half:].max()


def _wrapped(cells: Ints, period: int | None) -> Ints:
    return cells if period is None else cells % period
