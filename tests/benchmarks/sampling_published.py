"""Work and seconds of a realization-month, against the published way at the same weights.

Published are 256 (in the function: 64) first-order steps, each with the Gaussian score through
decoder and denoiser, window by window, windows overlapping by half as its training windows do, one
at a time. Ours are the plan's windows of a tile of twelve months, halo included. Per month of the
core,

    seconds = windows · (steps · guided step + decode)            published, from a few timed steps
    seconds = windows · (steps · guided step + share · decode)    ours

and their quotient is the product of the factors apart: steps, guidance, batching, windows, and
what is left, the decoding at the end. Arithmetic is float32 in both.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.layout import Layout
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.cost import decoded_share
from longwang_ray.prior.bundle import Prior
from tests.benchmarks.sampling_cases import (
    EXACT,
    FAST,
    GROUP,
    SAMPLING,
    Case,
    cmcc,
    guided,
    noise_of,
    seconds,
)
from tests.benchmarks.sampling_cost import START, StepCost
from tests.benchmarks.sampling_steps import Row, Setting, compare

PUBLISHED_STEPS = (256, 64)
ASKED = {256: 150.0, 64: 40.0}
REGION = 64.0
MONTHS = 12


@dataclass(frozen=True)
class Work:
    """Of one realization-month of the region.

    Attributes:
        windows: That are sampled.
        decoded: Windows decoded at the end.
        steps: Denoiser evaluations of each.
        step: Seconds of a window's guided step.
        decode: Seconds of a window's decoding.
    """

    windows: float
    decoded: float
    steps: int
    step: float
    decode: float

    @property
    def evaluations(self) -> float:
        """Denoiser passes."""
        return self.windows * self.steps

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.evaluations * self.step + self.decoded * self.decode


def region_plan(prior: Prior, degrees: float = REGION, months: int = MONTHS) -> GroupPlan:
    """A region in the middle latitudes, a tile of a year inside a longer record."""
    record = month_record("noleap", START, 3 * months)
    cells = min(int(degrees / prior.grid_step), prior.grid.n_lat)
    days = record.months[months].start, record.months[2 * months].start
    layout = Layout.of(days, ((prior.grid.n_lat - cells) // 2, cells), (0, cells),
                       prior.grid.n_lon)  # fmt: skip
    return GroupPlan(GROUP, layout, record, prior.lattice, 1, Tiling(layout.grid[0]))


def our_windows(prior: Prior, plan: GroupPlan) -> tuple[float, float]:
    """Windows sampled and decoded for a month of the core."""
    tile = plan.tile(0, 0, 0, 0)
    months = [plan.record.months[m] for m in tile.core_months]
    share = decoded_share(prior, tile, cmcc(), [range(m.start, m.stop) for m in months])
    windows = tile.extent.n_windows / len(months)
    return windows, share * windows


def published_windows(prior: Prior, plan: GroupPlan, overlap: float) -> float:
    """Windows for a month of the region alone, no halo, at a share of overlap on each axis."""
    days, rows, columns = plan.tile(0, 0, 0, 0).core_shape
    counts = [
        max(1.0, (size - overlap * window) / ((1 - overlap) * window))
        for size, window in zip((days, rows, columns), prior.window, strict=True)
    ]
    months = len(plan.tile(0, 0, 0, 0).core_months)
    return counts[0] * math.ceil(counts[1]) * math.ceil(counts[2]) / months


@torch.no_grad()
def decode_seconds(prior: Prior, batch: int, device: str) -> float:
    """A window's decoding among so many."""
    windows = torch.randn(batch, prior.channels, *prior.lattice.window, device=device)
    return seconds(lambda: prior.decode(windows), device) / batch


@torch.no_grad()
def alone_seconds(prior: Prior, one: Case, device: str) -> float:
    """An exact step of one window after another."""
    step = guided(prior, one, EXACT, SAMPLING.steps, device, batch=1)
    x = noise_of(prior, one, 0, device)
    t = torch.tensor(0.5, device=device)
    return seconds(lambda: step(x, t), device, 0) / one.tile.extent.n_windows


def published_table(prior: Prior, one: Case, cost: StepCost, device: str) -> list[Row]:
    """Ours against the published way, and the factors."""
    plan = region_plan(prior)
    windows, decoded = our_windows(prior, plan)
    together = decode_seconds(prior, SAMPLING.decode_batch, device)
    ours = Work(windows, decoded, SAMPLING.steps, cost.seconds[FAST], together)
    step, decode = alone_seconds(prior, one, device), decode_seconds(prior, 1, device)
    print(
        f"\nA realization-month of {REGION:g}° × {REGION:g}° on {device}, {prior.name}: "
        f"ours {ours.windows:.1f} windows with halo ({ours.decoded:.1f} decoded) × {ours.steps} "
        f"steps = {ours.evaluations:.0f} evaluations, {ours.seconds:.1f} s"
    )
    print(
        f"{'published':>22} {'windows':>8} {'evaluations':>12} {'seconds':>9} {'ratio':>7} = "
        f"{'steps':>6} × {'guidance':>8} × {'batching':>8} × {'windows':>8} × {'decode':>7}"
    )
    rows = []
    for overlap, name in ((0.5, "half overlap"), (0.0, "no overlap")):
        for steps in PUBLISHED_STEPS:
            count = published_windows(prior, plan, overlap)
            theirs = Work(count, count, steps, step, decode)
            rows.append(compared(f"{steps} steps, {name}", theirs, ours, cost))
    return rows


def compared(name: str, theirs: Work, ours: Work, cost: StepCost) -> Row:
    """One line."""
    ratio = theirs.seconds / ours.seconds
    factors = {
        "steps": theirs.steps / ours.steps,
        "guidance": cost.seconds[EXACT] / cost.seconds[FAST],
        "batching": theirs.step / cost.seconds[EXACT],
        "windows": theirs.windows / ours.windows,
    }
    factors["decode"] = ratio / math.prod(factors.values())
    widths = zip(factors.values(), (6, 8, 8, 8, 7), strict=True)
    shown = " × ".join(f"{value:{width}.2f}" for value, width in widths)
    print(
        f"{name:>22} {theirs.windows:8.1f} {theirs.evaluations:12.0f} {theirs.seconds:9.0f} "
        f"{ratio:7.1f} = {shown}  (asked ≥ {ASKED[theirs.steps]:g})",
        flush=True,
    )
    return {"published": name, "windows": theirs.windows, "evaluations": theirs.evaluations,
            "seconds": theirs.seconds, "ours_s": ours.seconds, "ours_windows": ours.windows,
            "ours_evaluations": ours.evaluations, "ratio": ratio, "factors": factors}  # fmt: skip


def published_skill(
    prior: Prior, cases: Sequence[Case], steps: int, realizations: int, device: str
) -> list[Row]:
    """Skill and closure of the published sampler on small cases, ours beside it."""
    print(
        f"\nThe published sampler ({steps} steps of order 1, exact) beside ours: {len(cases)} "
        f"region-months × {realizations} realizations; relative to ours"
    )
    ours = Setting(SAMPLING.steps, prior.denoiser.order)
    rows, _ = compare(prior, cases, [ours, Setting(steps, 1, EXACT)], None, realizations, device)
    return rows
