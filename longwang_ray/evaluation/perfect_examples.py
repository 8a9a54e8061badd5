"""The few fields that a report draws: days beside the truth, conflict, closure factors, bias."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from longwang_ray.domain.calendar import date_of
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.evaluation.examples import ExampleDays, Examples, FactorHistogram
from longwang_ray.evaluation.figures import CoarseMonth
from longwang_ray.evaluation.perfect_plan import Prepared
from longwang_ray.evaluation.places import Domain
from longwang_ray.evaluation.pooled import Pooled
from longwang_ray.evaluation.samples import ledger_of
from longwang_ray.evaluation.scenes import Kept, RegionMonth
from longwang_ray.evaluation.truth import Array, Observed

DAYS, PLACES, WIDEST, REALIZATIONS = 3, 2, 256, 2
"""Days, months, cells on a side and realizations of an example."""


def examples_of(
    prepared: Prepared, kept: Kept, truths: Sequence[Observed], pooled: Mapping[str, Pooled]
) -> Examples:
    """All that is drawn and is no score."""
    months = [(o, k) for o in truths for k in range(len(o.monthly.record.months))]
    chosen = months[:: max(1, -(-len(months) // PLACES))][:PLACES]
    conflict, factors = _closing(prepared, kept, months)
    lat, lon, bias = _bias(prepared.domain, pooled)
    days = [_days(kept, observed, k, prepared.domain) for observed, k in chosen]
    return Examples(days, conflict, factors, lat, lon, bias)


def _days(kept: Kept, observed: Observed, month: int, domain: Domain) -> ExampleDays:
    """Days in the middle of a month."""
    tile = domain.tiles[0]
    box = next(tile.pieces(WIDEST, WIDEST))
    at = RegionMonth(observed, month, tile, box)
    first = max(at.when.days // 2 - 1, 0)
    shown = slice(first, first + DAYS)
    numbers = range(at.when.start + first, at.when.start + min(first + DAYS, at.when.days))
    calendar = observed.monthly.record.calendar
    methods = kept.fields(at, box, most=REALIZATIONS)
    return ExampleDays(
        lat=box.lat,
        lon=box.lon,
        dates=[f"{date_of(day, calendar):%Y-%m-%d}" for day in numbers],
        truth=observed.days(at.when, box)[shown],
        methods={
            name: rain[:, shown].copy()
            for name, rain in methods.items()
            if not name.endswith("_open")
        },
        month=_coarse(observed.monthly.rain[month], observed.monthly.grid, str(at.when)),
    )


def _coarse(values: Array, grid: RectilinearGrid, name: str) -> CoarseMonth:
    return CoarseMonth(values, grid.lat_bounds, grid.lon_bounds, name)


def _closing(
    prepared: Prepared, kept: Kept, months: Sequence[tuple[Observed, int]]
) -> tuple[list[CoarseMonth], FactorHistogram]:
    """Conflict of each month, mean over realizations, and factors of all GCM cells."""
    conflict: list[CoarseMonth] = []
    factors = FactorHistogram()
    if "conditional" not in kept.methods:
        return conflict, factors
    for observed, k in months:
        total = np.zeros(prepared.gcm.shape)
        count = np.zeros(prepared.gcm.shape)
        for tile in prepared.domain.tiles:
            at = RegionMonth(observed, k, tile, tile)
            for r in range(kept.realizations):
                ledger = ledger_of(kept.path("conditional", at, r, "ledger"))
                known = np.isfinite(ledger["conflict"])
                total[known] += ledger["conflict"][known]
                count += known
                factors = factors + FactorHistogram.of(ledger["factor"])
        mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        conflict.append(_coarse(mean, prepared.gcm, str(at.when)))
    return conflict, factors


def _bias(domain: Domain, pooled: Mapping[str, Pooled]) -> tuple[Array, Array, dict[str, Array]]:
    """The regions' maps of bias, put together again, on the blocks that they are kept in."""
    pieces = list(domain.box.pieces(domain.scored, domain.scored))
    across = domain.box.columns // domain.scored
    maps: dict[str, Array] = {}
    lat, lon = np.zeros(0), np.zeros(0)
    for method, found in pooled.items():
        if found.bias is None:
            continue
        bias = found.bias
        rows = [pieces[k : k + across] for k in range(0, len(pieces), across)]
        maps[method] = np.block([[bias.map(box.name) for box in row] for row in rows])
        lat = np.concatenate([bias.lat[row[0].name] for row in rows])
        lon = np.concatenate([bias.lon[box.name] for box in rows[0]])
    return lat, lon, maps
