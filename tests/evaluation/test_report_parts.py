"""What the report is made of: who is best, which targets are met, counts of factors, frames."""

import numpy as np
import pytest

from longwang_ray.evaluation import ensemble_diagrams, example_maps
from longwang_ray.evaluation.examples import EDGES, FactorHistogram
from longwang_ray.evaluation.score_tables import LIKE, NEAR, NEAR_TOO, best, tables
from longwang_ray.evaluation.summary import Interval, Summary
from longwang_ray.evaluation.targets import targets
from tests.fakes import evaluated

R2, WASSERSTEIN = NEAR[:2]
WET = LIKE[0]
SPREAD = next(column for column in NEAR_TOO if column.key == "spread_skill")


def scores(**means):
    return {name: {key: Interval(x, x, x) for key, x in of.items()} for name, of in means.items()}


@pytest.mark.parametrize(
    ("column", "winner"), [(R2, "b"), (WASSERSTEIN, "a"), (WET, "b"), (SPREAD, "a")]
)
def test_each_column_has_its_own_best(column, winner):
    found = scores(
        truth={"wet_fraction": 0.5},
        a={"r2_monthly": 0.1, "wasserstein": 1.0, "wet_fraction": 0.3, "spread_skill": 1.1},
        b={"r2_monthly": 0.2, "wasserstein": 2.0, "wet_fraction": 0.6, "spread_skill": 0.8},
    )
    assert best(found, column) == {winner}


def test_references_do_not_compete_and_what_is_open_competes_apart():
    found = scores(
        reconstruction={"wasserstein": 0.1},
        prior={"wasserstein": 0.2},
        conditional={"wasserstein": 1.0},
        trilinear={"wasserstein": 2.0},
        conditional_open={"wasserstein": 4.0},
        unconditional_open={"wasserstein": 3.0},
    )
    assert best(found, WASSERSTEIN) == {"conditional", "unconditional_open"}


def test_without_a_rival_or_a_truth_nobody_is_best():
    assert best(scores(a={"wasserstein": 1.0}), WASSERSTEIN) == set()
    assert best(scores(a={"wet_fraction": 0.1}, b={"wet_fraction": 0.2}), WET) == set()
    assert best(scores(a={"wasserstein": np.nan}, b={"wasserstein": 2.0}), WASSERSTEIN) == set()


def test_a_table_holds_the_columns_that_somebody_has():
    found = tables(scores(a={"wasserstein": 1.0, "mine": 2.0}, truth={"lag1": 0.3}))
    assert [[c.key for c in t.columns] for t in found] == [["wasserstein"], ["lag1"], ["mine"]]


@pytest.mark.parametrize(("wet", "met"), [(0.315, True), (0.325, False), (0.285, True)])
def test_a_target_is_met_within_its_bounds(wet, met):
    found = scores(truth={"wet_fraction": 0.3}, conditional={"wet_fraction": wet})
    (target,) = targets(Summary("", 1, found, {}), FactorHistogram())
    assert target.met is met
    assert target.found == f"{wet - 0.3:+.3f}".replace("-", "−")


def test_the_truth_itself_meets_every_target_of_its_rain():
    summary = evaluated.summary(np.random.default_rng(5), ("trilinear",), cells=32, days=12)
    pooled = {"truth": summary.pooled["truth"], "conditional": summary.pooled["truth"]}
    found = targets(Summary("", 1, {}, pooled), FactorHistogram.of(np.ones(10)))
    assert {target.name for target in found} == {
        "p99.9",
        "spectrum, 8–64 cells",
        "closure factors",
    }
    assert all(target.met for target in found)
    smooth = targets(Summary("", 1, {}, pooled | {"conditional": summary.pooled["trilinear"]}),
                     FactorHistogram.of(np.full(10, 2.0)))  # fmt: skip
    assert {target.name for target in smooth if not target.met} >= {
        "spectrum, 8–64 cells", "closure factors"
    }  # fmt: skip


def test_factors_are_counted_however_they_come():
    rng = np.random.default_rng(3)
    factors = np.exp(rng.normal(0, 0.4, (40, 50))).astype(np.float32)
    whole = FactorHistogram.of(factors)
    parts = FactorHistogram.of(factors[:7]) + FactorHistogram.of(factors[7:])
    np.testing.assert_array_equal(whole.counts, parts.counts)
    assert whole.counts.sum() == factors.size
    assert whole.inside == pytest.approx(np.mean((factors > 0.8) & (factors < 1.25)))


def test_factors_out_of_range_count_and_nan_do_not():
    counted = FactorHistogram.of(np.array([0.0, np.nan, EDGES[-1] * 2, np.inf, 1.0]))
    assert counted.counts.sum() == 3
    assert counted.counts[0] == counted.counts[-1] == 1
    assert np.isnan(FactorHistogram().inside)


@pytest.mark.parametrize(
    ("columns", "west", "east"),
    [([0, 1, 2], 0, 7.5), ([142, 143, 0, 1], -5, 5), ([71, 72, 73], 177.5, 185), ([143], -2.5, 0)],
)
def test_the_conflict_is_framed_by_what_was_observed(columns, west, east):
    values = np.full((72, 144), np.nan)
    values[30:40, columns] = 1.0
    frame = example_maps._frame_of([evaluated.gcm_month(values, "2001-01")])
    assert (frame.south, frame.north) == (-15.0, 10.0)
    assert (frame.west + 180) % 360 == pytest.approx((west + 180) % 360)
    assert frame.east - frame.west == pytest.approx(east - west)
    assert -180 < (frame.west + frame.east) / 2 <= 180


def test_no_figure_where_there_is_nothing_to_draw():
    nothing = evaluated.gcm_month(np.full((72, 144), np.nan), "2001-01")
    assert example_maps.draw_conflict([nothing]) is None
    assert example_maps.draw_conflict([]) is None
    assert ensemble_diagrams.draw_scores(Summary("", 0, {}, {})) is None


def test_a_bias_counts_cells_by_their_area():
    lat, lon = np.array([60.0, 0.0]), np.array([0.0, 0.25])
    field = np.array([[3.0, 3.0], [0.0, np.nan]])
    figure = example_maps.draw_bias({"conditional": field}, lat, lon)
    # cos 60° is ½: (½ · 3 + ½ · 3 + 0) / (½ + ½ + 1)
    assert figure.axes[0].get_title() == "conditional: mean +1.50 mm/day"
