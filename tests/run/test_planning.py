"""A plan says what fast guidance sees of a GCM's cells, and takes the halo of its prior."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from longwang_ray.run import describe_plan, plan_ensemble


def told(config):
    return [text for name, text in describe_plan(plan_ensemble(config)) if name == "observed"]


@pytest.fixture
def stating(bundle, tmp_path):
    """The tiny prior, whose card states how near its head is."""
    folder = tmp_path / "stating"
    folder.mkdir()
    for file in Path(bundle).iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    description = json.loads((folder / "prior.json").read_text())
    cells = {"2.5": {"error": 0.123, "bias": 0.0}, "10": {"error": 0.0456, "bias": 0.0}}
    description["halo"] = {"strides": 1, "months": 1}
    description["head_errors"] = {"days": 16, "cells": cells}
    (folder / "prior.json").write_text(json.dumps(description))
    return str(folder)


def fine_months(path, step):
    """A month on cells of ``step`` degrees."""
    lat, lon = np.arange(-90 + step / 2, 90, step), np.arange(0.0, 360, step)
    edges = xr.date_range("2000-01-01", periods=2, freq="MS", calendar="noleap", use_cftime=True)
    days = np.array([(edge - edges[0]).days for edge in edges], float)
    rain = np.full((1, len(lat), len(lon)), 1.0 / 86400)
    time = {"units": "days since 2000-01-01", "calendar": "noleap", "bounds": "time_bnds"}
    xr.Dataset(
        {
            "pr": (("time", "lat", "lon"), rain, {"units": "kg m-2 s-1"}),
            "time_bnds": (("time", "bnds"), np.stack([days[:-1], days[1:]], 1)),
        },
        coords={
            "time": ("time", (days[:-1] + days[1:]) / 2, time),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
        attrs={"source_id": "FINE"},
    ).to_netcdf(path, engine="netcdf4")
    return {"gcm": "FINE", "scenario": "historical", "variant": "r1i1p1f1", "path": str(path)}


def test_wide_cells_are_read_as_they_are(config, stating):
    (line,) = told(config(prior=stating))
    assert "monthly means on the GCM's 5° × 10° cells, read in cells of 5° × 5°" in line
    assert line.endswith("by about 12.3%"), "√50° is nearer to 10°, but those are larger"


def test_cells_finer_than_the_heads_are_seen_through_its_own(config, stating, tmp_path):
    (line,) = told(config(prior=stating, sources=[fine_months(tmp_path / "fine.nc", 3.0)]))
    assert "the GCM's 3° × 3° cells are finer than guidance sees" in line
    assert "means of the 5° × 5° cells that hold them" in line
    assert "by about 12.3%" in line


def test_what_was_not_measured_is_said_to_be_unknown(config):
    (line,) = told(config())
    assert "not measured" in line


def test_guidance_through_the_decoder_sees_the_cells_themselves(config):
    assert told(config(sampler={"steps": 1, "guidance": "detached"})) == []


def test_the_halo_is_the_priors_own_unless_one_is_asked(config, stating):
    def halo(tiling, **more):
        (group,) = plan_ensemble(config(tiling=tiling, **more)).plan.groups
        return group.tiling.halo_strides

    assert halo({}, prior=stating) == 1
    assert halo({"halo_strides": 3}, prior=stating) == 3
    assert halo({}) == 2, "nothing was measured on this prior"


def test_a_prior_that_does_not_know_its_estimates_says_how_to_mend_it(config, stating):
    """The tiny prior has a head and no tables; the demonstration prior has both."""
    said = dict(describe_plan(plan_ensemble(config(prior=stating))))
    assert "longwang train-head PRIOR --again" in said["guidance"]
    assert "guidance" not in dict(describe_plan(plan_ensemble(config(prior="demo"))))
    other = config(prior=stating, sampler={"steps": 2, "guidance": "detached"})
    assert "guidance" not in dict(describe_plan(plan_ensemble(other)))
