"""Training days: where they come from, and how they are kept while a prior is fitted."""

from __future__ import annotations

import logging
import os
from pathlib import Path

import numpy as np

from longwang_ray.data.synthetic import SyntheticEarth
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.training.settings import SyntheticData
from longwang_ray.training.windows import Windows

log = logging.getLogger(__name__)
YEAR = 365


def synthetic_windows(
    settings: SyntheticData, folder: Path, cells: int
) -> tuple[Windows, Windows]:
    """Windows of the synthetic Earth, for training and held out.

    Sequences start at even distances through the year; each has a seed of its own. They are made
    once and kept as float16 in ``folder``.

    Args:
        settings: Seed, number and length of the sequences; how many are held out.
        folder: Where the days are kept.
        cells: Fine cells a latent cell, the step of window starts.
    """
    count, length = settings.sequences, settings.days
    starts = sequence_starts(settings)
    # Golden-ratio order spreads the held-out sequences over the seasons.
    order = np.argsort([(s * 0.6180339887) % 1.0 for s in range(count)])
    seasons = np.array([[(d + 0.5) % YEAR / YEAR for d in range(s, s + length)] for s in starts])
    rain = _kept_days(settings, folder)
    grid = era5_grid()
    held, used = np.sort(order[: settings.held_out]), np.sort(order[settings.held_out :])
    pick = [Windows([rain[s] for s in part], seasons[part], grid, cells) for part in (used, held)]
    return pick[0], pick[1]


def day_bytes(grid: RectilinearGrid) -> int:
    """Bytes of one day as it is kept, in float16."""
    return 2 * grid.n_lat * grid.n_lon


def day_files(settings: SyntheticData, folder: Path) -> list[Path]:
    """Where the days of each sequence are kept."""
    starts = sequence_starts(settings)
    return [folder / f"synthetic-{settings.seed}-{s:03d}-{settings.days}.npy" for s in starts]


def sequence_starts(settings: SyntheticData) -> list[int]:
    """Day of the year on which each sequence starts, evenly through the year."""
    return [s * YEAR // settings.sequences for s in range(settings.sequences)]


def _kept_days(settings: SyntheticData, folder: Path) -> list[np.ndarray]:
    folder.mkdir(parents=True, exist_ok=True)
    files = day_files(settings, folder)
    for index, (start, file) in enumerate(zip(sequence_starts(settings), files, strict=True)):
        if not file.exists():
            log.info("synthetic Earth: sequence %d of %d", index + 1, len(files))
            earth = SyntheticEarth(settings.seed * 1000 + index)
            days = np.stack([d.astype(np.float16) for d in earth.days(start, settings.days)])
            part = file.with_suffix(".part")
            with part.open("wb") as handle:
                np.save(handle, days)
            os.replace(part, file)
    return [np.load(file, mmap_mode="r") for file in files]
