"""Units of rain that files really use, and what turns each into mm/day.

A small explicit table: a unit that is not in it is refused, because a wrong guess is off by a
factor of 86400, or by one of 30, which nobody sees in a map. One kg m-2 of water is one mm.
"""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from longwang_ray.data.source import SourceError

__all__ = ["amount_in_mm", "to_mm_per_day"]

# An amount of rain: mm in one, and its spellings, without blanks and the signs ** ^ · . ( ) { }.
_AMOUNTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "kg m-2": (1.0, ("kgm-2", "kg/m2", "kgofwaterm-2")),
    "mm": (1.0, ("mm", "millimeter", "millimeters", "millimetre", "millimetres")),
    "cm": (10.0, ("cm",)),
    "m": (1000.0, ("m", "meter", "meters", "metre", "metres", "mofwaterequivalent")),
}
# The time in which it falls: how many are in a day (None: the month's own days), and spellings.
_TIMES: dict[str, tuple[float | None, tuple[str, ...]]] = {
    "s-1": (86400.0, ("s", "sec", "second", "seconds")),
    "h-1": (24.0, ("h", "hr", "hour", "hours")),
    "day-1": (1.0, ("d", "day", "days", "24h", "24hr")),
    "month-1": (None, ("month", "months", "mon", "mo")),
}


def _table() -> dict[str, tuple[float, float | None]]:
    """Every spelling of a rate: mm in its amount, and its times in a day."""
    table = {}
    for amount_mm, amounts in _AMOUNTS.values():
        for per_day, times in _TIMES.values():
            for amount in amounts:
                for time in times:
                    forms = [f"{amount}{time}-1", f"{amount}/{time}"]
                    if amount == "kg/m2":
                        forms += [f"kg/m2{time}", f"kg{time}-1m-2", f"kg/{time}/m2"]
                    table.update(dict.fromkeys(forms, (amount_mm, per_day)))
    return table


_RATES = _table()
KNOWN = [f"{amount} {time}" for amount in _AMOUNTS for time in _TIMES]


def to_mm_per_day(units: object, days: NDArray[np.int64]) -> NDArray[np.float64]:
    """Factor from a file's unit to mm/day, for each month.

    Args:
        units: The variable's ``units`` attribute, or None where it has none.
        days: Length of each month, shape ``(month,)``; only amounts per month ask for it.

    Returns:
        Factors, shape ``(month,)``.

    Raises:
        SourceError: No unit, or one that is not in the table.

    >>> to_mm_per_day("kg m-2 s-1", np.array([30, 31])).tolist()
    [86400.0, 86400.0]
    >>> (to_mm_per_day("mm/month", np.array([30, 31])) * 30).tolist()
    [1.0, 0.967741935483871]
    """
    if not isinstance(units, str) or not units.strip():
        raise SourceError(
            "it has no units: write the right ones into it, for example with "
            "`ncatted -a units,pr,o,c,'kg m-2 s-1' FILE`"
        )
    found = _RATES.get(_compact(units))
    if found is None:
        amount_only = amount_in_mm(units) is not None
        hint = " (an amount, without the time in which it fell)" if amount_only else ""
        raise SourceError(
            f"unknown units {units!r}{hint}; known are {', '.join(KNOWN)} and their spellings "
            "(mm/day, mm d-1, kg/m2/s, …): convert the variable, or correct its units attribute"
        )
    amount_mm, per_day = found
    return amount_mm * (1.0 / days if per_day is None else np.full(len(days), per_day))


def amount_in_mm(units: object) -> float | None:
    """Millimetres in the unit of an amount (``m``, ``kg m-2``); None where it is no amount.

    >>> amount_in_mm("m"), amount_in_mm("kg m**-2"), amount_in_mm("mm/day")
    (1000.0, 1.0, None)
    """
    text = _compact(units) if isinstance(units, str) else ""
    return next((mm for mm, spellings in _AMOUNTS.values() if text in spellings), None)


def _compact(units: str) -> str:
    """A unit without what people write differently: ``kg m**-2 s^-1`` → ``kgm-2s-1``."""
    text = re.sub(r"[\s^*·.(){}]|⁺", "", units.lower())
    text = text.translate(str.maketrans("⁻⁰¹²³", "-0123"))
    return re.sub(r"per(?=[a-z0-9])", "/", text)
