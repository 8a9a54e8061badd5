"""What a run will do, known before a GPU-second is spent: prior, sources, tiles and their cost."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from longwang_ray.config import SYNTHETIC, RunConfig, SourceConfig
from longwang_ray.data.cmip import MonthlySource, open_monthly, require_period, require_region
from longwang_ray.data.synthetic import synthetic_month
from longwang_ray.domain.calendar import date_of
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.plan import GroupPlan, Plan, Tiling
from longwang_ray.engine.screens import duration, size
from longwang_ray.posterior.cost import decoded_share, estimate_cost
from longwang_ray.posterior.fidelity import cell_size, finer_than_head, stated_error
from longwang_ray.posterior.observation import ErrorModel
from longwang_ray.posterior.tile import Sampling
from longwang_ray.prior.bundle import Prior, open_prior
from longwang_ray.prior.head import head_cell

MEMORY_SHARE = 0.9
"""Of the machine's memory, what workers may plan for."""

PATIENCE, SHORTEST_DEADLINE = 20.0, 1800.0
"""By itself, a tile may take so many times what the plan says, and so many seconds at least."""

WEAK = (
    "the prior doesn't know what its estimates are worth, and months are met loosely before "
    "closing; longwang train-head PRIOR --again --out FOLDER measures it"
)
"""Of a prior with a head but without tables."""


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
    def deadline(self) -> float | None:
        """Seconds after which a worker's tile is taken from it; None: never."""
        asked = self.config.engine.tile_timeout
        if asked != "auto":
            return asked
        return max(SHORTEST_DEADLINE, PATIENCE * self.tile_seconds)

    @property
    def tile_seconds(self) -> float:
        """Seconds that a tile takes on this machine, on average."""
        return self.plan.cost().seconds / self.plan.n_tiles

    @property
    def workers(self) -> int:
        """Workers that will run at once on this machine: no more than tiles, or than fit."""
        engine = self.config.engine
        if engine.kind == "serial":
            return 1
        if engine.workers != "auto":
            count = engine.workers
        elif device_of(self.config) == "cuda":
            count = torch.cuda.device_count()
        else:
            fitting = usable_memory() // self.plan.cost().memory
            count = min(usable_cpus() // engine.threads, fitting)
        return max(1, min(count, self.plan.n_tiles))


def usable_cpus() -> int:
    """CPUs that this process may use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def usable_memory() -> int:
    """Bytes of this machine's memory that workers may plan for."""
    return int(MEMORY_SHARE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))


def on_cluster() -> bool:
    """Whether Ray's address names a cluster, whose machines are not this one."""
    return os.environ.get("RAY_ADDRESS", "local") != "local"


def plan_ensemble(config: RunConfig) -> Prepared:
    """Open everything, check everything, compute nothing.

    Args:
        config: The run.

    Raises:
        PriorError, SourceError, ValueError: for whatever is wrong with the input.
    """
    _require_shareable(config)
    prior = open_prior(config.prior)
    if config.sampler.guidance == "fast" and prior.head is None:
        raise ValueError(
            f"sampler.guidance: fast needs a coarse head and prior {prior.name} has none; "
            "choose detached"
        )
    sources = {group_of(source).path: open_source(source) for source in config.sources}
    groups = tuple(plan_group(config, source, sources, prior) for source in config.sources)
    sampling = sampling_of(config)
    share = _decoded_share(prior, groups[0], sources[groups[0].group.path])
    plan = Plan(groups, estimate_cost(prior, sampling, share, config.engine.threads))
    prepared = Prepared(config, prior, sources, plan)
    if device_of(config) == "cpu" and not on_cluster():
        plan.require_memory(usable_memory() // prepared.workers)
    return prepared


def _require_shareable(config: RunConfig) -> None:
    """Refuse a place that the workers' processes would each have for themselves."""
    url = config.output.path
    if url.startswith("memory:") and config.engine.kind == "ray":
        raise ValueError(
            f"output.path: {url} is private to one process; use engine.kind=serial or another path"
        )


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
    halo = config.tiling.halo_strides
    halo = prior.halo_strides if halo is None else halo
    tiling = Tiling(config.tiling.shards_per_tile, halo)
    return GroupPlan(group, layout, record, prior.lattice, config.realizations, tiling, period)


def describe_plan(prepared: Prepared) -> list[tuple[str, str]]:
    """What ``longwang plan`` prints: one pair a line."""
    plan, config, workers = prepared.plan, prepared.config, prepared.workers
    cost, n_shards = plan.cost(), plan.n_shards
    return [
        *((group.group.path, _described(group, prepared.prior)) for group in plan.groups),
        ("prior", f"{prepared.prior.name} ({prepared.prior.intended_use})"),
        *_observed(prepared),
        ("output", config.output.path),
        ("tiles", f"{plan.n_tiles:,} on {workers} {_plural(workers, 'worker')}"),
        ("windows", f"{cost.windows:,}, halos included"),
        ("network evaluations", f"{cost.evaluations:,} denoiser, {cost.decodes:,} decoder"),
        ("disk", f"{size(cost.bytes_written)} in {n_shards:,} {_plural(n_shards, 'shard')}"),
        ("memory of a worker", size(cost.memory)),
        ("time on this machine", f"about {duration(cost.seconds / workers)}"),
        ("a tile", _one_tile(prepared)),
    ]


def _one_tile(prepared: Prepared) -> str:
    """What a tile takes, and so what a lost worker costs."""
    took, deadline = duration(prepared.tile_seconds), prepared.deadline
    late = "" if deadline is None else f", and is tried elsewhere after {duration(deadline)}"
    return f"about {took}; whoever loses a worker loses half of that on average{late}"


def _observed(prepared: Prepared) -> list[tuple[str, str]]:
    """What fast guidance sees of each GCM grid: the head's cells stand for the decoder's."""
    prior = prepared.prior
    if prepared.config.sampler.guidance != "fast" or prior.head is None:
        return []
    read = head_cell(prior.compression, prior.grid_step)
    sizes = dict.fromkeys(cell_size(source.grid) for source in prepared.sources.values())
    told = [("observed", _seen(size, read, stated_error(prior, size))) for size in sizes]
    return told if prior.estimates is not None else [*told, ("guidance", WEAK)]


def _seen(size: tuple[float, float], read: tuple[float, float], error: float | None) -> str:
    gcm, head = (f"{lat:.3g}° × {lon:.3g}°" for lat, lon in (size, read))
    expected = "by an error that was not measured" if error is None else f"by about {error:.1%}"
    if finer_than_head(size, read):
        return (
            f"the GCM's {gcm} cells are finer than guidance sees: instead of them, means of the "
            f"{head} cells that hold them, which differ from the decoder's rain {expected}; "
            "closing then meets each GCM cell"
        )
    return (
        f"monthly means on the GCM's {gcm} cells, read in cells of {head}; they differ from the "
        f"decoder's rain {expected}"
    )


def _described(group: GroupPlan, prior: Prior) -> str:
    """What a group will hold: cells, days and realizations."""
    record, (_, lat, lon) = group.record, group.layout.shape
    first, stop = group.layout.days_of(group.shards.start, group.shards.stop)
    dates = " to ".join(f"{date_of(d, record.calendar):%Y-%m-%d}" for d in (first, stop - 1))
    n = group.realizations
    return (
        f"{n} {_plural(n, 'realization')} of {lat} × {lon} cells at {prior.grid_step:g}°, "
        f"{stop - first:,} days from {dates} ({record.calendar})"
    )


def _plural(count: int, noun: str) -> str:
    return noun if count == 1 else f"{noun}s"
