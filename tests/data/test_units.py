"""Units: every spelling in the table is one number; everything else is refused."""

import numpy as np
import pytest

from longwang_ray.data.source import SourceError
from longwang_ray.data.units import amount_in_mm, to_mm_per_day

DAYS = np.array([31, 28, 31])


@pytest.mark.parametrize(
    "units",
    ["kg m-2 s-1", "kg/m2/s", "kg m^-2 s^-1", "kg m**-2 s**-1", "kg/(m^2 s)", "kg.m-2.s-1",
     "kg s-1 m-2", "kg m{-2} s{-1}", "kg m⁻² s⁻¹", "mm s-1", "mm/s", "mm/sec", " KG M-2 S-1 "],
)  # fmt: skip
def test_flux(units):
    assert to_mm_per_day(units, DAYS).tolist() == [86400.0] * 3


@pytest.mark.parametrize(
    ("units", "factor"),
    [("mm/day", 1), ("mm d-1", 1), ("mm day^-1", 1), ("mm per day", 1), ("kg m-2 day-1", 1),
     ("kg m-2 d-1", 1), ("millimeters per day", 1), ("mm/d", 1), ("mm/24h", 1), ("mm/hr", 24),
     ("mm h-1", 24), ("m/day", 1000), ("m d-1", 1000), ("m s-1", 86.4e6), ("m/s", 86.4e6),
     ("cm/day", 10)],
)  # fmt: skip
def test_rates(units, factor):
    assert to_mm_per_day(units, DAYS).tolist() == [factor] * 3


@pytest.mark.parametrize("units", ["mm/month", "mm month-1", "mm mon-1", "kg m-2 month-1"])
def test_amounts_per_month_take_the_months_own_days(units):
    np.testing.assert_allclose(to_mm_per_day(units, DAYS), 1 / DAYS)


@pytest.mark.parametrize(
    "units", ["K", "mm", "m", "inches/day", "1", "kg m-2", "W m-2", "mm/year"]
)
def test_what_is_not_in_the_table_is_refused(units):
    with pytest.raises(SourceError, match=r"unknown units .*known are kg m-2 s-1, "):
        to_mm_per_day(units, DAYS)


@pytest.mark.parametrize("units", [None, "", " ", 3])
def test_no_units(units):
    with pytest.raises(SourceError, match="has no units"):
        to_mm_per_day(units, DAYS)


def test_amounts():
    assert amount_in_mm("m of water equivalent") == 1000
    assert amount_in_mm("kg/m^2") == 1
    assert amount_in_mm("mm s-1") is None
    assert amount_in_mm(None) is None
