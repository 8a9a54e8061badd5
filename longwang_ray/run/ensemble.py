"""One run, top-down: monthly rain in, an ensemble of daily fields out.

    prior → sources → plan → store → what is missing → tiles → seal

Every step is a call into the room that knows how; this module only says in which order.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass

from longwang_ray.config import RunConfig
from longwang_ray.domain.plan import Tile
from longwang_ray.engine import (
    Outcome,
    RayExecutor,
    SerialExecutor,
    StopRun,
    watch,
)
from longwang_ray.engine.progress import duration
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.run.planning import (
    Prepared,
    device_of,
    on_cluster,
    plan_ensemble,
    sampling_of,
)
from longwang_ray.run.recipe import group_spec
from longwang_ray.run.worker import TileReport, WorkerFactory
from longwang_ray.store import Sealed, StoreError, create_store, missing, seal

log = logging.getLogger(__name__)
CLOSED = 1e-6
"""Relative differences below this are float32's."""


@dataclass(frozen=True)
class RunSummary:
    """How a run ended.

    Attributes:
        store: Where the ensemble is.
        groups: What each group has.
        tiles: Tiles done in this run.
        already: Tiles that an earlier run had done.
        failed: Keys of tiles given up, with the reason.
        seconds: How long the run took.
    """

    store: str
    groups: tuple[Sealed, ...]
    tiles: int
    already: int
    failed: Mapping[str, str]
    seconds: float

    @property
    def complete(self) -> bool:
        """Whether everything that this run asked for is there; earlier ones may want more."""
        return not self.failed

    def lines(self) -> list[str]:
        """The closing lines, for people."""
        lines = [f"{key} was given up: {why}" for key, why in self.failed.items()]
        for group in self.groups:
            lines.append(f"{group.path}: {_counted(group)}{_closure(group)}")
        if any(group.intended_use == "demonstration" for group in self.groups):
            lines.append("intended use: demonstration; the prior has never seen real rain")
        there = f", {self.already} were there before" if self.already else ""
        done = f"{self.tiles} tiles sampled in {duration(self.seconds)}{there}"
        if not self.tiles and not self.failed:
            done = f"nothing was left to do: all {self.already} tiles were there before"
        lines.append(f"store: {self.store} ({done})")
        if self.failed:
            lines.append(
                f"not complete: {len(self.failed)} tiles are missing; "
                "the same command tries them again"
            )
        return lines


def _counted(group: Sealed) -> str:
    return f"{group.done} shards" if group.complete else f"{group.done} of {group.asked} shards"


def _closure(group: Sealed) -> str:
    """How far the days' means were from the GCM's months, before and after closure."""
    if "closure_before" not in group.mean:
        return ""
    before, after = group.mean["closure_before"], group.worst["closure_after"]
    mild = "" if group.mild is None else f"; {group.mild:.0%} of its factors are within 0.8 … 1.25"
    return (
        f"; months differ from the GCM's by {before:.1%} on average before closure, and after it "
        f"by {f'{after:.1e}' if after > CLOSED else f'less than {CLOSED:.0e}'} at worst{mild}"
    )


def run_ensemble(run: RunConfig | Prepared) -> RunSummary:
    """Sample what is not there yet.

    Args:
        run: A configuration, or what :func:`plan_ensemble` made of it.

    Raises:
        StoreError: if the store is another run's, or cannot be written.
    """
    started = time.monotonic()
    prepared = run if isinstance(run, Prepared) else plan_ensemble(run)
    config = prepared.config
    url, plan = config.output.path, prepared.plan
    try:
        fates = create_store(url, [group_spec(prepared, group) for group in plan.groups])
    except OSError as error:
        raise StoreError(
            f"output.path: {url} cannot be written ({error}); choose another path"
        ) from error
    for path, fate in fates.items():
        log.info("%s: %s in %s", path, fate, url)
    todo = sum(1 for _ in missing(url, plan.tiles()))
    failed: dict[str, str] = {}
    if todo:
        try:
            for outcome in _outcomes(prepared, missing(url, plan.tiles()), todo):
                if not outcome.ok:
                    failed[outcome.key] = str(outcome.error)
        except StopRun as stop:
            raise StoreError(f"output.path: {stop}") from stop
    sealed = seal(url, list(fates))
    took, already = time.monotonic() - started, plan.n_tiles - todo
    return RunSummary(url, tuple(sealed), todo - len(failed), already, failed, took)


def _outcomes(
    prepared: Prepared, tiles: Iterator[Tile], todo: int
) -> Iterator[Outcome[TileReport]]:
    engine, device = prepared.config.engine, device_of(prepared.config)
    total = prepared.plan.n_tiles
    executor: RayExecutor | SerialExecutor
    if engine.kind == "serial":
        executor = SerialExecutor()
    else:
        executor = RayExecutor(
            None if engine.workers == "auto" and on_cluster() else prepared.workers,
            gpus=1 if device == "cuda" else 0,
            threads=engine.threads,
            deadline=engine.tile_timeout,
        )
    with closing(executor) if isinstance(executor, RayExecutor) else nullcontext():
        results = executor.map(worker_factory(prepared, device), tiles, todo)
        yield from watch(results, total, already=total - todo, health=lambda: executor.health)


def worker_factory(prepared: Prepared, device: str) -> WorkerFactory:
    """What a worker is made from: values and URLs, never references."""
    config = prepared.config
    rain = {
        path: MonthlyRain(source.rain, source.grid, source.record)
        for path, source in prepared.sources.items()
    }
    return WorkerFactory(
        prior=absolute(config.prior),
        sources=rain,
        sampling=sampling_of(config),
        seed=config.seed,
        store=absolute(config.output.path),
        device=device,
        threads=config.engine.threads,
    )


def absolute(url: str) -> str:
    """A path that means the same in another process; names and URLs stay as they are."""
    return os.path.abspath(url) if os.path.exists(url) else url
