"""The tables of an evaluation: which scores stand in which, what each is, and who is best.

The first two are those that were published (arXiv 2605.17603): how near to the truth, and what the
rain is like. Two more have what is beyond them. A score is best where it is lowest, highest,
nearest to one or nearest to the truth's own. The truth, its days through the autoencoder
(reconstruction) and the prior without any guidance are references and don't compete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Literal

from longwang_ray.evaluation.method_style import OPEN, TRUTH
from longwang_ray.evaluation.summary import Interval

Goal = Literal["low", "high", "one", "truth", "none"]
Scores = Mapping[str, Mapping[str, Interval]]

REFERENCES = (TRUTH, "reconstruction", "prior")


@dataclass(frozen=True)
class Column:
    """One score as a reader meets it.

    Attributes:
        key: In ``scores.json``.
        name: In words.
        unit: "1" if it has none.
        goal: What is best.
        meaning: One line, for the page.
    """

    key: str
    name: str
    unit: str
    goal: Goal
    meaning: str = ""


NEAR = (
    Column("r2_monthly", "R² of monthly totals", "1", "high", "one sample's totals, cell by cell"),
    Column("wasserstein", "Wasserstein-1", "mm/day", "low", "between the distributions of days"),
    Column("crps", "fair CRPS", "mm/day", "low", "fair to ensembles of any size"),
    Column(
        "monthly_consistency", "monthly consistency", "1", "low", "error of the region's total"
    ),
)
LIKE = (
    Column("wet_fraction", "wet days (> 1 mm)", "1", "truth", "share of cell-days"),
    Column("dry_fraction", "dry days (< 0.1 mm)", "1", "truth", "share of cell-days"),
    Column("r95p", "R95p", "1", "truth", "share of rain on days above the truth's wet-day p95"),
    Column("r99p", "R99p", "1", "truth", "the same, p99"),
    Column("lag1", "lag-1", "1", "truth", "autocorrelation of the domain mean from day to day"),
)
LIKE_TOO = (
    Column("mean", "mean", "mm/day", "truth"),
    Column("p99", "p99", "mm/day", "truth", "99th percentile of cell-days"),
    Column("p999", "p99.9", "mm/day", "truth", "99.9th percentile of cell-days"),
    Column("lag1_cells", "lag-1 of cells", "1", "truth", "each cell's own autocorrelation"),
    Column("length", "correlation length", "cells", "truth", "where correlation falls to 1/e"),
    Column("spectrum_ratio_max", "spectrum, 8–64 cells", "1", "one", "worst ratio or its inverse"),
    Column(
        "spectrum_ratio_short", "spectrum, 4–8 cells", "1", "one", "worst ratio or its inverse"
    ),
)
NEAR_TOO = (
    Column("r2_monthly_mean", "R², ensemble mean", "1", "high", "monthly totals of the mean"),
    Column("fss", "fractions skill", "1", "high", "10 mm, 9 cells; 1: all in its place"),
    Column(
        "spread_skill", "spread / error", "1", "one", "1 if the spread is as large as the error"
    ),
    Column("reliability", "rank reliability", "1", "low", "distance of ranks from flat"),
    Column("cell_consistency", "GCM cells' months", "1", "low", "Σ|A x − A y| / Σ A y"),
    Column("closure_before", "closure error before", "1", "low", "|A x − y| / y of GCM cells"),
    Column("closure_after", "closure error after", "1", "low", "the same, once closed"),
)


@dataclass(frozen=True)
class Table:
    """A titled table: its columns, all of which some method has."""

    title: str
    columns: tuple[Column, ...]


def tables(scores: Scores) -> tuple[Table, ...]:
    """The tables that these scores fill; a score that nobody knows goes last in the third."""
    present = {key for of_method in scores.values() for key in of_method}
    known = {column.key for column in (*NEAR, *LIKE, *LIKE_TOO, *NEAR_TOO)}
    others = tuple(Column(key, key, "", "none") for key in sorted(present - known))
    parts = (
        ("How near to the truth (published table 1)", NEAR),
        ("What the rain is like (published table 2)", LIKE),
        ("Beyond the published tables: what the rain is like", LIKE_TOO),
        ("Beyond the published tables: how the ensemble stands", (*NEAR_TOO, *others)),
    )
    found = ((title, tuple(c for c in columns if c.key in present)) for title, columns in parts)
    return tuple(Table(title, columns) for title, columns in found if columns)


def best(scores: Scores, column: Column) -> frozenset[str]:
    """The methods that are best in a column: one of those that are done, and one of those that
    were not closed yet; nobody where there is no contest.

    >>> few = {"a": {"crps": Interval(2, 1, 3)}, "b": {"crps": Interval(1, 1, 3)}, "c": {}}
    >>> sorted(best(few, NEAR[2]))
    ['b']
    """
    means = _means(scores, column.key)
    aim = means.get(TRUTH) if column.goal == "truth" else 1.0
    if aim is None or column.goal == "none":
        return frozenset()
    badness = {
        "low": lambda name: means[name],
        "high": lambda name: -means[name],
        "one": lambda name: abs(means[name] - 1.0),
        "truth": lambda name: abs(means[name] - aim),
    }[column.goal]
    competing = [name for name in means if name not in REFERENCES]
    groups = (
        [name for name in competing if not name.endswith(OPEN)],
        [name for name in competing if name.endswith(OPEN)],
    )
    return frozenset(min(group, key=badness) for group in groups if len(group) > 1)


def _means(scores: Scores, key: str) -> dict[str, float]:
    return {
        name: of_method[key].mean
        for name, of_method in scores.items()
        if key in of_method and isfinite(of_method[key].mean)
    }
