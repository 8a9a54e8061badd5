"""Windows: anywhere they are allowed, across 0°E, with the context of their place and season."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from longwang_ray.domain.calendar import day_number, year_fraction
from longwang_ray.domain.grid import era5_grid
from longwang_ray.training.days import Box
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.windows import Part, Windows, longest_arc

GRID = era5_grid(5.0)
FIRST = day_number("noleap", 2001, 6, 1)
WINDOW = (2, 8, 8)


class Told:
    """Days whose rain says where it is: the index of the cell; days are told by ``day_of``."""

    calendar = "noleap"
    grid = GRID

    def __init__(self, box, numbers, missing=()):
        self.box, self.numbers, self.missing = box, np.asarray(numbers), missing
        rows = box.first_row + np.arange(box.n_rows)
        columns = (box.first_column + np.arange(box.n_columns)) % GRID.n_lon
        self.cells = (rows[:, None] * GRID.n_lon + columns).astype(np.float32)

    def field(self, day):
        return np.full_like(self.cells, np.nan) if day in self.missing else self.cells + day / 64


def everywhere(days):
    columns = np.zeros(GRID.n_lon, bool)
    box = days.box
    columns[(box.first_column + np.arange(box.n_columns)) % GRID.n_lon] = True
    return Part(np.ones(len(days.numbers), bool), columns)


def supply(days=3, box=None, numbers=None, missing=(), step=4):
    numbers = FIRST + np.arange(days) if numbers is None else numbers
    told = Told(box or Box.globe(GRID), numbers, missing)
    return Windows(told, (everywhere(told),), step)


def generator(seed=0):
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def cells(rain):
    """Rows, columns and days that a window's rain speaks of."""
    cell = np.floor(rain).astype(int)
    return cell // GRID.n_lon, cell % GRID.n_lon, np.round((rain - cell) * 64).astype(int)


def test_windows_cross_greenwich_in_one_piece():
    rain, context = supply().draw(generator(), 400, WINDOW)
    assert rain.shape == (400, 1, *WINDOW)
    _, columns, _ = cells(rain)
    assert (np.diff(columns, axis=-1) % GRID.n_lon == 1).all(), "neighbours on the circle"
    west = columns[:, 0, 0, 0, 0]
    assert (columns[:, 0, 0, 0, -1] < west).any(), "some of them cross"
    centre = np.deg2rad(GRID.lon[west] + 3.5 * 5.0)
    np.testing.assert_allclose(context[:, 1], np.sin(centre), atol=1e-6)
    np.testing.assert_allclose(context[:, 2], np.cos(centre), atol=1e-6)


def test_windows_stand_on_latent_cells_and_reach_both_edges():
    rain, context = supply().draw(generator(), 400, WINDOW)
    rows, columns, days = cells(rain[:, 0])
    assert (columns[:, 0, 0, 0] % 4 == 0).all()
    assert (rows[:, 0, 0, 0] % 4 == 0).all()
    assert rows.min() == 0
    assert rows.max() == GRID.n_lat - 1
    assert (np.diff(days[:, :, 0, 0], axis=1) == 1).all()
    centre = GRID.lat[rows[:, 0, :, 0]].mean(axis=1)
    np.testing.assert_allclose(context[:, 0], centre / 90, atol=1e-6)


def test_the_season_is_that_of_the_windows_middle():
    windows = supply()
    place = windows.place(generator(), WINDOW)
    season = 2 * np.pi * (year_fraction(windows.days.numbers[place.day] + 1, "noleap") + 0.5 / 12)
    np.testing.assert_allclose(place.context[3:], [np.sin(season), np.cos(season)], atol=1e-6)


def test_all_places_are_equally_likely():
    windows = supply(days=6, box=Box(0, 16, 0, 16, False))
    window = (2, 8, 8)
    assert windows.count(window) == 5 * 3 * 3
    found = [windows.place(generator(seed), window)[:3] for seed in range(2000)]
    places, counts = np.unique(found, axis=0, return_counts=True)
    assert len(places) == 45
    assert counts.min() > 2000 / 45 / 2
    assert counts.max() < 2000 / 45 * 2


def test_the_draws_of_a_step_are_pinned():
    """Checkpoints go on with the windows that they would have seen: these may never change."""
    found = [supply().place(generator(step), WINDOW)[:3] for step in range(3)]
    assert found == PINNED


PINNED = [(0, 0, 40), (0, 28, 24), (0, 28, 20)]


def test_the_same_seed_draws_the_same_windows():
    first, second = (supply().draw(generator(5), 3, WINDOW) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert not np.array_equal(first[0], supply().draw(generator(6), 3, WINDOW)[0])


def test_a_box_across_greenwich_has_two_ends():
    windows = supply(box=Box(8, 12, 66, 14, False))  # 330°E … 40°E
    rain, _ = windows.draw(generator(), 60, WINDOW)
    rows, columns, _ = cells(rain[:, 0])
    assert set(columns[:, 0, 0, 0]) == {68, 0}, "whole latent cells inside the box: 68 … 75, 0 … 7"
    assert set(rows[:, 0, 0, 0]) == {8, 12}


def test_windows_touch_only_days_and_columns_that_are_theirs():
    told = Told(Box.globe(GRID), FIRST + np.array([0, 1, 2, 3, 9, 10, 11]))
    days = np.array([True, True, False, True, True, True, True])
    columns = np.ones(GRID.n_lon, bool)
    columns[20:30] = False
    windows = Windows(told, (Part(days, columns),), 4)
    rain, _ = windows.draw(generator(), 200, WINDOW)
    _, x, d = cells(rain[:, 0])
    assert not (set(x.ravel()) & set(range(20, 30)))
    assert set(d[:, 0, 0, 0]) == {0, 4, 5}, "neither over the gap nor over a day of others"


def test_parts_are_drawn_in_proportion_to_their_windows():
    told = Told(Box.globe(GRID), FIRST + np.arange(4))
    columns = np.zeros(GRID.n_lon, bool)
    columns[:8] = True
    parts = (
        Part(np.array([True, True, False, False]), np.ones(GRID.n_lon, bool)),
        Part(np.array([False, False, True, True]), columns),
    )
    windows = Windows(told, parts, 4)
    assert windows.count(WINDOW) == 8 * (18 + 1)
    places = [windows.place(generator(seed), WINDOW) for seed in range(400)]
    second = [place for place in places if place.day == 2]
    assert 5 < len(second) < 50
    assert {place.column for place in second} == {0}


def test_windows_with_missing_values_are_drawn_again():
    windows = supply(days=6, missing={3})
    for seed in range(40):
        rain, _ = windows.one(generator(seed), WINDOW)
        assert np.isfinite(rain).all()
    with pytest.raises(TrainingError, match=re.escape(
        "100 windows of 2 days × 8 × 8 cells in a row have missing values; the last one in "
        "100 % of its cells, on 2 of its 2 days"
    )):  # fmt: skip
        supply(days=2, missing={0, 1}).one(generator(), WINDOW)


@pytest.mark.parametrize(
    ("windows", "match"),
    [
        (supply(days=1), "1 days, at most 1 in a row, and 72 columns side by side"),
        (supply(numbers=FIRST + np.arange(0, 12, 2)), "6 days, at most 1 in a row"),
        (supply(box=Box(0, 6, 0, 72, True)), "of a box of 6 rows and 72 columns"),
        (supply(box=Box(0, 36, 60, 7, False)), "and 7 columns side by side"),
        (supply(box=Box(0, 36, 61, 10, False)), "windows start at multiples of 4"),
    ],
)
def test_what_is_too_small_for_a_window_is_said(windows, match):
    for call in (windows.count, lambda window: windows.one(generator(), window)):
        with pytest.raises(TrainingError, match=f"no window of 2 days × 8 × 8 cells.*{match}"):
            call(WINDOW)


@settings(max_examples=60, deadline=None)
@given(
    numbers=st.lists(st.integers(0, 30), min_size=1, max_size=20, unique=True).map(sorted),
    chosen=st.lists(st.booleans(), min_size=20, max_size=20),
    allowed=st.lists(st.booleans(), min_size=72, max_size=72),
    window=st.tuples(st.integers(1, 4), st.integers(1, 36), st.integers(1, 6)),
)
def test_the_count_is_that_of_all_windows_one_by_one(numbers, chosen, allowed, window):
    told = Told(Box.globe(GRID), FIRST + np.array(numbers))
    part = Part(np.array(chosen[: len(numbers)]), np.array(allowed))
    days, rows, columns = window
    of = dict(zip(numbers, part.days, strict=True))
    starts = [n for n in numbers if all(of.get(n + k, False) for k in range(days))]
    tops = [i for i in range(0, 36, 2) if i + rows <= 36]
    wests = [j for j in range(0, 72, 2) if all(allowed[(j + k) % 72] for k in range(columns))]
    expected = len(starts) * len(tops) * len(wests)
    windows = Windows(told, (part,), 2)
    if not expected:
        with pytest.raises(TrainingError, match="no window of"):
            windows.count(window)
        return
    assert windows.count(window) == expected
    place = windows.place(generator(), window)
    assert numbers[place.day] in starts
    assert place.row in tops
    assert place.column in wests


def test_the_longest_arc_goes_round():
    assert longest_arc(np.array([1, 1, 0, 1, 1, 1], bool)) == 5
    assert longest_arc(np.ones(6, bool)) == 6
    assert longest_arc(np.zeros(6, bool)) == 0
