"""The summary: means and ranges, tables, and the two files."""

import json

import numpy as np
import pytest

from longwang_ray.evaluation.pooled import merge, pool_scene
from longwang_ray.evaluation.region_scores import score_scene
from longwang_ray.evaluation.summary import Interval, Summary
from longwang_ray.evaluation.tables import table
from tests.fakes.scenes import scene


@pytest.fixture(scope="module")
def summary():
    scenes = [scene(seed) for seed in (1, 2)]
    scored = [score_scene(place) for place in scenes]
    scored[0]["ensemble"]["closure_before"] = 0.25
    first, second = map(pool_scene, scenes)
    return Summary.of("two months", scored, merge(first, second))


def test_an_interval_is_mean_and_5_to_95_per_cent():
    found = Interval.of([*range(101), float("nan")])
    assert (found.mean, found.p5, found.p95) == (50, 5, 95)
    assert Interval.of([float("nan"), float("inf")]) is None


def test_scores_are_taken_over_region_months(summary):
    both = [score_scene(scene(seed))["ensemble"]["crps"] for seed in (1, 2)]
    found = summary.scores["ensemble"]["crps"]
    assert summary.region_months == 2
    assert found.mean == pytest.approx(np.mean(both))
    assert (found.p5, found.p95) == pytest.approx(tuple(np.percentile(both, (5, 95))))


def test_what_the_pipeline_adds_is_there_and_what_makes_no_sense_is_not(summary):
    assert summary.scores["ensemble"]["closure_before"] == Interval(0.25, 0.25, 0.25)
    assert "spread_skill" not in summary.scores["single"]
    assert "crps" not in summary.scores["truth"]


def test_a_score_that_is_nowhere_known_is_absent():
    nothing = Summary.of("none", [{"truth": {"r95p": float("nan"), "mean": 1.0}}], {})
    assert set(nothing.scores["truth"]) == {"mean"}
    assert [part.split("\n")[0] for part in nothing.text().split("\n\n")][1:] == [
        "… and what it is like (mm/day, length in cells; spectrum: largest ratio or its inverse)"
    ]


def test_the_published_tables_are_in_the_text(summary):
    near, like = summary.text().split("\n\n")[1:3]
    heads = [" ".join(part.splitlines()[2].split()) for part in (near, like)]
    assert heads == [
        "R² month Wasserstein-1 fair CRPS consistency",
        "wet days dry days R95p R99p lag-1",
    ]
    found = summary.scores["ensemble"]["crps"]
    assert f"{found.mean:.3f} [{found.p5:.3f}, {found.p95:.3f}]" in near
    assert not any(line.startswith("truth") for line in near.splitlines())
    assert like.splitlines()[4].startswith("truth")  # first, to compare with
    assert "two months" in summary.text()
    assert max(map(len, summary.text().splitlines())) < 240


def test_a_table_leaves_out_what_nobody_has():
    scores = {"a": {"x": Interval(1, 0, 2)}, "b": {"z": Interval(1, 1, 1)}}
    lines = table("title", {"x": "X", "y": "Y", "w": "W"}, scores).splitlines()
    assert lines[2].split() == ["X"]
    assert lines[4:] == ["a  1.000 [0.000, 2.000]"]


def test_json_keeps_everything(summary):
    tree = json.loads(json.dumps(summary.to_json(), allow_nan=False))
    back = Summary.from_json(tree)
    assert back.to_json() == summary.to_json()
    assert back.text() == summary.text()


def test_the_scores_have_a_file_to_themselves(summary, tmp_path):
    summary.write(tmp_path)
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert set(scores) == {"truth", "ensemble", "single"}
    assert all(
        set(interval) == {"mean", "p5", "p95"}
        for found in scores.values() for interval in found.values()
    )  # fmt: skip
    assert Summary.read(tmp_path).text() == summary.text()
