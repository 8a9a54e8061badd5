"""Closing on every grid a GCM may have: finer or coarser than a latent cell, at 0°E and the poles.

On rain that rains everywhere a month is met to 1e-5 in float32 and the factors are smooth: across
the GCM's edges they change no more than a few times as fast as within cells.
"""

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.posterior.closure import LARGEST, close_month, interpolation
from longwang_ray.posterior.observation import ErrorModel, Observation, monthly_mean

FINE = era5_grid()
RECORD = month_record("360_day", "2001-02", 1)


def gaussian(n):
    """Centres of a Gaussian grid and columns of the same spacing, one of them on 0°E."""
    lat = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(n)[0]))
    return RectilinearGrid.from_centres(lat, np.arange(2 * n) * 180.0 / n)


def regular(step, first=0.0):
    lat = np.arange(90 - step / 2, -90, -step)
    return RectilinearGrid.from_centres(lat, first + np.arange(0, 360, step))


GCMS = {
    "0.5": regular(0.5, first=0.25),
    "1": regular(1.0),
    "2.5": regular(2.5),  # its first column is centred on 0°E
    "10": regular(10.0),
    "gaussian-fine": gaussian(96),
    "gaussian-coarse": gaussian(32),
}
BOXES = {
    "across": (np.arange(200, 360), np.arange(1360, 1520) % 1440),
    "north": (np.arange(0, 128), np.arange(1376, 1504) % 1440),
    "south": (np.arange(592, 720), np.arange(100, 228)),
}


class Month:
    """Rain everywhere, rough,, and its GCM cells."""

    def __init__(self, gcm, box):
        rows, columns = BOXES[box]
        self.gcm, days = GCMS[gcm], (RECORD.start, RECORD.stop)
        self.operator = monthly_mean(RECORD.months, days, FINE, rows, columns, self.gcm)
        self.smooth = interpolation(FINE, rows, columns, self.gcm)
        self.random = np.random.default_rng(0)
        noise = self.random.standard_normal((len(rows), len(columns)))
        for axis in (0, 1):
            noise = sum(np.roll(noise, k, axis) for k in range(-3, 4)) / 7**0.5
        self.mean = torch.from_numpy(3 * np.exp(0.5 * noise)).float()
        self.seen = self.operator.inside.numpy()
        self.before = self.means(self.mean)

    def means(self, rain):
        return (self.operator.lat @ rain @ self.operator.lon.T).numpy()

    def asked(self, size=0.1):
        """What is there, changed from GCM cell to GCM cell, a little smoothly."""
        change = self.random.standard_normal(self.before.shape)
        for axis in (0, 1):
            change = (np.roll(change, 1, axis) + change) / 2**0.5
        return self.before * np.exp(size * change)

    def close(self, y):
        observed = Observation.of(y[None].astype(np.float32), self.operator, ErrorModel())
        return close_month(self.mean, self.operator, self.smooth, observed)


@pytest.mark.parametrize("gcm", GCMS)
@pytest.mark.parametrize("box", BOXES)
def test_means_are_met_in_float32(gcm, box):
    month = Month(gcm, box)
    y = month.asked()
    closed = month.close(y)
    found = month.means(closed.factor.float() * month.mean)
    assert month.seen.sum() >= 4
    assert np.abs(found[month.seen] / y[month.seen] - 1).max() < 1e-5
    assert np.allclose(closed.after.numpy()[month.seen], y[month.seen], rtol=1e-5)


@pytest.mark.parametrize("gcm", ["2.5", "10", "gaussian-coarse"])
@pytest.mark.parametrize("box", ["across", "north", "south"])
def test_the_gcm_s_grid_is_not_drawn(gcm, box):
    """Jumps of the factor over the GCM's edges against those within its cells."""
    month = Month(gcm, box)
    y, rows = month.asked(), month.operator.lon.numpy()
    inside = month.seen.any(0)
    owner = rows[inside].argmax(0)
    own = rows[inside].max(0) > 0
    pairs = own[1:] & own[:-1]
    edge = owner[1:] != owner[:-1]
    seen = month.operator.lat.numpy()[month.seen.any(1)].max(0) > 0
    factor = month.close(y).factor.log().numpy()[seen]
    jumps = np.abs(np.diff(factor, axis=1)).mean(0)
    print(jumps[edge & pairs].mean() / jumps[~edge & pairs].mean())
    assert jumps[edge & pairs].mean() < 1.5 * jumps[~edge & pairs].mean()


def test_a_cell_over_the_meridian_is_one_cell():
    """The column centred on 0°E holds fine cells of both sides."""
    month = Month("2.5", "across")
    touched = BOXES["across"][1][month.operator.lon[0].numpy() > 0]
    assert {1436, 1439, 0, 4} <= set(touched.tolist())
    assert month.seen[:, 0].any()
    y = month.before.copy()
    y[:, 0] *= 1.2
    closed = month.close(y)
    assert np.allclose(closed.after.numpy()[month.seen], y[month.seen], rtol=1e-5)


@pytest.mark.parametrize("box", ["north", "south"])
def test_polar_rows_are_observed(box):
    month = Month("gaussian-coarse", box)
    order = np.argsort(month.gcm.lat)
    polar = order[-1] if box == "north" else order[0]
    assert month.seen[polar].any()
    assert month.close(month.asked()).factor.min() > 0


@pytest.mark.parametrize("gcm", ["1", "2.5", "10"])
def test_the_impossible_is_recorded(gcm):
    """A dry cell asked to be wet: it stays dry, its residual is told, others are met."""
    month = Month(gcm, "across")
    J, I = np.argwhere(month.seen)[month.seen.sum() // 2]  # noqa: E741 (the equation's names)
    mine = (month.operator.lat[J] > 0)[:, None] & (month.operator.lon[I] > 0)
    month.mean[mine] = 0.0
    y = month.means(month.mean)
    y[J, I] = 5.0
    closed = month.close(y)
    assert closed.after[J, I] == 0
    assert closed.conflict[J, I] > 100
    assert closed.factor.isfinite().all()
    assert closed.factor.max() <= LARGEST
    far = month.seen.copy()
    far[max(J - 2, 0) : J + 3, max(I - 2, 0) : I + 3] = False
    assert np.allclose(closed.after.numpy()[far], y[far], rtol=1e-3)
