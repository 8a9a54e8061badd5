"""Windows of daily rain, drawn on the fly with the context of their place and season.

Rain is held as whole days of the globe in sequences of consecutive days; a window lies inside one
sequence, anywhere on the globe, across 0°E too.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.prior.context import window_context


@dataclass(frozen=True)
class Windows:
    """A supply of training windows.

    Attributes:
        rain: Sequences of consecutive days, each ``(day, lat, lon)``, mm/day, any float,
            memory-mapped or not.
        year_fraction: Time of the year of each day, ``(sequence, day)``.
        grid: The fine grid.
        row_step: Windows start at rows and columns that are multiples of this, so that latent
            cells are those of the lattice.
    """

    rain: list[np.ndarray]
    year_fraction: np.ndarray
    grid: RectilinearGrid
    row_step: int = 1

    def draw(
        self, generator: np.random.Generator, count: int, window: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random windows and their contexts.

        Args:
            generator: Where they are drawn from.
            count: How many.
            window: Days, rows and columns.

        Returns:
            Rain ``(count, 1, days, rows, columns)`` float32, mm/day; contexts ``(count, 5)``.
        """
        pairs = [self._one(generator, window) for _ in range(count)]
        return np.stack([r for r, _ in pairs])[:, None], np.stack([c for _, c in pairs])

    def _one(
        self, generator: np.random.Generator, window: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        s, (d, i, j), context = self.place(generator, window)
        days, rows, columns = window
        across = np.arange(j, j + columns) % self.grid.n_lon
        cut = self.rain[s][d : d + days, i : i + rows][:, :, across]
        return cut.astype(np.float32), context

    def place(
        self, generator: np.random.Generator, window: tuple[int, int, int]
    ) -> tuple[int, tuple[int, int, int], np.ndarray]:
        """Where the next window stands: sequence; first day, row and column; and its context."""
        days, rows, columns = window
        n_lat, n_lon = self.grid.shape
        s = int(generator.integers(len(self.rain)))
        d = int(generator.integers(len(self.rain[s]) - days + 1))
        i = int(generator.integers((n_lat - rows) // self.row_step + 1)) * self.row_step
        j = int(generator.integers(n_lon // self.row_step)) * self.row_step
        lat = self.grid.lat[i : i + rows].mean()
        lon = self.grid.lon[j] + (columns - 1) / 2 * (360.0 / n_lon)
        season = self.year_fraction[s, d + days // 2]
        return s, (d, i, j), window_context(lat, lon, season)
