"""Whole runs on a tiny prior: what is added, what is kept, what a reader finds."""

from __future__ import annotations

import hashlib
import json
import warnings

import numpy as np
import pytest
import xarray as xr

from longwang_ray import open_ensemble, run_ensemble
from longwang_ray.run import Incomplete, execute, plan_ensemble, worker
from longwang_ray.run.ensemble import _explained
from longwang_ray.store import verify

GROUP = "TEST/historical/r1i1p1f1"


SEAM = 5e-3
"""What a GCM cell that two tiles share may miss; untrained, and with windows of few GCM cells."""


def sampled(config, tolerance=1e-3):
    """Run, and check the store."""
    summary = execute(config)
    assert summary.complete, summary.failed
    found = verify(config.output.path, tolerance=tolerance)
    assert found.ok, found.problems
    assert found.months > 0
    return summary


def test_a_finished_store_is_left_alone(config, shards):
    first = sampled(config())
    before = shards(first.store)
    assert (first.tiles, first.already, len(before)) == (4, 0, 4)
    again = sampled(config())
    assert (again.tiles, again.already) == (0, 4)
    assert "nothing was left to do" in again.lines()[-1]
    assert shards(again.store) == before


def test_realizations_and_periods_only_add(config, shards):
    few = config(months=3, realizations=1, period=["2000-01", "2000-01"])
    before = shards(sampled(few).store)
    assert len(before) == 1
    more = sampled(config(months=3, realizations=2, period=["2000-01", "2000-02"]))
    after = shards(more.store)
    assert (more.tiles, more.already, len(after)) == (3, 1, 4)
    assert {key: after[key] for key in before} == before
    whole = execute(config(name="whole", months=3))
    assert {key: shards(whole.store)[key] for key in after} == after
    # fewer than there are is complete, too: what others asked for is not this run's
    assert execute(few).complete


def test_what_an_earlier_run_still_wants_does_not_make_this_one_incomplete(config, tmp_path):
    plan = config(realizations=2)
    execute(plan)
    for receipt in (tmp_path / "out.zarr" / GROUP / "pr" / "receipts" / "1").glob("*"):
        receipt.unlink()
    summary = execute(config(realizations=1))
    assert summary.complete
    assert f"{GROUP}: 2 of 4 shards" in summary.lines()[0]


@pytest.mark.parametrize(
    ("calendar", "cells", "halo"),
    [("noleap", [8, 8], 2), ("360_day", None, 0), ("standard", None, 0)],
)
def test_months_of_any_calendar_over_shards_and_tiles(config, calendar, cells, halo):
    tiling = {"shards_per_tile": 2, "halo_strides": halo, "shard_cells": cells}
    made = config(months=3, calendar=calendar, realizations=1, tiling=tiling)
    summary = sampled(made, SEAM)
    days = {"noleap": 90, "360_day": 90, "standard": 91}[calendar]
    assert summary.tiles == (4 if cells else 2)  # two in time, and two in longitude
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with xr.open_zarr(summary.store, group=GROUP) as found:
            assert found.pr.dims == ("realization", "time", "lat", "lon")
            assert found.pr.shape == (1, days, 8, 16)
            assert found.time.dt.calendar in (calendar, "proleptic_gregorian")
            assert found.pr.notnull().all()
            assert (found.time.dt.month == 3).sum() == (30 if calendar == "360_day" else 31)


def test_two_tilings_tell_one_weather(config):
    one, two = (
        config(name, months=1, realizations=1, tiling={"halo_strides": 2, "shard_cells": cells})
        for name, cells in (("one", None), ("two", [8, 8]))
    )
    a, b = (open_ensemble(sampled(made, SEAM).store).pr.values for made in (one, two))
    assert np.abs(a - b).mean() <= 1e-3 * a.mean()


def test_what_a_reader_finds(config):
    made = config(realizations=1)
    store = sampled(made).store
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = xr.open_zarr(store, group=GROUP)
        tree = xr.open_datatree(store, engine="zarr")
    assert found.pr.attrs["units"] == "kg m-2 s-1"
    assert found.time.dt.calendar == "noleap"
    assert set(found.time.attrs) | set(found.time.encoding) >= {"bounds"}
    assert {"lat_bnds", "lon_bnds", "time_bnds"} <= set(found.variables)
    assert 0 < float(found.pr.mean()) * 86400 < 10
    assert np.allclose(np.diff(np.unwrap(found.lon.values, period=360)), 2.5)
    assert found.attrs["intended_use"] == "demonstration"
    assert found.attrs["source_tracking_id"] == "hdl:1/2"
    recipe = found.attrs["recipe"]
    assert hashlib.sha256(recipe.encode()).hexdigest() == found.attrs["recipe_sha256"]
    assert json.loads(recipe)["sampler"] == {"guidance": "fast", "steps": 1}
    monthly = tree[f"{GROUP}/monthly"]
    assert float(np.abs(monthly.closure_after).max()) < 1e-5
    assert float(np.abs(monthly.closure_before).max()) > float(np.abs(monthly.closure_after).max())
    found.close()
    tree.close()


def test_two_sources_in_one_run(config, write_months, tmp_path):
    historical = config().sources[0].model_dump()
    other = write_months(tmp_path / "other.nc", months=1, calendar="360_day", seed=1)
    sources = [historical, {**historical, "gcm": "OTHER", "path": other}]
    summary = sampled(config(sources=sources, realizations=1))
    assert [group.path for group in summary.groups] == [GROUP, "OTHER/historical/r1i1p1f1"]
    assert summary.tiles == 3
    one, two = (open_ensemble(summary.store, group.path) for group in summary.groups)
    assert not np.allclose(one.pr[:, :30], two.pr), "models do not share their weather"


def test_scenarios_share_their_noise(config):
    """The same months under two names: the same rain, bit for bit."""
    historical = config(months=1).sources[0].model_dump()
    sources = [historical, {**historical, "scenario": "G6sulfur"}]
    summary = sampled(config(months=1, sources=sources, realizations=1))
    one, two = (open_ensemble(summary.store, group.path).pr.values for group in summary.groups)
    assert np.array_equal(one, two)


@pytest.mark.parametrize("guidance", ["detached", "exact"])
def test_other_guidance_needs_no_head(config, headless, guidance):
    sampler = {"steps": 2, "guidance": guidance}
    sampled(config(months=1, realizations=1, sampler=sampler, prior=headless))


def test_the_whole_globe(config):
    summary = sampled(config(months=1, realizations=1, region=None))
    assert open_ensemble(summary.store).pr.shape == (1, 31, 72, 144)


def test_from_python_a_run_gives_its_dataset(config, write_months, tmp_path):
    """The first returns the opened group; of two sources, a tree of them."""
    made = config(realizations=1)
    rain = run_ensemble(made).pr
    assert rain.dims == ("realization", "time", "lat", "lon")
    assert rain.notnull().all()
    source = made.sources[0].model_dump()
    other = write_months(tmp_path / "other.nc", months=2, seed=1)
    sources = [source, {**source, "scenario": "ssp245", "path": other}]
    with run_ensemble(config(realizations=1, sources=sources)) as tree:
        change = tree["TEST/ssp245/r1i1p1f1"].pr - tree[GROUP].pr
        assert float(np.abs(change).max()) > 0


def test_from_python_what_was_given_up_is_an_error(config, monkeypatch):
    true = worker.TileWorker.__call__

    def failing(self, tile):
        if tile.key.endswith("r1.t0-0.y0.x0"):
            raise OSError("a hiccup")
        return true(self, tile)

    monkeypatch.setattr(worker.TileWorker, "__call__", failing)
    with pytest.raises(
        Incomplete, match=r"r1\.t0-0\.y0\.x0 was given up: OSError: a hiccup"
    ) as told:
        run_ensemble(config())
    assert told.value.summary.tiles == 3
    assert open_ensemble(told.value.summary.store).pr[0].notnull().all()


def test_a_worker_that_its_machine_stopped_for_memory_is_told_what_was_foreseen(config):
    prepared = plan_ensemble(config())
    said = _explained("its worker died (its machine ran out of memory)", prepared)
    assert "the plan foresaw" in said
    assert "lower tiling.shards_per_tile" in said
    assert _explained("ValueError: bad rain", prepared) == "ValueError: bad rain"
