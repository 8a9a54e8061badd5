"""The evaluation's tables as plain text: the two published ones and what is beyond them.

A cell is the mean over region-months and its 5–95 % range, ``0.12 [0.05, 0.31]``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import numpy as np

from longwang_ray.evaluation.neighbourhood import SCALES, THRESHOLDS
from longwang_ray.evaluation.pooled import Pooled

NEAR = {
    "r2_monthly": "R² month",
    "wasserstein": "Wasserstein-1",
    "crps": "fair CRPS",
    "monthly_consistency": "consistency",
}
"""The first published table: how near to the truth."""

LIKE = {
    "wet_fraction": "wet days",
    "dry_fraction": "dry days",
    "r95p": "R95p",
    "r99p": "R99p",
    "lag1": "lag-1",
}
"""The second: what the rain is like, beside the truth."""

NEAR_TOO = {
    "r2_monthly_mean": "R² ens. mean",
    "spread_skill": "spread/skill",
    "reliability": "reliability",
    "fss": "FSS",
    "cell_consistency": "GCM cells",
    "closure_before": "before closure",
    "closure_after": "after closure",
}
LIKE_TOO = {
    "mean": "mean",
    "p99": "p99",
    "p999": "p99.9",
    "length": "length",
    "lag1_cells": "lag-1 of cells",
    "spectrum_ratio_max": "spectrum 8–64",
    "spectrum_ratio_short": "spectrum 4–8",
}
"""Beyond them, of both kinds."""

TITLES = (
    "How near to the truth (Wasserstein-1 and CRPS in mm/day; less is better but for R²)",
    "What the rain is like (the nearer to truth the better)",
    "Beyond the published tables: how near (spread/skill: 1 is right; the last three: relative)",
    "… and what it is like (mm/day, length in cells; spectrum: largest ratio or its inverse)",
)

POOLED = (
    "spectrum 8–64",
    "spectrum 4–8",
    "p99.9",
    "p99.99",
    "1 in 10 years",
    "dry spell",
    "wet spell",
    "spread/skill",
    "reliability",
    "by chance",
    f"FSS {THRESHOLDS[1]:g} mm, {SCALES[2]} cells",
    "bias",
)
"""Of all region-months together."""


class _Range(Protocol):
    @property
    def mean(self) -> float: ...
    @property
    def p5(self) -> float: ...
    @property
    def p95(self) -> float: ...


Found = Mapping[str, Mapping[str, _Range]]


def score_tables(scores: Found) -> list[str]:
    """The tables of scores; a column, or a table, that nobody has is left out."""
    return [
        table(title, columns, scores)
        for title, columns in zip(TITLES, (NEAR, LIKE, NEAR_TOO, LIKE_TOO), strict=True)
        if any(score in found for found in scores.values() for score in columns)
    ]


def table(title: str, columns: Mapping[str, str], scores: Found) -> str:
    """One table, a row for each method that has any of the columns (truth first).

    Args:
        title: Its first line.
        columns: Score by score its heading.
        scores: ``{method: {score: interval}}``.
    """
    used = [score for score in columns if any(score in found for found in scores.values())]
    methods = [name for name, found in scores.items() if any(score in found for score in used)]
    methods.sort(key=lambda name: name != "truth")  # stable: the others keep their order
    rows = [[name, *(_cell(scores[name].get(score)) for score in used)] for name in methods]
    return _aligned(title, [["", *(columns[score] for score in used)], *rows])


def pooled_table(pooled: Mapping[str, Pooled]) -> str:
    """What all region-months together say, method by method."""
    truth = pooled["truth"]
    head = ["", *POOLED]
    names = sorted(pooled, key=lambda name: name != "truth")
    rows = [[name, *map(_number, _pooled_row(pooled[name], truth))] for name in names]
    return _aligned("All region-months together (mm/day, days; bias relative)", [head, *rows])


def _pooled_row(of: Pooled, truth: Pooled) -> list[float | None]:
    own = of is truth
    return [
        None if own else of.spectrum.worst(truth.spectrum, "long"),
        None if own else of.spectrum.worst(truth.spectrum, "short"),
        *of.rain.quantile(np.array([0.999, 0.9999])),
        of.rain.return_levels((10.0,))[0],
        *of.spells.mean(),
        of.spread.ratio if of.spread else None,
        of.ranks.reliability if of.ranks else None,
        of.ranks.by_chance if of.ranks else None,
        of.neighbourhood.skill[1, 2] if of.neighbourhood else None,
        of.bias.overall if of.bias else None,
    ]


def _cell(interval: _Range | None) -> str:
    if interval is None:
        return "–"
    return f"{_number(interval.mean)} [{_number(interval.p5)}, {_number(interval.p95)}]"


def _number(value: float | None) -> str:
    """Three decimals below ten, one above; very small in powers of ten.

    >>> [_number(x) for x in (0.12345, 45.678, 3e-6, None, float("nan"))]
    ['0.123', '45.7', '3e-06', '–', '–']
    """
    if value is None or not np.isfinite(value):
        return "–"
    size = abs(value)
    if 0 < size < 5e-4:
        return f"{value:.0e}"
    return f"{value:.3f}" if size < 10 else f"{value:.1f}"


def _aligned(title: str, rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[k]) for row in rows) for k in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.ljust(width) if k == 0 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]
    rule = "─" * max(len(line) for line in lines)
    return "\n".join([title, rule, lines[0], rule, *lines[1:]])
