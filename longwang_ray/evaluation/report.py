"""One table: how an ensemble and its baseline score against a reference.

Two kinds of comparison hide in it. If ensemble and reference share days (a reanalysis downscaled
from its own monthly means), every score is taken over these days. If they don't (a free-running
GCM beside an observed decade), the days can't be paired: what the rain is like is scored over all
days of each, and how near it is to the truth is left out, but for the distribution.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.evaluation import scores
from longwang_ray.evaluation.matching import (
    daily_rain,
    month_slices,
    on_common_cells,
    on_common_days,
)

Array = NDArray[np.floating]

_MESOSCALE = (1 / 8, 1 / 6)  # wavelengths of 6 to 8 cells, as cycles per cell


@dataclass(frozen=True)
class Score:
    """One line of the table: for each column the mean over its realizations, and their range."""

    name: str
    unit: str
    values: dict[str, tuple[float, float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """The table, its columns in order, and what it was made from."""

    columns: tuple[str, ...]
    lines: tuple[Score, ...]
    title: str

    def as_dict(self) -> dict[str, dict[str, float]]:
        """The means alone, by score and column; fit for JSON."""
        return {line.name: {c: v[0] for c, v in line.values.items()} for line in self.lines}

    def text(self) -> str:
        """The table in plain text; "mean [lowest, highest]" where realizations differ."""
        head = ["score", "unit", *self.columns]
        body = [
            [line.name, line.unit, *(_shown(line.values.get(name)) for name in self.columns)]
            for line in self.lines
        ]
        widths = [max(map(len, column)) for column in zip(head, *body, strict=True)]
        rows = ("  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) for row in body)
        rule = "  ".join("-" * width for width in widths)
        first = "  ".join(c.ljust(w) for c, w in zip(head, widths, strict=True))
        return "\n".join(line.rstrip() for line in (self.title, "", first, rule, *rows))


def evaluate(
    ensemble: xr.DataArray,
    reference: xr.DataArray,
    baseline: xr.DataArray | None = None,
    title: str = "scores",
) -> Report:
    """Score an ensemble, and a baseline if there is one, against a reference.

    Args:
        ensemble: ``(realization, time, lat, lon)``; its attribute ``units`` says "mm/day",
            "kg m-2 s-1" or the like. Days that are NaN throughout are not part of it.
        reference: ``(time, lat, lon)``, likewise; cells that are ever NaN are left out.
        baseline: ``(time, lat, lon)`` on the ensemble's cells and days.
        title: Heads the table.

    Returns:
        The table, with the columns "ensemble", "interpolation" and "reference".

    Raises:
        SourceError: if units are unknown.
        ValueError: if no cell is common.
    """
    sides = {"ensemble": daily_rain(ensemble)}
    if baseline is not None:
        sides["interpolation"] = daily_rain(baseline)
    truth = daily_rain(reference)
    sides, truth = on_common_cells(sides, truth)
    sides, truth, paired = on_common_days(sides, truth)
    return Report(
        columns=(*sides, "reference"),
        lines=tuple(_lines(sides, truth, paired)),
        title=title,
    )


def _lines(sides: dict[str, xr.DataArray], truth: xr.DataArray, paired: bool) -> Iterator[Score]:
    area = np.cos(np.deg2rad(truth.lat.values))[:, None] * np.ones(truth.sizes["lon"])
    asked = truth.values
    known = np.isfinite(asked).all(axis=(0, 1))
    fields = {**{name: side.values for name, side in sides.items()}, "reference": asked}
    cells = {name: field[..., known] for name, field in fields.items()}  # (realization, day, cell)
    yield from _what_it_is_like(cells, area[known])
    if known.all():
        yield _mesoscale_power(fields)
    yield _line("Wasserstein-1", "mm/day", cells, _distance(cells["reference"][0]), skip=True)
    if paired:
        months = month_slices(truth)
        yield from _how_near(cells, area[known], months)


def _what_it_is_like(cells: dict[str, Array], area: Array) -> Iterator[Score]:
    heavy = scores.wet_percentile(cells["reference"])
    kinds: tuple[tuple[str, str, Callable[[Array], Array]], ...] = (
        ("mean", "mm/day", lambda x: scores.cell_mean(x, 1, area).mean(axis=-1)),
        ("wet days (> 1 mm)", "1", lambda x: scores.wet_day_fraction(x, cells=1, area=area)),
        ("dry days (< 0.1 mm)", "1", lambda x: scores.dry_day_fraction(x, cells=1, area=area)),
        ("p99", "mm/day", lambda x: scores.percentile(x, 99, cells=1, area=area)),
        ("p99.9", "mm/day", lambda x: scores.percentile(x, 99.9, cells=1, area=area)),
        ("R95p fraction", "1", lambda x: scores.heavy_rain_fraction(x, heavy, cells=1, area=area)),
        ("lag-1, domain mean", "1", lambda x: scores.domain_lag1(x, cells=1, area=area)),
        ("lag-1, cells", "1", lambda x: scores.cell_lag1(x, cells=1, area=area)),
    )
    for name, unit, score in kinds:
        yield _line(name, unit, cells, score)


def _mesoscale_power(fields: dict[str, Array]) -> Score:
    """Power at wavelengths of 6 to 8 cells, over the reference's."""

    def power(rain: Array) -> Array:
        k, spectrum = scores.power_spectrum(rain)
        near = np.argmin(np.abs(k - np.mean(_MESOSCALE)))
        band = (k >= _MESOSCALE[0]) & (k <= _MESOSCALE[1])
        band[near] = True  # a small domain's rings are wider than the band
        return np.atleast_1d(np.nansum(spectrum[band]))

    truth = power(fields["reference"])
    return _line("power at 6-8 cells", "of ref.", fields, lambda x: power(x) / truth)


def _how_near(cells: dict[str, Array], area: Array, months: list[slice]) -> Iterator[Score]:
    truth = cells["reference"][0]

    def over_months(score: Callable[..., Array]) -> Callable[[Array], Array]:
        return lambda x: np.mean(
            [score(x[:, days], truth[days], cells=1, area=area) for days in months], axis=0
        )

    def crps(rain: Array) -> Array:
        each = scores.fair_crps(rain, truth) if len(rain) > 1 else np.abs(rain[0] - truth)
        return np.atleast_1d(scores.cell_mean(each, 1, area).mean())

    kinds = (
        ("fair CRPS", "mm/day", crps),
        ("R² of monthly totals", "1", over_months(scores.monthly_r2)),
        ("monthly consistency", "1", over_months(scores.monthly_consistency)),
    )
    for name, unit, score in kinds:
        yield _line(name, unit, cells, score, skip=True)


def _distance(truth: Array) -> Callable[[Array], Array]:
    return lambda rain: np.array([scores.wasserstein1(each, truth) for each in rain])


def _line(
    name: str,
    unit: str,
    cells: dict[str, Array],
    score: Callable[[Array], Array],
    skip: bool = False,
) -> Score:
    """One score of every column; ``skip`` the reference's own, which says nothing."""
    values = {}
    for column, rain in cells.items():
        if not (skip and column == "reference"):
            each = np.atleast_1d(score(rain))
            values[column] = (float(np.mean(each)), float(np.min(each)), float(np.max(each)))
    return Score(name, unit, values)


def _shown(value: tuple[float, float, float] | None) -> str:
    if value is None or not np.isfinite(value[0]):
        return "-"
    mean, low, high = (f"{number:.3g}" for number in value)
    return mean if low == high else f"{mean} [{low}, {high}]"
