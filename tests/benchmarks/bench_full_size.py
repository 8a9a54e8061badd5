"""What the published sizes take: counted everywhere, checked at reduced width, measured on a GPU.

    python -m tests.benchmarks.bench_full_size [--real] [--threads 1] [--rate 200] [--json FILE]

Denoiser of 434 M parameters, autoencoder of 128 × (1, 2, 4) channels, windows of 32 days × 128 ×
128 cells. Operations and memory are counted on the modules without computing (``prior.work``); the
same count at reduced width stands beside what this CPU takes. Where there is a GPU, or with
``--real``, the published sizes themselves are built, run forward and backward, guided and sampled.
Guidance is that of ``posterior/guidance.py`` on one window.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from longwang_ray.domain.lattice import Lattice
from longwang_ray.posterior.sampler import Denoise, sample
from longwang_ray.prior.work import Meter, Precision
from tests.benchmarks.measure import GIB, MIB, Measured, machine, measure
from tests.benchmarks.published import (
    CASES,
    FULL,
    GUIDANCE,
    REDUCED,
    Case,
    Counted,
    Sizes,
    counted,
    guided,
    guided_flops,
    make_prior,
    passes,
)

TERA = 1e12
PUBLISHED = {"denoiser": 2.9, "decoder": 10.3, "guided": 40.0}  # TFLOP, facts/longwang.md
PUBLISHED_PARAMETERS = {"denoiser": 434e6, "decoder": 127e6}
Row = dict[str, object]


def show_counted(rows: dict[Case, Counted], half: dict[Case, Counted]) -> None:
    """The table of one window at the published sizes."""
    print("\nPublished sizes, one window of 32 days × 128 × 128 cells (counted)")
    print(
        f"{'network':12} {'pass':8} {'M param.':>9} {'TFLOP':>7} {'GiB float32':>12} "
        f"{'GiB bf16':>9}"
    )
    for (name, toward), row in rows.items():
        print(
            f"{name:12} {toward:8} {row.parameters / 1e6:9.1f} {row.flops / TERA:7.2f} "
            f"{row.peak / GIB:12.2f} {half[name, toward].peak / GIB:9.2f}"
        )
    print("GiB: activations and gradients alive at once, weights not counted.")
    print("Weights, gradients, two moments and moving average in float32:")
    for name, key in (("denoiser", "denoiser"), ("autoencoder", "autoencoder")):
        weights = next(r.parameters for (n, _), r in rows.items() if n == key)
        print(
            f"  {name:12} {4 * weights / GIB:5.2f} GiB of weights, {20 * weights / GIB:5.2f} all"
        )


def show_published(rows: dict[Case, Counted], steps: dict[str, float]) -> None:
    """Beside the published estimates."""
    print("\nBeside the published estimates")
    for name, published in PUBLISHED_PARAMETERS.items():
        found = rows[name, "forward"].parameters
        print(f"  {name:14} {found / 1e6:7.1f} M parameters, published {published / 1e6:.0f} M")
    for name, published in PUBLISHED.items():
        found = steps["exact"] if name == "guided" else rows[name, "forward"].flops
        print(f"  {name:14} {found / TERA:7.2f} TFLOP, published {published:g}")
    decoder = rows["decoder", "forward"].flops + rows["decoder", "guide"].flops
    print(f"  decoder's share of a guided step {decoder / steps['exact']:.0%}, published 78 %")


def year_table(steps: dict[str, float], decode: float, rate: float) -> list[Row]:
    """GPU-hours of a model-year of the globe at a sustained rate, TFLOP/s."""
    print(f"\nGPU-hours for a model-year of one realization at {rate:g} TFLOP/s sustained")
    lattices = {"no overlap in time": (32, 96, 96), "half in time and space": (16, 64, 60)}
    header = " ".join(f"{f'{g} {n}':>13}" for g in GUIDANCE for n in (8, 64))
    print(f"{'lattice, stride':36} {'windows':>8} {header}")
    rows: list[Row] = []
    for name, stride in lattices.items():
        cells = tuple(n // 4 for n in stride)
        lattice = Lattice((8, 32, 32), cells, (4, 4, 4), (180, 360))
        spans = lattice.lat_span(0, 720), lattice.lon_span(0, 1440)
        windows = spans[0].count * spans[1].count * 365.0 / stride[0]
        hours = {
            f"{g} {n}": windows * (n * steps[g] + decode) / (rate * TERA) / 3600
            for g in GUIDANCE
            for n in (8, 64)
        }
        rows.append({"stride": stride, "windows": windows, "hours": hours})
        shown = " ".join(f"{value:13.2f}" for value in hours.values())
        print(f"{name + ' ' + str(stride):36} {windows:8.0f} {shown}")
    return rows


def case(sizes: Sizes, name: str, toward: str, bf16: bool, device: str) -> Callable[[], Tensor]:
    """A case made ready to be measured."""
    torch.manual_seed(0)
    prior = make_prior(sizes).to(device)
    one = passes(prior, device)[name]

    def work() -> Tensor:
        with torch.autocast(device, torch.bfloat16, enabled=bf16):
            return one.run(toward)

    return work


def checked(threads: int) -> list[Row]:
    """The count at reduced width beside what this CPU takes."""
    print(f"\nReduced width {REDUCED}: counted beside measured on this CPU, float32")
    print(
        f"{'network':12} {'pass':8} {'GFLOP':>8} {'seconds':>8} {'GFLOP/s':>8} "
        f"{'MiB counted':>12} {'MiB measured':>13} {'measured/counted':>17}"
    )
    rows: list[Row] = []
    for (name, toward), count in counted(REDUCED).items():
        found = measure(partial(case, REDUCED, name, toward, False), "cpu", threads, 2)
        rows.append(compared(name, toward, count, found))
    return rows


def compared(name: str, toward: str, count: Row, found: Measured) -> Row:
    """One row, counted beside measured."""
    print(
        f"{name:12} {toward:8} {count.flops / 1e9:8.1f} {found.seconds:8.3f} "
        f"{count.flops / found.seconds / 1e9:8.1f} {count.peak / MIB:12.1f} "
        f"{found.peak / MIB:13.1f} {found.peak / count.peak:17.2f}",
        flush=True,
    )
    return {"network": name, "pass": toward, **count._asdict(), **found._asdict()}


def measured(device: str, threads: int, bf16: bool) -> list[Row]:
    """The published sizes themselves."""
    kind = "bf16" if bf16 else "float32"
    print(f"\nPublished sizes measured on {device}, {kind}, one window at once")
    precision: Precision = "float32" if not bf16 else "bf16 on cuda" if device != "cpu" else "bf16"
    counts, rows = counted(FULL, precision), []
    for name, toward in CASES:
        if device == "cpu" and counts[name, toward].peak > 12 * GIB:
            print(
                f"{name:12} {toward:8} takes {counts[name, toward].peak / GIB:.0f} GiB: left out"
            )
            continue
        work = partial(case, FULL, name, toward, bf16)
        found = measure(work, device, threads, 0 if device == "cpu" else 5)
        print(
            f"{name:12} {toward:8} {found.seconds:8.3f} s {1 / found.seconds:8.3f} windows/s "
            f"{counts[name, toward].flops / found.seconds / TERA:8.2f} TFLOP/s "
            f"{found.peak / GIB:7.2f} GiB, counted {counts[name, toward].peak / GIB:.2f}",
            flush=True,
        )
        rows.append({"network": name, "pass": toward, "arithmetic": kind, **found._asdict()})
    return rows


def sampled(sizes: Sizes, device: str, bf16: bool, steps: int) -> list[Row]:
    """Guided steps a second by the sampler itself, and the operations it took."""
    kind = "bf16" if bf16 else "float32"
    print(f"\nGuided steps on {device}, {kind}, {sizes}")
    prior = make_prior(sizes).to(device)
    for module in prior.modules.values():
        module.requires_grad_(False)
    expected, rows = guided_flops(counted(sizes)), []
    for guidance in GUIDANCE:
        step, noise = guided(prior, guidance, device)

        def run(step: Denoise = step, noise: Tensor = noise) -> Tensor:
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=bf16):
                return sample(step, noise, prior.denoiser.schedule, steps)

        with Meter() as meter:
            out = run()
        if device != "cpu":
            torch.cuda.synchronize()
        started = time.perf_counter()
        run()
        if device != "cpu":
            torch.cuda.synchronize()
        seconds = (time.perf_counter() - started) / steps
        flops = meter.flops / steps
        print(
            f"{guidance:10} {1 / seconds:8.3f} steps/s, {flops / TERA:8.4f} TFLOP a step, "
            f"expected {expected[guidance] / TERA:8.4f}, finite: {bool(out.isfinite().all())}",
            flush=True,
        )
        rows.append({"guidance": guidance, "seconds": seconds, "flops": flops, "steps": steps})
    return rows


def precision_gap(device: str) -> Row:
    """What bf16 changes in the output of the published sizes, relative."""
    gaps: Row = {}
    for name in ("denoiser", "decoder"):
        one, other = (
            case(FULL, name, "forward", bf16, device)().float() for bf16 in (True, False)
        )
        gaps[name] = float((one - other).norm() / other.norm())
        print(f"bf16 against float32, {name}: {gaps[name]:.1e} of its norm")
    return gaps


def main() -> None:
    """Print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rate", type=float, default=200.0, help="TFLOP/s a GPU sustains")
    parser.add_argument("--steps", type=int, default=4, help="of the sampler, measured")
    parser.add_argument("--real", action="store_true", help="the published sizes on a CPU too")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    about = {"machine": machine(device, options.threads), "command": " ".join(sys.argv)}
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    started = time.perf_counter()
    rows, half = counted(FULL), counted(FULL, "bf16 on cuda")
    print(f"counted in {time.perf_counter() - started:.0f} s")
    steps = guided_flops(rows)
    show_counted(rows, half)
    show_published(rows, steps)
    result: Row = {
        **about,
        "counted": [{"network": n, "pass": p, **row._asdict()} for (n, p), row in rows.items()],
        "counted_bf16": [
            {"network": n, "pass": p, **row._asdict()} for (n, p), row in half.items()
        ],
        "guided_flops": steps,
        "year": year_table(steps, rows["decoder", "forward"].flops, options.rate),
        "checked": checked(options.threads),
        "checked_sampler": sampled(REDUCED, "cpu", False, options.steps),
    }
    if device == "cuda" or options.real:
        kinds = (True, False) if device == "cuda" else (False,)
        result["measured"] = [row for k in kinds for row in measured(device, options.threads, k)]
    if device == "cuda":
        result["sampler"] = [r for k in kinds for r in sampled(FULL, device, k, options.steps)]
        result["precision"] = precision_gap(device)
    if options.json:
        options.json.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
