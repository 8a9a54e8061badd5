"""One run, top-down: monthly rain in, an ensemble of daily fields out.

    prior → sources → plan → store → what is missing → tiles → seal

Every step is a call into the room that knows how; this module only says in which order.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, nullcontext
from dataclasses import dataclass

import xarray as xr

from longwang_ray.config import RunConfig
from longwang_ray.engine import (
    EngineError,
    Outcome,
    RayExecutor,
    SerialExecutor,
    StopRun,
    Viewer,
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
from longwang_ray.run.report import Report
from longwang_ray.run.worker import TileReport, WorkerFactory, foreseen
from longwang_ray.store import (
    Backlog,
    Sealed,
    StoreError,
    StoreRefused,
    StoreUnreachable,
    create_store,
    open_backlog,
    open_ensemble,
    open_tree,
    repair_store,
    require_room,
    running,
    seal,
)

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


def run_ensemble(run: RunConfig | Prepared) -> xr.Dataset | xr.DataTree:
    """Sample what is not there yet, and open what came of it.

    Args:
        run: A configuration, or what :func:`plan_ensemble` made of it.

    Returns:
        The group ``pr(realization, time, lat, lon)`` in kg m-2 s-1, lazily; of several sources the
        whole store, as a tree of such groups.

    Raises:
        StoreError: The store is another run's, or cannot be written.
        Incomplete: Tiles were given up; the others are there.
    """
    summary = execute(run)
    if not summary.complete:
        raise Incomplete(summary)
    if len(summary.groups) == 1:
        return open_ensemble(summary.store, summary.groups[0].path)
    return open_tree(summary.store)


class Incomplete(RuntimeError):
    """Tiles were given up; the others are on the store.

    Args:
        summary: How the run ended.
    """

    def __init__(self, summary: RunSummary) -> None:
        super().__init__("\n".join(summary.lines()))
        self.summary = summary


def execute(
    run: RunConfig | Prepared,
    *,
    viewers: Sequence[Viewer] | None = None,
    repair: bool = False,
) -> RunSummary:
    """Sample what is not there yet.

    Args:
        run: A configuration, or what :func:`plan_ensemble` made of it.
        viewers: Who is shown how far it is; None: who reads standard error.
        repair: Whether shards are read first, and damaged ones moved aside and sampled again.

    Raises:
        StoreError: The store is another run's, or cannot be written.
        EngineError: Workers do not start, or nothing that they try succeeds.
    """
    started = time.monotonic()
    prepared = run if isinstance(run, Prepared) else plan_ensemble(run)
    url, plan = prepared.config.output.path, prepared.plan
    try:
        backlog = _open(prepared, repair)
    except (StoreRefused, StoreUnreachable) as error:
        raise type(error)(f"output.path: {error}") from error
    failed: dict[str, str] = {}
    with Report(prepared, backlog.done, viewers) as report:
        try:
            for outcome in _outcomes(prepared, backlog, report):
                if not outcome.ok:
                    failed[outcome.key] = _explained(str(outcome.error), prepared)
        except StopRun as stop:
            raise StoreError(f"output.path: {stop}") from stop
        except EngineError as error:
            raise EngineError(_explained(str(error), prepared)) from error
        sealed = seal(url, [group.group.path for group in plan.groups])
    took, tiles = time.monotonic() - started, len(backlog) - len(failed)
    return RunSummary(url, tuple(sealed), tiles, backlog.done, failed, took)


def _explained(error: str, prepared: Prepared) -> str:
    """Say what was foreseen, too, of a worker that the machine stopped for its memory."""
    if "ran out of memory" not in error or "the plan foresaw" in error:
        return error
    return f"{error}; {foreseen(prepared.plan.cost().memory)}"


def _open(prepared: Prepared, repair: bool) -> Backlog:
    """Make the store or take it up, and find what is missing."""
    url, plan = prepared.config.output.path, prepared.plan
    fates = create_store(url, [group_spec(prepared, group) for group in plan.groups])
    for path, fate in fates.items():
        log.info("%s: %s in %s", path, fate, url)
    for run in running(url):
        log.warning(
            "%s: run %s is writing there too; that harms nothing, but tiles are sampled twice",
            *(url, run.run),
        )
    if repair:
        for found in repair_store(url, plan.groups):
            log.warning("%s", found)
    backlog = open_backlog(url, plan.groups)
    share = len(backlog) / backlog.n_tiles
    require_room(url, int(plan.cost().bytes_written * share))
    return backlog


def _outcomes(
    prepared: Prepared, backlog: Backlog, report: Report
) -> Iterator[Outcome[TileReport]]:
    """Have all that is missing sampled, by whomever the configuration names."""
    engine, device = prepared.config.engine, device_of(prepared.config)
    if not len(backlog):
        return
    executor: RayExecutor | SerialExecutor
    if engine.kind == "serial":
        executor = SerialExecutor()
    else:
        executor = RayExecutor(
            None if engine.workers == "auto" and on_cluster() else prepared.workers,
            gpus=1 if device == "cuda" else 0,
            threads=engine.threads,
            deadline=prepared.deadline,
        )
    with closing(executor) if isinstance(executor, RayExecutor) else nullcontext():
        factory = worker_factory(prepared, device)
        outcomes = executor.map(factory, backlog.tiles(), len(backlog))
        yield from report.watch(outcomes, lambda: executor.health)


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
        memory=prepared.plan.cost().memory,
    )


def absolute(url: str) -> str:
    """A path that means the same in another process; names and URLs stay as they are."""
    return os.path.abspath(url) if os.path.exists(url) else url
