"""The table: paired where days are shared, distributions alone where they are not."""

import json

import numpy as np
import pytest
import xarray as xr

from longwang_ray.evaluation.report import evaluate


def record(rain, start="2000-01-01", calendar="noleap", units="mm/day", lon0=350.0):
    shape = rain.shape[-3:]
    coords = {
        "time": xr.date_range(start, periods=shape[0], calendar=calendar, use_cftime=True),
        "lat": 40 - 0.25 * np.arange(shape[1]),
        "lon": (lon0 + 0.25 * np.arange(shape[2])) % 360,
    }
    dims = ("realization", "time", "lat", "lon")[-rain.ndim :]
    return xr.DataArray(rain, coords, dims, attrs={"units": units})


@pytest.fixture
def rain():
    return np.random.default_rng(8).gamma(0.3, 8, (3, 45, 24, 60)).astype(np.float32)


def test_the_truth_itself_scores_perfectly(rain):
    truth = record(rain[0])
    table = evaluate(record(rain[:1]), truth, baseline=truth).as_dict()
    for column in ("ensemble", "interpolation"):
        assert table["fair CRPS"][column] == 0
        assert table["Wasserstein-1"][column] == 0
        assert table["R² of monthly totals"][column] == 1
        assert table["power at 6-8 cells"][column] == pytest.approx(1)
    assert table["p99"]["ensemble"] == table["p99"]["reference"]
    assert "reference" not in table["fair CRPS"]


def test_units_are_brought_together(rain):
    flux = record(rain / 86400, units="kg m-2 s-1")
    same = evaluate(record(rain), record(rain[0])).as_dict()
    assert evaluate(flux, record(rain[0])).as_dict()["mean"]["ensemble"] == pytest.approx(
        same["mean"]["ensemble"]
    )


def test_unknown_units_are_refused(rain):
    with pytest.raises(ValueError, match="furlong"):
        evaluate(record(rain, units="furlong"), record(rain[0]))


def test_days_are_paired_by_date_across_calendars(rain):
    ensemble = record(rain, start="2000-02-01")
    other = record(rain[0], start="2000-02-20", calendar="standard")
    table = evaluate(ensemble, other).as_dict()
    assert "fair CRPS" in table


def test_unshared_days_leave_the_distribution(rain):
    table = evaluate(record(rain), record(rain[0], start="2010-01-01")).as_dict()
    assert "fair CRPS" not in table
    assert table["Wasserstein-1"]["ensemble"] > 0


def test_only_common_cells_count_and_none_is_an_error(rain):
    shifted = record(rain[0], lon0=352.5)
    assert evaluate(record(rain), shifted).as_dict()["mean"]["reference"] == pytest.approx(
        np.average(
            rain[0, ..., :50].mean(axis=(0, 2)),
            weights=np.cos(np.deg2rad(40 - 0.25 * np.arange(24))),
        ),
        rel=1e-4,
    )
    with pytest.raises(ValueError, match="no common cells"):
        evaluate(record(rain), record(rain[0], lon0=100.1))


def test_unsampled_days_and_masked_cells_are_left_out(rain):
    ensemble, truth = rain.copy(), rain[0].copy()
    ensemble[:, 30:] = np.nan
    truth[:, :3, :3] = np.nan
    table = evaluate(record(ensemble), record(truth)).as_dict()
    assert np.isfinite([v for line in table.values() for v in line.values()]).all()
    assert "power at 6-8 cells" not in table


def test_the_text_is_a_table_and_the_numbers_are_json(rain):
    report = evaluate(record(rain), record(rain[0]), title="a store against the truth")
    first, _, head, rule, *lines = report.text().splitlines()
    assert first == "a store against the truth"
    assert head.split() == ["score", "unit", "ensemble", "reference"]
    assert set(rule) == {"-", " "}
    assert len(lines) == len(report.lines)
    json.dumps(report.as_dict())
