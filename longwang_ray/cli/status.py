"""How far a store is, and what its runs say of themselves: from the store alone, anywhere."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from longwang_ray.cli.output import DONE, print_object, print_pairs

if TYPE_CHECKING:
    from longwang_ray.store import GroupStatus, RunRecord

READ, SHOWN = 20, 3
"""Runs that are read, and those of them that are shown to people."""
MOST_GIVEN_UP = 20
"""Tiles given up that are shown to people."""


def status(options: argparse.Namespace) -> int:
    """Tell how far a store is, and its runs."""
    from longwang_ray.store import given_up, read_runs, status

    groups = status(options.store)
    runs = read_runs(options.store, most=READ)
    lost = given_up(runs)
    if options.json:
        told = [{**asdict(run), "silent": run.is_silent()} for run in runs]
        print_object({"groups": [asdict(one) for one in groups], "runs": told, "given_up": lost})
        return DONE
    for group in groups:
        _print_group(group)
    for run in runs[:SHOWN]:
        _print_run(run)
    for key, why in list(lost.items())[:MOST_GIVEN_UP]:
        print(f"given up: {key}: {why}")
    if len(lost) > MOST_GIVEN_UP:
        print(f"… and {len(lost) - MOST_GIVEN_UP} more")
    return DONE


def _print_group(group: GroupStatus) -> None:
    share = group.done / group.asked if group.asked else 0.0
    print(f"{group.path}: {group.done} of {group.asked} shards ({share:.0%})")
    pairs = [
        ("realizations", str(group.realizations)),
        ("complete", ", ".join(map(_words, group.periods)) or "no period yet"),
        ("intended use", group.intended_use),
        ("recipe", group.recipe[:16]),
    ]
    if group.unsigned:
        pairs.append(("without receipt", f"{group.unsigned} shards, checked by the next run"))
    if group.rejected:
        pairs.append(("later differing copies", f"{group.rejected}; the first was kept"))
    print_pairs(pairs, indent=2)


def _print_run(run: RunRecord) -> None:
    from longwang_ray.engine.screens import duration, size

    print(f"run {run.run}: {_state(run)}")
    before = f", {run.already} of them before it began" if run.already else ""
    lost = f"; {run.failed} given up" if run.failed else ""
    pairs = [("tiles", f"{run.done} of {run.total}{before}{lost}")]
    if run.realization_years:
        years = f"{run.realization_years:.3g} realization-years, {size(run.bytes_written)}"
        pairs.append(("written", years))
    if run.rate:
        left = ""
        if run.state == "running" and run.seconds_left is not None:
            left = f", {duration(run.seconds_left)} left"
        pairs.append(("rate", f"{run.rate * 60:.3g} tiles/min{left}"))
    if run.workers_wanted:
        pairs.append(("workers", f"{run.workers_alive} of {run.workers_wanted}"))
    if run.retried:
        pairs.append(("retried", str(run.retried)))
    if run.message:
        pairs.append(("message", run.message))
    print_pairs(pairs, indent=2)


def _state(run: RunRecord) -> str:
    if run.is_silent():
        return f"no sign of life since {run.updated}; its driver was killed, or is cut off"
    if run.state != "running":
        return f"{run.state}, {run.updated}"
    from longwang_ray.engine.screens import duration

    updated = datetime.fromisoformat(run.updated)
    age = max((datetime.now(UTC) - updated).total_seconds(), 0.0)
    return f"running; last sign of life {duration(age)} ago"


def _words(period: str) -> str:
    return period.replace("/", " to ")
