"""Train a prior and say how good it is: what ``longwang train`` does.

The bundle's folder gets, beside the prior: its metrics in ``prior.json``, ``MODEL_CARD.md``, and
two pictures. None of these changes its digest.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from longwang_ray.evaluation.model_card import model_card
from longwang_ray.evaluation.prior_report import (
    HeldOutDays,
    PriorReport,
    assess_prior,
    synthetic_held_out,
)
from longwang_ray.prior.bundle import DESCRIPTION, Prior, open_prior
from longwang_ray.training.fit_prior import train_prior
from longwang_ray.training.plan import plan_training
from longwang_ray.training.settings import load_train_config
from longwang_ray.training.stages import Stage

CARD, METRICS, DAYS, SPECTRA = "MODEL_CARD.md", "metrics.json", "days.png", "spectra.png"


def train_and_assess(
    path: str | Path,
    overrides: Iterable[str] = (),
    *,
    dry_run: bool = False,
    only: Stage | None = None,
) -> int:
    """Train what a configuration asks for, and assess it unless that has been done.

    Args:
        path: A training's YAML.
        overrides: ``dotted.path=value`` each.
        dry_run: Print the plan and start nothing.
        only: One stage alone; nothing is assessed.

    Returns:
        0, the exit code of a command that is done.

    Raises:
        ConfigError, TrainingError, PriorError: As they say.
    """
    config = load_train_config(path, overrides)
    print("\n".join(plan_training(config).lines()))
    if dry_run:
        return 0
    made = train_prior(config, only)
    if only is None and "metrics" not in open_prior(made).card:
        assess_bundle(made)
    print(f"done: {made}")
    return 0


def assess_bundle(folder: Path, held_out: Sequence[HeldOutDays] | None = None) -> PriorReport:
    """Assess a prior and write what was found into its bundle; takes minutes.

    Args:
        folder: The bundle.
        held_out: Days that it has not seen; by default months of the synthetic Earth.
    """
    prior = open_prior(folder)
    report = assess_prior(prior, synthetic_held_out() if held_out is None else held_out)
    add_report(folder, prior, report)
    return report


def evaluate_prior(
    where: str | Path, output: Path, held_out: Sequence[HeldOutDays] | None = None
) -> int:
    """Assess any prior and write what was found beside it: ``longwang assess``.

    Args:
        where: The name of an embedded prior, a folder, or an fsspec URL; it is left as it is.
        output: Folder for ``metrics.json``, ``MODEL_CARD.md`` and the pictures.
        held_out: Days that it has not seen; by default months of the synthetic Earth.

    Returns:
        0, the exit code of a command that is done.
    """
    prior = open_prior(where)
    report = assess_prior(prior, synthetic_held_out() if held_out is None else held_out)
    output.mkdir(parents=True, exist_ok=True)
    _write(output, prior, report)
    _replace(output / METRICS, (json.dumps(report.metrics, indent=1) + "\n").encode())
    print((output / CARD).read_text())
    print(f"written: {output}")
    return 0


def add_report(folder: Path, prior: Prior, report: PriorReport) -> None:
    """Write metrics, model card and pictures into a bundle; its digest stays what it was."""
    description = _write(folder, prior, report)
    _replace(folder / DESCRIPTION, (json.dumps(description, indent=1) + "\n").encode())


def _write(folder: Path, prior: Prior, report: PriorReport) -> dict[str, Any]:
    description = {**prior.description(), "metrics": report.metrics}
    _replace(folder / CARD, model_card(description, prior.parameters, prior.digest).encode())
    _picture(report.days, folder / DAYS)
    _picture(report.spectra, folder / SPECTRA)
    return description


def _replace(file: Path, content: bytes) -> None:
    part = file.with_name(f"{file.name}.part")
    part.write_bytes(content)
    os.replace(part, file)


def _picture(figure: Figure, file: Path) -> None:
    part = file.with_name(f"{file.name}.part")
    figure.savefig(part, format="png", dpi=80)
    os.replace(part, file)
