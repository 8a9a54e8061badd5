"""When days are: months and day numbers of the climate models' calendars.

Time is one integer, the day number: days since 0001-01-01 in the record's own calendar. A month is
a real month of that calendar, 28 to 31 days (30 in 360_day; 21 in October 1582), never 32.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from itertools import pairwise

import cftime

CALENDARS = {
    "standard": "standard",
    "gregorian": "standard",
    "proleptic_gregorian": "proleptic_gregorian",
    "noleap": "noleap",
    "365_day": "noleap",
    "360_day": "360_day",
    "julian": "julian",
}
EPOCH = "days since 0001-01-01"

YearMonth = tuple[int, int]


def canonical_calendar(name: str) -> str:
    """The one name of a calendar, e.g. ``365_day`` → ``noleap``.

    Raises:
        ValueError: if we don't know the calendar.
    """
    if name.lower() not in CALENDARS:
        raise ValueError(f"calendar {name!r} is unknown; known: {', '.join(CALENDARS)}")
    return CALENDARS[name.lower()]


def day_number(calendar: str, year: int, month: int, day: int = 1) -> int:
    """Days from 0001-01-01 to a date, in a calendar.

    Raises:
        ValueError: if the calendar is unknown, the date not in it, or before year 1.

    >>> day_number("noleap", 2, 1), day_number("360_day", 2, 1)
    (365, 360)
    """
    name = canonical_calendar(calendar)
    if year < 1:
        raise ValueError(f"year {year} lies before year 1, where day numbers begin")
    date = cftime.datetime(year, month, day, calendar=name)
    return int(cftime.date2num(date, EPOCH, calendar=name))


def date_of(day: int, calendar: str) -> cftime.datetime:
    """The date of a day number, at midnight."""
    return cftime.num2date(int(day), EPOCH, calendar=canonical_calendar(calendar))


def year_fraction(day: float, calendar: str) -> float:
    """How far the year has gone at a day number: 0 at the start of 1 January, below 1.

    Args:
        day: Day number; half days are allowed (the middle of a window).
        calendar: Any known calendar.

    >>> year_fraction(365 + 73, "noleap")
    0.2
    """
    year = date_of(int(day // 1), calendar).year
    begin = day_number(calendar, year, 1)
    return (day - begin) / (day_number(calendar, year + 1, 1) - begin)


def parse_month(text: str) -> YearMonth:
    """``"1960-11"`` → ``(1960, 11)``.

    Raises:
        ValueError: if it isn't a year and a month.
    """
    match = re.fullmatch(r"(\d{1,4})-(\d{2})", text.strip())
    if not match or not 1 <= int(match[2]) <= 12 or int(match[1]) < 1:
        raise ValueError(f"{text!r} is not a month; write it as YYYY-MM, e.g. 1960-11")
    return int(match[1]), int(match[2])


@dataclass(frozen=True)
class Month:
    """One calendar month.

    Attributes:
        year: Year.
        month: 1 … 12.
        start: Day number of its first day.
        days: Its length.
    """

    year: int
    month: int
    start: int
    days: int

    @property
    def stop(self) -> int:
        """Day number after its last day."""
        return self.start + self.days

    def __str__(self) -> str:
        return f"{self.year:04d}-{self.month:02d}"


@dataclass(frozen=True)
class Record:
    """The contiguous months that a source has.

    Attributes:
        calendar: Canonical name; an alias is replaced by it.
        months: Every month, in order and without gaps.

    Raises:
        ValueError: if a month is missing, double or out of order.
    """

    calendar: str
    months: tuple[Month, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "calendar", canonical_calendar(self.calendar))
        if not self.months:
            raise ValueError("a record needs at least one month")
        for before, after in pairwise(self.months):
            following = _following((before.year, before.month))
            if (after.year, after.month) != following or after.start != before.stop:
                raise ValueError(
                    f"month {after} follows {before}, expected {following[0]:04d}-"
                    f"{following[1]:02d}; give every month once and in order"
                )

    @property
    def start(self) -> int:
        """Day number of the first day."""
        return self.months[0].start

    @property
    def stop(self) -> int:
        """Day number after the last day."""
        return self.months[-1].stop

    @property
    def n_days(self) -> int:
        """Length in days."""
        return self.stop - self.start

    def months_covering(self, day0: int, day1: int) -> range:
        """Indices of the months that hold a day of ``[day0, day1)``; empty outside the record."""
        if day0 >= day1:
            return range(0)
        first = bisect_right(self.months, day0, key=lambda month: month.stop)
        stop = bisect_left(self.months, day1, key=lambda month: month.start)
        return range(first, max(first, stop))

    def months_inside(self, day0: int, day1: int) -> range:
        """Indices of the months that lie wholly in ``[day0, day1)``."""
        first = bisect_left(self.months, day0, key=lambda month: month.start)
        stop = bisect_right(self.months, day1, key=lambda month: month.stop)
        return range(first, max(first, stop))

    def index_of(self, month: YearMonth | str) -> int:
        """Place of a month, given as ``(year, month)`` or ``"YYYY-MM"``.

        Raises:
            ValueError: if the record doesn't hold it.
        """
        year, number = parse_month(month) if isinstance(month, str) else month
        index = (year - self.months[0].year) * 12 + number - self.months[0].month
        if not (1 <= number <= 12 and 0 <= index < len(self.months)):
            raise ValueError(
                f"month {year:04d}-{number:02d} is outside the record "
                f"{self.months[0]} … {self.months[-1]}; choose months that the source has"
            )
        return index

    def days_of(self, first: YearMonth | str, last: YearMonth | str) -> tuple[int, int]:
        """Day numbers ``[start, stop)`` of an inclusive period of months.

        Raises:
            ValueError: if the record doesn't hold it, or it ends before it begins.
        """
        begin, end = self.index_of(first), self.index_of(last)
        if end < begin:
            raise ValueError(f"period ends in {last} before it begins in {first}; swap them")
        return self.months[begin].start, self.months[end].stop


def month_record(calendar: str, first: YearMonth | str, count: int) -> Record:
    """The record of ``count`` months from ``first`` on.

    >>> [month.days for month in month_record("noleap", "2000-01", 3).months]
    [31, 28, 31]
    """
    year, month = parse_month(first) if isinstance(first, str) else first
    starts = []
    for _ in range(count + 1):
        starts.append((year, month, day_number(calendar, year, month)))
        year, month = _following((year, month))
    months = tuple(
        Month(year, month, start, after[2] - start)
        for (year, month, start), after in pairwise(starts)
    )
    return Record(calendar, months)


def _following(month: YearMonth) -> YearMonth:
    year, number = month
    return (year + 1, 1) if number == 12 else (year, number + 1)
