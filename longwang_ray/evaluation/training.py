"""Train a prior and say how good it is: what ``longwang train`` does.

The bundle's folder gets, beside the prior: its metrics in ``prior.json``, ``MODEL_CARD.md``, and
two pictures. None of these changes its digest.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from longwang_ray.evaluation.model_card import model_card
from longwang_ray.evaluation.prior_report import PriorReport, assess_prior
from longwang_ray.evaluation.progress import draw_progress
from longwang_ray.evaluation.views import Parts, held_out_of, synthetic_held_out
from longwang_ray.prior.bundle import DESCRIPTION, Prior, open_prior
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.days import DayBlock
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
    from longwang_ray.training.launch import launch  # Ray takes seconds to import

    made = launch(config, only, draw_progress)
    if only is None and "metrics" not in open_prior(made).card:
        assess_bundle(made, held_out_of(config))
    print(f"done: {made}")
    return 0


def assess_bundle(
    where: str | Path, held_out: Parts | Sequence[DayBlock] | None = None
) -> PriorReport:
    """Assess a prior and write what was found into its bundle; takes minutes.

    Args:
        where: The bundle, a folder or an fsspec URL.
        held_out: Days that it has not seen; by default months of the synthetic Earth.

    Raises:
        ValueError: if nothing that was held out holds a window of the prior.
    """
    prior = open_prior(where)
    report = _assessed(prior, held_out)
    add_report(where, prior, report)
    return report


def evaluate_prior(
    where: str | Path,
    output: str | Path,
    config: str | Path | None = None,
    overrides: Iterable[str] = (),
) -> int:
    """Assess any prior and write what was found beside it: ``longwang assess``.

    Args:
        where: The name of an embedded prior, a folder, or an fsspec URL; it is left as it is.
        output: Folder or fsspec URL for ``metrics.json``, ``MODEL_CARD.md`` and the pictures.
        config: A training's YAML: what it holds out is looked at; by default months of the
            synthetic Earth.
        overrides: ``dotted.path=value`` each, of that configuration.

    Returns:
        0, the exit code of a command that is done.

    Raises:
        ConfigError, TrainingError, SourceError, PriorError: As they say.
        ValueError: if nothing that was held out holds a window of the prior.
    """
    prior = open_prior(where)
    held_out = None if config is None else held_out_of(load_train_config(config, overrides))
    report = _assessed(prior, held_out)
    files = Checkpoints(str(output))
    _write(files, prior, report)
    files.write(METRICS, (json.dumps(report.metrics, indent=1) + "\n").encode())
    print((files.read(CARD) or b"").decode())
    print(f"written: {output}")
    return 0


def _assessed(prior: Prior, held_out: Parts | Sequence[DayBlock] | None) -> PriorReport:
    """On the GPU, where there is one."""
    days = synthetic_held_out() if held_out is None else held_out
    try:
        return assess_prior(prior.to("cuda" if torch.cuda.is_available() else "cpu"), days)
    finally:
        prior.to("cpu")


def add_report(where: str | Path, prior: Prior, report: PriorReport) -> None:
    """Write metrics, model card and pictures into a bundle; its digest stays what it was."""
    files = Checkpoints(str(where))
    description = _write(files, prior, report)
    files.write(DESCRIPTION, (json.dumps(description, indent=1) + "\n").encode())


def _write(files: Checkpoints, prior: Prior, report: PriorReport) -> dict[str, Any]:
    description = {**prior.description(), "metrics": report.metrics}
    files.write(CARD, model_card(description, prior.parameters, prior.digest).encode())
    for figure, name in ((report.days, DAYS), (report.spectra, SPECTRA)):
        content = io.BytesIO()
        figure.savefig(content, format="png", dpi=80)
        files.write(name, content.getvalue())
    return description
