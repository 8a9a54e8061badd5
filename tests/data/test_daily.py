"""Daily rain: normal form piece by piece, days made of hours, and refusals."""

import numpy as np
import pytest
import xarray as xr

from longwang_ray.data.daily import open_daily
from longwang_ray.data.source import SourceError
from longwang_ray.domain.calendar import date_of, day_number


def make(steps, per_day=1, units="mm/day", first=0.0, attrs=None):
    lat, lon = np.arange(-1.0, 1.1, 0.25), np.arange(0, 360, 30.0)
    rain = np.random.default_rng(1).gamma(0.5, 5.0, (steps, len(lat), len(lon))).astype("f4")
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain, {"units": units})},
        coords={
            "time": ("time", first + np.arange(steps) / per_day,
                     {"units": "days since 2001-02-01", "calendar": "proleptic_gregorian"}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon - 180, {"units": "degrees_east"}),
        },
        attrs=attrs or {},
    )  # fmt: skip


def normal(values):
    """Latitudes descending, longitudes from 0."""
    return np.roll(values, 6, axis=2)[:, ::-1]


def test_daily_file(write):
    dataset = make(5, first=0.5)
    with open_daily(write(dataset)) as source:
        assert source.grid.lat[0] == 1
        assert source.grid.lon[0] == 0
        assert str(date_of(int(source.days[0]), source.calendar))[:10] == "2001-02-01"
        expected = normal(dataset["pr"].values)
        np.testing.assert_array_equal(source.read(slice(None)), expected)
        piece = source.read(slice(1, 4), np.arange(2, 6), np.arange(10, 15) % 12)
        np.testing.assert_array_equal(piece, expected[1:4, 2:6][:, :, [10, 11, 0, 1, 2]])
        assert source.read(slice(0, 0)).shape == (0, 9, 12)


def test_gaps_and_starts(write):
    dataset = make(10).isel(time=[0, 1, 2, 6, 7, 9])
    with open_daily(write(dataset)) as source:
        assert len(source.days) == 6
        assert source.starts(1).tolist() == list(range(6))
        assert source.starts(2).tolist() == [0, 1, 3]
        assert source.starts(3).tolist() == [0]
        assert source.starts(9).tolist() == []


def test_hourly_amounts_end_at_their_stamp(write):
    """Stamps 00:00 … : the first belongs to the day before, which is not whole."""
    dataset = make(73, 24, "m")
    dataset["pr"] = (dataset["pr"] / 1000).assign_attrs(units="m")
    with open_daily(write(dataset)) as source:
        first = day_number("proleptic_gregorian", 2001, 2, 1)
        assert source.days.tolist() == [first, first + 1, first + 2]
        expected = normal(dataset["pr"].values[1:25].sum(axis=0, keepdims=True) * 1000)
        np.testing.assert_allclose(source.read(slice(0, 1)), expected, rtol=1e-5)


def test_three_hourly_rates_are_averaged(write):
    dataset = make(16, 8, "kg m-2 s-1", first=0.0625)
    dataset["pr"] = (dataset["pr"] / 86400).assign_attrs(units="kg m-2 s-1")
    with open_daily(write(dataset)) as source:
        expected = normal(dataset["pr"].values[:8].mean(axis=0, keepdims=True) * 86400)
        np.testing.assert_allclose(source.read(slice(0, 1)), expected, rtol=1e-5)
        assert len(source.days) == 2
    with open_daily(write(dataset), stamp="end", units="mm/day") as source:
        assert len(source.days) == 2


def test_a_missing_hour_makes_its_day_missing_and_no_other(write):
    dataset = make(72, 24, "mm", first=1 / 24)
    dataset["pr"].values[30] = np.nan
    with open_daily(write(dataset)) as source:
        rain = source.read(slice(None))
        assert np.isnan(rain[1]).all()
        assert np.isfinite(rain[[0, 2]]).all()


def test_days_of_one_chunk_are_told(write, tmp_path):
    dataset = make(10)
    dataset["pr"].encoding["chunksizes"] = (4, 9, 12)
    with open_daily(write(dataset)) as source:
        assert source.pieces().tolist() == [0] * 4 + [1] * 4 + [2] * 2
    with open_daily(write(make(10), "plain.nc", "NETCDF3_CLASSIC")) as source:
        assert source.pieces().tolist() == list(range(10))
    hours = make(72, 24, "mm", first=1 / 24)
    hours["pr"].encoding["chunks"] = (48, 9, 12)
    hours.to_zarr(tmp_path / "hours.zarr", consolidated=False)
    with open_daily(str(tmp_path / "hours.zarr")) as source:
        assert source.pieces().tolist() == [0, 0, 1]


def test_a_read_that_fails_names_its_days(tmp_path):
    path = tmp_path / "torn.zarr"
    dataset = make(4)
    dataset["pr"].encoding["chunks"] = (1, 9, 12)
    dataset.to_zarr(path, zarr_format=2, consolidated=False)
    with open_daily(str(path)) as source:
        (path / "pr" / "2.0.0").write_bytes(b"torn")
        assert np.isfinite(source.read(slice(0, 2))).all()
        with pytest.raises(SourceError, match="pr: reading 2001-02-03 … 2001-02-04 failed"):
            source.read(slice(2, 4))


def test_a_store_made_ahead_of_its_data(tmp_path):
    valid = {"valid_time_start": "2001-02-02", "valid_time_stop": "2001-02-03"}
    dataset = make(24 * 6, 24, "mm", attrs=valid)
    path = str(tmp_path / "era.zarr")
    dataset.to_zarr(path, zarr_format=2, consolidated=True)
    with open_daily(path) as source:
        first = day_number("proleptic_gregorian", 2001, 2, 2)
        assert source.days.tolist() == [first, first + 1]


def test_refusals(write, tmp_path):
    def refused(dataset, match, **options):
        path = write(dataset, f"{len(list(tmp_path.iterdir()))}.nc")
        with pytest.raises(SourceError, match=match), open_daily(path, **options) as source:
            source.read(slice(None))

    refused(make(5), "no variable 'rain'; there are: pr", variable="rain")
    refused(make(5, units="K"), "unknown units")
    refused(make(5, 1 / 30), "steps of 720 hours")
    refused(make(9, 24 / 7), "steps of 7 hours")
    refused(xr.concat([make(3), make(3)], "time"), "duplicate times|steps of")
    wet = make(3)
    wet["pr"].values[1, 0, 0] = 3000
    refused(wet, r"3000 mm/day on 2001-02-02 and 1 such values")
    wet["pr"].values[1, 0, 0] = -1
    refused(wet, r"-1 mm/day on 2001-02-02")
    with pytest.raises(SourceError, match="no such file"):
        open_daily(str(tmp_path / "none.nc"))


def test_real_daily_rain(real):
    with open_daily(real("observed/merge_daily*")) as source:
        assert source.grid.shape == (368, 399)
        assert len(source.days) == 61
        assert source.starts(20).tolist() == [*range(12), 40, 41]  # a day of May 2024 is missing
        rain = source.read(slice(0, 3), cells(100), cells(120))
        assert rain.shape == (3, 100, 120)
        assert 0.2 < (rain < 0.1).mean() < 0.95


def cells(count):
    return np.arange(50, 50 + count)
