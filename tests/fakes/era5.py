"""ARCO-ERA5 as its archive lies in the cloud: hours of the globe in chunks of one, Zarr v2."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import xarray as xr
import zarr

BUCKET = "gcp-public-data-arco-era5"
STORE = "ar/full_37-1h-0p25deg-chunk-1.zarr-v3"
SHAPE = (721, 1440)
CALENDAR = "proleptic_gregorian"


def write_archive(
    folder: Path,
    first: str,
    hours: int,
    rain: Callable[[int], np.ndarray | None],
    valid: tuple[str, str] | None = None,
) -> None:
    """Write a store of that layout.

    Args:
        folder: Where.
        first: Stamp of the first hour, ``"1979-01-01T00"``; rain fell in the hour before it.
        hours: How many stamps there are.
        rain: Metres in the hour of an index, ``(721, 1440)``; None: the archive lacks its chunk.
        valid: First and last day with data, for a store that is made ahead of its data.
    """
    epoch = np.datetime64("1900-01-01T00", "h")
    since = (np.datetime64(first, "h") - epoch).astype("i8") + np.arange(hours)
    north, east = {"units": "degrees_north"}, {"units": "degrees_east"}
    names = ("valid_time_start", "valid_time_stop")
    dataset = xr.Dataset(
        {"temperature": (("time", "level", "values"), np.zeros((hours, 2, 3), "f4"))},
        coords={
            "time": ("time", since, {"units": "hours since 1900-01-01", "calendar": CALENDAR}),
            "latitude": ("latitude", np.linspace(90, -90, SHAPE[0], dtype="f4"), north),
            "longitude": ("longitude", np.arange(SHAPE[1], dtype="f4") / 4, east),
        },
        attrs=dict(zip(names, valid, strict=True)) if valid else {},
    )
    dataset.to_zarr(folder, zarr_format=2, consolidated=False)
    stored = zarr.open_group(folder, mode="a", zarr_format=2).create_array(
        "total_precipitation",
        shape=(hours, *SHAPE),
        chunks=(1, *SHAPE),
        dtype="f4",
        fill_value=np.nan,
        attributes={"_ARRAY_DIMENSIONS": ["time", "latitude", "longitude"], "units": "m"},
    )
    for hour in range(hours):
        if (field := rain(hour)) is not None:
            stored[hour] = field
    zarr.consolidate_metadata(folder, zarr_format=2)
