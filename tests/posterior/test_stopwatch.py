"""Stages add up, one inside a generator too, and what raises is not counted."""

from itertools import islice

import pytest

from longwang_ray.domain.noise import NoiseKey
from longwang_ray.posterior.stopwatch import Stopwatch
from longwang_ray.posterior.tile import Sampling, sample_months


def test_stages_add_up(monkeypatch):
    now = iter([0.0, 1.0, 10.0, 12.5, 20.0, 20.25])
    monkeypatch.setattr("time.perf_counter", lambda: next(now))
    clock = Stopwatch()
    for stage in ("read", "sample", "read"):
        with clock(stage):
            pass
    assert clock.seconds == {"read": 1.25, "sample": 2.5}


def test_a_stage_that_raises_is_not_counted():
    clock = Stopwatch()
    with pytest.raises(ZeroDivisionError), clock("sample"):
        _ = 1 / 0
    assert clock.seconds == {}


def test_a_tile_is_sampled_at_once_and_decoded_month_by_month(make_prior, make_plan, make_monthly):
    plan, clock = make_plan(make_prior(), months=2, shards_per_tile=4), Stopwatch()
    tile, key = next(plan.tiles()), NoiseKey(1, "gcm", "r1", 0)
    months = sample_months(
        make_prior(), tile, make_monthly(plan.record), key, Sampling(steps=1), clock=clock
    )
    assert set(clock.seconds) == {"read", "sample"}
    assert len(list(islice(months, 1))) == 1
    first = dict(clock.seconds)
    assert set(first) == {"read", "sample", "decode", "close"}
    assert len(list(months)) == 1
    assert clock.seconds["decode"] > first["decode"] > 0
    assert clock.seconds["sample"] == first["sample"]
