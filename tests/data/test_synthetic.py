"""The synthetic Earth rains as rain does: rarely, heavily, in scales, moving, by season."""

import numpy as np
import pytest
import torch

from longwang_ray.data import synthetic
from longwang_ray.data.synthetic import SyntheticEarth, climate, synthetic_month
from longwang_ray.domain.grid import era5_grid, rows_in

GRID = era5_grid()
AREA = GRID.areas()


@pytest.fixture(scope="module")
def days():
    """Six days of January."""
    return np.stack(list(SyntheticEarth(4).days(10, 6)))


def share(where):
    return float((AREA * where).sum() / where.shape[0])


def spectrum(fields, n=128):
    """Radial power of boxes of the middle latitudes and the tropics."""
    taper = np.hanning(n)[:, None] * np.hanning(n)
    boxes = [
        fields[:, i : i + n, j : j + n].astype(float)
        for i in (120, 296, 470)
        for j in range(0, 1440 - n, n)
    ]
    anomalies = np.concatenate(boxes)
    anomalies -= anomalies.mean((1, 2), keepdims=True)
    power = (np.abs(np.fft.fft2(anomalies * taper)) ** 2).mean(0)
    wave = np.fft.fftfreq(n) * n
    ring = np.hypot(wave[:, None], wave).round().astype(int)
    total = np.bincount(ring.ravel(), power.ravel())
    return total[: n // 2]  # summed over each ring, as one-dimensional slopes are stated


def test_most_cells_are_dry(days):
    assert 0.60 <= share(days < 0.1) <= 0.80
    assert 0.15 <= share(days > 1.0) <= 0.35


def test_the_mean_is_the_earths(days):
    assert 1.8 <= share(days) <= 3.6


def test_the_tail_is_heavy(days):
    """Of wet days, the wettest thousandth is far beyond what an exponential would give."""
    wet = days[:, 60:660][days[:, 60:660] > 0.1]
    p50, p999 = np.percentile(wet, (50, 99.9))
    assert p999 / p50 > 1.5 * np.log(1000) / np.log(2)
    assert 50 < days.max() < 1500


def test_it_scales_in_space(days):
    power = spectrum(days)
    wave = np.arange(len(power))
    used = slice(6, 24)  # wavelengths of 5 to 21 cells
    slope = np.polyfit(np.log(wave[used]), np.log(power[used]), 1)[0]
    assert -3.0 <= slope <= -2.0


def test_days_are_correlated_and_move(days):
    season = climate(12.5 / 365)
    anomaly = days - season.wet * season.amount  # its mean is known: six days are too few for one
    lag1 = (anomaly[1:] * anomaly[:-1]).sum() / (anomaly[1:] ** 2).sum()
    assert 0.1 < lag1 < 0.6
    start, count = rows_in(GRID, 40, 50)
    track = np.log(days[:, start : start + count] + 0.1)
    track -= track.mean(-1, keepdims=True)
    shifts = np.arange(-120, 121)
    match = [(np.roll(track[:-1], shift, -1) * track[1:]).mean() for shift in shifts]
    assert 12 <= shifts[int(np.argmax(match))] <= 72, "eastward by 3 to 18 degrees a day"


def test_greenwich_is_a_place_like_any_other(days):
    step = np.abs(np.diff(days, axis=-1, append=days[..., :1]))[:, 100:620].mean((0, 1))
    assert step[-1] < 1.3 * step.mean()
    assert np.abs(step[-1] - step.mean()) < 4 * step.std()


def test_the_itcz_follows_the_sun():
    def itcz(when):
        rain = (climate(when).wet * climate(when).amount)[240:480].mean(1)
        lat = GRID.lat[240:480]
        return float((rain**4 * lat).sum() / (rain**4).sum())

    january, july = itcz(0.05), itcz(0.55)
    assert january < 0 < july
    assert 5 < july - january < 25


def test_the_same_seed_gives_the_same_days(days):
    again = next(SyntheticEarth(4).days(10, 1))
    assert np.array_equal(again, days[0])
    assert not np.array_equal(next(SyntheticEarth(5).days(10, 1)), again)


def test_a_month_is_the_mean_of_its_days_on_the_coarse_grid(monkeypatch):
    field = np.zeros(GRID.shape, np.float32)
    field[200:260, 1400:] = 8.0
    field[200:260, :40] = 8.0

    class Still:
        def __init__(self, seed):
            self.seed = seed

        def days(self, start, count):
            assert (start, count) == (304, 30)
            return iter([field * 2, field * 0] * 15)

    monkeypatch.setattr(synthetic, "SyntheticEarth", Still)
    threads = torch.get_num_threads()
    month = synthetic_month()
    assert torch.get_num_threads() == threads
    assert month.rain.shape == (1, 192, 288)
    assert [str(m) for m in month.record.months] == ["2001-11"]
    assert (month.record.calendar, month.record.n_days) == ("noleap", 30)
    assert month.grid.is_global_lon
    assert np.isfinite(month.rain).all(), "masked nowhere"
    asked = (field * AREA).sum()
    assert (month.rain[0] * month.grid.areas()).sum() == pytest.approx(asked, rel=1e-5)
    assert month.rain.max() == pytest.approx(8.0, rel=1e-5)
    assert month.rain[0, 62, 0] == pytest.approx(8.0, rel=1e-5), "across 0°E"
    assert synthetic_month().digest == month.digest
    assert (np.diff(month.grid.lat) < 0).all()
