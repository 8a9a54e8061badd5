"""From days of rain to a prior: autoencoder, statistics, denoiser, coarse head, what its
estimates are worth, bundle.

Each stage keeps its checkpoint in the run's folder and goes on from it, so ``longwang train`` can
be killed and started again at any time. A bundle is written once: the same prior again is done,
another one is refused.
"""

from __future__ import annotations

import logging
import signal
from typing import Any

import torch

from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.estimates import EstimateTables
from longwang_ray.prior.head import CoarseHead
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.channel import Channel, signals_collected
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.data import open_training_data
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.publish import bundle_at, other_prior, save_bundle
from longwang_ray.training.settings import OptimisationSettings, TrainConfig, told_of
from longwang_ray.training.sight import Watch
from longwang_ray.training.stages import STAGES, STATISTICS, Stage, Stages
from longwang_ray.training.worker import SOLO, Worker

log = logging.getLogger(__name__)


def train_prior(
    config: TrainConfig,
    only: Stage | None = None,
    *,
    worker: Worker = SOLO,
    channel: Channel | None = None,
    watch: Watch | None = None,
) -> str:
    """Fit a prior and write its bundle, going on from whatever checkpoints there are.

    Every worker of a training calls it; the first one writes.

    Args:
        config: What is asked.
        only: Run one stage alone; those that it needs must be finished.
        worker: Which worker this is.
        channel: Who is told, and who may wish to stop; by default this process's log and its
            signals, which leave a checkpoint and then act as they would have.
        watch: Draws what the networks make of held-out days, now and then.

    Returns:
        The bundle's folder; with ``only``, the file that the stage left.

    Raises:
        TrainingError: if a checkpoint does not fit the configuration, a stage that is needed is
            not finished, or the bundle's folder holds another prior.
        TrainingStopped: if the ``channel`` that was given wished so.
    """
    require_room(config)
    require_even_shares(config, worker.world_size)
    if config.engine.threads is not None:
        torch.set_num_threads(config.engine.threads)
    if channel is not None:
        return _train(config, only, worker, channel, watch)
    with signals_collected() as here:
        try:
            return _train(config, only, worker, here, watch)
        except TrainingStopped as stopped:
            log.info("%s; the same command goes on from there", stopped)
    signal.raise_signal(here.signals[0])
    raise KeyboardInterrupt  # whoever handles the signal: an unfinished network is no result


def _train(
    config: TrainConfig,
    only: Stage | None,
    worker: Worker,
    channel: Channel,
    watch: Watch | None,
) -> str:
    rows = config.autoencoder.compression[1]
    data = open_training_data(config.data, config.days_folder, rows)
    files = Checkpoints(config.output)
    stages = Stages(config, data, files, worker, channel, watch)
    transform = stages.transform()
    if only is not None:
        return _one_stage(stages, transform, only)
    autoencoder = stages.autoencoder(transform)
    space = stages.space(autoencoder, transform)
    denoiser = stages.denoiser(space)
    head = stages.head(space)
    if worker.leads:
        tables = stages.estimates(space, denoiser, head)
        save_bundle(assemble(config, space, denoiser, head, tables), config.bundle)
    worker.wait()
    return config.bundle


def _one_stage(stages: Stages, transform: LogTransform, only: Stage) -> str:
    needed = tuple(s for s in STAGES[: STAGES.index(only)] if s != "denoiser")
    stages.require_done(needed)
    autoencoder = stages.autoencoder(transform)
    if only != "autoencoder":
        space = stages.space(autoencoder, transform)
        if only == "statistics":
            return stages.files.where(STATISTICS)
        if only == "denoiser":
            stages.denoiser(space)
        else:
            stages.head(space)
    return stages.files.where(f"{only}.pt")


def assemble(
    config: TrainConfig,
    space: LatentSpace,
    denoiser: Denoiser,
    head: CoarseHead,
    tables: EstimateTables,
) -> Prior:
    """Put the fitted parts together, with a card that says how they came about."""
    prior = Prior(
        autoencoder=space.autoencoder,
        denoiser=denoiser,
        head=head,
        transform=space.transform,
        latent_mean=tuple(space.mean.tolist()),
        latent_std=tuple(space.std.tolist()),
        window=config.lattice.window,
        stride=config.lattice.stride,
        dry_threshold=config.dry_threshold,
        estimates=tables,
        card=training_card(config),
    )
    return prior.to("cpu")


def training_card(config: TrainConfig) -> dict[str, Any]:
    """What a bundle says about its making: everything asked but the folders of one machine."""
    told = config.model_dump(mode="json", exclude={"output", "bundle", "cache", "engine"})
    told["data"] = told_of(config.data)
    about = {key: told.pop(key) for key in ("name", "description", "intended_use")}
    return {**about, "training": told}


def require_even_shares(config: TrainConfig, workers: int) -> None:
    """Refuse batches that workers cannot share evenly.

    Raises:
        TrainingError: if a batch is no multiple of workers × accumulate.
    """
    parts: dict[str, OptimisationSettings] = {
        name: getattr(config, name).optimisation for name in ("autoencoder", "denoiser", "head")
    }
    for name, how in parts.items():
        if how.batch % (workers * how.accumulate):
            raise TrainingError(
                f"{name}.optimisation.batch is {how.batch}, cannot be shared evenly by {workers} "
                f"workers in {how.accumulate} parts each: give a multiple of "
                f"{workers * how.accumulate}, or other workers (engine.workers=…)"
            )


def require_room(config: TrainConfig) -> None:
    """Refuse a bundle's folder that is taken.

    Hours of training later is too late to learn it.

    Raises:
        TrainingError: if it holds another prior, or something else.
    """
    there = bundle_at(config.bundle)
    if there is not None and there.card.get("training") != training_card(config)["training"]:
        raise other_prior(config.bundle, "trained with another configuration")
