"""Training data from files: the prior's cells, periods kept apart, refusals by their input."""

import numpy as np
import pytest
import xarray as xr
from pydantic import TypeAdapter

from longwang_ray.data.daily import DailySource
from longwang_ray.domain.calendar import day_number
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.training.data import open_training_data
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.settings import DailyData, SyntheticData
from longwang_ray.training.sources import cells_of, synthetic_days

CALENDAR = "proleptic_gregorian"
MARCH = day_number(CALENDAR, 2001, 3, 1)
WINDOW = (3, 16, 16)


def dataset(days=range(20), lat=None, lon=None, value=None):
    """Rain of 10°N … 0°, 30 … 50°E; each cell says where and when it is."""
    lat = np.arange(0, 10.1, 0.25) if lat is None else np.asarray(lat)
    lon = np.arange(30, 50, 0.25) if lon is None else np.asarray(lon)
    days = np.asarray(days)
    rain = (days[:, None, None] + (90 - lat)[:, None] / 100 + lon % 360 / 1e4).astype("f4")
    if value is not None:
        rain[:] = value
    return xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain, {"units": "mm/day"})},
        coords={
            "time": ("time", days, {"units": "days since 2001-03-01", "calendar": CALENDAR}),
            "lat": ("lat", lat, {"units": "degrees_north"}),
            "lon": ("lon", lon, {"units": "degrees_east"}),
        },
    )


@pytest.fixture
def opened(tmp_path):
    """Write a data set and open it as a training does; keys may be changed."""

    def make(data=None, name="rain.nc", **changes):
        path = tmp_path / name
        if data is not None and name.endswith(".zarr"):
            data.to_zarr(path, consolidated=False)
        elif data is not None:
            data.to_netcdf(path, engine="netcdf4")
        tree = {
            "kind": "daily",
            "path": str(path),
            "train": [["2001-03-01", "2001-03-14"]],
            "held_out": [["2001-03-15", "2001-03-20"]],
        }
        settings = TypeAdapter(DailyData).validate_python({**tree, **changes})
        return open_training_data(settings, tmp_path / "cache", 4)

    return make


def generator(seed=0):
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def cells(rain, place, days):
    """What the file says at a window's place."""
    lat = 90 - 0.25 * (place.row + np.arange(rain.shape[1]))
    lon = 0.25 * ((place.column + np.arange(rain.shape[2])) % 1440)
    day = days[place.day : place.day + len(rain)] - MARCH
    return day[:, None, None] + (90 - lat)[:, None] / 100 + lon / 1e4


def test_windows_hold_the_rain_of_their_place_whatever_the_files_order(opened):
    data = opened(dataset())
    assert data.days.box.first_row == 320
    assert data.days.box.n_rows == 41
    assert data.days.box.first_column == 120
    for seed in range(10):
        place = data.train.place(generator(seed), WINDOW)
        rain = data.train.read(place, WINDOW)
        np.testing.assert_allclose(rain, cells(rain, place, data.days.numbers), rtol=1e-3)
        assert place.day + 3 <= 14


def test_a_box_across_greenwich_is_one_piece(opened):
    data = opened(dataset(lon=np.arange(-10, 10, 0.25)))
    box = data.days.box
    assert (box.first_column, box.n_columns, box.wraps) == (1400, 80, False)
    crossing = 0
    for seed in range(20):
        place = data.train.place(generator(seed), WINDOW)
        rain = data.train.read(place, WINDOW)
        np.testing.assert_allclose(rain, cells(rain, place, data.days.numbers), rtol=1e-3)
        crossing += 1440 - 16 < place.column
    assert crossing


def test_held_out_days_and_columns_are_touched_by_no_training_window(opened):
    data = opened(dataset(), held_out_lon=[36.0, 42.0], skip=["2001-03-05"])
    numbers = data.days.numbers - MARCH
    seen = [data.train.place(generator(seed), WINDOW) for seed in range(200)]
    days = {int(numbers[p.day + k]) for p in seen for k in range(3)}
    assert days <= set(range(14)) - {4}
    columns = {p.column + k for p in seen for k in range(16)}
    assert not columns & set(range(144, 168))
    judged = [data.held_out.place(generator(seed), WINDOW) for seed in range(200)]
    later = [p for p in judged if numbers[p.day] >= 14]
    inside = [p for p in judged if numbers[p.day] < 14]
    assert later
    assert inside
    assert all(144 <= p.column and p.column + 16 <= 168 for p in inside)


def test_blocks_are_the_held_out_days_outside_the_band_and_the_band_at_all_times(opened):
    blocks = opened(dataset(), held_out_lon=[36.0, 42.0], skip=["2001-03-17"]).blocks()
    found = [(b.first_day - MARCH, b.rain.shape, b.corner) for b in blocks]
    assert found == [
        (14, (2, 41, 24), (320, 120)), (14, (2, 41, 32), (320, 168)),
        (17, (3, 41, 24), (320, 120)), (17, (3, 41, 32), (320, 168)),
        (0, (16, 41, 24), (320, 144)), (17, (3, 41, 24), (320, 144)),
    ]  # fmt: skip
    rain = np.asarray(blocks[-1].rain, np.float32)
    assert rain[0, 0, 0] == pytest.approx(17 + 80 / 100 + 36 / 1e4, rel=1e-3)


def test_the_wettest_is_that_of_training_days_outside_the_band(opened):
    wet = dataset()
    wet["pr"].values[3, 5, 7] = 200.0
    wet["pr"].values[4, 5, 30] = 300.0  # 37.5°E, in the band
    wet["pr"].values[16, 5, 7] = 400.0  # held out
    wet["pr"].values[5] = np.nan
    assert opened(wet, held_out_lon=[36.0, 42.0]).wettest() == 200.0


def test_a_gap_is_not_bridged(opened):
    data = opened(dataset([*range(6), *range(8, 20)]))
    starts = {
        int(data.days.numbers[data.train.place(generator(s), WINDOW).day]) for s in range(200)
    }
    assert {d - MARCH for d in starts} == {0, 1, 2, 3, 8, 9, 10, 11}


def test_a_chunk_of_the_store_is_read_once(opened, monkeypatch):
    reads = []
    read = DailySource.read

    def counted(source, days, *cells):
        reads.append((days.start, days.stop))
        return read(source, days, *cells)

    monkeypatch.setattr(DailySource, "read", counted)
    data = opened(_chunked(dataset(), 5), "rain.zarr")
    data.days.keep(range(20), threads=4)
    assert sorted(reads) == [(0, 5), (5, 10), (10, 15), (15, 20)]


def _chunked(data, days):
    data["pr"].encoding["chunks"] = (days, *data["pr"].shape[1:])
    return data


def test_a_file_that_is_replaced_is_read_again(opened, tmp_path):
    first = opened(dataset())
    first.days.field(0)
    again = opened()
    assert again.days.folder == first.days.folder
    (tmp_path / "rain.nc").unlink()
    other = opened(dataset(value=2.0))
    assert other.days.folder != first.days.folder
    assert other.days.field(0).max() == 2


def refused(opened, match, *given, **changes):
    with pytest.raises(TrainingError, match=match):
        opened(*given, **changes)


def test_a_grid_that_is_not_the_priors_is_refused(opened, tmp_path):
    for data, match in [
        (dataset(lat=np.arange(0, 40, 1.0)), r"latitudes are 1° apart, the prior's cells 0.25°"),
        (dataset(lon=np.arange(30, 50, 0.1)), r"longitudes are 0.1° apart.*conservatively"),
        (dataset(lat=np.arange(0.125, 10, 0.25)), r"lie 0.125° beside the prior's"),
        (dataset(lon=np.arange(30.05, 50, 0.25)), r"lie 0.05° beside the prior's"),
        (dataset(lon=[*np.arange(30, 40, 0.25), *np.arange(45, 50, 0.25)]), "1 gaps between"),
        (dataset(lat=[*np.arange(0, 4, 0.25), *np.arange(6, 9, 0.25)]), "latitudes have a gap"),
    ]:
        refused(opened, match, data, f"{len(list(tmp_path.iterdir()))}.nc")


def test_periods_without_days_are_refused(opened):
    refused(opened, r"data\.train: .*has no day.*it has 20, 2001-03-01 … 2001-03-20", dataset(),
            train=[["1999-01-01", "1999-12-31"]])  # fmt: skip
    refused(opened, r"data\.held_out: .*has no day", held_out=[["2001-04-01", "2001-04-30"]])
    refused(opened, "2001-02-30 is no day of the source's calendar",
            train=[["2001-02-30", "2001-03-10"]])  # fmt: skip
    refused(opened, r"held_out_lon \[100.0, 120.0\] holds 0 of the 80|no cell centre",
            held_out_lon=[100.0, 120.0])  # fmt: skip
    refused(opened, r"holds 80 of the 80 columns, 30 … 49.75°E", held_out_lon=[20.0, 60.0])


def test_what_cannot_be_opened_is_refused(opened, tmp_path):
    refused(opened, "no such file or store")
    refused(opened, "no variable 'rain'; there are: pr", dataset(), variable="rain")
    (tmp_path / "page.nc").write_text("<html>log in</html>")
    refused(opened, "a web page was saved in its place", name="page.nc")
    refused(opened, "rain.nc: not reachable .*: check the address and the network",
            path="http://127.0.0.1:9/rain.nc")  # fmt: skip
    refused(opened, "fsspec cannot open such a URL", path="nowhere://rain.nc")


def test_days_that_are_all_missing_are_refused_when_they_are_needed(opened):
    data = opened(dataset(value=np.nan))
    with pytest.raises(TrainingError, match="none of 14 training days has a value above 0"):
        data.wettest()
    with pytest.raises(TrainingError, match=r"100 windows .* have missing values"):
        data.train.one(generator(), WINDOW)


def test_windows_that_do_not_fit_are_refused(opened):
    data = opened(dataset())
    for window, match in [
        ((15, 16, 16), "14 days, at most 14 in a row"),
        ((3, 64, 16), "a box of 41 rows"),
        ((3, 16, 96), "80 columns side by side"),
    ]:
        with pytest.raises(TrainingError, match=match):
            data.train.count(window)


def test_the_row_at_the_south_pole_is_left_out(opened):
    data = opened(dataset(lat=np.arange(-90, -80, 0.25)))
    assert data.days.box.n_rows == 39
    assert data.days.field(0).shape == (39, 80)
    assert float(data.days.field(0)[-1, 0]) == pytest.approx(1.7975 + 0.003, rel=1e-3)


def test_cells_of_the_globe_close_the_circle():
    prior = era5_grid(2.5)
    box, rows, columns = cells_of(RectilinearGrid.from_centres(prior.lat, prior.lon), prior)
    assert (box.n_rows, box.n_columns, box.wraps) == (72, 144, True)
    assert rows.tolist() == list(range(72))
    assert columns.tolist() == list(range(144))


def test_sequences_of_the_synthetic_earth_never_follow_each_other(tmp_path):
    for sequences, length in ((24, 16), (2, 400)):
        days = synthetic_days(
            SyntheticData(sequences=sequences, days=length, held_out=1), tmp_path
        )
        runs = np.flatnonzero(np.diff(days.numbers) != 1) + 1
        assert runs.tolist() == list(range(length, sequences * length, length))
        assert (np.diff(days.numbers) > 0).all()
    data = open_training_data(SyntheticData(sequences=24, days=16, held_out=4), tmp_path, 4)
    assert data.train.count((8, 48, 48)) == 20 * 9 * 169 * 360
    assert data.held_out.count((8, 48, 48)) == 4 * 9 * 169 * 360
    assert not (data.train.parts[0].days & data.held_out.parts[0].days).any()


def test_a_day_of_the_synthetic_earth_is_that_of_its_sequence(tmp_path, monkeypatch):
    class Earth:
        """Days that say their seed and their day of the year."""

        def __init__(self, seed):
            self.seed = seed

        def days(self, start, count):
            for day in range(start, start + count):
                yield np.full((720, 1440), self.seed + day / 1000, np.float32)

    monkeypatch.setattr("longwang_ray.training.sources.SyntheticEarth", Earth)
    data = open_training_data(SyntheticData(sequences=2, days=2, held_out=1), tmp_path, 4)
    assert data.days.field(3)[0, 0] == np.float16(1001 + 183 / 1000)
    assert len(list(data.days.folder.glob("*.npy"))) == 2, "the other sequence isn't made"
    assert [block.rain.shape for block in data.blocks()] == [(2, 720, 1440)]
