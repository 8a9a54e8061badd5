"""What conditional sampling aims at on a perfect-model test, and what was found.

Means over region-months are judged where a target is about a score, the pooled statistics of all
region-months where it is about a distribution: the p99.9 or the spectrum of one region-month is
mostly chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import isfinite

import numpy as np

from longwang_ray.evaluation.examples import INSIDE, FactorHistogram
from longwang_ray.evaluation.method_style import TRUTH
from longwang_ray.evaluation.summary import Summary

MINE, BESIDE, RECONSTRUCTION = "conditional", "trilinear", "reconstruction"

NEAR_TRUTH = (
    ("wet_fraction", "wet-day fraction", 0.02),
    ("r95p", "R95p", 0.03),
    ("lag1", "lag-1", 0.05),
)
"""Score, name, and how far from the truth's it may be."""

CRPS, FACTOR, TAIL, SPREAD, CHANCE, SHARE = 0.58, 1.25, 0.1, (0.9, 1.1), 2.0, 0.9


@dataclass(frozen=True)
class Target:
    """Something that was aimed at.

    Attributes:
        name: What of.
        wanted: In words.
        found: In words.
        met: Whether it was reached.
    """

    name: str
    wanted: str
    found: str
    met: bool


def targets(summary: Summary, factors: FactorHistogram) -> list[Target]:
    """All targets of which something was measured; what can't be told is left out."""
    return [*_of_scores(summary), *_of_pooled(summary), *_of_closure(factors)]


def _of_scores(summary: Summary) -> Iterator[Target]:
    mine, truth, rival = (
        {key: one.mean for key, one in summary.scores.get(name, {}).items() if isfinite(one.mean)}
        for name in (MINE, TRUTH, BESIDE)
    )
    if rival.get("crps") and "crps" in mine:
        ratio = mine["crps"] / rival["crps"]
        yield Target("fair CRPS", f"≤ {CRPS:g} × {BESIDE}'s", f"{ratio:.3f} ×", ratio <= CRPS)
    for key, name, within in NEAR_TRUTH:
        if key in mine and key in truth:
            gap = mine[key] - truth[key]
            yield Target(
                name, f"within {within:g} of truth", _signed(f"{gap:+.3f}"), abs(gap) <= within
            )


def _of_pooled(summary: Summary) -> Iterator[Target]:
    mine, truth = (summary.pooled.get(name) for name in (MINE, TRUTH))
    if mine is None or truth is None:
        return
    tail, asked = (float(one.rain.quantile(np.array([0.999]))[0]) for one in (mine, truth))
    if asked > 0:
        gap = tail / asked - 1
        yield Target(
            "p99.9",
            f"within {100 * TAIL:g} % of truth",
            _signed(f"{100 * gap:+.1f} %"),
            abs(gap) <= TAIL,
        )
    worst = mine.spectrum.worst(truth.spectrum, "long")
    if isfinite(worst):
        wanted = f"within a factor {FACTOR:g} of truth"
        yield Target("spectrum, 8–64 cells", wanted, f"{worst:.2f}", worst <= FACTOR)
    if (redone := summary.pooled.get(RECONSTRUCTION)) is not None:
        worst = mine.spectrum.worst(redone.spectrum, "short")
        wanted = f"within a factor {FACTOR:g} of the reconstruction"
        yield Target("spectrum, 4–8 cells", wanted, f"{worst:.2f}", worst <= FACTOR)
    if mine.spread is not None and isfinite(ratio := mine.spread.ratio):
        met = SPREAD[0] <= ratio <= SPREAD[1]
        yield Target("spread / error", f"{SPREAD[0]:g}–{SPREAD[1]:g}", f"{ratio:.3f}", met)
    if mine.ranks is not None:
        index, chance = mine.ranks.reliability, mine.ranks.by_chance
        wanted = f"≤ {CHANCE:g} × chance ({CHANCE * chance:.3f})"
        yield Target("rank reliability", wanted, f"{index:.3f}", index <= CHANCE * chance)


def _of_closure(factors: FactorHistogram) -> Iterator[Target]:
    if factors.counts.any():
        wanted = f"≥ {100 * SHARE:g} % within {INSIDE[0]:g}–{INSIDE[1]:g}"
        yield Target(
            "closure factors", wanted, f"{100 * factors.inside:.1f} %", factors.inside >= SHARE
        )


def _signed(number: str) -> str:
    return number.replace("-", "−")
