"""How much quieter is the difference between two scenarios that share their noise?

    python -m tests.benchmarks.bench_scenarios [--prior demo] [--realizations 4] [--json FILE]

One month of the storm track is sampled for a scenario, for one in which it rains so much more in
every cell of the GCM, and for the latter with noise of its own. For each: the variance over cells,
days and realizations of the difference in daily rain, and the variance over realizations of the
difference in the domain's mean of each day, what an impact model would average. Shared noise is
what a run does, for its noise is keyed by model and realization and not by scenario.
"""

from __future__ import annotations

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np

from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import Sampling, sample_tile
from longwang_ray.prior.bundle import Prior, open_prior
from tests.benchmarks.bench_halo import COLUMNS, ROWS, monthly_record

FACTORS = (1.05, 1.2, 2.0)
CORE = 48


def ensemble(prior: Prior, monthly: MonthlyRain, seed: int, realizations: int) -> np.ndarray:
    """Rain of one scenario, ``(realization, day, lat, lon)``, mm/day."""
    record = monthly.record
    layout = Layout.of(
        (record.start, record.stop), (ROWS[0], CORE), (COLUMNS[0], CORE), prior.grid.n_lon
    )
    group = Group("Synthetic", "historical", "r1i1p1f1")
    plan = GroupPlan(group, layout, record, prior.lattice, realizations, Tiling(1, 0))
    tile = plan.tile(0, 0, 0, 0)
    keys = (NoiseKey(seed, group.gcm, group.variant, r) for r in range(realizations))
    return np.stack([sample_tile(prior, tile, monthly, key, Sampling()).rain for key in keys])


def variances(base: np.ndarray, other: np.ndarray) -> dict[str, float]:
    """Of the difference: of single cells, and over realizations of the domain's mean of a day."""
    difference = (other - base).astype(np.float64)
    return {
        "cells": float(difference.var()),
        "domain": float(difference.mean((2, 3)).var(axis=0, ddof=1).mean()),
    }


def table(prior: Prior, realizations: int) -> list[dict[str, float]]:
    """One row a factor."""
    monthly, rows = monthly_record(1), []
    base = ensemble(prior, monthly, 1, realizations)
    for factor in FACTORS:
        wetter = replace(monthly, rain=np.float32(factor) * monthly.rain)
        shared = variances(base, ensemble(prior, wetter, 1, realizations))
        own = variances(base, ensemble(prior, wetter, 2, realizations))
        row = {"factor": factor} | {f"{k}_shared": v for k, v in shared.items()}
        row |= {f"{k}_own": v for k, v in own.items()}
        row |= {f"{k}_ratio": shared[k] / own[k] for k in shared}
        rows.append(row)
        print(
            f"× {factor:<5} cells {row['cells_shared']:9.3f} / {row['cells_own']:9.3f} = "
            f"{row['cells_ratio']:.3f}   domain {row['domain_shared']:8.4f} / "
            f"{row['domain_own']:8.4f} = {row['domain_ratio']:.3f}",
            flush=True,
        )
    return rows


def main() -> None:
    """Print the table; write it if asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--prior", default="demo")
    parser.add_argument("--realizations", type=int, default=4)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.realizations < 2:
        parser.error("--realizations: two at least, a variance is taken over them")
    print("variance of the difference, (mm/day)²: noise shared / of its own = ratio")
    rows = table(open_prior(options.prior), options.realizations)
    if options.json:
        told = {
            "prior": options.prior,
            "realizations": options.realizations,
            "cells": CORE,
            "machine": platform.processor() or platform.machine(),
            "rows": rows,
        }
        options.json.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
