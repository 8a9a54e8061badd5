"""Days are made once, together with those of their piece, and kept whole or not at all."""

import threading
import time

import numpy as np
import pytest

from longwang_ray.domain.calendar import day_number
from longwang_ray.domain.grid import era5_grid
from longwang_ray.training.days import Box, DayStack, KeptDays, digest_of

GRID = era5_grid(30.0)
FIRST = day_number("noleap", 2001, 2, 27)


class Maker:
    """Makes fields that say which day they are, and counts how often."""

    def __init__(self, slow=0.0):
        self.calls, self.slow = [], slow

    def __call__(self, first, stop):
        self.calls.append((first, stop))
        time.sleep(self.slow)
        for day in range(first, stop):
            yield np.full(GRID.shape, day, np.float32)


@pytest.fixture
def kept(tmp_path):
    def make(maker, pieces=(0, 0, 0, 4, 4)):
        numbers = FIRST + np.arange(len(pieces))
        box = Box.globe(GRID)
        return KeptDays(GRID, box, numbers, "noleap", tmp_path / "days", maker, np.array(pieces))

    return make


def test_a_day_is_made_when_it_is_needed_and_with_its_piece(kept):
    maker = Maker()
    days = kept(maker)
    assert not days.folder.exists()
    assert days.field(1).tolist() == np.full(GRID.shape, 1).tolist()
    assert maker.calls == [(0, 3)]
    names = {file.name for file in days.folder.iterdir()}
    assert names == {f"{FIRST + day}.npy" for day in range(3)}
    assert np.array_equal(np.load(days.file(1)), days.field(1)), "a file that anyone can read"
    days.field(0), days.field(2)
    assert maker.calls == [(0, 3)]
    assert days.field(4).dtype == np.float16
    assert maker.calls == [(0, 3), (3, 5)]
    again = kept(Maker())
    again.field(3)
    assert again.make.calls == [], "the next process finds them"


def test_many_threads_make_a_piece_once(kept):
    maker = Maker(slow=0.05)
    days = kept(maker)
    found = []
    threads = [
        threading.Thread(target=lambda d=d: found.append(int(days.field(d % 5)[0, 0]) == d % 5))
        for d in range(20)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 20
    assert sorted(maker.calls) == [(0, 3), (3, 5)]


def test_days_may_be_kept_ahead(kept):
    maker = Maker()
    days = kept(maker)
    days.keep([0, 1, 4])
    assert sorted(maker.calls) == [(0, 3), (3, 5)]
    days.keep(range(5))
    assert len(maker.calls) == 2


def test_a_piece_that_fails_leaves_no_day_behind(kept):
    class Torn(Maker):
        def __call__(self, first, stop):
            yield from super().__call__(first, first + 1)
            raise OSError("line cut")

    days = kept(Torn())
    with pytest.raises(OSError, match="line cut"):
        days.field(2)
    assert not days.file(2).exists()
    assert not list(days.folder.glob("*.part"))
    whole = kept(Maker())
    assert whole.field(2)[0, 0] == 2, "and the next one mends it"


def test_fields_are_kept_row_by_row_however_they_come(kept):
    told = np.arange(GRID.n_lat * GRID.n_lon).reshape(GRID.shape)

    def make(first, stop):
        return [np.asfortranarray(told) for _ in range(first, stop)]

    days = kept(make)
    assert days.field(0).tolist() == told.tolist()
    np.save(days.file(0), np.asfortranarray(told).astype(np.float16))
    with pytest.raises(ValueError, match="a kept day is not as it was written"):
        days.field(0)


def test_missing_values_stay_missing(kept):
    def make(first, stop):
        return np.full((stop - first, *GRID.shape), np.nan, np.float32)

    assert np.isnan(kept(make).field(0)).all()


def test_a_stack_reads_only_what_is_sliced(kept):
    maker = Maker()
    days = kept(maker)
    stack = DayStack(days, 1, np.arange(4, 7), (3, GRID.n_lat, 3))
    assert len(stack) == stack.shape[0] == 3
    assert stack[0].shape == (GRID.n_lat, 3)
    assert stack[0, 2:4, 1].tolist() == [1, 1]
    assert maker.calls == [(0, 3)], "the other piece isn't touched"
    assert stack[1:, :2].shape == (2, 2, 3)
    assert stack[-1, 0, 0] == 3
    assert np.asarray(stack, np.float32).mean() == 2


def test_a_boxs_whole_latent_cells():
    assert Box(232, 368, 961, 399, False).inside(4) == Box(232, 368, 964, 396, False)
    assert Box(1, 2, 1, 2, False).inside(4).n_rows == 0
    globe = Box.globe(era5_grid())
    assert globe.inside(4) == globe


def test_digests_tell_sources_apart():
    assert digest_of("a", 1) == digest_of("a", 1)
    assert digest_of("a", 1) != digest_of("a", 2)
    assert len(digest_of("a")) == 12
