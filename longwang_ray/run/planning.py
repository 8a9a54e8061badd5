"""What a run will do, known before a GPU-second is spent: prior, sources, tiles and their cost."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from longwang_ray.config import SYNTHETIC, RunConfig, SourceConfig
from longwang_ray.data.cmip import MonthlySource, open_monthly, require_period, require_region
from longwang_ray.data.synthetic import synthetic_month
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.plan import GroupPlan, Plan, Tiling
from longwang_ray.posterior.cost import decoded_share, estimate_cost
from longwang_ray.posterior.observation import ErrorModel
from longwang_ray.posterior.tile import Sampling
from longwang_ray.prior.bundle import Prior, open_prior

MEMORY_SHARE = 0.9
"""Of the machine's memory, what workers may plan for."""


@dataclass(frozen=True)
class Prepared:
    """Everything known before a GPU-second is spent.

    Attributes:
        config: What was asked.
        prior: The prior.
        sources: The monthly rain of each group, by its path.
        plan: All tiles and their cost.
    """

    config: RunConfig
    prior: Prior
    sources: Mapping[str, MonthlySource]
    plan: Plan

    @property
    def workers(self) -> int:
        """Workers that will run at once on this machine: no more than there are tiles."""
        asked = self.config.engine.workers
        if self.config.engine.kind == "serial":
            return 1
        if asked == "auto":
            device = device_of(self.config)
            count = torch.cuda.device_count() if device == "cuda" else os.cpu_count() or 1
            asked = max(1, count // (1 if device == "cuda" else self.config.engine.threads))
        return min(asked, self.plan.n_tiles)


def plan_ensemble(config: RunConfig) -> Prepared:
    """Open everything, check everything, compute nothing.

    Args:
        config: The run.

    Raises:
        PriorError, SourceError, ValueError: for whatever is wrong with the input.
    """
    prior = open_prior(config.prior)
    sources = {group_of(source).path: open_source(source) for source in config.sources}
    groups = tuple(plan_group(config, source, sources, prior) for source in config.sources)
    sampling = sampling_of(config)
    if config.sampler.guidance == "fast" and prior.head is None:
        raise ValueError(
            f"sampler.guidance: fast needs a coarse head and prior {prior.name} has none; "
            "choose detached"
        )
    share = _decoded_share(prior, groups[0], sources[groups[0].group.path])
    plan = Plan(groups, estimate_cost(prior, sampling, share, config.engine.threads))
    prepared = Prepared(config, prior, sources, plan)
    if device_of(config) == "cpu":
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        plan.require_memory(int(MEMORY_SHARE * memory / prepared.workers))
    return prepared


def _decoded_share(prior: Prior, plan: GroupPlan, source: MonthlySource) -> float:
    tile = next(plan.tiles())
    months = source.record.months[tile.core_months.start : tile.core_months.stop]
    days = [range(month.start, month.stop) for month in months]
    return decoded_share(prior, tile, source.grid, days)


def device_of(config: RunConfig) -> str:
    """``cuda`` or ``cpu``.

    Raises:
        ValueError: if a GPU is asked for and there is none.
    """
    found = torch.cuda.is_available()
    if config.engine.device == "cuda" and not found:
        raise ValueError("engine.device: cuda was asked for and torch sees no GPU; choose cpu")
    return "cuda" if found and config.engine.device != "cpu" else "cpu"


def sampling_of(config: RunConfig) -> Sampling:
    """How the run samples."""
    error = ErrorModel(config.observation.relative, config.observation.floor)
    return Sampling(config.sampler.steps, config.sampler.guidance, error)


def group_of(source: SourceConfig) -> Group:
    """The group that a source fills."""
    return Group(source.gcm, source.scenario, source.variant)


def open_source(source: SourceConfig) -> MonthlySource:
    """A source's monthly rain; ``path: synthetic`` is the package's own month."""
    if source.path == SYNTHETIC:
        return synthetic_month()
    options = source.storage_options or None
    return open_monthly(source.path, variable=source.variable, storage_options=options)


def plan_group(
    config: RunConfig, source: SourceConfig, sources: Mapping[str, MonthlySource], prior: Prior
) -> GroupPlan:
    """The tiles of one source."""
    group = group_of(source)
    monthly, region = sources[group.path], config.region
    where = (region.lat, region.lon) if region else (None, None)
    rows, columns = require_region(monthly, prior.grid, *where)
    months = require_period(monthly, config.period)
    record = monthly.record
    layout = Layout.of(
        (record.start, record.stop),
        rows,
        columns,
        prior.grid.n_lon,
        shard_cells=config.tiling.shard_cells,
    )
    period = (record.months[months.start].start, record.months[months.stop - 1].stop)
    tiling = Tiling(config.tiling.shards_per_tile, config.tiling.halo_strides)
    return GroupPlan(group, layout, record, prior.lattice, config.realizations, tiling, period)


def describe_plan(prepared: Prepared) -> list[tuple[str, str]]:
    """What ``longwang plan`` prints: one pair a line."""
    plan, config = prepared.plan, prepared.config
    cost, workers = plan.cost(), prepared.workers
    grid = prepared.prior.grid_step
    rows = []
    for group in plan.groups:
        days, lat, lon = group.layout.shape
        record = group.record
        rows.append(
            (
                group.group.path,
                f"{lat} × {lon} cells at {grid}°, {record.months[0]} … {record.months[-1]} "
                f"({record.calendar}), {days} days, {config.realizations} realizations",
            )
        )
    seconds = cost.seconds / workers
    return [
        *rows,
        ("prior", f"{prepared.prior.name} ({prepared.prior.intended_use})"),
        ("tiles", f"{plan.n_tiles} on {workers} worker{'s' if workers > 1 else ''}"),
        ("windows", f"{cost.windows:,}"),
        ("network evaluations", f"{cost.evaluations:,} denoiser, {cost.decodes:,} decoder"),
        ("bytes on disk", f"{cost.bytes_written / 2**20:,.0f} MiB in {plan.n_shards} shards"),
        ("memory of a worker", f"{cost.memory / 2**30:.1f} GiB"),
        ("time on this machine", f"about {_duration(seconds)}"),
    ]


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
