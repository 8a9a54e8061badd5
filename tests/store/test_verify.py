"""Whatever is wrong with a store is named; what is right passes, computed from the bytes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from longwang_ray.store import Ledger, ShardWriter, create_store, seal, status, verify


@pytest.fixture
def store(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec)
    return Path(url) / spec.group.path


def problems(url):
    return [str(problem) for problem in verify(url).problems]


def test_a_sound_store_passes(url, store):
    found = verify(url)
    assert found.ok
    assert found.shards == 12
    assert found.months > 0
    assert 0 < found.closure < 4e-4
    assert (found.unmet, found.rejected) == (0, 0)


@pytest.mark.parametrize("harm", ["flip", "truncate", "delete"])
def test_a_harmed_shard_is_named(url, store, harm):
    path = store / "pr/c/1/2/0/0"
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    if harm == "delete":
        path.unlink()
    else:
        path.write_bytes(data if harm == "flip" else data[:-10])
    said = problems(url)
    assert len(said) == 1
    assert "pr/c/1/2/0/0" in said[0]
    assert ("missing" if harm == "delete" else "corrupt") in said[0]


def test_a_shard_that_never_came_is_named(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec, kit.pieces(spec)[1:])
    assert [line.split(": ")[1] for line in problems(url)] == ["missing"] * 3


def test_an_unsigned_shard_is_named_and_counted(url, store):
    (store / "pr/receipts/0/0.0.0.json").unlink()
    assert "no receipt" in problems(url)[0]
    (state,) = status(url)
    assert (state.done, state.unsigned) == (11, 1)


def test_a_changed_recipe_is_named(url, store):
    path = store / "zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["recipe"] = document["attributes"]["recipe"].replace("8", "9")
    path.write_text(json.dumps(document))
    assert "recipe" in problems(url)[0]


def test_rain_that_misses_the_observation_is_named(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec, change=lambda shard, rain: rain * (1.01 if shard[0] else 1))
    found = verify(url)
    assert {p.where.split()[2] for p in found.problems} == {"1"}
    assert found.closure == pytest.approx(0.01, rel=0.1)
    assert len(found.problems) == 3


def test_a_dry_cell_under_an_observation_is_told_not_failed(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec, change=lambda shard, rain: rain * 0)
    found = verify(url)
    assert found.ok
    assert found.unmet == found.months > 0


def test_a_rejected_shard_is_counted(url, spec, store, kit):
    kit.write(url, spec, kit.pieces(spec)[:1], change=lambda shard, rain: rain * 2)
    assert status(url)[0].rejected == 3
    found = verify(url)
    assert found.ok
    assert found.rejected == 3


def ledger(months, rows, columns, share, after, realization=0, factor=1.3):
    shape = (len(months), len(rows), len(columns))
    return Ledger(
        realization,
        np.array(months),
        np.array(rows),
        np.array(columns),
        np.full(shape, share, np.float32),
        {
            "closure_before": np.full(shape, 0.3, np.float32),
            "closure_after": np.full(shape, after, np.float32),
            "closure_factor": np.full(shape, factor, np.float32),
        },
    )


def test_ledgers_are_joined_by_share_whoever_came_first(url, spec, store):
    with ShardWriter(url) as writer:
        writer.put_ledger(spec.group, "b", ledger([0, 1], [5, 6], [7], 0.2, 1e-5))
        writer.put_ledger(spec.group, "a", ledger([1, 2], [6], [7, 143], 0.8, 2e-5, factor=0.9))
        assert not writer.put_ledger(spec.group, "a", ledger([1, 2], [6], [7], 0.9, 1))
    (sealed,) = seal(url)
    expected = {"closure_before": 0.3, "closure_after": 2e-5, "closure_factor": 1.3}
    assert sealed.worst == pytest.approx(expected)
    assert sealed.mild == pytest.approx(4 / 7)  # the second's factors, where its share is larger
    monthly = open_ensemble_monthly(url, spec)
    after = monthly.closure_after[0].values
    assert after[0, 5, 7] == after[1, 5, 7] == np.float32(1e-5)
    assert after[1, 6, 7] == after[2, 6, 143] == np.float32(2e-5)
    assert np.isfinite(after).sum() == 7
    assert np.isnan(monthly.conflict).all()
    before = (store / "zarr.json").read_bytes()
    seal(url)
    assert (store / "zarr.json").read_bytes() == before, "sealing again changes nothing"


def open_ensemble_monthly(url, spec):
    return xr.open_zarr(url, group=f"{spec.group.path}/monthly")


def test_what_the_ledger_records_as_unmet_is_told_and_must_be_true(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec, change=lambda shard, rain: rain * 1.05)
    inside = np.argwhere(np.isfinite(spec.observation[0]))
    rows, columns = np.unique(inside[:, 0]), np.unique(inside[:, 1])
    with ShardWriter(url) as writer:
        writer.put_ledger(spec.group, "a", ledger([0, 1, 2], rows, columns, 1, 0.05))
        writer.put_ledger(spec.group, "b", ledger([0, 1, 2], rows, columns, 1, 0.02, 1))
    seal(url)
    found = verify(url)
    assert {p.where.split()[2] for p in found.problems} == {"1"}, "0 is as recorded, 1 is worse"
    assert found.unmet == found.months


def test_a_ledger_is_cut_from_whole_grids(url, spec, store):
    after = np.full((2, 45, 144), np.nan, np.float32)
    after[0, 3, 143], after[1, 5, 0] = 1e-5, 2e-5
    cut = Ledger.from_grids(1, [1, 2], {"closure_after": after})
    assert (cut.rows.tolist(), cut.columns.tolist()) == ([3, 5], [0, 143])
    assert cut.share.sum() == 2
    nothing = Ledger.from_grids(1, [0], {"closure_after": after[:1] * np.nan})
    with ShardWriter(url) as writer:
        assert writer.put_ledger(spec.group, "t", cut)
        assert not writer.put_ledger(spec.group, "u", nothing)
    seal(url)
    joined = open_ensemble_monthly(url, spec).closure_after.values
    np.testing.assert_array_equal(joined[1, 1:], after)
    assert np.isnan(joined[0]).all()


def test_an_unknown_ledger_field_is_refused():
    with pytest.raises(Exception, match="unknown"):
        Ledger(0, *(np.zeros(1, int),) * 3, np.ones((1, 1, 1)), {"wishes": np.ones((1, 1, 1))})


@pytest.mark.parametrize("how", ["torn", "gone"])
@pytest.mark.parametrize(
    "name",
    [
        *("zarr.json", "pr/zarr.json", "lat/zarr.json", "lat/c/0", "time_bnds/c/0/0"),
        *("monthly/zarr.json", "monthly/gcm_lon/c/0", "monthly/observation/zarr.json"),
    ],
)
def test_what_is_harmed_beside_the_rain_is_named_once(url, store, name, how):
    path = store / name
    if how == "gone":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:20])
    (said,) = problems(url)
    assert said.startswith(str(path.relative_to(url)).rsplit("/0", 1)[0].removesuffix("/0"))
    assert ("corrupt" if how == "torn" else "missing") in said


def test_a_torn_root_and_a_torn_monthly_chunk_are_named(url, spec, store):
    with ShardWriter(url) as writer:
        writer.put_ledger(spec.group, "b", ledger([0, 1], [5, 6], [7], 0.2, 1e-5))
    seal(url)
    assert verify(url).ok
    chunk = store / "monthly/closure_after/c/0/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-9])
    (said,) = problems(url)
    assert said.startswith(f"{spec.group.path}/monthly/closure_after/c/0/0/0/0: corrupt")
    (Path(url) / "zarr.json").write_text('{"zarr_format": 3, "attr')
    (said,) = problems(url)
    assert said.startswith("zarr.json: corrupt")


def test_a_coordinate_that_is_out_of_order_is_named(url, spec, store):
    import zarr

    lat = zarr.open_array(url, path=f"{spec.group.path}/lat", mode="r+")
    lat[3] = lat[9]
    (said,) = problems(url)
    assert said == f"{spec.group.path}/lat/c/0: corrupt: its values are not finite or not in order"
