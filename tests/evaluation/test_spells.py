"""Spells of hand-written series."""

import numpy as np
import pytest

from longwang_ray.evaluation.spells import LONGEST, Spells


def series(text):
    """Days of one cell: ``w`` is wet, ``.`` is not; shape ``(day, 1, 1)``."""
    return np.array([5.0 if day == "w" else 0.5 for day in text])[:, None, None]


def lengths(counts):
    return {length + 1: int(n) for length, n in enumerate(counts) if n}


def test_a_series_by_hand():
    found = Spells.of(series("ww..w...w.wwww"))
    assert lengths(found.wet) == {1: 2, 2: 1, 4: 1}
    assert lengths(found.dry) == {1: 1, 2: 1, 3: 1}
    dry, wet = found.mean()
    assert (dry, wet) == (2, 2)


def test_cells_and_realizations_are_counted_each():
    rain = np.concatenate([series("ww.w"), series("...w")], axis=2)[None].repeat(3, axis=0)
    found = Spells.of(rain)
    assert lengths(found.wet) == {1: 6, 2: 3}
    assert lengths(found.dry) == {1: 3, 3: 3}


def test_every_day_is_in_one_spell():
    rain = np.random.default_rng(1).gamma(0.4, 5, (3, LONGEST, 6, 7))
    found = Spells.of(rain)
    assert (found.dry + found.wet) @ np.arange(1, LONGEST + 1) == rain.size


def test_a_whole_month_is_one_spell():
    found = Spells.of(np.zeros((31, 2, 2)))
    assert lengths(found.dry) == {31: 4}
    assert np.isnan(found.mean()[1])


def test_shares_of_spells_that_last():
    dry, wet = Spells.of(series("w.ww.www")).at_least()
    assert wet[:4] == pytest.approx([1, 2 / 3, 1 / 3, 0])
    assert dry[:2].tolist() == [1, 0]


def test_more_than_a_month_is_refused():
    with pytest.raises(ValueError, match="found 32 days"):
        Spells.of(np.zeros((32, 1, 1)))
