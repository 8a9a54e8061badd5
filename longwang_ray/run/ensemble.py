"""One run, top-down: monthly rain in, an ensemble of daily fields out.

    prior → sources → plan → store → what is missing → tiles → seal

Every step is a call into the room that knows how; this module only says in which order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass

from longwang_ray.config import RunConfig
from longwang_ray.domain.plan import Tile
from longwang_ray.engine import Outcome, RayExecutor, SerialExecutor, watch
from longwang_ray.posterior.tile import MonthlyRain
from longwang_ray.run.planning import Prepared, device_of, plan_ensemble, sampling_of
from longwang_ray.run.recipe import group_spec
from longwang_ray.run.worker import TileReport, WorkerFactory
from longwang_ray.store import Sealed, StoreError, create_store, missing, seal

log = logging.getLogger(__name__)


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
        """Whether everything asked for is there."""
        return not self.failed and all(group.complete for group in self.groups)

    def lines(self) -> list[str]:
        """The closing lines, for people."""
        done = f"{self.tiles} tiles in {self.seconds:.0f} s"
        lines = [f"store: {self.store} ({done}, {self.already} were there before)"]
        for group in self.groups:
            closure = ""
            if "closure_before" in group.mean:
                before, after = (group.mean[f"closure_{at}"] for at in ("before", "after"))
                closure = (
                    f"; months differ from the GCM's by {before:.1%} on average before closure, "
                    f"{after:.1e} after (at worst {group.worst['closure_after']:.1e})"
                )
            lines.append(f"{group.path}: {group.done} of {group.asked} shards{closure}")
            if group.intended_use == "demonstration":
                lines.append("intended use: demonstration — the prior has never seen real rain")
        return lines


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
    if url.startswith("memory:") and config.engine.kind == "ray":
        raise StoreError(
            f"output.path: {url} is private to one process; use engine.kind=serial or another path"
        )
    fates = create_store(url, [group_spec(prepared, group) for group in plan.groups])
    for path, fate in fates.items():
        log.info("%s: %s", path, fate)
    todo = sum(1 for _ in missing(url, plan.tiles()))
    failed: dict[str, str] = {}
    if todo:
        for outcome in _outcomes(prepared, missing(url, plan.tiles()), todo):
            if not outcome.ok:
                failed[outcome.key] = str(outcome.error)
    sealed = seal(url, list(fates))
    took, already = time.monotonic() - started, plan.n_tiles - todo
    return RunSummary(url, tuple(sealed), todo - len(failed), already, failed, took)


def _outcomes(
    prepared: Prepared, tiles: Iterator[Tile], todo: int
) -> Iterator[Outcome[TileReport]]:
    config, total = prepared.config, prepared.plan.n_tiles
    engine, device = config.engine, device_of(prepared.config)
    executor: RayExecutor | SerialExecutor
    if engine.kind == "serial":
        executor = SerialExecutor()
    else:
        workers = None if engine.workers == "auto" else engine.workers
        executor = RayExecutor(
            workers,
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
        prior=config.prior,
        sources=rain,
        sampling=sampling_of(config),
        seed=config.seed,
        store=config.output.path,
        device=device,
        threads=config.engine.threads,
    )
