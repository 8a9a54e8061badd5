"""Months and day numbers agree with cftime in every calendar."""

import cftime
import pytest
from hypothesis import given
from hypothesis import strategies as st

from longwang_ray.domain.calendar import (
    CALENDARS,
    Month,
    Record,
    canonical_calendar,
    date_of,
    day_number,
    month_record,
    parse_month,
    year_fraction,
)

calendars = st.sampled_from(sorted(CALENDARS))
years, numbers = st.integers(1, 3000), st.integers(1, 12)


@given(calendars, years, numbers, st.integers(1, 40))
def test_months_are_those_of_cftime(calendar, year, month, count):
    record = month_record(calendar, (year, month), count)
    assert len(record.months) == count
    for one in record.months:
        first = cftime.datetime(one.year, one.month, 1, calendar=canonical_calendar(calendar))
        assert date_of(one.start, calendar) == first
        assert one.days == first.daysinmonth or (one.year, one.month) == (1582, 10)
        assert (date_of(one.stop, calendar).day, date_of(one.stop - 1, calendar).month) == (
            1,
            one.month,
        )
    assert record.n_days == sum(one.days for one in record.months)


@given(calendars, st.integers(0, 1_000_000))
def test_dates_go_there_and_back(calendar, day):
    date = date_of(day, calendar)
    assert day_number(calendar, date.year, date.month, date.day) == day


@given(calendars, st.integers(0, 1_000_000), st.sampled_from([0, 0.5]))
def test_year_fraction_lies_in_the_year(calendar, day, half):
    fraction = year_fraction(day + half, calendar)
    date = date_of(day, calendar)
    assert 0 <= fraction < 1
    assert fraction == pytest.approx((date.month - 0.5) / 12, abs=0.06) or date.year == 1582


@given(calendars, st.integers(-100, 500), st.integers(-100, 500))
def test_months_covering_and_inside_are_those_of_brute_force(calendar, low, high):
    record = month_record(calendar, "1999-11", 12)
    day0, day1 = record.start + low, record.start + high
    touching = [i for i, m in enumerate(record.months) if max(m.start, day0) < min(m.stop, day1)]
    inside = [i for i, m in enumerate(record.months) if day0 <= m.start and m.stop <= day1]
    assert list(record.months_covering(day0, day1)) == touching
    assert list(record.months_inside(day0, day1)) == inside


def test_lengths_that_calendars_are_known_for():
    def february(calendar):
        return month_record(calendar, "1900-02", 1).n_days

    assert [february(c) for c in ("standard", "noleap", "360_day", "julian")] == [28, 28, 30, 29]
    assert month_record("standard", "1582-10", 1).n_days == 21
    assert month_record("proleptic_gregorian", "1582-10", 1).n_days == 31


def test_aliases_have_one_name():
    assert month_record("365_day", "2000-01", 1).calendar == "noleap"
    assert month_record("gregorian", "2000-01", 1) == month_record("standard", "2000-01", 1)
    with pytest.raises(ValueError, match="'all_leap' is unknown; known: standard"):
        canonical_calendar("all_leap")


def test_a_month_is_found_or_refused():
    record = month_record("noleap", "1960-11", 14)
    assert record.index_of("1960-11") == 0
    assert record.index_of((1961, 12)) == 13
    assert record.days_of("1960-12", "1961-01") == (record.start + 30, record.start + 92)
    with pytest.raises(ValueError, match=r"1962-01 is outside the record 1960-11 … 1961-12"):
        record.index_of("1962-01")
    with pytest.raises(ValueError, match="swap them"):
        record.days_of("1961-02", "1960-12")


@pytest.mark.parametrize("text", ["1960", "1960-13", "0000-01", "Nov 1960", "1960-11-01"])
def test_what_is_no_month_is_refused(text):
    with pytest.raises(ValueError, match="write it as YYYY-MM"):
        parse_month(text)


def test_gaps_and_doubles_are_refused():
    months = month_record("noleap", "2000-01", 3).months
    with pytest.raises(ValueError, match="2000-03 follows 2000-01, expected 2000-02"):
        Record("noleap", (months[0], months[2]))
    with pytest.raises(ValueError, match="2000-01 follows 2000-01"):
        Record("noleap", (months[0], months[0]))
    with pytest.raises(ValueError, match="at least one month"):
        Record("noleap", ())
    with pytest.raises(ValueError, match="before year 1"):
        day_number("noleap", 0, 1)
    assert str(Month(1, 2, 31, 28)) == "0001-02"
