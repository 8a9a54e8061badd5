"""Diagrams of what rain is like: spectra, quantiles, return levels and spells, method by truth.

Each is drawn from pooled statistics (`pooled.Pooled`), so it stands for all region-months, and has
the same colour for a method as every other figure (`method_style`).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter
from numpy.typing import NDArray

from longwang_ray.evaluation.method_style import TRUTH, label, styles
from longwang_ray.evaluation.pooled import Pooled
from longwang_ray.evaluation.spectra import LONG, SHORTEST
from longwang_ray.evaluation.spells import LONGEST

Array = NDArray[np.floating]

FACTOR = 1.25
"""How far a spectrum may be from the truth's."""

TENTH = (0.9, 1.1)
RAREST = 1e-4
"""Share of the longest spells that are drawn."""

PERIODS = np.geomspace(0.03, 30, 91)
"""Return periods that are drawn, years of one cell."""

_MARKS = {0.9: "p90", 0.99: "p99", 0.999: "p99.9", 0.9999: "p99.99"}


def draw_spectra(pooled: Mapping[str, Pooled]) -> Figure:
    """Draw radially averaged power over wavelength, and below it its ratio to the truth's."""
    figure = Figure(figsize=(7.5, 6.2), layout="constrained", dpi=130)
    power, ratio = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    truth = pooled[TRUTH].spectrum
    ratio.fill_between(LONG, 1 / FACTOR, FACTOR, color="0.87", zorder=0, linewidth=0)
    for name, style in styles(pooled).items():
        spectrum = pooled[name].spectrum
        power.plot(SHORTEST, _positive(spectrum.mean), label=label(name), **style.line)
        ratio.plot(SHORTEST, _positive(spectrum.ratio(truth)), **style.line)
    power.set_yscale("log")
    power.set_ylabel("power, (mm/day)²")
    power.legend(fontsize=9, frameon=False)
    ratio.set_xscale("log")
    _plain_ticks(ratio.xaxis, (64, 32, 16, 8, 4, 2))
    ratio.set_xlim(68, 1.9)
    ratio.set_xlabel("wavelength, cells")
    _ratio_axis(ratio)
    for axes in (power, ratio):
        axes.grid(color="0.92", linewidth=0.6)
        axes.set_axisbelow(True)
    return figure


def _ratio_axis(axes: Axes) -> None:
    """Make the vertical axis one of ratios to the truth, as wide as they need (1/20 … 20)."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    _plain_ticks(axes.yaxis, (0.05, 0.1, 0.2, 0.5, 0.8, 1, 1.25, 2, 5, 10, 20))
    axes.set_ylim(max(min(low, 0.6), 0.05), min(max(high, 1.6), 20))
    axes.set_ylabel("ratio to truth")


def draw_quantiles(pooled: Mapping[str, Pooled]) -> Figure:
    """Draw the quantiles of daily rain against the truth's, up to 99.99 % of all cell-days, and
    below them their ratio."""
    figure = Figure(figsize=(6.8, 8.2), layout="constrained", dpi=130)
    axes, ratio = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    truth = pooled[TRUTH].rain
    asked = truth.quantiles()
    top = 1.0
    line = np.array([0.1, 2000.0])
    axes.fill_between(line, TENTH[0] * line, TENTH[1] * line, color="0.88", zorder=0, linewidth=0)
    ratio.axhspan(*TENTH, color="0.88", zorder=0, linewidth=0)
    black = styles([TRUTH])[TRUTH].colour
    axes.plot(line, line, label=TRUTH, color=black, linewidth=1)
    ratio.axhline(1, color=black, linewidth=1)
    for name, style in styles(name for name in pooled if name != TRUTH).items():
        found = pooled[name].rain.quantiles()
        shown = (asked >= line[0]) & (found > 0)
        axes.plot(asked[shown], found[shown], label=label(name), **style.line)
        ratio.plot(asked[shown], found[shown] / asked[shown], **style.line)
        top = max(top, float(np.max(found)), float(np.max(asked)))
    axes.set_xscale("log")
    axes.set_yscale("log")
    for axis in (axes.xaxis, axes.yaxis):
        _plain_ticks(axis, (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000))
    axes.set_xlim(line[0], 1.3 * top)
    axes.set_ylim(line[0], 1.3 * top)
    _mark_percentiles(axes, ratio, truth.quantile(np.array(list(_MARKS))))
    _ratio_axis(ratio)
    ratio.set_xlabel("truth's quantile, mm/day")
    axes.set_ylabel("method's quantile, mm/day")
    axes.legend(fontsize=9, frameon=False, loc="upper left")
    return figure


def _mark_percentiles(axes: Axes, ratio: Axes, values: Array) -> None:
    for value, name in zip(values, _MARKS.values(), strict=True):
        if value > axes.get_xlim()[0]:
            for panel in (axes, ratio):
                panel.axvline(value, color="0.75", linewidth=0.7, zorder=0)
            axes.text(
                value, 0.012, name, transform=axes.get_xaxis_transform(), rotation=90,
                ha="right", va="bottom", fontsize=7.5, color="0.35",
            )  # fmt: skip


def draw_return_levels(pooled: Mapping[str, Pooled]) -> Figure:
    """Draw the daily rain that one cell passes once in so many years."""
    figure = Figure(figsize=(6.8, 4.4), layout="constrained", dpi=130)
    axes = figure.subplots()
    for name, style in styles(pooled).items():
        axes.plot(
            PERIODS, pooled[name].rain.return_levels(PERIODS), label=label(name), **style.line
        )
    axes.set_xscale("log")
    _plain_ticks(axes.xaxis, (0.03, 0.1, 0.3, 1, 3, 10, 30))
    axes.set_xlim(PERIODS[0], PERIODS[-1])
    axes.set_ylim(bottom=0)
    axes.set_xlabel("return period, years of one cell")
    axes.set_ylabel("daily rain, mm/day")
    axes.grid(color="0.92", linewidth=0.6)
    axes.legend(fontsize=9, frameon=False, loc="upper left")
    return figure


def draw_spells(pooled: Mapping[str, Pooled]) -> Figure:
    """Draw the share of dry and of wet spells that last so many days or more."""
    figure = Figure(figsize=(9.0, 4.0), layout="constrained", dpi=130)
    dry, wet = figure.subplots(1, 2, sharey=True)
    days = np.arange(1, LONGEST + 1)
    longest = [2, 2]
    for name, style in styles(pooled).items():
        shares = pooled[name].spells.at_least()
        for side, (axes, share) in enumerate(zip((dry, wet), shares, strict=True)):
            axes.plot(days, 100 * _positive(share), label=label(name), **style.line)
            longest[side] = max(longest[side], int(np.sum(share > RAREST)) + 1)
    titles = ("dry spells (≤ 1 mm/day)", "wet spells (> 1 mm/day)")
    for axes, title, last in zip((dry, wet), titles, longest, strict=True):
        axes.set_title(title, fontsize=10)
        axes.set_yscale("log")
        axes.set_xlim(1, min(last, LONGEST))
        axes.xaxis.set_major_locator(MaxNLocator(8, integer=True))
        axes.set_xlabel("length, days (within one month)")
        axes.grid(color="0.92", linewidth=0.6)
    _plain_ticks(dry.yaxis, (0.01, 0.1, 1, 10, 100))
    dry.set_ylim(100 * RAREST, 130)
    dry.set_ylabel("spells as long or longer, %")
    wet.legend(fontsize=9, frameon=False, loc="upper right")
    return figure


def _positive(values: Array) -> Array:
    """What logarithmic axes can show: NaN where there is nothing."""
    return np.where(values > 0, values, np.nan)


def _plain_ticks(axis: object, values: tuple[float, ...]) -> None:
    """Ticks of a logarithmic axis at these values alone, as plain numbers."""
    axis.set_ticks(values)  # type: ignore[attr-defined]
    axis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))  # type: ignore[attr-defined]
    axis.set_minor_formatter(NullFormatter())  # type: ignore[attr-defined]
