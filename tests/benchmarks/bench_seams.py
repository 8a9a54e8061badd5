"""Do windows, GCM cells or 0°E show in the rain? Seam indices of an ensemble, beyond the truth's.

    python -m tests.benchmarks.bench_seams [--prior demo] [--realizations 4] [--json FILE]

    seam index = mean |gradient| across lines / mean |gradient| elsewhere

across the lines where windows of the lattice begin or end (time, latitude, longitude), 0°E, the
edges of GCM cells and all edges of latent cells (which tells the decoder's own grid from the
lattice's). Where windows overlap, variance and p99 are compared with where one stands alone. All
are divided by the same of the synthetic truth whose months were observed; one is no seam.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.lattice import Lattice, Span

Lines = Mapping[str, tuple[int, np.ndarray]]
"""Name → (axis, whether the pair of cells ``i, i + 1`` on it is parted by a line)."""
AXES = {"time": -3, "lat": -2, "lon": -1}


def seam_index(rain: np.ndarray, axis: int, parted: np.ndarray) -> float:
    """Mean |gradient| across lines over elsewhere.

    Args:
        rain: ``(…, time, lat, lon)``.
        axis: Of the lines, from the end.
        parted: Which pairs of neighbours a line parts, ``(cells − 1,)``, bool.
    """
    jumps = np.abs(np.diff(rain.astype(np.float64), axis=axis))
    jumps = np.moveaxis(jumps, axis, -1).reshape(-1, len(parted)).mean(0)
    return float(jumps[parted].mean() / jumps[~parted].mean())


def overlap_ratios(rain: np.ndarray, axis: int, alone: np.ndarray) -> dict[str, float]:
    """Variance and p99 of cells where windows overlap over those where one stands alone."""
    cells = np.moveaxis(rain, axis, -1)
    blended, single = cells[..., ~alone], cells[..., alone]
    return {
        "variance": float(blended.var(dtype=np.float64) / single.var(dtype=np.float64)),
        "p99": float(np.quantile(blended, 0.99) / np.quantile(single, 0.99)),
    }


def window_lines(span: Span, first: int, count: int) -> np.ndarray:
    """Pairs of the fine cells ``first … first + count − 1`` parted by a window's begin or end."""
    places = np.concatenate([span.offsets, np.array(span.offsets) + span.window])
    edges = np.zeros(span.fine_size + 1, bool)
    edges[places[(places > 0) & (places < span.size)] * span.compression] = True
    local = span.local_fine(first, count)
    return edges[local[1:]]


def standing_alone(span: Span, first: int, count: int) -> np.ndarray:
    """Which fine cells only one window covers, ``(count,)``, bool."""
    cover = np.zeros(span.fine_size, int)
    for k in range(span.count):
        cover[span.window_fine_cells(k)] += 1
    return np.asarray(cover[span.local_fine(first, count)] == 1)


def lattice_lines(
    lattice: Lattice, days: tuple[int, int], rows: tuple[int, int], columns: tuple[int, int]
) -> dict[str, tuple[int, np.ndarray]]:
    """Lines of a box: of the lattice, of all its latent cells, and 0°E if it is inside."""
    counts = days[1] - days[0], rows[1] - rows[0], columns[1]
    extent = lattice.extent(days, rows, columns, halo=1)
    lines = {}
    starts = (days[0], rows[0], columns[0])
    for (name, axis), span, first, count in zip(
        AXES.items(), extent.spans, starts, counts, strict=True
    ):
        parted = window_lines(span, first, count)
        lines[f"lattice, {name}"] = axis, parted
        latent = (first + np.arange(1, count)) % span.compression == 0
        if not latent.all():
            lines[f"latent cells, {name}"] = axis, latent & ~parted
    meridian = (columns[0] + np.arange(1, counts[2])) % lattice.fine_shape[1] == 0
    lines["0°E"] = AXES["lon"], meridian
    return {name: line for name, line in lines.items() if line[1].any() and not line[1].all()}


def gcm_lines(
    fine: RectilinearGrid, gcm: RectilinearGrid, rows: tuple[int, int], columns: tuple[int, int]
) -> dict[str, tuple[int, np.ndarray]]:
    """Pairs of cells whose centres lie in two GCM cells."""
    lat = fine.lat[rows[0] : rows[1]]
    lon = fine.lon[(columns[0] + np.arange(columns[1])) % fine.n_lon]
    bounds = np.sort(gcm.lat_bounds, axis=1)
    row = ((lat[:, None] >= bounds[:, 0]) & (lat[:, None] < bounds[:, 1])).argmax(1)
    width = (gcm.lon_bounds[:, 1] - gcm.lon_bounds[:, 0])[None]
    column = ((lon[:, None] - gcm.lon_bounds[:, 0]) % 360.0 < width).argmax(1)
    return {
        "GCM cells, lat": (AXES["lat"], row[1:] != row[:-1]),
        "GCM cells, lon": (AXES["lon"], column[1:] != column[:-1]),
    }


def seam_table(rain: np.ndarray, truth: np.ndarray, lines: Lines) -> dict[str, dict[str, float]]:
    """Index of each kind of line: of the realizations' mean, its standard error, the truth's.

    Args:
        rain: ``(realization, time, lat, lon)``.
        truth: ``(time, lat, lon)``.
        lines: Which.
    """
    table = {}
    for name, (axis, parted) in lines.items():
        own = seam_index(truth, axis, parted)
        each = np.array([seam_index(r, axis, parted) for r in rain])
        error = each.std(ddof=1) / len(each) ** 0.5 if len(each) > 1 else np.nan
        table[name] = {
            "index": float(each.mean()),
            "standard_error": float(error),
            "truth": own,
            "beyond": float(each.mean() / own),
        }
    return table


def main() -> None:
    """Sample, print the table, write the JSON."""
    from tests.benchmarks.seam_ensemble import ensemble  # it needs these lines itself

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prior", default="demo")
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--cells", type=int, default=96)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    case = ensemble(options.prior, options.realizations, options.cells)
    table = seam_table(case.rain, case.truth, case.lines)
    for name, row in table.items():
        print(f"{name:22} {row['index']:7.3f} ± {row['standard_error']:.3f}, truth "
              f"{row['truth']:.3f}, beyond it {row['beyond']:.3f}")  # fmt: skip
    for axis, alone in case.alone.items():
        own = overlap_ratios(case.truth, AXES[axis], alone)
        found = overlap_ratios(case.rain, AXES[axis], alone)
        table[f"overlap, {axis}"] = {k: found[k] / own[k] for k in found}
        print(f"overlap, {axis}: of the centres', beyond the truth's", table[f"overlap, {axis}"])
    if options.json:
        options.json.write_text(json.dumps({"prior": options.prior, "table": table}, indent=1))


if __name__ == "__main__":
    main()
