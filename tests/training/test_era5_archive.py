"""ARCO-ERA5 as it lies in the cloud, small, behind a fake GCS: from configuration to windows.

Nothing in the path knows that it is tried: bucket, path, variable and options are those of
``configs/train_era5.yaml``, and the client is sent to this machine by ``STORAGE_EMULATOR_HOST``.
"""

import logging
from pathlib import Path

import numpy as np
import pytest

from longwang_ray.domain.calendar import day_number
from longwang_ray.training.data import open_training_data
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.settings import load_train_config
from tests.fakes.era5 import BUCKET, CALENDAR, STORE, write_archive
from tests.fakes.gcs import FakeGcs, Fault

ERA5 = Path(__file__).parents[2] / "configs" / "train_era5.yaml"
FIRST = np.datetime64("1978-12-31T00")
HOURS = 24 * 8  # valid are 1979-01-01 … 1979-01-06, of a store made ahead of its data
GAP = "1979-01-04T12"  # an hour that the archive lacks
CELL = (300, 1439)  # 15°N 359.75°E
PERIODS = [
    "data.train=[[1979-01-01, 1979-01-04]]",
    "data.held_out=[[1979-01-05, 1979-01-06]]",
]


def hour_index(stamp):
    return int((np.datetime64(stamp, "h") - FIRST) / np.timedelta64(1, "h"))


@pytest.fixture(scope="module")
def pattern():
    """Relative rain of each cell, 1 in the mean; says which cell it is."""
    lat, lon = np.meshgrid(np.arange(721), np.arange(1440), indexing="ij")
    return (0.5 + lat / 720 * 0.5 + lon / 1440 * 0.5).astype(np.float32)


@pytest.fixture(scope="module")
def gcs(tmp_path_factory, pattern):
    """The archive in its bucket: hour h of the day brings (h + 1)/300 mm times the pattern."""
    folder = tmp_path_factory.mktemp("era5") / "store"
    extra = {hour_index("1979-01-03T00"): 0.050, hour_index("1979-01-03T01"): 0.070}
    there = range(hour_index("1979-01-01T00"), hour_index("1979-01-07T01"))

    def rain(hour):
        if hour not in there or hour == hour_index(GAP):
            return None
        field = 1e-3 * (hour % 24 + 1) / 300 * pattern
        field[CELL] = extra.get(hour, field[CELL])
        return field

    write_archive(folder, str(FIRST), HOURS, rain, ("1979-01-01", "1979-01-06"))
    with FakeGcs() as server:
        server.put_folder(BUCKET, STORE, folder)
        yield server


@pytest.fixture
def config(gcs, monkeypatch, tmp_path):
    """The shipped configuration, with other periods and folders."""
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", gcs.url)
    gcs.faults.clear()
    gcs.requests.clear()

    def make(*overrides):
        return load_train_config(ERA5, [f"cache={tmp_path}/cache", *PERIODS, *overrides])

    return make


def opened(config):
    return open_training_data(config.data, config.days_folder, config.autoencoder.compression[1])


def generator(seed=0):
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def number(*date):
    return day_number(CALENDAR, *date)


def test_the_archive_has_the_layout_of_the_real_one(gcs):
    names = gcs.buckets[BUCKET]
    assert f"{STORE}/.zmetadata" in names
    assert f"{STORE}/total_precipitation/{hour_index('1979-01-03T00')}.0.0" in names
    assert f"{STORE}/total_precipitation/{hour_index(GAP)}.0.0" not in names
    assert f"{STORE}/total_precipitation/0.0.0" not in names, "before the data begin"


def test_hours_are_summed_to_the_utc_day_in_which_they_fell(config, pattern):
    data = opened(config())
    days = data.days
    assert (days.box.n_rows, days.box.n_columns, days.box.wraps) == (720, 1440, True)
    assert days.numbers.tolist() == list(range(number(1979, 1, 1), number(1979, 1, 7)))
    second = days.field(list(days.numbers).index(number(1979, 1, 2)))
    third = days.field(list(days.numbers).index(number(1979, 1, 3)))
    np.testing.assert_allclose(second[100], pattern[100], rtol=1e-3)  # Σ (h + 1)/300 = 1
    usual = float(pattern[CELL])
    assert float(second[CELL]) == pytest.approx(50 + usual * (1 - 1 / 300), rel=2e-3)
    assert float(third[CELL]) == pytest.approx(70 + usual * (1 - 2 / 300), rel=2e-3)


def test_windows_cross_greenwich_and_stand_where_they_say(config, pattern):
    data = opened(config())
    window, step = (2, 128, 128), 4
    crossing = 0
    for draw in range(12):
        place = data.train.place(generator(draw), window)
        rain = data.train.read(place, window)
        if np.isnan(rain).any():
            continue
        across = (place.column + np.arange(128)) % 1440
        rows = place.row + np.arange(128)
        usual = pattern[np.ix_(rows, across)]
        same = np.isclose(rain, usual, rtol=2e-3)
        assert same.mean() > 0.999, "but for one cell in two days"
        assert place.row % step == place.column % step == 0
        crossing += place.column > 1440 - 128
    assert crossing


def test_a_day_with_a_missing_hour_is_never_filled(config):
    data = opened(config())
    missing = list(data.days.numbers).index(number(1979, 1, 4))
    assert np.isnan(data.days.field(missing)).all()
    window = (3, 64, 64)
    assert data.train.count(window) == 2 * 165 * 360
    for draw in range(8):
        rain, context = data.train.one(generator(draw), window)
        assert np.isfinite(rain).all()
        assert context.shape == (5,)
    only = opened(config("data.train=[[1979-01-03, 1979-01-04]]"))
    with pytest.raises(TrainingError, match=r"100 windows of 2 days × 64 × 64 cells in a row.*"
                       r"50 % of its cells, on 1 of its 2 days"):  # fmt: skip
        only.train.one(generator(), (2, 64, 64))
    skipped = opened(config("data.skip=[1979-01-04]"))
    assert skipped.train.count(window) == 165 * 360
    with pytest.raises(TrainingError, match=r"there are 3 days, at most 3 in a row"):
        skipped.train.count((4, 64, 64))


def test_a_day_is_read_once_and_the_rest_of_the_archive_never(config, gcs):
    settings = config()
    data = opened(settings)
    assert gcs.count("total_precipitation/[0-9]") == 0, "nothing is read when it is opened"
    assert 0 < data.wettest() < 100
    chunks = r"GET .*total_precipitation(/|%2F)[0-9]"
    read = gcs.count(chunks)
    assert read == 4 * 24, "four days of 24 hours, each once, the lacking one sought"
    for draw in range(6):
        data.train.one(generator(draw), (3, 128, 128))
    again = opened(settings)
    again.train.one(generator(9), (3, 128, 128))
    again.wettest()
    assert gcs.count(chunks) == read, "the days are kept, for the next start too"


def test_a_hiccup_of_the_cloud_is_survived_and_an_outage_named(config, gcs, caplog):
    data = opened(config())
    gcs.faults.append(Fault(match="total_precipitation", status=503, times=2))
    assert np.isfinite(data.days.field(1)).all()
    gcs.faults[:] = [Fault(match="total_precipitation", status=403)]
    with caplog.at_level(logging.CRITICAL), pytest.raises(Exception, match=r"reading .* failed"):
        data.days.field(2)
    assert not data.days.file(2).exists()
    gcs.faults.clear()
    assert np.isfinite(data.days.field(2)).all(), "and nothing of it sticks"


def test_an_archive_that_is_not_there_is_named(config, gcs):
    for override, match in [
        ("data.path=gs://gcp-public-data-arco-era5/ar/none", "ar/none: no such file or store"),
        ("data.path=gs://no-such-bucket/ar", "no-such-bucket/ar: no such file or store"),
        ("data.variable=tp", "no variable 'tp'; there are: "),
    ]:
        with pytest.raises(TrainingError, match=match):
            opened(config(override))
    gcs.faults.append(Fault(status=403))
    with pytest.raises(
        TrainingError, match=r"secret: not allowed to read it .*: check storage_options"
    ):
        opened(config("data.path=gs://gcp-public-data-arco-era5/ar/secret"))
