"""The length that a classic header promises is the length the library writes."""

import os

import numpy as np
import pytest
import xarray as xr

from longwang_ray.data.classic import expected_size

FORMATS = ["NETCDF3_CLASSIC", "NETCDF3_64BIT", "NETCDF3_64BIT_DATA"]


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("unlimited", [[], ["time"]])
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2", "i1"])
def test_size_is_the_files(tmp_path, kind, unlimited, count, dtype):
    variables = {
        f"v{i}": (("time", "x"), np.ones((3, 5), dtype), {"units": "kg m-2 s-1"})
        for i in range(count)
    }
    path = tmp_path / "a.nc"
    dataset = xr.Dataset(variables, attrs={"title": "abc", "numbers": np.arange(3.0)})
    dataset.to_netcdf(path, format=kind, unlimited_dims=unlimited, engine="netcdf4")
    # the library pads its last variable to four bytes, and its reader does not ask for it
    assert 0 <= os.path.getsize(path) - expected_size(path) < 4


@pytest.mark.parametrize("kind", FORMATS)
def test_monthly_file(monthly, write, kind):
    path = write(monthly(), kind=kind)
    assert 0 <= os.path.getsize(path) - expected_size(path) < 4


def test_real_classic_files(real):
    for name in ("CCSM3*", "*NorESM1-ME*"):
        path = real(f"cmip/{name}")
        assert 0 <= os.path.getsize(path) - expected_size(path) < 4
