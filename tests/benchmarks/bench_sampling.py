"""How fast sampling is, and at what skill: the tables that set its defaults.

    python -m tests.benchmarks.bench_sampling [PRIOR] [--device cuda] [--json FILE] [--quick]

    cost        a guided step over an unguided one, of the prior and of a wider, untrained one
    batches     windows a second against batch size
    memory      a worker's peak against the plan's, for tiles of 1, 4 and 12 months
    steps       skill against the number of steps, of both samplers; references are 256 steps
    guidance    skill and seconds of each kind of guidance at the default number of steps
    published   evaluations and seconds of a realization-month against the published way

Truth is held-out months of the synthetic Earth (``sampling_cases``). Seconds of a CPU are the
process's own, so that others do not count; it had better be idle all the same. ``--only`` takes
some of the tables, the size of the skill tables is ``--region-months × --realizations``, and
``--published-steps 256`` has the published sampler itself sampled that far (a small case).

On one idle core everything takes about 25 minutes for the demonstration prior, half of them the
steps (2¼ minutes a region-month and realization); ``--quick`` takes a few.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from longwang_ray.prior.bundle import Prior, open_prior
from tests.benchmarks.measure import machine
from tests.benchmarks.sampling_cases import KINDS, SAMPLING, cases, widened
from tests.benchmarks.sampling_cost import StepCost, batch_table, cost_table, memory_table
from tests.benchmarks.sampling_published import published_skill, published_table
from tests.benchmarks.sampling_steps import Row, guidance_table, steps_table

WIDER = 2
SEVERAL, WIDE_CORE = 3, 2
TABLES = ("cost", "batches", "memory", "steps", "guidance", "published")
Result = dict[str, list[Row]]


@dataclass(frozen=True)
class Size:
    """How much is done.

    Attributes:
        region_months: Of the skill tables.
        realizations: Of each.
        steps: Of the second order; the most are the reference.
        first_order: Steps of the first order.
        guided: Region-months of the guidance table.
        guided_steps: Steps of it.
        published_steps: Of the published sampler, sampled; 0 for not at all.
        batches: Of the throughput table.
        months: Tile lengths of the memory table.
        windows: Windows each way of the skill tables.
        several: Windows, or strides, each way of the cost and memory tables.
        repeats: Of each timing.
    """

    region_months: int = 3
    realizations: int = 2
    steps: tuple[int, ...] = (6, 8, 12, 16, 24, 32, 64, 256)
    first_order: tuple[int, ...] = (8, 16)
    guided: int = 1
    guided_steps: int = SAMPLING.steps
    published_steps: int = 64
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    months: tuple[int, ...] = (1, 4, 12)
    windows: int = 1
    several: int = SEVERAL
    repeats: int = 3


QUICK = Size(1, 2, (4, 8), (4,), 1, 3, 0, (1, 4), (1,), several=1, repeats=1)


class Bench:
    """The tables, in their order.

    Args:
        prior: On the device.
        size: How much is done.
        device: Where.
        cache: Where synthetic months are kept.
    """

    def __init__(self, prior: Prior, size: Size, device: str, cache: Path) -> None:
        self.prior, self.size, self.device = prior, size, device
        self.cases = cases(prior, max(size.region_months, size.guided), size.windows, cache)
        self.several, self.one = (cases(prior, 1, n, cache)[0] for n in (size.several, 1))
        self.costs: dict[str, StepCost] = {}

    def cost(self) -> list[Row]:
        """Guided steps of this prior and of a wider one."""
        wide = widened(self.prior, WIDER).to(self.device)
        rows, self.costs = cost_table(
            {self.prior.name: self.prior, wide.name: wide}, self.several, self.one, KINDS,
            self.device, self.size.repeats,
        )  # fmt: skip
        return rows

    def batches(self) -> list[Row]:
        """Throughput."""
        return batch_table(self.prior, self.size.batches, self.device, self.size.repeats)

    def memory(self) -> list[Row]:
        """Workers' peaks."""
        return memory_table(
            self.prior, self.size.months, min(self.size.several, WIDE_CORE), self.device
        )

    def steps(self) -> list[Row]:
        """Skill against steps."""
        size = self.size
        chosen = self.cases[: size.region_months]
        return steps_table(
            self.prior, chosen, size.steps, size.first_order, size.realizations, self.device
        )[0]

    def guidance(self) -> list[Row]:
        """Skill per second."""
        chosen, many = self.cases[: self.size.guided], self.size.realizations
        return guidance_table(
            self.prior, chosen, KINDS[1:], self.size.guided_steps, many, self.device
        )[0]

    def published(self) -> list[Row]:
        """Against the published way."""
        if not self.costs:
            self.cost()
        cost = self.costs[self.prior.name]
        rows = published_table(self.prior, self.one, cost, self.device)
        if self.size.published_steps:
            chosen, steps = self.cases[:1], self.size.published_steps
            rows += published_skill(self.prior, chosen, steps, self.size.realizations, self.device)
        return rows


def run(bench: Bench, names: Sequence[str]) -> Result:
    """The asked tables, each with its time."""
    result: Result = {}
    for name in (table for table in TABLES if table in names):
        started = time.perf_counter()
        result[name] = getattr(bench, name)()
        print(f"[{name}: {time.perf_counter() - started:.0f} s]", flush=True)
    return result


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("prior", nargs="?", default="demo")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "longwang")
    parser.add_argument("--only", nargs="+", choices=TABLES, default=TABLES)
    parser.add_argument("--quick", action="store_true", help="everything, small")
    default = Size()
    parser.add_argument("--region-months", type=int, default=default.region_months)
    parser.add_argument("--realizations", type=int, default=default.realizations)
    parser.add_argument("--steps", type=int, nargs="+", default=default.steps)
    parser.add_argument("--first-order", type=int, nargs="*", default=default.first_order)
    parser.add_argument("--guided", type=int, default=default.guided, help="region-months of it")
    parser.add_argument("--published-steps", type=int, default=default.published_steps)
    parser.add_argument("--windows", type=int, default=default.windows, help="each way")
    options = parser.parse_args(arguments)
    if options.realizations < 2:
        parser.error("--realizations: the fair CRPS needs 2 or more")
    return options


def size_of(options: argparse.Namespace) -> Size:
    """How much is asked for."""
    if options.quick:
        return QUICK
    return Size(
        options.region_months, options.realizations, tuple(options.steps),
        tuple(options.first_order), options.guided, SAMPLING.steps, options.published_steps,
        windows=options.windows,
    )  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, write the JSON."""
    options = parsed(arguments)
    torch.set_num_threads(options.threads)
    prior, size = open_prior(options.prior).to(options.device), size_of(options)
    about = {
        "machine": machine(options.device, options.threads),
        "command": " ".join([Path(sys.argv[0]).name, *(arguments or sys.argv[1:])]),
        "prior": f"{prior.name} {prior.digest[:12]}, {prior.parameters / 1e6:.2f} M parameters, "
        f"window {prior.window}, stride {prior.stride}, float32",
        "size": asdict(size),
    }
    print("\n".join(f"{name}: {value}" for name, value in about.items()), flush=True)
    started = time.perf_counter()
    tables = run(Bench(prior, size, options.device, options.cache), options.only)
    print(f"[all: {time.perf_counter() - started:.0f} s]")
    if options.json:
        options.json.write_text(json.dumps({**about, **tables}, indent=1) + "\n")


if __name__ == "__main__":
    main()
