"""What an evaluation says: scores of region-months with their range, and the pooled statistics.

scores.json    {method: {score: {mean, p5, p95}}}, nothing else
pooled.json    {title, region_months, pooled: {method: …}}: what figures are drawn from
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from longwang_ray.evaluation.pooled import Pooled
from longwang_ray.evaluation.tables import pooled_table, score_tables

Scores = Mapping[str, Mapping[str, float]]
"""Of one region-month: ``{method or "truth": {score: value}}``; NaN where it makes no sense."""


@dataclass(frozen=True)
class Interval:
    """A score over region-months.

    Attributes:
        mean: Over those where it makes sense.
        p5: Their 5th percentile.
        p95: Their 95th percentile.
    """

    mean: float
    p5: float
    p95: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Interval | None:
        """Of a score's values; those that are not finite are left out, None if all are."""
        known = np.asarray(values, dtype=np.float64)
        known = known[np.isfinite(known)]
        if not known.size:
            return None
        low, high = np.percentile(known, (5, 95))
        return cls(float(known.mean()), float(low), float(high))


@dataclass(frozen=True, eq=False)
class Summary:
    """All that the report gets beside example fields.

    Attributes:
        title: What was evaluated.
        region_months: How many were scored.
        scores: ``{method or "truth": {score: Interval}}``; a score that makes no sense for a
            method (or in no region-month) is absent.
        pooled: ``{method or "truth": Pooled}`` over all region-months.
    """

    title: str
    region_months: int
    scores: Mapping[str, Mapping[str, Interval]]
    pooled: Mapping[str, Pooled]

    @classmethod
    def of(cls, title: str, scored: Sequence[Scores], pooled: Mapping[str, Pooled]) -> Summary:
        """Join the scores of each region-month with the merged statistics.

        Args:
            title: What was evaluated.
            scored: What `score_scene` said of each, and what the pipeline added to it.
            pooled: The sum of what `pool_scene` said of each.
        """
        values: dict[str, dict[str, list[float]]] = {}
        for scene in scored:
            for method, found in scene.items():
                for score, value in found.items():
                    values.setdefault(method, {}).setdefault(score, []).append(value)
        intervals = {
            method: {score: Interval.of(those) for score, those in found.items()}
            for method, found in values.items()
        }
        known = {
            method: {score: interval for score, interval in found.items() if interval}
            for method, found in intervals.items()
        }
        return cls(title, len(scored), known, pooled)

    def text(self) -> str:
        """The two published tables, what is beyond them, and the pooled statistics, as text."""
        head = f"{self.title}\n{self.region_months} region-months: mean [5 %, 95 %] over them"
        pooled = [pooled_table(self.pooled)] if self.pooled else []
        return "\n\n".join([head, *score_tables(self.scores), *pooled]) + "\n"

    def to_json(self) -> dict[str, Any]:
        """``{title, region_months, scores: {method: {score: {mean, p5, p95}}}, pooled}``."""
        return {
            "title": self.title,
            "region_months": self.region_months,
            "scores": {
                method: {score: asdict(interval) for score, interval in found.items()}
                for method, found in self.scores.items()
            },
            "pooled": {method: pooled.to_json() for method, pooled in self.pooled.items()},
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Summary:
        """The inverse of `to_json`."""
        scores = {
            method: {score: Interval(**interval) for score, interval in found.items()}
            for method, found in tree["scores"].items()
        }
        pooled = {method: Pooled.from_json(part) for method, part in tree["pooled"].items()}
        return cls(tree["title"], tree["region_months"], scores, pooled)

    def write(self, folder: Path) -> None:
        """Write ``scores.json`` (the scores alone) and ``pooled.json`` (the rest) to a folder."""
        tree = self.to_json()
        scores = json.dumps(tree.pop("scores"), indent=1, allow_nan=False)
        (folder / "scores.json").write_text(scores + "\n", encoding="utf-8")
        pooled = json.dumps(tree, allow_nan=False)
        (folder / "pooled.json").write_text(pooled + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Summary:
        """What `write` left in a folder."""
        tree = json.loads((folder / "pooled.json").read_text(encoding="utf-8"))
        scores = json.loads((folder / "scores.json").read_text(encoding="utf-8"))
        return cls.from_json({**tree, "scores": scores})
