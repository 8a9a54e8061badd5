"""From kept samples to region-months, one in memory at a time.

A region-month's truth, its ensembles (closed, and as they were before closing) and its baselines
are put together from files and scored; nothing of it is kept but scores and pooled sums.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from longwang_ray.domain.calendar import Month
from longwang_ray.evaluation.month_baselines import (
    Archive,
    analogues,
    interpolated,
    operator_on,
)
from longwang_ray.evaluation.places import Box
from longwang_ray.evaluation.pooled import Pooled, pool_scene
from longwang_ray.evaluation.region_scores import score_scene
from longwang_ray.evaluation.samples import sample_path
from longwang_ray.evaluation.scene import Scene
from longwang_ray.evaluation.settings import GUIDED, SAMPLED
from longwang_ray.evaluation.truth import Array, Observed
from longwang_ray.evaluation.work import kept
from longwang_ray.posterior.observation import MonthlyMean

SMALLEST_MONTH = 0.01
"""Rain below which relative differences say nothing, mm/day."""


@dataclass(frozen=True)
class RegionMonth:
    """One region in one month, and where all that is known of it lies.

    Attributes:
        observed: The truth of its record.
        month: Index into the record.
        tile: The box that was sampled with it.
        box: Its cells.
    """

    observed: Observed
    month: int
    tile: Box
    box: Box

    @property
    def when(self) -> Month:
        """The month."""
        return self.observed.monthly.record.months[self.month]

    @property
    def key(self) -> str:
        """A stable name that sorts by month, from north-west to south-east."""
        return f"{self.when}.{self.box.row:05d}.{self.tile.column:05d}.{self.box.place}"

    @property
    def name(self) -> str:
        """For the reader: month and south-west corner."""
        return f"{self.when} {self.box.name}"


@dataclass(frozen=True)
class Kept:
    """What was sampled, and what the baselines need.

    Attributes:
        methods: In the order in which they are reported.
        folders: Of samples, by method and record (its first month).
        realizations: How many.
        archive: What analogues are chosen from.
    """

    methods: Sequence[str]
    folders: Mapping[tuple[str, str], Path]
    realizations: int
    archive: Archive = field(default_factory=Archive)

    def rain(self, method: str, at: RegionMonth, box: Box, closed: bool, most: int | None = None
             ) -> Array:  # fmt: skip
        """Realizations of one month on some cells of a tile, ``(realization, day, lat, lon)``.

        Args:
            method: A sampled one, or the reconstruction.
            at: Month and tile.
            box: Cells within the tile.
            closed: With the factors that close the month.
            most: Realizations at most.
        """
        count = self.realizations if method in SAMPLED else 1
        rows, columns = box.inside(at.tile)
        fields = []
        for r in range(min(count, most or count)):
            rain = kept(self.path(method, at, r, "open"))[:, rows, columns]
            if closed:
                rain = rain * kept(self.path(method, at, r, "factor"))[rows, columns]
            fields.append(rain)
        return np.stack(fields)

    def path(self, method: str, at: RegionMonth, realization: int, what: str) -> Path:
        """Where a piece of a sample lies."""
        folder = self.folders[method, str(at.observed.monthly.record.months[0])]
        return sample_path(folder, at.when, at.tile, realization, what)

    def fields(self, at: RegionMonth, box: Box, most: int | None = None) -> dict[str, Array]:
        """Every method on some cells of a tile; guided ones closed, and as ``…_open`` before."""
        found: dict[str, Array] = {}
        for method in self.methods:
            if method == "trilinear":
                found[method] = interpolated(at.observed, at.month, box)[None]
            elif method == "analogue":
                count = min(self.realizations, most or self.realizations)
                found[method] = analogues(at.observed, at.month, box, self.archive, count)
            else:
                found[method] = self.rain(method, at, box, method in GUIDED, most)
        for method in self.methods:
            if method in GUIDED:
                found[f"{method}_open"] = self.rain(method, at, box, False, most)
        return found


def operator_of(at: RegionMonth) -> MonthlyMean:
    """``A`` of one region-month; what counts are GCM cells wholly inside that were observed."""
    source = at.observed.monthly
    whole = operator_on(at.box, at.when, source.grid)
    known = torch.from_numpy(np.isfinite(source.rain[at.month]))
    return MonthlyMean(whole.month, whole.lat, whole.lon, whole.inside & known)


def agreement(rain: Array, operator: MonthlyMean, y: Array) -> float:
    """Mean of |A x − y| / max(y, 0.01) over GCM cells and realizations; NaN without a cell."""
    inside = operator.inside.numpy()
    rows, columns = operator.lat.numpy().astype(float), operator.lon.numpy().astype(float)
    seen = rows @ rain.mean(axis=1, dtype=np.float64) @ columns.T
    apart = np.abs(seen - y)[:, inside] / np.maximum(y, SMALLEST_MONTH)[inside]
    return float(apart.mean()) if apart.size else float("nan")


@dataclass(frozen=True)
class Scored:
    """What is kept of one region-month.

    Attributes:
        scores: ``{method or "truth": {score: value}}``.
        pooled: Its share of the pooled statistics.
    """

    scores: Mapping[str, Mapping[str, float]]
    pooled: Mapping[str, Pooled]


@dataclass(frozen=True)
class Judge:
    """Scores region-months; its own factory's product.

    Attributes:
        kept: What was sampled.
    """

    kept: Kept

    def __call__(self, at: RegionMonth) -> Scored:
        """Put one region-month together and score it."""
        operator = operator_of(at)
        scene = Scene(
            name=at.name,
            month=at.when.month,
            lat=at.box.lat,
            lon=at.box.lon,
            truth=at.observed.days(at.when, at.box),
            methods=self.kept.fields(at, at.box),
            operator=operator,
        )
        scores = {name: dict(found) for name, found in score_scene(scene).items()}
        y = at.observed.monthly.rain[at.month].astype(float)
        for name, rain in (("truth", scene.truth[None]), *scene.methods.items()):
            after = agreement(rain, operator, y)
            before = agreement(scene.methods.get(f"{name}_open", rain), operator, y)
            scores[name] |= {"closure_before": before, "closure_after": after}
        return Scored(scores, pool_scene(scene))


@dataclass(frozen=True)
class JudgeFactory:
    """Makes a `Judge` where it will work.

    Attributes:
        kept: What was sampled.
        threads: CPU threads of a worker.
    """

    kept: Kept
    threads: int

    def __call__(self) -> Judge:
        """The worker."""
        torch.set_num_threads(self.threads)
        return Judge(self.kept)
