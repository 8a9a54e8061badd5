"""Commands about runs and their stores; what a command needs is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from longwang_ray.cli.output import (
    DONE,
    FAILED,
    INCOMPLETE,
    object_of,
    print_object,
    print_pairs,
)

if TYPE_CHECKING:
    from longwang_ray.run.report import Events

MOST_PROBLEMS = 20
"""Problems that ``verify`` prints; a store without its shards has millions."""


def plan(options: argparse.Namespace) -> int:
    """Print what a run would do."""
    from longwang_ray.config import load_config
    from longwang_ray.run import describe_plan, plan_ensemble

    pairs = describe_plan(plan_ensemble(load_config(options.config, options.overrides)))
    if options.json:
        print_object(object_of(pairs))
    else:
        print_pairs(pairs)
    return DONE


def run(options: argparse.Namespace) -> int:
    """Sample what is not there yet, and draw it; with ``--json`` standard output has events."""
    if not options.json:
        return _run(options, None)
    from longwang_ray.run.report import Events

    events = Events(sys.stdout)
    with _end_told(events):
        return _run(options, events)


def _run(options: argparse.Namespace, events: Events | None) -> int:
    from longwang_ray.config import load_config
    from longwang_ray.run import describe_plan, execute, plan_ensemble

    stream = sys.stderr if events else sys.stdout
    prepared = plan_ensemble(load_config(options.config, options.overrides))
    pairs = describe_plan(prepared)
    print_pairs(pairs, stream=stream)
    if events:
        events.tell("plan", plan=object_of(pairs))
    summary = execute(prepared, viewers=[events] if events else None, repair=options.repair)
    for line in summary.lines():
        print(line, file=stream)
    if summary.complete:
        try:
            _draw(summary.store, summary.groups[0].path, None, None, stream)
        except (ValueError, OSError) as error:  # the rain is there: a picture is only a picture
            print(f"no picture: {error}", file=sys.stderr)
    if events:
        events.finished(summary)
    return DONE if summary.complete else INCOMPLETE


@contextmanager
def _end_told(events: Events) -> Iterator[None]:
    """Let the last event say how it ended, where it was not with a summary."""
    from longwang_ray.run.report import is_stop

    try:
        yield
    except BaseException as error:
        if is_stop(error):
            events.tell("stopped")
        else:
            events.tell("failed", error=f"{type(error).__name__}: {error}")
        raise


def verify(options: argparse.Namespace) -> int:
    """Read a whole store and check it."""
    from longwang_ray.store import verify

    found = verify(options.store, tolerance=options.tolerance)
    for problem in found.problems[:MOST_PROBLEMS]:
        print(f"problem: {problem}")
    if len(found.problems) > MOST_PROBLEMS:
        print(f"… and {len(found.problems) - MOST_PROBLEMS} more")
    print(
        f"read {found.shards} shards; compared {found.months} monthly means of GCM cells with "
        f"the GCM: they differ by {found.closure:.1e} at most (allowed {options.tolerance:g}), "
        f"{found.unmet} could not be met and are recorded so"
    )
    print(f"{options.store}: " + ("verified" if found.ok else f"problems: {len(found.problems)}"))
    return DONE if found.ok else FAILED


def plot(options: argparse.Namespace) -> int:
    """Draw three days of each realization."""
    _draw(options.store, options.group, options.month, options.output)
    return DONE


def evaluate(options: argparse.Namespace) -> int:
    """Score what a configuration asks for, or a store against daily rain."""
    if options.asked.endswith((".yaml", ".yml")):
        if options.variable or options.group:
            options.wrong_usage("--variable and --group are for a STORE; a CONFIG has keys")
        return _evaluate_truth(options.asked, options.overrides)
    from longwang_ray.evaluation.from_store import score_store

    if len(options.overrides) != 1:
        options.wrong_usage("a STORE is scored against one REFERENCE: STORE REFERENCE")
    (reference,) = options.overrides
    report = score_store(options.asked, reference, options.variable or "pr", options.group)
    print(report.text())
    return DONE


def _evaluate_truth(path: str, overrides: list[str]) -> int:
    """Sample a known truth back, score it, and say where the reports are."""
    from longwang_ray.evaluation.perfect import evaluate
    from longwang_ray.evaluation.perfect_plan import prepare
    from longwang_ray.evaluation.settings import load_evaluate_config
    from longwang_ray.evaluation.work import Unfinished

    prepared = prepare(load_evaluate_config(path, overrides))
    print_pairs(prepared.lines())
    try:
        found = evaluate(prepared)
    except Unfinished as left:
        print(f"not complete: {left}")
        return INCOMPLETE
    print(found.summary.text())
    print(f"report: {found.report}")
    return DONE


def _draw(
    store: str,
    group: str | None,
    month: str | None,
    output: Path | None,
    stream: TextIO | None = None,
) -> None:
    from longwang_ray.evaluation.from_store import draw_store

    figure = draw_store(store, group, month)
    name = store.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")
    local = Path(store.rstrip("/")).parent if "://" not in store else Path()
    target = output or local / f"{name}.png"
    figure.savefig(target, dpi=150)
    print(f"picture: {target}", file=stream)
