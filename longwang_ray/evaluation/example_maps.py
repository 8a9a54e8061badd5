"""Maps of an evaluation: days of truth beside realizations, bias, and the conflict measure.

All are drawn by `maps`, so that rain has the same colours here as in the picture of a run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from longwang_ray.evaluation.examples import EDGES, INSIDE, ExampleDays, FactorHistogram
from longwang_ray.evaluation.figures import CoarseMonth
from longwang_ray.evaluation.maps import (
    LEVELS,
    Colours,
    Frame,
    difference_colours,
    draw_coarse,
    draw_field,
    draw_fine,
    rain_scale,
)
from longwang_ray.evaluation.method_style import TRUTH, Style, label, styles

Array = NDArray[np.floating]

WIDTH = 9.0
"""Of every figure, inches."""

BIAS_STEPS = (0.25, 0.5, 1, 2, 4, 8)
CONFLICTS = (0.25, 0.5, 1, 2, 4, 9, 25, 100)
"""χ² at which the colour changes; 9 is three standard deviations."""

MOST_DAYS, MOST_MONTHS = 3, 12

REALIZATIONS = {"conditional": 2}
"""How many are drawn of a method, if not one: a page has room for few."""


def draw_days(days: ExampleDays) -> Figure:
    """Draw days of the truth above the same days of each method.

    The first row has the month that was observed, then the truth; two realizations of conditional
    follow, a row each, and one of each other method.
    """
    frame = Frame.of(days.lat, days.lon)
    shown = range(min(len(days.dates), MOST_DAYS))
    rows = [(TRUTH, TRUTH, days.truth), *_realizations(days.methods)]
    figure, axes = _sheet(len(rows), len(shown) + 1, frame, head=0.25)
    looks = styles([TRUTH, *days.methods])
    draw_coarse(axes[0, 0], days.month.rain, days.month.lat_bounds, days.month.lon_bounds, frame)
    axes[0, 0].set_title(f"observed: mean of {days.month.name}", fontsize=8)
    for row, (method, name, fields) in enumerate(rows):
        for column in shown:
            draw_fine(axes[row, column + 1], fields[column], days.lat, days.lon)
        axes[row, 1].tick_params(labelleft=True)
        if row:
            _label(axes[row, 0], name, looks[method])
    for column in shown:
        axes[0, column + 1].set_title(f"{TRUTH}, {days.dates[column]}", fontsize=8)
    axes[0, 0].tick_params(labelbottom=True)
    bar = figure.colorbar(
        rain_scale(), ax=axes, location="bottom", extend="both", shrink=0.7, aspect=50, pad=0.01
    )
    bar.set_ticks(LEVELS, labels=[f"{level:g}" for level in LEVELS])
    bar.set_label("precipitation, mm/day", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    return figure


def _realizations(methods: Mapping[str, Array]) -> Iterator[tuple[str, str, Array]]:
    """Method, name of the row, and its days."""
    for method in styles(methods):
        rain = methods[method]
        for index in range(min(len(rain), REALIZATIONS.get(method, 1))):
            name = label(method)
            if method in REALIZATIONS:
                name += f",\nrealization {index + 1}"
            yield method, name, rain[index]


def _label(axes: Axes, name: str, style: Style) -> None:
    """Write a row's name where its map of the month would be."""
    axes.set_axis_off()
    axes.text(
        0.95,
        0.5,
        name,
        color=style.colour,
        fontsize=10,
        fontweight="bold",
        ha="right",
        va="center",
        transform=axes.transAxes,
    )


def draw_bias(bias: Mapping[str, Array], lat: Array, lon: Array) -> Figure:
    """Draw method − truth, the mean over realizations, days and months, a map each method."""
    frame = Frame.of(lat, lon)
    looks = styles(bias)
    figure, axes = _sheet(*_grid(len(bias), most=3 if frame.shape > 0.6 else 2), frame)
    colours = difference_colours(BIAS_STEPS)
    for panel, (name, style) in zip(axes.ravel(), looks.items(), strict=False):
        draw_field(panel, bias[name], lat, lon, colours)
        level = f"{_area_mean(bias[name], lat):+.2f}".replace("-", "−")
        panel.set_title(f"{label(name)}: mean {level} mm/day", color=style.colour, fontsize=9)
    _drop_unused(axes, len(bias))
    edges = [-step for step in BIAS_STEPS[::-1]] + list(BIAS_STEPS)
    _bar(figure, axes, colours, edges, "method − truth, mm/day", "both")
    return figure


def _area_mean(field: Array, lat: Array) -> float:
    """Mean of what is known, cells counting by their area."""
    weight = np.where(np.isfinite(field), np.cos(np.deg2rad(lat))[:, None], 0.0)
    return float(np.nansum(field * weight) / max(weight.sum(), 1e-12))


def draw_conflict(months: Sequence[CoarseMonth]) -> Figure | None:
    """Draw χ² = ((y − A x) / σ)² before closure, a map each month, on the GCM's own cells.

    Returns:
        None if nothing was observed in any of the months.
    """
    known = [month for month in months if np.isfinite(month.rain).any()][:MOST_MONTHS]
    if not known:
        return None
    frame = _frame_of(known)
    figure, axes = _sheet(*_grid(len(known), most=4 if frame.shape > 0.6 else 2), frame)
    colours = _conflict_colours()
    for panel, month in zip(axes.ravel(), known, strict=False):
        draw_coarse(panel, month.rain, month.lat_bounds, month.lon_bounds, frame, colours)
        panel.set_title(f"{month.name}: median {np.nanmedian(month.rain):.2g}", fontsize=9)
    _drop_unused(axes, len(known))
    _bar(figure, axes, colours, CONFLICTS, "((y − A x) / σ)², without unit", "both")
    return figure


def draw_factors(factors: FactorHistogram) -> Figure:
    """Draw how far closure had to go: the share of its factors in each logarithmic bin."""
    figure = Figure(figsize=(7.0, 3.4), layout="constrained", dpi=130)
    axes = figure.subplots()
    counts = factors.counts[1:-1].astype(float)
    counts[0] += factors.counts[0]
    counts[-1] += factors.counts[-1]
    total = max(counts.sum(), 1.0)
    axes.axvspan(*INSIDE, color="0.88", zorder=0)
    axes.axvline(1.0, color="0.4", linewidth=0.8)
    style = styles(["conditional"])["conditional"]
    axes.stairs(100 * counts / total, EDGES, fill=True, color=style.colour, alpha=0.85)
    axes.text(
        1.0,
        1.02,
        f"{100 * factors.inside:.1f} % within {INSIDE[0]:g}–{INSIDE[1]:g}",
        transform=axes.get_xaxis_transform(),
        ha="center",
        fontsize=9,
    )
    used = np.flatnonzero(counts)
    low, high = (EDGES[used[0]], EDGES[used[-1] + 1]) if len(used) else INSIDE
    axes.set_xscale("log", base=2)
    axes.set_xlim(min(low, 0.5), max(high, 2.0))
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:.3g}")
    axes.set_xlabel("closure's factor, without unit (logarithmic)")
    axes.set_ylabel("share of factors per bin, %")
    return figure


def _conflict_colours() -> Colours:
    shades = colormaps["inferno_r"](np.linspace(0.03, 0.9, len(CONFLICTS) + 1))
    steps = ListedColormap(shades[1:-1], name="conflict")
    colours = steps.with_extremes(under=shades[0], over=shades[-1], bad="0.8")
    return colours, BoundaryNorm(CONFLICTS, steps.N)


def _frame_of(months: Sequence[CoarseMonth]) -> Frame:
    """The frame of all cells that were observed, its western edge behind the widest gap."""
    seen = np.any([np.isfinite(month.rain) for month in months], axis=0)
    rows, columns = seen.any(axis=1), seen.any(axis=0)
    lat, lon = months[0].lat_bounds[rows], months[0].lon_bounds[columns]
    west = np.sort(np.mod(lon[:, 0], 360))
    start = west[np.argmax(np.diff(west, prepend=west[-1] - 360))]
    width = np.mod(lon[:, 1] - lon[:, 0], 360)
    reach = float(np.max(np.mod(lon[:, 0] - start, 360) + np.where(width == 0, 360, width)))
    start -= 360 * np.ceil((start + reach / 2 - 180) / 360)
    return Frame(float(lat.min()), float(lat.max()), float(start), float(start + reach))


def _grid(count: int, most: int) -> tuple[int, int]:
    """Rows and columns of a sheet for so many maps."""
    rows = -(-max(count, 1) // most)
    return rows, -(-max(count, 1) // rows)


def _sheet(
    rows: int, columns: int, frame: Frame, head: float = 0.35
) -> tuple[Figure, NDArray[np.object_]]:
    """A page-wide sheet of equal maps."""
    each = min(WIDTH / columns, 4.5)
    height = rows * ((each - 0.35) * frame.shape + head) + 1.0
    figure = Figure(figsize=(each * columns, height), layout="compressed", dpi=130)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    return figure, axes


def _drop_unused(axes: NDArray[np.object_], count: int) -> None:
    """Hide the maps that nothing was drawn on; those above them get their degrees."""
    columns = axes.shape[1]
    for index in range(count, axes.size):
        axes.ravel()[index].set_visible(False)
        if index >= columns:
            axes.ravel()[index - columns].tick_params(labelbottom=True)


def _bar(
    figure: Figure,
    axes: NDArray[np.object_],
    colours: Colours,
    ticks: Sequence[float],
    label: str,
    extend: str,
) -> None:
    bar = figure.colorbar(
        ScalarMappable(norm=colours[1], cmap=colours[0]),
        ax=axes,
        location="bottom",
        extend=extend,
        shrink=0.7,
        aspect=45,
        pad=0.02,
    )
    bar.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    bar.set_label(label, fontsize=8)
    bar.ax.tick_params(labelsize=8)
