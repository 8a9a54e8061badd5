"""A store's life: made, resumed, extended, refused, opened by any reader."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path

import cftime
import fsspec
import numpy as np
import pytest
import xarray as xr

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.store import (
    StoreError,
    create_store,
    finished,
    open_ensemble,
    recipe_hash,
    seal,
    status,
    verify,
)
from longwang_ray.store import ensemble as module
from longwang_ray.store.metadata import NODES, group_objects


def everything(url):
    return {p.relative_to(url): p.read_bytes() for p in Path(url).rglob("*") if p.is_file()}


def test_xarray_opens_it_as_cf_without_a_warning(url, spec, kit):
    assert create_store(url, [spec]) == {spec.group.path: "created"}
    kit.write(url, spec)
    with xr.open_zarr(url, group="CMCC-CM2-SR5/historical/r1i1p1f1") as data:
        assert data.pr.dims == ("realization", "time", "lat", "lon")
        assert data.pr.shape == (2, 92, 40, 48)
        assert data.pr.attrs["units"] == "kg m-2 s-1"
        assert data.pr.attrs["quantization_nsb"] == 9
        assert data.time.values[0] == cftime.DatetimeNoLeap(1960, 11, 1, 12)
        assert data.time_bnds.values[-1, 1] == cftime.DatetimeNoLeap(1961, 2, 1)
        assert list(data.realization.values) == [0, 1]
        assert (np.diff(data.lat) < 0).all()
        np.testing.assert_allclose(data.lon, 356 + 0.25 * np.arange(48))
        np.testing.assert_allclose(data.lon_bnds[0], [355.875, 356.125])
        assert data.attrs["intended_use"] == "demonstration"
        assert recipe_hash(json.loads(data.attrs["recipe"])) == data.attrs["recipe_sha256"]
        np.testing.assert_allclose(data.pr[1] * 86400, kit.rain_of(spec, 1), rtol=1e-3)
    with xr.open_datatree(url, engine="zarr") as tree:
        monthly = tree[f"{spec.group.path}/monthly"]
        assert monthly["observation"].dims == ("month", "gcm_lat", "gcm_lon")
        assert monthly["closure_after"].sizes["realization"] == 2
        assert monthly["month"].values[0] == cftime.DatetimeNoLeap(1960, 11, 16)
    assert open_ensemble(url).pr.shape == (2, 92, 40, 48)


@pytest.mark.parametrize("calendar", ["standard", "proleptic_gregorian", "360_day", "julian"])
def test_time_is_in_the_sources_calendar(url, kit, spec, calendar):
    record = month_record(calendar, "2000-02", 1)
    layout = Layout.of((record.start, record.stop), (300, 40), (1424, 48))
    observed = np.zeros((1, *spec.observation.shape[1:]), np.float32)
    other = replace(spec, record=record, layout=layout, observation=observed)
    create_store(url, [other])
    data = open_ensemble(url)
    assert data.sizes["time"] == (30 if calendar == "360_day" else 29)
    first = data.time[0]
    assert (first.dt.year, first.dt.month, first.dt.day) == (2000, 2, 1)


def test_resume_lists_only_what_is_missing(url, spec, kit):
    create_store(url, [spec])
    done, *rest = kit.pieces(spec)
    half = rest[0].shard_indices[:1]
    kit.write(url, spec, [done, replace(rest[0], shard_indices=half)])
    before = everything(url)
    assert create_store(url, [spec]) == {spec.group.path: "resumed"}
    assert everything(url) == before, "a resume writes nothing"
    assert list(kit.missing(url, kit.pieces(spec))) == rest
    assert finished(url, spec.group.path).sum() == 4
    kit.write(url, spec, kit.missing(url, kit.pieces(spec)))
    assert list(kit.missing(url, kit.pieces(spec))) == []


def test_another_recipe_is_refused_naming_each_difference(url, spec):
    create_store(url, [spec])
    before = everything(url)
    recipe = {**spec.recipe, "sampler": {"steps": 16, "guidance": "fast"}}
    layout = replace(spec.layout, shard=(32, 40, 48))
    with pytest.raises(StoreError) as caught:
        create_store(url, [replace(spec, recipe=recipe, layout=layout)])
    said = str(caught.value)
    assert "recipe.sampler.steps: the store has 8, now 16" in said
    assert 'recipe.sampler.guidance: the store has nothing, now "fast"' in said
    assert "layout.shard[1]" in said or "layout.shard" in said
    assert "seed" not in said
    assert everything(url) == before


def test_a_refusal_comes_before_anything_is_written(url, spec, kit):
    create_store(url, [spec])
    before = everything(url)
    new = replace(spec, group=Group("NorESM2", "ssp245", "r1i1p1f1"))
    with pytest.raises(StoreError):
        create_store(url, [new, replace(spec, recipe={"seed": 2})])
    assert everything(url) == before


def test_more_realizations_and_other_groups_only_add(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec)
    before = everything(url)
    more = replace(spec, realizations=1030)
    other = replace(spec, group=Group("NorESM2", "ssp245", "r1i1p1f1"))
    fates = create_store(url, [more, other])
    assert fates == {spec.group.path: "extended", other.group.path: "created"}
    after = everything(url)
    changed = {str(path) for path in before if after[path] != before[path]}
    assert all(name.endswith("zarr.json") for name in changed)
    with xr.open_datatree(url, engine="zarr") as tree:
        data = tree[spec.group.path]
        assert data.sizes["realization"] == 1030
        assert data.realization.values[-1] == 1029
        assert np.isfinite(data.pr[1]).all()
        assert np.isnan(data.pr[2]).all()
    with pytest.raises(StoreError, match=r"name one of its groups: CMCC.*, NorESM2"):
        open_ensemble(url)


def test_fewer_realizations_change_nothing(url, spec):
    create_store(url, [spec])
    before = everything(url)
    assert create_store(url, [replace(spec, realizations=1)])[spec.group.path] == "resumed"
    assert everything(url) == before


def test_a_longer_period_only_adds(url, spec, kit):
    early = replace(spec, shards=(0, 1))
    create_store(url, [early])
    kit.write(url, spec, [replace(p, shard_indices=p.shard_indices[:1]) for p in kit.pieces(spec)])
    (state,) = status(url)
    assert (state.asked, state.done) == (4, 4)
    (sealed,) = seal(url)
    assert sealed.complete
    assert sealed.periods == ("1960-11-01/1960-12-02",)
    assert create_store(url, [spec]) == {spec.group.path: "extended"}
    (state,) = status(url)
    assert (state.asked, state.done, state.intended_use) == (12, 4, "demonstration")
    assert not seal(url)[0].complete
    assert open_ensemble(url).attrs["time_coverage_end"] == "1960-12-02"


def test_a_creation_that_was_interrupted_is_completed(url, spec, monkeypatch):
    objects = list(group_objects(spec).items())
    with monkeypatch.context() as patch:
        patch.setattr(module, "group_objects", lambda _: dict(objects[:7]))
        create_store(url, [spec])
    with pytest.raises(StoreError, match="it has none"):
        open_ensemble(url)
    assert create_store(url, [spec]) == {spec.group.path: "created"}
    assert open_ensemble(url).pr.shape == (2, 92, 40, 48)


def test_temporary_files_are_swept_on_resume(url, spec):
    create_store(url, [spec])
    left = Path(url) / f".0~{socket.gethostname()}~{2**22 + 1}~ab.part"
    left.touch()
    create_store(url, [spec])
    assert not left.exists()


def test_other_peoples_files_are_left_alone(tmp_path, spec):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(StoreError, match="not a store of longwang_ray"):
        create_store(str(tmp_path), [spec])
    with pytest.raises(StoreError, match="is a file"):
        create_store(str(tmp_path / "thesis.tex"), [spec])
    with pytest.raises(StoreError, match="not a store of longwang_ray"):
        open_ensemble(str(tmp_path))
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_the_nodes_are_those_that_are_made(spec):
    made = {key.removesuffix("/zarr.json") for key in group_objects(spec) if "/zarr.json" in key}
    assert made == set(NODES)
    assert list(group_objects(spec))[-1] == "zarr.json"


def test_the_whole_life_in_a_bucket_like_memory(spec, kit):
    url = "memory://life/out.zarr"
    try:
        create_store(url, [spec])
        assert len(list(kit.missing(url, kit.pieces(spec)))) == 4
        kit.write(url, spec)
        assert list(kit.missing(url, kit.pieces(spec))) == []
        assert seal(url)[0].complete
        assert verify(url).ok
        assert np.isfinite(open_ensemble(url).pr).all()
    finally:
        fsspec.filesystem("memory").store.clear()
