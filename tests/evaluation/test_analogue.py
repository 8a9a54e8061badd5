"""The analogue baseline: real days, scaled smoothly to the GCM's month."""

import numpy as np
import pytest

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.evaluation.analogue import LARGEST, analogue
from longwang_ray.posterior.closure import interpolation
from longwang_ray.posterior.observation import monthly_mean
from tests.fakes.scenes import showers

FINE = era5_grid(0.25)
ROWS, COLUMNS = np.arange(200, 232), np.arange(100, 132)  # 40 … 32.25°N, 25 … 32.75°E
GCM = RectilinearGrid.from_centres(np.arange(-88, 89, 4.0), np.arange(0, 360, 4.0))
MONTHS = month_record("noleap", "2001-01", 1)
OPERATOR = monthly_mean(MONTHS.months, (MONTHS.start, MONTHS.stop), FINE, ROWS, COLUMNS, GCM)
SPREAD = interpolation(FINE, ROWS, COLUMNS, GCM)
TOUCHED = np.outer(OPERATOR.lat.numpy().any(axis=1), OPERATOR.lon.numpy().any(axis=1))


@pytest.fixture(scope="module")
def archive():
    return 1 + showers(np.random.default_rng(1), 30, 32, 32, width=2)


def means(rain):
    """Of the month, on the GCM's cells."""
    return OPERATOR.lat.numpy() @ rain.mean(axis=0) @ OPERATOR.lon.numpy().T


def test_a_month_that_is_the_archives_gives_its_days(archive):
    found = analogue(archive, means(archive), OPERATOR, SPREAD)
    np.testing.assert_allclose(found, archive, rtol=1e-5)


def test_three_times_the_month_is_three_times_its_days(archive):
    found = analogue(archive, 3 * means(archive), OPERATOR, SPREAD)
    np.testing.assert_allclose(found, 3 * archive, rtol=1e-5)
    assert found.dtype == np.float32


def test_the_month_is_met_nearly(archive):
    y = means(archive) * np.random.default_rng(2).uniform(0.6, 1.6, TOUCHED.shape)
    inside = OPERATOR.inside.numpy()
    before = np.abs(means(archive) - y)[inside].mean()
    after = np.abs(means(analogue(archive, y, OPERATOR, SPREAD)) - y)[inside].mean()
    assert inside.sum() >= 1
    assert after < 0.5 * before


def test_the_grid_of_the_gcm_is_not_drawn(archive):
    y = means(archive)
    y[:, ::2] *= 2
    factor = (analogue(archive, y, OPERATOR, SPREAD) / archive)[0]
    assert factor.max() / factor.min() > 1.8
    assert np.abs(np.diff(factor, axis=1)).max() < 1.01 / 16  # from 1 to 2 over the 16 cells of 4°


@pytest.mark.parametrize(("asked", "factor"), [(1000, LARGEST), (0, 1 / LARGEST)])
def test_the_factor_is_capped(archive, asked, factor):
    found = analogue(archive, np.full(TOUCHED.shape, asked), OPERATOR, SPREAD)
    np.testing.assert_allclose(found, factor * archive, rtol=1e-5)


def test_a_dry_archive_stays_dry(archive):
    found = analogue(np.zeros_like(archive), np.full(TOUCHED.shape, 2.0), OPERATOR, SPREAD)
    assert not found.any()


def test_where_the_gcm_is_masked_the_nearest_cell_speaks(archive):
    y = 2 * means(archive)
    first = tuple(np.argwhere(TOUCHED)[0])
    y[first] = np.nan
    np.testing.assert_allclose(analogue(archive, y, OPERATOR, SPREAD), 2 * archive, rtol=1e-5)
    nothing = np.full(TOUCHED.shape, np.nan)
    np.testing.assert_array_equal(analogue(archive, nothing, OPERATOR, SPREAD), archive)


def test_y_has_the_gcms_cells(archive):
    with pytest.raises(ValueError, match=r"the operator's GCM has \(45, 90\)"):
        analogue(archive, np.ones((2, 2)), OPERATOR, SPREAD)
