"""What readers of a finished store pay: a day's map of the globe, and a point's series of years.

    python -m tests.benchmarks.bench_readers [--years 10] [--json FILE]

The store is made as a run makes one, of the globe at a quarter degree in shards of 32 days, with
synthetic rain: 65 % of it dry, the rest gamma distributed; each reading opens the store anew.
Requests and bytes are counted where Zarr asks its files for them. One shard's rain is drawn once
and put in all places: sizes are those of independent shards, and what is read does not depend on
the values.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from zarr.storage import LocalStore

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.domain.layout import SHARD_DAYS, Group, Layout
from longwang_ray.store import GroupSpec, ShardWriter, create_store, open_ensemble
from tests.benchmarks.measure import MIB, machine

GROUP = Group("MODEL", "historical", "r1i1p1f1")
DRY = 0.65
Row = dict[str, Any]


def spec_of(years: int) -> GroupSpec:
    """A globe's group of one realization."""
    record = month_record("noleap", "2000-01", 12 * years)
    gcm = RectilinearGrid.from_centres(np.arange(80, -81, -20.0), np.arange(0, 360, 20.0))
    return GroupSpec(
        group=GROUP,
        layout=Layout.of((record.start, record.stop), (0, 720), (0, 1440)),
        grid=era5_grid(),
        record=record,
        realizations=1,
        recipe={"seed": 0},
        observation=np.ones((12 * years, gcm.n_lat, gcm.n_lon), np.float32),
        gcm_grid=gcm,
    )


def fill(url: str, spec: GroupSpec) -> None:
    """Write all shards."""
    create_store(url, [spec])
    days = spec.record.stop - spec.record.start
    draw = np.random.default_rng(0)
    rain = draw.gamma(0.7, 8.0, (SHARD_DAYS, 720, 1440)).astype(np.float32)
    rain[draw.random(rain.shape) < DRY] = 0.0
    with ShardWriter(url) as writer:
        for shard in range(-(-days // SHARD_DAYS)):
            part = rain[: days - shard * SHARD_DAYS]
            writer.put(GROUP, (0, shard, 0, 0), part, f"t{shard}")
        writer.flush()


@contextmanager
def counted() -> Iterator[dict[str, int]]:
    """Count what Zarr gets from files, and its bytes."""
    seen, get = {"requests": 0, "bytes": 0}, LocalStore.get

    async def counting(self: LocalStore, *args: Any, **more: Any) -> Any:
        found = await get(self, *args, **more)
        seen["requests"] += 1
        seen["bytes"] += len(found) if found is not None else 0
        return found

    LocalStore.get = counting  # type: ignore[method-assign]
    try:
        yield seen
    finally:
        LocalStore.get = get  # type: ignore[method-assign]


def reading(what: str, url: str, read: Callable[[xr.Dataset], xr.DataArray]) -> Row:
    """Open a store and read of it."""
    with counted() as seen:
        began = time.monotonic()
        dataset = open_ensemble(url, GROUP.path)
        opened = time.monotonic() - began
        values = read(dataset).to_numpy()
        seconds = time.monotonic() - began
    assert np.isfinite(values).all()
    assert seen["requests"], "reads were not counted"
    return {"what": what, "values": values.size, "open s": round(opened, 2),
            "all s": round(seconds, 2), "requests": seen["requests"],
            "MiB": round(seen["bytes"] / MIB, 2)}  # fmt: skip


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--years", type=int, default=10)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="longwang-readers-") as folder:
        url, spec = str(Path(folder) / "globe.zarr"), spec_of(options.years)
        fill(url, spec)
        size = sum(file.stat().st_size for file in Path(url).rglob("*") if file.is_file())
        middle = (spec.record.stop - spec.record.start) // 2
        rows = [
            reading("map of a day", url, lambda d: d.pr.isel(realization=0, time=middle)),
            reading("series", url, lambda d: d.pr.isel(realization=0, lat=300, lon=100)),
        ]
    about = {"machine": machine("cpu", 1), "command": " ".join(sys.argv),
             "years": options.years, "store MiB": round(size / MIB)}  # fmt: skip
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
