"""The figures of an evaluation's report, each with one plain sentence on how to read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from matplotlib.figure import Figure

from longwang_ray.evaluation import diagrams, ensemble_diagrams, example_maps
from longwang_ray.evaluation.examples import Examples
from longwang_ray.evaluation.maps import Frame, east_name, north_name
from longwang_ray.evaluation.method_style import OPEN, TRUTH
from longwang_ray.evaluation.summary import Summary
from longwang_ray.evaluation.targets import MINE

Statistic = TypeVar("Statistic")


@dataclass(frozen=True)
class Plate:
    """A figure as the report shows it.

    Attributes:
        name: Of its file, without ending.
        title: Above it.
        caption: What it shows and how to read it.
        figure: None if there is nothing to draw; the report then says ``missing``.
        missing: Why, in words.
    """

    name: str
    title: str
    caption: str
    figure: Figure | None
    missing: str = ""


def plates(summary: Summary, examples: Examples) -> Iterator[Plate]:
    """All figures, drawn one by one as they are asked for: maps first, then statistics."""
    yield from _days(examples)
    yield from _scores(summary)
    few = replace(summary, pooled=_few(summary.pooled))
    if TRUTH in summary.pooled:
        yield from _what_rain_is_like(few)
    yield from _how_the_ensemble_stands(few)
    yield from _maps(examples)


def _few(pooled: Mapping[str, Statistic]) -> dict[str, Statistic]:
    """What lines are drawn of: all that is done, and what conditional was before it was closed."""
    return {
        name: found
        for name, found in pooled.items()
        if not name.endswith(OPEN) or name == f"{MINE}{OPEN}"
    }


def _days(examples: Examples) -> Iterator[Plate]:
    for number, days in enumerate(examples.days, start=1):
        frame = Frame.of(days.lat, days.lon)
        corner = f"{north_name(frame.south)} {east_name(frame.west)}"
        yield Plate(
            f"days_{number}",
            f"Days of {days.month.name}, north-east of {corner}",
            "The top row is the observed month (all that a method is told) and true days; below, "
            "the same days of each method. Realizations need not have their storms where the "
            "truth has them, but should be as patchy, as sharp and as heavy.",
            example_maps.draw_days(days),
        )


def _scores(summary: Summary) -> Iterator[Plate]:
    yield Plate(
        "scores",
        "All scores over region-months",
        "Each line spans 5–95 % of the region-months and its symbol is their mean; where the "
        "truth has the same score, its mean is the black line and its range the grey band, and "
        "that is where a method's should be.",
        ensemble_diagrams.draw_scores(summary),
        "no method was scored",
    )


def _what_rain_is_like(summary: Summary) -> Iterator[Plate]:
    pooled = summary.pooled
    yield Plate(
        "spectra",
        "Radially averaged spectra",
        "How much rain varies at each wavelength, and below it the ratio to the truth: a line "
        "that falls off to the right is too smooth, one that rises too noisy; inside the grey box "
        "(8–64 cells, factor 1.25) it is right.",
        diagrams.draw_spectra(pooled),
    )
    yield Plate(
        "quantiles",
        "Quantile–quantile, to 99.99 %",
        "Daily rain of equal rarity in method and truth, all cells and days together, and below "
        "it their ratio: on the black line both are equal, under it the method's heavy rain is "
        "too light; the grey band is ± 10 %.",
        diagrams.draw_quantiles(pooled),
    )
    yield Plate(
        "return_levels",
        "Return levels",
        "Daily rain that one cell passes on average once in so many years, all cells and months "
        "taken as one climate; lines end where fewer than ten cell-days lie above.",
        diagrams.draw_return_levels(pooled),
    )
    yield Plate(
        "spells",
        "Dry and wet spells",
        "The share of spells that last so many days or more, cut at the month's ends; a method "
        "above the black line stays dry, or wet, for too long.",
        diagrams.draw_spells(pooled),
    )


def _how_the_ensemble_stands(summary: Summary) -> Iterator[Plate]:
    pooled = summary.pooled
    yield Plate(
        "ranks",
        "Rank histograms",
        "How often the truth stands at each rank among the realizations; flat is right, a bowl "
        "means too little spread, a slope a bias. Grey is what chance alone does, once and twice; "
        "the reliability index is the sum of the distances from flat.",
        ensemble_diagrams.draw_ranks(pooled),
        "no method has two realizations to rank the truth among",
    )
    yield Plate(
        "spread",
        "Spread against skill",
        "A trustworthy ensemble spreads as much as its mean errs, and lies on the line (grey: "
        "± 10 %); below it, it is too sure of itself. Bars span 5–95 % of region-months.",
        ensemble_diagrams.draw_spread(summary),
        "no method has two realizations, so none has a spread",
    )
    yield Plate(
        "fss",
        "Fractions skill score",
        "Whether rain above a threshold falls within a square of so many cells around where it "
        "truly fell; 1 is perfect, 0 no overlap. Days are not observed, so all that can be known "
        "is where storms are likely.",
        ensemble_diagrams.draw_neighbourhoods(pooled),
        "no method has sums of neighbourhoods",
    )


def _maps(examples: Examples) -> Iterator[Plate]:
    if examples.bias:
        yield Plate(
            "bias",
            "Bias",
            "Method less truth, the mean over realizations, days and months: green is too wet, "
            "brown too dry, white within 0.25 mm/day. Speckle is the chance of few months; a "
            "pattern is not.",
            example_maps.draw_bias(_few(examples.bias), examples.lat, examples.lon),
        )
    yield Plate(
        "conflict",
        "Conflict with the observed month",
        "How far the sampled month, before closure, is from the observed one in units of the "
        "assumed error, squared, mean over realizations: about 1 is as agreed, above 9 (three "
        "standard deviations, dark) the month asks for what the prior does not know.",
        example_maps.draw_conflict(examples.conflict),
        "no GCM cell was observed, so there is nothing to be in conflict with",
    )
    yield Plate(
        "factors",
        "How far closure had to go",
        "The factors that bring each GCM cell's month to what was observed; if guidance did its "
        "work, 90 % lie within 0.8–1.25 (grey).",
        example_maps.draw_factors(examples.factors) if examples.factors.counts.any() else None,
        "nothing was closed",
    )
