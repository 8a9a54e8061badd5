"""How far a store is, by listing alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from longwang_ray.store import StoreError, create_store, seal, status


def test_from_nothing_to_everything(url, spec, kit):
    create_store(url, [spec])
    (empty,) = status(url)
    assert (empty.path, empty.done, empty.asked, empty.periods) == (spec.group.path, 0, 12, ())
    assert (empty.realizations, empty.intended_use) == (2, "demonstration")
    kit.write(url, spec, kit.pieces(spec)[1:])
    assert status(url)[0].done == 9
    kit.write(url, spec)
    seal(url)
    (full,) = status(url)
    assert (full.done, full.unsigned, full.rejected) == (12, 0, 0)
    assert full.periods == ("1960-11-01/1961-01-31",)


def test_what_needs_a_look_is_counted(url, spec, kit):
    create_store(url, [spec])
    kit.write(url, spec)
    (Path(url) / spec.group.path / "pr/receipts/0/0.0.0.json").unlink()
    other = kit.pieces(spec)[-1]
    kit.write(url, spec, [other], change=lambda shard, rain: rain + 1)
    (state,) = status(url)
    assert (state.done, state.unsigned, state.rejected) == (11, 1, 3)


def test_groups_that_are_not_there_yet(url, tmp_path, spec):
    with pytest.raises(StoreError, match="is not a store of longwang_ray"):
        status(str(tmp_path / "nothing.zarr"))
    create_store(url, [])
    assert status(url) == []
