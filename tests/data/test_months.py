"""Time axes: what month a stamp means, however it is written."""

import numpy as np
import pytest
import xarray as xr

from longwang_ray.data.months import read_months, whole_record
from longwang_ray.data.source import SourceError


def axis(values, units, calendar=None, bounds=None, **attributes):
    attrs = {"units": units, **attributes}
    if calendar:
        attrs["calendar"] = calendar
    dataset = xr.Dataset(coords={"time": ("time", np.asarray(values, float), attrs)})
    if bounds is not None:
        dataset["time_bnds"] = (("time", "bnds"), np.asarray(bounds, float))
        dataset["time"].attrs["bounds"] = "time_bnds"
    return dataset


def months_of(*args, **kwargs):
    dataset = axis(*args, **kwargs)
    return read_months(dataset, dataset["time"])


def refusal(*args, **kwargs):
    with pytest.raises(SourceError) as caught:
        months_of(*args, **kwargs)
    return str(caught.value)


EDGES = [0, 31, 59, 90]
BOUNDS = [[0, 31], [31, 59], [59, 90]]
JAN_FEB_MAR = [(1850, 1), (1850, 2), (1850, 3)]


@pytest.mark.parametrize("calendar", ["standard", "gregorian", "noleap", "365_day", "julian"])
@pytest.mark.parametrize("stamps", [EDGES[:3], [15.5, 45, 74.5], EDGES[1:]])
def test_bounds_decide_whatever_the_stamp(calendar, stamps):
    found = months_of(stamps, "days since 1850-01-01", calendar, BOUNDS)
    assert found.months == JAN_FEB_MAR
    assert not found.is_climatology


def test_without_bounds_the_stamp_decides():
    assert months_of([0, 58, 74.5], "days since 1850-01-01", "noleap").months == JAN_FEB_MAR
    assert months_of([12, 1000, 1500], "hours since 1850-01-01").months == JAN_FEB_MAR


def test_360_day_months():
    found = months_of(np.arange(15, 360, 30), "days since 1850-01-01", "360_day")
    assert found.months == [(1850, m) for m in range(1, 13)]


def test_broken_bounds_leave_it_to_the_stamp():
    for bounds in (np.zeros((3, 2)), np.full((3, 2), np.nan), [[0, 900]] * 3):
        assert (
            months_of([15, 45, 74], "days since 1850-01-01", "noleap", bounds).months
            == JAN_FEB_MAR
        )


def test_absolute_and_month_counting_axes():
    assert months_of([18500116.5, 18500215, 18500301], "day as %Y%m%d.%f").months == JAN_FEB_MAR
    assert months_of([0, 1, 2], "months since 1850-01-01").months == JAN_FEB_MAR
    assert "no date like" in refusal([18501301], "day as %Y%m%d.%f")


@pytest.mark.parametrize(
    "units", ["days since 0", "days since 0000-1-1", "days since 0-1-1 00:00"]
)
@pytest.mark.parametrize("calendar", ["gregorian", "proleptic_gregorian", None])
def test_a_year_that_is_none_is_a_climatology(units, calendar):
    middles = [15.5, 45.5, 75.5, 106, 136.5, 167, 197.5, 228.5, 259, 289.5, 320, 350.5]
    found = months_of(middles, units, calendar)
    assert found.is_climatology
    assert found.months == [(2000, m) for m in range(1, 13)]
    assert "with 11 entries: expected the twelve months" in refusal(middles[:11], units, calendar)


def test_model_years_from_zero_on_are_not_a_climatology():
    found = months_of([730120 + 15.5], "days since 0000-1-1", "noleap")
    assert (found.months, found.is_climatology) == ([(2000, 5)], False)


def test_numbered_months_are_a_climatology():
    found = months_of(range(1, 13), "Month")
    assert found.is_climatology
    assert found.months[11] == (2000, 12)
    assert "units 'Month' and values 1 to 11" in refusal(range(1, 12), "Month")
    assert "units '' and values 0 to 5" in refusal(range(6), "")


def test_a_cf_climatology_keeps_its_years():
    found = months_of(
        np.arange(15, 365, 30.4), "days since 1995-01-01", climatology="climatology_bnds"
    )
    assert (found.months[0], found.is_climatology) == ((1995, 1), True)


def test_unreadable_axes():
    assert "calendar '366_day' of time is not one of" in refusal(
        [1], "days since 1850-1-1", "366_day"
    )
    assert "is not readable: units 'days since yesterday'" in refusal([1], "days since yesterday")
    assert "no value at 1 entries, first 1" in refusal([1, np.nan], "days since 1850-01-01")


def test_missing_and_duplicate_months_are_named():
    with pytest.raises(
        SourceError, match=r"missing months: 1850-02, 1850-04; .* from 1850-01 to 1850-05"
    ):
        whole_record("noleap", [(1850, 5), (1850, 1), (1850, 3)])
    with pytest.raises(SourceError, match="duplicate months: 1850-01; keep one of each"):
        whole_record("noleap", [(1850, 1), (1850, 1), (1850, 2)])
    with pytest.raises(SourceError, match=r"this is daily data: use the monthly table"):
        whole_record("noleap", [(1850, 1)] * 31 + [(1850, 2)] * 28)
    with pytest.raises(SourceError, match=r"… \(118 in all\)"):
        whole_record("noleap", [(1850, 1), (1859, 12)])


def test_months_are_sorted_across_the_turn_of_the_year():
    record, order = whole_record("noleap", [(1851, 1), (1850, 12), (1851, 2)])
    assert [str(m) for m in record.months] == ["1850-12", "1851-01", "1851-02"]
    assert order.tolist() == [1, 0, 2]


def test_years_before_the_first_are_refused():
    with pytest.raises(SourceError, match="time axis: "):
        whole_record("noleap", [(0, 1)])
