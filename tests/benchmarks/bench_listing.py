"""Planning ten million tiles, and taking up a store of a million finished shards.

    python -m tests.benchmarks.bench_listing [--tiles 10000000] [--shards 1000000] [--json FILE]

Asked: under a minute each, in memory that does not grow with them. Tiles are a plan's own, of many
realizations of one shard each, asked of an empty store; shards are empty files with empty receipts
in a folder of this disk, since listing looks at names alone. A bucket's are names that a server in
another process makes up, a thousand a page, which are asked for with gcsfs as always; what a true
one adds is its answers' delay: 2,000 pages a million shards, of up to 16 realizations at once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from aiohttp import web

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.domain.lattice import Lattice
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.store import GroupSpec, create_store, open_backlog
from tests.benchmarks.measure import MIB, machine, resident
from tests.fakes.gcs import FakeGcs

GROUP = Group("MODEL", "ssp585", "r1i1p1f1")
YEARS = 86


def plan_of(realizations: int) -> tuple[GroupPlan, GroupSpec]:
    """A century's tiles of one shard each, and its group."""
    record = month_record("noleap", "2015-01", 12 * YEARS)
    layout = Layout.of((record.start, record.stop), (0, 720), (0, 1440))
    lattice = Lattice((4, 16, 16), (2, 12, 12), (4, 4, 4), (180, 360))
    gcm = RectilinearGrid.from_centres(np.arange(80, -81, -20.0), np.arange(0, 360, 20.0))
    spec = GroupSpec(
        group=GROUP,
        layout=layout,
        grid=era5_grid(),
        record=record,
        realizations=realizations,
        recipe={"seed": 0},
        observation=np.ones((12 * YEARS, gcm.n_lat, gcm.n_lon), np.float32),
        gcm_grid=gcm,
    )
    return GroupPlan(GROUP, layout, record, lattice, realizations, Tiling(1, 0)), spec


def planned(folder: Path, count: int) -> dict[str, Any]:
    """Make a plan, ask an empty store, and go through all its tiles."""
    shards = plan_of(1)[0].n_tiles
    plan, spec = plan_of(-(-count // shards))
    url = str(folder / "empty.zarr")
    create_store(url, [spec])
    return asked("plan and pass", url, plan)


def taken_up(folder: Path, count: int) -> dict[str, Any]:
    """List a store whose shards are all there but one a realization."""
    shards = plan_of(1)[0].n_tiles
    realizations = max(count // shards, 1)
    plan, spec = plan_of(realizations)
    url = folder / "full.zarr"
    create_store(str(url), [spec])
    rain = url / GROUP.path / "pr"
    for realization in range(realizations):
        receipts = rain / "receipts" / str(realization)
        receipts.mkdir(parents=True)
        for t in range(1, shards):
            place = rain / "c" / str(realization) / str(t) / "0"
            os.makedirs(place)
            (place / "0").touch()
            (receipts / f"{t}.0.0.json").touch()
    row = asked("take up from a disk", str(url), plan)
    assert row["left"] == realizations
    return row


class Names(FakeGcs):
    """A bucket that has what is put into it, and the names of shards and receipts besides.

    Args:
        shards: Of each realization; the first is missing.
    """

    LISTED = re.compile(r".*/pr/(c|receipts)/\d+/")

    def __init__(self, shards: int) -> None:
        super().__init__()
        self._shards = shards

    async def _list(self, request: web.Request, bucket: str) -> web.Response:
        prefix = request.query.get("prefix", "")
        if not (found := self.LISTED.fullmatch(prefix)):
            return await super()._list(request, bucket)
        first = int(request.query.get("pageToken", 1))
        stop = min(first + int(request.query["maxResults"]), self._shards)
        name = "{}/0/0" if found[1] == "c" else "{}.0.0.json"
        items = [{"name": prefix + name.format(t)} for t in range(first, stop)]
        more = {"nextPageToken": str(stop)} if stop < self._shards else {}
        return web.json_response({"items": items, **more})


def serve(shards: int) -> None:
    """Tell the bucket's address and keep it until nobody listens."""
    with Names(shards) as bucket:
        bucket.buckets["lake"] = {}
        print(bucket.url, flush=True)
        sys.stdin.read()


def taken_up_from_a_bucket(count: int) -> dict[str, Any]:
    """List a bucket whose shards are all there but one a realization."""
    shards = plan_of(1)[0].n_tiles
    realizations = max(count // shards, 1)
    plan, spec = plan_of(realizations)
    command = [sys.executable, "-m", "tests.benchmarks.bench_listing", "--serve", str(shards)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        os.environ["STORAGE_EMULATOR_HOST"] = server.stdout.readline().strip()
        create_store("gs://lake/full.zarr", [spec])
        row = asked("take up from a bucket", "gs://lake/full.zarr", plan)
        server.stdin.close()
    assert row["left"] == realizations
    return row


def asked(what: str, url: str, plan: GroupPlan) -> dict[str, Any]:
    """Open a backlog and go through it."""
    Path("/proc/self/clear_refs").write_text("5")  # Linux's watermark falls to what is there
    before, began = resident("VmRSS"), time.monotonic()
    backlog = open_backlog(url, [plan])
    opened = time.monotonic() - began
    left = sum(1 for _ in backlog.tiles())
    assert left == len(backlog)
    return {
        "what": what,
        "number": plan.n_tiles,
        "left": left,
        "open s": round(opened, 1),
        "all s": round(time.monotonic() - began, 1),
        "growth MiB": round((resident("VmHWM") - before) / MIB, 1),
    }


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tiles", type=int, default=10**7)
    parser.add_argument("--shards", type=int, default=10**6)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.serve)
        return
    folder = Path(tempfile.mkdtemp(prefix="longwang-listing-"))
    try:
        rows = [
            planned(folder, options.tiles),
            taken_up(folder, options.shards),
            taken_up_from_a_bucket(options.shards),
        ]
    finally:
        shutil.rmtree(folder)
    print(machine("cpu", 1))
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))
    if options.json:
        about = {"machine": machine("cpu", 1), "command": " ".join(sys.argv)}
        told = {**about, "rows": rows, "asked": "60 s each"}
        options.json.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
