"""From days of rain to a prior: autoencoder, statistics, denoiser, coarse head, bundle.

Each stage keeps its checkpoint in the run's folder and goes on from it, so ``longwang train`` can
be killed and started again at any time. A bundle is written once: the same prior again is done,
another one is refused.
"""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import torch

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.bundle import DESCRIPTION, Prior, open_prior
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.head import CoarseHead
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.loop import TrainingError
from longwang_ray.training.settings import TrainConfig
from longwang_ray.training.stages import (
    STAGES,
    Stage,
    Stages,
    Statistics,
    checkpoint_file,
    statistics_file,
)

log = logging.getLogger(__name__)


def train_prior(config: TrainConfig, only: Stage | None = None) -> Path:
    """Fit a prior and write its bundle, going on from whatever checkpoints there are.

    A signal to stop (Ctrl-C) leaves a checkpoint and then acts as it would have.

    Args:
        config: What is asked.
        only: Run one stage alone; those that it needs must be finished.

    Returns:
        The bundle's folder; with ``only``, the file that the stage left.

    Raises:
        TrainingError: if a checkpoint does not fit the configuration, a stage that is needed is
            not finished, or the bundle's folder holds another prior.
    """
    if config.threads is not None:
        torch.set_num_threads(config.threads)
    _require_room(config)
    stages = Stages.of(config)
    transform = stages.transform()
    if only is not None:
        return _one_stage(stages, transform, only)
    autoencoder = stages.autoencoder(transform)
    statistics = stages.statistics(autoencoder, transform)
    latents = stages.latents(autoencoder, transform)
    denoiser = stages.denoiser(latents, statistics)
    head = stages.head(latents, statistics, autoencoder, transform)
    return save_bundle(
        assemble(config, transform, statistics, autoencoder, denoiser, head), config.bundle
    )


def _one_stage(stages: Stages, transform: LogTransform, only: Stage) -> Path:
    needed = tuple(s for s in STAGES[: STAGES.index(only)] if s != "denoiser")
    stages.require_done(needed)
    autoencoder = stages.autoencoder(transform)
    if only != "autoencoder":
        statistics = stages.statistics(autoencoder, transform)
        if only == "statistics":
            return statistics_file(stages.folder)
        latents = stages.latents(autoencoder, transform)
        if only == "denoiser":
            stages.denoiser(latents, statistics)
        else:
            stages.head(latents, statistics, autoencoder, transform)
    return checkpoint_file(stages.folder, only)


def assemble(
    config: TrainConfig,
    transform: LogTransform,
    statistics: Statistics,
    autoencoder: Autoencoder,
    denoiser: Denoiser,
    head: CoarseHead,
) -> Prior:
    """Put the fitted parts together, with a card that says how they came about."""
    return Prior(
        autoencoder=autoencoder,
        denoiser=denoiser,
        head=head,
        transform=transform,
        latent_mean=tuple(statistics.mean.tolist()),
        latent_std=tuple(statistics.std.tolist()),
        window=config.lattice.window,
        stride=config.lattice.stride,
        dry_threshold=config.dry_threshold,
        card=training_card(config),
    )


def training_card(config: TrainConfig) -> dict[str, Any]:
    """What a bundle says about its making: everything asked but the folders of one machine."""
    told = config.model_dump(mode="json", exclude={"output", "bundle", "threads"})
    about = {key: told.pop(key) for key in ("name", "description", "intended_use")}
    return {**about, "training": told}


def save_bundle(prior: Prior, folder: Path) -> Path:
    """Write a bundle whole or not at all; one that is there already must be the same prior.

    Raises:
        TrainingError: if the folder holds another prior, or something else.
    """
    if (folder / DESCRIPTION).exists():
        if (found := open_prior(folder).digest) != prior.digest:
            raise _other_prior(folder, f"{found[:12]}, this one is {prior.digest[:12]}")
        log.info("%s: holds this prior already", folder)
        return folder
    _require_empty(folder)
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left of its own
    prior.save(part)
    os.replace(part, folder)
    log.info("%s: prior %s, %s parameters", folder, prior.digest[:12], f"{prior.parameters:,}")
    return folder


def _require_room(config: TrainConfig) -> None:
    """Hours of training later is too late to learn that the bundle's folder is taken."""
    folder = config.bundle
    if not (folder / DESCRIPTION).exists():
        _require_empty(folder)
    elif open_prior(folder).card.get("training") != training_card(config)["training"]:
        raise _other_prior(folder, "trained with another configuration")


def _require_empty(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()):
        raise TrainingError(
            f"{folder}: is not empty and holds no prior; choose another folder (bundle=…)"
        )


def _other_prior(folder: Path, found: str) -> TrainingError:
    return TrainingError(
        f"{folder}: holds another prior already ({found}); choose another folder (bundle=…), "
        "nothing was overwritten"
    )
