"""`longwang evaluate CONFIG`, whole: a tiny prior, real days made up by the test, seconds."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from longwang_ray.cli import DONE, FAILED, INCOMPLETE, main
from longwang_ray.domain.grid import era5_grid
from longwang_ray.evaluation import perfect, samples
from longwang_ray.evaluation.perfect_plan import prepare
from longwang_ray.evaluation.settings import load_evaluate_config

KEYS = {
    *("r2_monthly", "wasserstein", "crps", "monthly_consistency", "wet_fraction", "dry_fraction"),
    *("r95p", "r99p", "lag1", "p999", "spread_skill", "spectrum_ratio_max"),
    *("closure_before", "closure_after"),
}
METHODS = ["conditional", "unconditional", "prior", "reconstruction", "trilinear", "analogue"]


@pytest.fixture(scope="session")
def days(tmp_path_factory):
    """Daily rain of January to April on the tiny prior's cells, some of it in every cell."""
    grid = era5_grid(2.5)
    rng = np.random.default_rng(3)
    weather = rng.gamma(0.4, 2.0, (120, *grid.shape))
    climate = 0.5 + np.cos(np.deg2rad(grid.lat))[:, None] ** 2
    time = ("time", np.arange(120), {"units": "days since 2000-01-01", "calendar": "noleap"})
    dataset = xr.Dataset(
        {"pr": (("time", "lat", "lon"), (weather * climate).astype("f4"), {"units": "mm/day"})},
        coords={
            "time": time,
            "lat": ("lat", grid.lat, {"units": "degrees_north"}),
            "lon": ("lon", grid.lon, {"units": "degrees_east"}),
        },
    )
    path = tmp_path_factory.mktemp("days") / "days.nc"
    dataset.to_netcdf(path, engine="netcdf4")
    return str(path)


@pytest.fixture(scope="session")
def tree(bundle, days):
    """A configuration: 2 months × 4 squares of 20° across 0°E × 2 realizations."""
    return {
        "prior": bundle,
        "truth": {"kind": "daily", "path": days, "months": ["2000-01", "2000-03"]},
        "gcm": {"degrees": 5.0},
        "region": {"lat": [-20, 20], "lon": [340, 20]},
        "scored": 20.0,
        "realizations": 2,
        "methods": METHODS,
        "sampler": {"steps": 4},
        "tiling": {"halo_strides": 0},
        "engine": {"kind": "serial"},
        "seed": 1,
        "output": "out",
    }


@pytest.fixture
def desk(tree, tmp_path, monkeypatch):
    """A folder with the configuration as evaluate.yaml; its page, seconds of figures, is left out.

    `once` draws it.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(perfect, "write_report", lambda folder, *_: folder / "report.html")
    (tmp_path / "evaluate.yaml").write_text(yaml.safe_dump(tree))
    return tmp_path


@pytest.fixture
def told(capsys):
    """Run the command; return its exit code and what it told on both streams."""

    def run(*overrides):
        code = main(["evaluate", "evaluate.yaml", *overrides])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture(scope="session")
def once(tree, tmp_path_factory):
    """A finished evaluation; read it, do not change it."""
    folder = tmp_path_factory.mktemp("once")
    (folder / "evaluate.yaml").write_text(yaml.safe_dump(tree | {"output": str(folder / "out")}))
    assert main(["evaluate", str(folder / "evaluate.yaml")]) == DONE
    return folder / "out"


def test_scores_json_is_what_was_promised(once):
    scores = json.loads((once / "scores.json").read_text())
    opened = {"conditional_open", "unconditional_open"}
    assert set(scores) == {"truth", *METHODS, *opened}
    for method in ("conditional", "unconditional", *opened):
        assert set(scores[method]) >= KEYS - {"spectrum_ratio_max"}
    for of_method in scores.values():
        for interval in of_method.values():
            assert set(interval) == {"mean", "p5", "p95"}
            assert interval["p5"] <= interval["p95"]


def test_closure_is_scored_before_and_after(once):
    scores = json.loads((once / "scores.json").read_text())
    closed, left_open = scores["conditional"], scores["conditional_open"]
    assert closed["closure_after"]["p95"] < 1e-4
    assert closed["closure_before"]["mean"] > 0.05
    assert left_open["closure_after"] == left_open["closure_before"] == closed["closure_before"]
    assert scores["truth"]["closure_after"]["p95"] < 1e-5
    assert scores["prior"]["closure_after"]["mean"] > 0.2


def test_guidance_is_felt(once):
    scores = json.loads((once / "scores.json").read_text())
    assert (
        scores["conditional_open"]["closure_before"]["mean"]
        < 0.7 * scores["prior"]["closure_before"]["mean"]
    )


def test_what_is_written_beside_the_scores(once):
    about = json.loads((once / "about.json").read_text())
    assert float(about["seconds a realization-month, conditional"]) > 0
    assert "days.nc" in about["truth"]
    assert str(once) not in json.dumps(about)
    pooled = json.loads((once / "pooled.json").read_text())
    assert "8" in json.dumps(pooled)
    page = (once / "report.html").read_text()
    assert "8 region-months" in page
    assert "conditional" in (once / "table.txt").read_text()


def test_the_samples_are_those_of_a_run(once, tree, bundle):
    """A region of one tile, sampled by a run's own worker code, equals the evaluation's."""
    from longwang_ray.domain.layout import Layout
    from longwang_ray.domain.noise import NoiseKey
    from longwang_ray.domain.plan import GroupPlan, Tiling
    from longwang_ray.posterior.observation import MonthlyRain
    from longwang_ray.posterior.tile import sample_tile

    config = tree | {"output": str(once)}
    (once.parent / "again.yaml").write_text(yaml.safe_dump(config))
    prepared = prepare(load_evaluate_config(once.parent / "again.yaml"))
    truths, _ = perfect.make_truth(prepared)
    monthly, box = truths[0].monthly, prepared.domain.box
    record = monthly.record
    layout = Layout.of(
        (record.start, record.stop), (box.row, box.rows), (box.column, box.columns), 144
    )
    plan = GroupPlan(
        samples.GROUP, layout, record, prepared.prior.lattice, 2, Tiling(halo_strides=0)
    )
    key = NoiseKey(1, samples.GROUP.gcm, samples.GROUP.variant, 1)
    rain = MonthlyRain(monthly.rain, monthly.grid, record)
    how = prepared.recipe.sampling["conditional"]
    run = sample_tile(prepared.prior, plan.tile(1, 0, 0, 0), rain, key, how)
    (sample,) = (
        s
        for s in perfect.samples_of(prepared, truths)
        if (s.method, s.realization) == ("conditional", 1) and s.observed is truths[0]
    )
    month = sample.own_months[0]
    assert sample.there
    kept = np.load(sample.path(month, "open")) * np.load(sample.path(month, "factor"))
    np.testing.assert_array_equal(kept, run.rain)


def test_the_truth_is_observed_by_the_operator(once, tree, days):
    """One cell of the GCM, from the file, by hand: 5° cells are 2 × 2 halves and quarters."""
    (folder,) = (once / "work").glob("truth-2000-03-*")
    monthly = np.load(folder / "2000-03.monthly.npy")
    assert monthly.shape == (36, 72)
    grid = era5_grid(2.5)
    north, south = np.deg2rad(5.0), 0.0  # the row of the GCM from 5N to the equator
    edges = np.sin(np.deg2rad(grid.lat_bounds))
    rows = np.clip(
        np.minimum(edges[:, 0], np.sin(north)) - np.maximum(edges[:, 1], np.sin(south)), 0, None
    )
    columns = np.zeros(144)
    columns[:3] = 1.25, 2.5, 1.25  # 0 … 5E of cells centred on 0, 2.5 and 5E
    with xr.open_dataset(days, decode_times=False) as dataset:
        month = dataset.pr[59:90].values.astype(float).mean(axis=0)
    expected = rows @ month @ columns / rows.sum() / columns.sum()
    assert monthly[17, 0] == pytest.approx(expected, rel=1e-5)


class _Stopped(BaseException):
    pass


def _count(monkeypatch, stop_at=None):
    """Count the latents that are sampled, and stop at one of them."""
    calls = []
    real = samples.sample_latent

    def counted(prior, tile, monthly, key, how, device):
        if len(calls) == stop_at:
            raise _Stopped
        calls.append((how.guidance, how.context, key.realization))
        return real(prior, tile, monthly, key, how, device)

    monkeypatch.setattr(samples, "sample_latent", counted)
    return calls


def test_it_goes_on_where_it_was_stopped(desk, told, once, monkeypatch):
    with monkeypatch.context() as patch:
        first = _count(patch, stop_at=5)
        with pytest.raises(_Stopped):
            main(["evaluate", "evaluate.yaml"])
    with monkeypatch.context() as patch:
        rest = _count(patch)
        assert told()[0] == DONE
    assert (len(first), len(first) + len(rest)) == (5, 12)  # 3 methods × 2 months × 2
    for name in ("scores.json", "pooled.json", "table.txt"):
        assert (desk / "out" / name).read_bytes() == (once / name).read_bytes()


def test_only_what_a_setting_changes_is_sampled_again(desk, told, once, monkeypatch):
    shutil.copytree(once, "out")
    calls = _count(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in Path("out/work").rglob("*.npy")}
    assert told()[0] == DONE
    assert not calls
    assert told("realizations=3", "methods=[conditional, prior]")[0] == DONE
    assert calls == [("fast", True, 2), ("fast", True, 2), ("none", True, 2), ("none", True, 2)]
    calls.clear()
    assert told("observation.relative=0.1", "methods=[conditional, prior]")[0] == DONE
    assert {call[0] for call in calls} == {"fast"}
    calls.clear()
    assert told("seed=2", "methods=[conditional]")[0] == DONE
    assert len(calls) == 4
    assert all(path.stat().st_mtime_ns == then for path, then in before.items())  # nothing lost


def test_a_changed_truth_is_another_truth(desk, told, once, days, monkeypatch):
    shutil.copytree(once, "out")
    with xr.open_dataset(days, decode_times=False) as dataset:
        changed = dataset.load()
    changed["pr"][:31] *= 1.01  # January alone
    changed.to_netcdf("changed.nc", engine="netcdf4")
    calls = _count(monkeypatch)
    assert told("truth.path=changed.nc", "methods=[conditional, trilinear]")[0] == DONE
    assert len(calls) == 2


def test_two_tiles_and_consecutive_months(desk, told):
    """Regions come from the tile that sampled them; two months in a row are one record."""
    code, out, err = told(
        "truth.months=[2000-01,2000-02]", "tiling.degrees=20.0", "methods=[conditional, trilinear]"
    )
    assert code == DONE, err
    assert "8 region-months" in out
    scores = json.loads(Path("out/scores.json").read_text())
    assert scores["conditional"]["closure_after"]["p95"] < 1e-3
    assert len(list(Path("out/work").glob("truth-*"))) == 1


def test_the_same_with_ray(desk, told, once):
    assert told("engine.kind=ray", "engine.workers=2")[0] == DONE
    for name in ("scores.json", "pooled.json"):
        assert (desk / "out" / name).read_bytes() == (once / name).read_bytes()


def test_samples_given_up_make_it_incomplete(desk, told, monkeypatch):
    real = samples.sample_latent

    def broken(prior, tile, monthly, key, how, device):
        if key.realization == 1:
            raise ValueError("no")
        return real(prior, tile, monthly, key, how, device)

    monkeypatch.setattr(samples, "sample_latent", broken)
    code, out, _ = told("methods=[conditional]")
    assert code == INCOMPLETE
    assert "2 of 4 samples were given up" in out
    assert "the same command tries the rest again" in out
    assert not Path("out/scores.json").exists()


BAD = {
    "unknown key": (["realisations=3"], "realisations: unknown key; did you mean 'realizations'"),
    "unknown method": (["methods=[conditional, magic]"], "methods.1: expected"),
    "a method twice": (["methods=[prior, prior]"], "names one twice"),
    "one realization": (["realizations=1"], "realizations: expected"),
    "months out of order": (["truth.months=[2000-03,2000-01]"], "each month once, in order"),
    "months not there": (["truth.months=[2000-05]"], "2000-05 is not whole: 0 days in a row"),
    "half a month": (["truth.months=[1999-12]"], "other months (2000-01, 2000-02, 2000-03, "),
    "region too small": (["region.lat=[0, 15]"], "hold no square of scored=20"),
    "region empty": (["region.lat=[11, 12]"], "region: no cell centre has lat"),
    "scored no cells": (["scored=21.0"], "must be a multiple of the cells' 2.5"),
    "tile no squares": (["tiling.degrees=30.0"], "must be a multiple of scored=20"),
    "no grid": (["gcm={}"], "gcm: say either lat and lon"),
    "half a grid": (["gcm={lat: 10}"], "gcm: say either lat and lon"),
    "cells too large": (["gcm.degrees=60.0"], "gcm: no cell lies wholly inside the region"),
    "no such prior": (["prior=nowhere"], "cannot read nowhere/prior.json"),
    "no such data": (["truth.path=nowhere.nc"], "nowhere.nc: no such file"),
    "synthetic": (
        ["truth={kind: synthetic, seed: 601, months: [2001-01]}", "methods=[prior]"],
        "has cells of 0.25°",
    ),
    "no archive": (
        ["truth={kind: synthetic, seed: 6, months: [2001-01]}", "methods=[analogue]"],
        "archive.seeds: the method analogue needs",
    ),
    "its own archive": (
        ["truth={kind: synthetic, seed: 6, months: [2001-01]}", "methods=[analogue]",
         "archive.seeds=[5,6]"], "archive.seeds: 6 is the truth's own",
    ),
    "a file in the way": (["output=evaluate.yaml"], "output: evaluate.yaml cannot be a folder"),
    "a bucket": (["output=gs://b/x"], "output: gs://b/x is no folder"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_made(case, desk, told):
    overrides, message = BAD[case]
    code, _, err = told(*overrides)
    assert code == FAILED
    assert err.startswith("longwang evaluate: ")
    assert message in err
    assert "fault of ours" not in err
    assert os.listdir() == ["evaluate.yaml"]


def test_fast_guidance_needs_a_head(desk, told, headless):
    code, _, err = told(f"prior={headless}")
    assert (code, "choose detached" in err) == (FAILED, True)


def test_a_prior_without_context_has_no_unconditional_one(desk, told, monkeypatch):
    from longwang_ray.evaluation import perfect_plan

    class Deaf:
        context = 0

    real = perfect_plan.open_prior

    def deaf(name):
        prior = real(name)
        object.__setattr__(prior.denoiser, "config", Deaf())
        return prior

    monkeypatch.setattr(perfect_plan, "open_prior", deaf)
    code, _, err = told()
    assert (code, "is not told any context" in err) == (FAILED, True)


def test_data_on_other_cells_or_with_gaps(desk, told, days):
    with xr.open_dataset(days, decode_times=False) as dataset:
        part = dataset.sel(lat=slice(40, 0)).load()
        holes = dataset.load()
    part.to_netcdf("part.nc", engine="netcdf4")
    code, _, err = told("truth.path=part.nc")
    assert (code, "region: cells -20 … 17.5N" in err) == (FAILED, True)
    moved = part.assign_coords(lat=part.lat + 0.5)
    moved.to_netcdf("moved.nc", engine="netcdf4")
    code, _, err = told("truth.path=moved.nc", "region.lat=[0, 20]")
    assert (code, "are not all in the data" in err) == (FAILED, True)
    holes["pr"][3, 36, 0] = np.nan
    holes.to_netcdf("holes.nc", engine="netcdf4")
    code, _, err = told("truth.path=holes.nc")
    assert (code, "1 values of 2000-01 are absent inside the region" in err) == (FAILED, True)


def test_a_regional_dataset_observes_its_own_cells_alone(desk, told, days):
    with xr.open_dataset(days, decode_times=False) as dataset:
        dataset.sel(lat=slice(30, -32.5)).to_netcdf("belt.nc", engine="netcdf4")
    code, _, err = told("truth.path=belt.nc", "methods=[conditional, trilinear]")
    assert code == DONE, err
    (folder,) = Path("out/work").glob("truth-2000-01-*")
    known = np.isfinite(np.load(folder / "2000-01.monthly.npy"))
    lat = 87.5 - 5 * np.arange(36)
    assert known[(lat < 30) & (lat > -30)].all()
    assert not known[(lat > 32) | (lat < -34)].any()


def test_a_month_with_a_gap_stands_for_its_longest_run(desk, told, days):
    with xr.open_dataset(days, decode_times=False) as dataset:
        dataset.isel(time=[k for k in range(120) if k not in (9, 64)]).to_netcdf("gap.nc")
    code, _, err = told("truth.path=gap.nc")
    assert (code, "2000-01 is not whole: 21 days in a row of 31" in err) == (FAILED, True)
    code, _, err = told("truth.path=gap.nc", "truth.shortest=20", "methods=[trilinear, analogue]")
    assert code == DONE, err
    (folder,) = Path("out/work").glob("truth-2000-01-*")
    with xr.open_dataset(days, decode_times=False) as dataset:
        month = dataset.pr[10:31].sel(lat=slice(17.5, -20)).values
    kept = np.load(folder / "2000-01.npy")
    assert kept.shape == (21, 16, 16)
    np.testing.assert_array_equal(kept[..., 8:], month[..., :8])


def test_wrong_words(desk, capsys):
    for words in (["evaluate.yaml", "--group", "a/b/c"], ["out.zarr"], ["out.zarr", "a", "b"]):
        with pytest.raises(SystemExit) as end:
            main(["evaluate", *words])
        assert end.value.code == 2
        assert "usage: longwang evaluate" in capsys.readouterr().err
