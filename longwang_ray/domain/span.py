"""A run of windows on one axis, the cells they cover, and the weights that blend them.

The weight of window k at a cell is a fixed smooth taper τ of the place in the window, divided by
the sum over the windows that are present:

    w_k(c) = τ(c − s_k) / Σ_l τ(c − s_l),    τ(d) = S(min(d + ½, window − d − ½, overlap)/overlap)

with S(u) = u³ (10 − 15 u + 6 u²), so that Σ_k w_k = 1 at every cell of the span. S leaves its ends
with neither slope nor curvature: what a window says of its outermost cells, where it sees one side
alone, hardly counts, and no edge of a window is drawn into the rain (a linear taper gives them an
eighth of the weight, and days a gradient 14–24 % steeper there than elsewhere). At a cell all of
whose windows are present the weights do not depend on the span: tapers are multiples of 2⁻²⁴, so
their sums are exact in any order.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Weights = NDArray[np.float32]
SUMMABLE = 2.0**24
"""Tapers are multiples of its inverse."""


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
    >>> span.weights()[:, [0, 7, 8, 11]].astype(float).round(3).tolist()
    [[1.0, 1.0, 0.984, 0.016], [0.016, 1.0, 1.0, 1.0]]
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
        return self._window_cells(k, 1)

    def window_fine_cells(self, k: int) -> Ints:
        """Fine cells of window ``k`` as indices into the span's fine cells."""
        return self._window_cells(k, self.compression)

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

    def weights(self, fine: int = 1) -> Weights:
        """Blending weights: their sum at every cell is one.

        Args:
            fine: Cells of a latent cell at which they are wanted: 1 for latents, the compression
                for rain.

        Returns:
            Shape ``(count, window · fine)``.
        """
        tapers = np.tile(_taper(self.window, self.overlap, fine), (self.count, 1))
        _flatten_outwards(tapers, self.blunt)
        cells = [self._window_cells(k, fine) for k in range(self.count)]
        total = np.zeros(self.size * fine)
        for where, taper in zip(cells, tapers, strict=True):
            total[where] += taper
        shares = [taper / total[where] for where, taper in zip(cells, tapers, strict=True)]
        return np.array(shares, dtype=np.float32)

    def _window_cells(self, k: int, fine: int) -> Ints:
        cells = self.offsets[k] * fine + np.arange(self.window * fine)
        return _wrapped(cells, self.size * fine if self.wraps else None)


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


def _taper(window: int, overlap: int, fine: int) -> NDArray[np.float64]:
    """``S`` of the distance to the window's nearer end over the overlap; strictly positive."""
    distance = (np.arange(window * fine) + 0.5) / fine
    nearer = np.minimum(distance, distance[::-1])
    u = np.minimum(nearer / max(overlap, 0.5), 1.0)
    smooth = u**3 * (10 - 15 * u + 6 * u**2)
    taper: NDArray[np.float64] = np.maximum(np.round(smooth * SUMMABLE), 1.0) / SUMMABLE
    return taper


def _flatten_outwards(tapers: NDArray[np.float64], blunt: tuple[bool, bool]) -> None:
    """Keep the taper's height towards the globe's edge, where no neighbour is blended in."""
    half = (tapers.shape[1] + 1) // 2
    if blunt[0]:
        tapers[0, :half] = tapers[0, :half].max()
    if blunt[1]:
        tapers[-1, -half:] = tapers[-1, -half:].max()


def _wrapped(cells: Ints, period: int | None) -> Ints:
    return cells if period is None else cells % period
