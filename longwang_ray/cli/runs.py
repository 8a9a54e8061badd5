"""Commands about runs and their stores; what a command needs is imported when it is called."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from longwang_ray.cli.output import DONE, FAILED, INCOMPLETE, print_pairs

MOST_PROBLEMS = 20
"""Problems that ``verify`` prints; a store without its shards has millions."""


def plan(options: argparse.Namespace) -> int:
    """Print what a run would do."""
    from longwang_ray.config import load_config
    from longwang_ray.run import describe_plan, plan_ensemble

    print_pairs(describe_plan(plan_ensemble(load_config(options.config, options.overrides))))
    return DONE


def run(options: argparse.Namespace) -> int:
    """Sample what is not there yet, and draw it."""
    from longwang_ray.config import load_config
    from longwang_ray.run import describe_plan, plan_ensemble, run_ensemble

    prepared = plan_ensemble(load_config(options.config, options.overrides))
    print_pairs(describe_plan(prepared))
    summary = run_ensemble(prepared)
    for line in summary.lines():
        print(line)
    if not summary.complete:
        return INCOMPLETE
    try:
        _draw(summary.store, summary.groups[0].path, None, None)
    except (ValueError, OSError) as error:  # the rain is there: a picture is only a picture
        print(f"no picture: {error}", file=sys.stderr)
    return DONE


def status(options: argparse.Namespace) -> int:
    """Tell how far a store is."""
    from longwang_ray.store import status

    for group in status(options.store):
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
    return DONE


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


def _words(period: str) -> str:
    return period.replace("/", " to ")


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


def _draw(store: str, group: str | None, month: str | None, output: Path | None) -> None:
    from longwang_ray.evaluation.from_store import draw_store

    figure = draw_store(store, group, month)
    name = store.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")
    local = Path(store.rstrip("/")).parent if "://" not in store else Path()
    target = output or local / f"{name}.png"
    figure.savefig(target, dpi=150)
    print(f"picture: {target}")
