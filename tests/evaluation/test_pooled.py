"""Pooled statistics: however scenes are grouped the sum is the same, and JSON keeps it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwang_ray.evaluation.bias import BLOCK, Bias
from longwang_ray.evaluation.pooled import Pooled, merge, pool_scene
from tests.fakes.scenes import scene, showers

REGIONS = ("34N 344E", "34N 000E")
PARTS = [pool_scene(scene(seed, region=REGIONS[seed % 2], days=5 + seed % 3)) for seed in range(6)]


def leaves(tree, path=""):
    """Every number of a tree by where it stands."""
    if not isinstance(tree, dict):
        return {path: np.asarray(tree, dtype=float)}
    found = {}
    for name, part in tree.items():
        found |= leaves(part, f"{path}/{name}")
    return found


def assert_same(first, second):
    one, two = (
        leaves({name: part.to_json() for name, part in pooled.items()})
        for pooled in (first, second)
    )
    assert one.keys() == two.keys()
    for name, values in one.items():
        np.testing.assert_allclose(values, two[name], rtol=1e-12, atol=1e-12, err_msg=name)


def total(parts):
    found = {}
    for part in parts:
        found = merge(found, part)
    return found


@settings(max_examples=40, deadline=None)
@given(order=st.permutations(range(6)), cuts=st.lists(st.booleans(), min_size=5, max_size=5))
def test_scenes_pool_to_the_same_in_any_order_and_grouping(order, cuts):
    groups = [[order[0]]]
    for scene_number, cut in zip(order[1:], cuts, strict=True):
        if cut:
            groups.append([])
        groups[-1].append(scene_number)
    grouped = total(total(PARTS[k] for k in group) for group in groups)
    assert_same(grouped, total(PARTS))


def test_pooling_pools():
    """The statistics of two months are those of all their days, not means of the two."""
    first, second = scene(1, days=5), scene(3, days=8)
    pooled = merge(pool_scene(first), pool_scene(second))["ensemble"]
    truth = np.concatenate([first.truth, second.truth])
    days = np.concatenate([first.methods["ensemble"], second.methods["ensemble"]], axis=1)
    assert pooled.scenes == 2
    assert pooled.rain.days == days.size
    assert pooled.ranks.counts.sum() == truth.size
    error = np.square(days.mean(axis=0, dtype=float) - truth)
    assert pooled.spread.rmse == pytest.approx(np.sqrt(np.average(error.mean(axis=(0, 2)),
        weights=first.area[:, 0])), rel=1e-5)  # fmt: skip
    assert pooled.bias.overall == pytest.approx(days.mean() / truth.mean() - 1, rel=1e-5)


def test_json_keeps_everything():
    pooled = total(PARTS)
    text = json.dumps({name: part.to_json() for name, part in pooled.items()}, allow_nan=False)
    back = {name: Pooled.from_json(part) for name, part in json.loads(text).items()}
    assert_same(back, pooled)
    assert back["ensemble"].ranks.by_chance == pooled["ensemble"].ranks.by_chance
    assert_same(merge(back, PARTS[0]), merge(pooled, PARTS[0]))


def test_only_ensembles_have_ranks_and_only_methods_are_compared():
    pooled = PARTS[0]
    assert pooled["single"].ranks is None
    assert pooled["single"].spread is not None
    compared = ("ranks", "spread", "neighbourhood", "bias")
    assert all(getattr(pooled["truth"], name) is None for name in compared)


def test_what_cannot_be_added_says_so():
    few = pool_scene(scene(0, realizations=3))["ensemble"]
    with pytest.raises(ValueError, match=r"cannot add Ranks: counts has the shapes \(5,\) and"):
        PARTS[0]["ensemble"] + few
    with pytest.raises(ValueError, match="only one of the two has ranks"):
        PARTS[0]["ensemble"] + PARTS[0]["single"]


def test_a_method_that_only_some_scenes_have_is_kept():
    extra = showers(np.random.default_rng(1), 2, 6, 12, 12)
    pooled = merge(PARTS[0], pool_scene(scene(3, extra=extra)))
    assert pooled["extra"].scenes == 1
    assert pooled["ensemble"].scenes == 2


def test_bias_is_mapped_by_blocks_of_its_region():
    place = scene(cells=10)
    rain = np.repeat(place.truth[None], 2, axis=0)
    rain[:, :, :BLOCK, :BLOCK] += 3
    bias = Bias.of(place, rain) + Bias.of(place, rain)
    expected = np.zeros((3, 3))  # 4 + 4 + 2 cells
    expected[0, 0] = 3
    np.testing.assert_allclose(bias.map("34N 344E"), expected, atol=1e-5)
    assert bias.lat["34N 344E"] == pytest.approx(
        [place.lat[:4].mean(), place.lat[4:8].mean(), place.lat[8:].mean()]
    )
    assert bias.relative()["34N 344E"] == pytest.approx(bias.overall)
