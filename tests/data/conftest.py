"""Monthly files as models write them, small, and each with one thing wrong where a test asks."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

REAL = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.fixture
def real():
    """A file of the real data; the test skips where there are none."""

    def find(name: str) -> str:
        found = sorted(REAL.glob(name))
        if not found:
            pytest.skip("no real data beside the checkout")
        return str(found[0])

    return find


def make_monthly(months=3, lat=None, lon=None, calendar="noleap", start="1960-11-01", bounds=True):
    """A well-formed file: 10° x 20°, latitudes ascending, kg m-2 s-1, stamps in mid-month."""
    lat = np.arange(-85.0, 90, 10) if lat is None else np.asarray(lat, float)
    lon = np.arange(0.0, 360, 20) if lon is None else np.asarray(lon, float)
    edges = xr.date_range(start, periods=months + 1, freq="MS", calendar=calendar, use_cftime=True)
    days = np.array([(edge - edges[0]).days for edge in edges], float)
    rng = np.random.default_rng(0)
    rain = rng.gamma(0.7, 4.0, (months, len(lat), len(lon))).astype(np.float32) / 86400
    units = {"units": f"days since {start}", "calendar": calendar}
    dataset = xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain, {"units": "kg m-2 s-1"})},
        coords={
            "time": ("time", (days[:-1] + days[1:]) / 2, {**units, "standard_name": "time"}),
            "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
            "lon": ("lon", lon, {"units": "degrees_east", "standard_name": "longitude"}),
        },
        attrs={"source_id": "TEST", "tracking_id": "hdl:1/2"},
    )
    if bounds:
        dataset["time_bnds"] = (("time", "bnds"), np.stack([days[:-1], days[1:]], axis=1))
        dataset["time"].attrs["bounds"] = "time_bnds"
        for axis in ("lat", "lon"):
            values = dataset[axis].values
            half = (values[1] - values[0]) / 2
            dataset[f"{axis}_bnds"] = ((axis, "bnds"), np.stack([values - half, values + half], 1))
            dataset[axis].attrs["bounds"] = f"{axis}_bnds"
    return dataset


@pytest.fixture
def write(tmp_path):
    """Write a data set as one file and return its path."""

    def to_file(dataset, name="pr.nc", kind="NETCDF4"):
        path = tmp_path / name
        dataset.to_netcdf(path, format=kind, engine="netcdf4")
        return str(path)

    return to_file


@pytest.fixture
def monthly():
    """The maker of well-formed monthly data sets."""
    return make_monthly
