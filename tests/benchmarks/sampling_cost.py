"""Seconds of a guided step, windows a second by batch size, and a worker's memory.

Ratios compare a guided with an unguided step on the same windows. The head reads the field, each
cell once, and so its share falls with the windows' overlap: it is measured on several windows each
way. The decoder reads windows, so one each way shows its share.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from math import prod

import numpy as np
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.cost import Size
from longwang_ray.domain.layout import Layout
from longwang_ray.domain.noise import NoiseKey
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.cost import decoded_share, estimate_cost
from longwang_ray.posterior.decoding import decode_months
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import Sampling, sample_latent
from longwang_ray.prior.bundle import Prior
from tests.benchmarks.measure import MIB, resident
from tests.benchmarks.sampling_cases import (
    FAST,
    FAST_DECODER,
    GROUP,
    LAST,
    SAMPLING,
    UNGUIDED,
    Case,
    cmcc,
    guided,
    noise_of,
    seconds,
)

TARGET = 1.3
START = (1961, 1)
Row = dict[str, object]


@dataclass(frozen=True)
class StepCost:
    """Seconds of one window's step, by guidance, and over an unguided one."""

    seconds: dict[str, float]
    ratio: dict[str, float]


@torch.no_grad()
def step_cost(
    prior: Prior, several: Case, one: Case, kinds: Sequence[str], device: str, repeats: int
) -> StepCost:
    """Each kind of guidance; ``fast`` on several windows each way, decoder kinds on one.

    Args:
        prior: On the device.
        several: A case of several windows each way.
        one: A case of one.
        kinds: Which.
        device: Where.
        repeats: Of each measurement.
    """
    found, ratio = {}, {}
    early, late = torch.tensor(0.5, device=device), torch.tensor(0.0, device=device)

    def taken(case: Case, kind: str, t: torch.Tensor) -> float:
        step = guided(prior, case, kind, SAMPLING.steps, device)
        x = noise_of(prior, case, 0, device)
        times = repeats if kind in (UNGUIDED, FAST) else 0
        return seconds(lambda: step(x, t), device, times) / case.tile.extent.n_windows

    base, alone = taken(several, UNGUIDED, early), taken(one, UNGUIDED, early)
    for kind in kinds:
        if kind == UNGUIDED:
            found[kind], ratio[kind] = base, 1.0
        elif kind == FAST:
            found[kind] = taken(several, kind, early)
            ratio[kind] = found[kind] / base
        else:
            ratio[kind] = taken(one, kind, late) / alone
            if kind == FAST_DECODER:
                fast = taken(one, FAST, early) / alone
                ratio[kind] = fast + LAST / SAMPLING.steps * (ratio[kind] - fast)
            found[kind] = ratio[kind] * base
    return StepCost(found, ratio)


def cost_table(
    priors: dict[str, Prior],
    several: Case,
    one: Case,
    kinds: Sequence[str],
    device: str,
    repeats: int,
) -> tuple[list[Row], dict[str, StepCost]]:
    """Every prior's guided steps."""
    print(
        f"\nCost of a guided step on {device}, batch {SAMPLING.batch} (decoder "
        f"{SAMPLING.decode_batch}), {several.tile.extent.n_windows} and "
        f"{one.tile.extent.n_windows} windows"
    )
    print(f"{'prior':28} {'guidance':13} {'ms a window':>12} {'over unguided':>14}")
    rows, costs = [], {}
    for name, prior in priors.items():
        costs[name] = cost = step_cost(prior, several, one, kinds, device, repeats)
        for kind in kinds:
            told = f" (asked ≤ {TARGET})" if kind == FAST else ""
            told = f" (mean of {SAMPLING.steps} steps)" if kind == FAST_DECODER else told
            ms, ratio = 1e3 * cost.seconds[kind], cost.ratio[kind]
            print(f"{name:28} {kind:13} {ms:12.2f} {ratio:14.2f}{told}", flush=True)
            rows.append({"prior": name, "guidance": kind, "ms": ms, "ratio": ratio})
    return rows, costs


@torch.no_grad()
def batch_table(prior: Prior, batches: Sequence[int], device: str, repeats: int) -> list[Row]:
    """Windows a second against how many go through a network at once."""
    print(f"\nWindows a second against batch size, {prior.name} on {device}")
    print(f"{'batch':>5} {'denoiser':>10} {'decoder':>10}")
    rows = []
    for batch in batches:
        windows = torch.randn(batch, prior.channels, *prior.lattice.window, device=device)
        t = torch.full((batch,), 0.5, device=device)
        size = prior.denoiser.config.context
        told = torch.zeros(batch, size, device=device) if size else None
        denoise = batch / seconds(partial(prior.denoiser, windows, t, told), device, repeats)
        decode = batch / seconds(partial(prior.decode, windows), device, min(repeats, 1))
        print(f"{batch:5} {denoise:10.2f} {decode:10.2f}", flush=True)
        rows.append({"batch": batch, "denoised_s": denoise, "decoded_s": decode})
    return rows


def memory_table(prior: Prior, lengths: Sequence[int], windows: int, device: str) -> list[Row]:
    """Peak of a worker's memory against the plan's, for tiles of so many months."""
    print(
        f"\nA worker's memory on {device}, core of {windows} strides each way, MiB (plan: "
        + ("runtime, weights, latents, activations, fields)" if device == "cpu" else "model)")
    )
    print(f"{'months':>6} {'windows':>8} {'latent cells':>12} {'measured':>9} {'plan':>7}")
    rows = []
    for months in lengths:
        plan = plan_of(prior, months, windows)
        tile = plan.tile(0, 0, 0, 0)
        monthly = climatology(plan)
        days = [range(m.start, m.stop) for m in plan.record.months[: len(tile.core_months)]]
        share = decoded_share(prior, tile, monthly.grid, days)
        cost = estimate_cost(prior, Sampling(steps=1), share, torch.get_num_threads())
        size = Size.of(tile.extent, tile.core_shape, plan.layout.shard)
        planned = size.memory(cost) if device == "cpu" else size.model_bytes(cost)
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            peak = pool.apply(worker_peak, (prior, plan, monthly, device))
        cells = prod(tile.extent.shape)
        print(
            f"{months:6} {tile.extent.n_windows:8} {cells:12} {peak / MIB:9.0f} "
            f"{planned / MIB:7.0f}{'' if peak <= planned else '  MORE THAN PLANNED'}",
            flush=True,
        )
        rows.append({"months": months, "windows": tile.extent.n_windows, "latent_cells": cells,
                     "peak": peak, "planned": planned})  # fmt: skip
    return rows


def plan_of(prior: Prior, months: int, strides: int, halo: int = 0) -> GroupPlan:
    """The plan of one region, ``strides`` of the lattice wide, and of ``months`` in one tile."""
    record = month_record("noleap", START, months + 2)
    stored = record.months[1 : months + 1]
    rows, columns = (strides * n for n in prior.stride[1:])
    first = prior.grid.n_lat // 4
    days = stored[0].start, stored[-1].stop
    layout = Layout.of(days, (first, rows), (0, columns), prior.grid.n_lon)
    return GroupPlan(GROUP, layout, record, prior.lattice, 1, Tiling(layout.grid[0], halo))


def climatology(plan: GroupPlan) -> MonthlyRain:
    """Three millimetres everywhere."""
    gcm = cmcc()
    return MonthlyRain(np.full((len(plan.record.months), *gcm.shape), 3.0, "f4"), gcm, plan.record)


def worker_peak(prior: Prior, plan: GroupPlan, monthly: MonthlyRain, device: str) -> int:
    """Bytes that a fresh process had at most: one guided step, one month decoded, a whole core."""
    torch.set_num_threads(1)
    if device != "cpu":
        prior = prior.to(device)
        torch.cuda.reset_peak_memory_stats()
    tile, sampling = plan.tile(0, 0, 0, 0), Sampling(steps=1)
    key = NoiseKey(1, GROUP.gcm, GROUP.variant, 0)
    latent = sample_latent(prior, tile, monthly, key, sampling, device)
    rain = np.full(tile.core_shape, 0.0, np.float32)
    month = next(decode_months(prior, tile, monthly, latent, sampling.error, 2))
    rain[: len(month.open)] = month.closed
    return resident("VmHWM") if device == "cpu" else torch.cuda.max_memory_allocated()
