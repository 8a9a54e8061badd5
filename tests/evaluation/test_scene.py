"""What a region-month must be before anything is said of it."""

import numpy as np
import pytest

from longwang_ray.evaluation.scene import Scene
from tests.fakes.scenes import scene

DAYS = np.ones((3, 3, 4), dtype=np.float32)
LAT = np.array([60.0, 0.0, -60.0])


def make(truth=DAYS, **methods):
    return Scene("2001-01 34N 344E", 1, LAT, np.arange(4.0), truth, methods)


def test_the_region_is_the_name_without_its_month():
    assert make().region == "34N 344E"
    assert scene(seed=3).region == scene(seed=5).region


def test_cells_count_by_the_cosine_of_their_latitude():
    np.testing.assert_allclose(make().area, [[0.5], [1.0], [0.5]])


@pytest.mark.parametrize("rain", [DAYS, DAYS[None, :2], DAYS[None, :, :, :3], DAYS[None][:0]])
def test_a_method_has_the_truths_days_and_cells(rain):
    with pytest.raises(ValueError, match=r"2001-01 34N 344E: other is .* asked is"):
        make(other=rain)


def test_the_truth_has_the_cells_of_the_axes():
    with pytest.raises(ValueError, match=r"its cells are \(3, 4\)"):
        make(truth=DAYS[:, :, :3])


def test_two_rows_are_no_region():
    with pytest.raises(ValueError, match=r"\(2, 4\) cells are too few"):
        Scene("2001-01 34N 344E", 1, LAT[:2], np.arange(4.0), DAYS[:, :2], {})


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(value):
    bad = DAYS.copy()
    bad[1, 1, 1] = value
    with pytest.raises(ValueError, match="truth has values that are not finite"):
        make(truth=bad)
    with pytest.raises(ValueError, match="other has values that are not finite"):
        make(other=bad[None])
