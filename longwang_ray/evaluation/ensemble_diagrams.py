"""Diagrams of how an ensemble stands to the truth: ranks, spread, neighbourhoods, and all scores.

A method with one realization has no ranks and no spread; it is left out where it has nothing to
show, and a diagram of which nobody has anything is None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from longwang_ray.evaluation.method_style import TRUTH, Style, label, styles
from longwang_ray.evaluation.neighbourhood import SCALES, THRESHOLDS
from longwang_ray.evaluation.pooled import Pooled
from longwang_ray.evaluation.ranks import Ranks
from longwang_ray.evaluation.score_tables import Column, tables
from longwang_ray.evaluation.summary import Interval, Summary

TOLERANCE = (0.9, 1.1)
"""Spread over error that is good enough."""


def draw_ranks(pooled: Mapping[str, Pooled]) -> Figure | None:
    """Draw the rank histogram of each ensemble, with what chance alone would do to it."""
    ranks = {name: pooled[name].ranks for name in styles(pooled)}
    shown = {name: found for name, found in ranks.items() if found is not None}
    if not shown:
        return None
    columns = min(len(shown), 3)
    rows = -(-len(shown) // columns)
    figure = Figure(figsize=(max(3.2 * columns, 4.5), 2.9 * rows), layout="constrained", dpi=130)
    axes = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for panel, (name, found) in zip(axes.ravel(), shown.items(), strict=False):
        _draw_rank(panel, name, found, styles(pooled)[name])
    for panel in axes.ravel()[len(shown) :]:
        panel.set_visible(False)
    reach = max(0.1, *(abs(limit - 1) for limit in axes[0, 0].get_ylim()))
    axes[0, 0].set_ylim(max(1 - reach, 0), 1 + reach)
    for panel in axes[:, 0]:
        panel.set_ylabel("frequency ÷ that of a flat one")
    return figure


def _draw_rank(axes: Axes, name: str, ranks: Ranks, style: Style) -> None:
    relative = ranks.frequencies * len(ranks.frequencies)
    chance = ranks.by_chance
    axes.axhspan(1 - 2 * chance, 1 + 2 * chance, color="0.9", zorder=0)
    axes.axhspan(1 - chance, 1 + chance, color="0.8", zorder=0)
    axes.bar(np.arange(len(relative)), relative - 1, bottom=1, width=0.85, color=style.colour)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=True))
    axes.axhline(1, color="0.3", linewidth=0.8)
    axes.set_title(
        f"{label(name)}\nreliability {ranks.reliability:.3f} (by chance {chance:.3f})", fontsize=9
    )
    axes.set_xlabel("realizations below the truth")


def draw_spread(summary: Summary) -> Figure | None:
    """Draw the spread of each ensemble against the error of its mean."""
    figure = Figure(figsize=(5.4, 5.0), layout="constrained", dpi=130)
    axes = figure.subplots()
    ends: list[float] = []
    for name, style in styles(summary.pooled).items():
        spread = summary.pooled[name].spread
        if spread is None or not np.isfinite(spread.ratio):
            continue
        size = spread.ratio * spread.rmse
        name_and_ratio = f"{label(name)}: {spread.ratio:.2f}"
        axes.plot(
            spread.rmse,
            size,
            marker=style.marker,
            color=style.colour,
            markersize=9,
            linestyle="none",
            label=name_and_ratio,
            zorder=3,
        )
        low, high = size, size
        if (range_ := summary.scores.get(name, {}).get("spread_skill")) is not None:
            low, high = range_.p5 * spread.rmse, range_.p95 * spread.rmse
            axes.vlines(spread.rmse, low, high, color=style.colour, linewidth=1.6, alpha=0.6)
        ends += [spread.rmse, size, low, high]
    if not ends:
        return None
    line = np.array([0.85 * min(ends), 1.1 * max(ends)])
    axes.fill_between(
        line, TOLERANCE[0] * line, TOLERANCE[1] * line, color="0.9", zorder=0, linewidth=0
    )
    axes.plot(line, line, color="0.3", linewidth=1)
    axes.set_xlim(*line)
    axes.set_ylim(*line)
    axes.set_aspect("equal")
    axes.set_xlabel("error of the ensemble's mean (RMSE), mm/day")
    axes.set_ylabel("spread, mm/day")
    axes.legend(fontsize=9, frameon=False, loc="upper left", title="spread / error")
    return figure


def draw_neighbourhoods(pooled: Mapping[str, Pooled]) -> Figure | None:
    """Draw the fractions skill score over the side of the neighbourhood, a panel a threshold."""
    looks = styles(pooled)
    shown = {name: part for name in looks if (part := pooled[name].neighbourhood) is not None}
    if not shown:
        return None
    figure = Figure(figsize=(9.0, 3.5), layout="constrained", dpi=130)
    panels = figure.subplots(1, len(THRESHOLDS), sharey=True)
    for name, part in shown.items():
        style = looks[name]
        for axes, skill in zip(panels, part.skill, strict=True):
            axes.plot(
                SCALES, skill, label=label(name), marker=style.marker, markersize=4, **style.line
            )
    for axes, threshold in zip(panels, THRESHOLDS, strict=True):
        axes.set_title(f"above {threshold:g} mm/day", fontsize=10)
        axes.set_xscale("log")
        axes.set_xticks(SCALES, labels=[f"{scale}" for scale in SCALES])
        axes.minorticks_off()
        axes.set_ylim(0, 1)
        axes.set_xlabel("side of the square, cells")
        axes.grid(color="0.92", linewidth=0.6)
    panels[0].set_ylabel("fractions skill score")
    figure.legend(*panels[0].get_legend_handles_labels(), fontsize=9, frameon=False,
                  loc="outside upper center", ncols=min(len(shown), 5))  # fmt: skip
    return figure


def draw_scores(summary: Summary) -> Figure | None:
    """Draw every score of the tables: mean and 5–95 % over region-months, truth as reference."""
    columns = [column for table in tables(summary.scores) for column in table.columns]
    names = [name for name in styles(summary.scores) if name != TRUTH]
    if not (columns and names):
        return None
    across = 4
    down = -(-len(columns) // across)
    height = down * (0.75 + 0.24 * len(names)) + 0.2
    figure = Figure(figsize=(9.0, height), layout="constrained", dpi=130)
    axes = figure.subplots(down, across, squeeze=False, sharey=True)
    for panel, column in zip(axes.ravel(), columns, strict=False):
        _draw_score(panel, column, names, summary.scores)
    for panel in axes.ravel()[len(columns) :]:
        panel.set_visible(False)
    axes[0, 0].set_yticks(range(len(names)), labels=[label(name) for name in names])
    axes[0, 0].set_ylim(len(names) - 0.4, -0.6)
    return figure


def _draw_score(
    axes: Axes,
    column: Column,
    names: Sequence[str],
    scores: Mapping[str, Mapping[str, Interval]],
) -> None:
    looks = styles(scores)
    if (truth := scores.get(TRUTH, {}).get(column.key)) is not None:
        axes.axvspan(truth.p5, truth.p95, color="0.9", zorder=0)
        axes.axvline(truth.mean, color=looks[TRUTH].colour, linewidth=1.4)
    elif column.goal == "one":
        axes.axvline(1, color="0.3", linewidth=1, linestyle=":")
    for place, name in enumerate(names):
        if (score := scores[name].get(column.key)) is not None:
            style = looks[name]
            axes.hlines(place, score.p5, score.p95, color=style.colour, linewidth=1.8)
            axes.plot(score.mean, place, marker=style.marker, color=style.colour, markersize=5.5)
    unit = "" if column.unit in ("1", "") else f", {column.unit}"
    axes.set_title(f"{column.name}{unit}", fontsize=8.5)
    axes.xaxis.set_major_locator(MaxNLocator(4))
    axes.tick_params(labelsize=7.5)
    axes.xaxis.get_offset_text().set_fontsize(7.5)
    axes.grid(axis="x", color="0.92", linewidth=0.6)
    axes.set_axisbelow(True)
