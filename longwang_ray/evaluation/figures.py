"""The pictures: a run beside what it was made from, and a prior beside what it learnt from.

All return a matplotlib ``Figure`` that belongs to no window and no global state, so they work on
a worker without a display; ``figure.savefig(path)`` writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from longwang_ray.evaluation.maps import LEVELS, Frame, draw_coarse, draw_fine, rain_scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.floating]

DEMONSTRATION = "demonstration prior: shows how the method works, not what the climate does"
"""What a picture of a demonstration prior's output must say."""

MOST_ROWS = 4
"""Realizations that fit on one picture."""


@dataclass(frozen=True)
class CoarseMonth:
    """What the GCM said about one month.

    Attributes:
        rain: Monthly mean on the GCM's own grid, shape ``(J, I)``, mm/day.
        lat_bounds: Cell edges, degrees north, shape ``(J, 2)``.
        lon_bounds: Western and eastern edges, degrees east, shape ``(I, 2)``.
        name: For the reader, "1960-11".
    """

    rain: Array
    lat_bounds: Array
    lon_bounds: Array
    name: str


@dataclass(frozen=True)
class FineDays:
    """What was sampled.

    Attributes:
        rain: Shape ``(realization, day, lat, lon)``, mm/day; NaN where nothing was computed.
        mean: Mean over the whole month, shape ``(realization, lat, lon)``, mm/day.
        lat: Cell centres, regular, in either order.
        lon: Cell centres as stored; may cross 0°E.
        dates: One name a day.
        realizations: Their indices.
    """

    rain: Array
    mean: Array
    lat: Array
    lon: Array
    dates: Sequence[str]
    realizations: Sequence[int]


def draw_run(
    fine: FineDays, coarse: CoarseMonth, title: str, demonstration: bool = False
) -> Figure:
    """Draw days of each realization beside the coarse month that they were sampled from.

    One row a realization (the first four): its days, then the mean of its month, to be compared
    with the GCM's month in the first column.

    Args:
        fine: The days, and the month's mean.
        coarse: The month.
        title: Which run this is.
        demonstration: Say that the prior is for demonstration.
    """
    rows, days = min(len(fine.realizations), MOST_ROWS), len(fine.dates)
    frame = Frame.of(fine.lat, fine.lon)
    figure, axes = _sheet(rows, days + 2, frame)
    for row in range(rows):
        name = f"realization {fine.realizations[row]}"
        for day, date in enumerate(fine.dates):
            draw_fine(axes[row, day + 2], fine.rain[row, day], fine.lat, fine.lon)
            axes[row, day + 2].set_title(f"{name}, {date}", fontsize=8)
        draw_fine(axes[row, 1], fine.mean[row], fine.lat, fine.lon)
        axes[row, 1].set_title(f"{name}, mean of {coarse.name}", fontsize=8)
        axes[row, 0].set_visible(row == 0)
        axes[row, 1].tick_params(labelleft=row > 0)
    draw_coarse(axes[0, 0], coarse.rain, coarse.lat_bounds, coarse.lon_bounds, frame)
    axes[0, 0].tick_params(labelbottom=True)
    axes[0, 0].set_title(f"the GCM's month, {coarse.name}", fontsize=8, fontweight="bold")
    _head(figure, title, DEMONSTRATION if demonstration else None)
    _colour_bar(figure, axes)
    return figure


def draw_prior(
    real: Array, reconstructed: Array, sampled: Array, lat: Array, lon: Array, title: str
) -> Figure:
    """Draw what a prior learnt: held-out days, the same through the autoencoder, and samples.

    Args:
        real: Shape ``(day, lat, lon)``, mm/day; so are the other two.
        reconstructed: The same days, encoded and decoded.
        sampled: Days of the prior itself, for the same place and season.
        lat: Cell centres.
        lon: Cell centres.
        title: Which prior this is.
    """
    days = min(len(real), len(reconstructed), len(sampled))
    figure, axes = _sheet(3, days, Frame.of(lat, lon))
    rows = (("held-out day", real), ("reconstructed", reconstructed), ("prior sample", sampled))
    for row, (name, fields) in enumerate(rows):
        for day in range(days):
            draw_fine(axes[row, day], fields[day], lat, lon)
            axes[row, day].set_title(f"{name} {day + 1}", fontsize=8)
    _head(figure, title, None)
    _colour_bar(figure, axes)
    return figure


def draw_spectra(spectra: dict[str, tuple[Array, Array]], title: str) -> Figure:
    """Draw power spectra on logarithmic axes, one line a name.

    Args:
        spectra: For each name what `scores.power_spectrum` returned.
        title: Which comparison this is.
    """
    figure = Figure(figsize=(5, 4), layout="constrained")
    axes = figure.subplots()
    for name, (wavenumber, power) in spectra.items():
        axes.loglog(wavenumber, power, label=name)
    axes.set_xlabel("wavenumber, cycles per cell")
    axes.set_ylabel("power, (mm/day)²")
    axes.set_title(title, fontsize=10)
    axes.legend()
    return figure


def _sheet(rows: int, columns: int, frame: Frame) -> tuple[Figure, NDArray[np.object_]]:
    """A sheet of equal maps, as wide as a page and as high as the maps need."""
    width = 2.6 if frame.shape > 0.6 else 4.4
    height = rows * (width * frame.shape + 0.35) + 1.1
    figure = Figure(figsize=(columns * width + 0.3, height), layout="constrained", dpi=130)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    return figure, axes


def _head(figure: Figure, title: str, note: str | None) -> None:
    figure.suptitle(title if note is None else f"{title}\n{note}", fontsize=10)


def _colour_bar(figure: Figure, axes: NDArray[np.object_]) -> None:
    shown: list[Axes] = list(axes.ravel())
    bar = figure.colorbar(
        rain_scale(), ax=shown, location="bottom", extend="both", shrink=0.6, aspect=50, pad=0.02
    )
    bar.set_ticks(LEVELS, labels=[f"{level:g}" for level in LEVELS])
    bar.set_label("precipitation, mm/day", fontsize=8)
    bar.ax.tick_params(labelsize=7)
