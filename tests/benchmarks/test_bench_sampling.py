"""The sampling benchmark on the tiny prior: its tables say what they claim to."""

import numpy as np
import pytest
import torch

from longwang_ray.evaluation.views import REGIONS
from longwang_ray.posterior.blending import Blend
from longwang_ray.posterior.tile import Sampling, sample_latent
from tests.benchmarks import (
    bench_sampling,
    sampling_cases,
    sampling_cost,
    sampling_published,
    sampling_steps,
)
from tests.benchmarks.sampling_cases import KINDS, case_of, guided, noise_of
from tests.benchmarks.sampling_steps import (
    Setting,
    Skill,
    best_value,
    good_enough,
    relative,
    sampled,
    skill_of,
)
from tests.posterior.conftest import tiny_prior


@pytest.fixture(scope="module")
def prior():
    return tiny_prior()


@pytest.fixture(scope="module")
def case(prior):
    return make_case(prior, 2)


def make_case(prior, windows):
    days = np.random.default_rng(0).gamma(0.3, 8.0, (31, *prior.grid.shape))
    return case_of(prior, REGIONS[0], "2001-01", days.astype(np.float16), windows)


def skill(scale=1.0, cases=3, realizations=2):
    values = scale * np.arange(1.0, 1 + cases * realizations).reshape(cases, realizations)
    return Skill(values[:, :1], values, np.stack([values] * 3, -1), values, 0.1, 1.0, 1.0)


def test_a_case_has_so_many_windows_and_the_truth_of_its_cells(prior, case):
    extent = case.tile.extent
    assert (extent.lat.count, extent.lon.count) == (2, 2)
    assert case.truth.shape == (31, *extent.fine_shape[1:])
    starts = set(prior.lattice.lat_starts())
    assert set(extent.lat.window_starts()) <= starts
    assert Blend(extent, 3).shape == extent.shape


@pytest.mark.parametrize("kind", KINDS)
def test_every_guidance_changes_the_estimate_but_none(prior, kind):
    case = make_case(prior, 1)
    x, t = noise_of(prior, case, 0, "cpu"), torch.tensor(0.0)
    with torch.no_grad():
        plain, found = (guided(prior, case, k, 8, "cpu")(x, t) for k in ("none", kind))
    assert torch.isfinite(found).all()
    assert torch.equal(plain, found) == (kind == "none")


def test_the_decoder_is_asked_in_the_last_two_of_the_steps(prior, case):
    denoise, steps = guided(prior, case, "fast+decoder", 8, "cpu"), 8
    times = torch.linspace(1.0, 0.0, steps + 1)[:-1]
    assert [float(t) <= denoise.since for t in times] == [False] * 6 + [True] * 2


def test_a_case_is_sampled_as_a_run_samples_its_tile(prior, case):
    rain, _ = sampled(prior, case, Setting(3, 2), 0, "cpu")
    key = sampling_cases.NoiseKey(1, "Synthetic", "r1i1p1f1", 0)
    latent = sample_latent(prior, case.tile, case.monthly, key, Sampling(steps=3))
    expected = sampling_cases.finished(prior, case, latent)
    np.testing.assert_allclose(rain.closed, expected.closed, rtol=1e-4, atol=1e-4)


def test_a_closed_month_meets_what_is_observed(prior, case):
    rain, _ = sampled(prior, case, Setting(2, 1), 0, "cpu")
    operator = sampling_cases.operator_on(case.tile.extent, prior.grid, case.monthly, range(1))
    seen = operator.lat @ torch.from_numpy(rain.closed.mean(0)) @ operator.lon.T
    y = torch.from_numpy(case.monthly.rain[0])
    inside = operator.inside
    assert inside.any()
    assert (seen - y)[inside].abs().mean() < 0.02 * y[inside].mean()
    assert rain.gap > 0.02


def test_the_same_skill_is_good_enough_and_has_no_width(prior, case):
    found = skill_of(prior, [case], Setting(2, 2), 2, "cpu")
    row = relative(found, found)
    assert all(value == (1.0, 1.0, 1.0) for value in row.values())
    assert good_enough(row)


def test_ratios_and_their_bounds():
    row = relative(skill(1.02), skill())
    assert row["p999"][0] == pytest.approx(1.02)
    assert row["p999"][1:] == pytest.approx((1.02, 1.02))
    assert not good_enough(row)  # the CRPS is 2 % worse
    assert good_enough({**row, "crps": (0.9, 0.9, 0.9)})
    assert not good_enough({**row, "crps": (1.0, 1.0, 1.0), "lag1": (1.04, 1.0, 1.1)})


def test_the_best_value_is_cheap_good_and_meets_the_month():
    def row(kind, crps, seconds, gap=0.05):
        return {"kind": kind, "crps_mm": crps, "seconds": seconds, "gap": gap}

    rows = [row("fast", 1.0, 2.0), row("dear", 0.995, 9.0), row("poor", 1.2, 1.0)]
    assert best_value(rows).endswith("fast")
    assert best_value([*rows, row("missed", 0.5, 0.1, gap=3.0)]).endswith("fast")
    assert best_value([row("missed", 0.5, 0.1, gap=3.0)]).startswith("no guidance")


def test_published_factors_multiply_to_the_ratio(prior, capsys):
    one = make_case(prior, 1)
    cost = sampling_cost.step_cost(prior, one, one, KINDS, "cpu", 0)
    rows = sampling_published.published_table(prior, one, cost, "cpu")
    assert len(rows) == 4
    for row in rows:
        factors = row["factors"]
        assert np.prod(list(factors.values())) == pytest.approx(row["ratio"])
        steps = factors["steps"] * Sampling().steps
        assert row["evaluations"] == pytest.approx(row["windows"] * steps)
        assert row["ratio"] == pytest.approx(row["seconds"] / row["ours_s"])
    assert rows[0]["factors"]["steps"] == 256 / Sampling().steps


def test_published_windows_cover_the_region(prior):
    plan = sampling_published.region_plan(prior)
    days, rows, columns = plan.tile(0, 0, 0, 0).core_shape
    found = sampling_published.published_windows(prior, plan, 0.0)
    window = prior.window
    expected = days / window[0] * -(-rows // window[1]) * -(-columns // window[2])
    assert found == pytest.approx(expected / 12)
    assert sampling_published.published_windows(prior, plan, 0.5) > 4 * found


def test_tiles_of_the_memory_table_hold_the_asked_months_in_one(prior):
    one, four = (sampling_cost.plan_of(prior, months, 2) for months in (1, 4))
    assert (one.n_tiles, four.n_tiles) == (1, 1)
    tiles = [plan.tile(0, 0, 0, 0) for plan in (one, four)]
    assert [len(tile.core_months) for tile in tiles] == [1, 4]
    assert tiles[1].extent.n_windows > 1.5 * tiles[0].extent.n_windows


def test_the_whole_of_it(prior, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench_sampling, "open_prior", lambda _: prior)
    day = np.random.default_rng(0).gamma(0.3, 8.0, (720, 1440))
    days = [np.roll(day, shift, axis=1) for shift in range(31)]
    monkeypatch.setattr(sampling_cases, "synthetic_days", lambda *_: iter(days))
    monkeypatch.setattr(sampling_steps, "RESAMPLES", 20)
    target = tmp_path / "found.json"
    bench_sampling.main(["--quick", "--cache", str(tmp_path), "--json", str(target)])
    found = bench_sampling.json.loads(target.read_text())
    assert set(bench_sampling.TABLES) <= set(found)
    (memory,) = found["memory"]
    assert 100 * 2**20 < memory["peak"] <= memory["planned"]
    assert [row["steps"] for row in found["steps"]] == [8, 4, 4]
    assert "skill per second" in capsys.readouterr().out


def test_a_single_realization_is_refused_before_any_work(capsys):
    with pytest.raises(SystemExit):
        bench_sampling.main(["--realizations", "1"])
    assert "needs 2 or more" in capsys.readouterr().err
