"""A regional request is the slice of the larger run, and scenarios differ by what is forced."""

from dataclasses import replace

import numpy as np
import pytest

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.tile import Sampling, sample_tile

KEY = NoiseKey(7, "gcm", "r1", 0)
SAMPLING = Sampling(steps=3, batch=64, decode_batch=64)


def region(prior, monthly_of, rows, columns, key=KEY, halo=2, factor=1.0):
    """One tile's rain."""
    record = month_record("noleap", "1960-11", 1)
    size = max(rows[1], columns[1])
    layout = Layout.of((record.start, record.stop), rows, columns, 144, size)
    group = Group("gcm", "historical", "r1")
    plan = GroupPlan(group, layout, record, prior.lattice, 1, Tiling(12, halo))
    tile = next(plan.tiles())
    return sample_tile(prior, tile, monthly_of(record, factor), key, SAMPLING).rain


@pytest.mark.parametrize("kind", [("cell", 1), ("group", 2)], ids=["local", "windowwide"])
def test_a_request_is_the_slice_of_a_larger_run(make_prior, make_monthly, kind):
    """Across 0°E; cut where neither lattice nor compression asks for it."""
    prior = make_prior(*kind)
    whole = region(prior, make_monthly, (18, 24), (132, 24))
    part = region(prior, make_monthly, (24, 8), (140, 9))
    cut = whole[:, 6:14, 8:17]
    assert np.abs(part - cut).mean() < 1e-3 * cut.mean()
    bare = region(prior, make_monthly, (24, 8), (140, 9), halo=0)
    assert np.abs(bare - cut).mean() > 1e-3 * cut.mean()


def test_common_random_numbers_quieten_a_difference(make_prior, make_monthly):
    """Variance of a scenario's difference, with the same noise and with another's."""
    prior, place = make_prior(), ((20, 8), (136, 8))
    shared, own = [], []
    for realization in range(2):
        key = replace(KEY, realization=realization)
        base = region(prior, make_monthly, *place, key=key, halo=0)
        wetter = region(prior, make_monthly, *place, key=key, halo=0, factor=1.2)
        other = replace(key, seed=8)
        apart = region(prior, make_monthly, *place, key=other, halo=0, factor=1.2)
        shared.append((wetter - base).var())
        own.append((apart - base).var())
    print("variance of the difference, with / without:", np.mean(shared) / np.mean(own))
    assert np.mean(shared) < 0.5 * np.mean(own)
