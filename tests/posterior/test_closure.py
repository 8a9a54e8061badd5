"""Closing makes every GCM cell's mean its observation, smoothly, and forces nothing absurd."""

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.posterior.closure import LARGEST, close_month, interpolation
from longwang_ray.posterior.observation import ErrorModel, Observation, monthly_mean

FINE = era5_grid()
RECORD = month_record("noleap", "2001-06", 1)
GAUSSIAN = np.rad2deg(np.arcsin(np.polynomial.legendre.leggauss(96)[0]))
GCMS = {
    "0.5": RectilinearGrid.from_centres(np.arange(89.75, -90, -0.5), np.arange(0.25, 360, 0.5)),
    "1.25": RectilinearGrid.from_centres(np.linspace(90, -90, 192), np.arange(0, 360, 1.25)),
    "2.5": RectilinearGrid.from_centres(np.linspace(90, -90, 73), np.arange(0, 360, 2.5)),
    "10": RectilinearGrid.from_centres(np.arange(85, -90, -10.0), np.arange(0.0, 360, 10)),
    "gaussian": RectilinearGrid.from_centres(GAUSSIAN, np.arange(0, 360, 1.875)),
}
BOXES = {
    "across": (np.arange(200, 320), np.arange(1380, 1500) % 1440),
    "pole": (np.arange(0, 96), np.arange(100, 220)),
}


class Month:
    """A rough, partly dry mean month on a box, and everything to close it with."""

    def __init__(self, gcm, box, dry=0.0, seed=0):
        rows, columns = BOXES[box]
        self.gcm = GCMS[gcm]
        days = (RECORD.start, RECORD.stop)
        self.operator = monthly_mean(RECORD.months, days, FINE, rows, columns, self.gcm)
        self.interpolate = interpolation(FINE, rows, columns, self.gcm)
        self.random = np.random.default_rng(seed)
        log = self.rough((len(rows), len(columns)))
        self.mean = torch.from_numpy(np.exp(1.2 * log).astype(np.float32))
        self.mean[torch.from_numpy(self.rough(log.shape) < np.quantile(log, dry) - 1e-9)] = 0

    def rough(self, shape):
        k = np.hypot(np.fft.fftfreq(shape[0])[:, None], np.fft.rfftfreq(shape[1])[None])
        k[0, 0] = 1
        phase = np.exp(2j * np.pi * self.random.random(k.shape))
        field = np.fft.irfft2(phase * k**-1.4, shape)
        return (field - field.mean()) / field.std()

    @property
    def before(self):
        return (self.operator.lat @ self.mean @ self.operator.lon.T).numpy()

    def observed(self, y):
        return Observation.of(y[None].astype(np.float32), self.operator, ErrorModel())

    def perturbed(self, amount=0.3):
        return self.before * np.exp(amount * self.random.standard_normal(self.before.shape))

    def close(self, y):
        return close_month(self.mean, self.operator, self.interpolate, self.observed(y))


@pytest.mark.parametrize("gcm", GCMS)
@pytest.mark.parametrize("box", BOXES)
def test_means_equal_the_observation(gcm, box):
    month = Month(gcm, box)
    y, inside = month.perturbed(), month.operator.inside.numpy()
    closed = month.close(y)
    assert inside.sum() >= 4
    assert np.allclose(closed.after.numpy()[inside], y[inside], rtol=1e-5)
    rain = closed.factor.float() * month.mean  # as it is applied: in float32
    means = (month.operator.lat @ rain @ month.operator.lon.T).numpy()
    assert np.allclose(means[inside], y[inside], rtol=1e-5)
    assert closed.after[~month.operator.inside].isnan().all()


@pytest.mark.parametrize("gcm", ["1.25", "2.5", "gaussian"])
def test_dry_months_stay_bounded(gcm):
    """Dry patches and dry observations: nearly all cells are met, nothing runs away."""
    month = Month(gcm, "across", dry=0.25)
    y = month.perturbed(0.5)
    y[month.random.random(y.shape) < 0.1] = 0.0
    closed = month.close(y)
    assert closed.factor.isfinite().all()
    assert 0 <= closed.factor.min() <= closed.factor.max() <= LARGEST
    seen = month.operator.inside.numpy() & (month.before > 0)
    away = np.abs(closed.after.numpy() - y)[seen] / np.maximum(y[seen], 0.1)
    assert (away < 1e-3).mean() > 0.93
    assert np.median(away) < 1e-5


def test_nothing_to_close():
    month = Month("2.5", "across")
    closed = month.close(month.before)
    assert torch.allclose(closed.factor, torch.ones(()).double(), atol=1e-6)
    assert closed.conflict[month.operator.inside].max() < 1e-9


def test_zero_observation():
    month = Month("2.5", "across")
    y = month.before.copy()
    J, I = np.argwhere(month.operator.inside.numpy())[20]  # noqa: E741 (the equation's names)
    y[J, I] = 0.0
    closed = month.close(y)
    assert closed.after[J, I] < 1e-5
    others = month.operator.inside.numpy() & (y > 0)
    assert np.allclose(closed.after.numpy()[others], y[others], rtol=1e-4)


def test_no_rain_is_recorded_not_forced():
    month = Month("2.5", "across")
    J, I = np.argwhere(month.operator.inside.numpy())[20]  # noqa: E741
    mine = (month.operator.lat[J] > 0)[:, None] & (month.operator.lon[I] > 0)
    month.mean[mine] = 0.0
    y = np.full(month.gcm.shape, 2.0)
    closed = month.close(y)
    assert closed.before[J, I] == closed.after[J, I] == 0
    assert closed.conflict[J, I] == pytest.approx((2.0 / 0.12) ** 2), "std = 0.05 y + 0.02"
    assert ((closed.factor * month.mean)[mine] == 0).all()
    assert closed.factor.isfinite().all()


def test_a_trace_does_not_bring_a_whole_month():
    month = Month("2.5", "across")
    J, I = np.argwhere(month.operator.inside.numpy())[20]  # noqa: E741
    mine = (month.operator.lat[J] > 0)[:, None] & (month.operator.lon[I] > 0)
    month.mean[mine] = 1e-6
    closed = month.close(np.full(month.gcm.shape, 2.0))
    assert (closed.factor * month.mean)[mine].max() < 1e-4
    assert closed.after[J, I] < 1.0


def test_masked_cells_are_left_alone():
    month = Month("2.5", "across")
    y = month.perturbed()
    J, I = np.argwhere(month.operator.inside.numpy())[20]  # noqa: E741
    y[J, I] = np.nan
    closed = month.close(y)
    assert closed.factor.isfinite().all()
    assert closed.after[J, I].isnan()
    assert closed.conflict[J, I].isnan()
    others = month.operator.inside.numpy() & np.isfinite(y)
    assert np.allclose(closed.after.numpy()[others], y[others], rtol=1e-5)


@pytest.mark.parametrize("gcm", ["1.25", "2.5"])
def test_no_step_at_the_edges_of_gcm_cells(gcm):
    """Neighbouring factors differ no more across an edge than within a cell."""
    month = Month(gcm, "across")
    far = month.rough(month.before.shape)
    closed = month.close(month.before * np.exp(0.2 * far / np.abs(far).max()))
    step = torch.diff(closed.factor.log(), dim=1).abs()
    owner = month.operator.lon.argmax(0)
    edge = owner[1:] != owner[:-1]
    assert step[:, edge].mean() < 1.5 * step[:, ~edge].mean()
    assert step.max() < 0.05


def test_interpolation_between_centres():
    gcm = GCMS["10"]
    columns, rows = np.arange(1380, 1500) % 1440, np.arange(720)
    smooth = interpolation(FINE, rows, columns, gcm)
    for weights in (smooth.lat, smooth.lon):
        assert (weights >= 0).all()
        assert torch.allclose(weights.sum(1), torch.ones(()).double())
    lat = smooth(torch.from_numpy(np.repeat(gcm.lat[:, None], gcm.n_lon, 1)))[:, 0].numpy()
    within = np.abs(FINE.lat) <= 85
    assert np.allclose(lat[within], FINE.lat[within])
    assert np.allclose(lat[~within], np.sign(FINE.lat[~within]) * 85)
    wave = torch.from_numpy(np.cos(np.deg2rad(gcm.lon)))[None].expand(gcm.n_lat, -1)
    exact = np.cos(np.deg2rad(FINE.lon[columns]))
    assert np.abs(smooth(wave)[0].numpy() - exact).max() < 0.005  # no jump at 0°E
