"""What stands in a group before any rain does: coordinates, attributes and array descriptions.

All of it is a pure function of a :class:`GroupSpec`: it is made by Zarr in memory and comes out as
objects, key → bytes, that can be put on any store, compared, or put again after a crash.

    {gcm}/{scenario}/{variant}/           pr(realization, time, lat, lon), coordinates, bounds
    {gcm}/{scenario}/{variant}/monthly/   (realization,) month, gcm_lat, gcm_lon: what was observed
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.codecs import BloscCodec
from zarr.core.buffer import Buffer
from zarr.storage import MemoryStore

from longwang_ray.domain.calendar import Month, Record, date_of
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.store.shards import SECONDS_A_DAY

#: Realizations in one chunk of their coordinate. The chunk is full from the start, so that a
#: larger ensemble changes shapes and no data.
_REALIZATIONS = 1024
#: Months in one chunk of the monthly arrays.
MONTHS = 12
MONTHLY = {
    "closure_before": "relative difference of the GCM cell's monthly mean, before closure",
    "closure_after": "relative difference of the GCM cell's monthly mean, after closure",
    "closure_factor": "factor of the GCM cell's rain that closes it, mean over its area",
    "conflict": "chi square of the observation minus its estimate, before closure",
}
#: The nodes of a group below it, in the order in which they are made.
NODES = (
    *("pr", "quantization_info", "realization", "time", "time_bnds"),
    *("lat", "lat_bnds", "lon", "lon_bnds", "monthly"),
    *(f"monthly/{name}" for name in ("month", "month_bnds", "gcm_lat", "gcm_lat_bnds")),
    *(f"monthly/{name}" for name in ("gcm_lon", "gcm_lon_bnds", "realization", "observation")),
    *(f"monthly/{name}" for name in MONTHLY),
)


@dataclass(frozen=True, eq=False)
class GroupSpec:
    """All that is fixed about one group before a run.

    Attributes:
        group: Which.
        layout: Its output array and shards.
        grid: The whole fine grid, of which the layout takes rows and columns.
        record: The source's months.
        realizations: Samples wanted.
        recipe: What fixes the field; anything JSON can say.
        observation: Monthly rain on the GCM's grid, mm/day, ``(month, lat, lon)`` with the months
            of ``record``; NaN where there is none.
        gcm_grid: The GCM's grid.
        attributes: More global attributes: title, intended_use, source_id, tracking_id…
        shards: Time shards ``[first, stop)`` asked for in this run; all if None.
        mantissa_bits: Bits kept of 23.
    """

    group: Group
    layout: Layout
    grid: RectilinearGrid
    record: Record
    realizations: int
    recipe: Mapping[str, Any]
    observation: NDArray[np.float32]
    gcm_grid: RectilinearGrid
    attributes: Mapping[str, Any] = field(default_factory=dict)
    shards: tuple[int, int] | None = None
    mantissa_bits: int = 9

    def __post_init__(self) -> None:
        expected = (len(self.record.months), self.gcm_grid.n_lat, self.gcm_grid.n_lon)
        if self.observation.shape != expected:
            raise ValueError(
                f"observation has shape {self.observation.shape}, expected {expected}"
            )
        if self.realizations < 1:
            raise ValueError(f"realizations: {self.realizations}; at least 1 is needed")

    @property
    def asked(self) -> tuple[int, int]:
        """Time shards ``[first, stop)`` asked for."""
        return self.shards or (0, self.layout.grid[0])

    @property
    def months(self) -> range:
        """Months of the record that the layout's days touch."""
        return self.record.months_covering(self.layout.first_day, self.layout.last_day)

    def frame(self) -> dict[str, Any]:
        """Return what else than the recipe must agree for two runs to share a group."""
        grid = self.layout
        return {
            "calendar": self.record.calendar,
            "first_day": grid.first_day,
            "first_month": self.months.start,
            "first_month_day": self.record.months[self.months.start].start,
            "n_days": grid.n_days,
            "rows": list(grid.rows),
            "columns": list(grid.columns),
            "shard": list(grid.shard),
            "n_lon": grid.n_lon,
            "mantissa_bits": self.mantissa_bits,
        }


def canonical(recipe: Mapping[str, Any]) -> str:
    """Return the one way to write a recipe as JSON."""
    return json.dumps(recipe, sort_keys=True, separators=(",", ":"), allow_nan=False)


def recipe_hash(recipe: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a recipe.

    >>> recipe_hash({"b": 1, "a": 2}) == recipe_hash({"a": 2, "b": 1})
    True
    """
    return hash_text(canonical(recipe))


def hash_text(text: str) -> str:
    """Return the SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def group_objects(spec: GroupSpec) -> dict[str, bytes]:
    """Return all objects of a new group, by their key below the group; its own ``zarr.json`` last.

    A store in which the last one stands is whole.
    """
    held: dict[str, Buffer] = {}
    root = zarr.create_group(MemoryStore(held), attributes=_attributes(spec))
    _add_rain(root, spec)
    _add_axes(root, spec)
    _add_monthly(root.create_group("monthly", attributes={"title": "What was observed"}), spec)
    held["zarr.json"] = held.pop("zarr.json")
    return {key: value.to_bytes() for key, value in held.items()}


def _attributes(spec: GroupSpec) -> dict[str, Any]:
    grid = cells(spec)
    return {
        "Conventions": "CF-1.12, ACDD-1.3",
        "title": f"Daily precipitation ensemble of {spec.group.path}",
        "summary": "Realizations of daily precipitation, sampled from a generative prior given the"
        " monthly means of a climate model; each is one of many fields that these means allow.",
        "keywords": "precipitation, downscaling, ensemble, CMIP6",
        "processing_level": "statistically downscaled model output",
        "source_id": spec.group.gcm,
        "experiment_id": spec.group.scenario,
        "variant_label": spec.group.variant,
        "geospatial_lat_min": float(grid.lat_bounds.min()),
        "geospatial_lat_max": float(grid.lat_bounds.max()),
        "geospatial_lon_min": float(grid.lon_bounds.min()),
        "geospatial_lon_max": float(grid.lon_bounds.max()),
        "geospatial_lat_units": "degrees_north",
        "geospatial_lon_units": "degrees_east",
        "time_coverage_resolution": "P1D",
        **spec.attributes,
        "recipe": canonical(spec.recipe),
        "recipe_sha256": recipe_hash(spec.recipe),
        "layout": json.dumps(spec.frame(), sort_keys=True),
        "asked_shards": [[spec.realizations, *spec.asked]],
        "date_created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def cells(spec: GroupSpec) -> RectilinearGrid:
    """Return the group's cells; longitudes rise eastward, past 360° if the region passes 0°E."""
    (row, rows), (column, columns) = spec.layout.rows, spec.layout.columns
    chosen = np.arange(column, column + columns)
    part = spec.grid.take(np.arange(row, row + rows), chosen % spec.layout.n_lon)
    turn = 360.0 * (chosen // spec.layout.n_lon)
    return RectilinearGrid(
        part.lat, part.lon + turn, part.lat_bounds, part.lon_bounds + turn[:, None]
    )


def _add_rain(root: zarr.Group, spec: GroupSpec) -> None:
    days, rows, columns = spec.layout.shard
    root.create_array(
        "pr",
        shape=(spec.realizations, *spec.layout.shape),
        shards=(1, days, rows, columns),
        chunks=(1, days, _part(rows), _part(columns)),
        dtype="float32",
        fill_value=np.nan,
        compressors=BloscCodec(cname="zstd", clevel=3, shuffle="shuffle", typesize=4),
        dimension_names=("realization", "time", "lat", "lon"),
        attributes={
            "standard_name": "precipitation_flux",
            "long_name": "daily precipitation",
            "units": "kg m-2 s-1",
            "cell_methods": "time: mean area: mean",
            "quantization": "quantization_info",
            "quantization_nsb": spec.mantissa_bits,
        },
    )
    _put(
        root,
        "quantization_info",
        (),
        np.int8(0),
        algorithm="bitround",
        implementation="longwang_ray.store.shards.round_mantissa, to nearest, ties to even",
    )


def _part(size: int) -> int:
    """Return the size of an inner chunk: a whole part of a shard's side, near an eighth of it."""
    return next(size // n for n in range(8, 0, -1) if size % n == 0 and (size // n >= 8 or n == 1))


def _add_axes(root: zarr.Group, spec: GroupSpec) -> None:
    grid, days = cells(spec), np.arange(spec.layout.n_days, dtype=np.float64)
    _add_realizations(root, spec.realizations)
    first = date_of(spec.layout.first_day, spec.record.calendar)
    _add_time(
        root, "time", "time", spec.record.calendar, _since(first), np.stack([days, days + 1], 1)
    )
    _add_cells(root, "", grid)


def _since(date: Any) -> str:  # noqa: ANN401 - cftime has no type information
    return f"days since {date.year:04d}-{date.month:02d}-{date.day:02d}"


def _add_realizations(root: zarr.Group, count: int) -> None:
    room = -(-count // _REALIZATIONS) * _REALIZATIONS
    array = root.create_array(
        "realization",
        shape=(room,),
        chunks=(_REALIZATIONS,),
        dtype="int32",
        fill_value=0,
        dimension_names=("realization",),
        attributes={"standard_name": "realization", "long_name": "sample number", "units": "1"},
    )
    array[:] = np.arange(room)
    array.resize((count,))


def _add_time(
    root: zarr.Group, name: str, dim: str, calendar: str, units: str, bounds: NDArray[np.float64]
) -> None:
    _put(
        root,
        name,
        (dim,),
        bounds.mean(axis=1),
        standard_name="time",
        axis="T",
        units=units,
        calendar=calendar,
        bounds=f"{name}_bnds",
    )
    _put(root, f"{name}_bnds", (dim, "bnds"), bounds)


def _add_cells(root: zarr.Group, prefix: str, grid: RectilinearGrid) -> None:
    for axis, long, sign in (("lat", "latitude", "Y"), ("lon", "longitude", "X")):
        name = f"{prefix}{axis}"
        units = {"lat": "degrees_north", "lon": "degrees_east"}[axis]
        about = {"standard_name": long, "long_name": long, "units": units, "axis": sign}
        _put(root, name, (name,), getattr(grid, axis), **about, bounds=f"{name}_bnds")
        _put(root, f"{name}_bnds", (name, "bnds"), getattr(grid, f"{axis}_bounds"))


def _add_monthly(root: zarr.Group, spec: GroupSpec) -> None:
    months = [spec.record.months[k] for k in spec.months]
    first: Month = months[0]
    bounds = np.array([[m.start, m.stop] for m in months], np.float64) - first.start
    units = f"days since {first.year:04d}-{first.month:02d}-01"
    _add_time(root, "month", "month", spec.record.calendar, units, bounds)
    _add_cells(root, "gcm_", spec.gcm_grid)
    _add_realizations(root, spec.realizations)
    dims = ("month", "gcm_lat", "gcm_lon")
    shape = (len(months), spec.gcm_grid.n_lat, spec.gcm_grid.n_lon)
    given = spec.observation[spec.months.start : spec.months.stop] / np.float32(SECONDS_A_DAY)
    _put(
        root,
        "observation",
        dims,
        given.astype(np.float32),
        standard_name="precipitation_flux",
        long_name="monthly precipitation of the climate model, as observed",
        units="kg m-2 s-1",
        cell_methods="month: mean area: mean",
    )
    for name, meaning in MONTHLY.items():
        root.create_array(
            name,
            shape=(spec.realizations, *shape),
            chunks=(1, min(MONTHS, shape[0]), *shape[1:]),
            dtype="float32",
            fill_value=np.nan,
            dimension_names=("realization", *dims),
            attributes={"long_name": meaning, "units": "1"},
        )


def _put(
    root: zarr.Group,
    name: str,
    dims: tuple[str, ...],
    values: Any,  # noqa: ANN401 - whatever numpy makes an array of
    **attributes: Any,  # noqa: ANN401 - whatever JSON can say
) -> None:
    """Add a small array in one chunk."""
    data = np.asarray(values)
    root.create_array(
        name,
        shape=data.shape,
        chunks=tuple(max(n, 1) for n in data.shape),
        dtype=data.dtype,
        fill_value=np.nan if data.dtype.kind == "f" else 0,
        dimension_names=dims,
        attributes=attributes,
    )[...] = data
