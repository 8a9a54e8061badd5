"""Which calendar months a file's time axis means.

Stamps stand at the beginning, the middle or the end of a month; where the month's bounds are given
they decide. Also read: CDO's absolute axes (``day as %Y%m%d.%f``), ``months since``, and the axes
of climatologies, whose twelve months belong to no year ("days since 0", units "Month"). These are
placed in the nominal year 2000, a leap year, as the year 0 of such axes is one.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import NamedTuple

import cftime
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.data.source import SourceError
from longwang_ray.domain.calendar import CALENDARS, Record, canonical_calendar, month_record

__all__ = ["NOMINAL_YEAR", "TimeAxis", "read_months", "whole_record"]

NOMINAL_YEAR = 2000
YearMonth = tuple[int, int]

_SINCE = re.compile(r"^\s*(\w+)\s+since\s+(.+?)\s*$", re.IGNORECASE)
_YEAR_ZERO = re.compile(r"^0{1,4}(-0?[01](-0?[01])?)?(?=$|[ T])")
_MIXED = {"standard", "proleptic_gregorian", "julian"}  # these have no year 0


class TimeAxis(NamedTuple):
    """The months in the file's order, and whether they are a climatology's."""

    calendar: str
    months: list[YearMonth]
    is_climatology: bool


def read_months(dataset: xr.Dataset, time: xr.DataArray) -> TimeAxis:
    """The calendar month of every entry of a time axis.

    Raises:
        SourceError: Units or calendar that are not readable; entries that are not months.
    """
    values = np.asarray(time.values, dtype=np.float64)
    if not np.isfinite(values).all():
        bad = np.flatnonzero(~np.isfinite(values))
        raise SourceError(
            f"{time.name} has no value at {len(bad)} entries, first {bad[0]}: mend it"
        )
    units = str(time.attrs.get("units", "")).strip()
    calendar = _calendar(time)
    declared = "climatology" in time.attrs
    if units.lower().startswith("day as "):
        return TimeAxis(calendar, _absolute(values, time), declared)
    since = _SINCE.match(units)
    if since is None:
        return TimeAxis(calendar, _by_number(values, time), True)
    of_no_year = bool(_YEAR_ZERO.match(since[2])) and (calendar in _MIXED or declared)
    months = _since(dataset, time, values, since, calendar)
    if of_no_year or (declared and months[-1][0] <= 1):
        _require_twelve(months, time)
        return TimeAxis(calendar, [(NOMINAL_YEAR, month) for _, month in months], True)
    return TimeAxis(calendar, months, declared)


def whole_record(calendar: str, months: list[YearMonth]) -> tuple[Record, NDArray[np.intp]]:
    """The record that months make, and the order that sorts them into it.

    Raises:
        SourceError: A month that is there twice, or one that is missing.
    """
    twice = sorted(month for month, count in Counter(months).items() if count > 1)
    if twice:
        daily = len(months) > 20 * len(set(months))
        raise SourceError(
            f"duplicate months: {_listed(twice)}; "
            + ("this is daily data: use the monthly table (Amon)" if daily
               else "keep one of each (overlapping files?)")
        )  # fmt: skip
    ordinals = np.array([year * 12 + month - 1 for year, month in months])
    every = range(ordinals.min(), ordinals.max() + 1)
    missing = [divmod(n, 12) for n in sorted(set(every) - set(ordinals.tolist()))]
    if missing:
        holes = _listed([(year, month + 1) for year, month in missing])
        raise SourceError(
            f"missing months: {holes}; the record has to be whole from {_listed([min(months)])} "
            f"to {_listed([max(months)])}: add the files that hold them, or cut the record before"
        )
    try:
        record = month_record(calendar, min(months), len(months))
    except ValueError as error:
        raise SourceError(f"time axis: {error}") from error
    return record, np.argsort(ordinals, kind="stable")


def _listed(months: list[YearMonth]) -> str:
    named = [f"{year:04d}-{month:02d}" for year, month in months[:6]]
    return ", ".join(named) + (f" … ({len(months)} in all)" if len(months) > 6 else "")


def _calendar(time: xr.DataArray) -> str:
    name = str(time.attrs.get("calendar", "standard"))
    try:
        return canonical_calendar(name)
    except ValueError as error:
        raise SourceError(
            f"calendar {name!r} of {time.name} is not one of {', '.join(CALENDARS)}: "
            "correct the attribute, or convert the file"
        ) from error


def _absolute(values: NDArray[np.float64], time: xr.DataArray) -> list[YearMonth]:
    """``19601115.5`` → (1960, 11)."""
    months = [divmod(int(value) // 100, 100) for value in values]
    for (year, month), value in zip(months, values, strict=True):
        if year < 1 or not 1 <= month <= 12:
            raise SourceError(f"{time.name} holds {value:.10g}, which is no date like 19601115")
    return months


def _by_number(values: NDArray[np.float64], time: xr.DataArray) -> list[YearMonth]:
    """An axis without a date: the numbers 1..12 are the months of a climatology."""
    if sorted(values.tolist()) != list(range(1, 13)):
        raise SourceError(
            f"the time axis {time.name} has units {time.attrs.get('units')!r} and values "
            f"{values.min():g} to {values.max():g}: expected 'days since YYYY-MM-DD', or the "
            "months 1 to 12 of a climatology"
        )
    return [(NOMINAL_YEAR, int(value)) for value in values]


def _since(
    dataset: xr.Dataset,
    time: xr.DataArray,
    values: NDArray[np.float64],
    since: re.Match[str],
    calendar: str,
) -> list[YearMonth]:
    """Months of a "… since …" axis, by their bounds where these span a month."""
    unit, reference = since[1].lower(), since[2]
    if zero := _YEAR_ZERO.match(reference):
        reference = "0000-01-01" + reference[zero.end() :]
        # cftime has no year 0 in the mixed calendars; the proleptic one has, with the same months
        calendar = "proleptic_gregorian" if calendar in _MIXED else calendar
    if unit in {"month", "months"}:
        return _months_since(values, reference, time)
    middle = _middle_of_bounds(dataset, time, unit)
    stamps = values if middle is None else middle
    try:
        dates = cftime.num2date(
            stamps, f"{unit} since {reference}", calendar=calendar,
            has_year_zero=True if zero else None,
        )  # fmt: skip
    except (ValueError, OverflowError, TypeError) as error:
        raise SourceError(
            f"the time axis {time.name} is not readable: units {time.attrs.get('units')!r}, "
            f"calendar {calendar} ({error})"
        ) from error
    return [(date.year, date.month) for date in np.atleast_1d(dates)]


def _months_since(
    values: NDArray[np.float64], reference: str, time: xr.DataArray
) -> list[YearMonth]:
    begin = re.match(r"(\d{1,4})-(\d{1,2})", reference)
    if begin is None:
        raise SourceError(f"the time axis {time.name}: no year and month in {reference!r}")
    first = int(begin[1]) * 12 + int(begin[2]) - 1
    return [(n // 12, n % 12 + 1) for n in (first + np.floor(values).astype(int)).tolist()]


_PER_DAY = {"day": 1.0, "hour": 24.0, "minute": 1440.0, "second": 86400.0}


def _middle_of_bounds(
    dataset: xr.Dataset, time: xr.DataArray, unit: str
) -> NDArray[np.float64] | None:
    """The middle of every month, or None where there are no bounds of months.

    A climatology's bounds span years, and broken ones nothing: there the stamps have to do.
    """
    per_day = next((n for name, n in _PER_DAY.items() if unit.startswith(name)), None)
    for name in (time.attrs.get("bounds"), f"{time.name}_bnds", f"{time.name}_bounds"):
        if name in dataset.variables and per_day:
            bounds = np.asarray(dataset[name].values, dtype=np.float64)
            own = dataset[name].attrs.get("units", time.attrs.get("units"))
            if bounds.shape != (time.size, 2) or own != time.attrs.get("units"):
                return None
            days = np.diff(bounds, axis=1)[:, 0] / per_day
            return bounds.mean(axis=1) if ((days > 20) & (days < 32)).all() else None
    return None


def _require_twelve(months: list[YearMonth], time: xr.DataArray) -> None:
    if sorted(month for _, month in months) != list(range(1, 13)):
        raise SourceError(
            f"the time axis {time.name} is a climatology's ({time.attrs.get('units')!r}) with "
            f"{len(months)} entries: expected the twelve months of one year"
        )
