"""How a coarse head is taught: by the decoder, on latents that guidance might ask about.

    z = z₀ + u s m + u'⁴ n ξ,       h(z) ≈ means of the decoder's rain d(z) over quarters of cells

``z₀`` are latents of real days; ``m`` is a constant for each channel, of a whole window, and ``ξ``
white noise, both unit normal; ``s`` and ``n`` are the settings' shift and noise, and ``u, u'``
uniform. Most windows get hardly any noise: rain is convex in the latent, and a head that must look
through noise learns the mean over it, which is too much where there is none.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.training.channel import Channel
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.held_out import HeldOut
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.latents import Supply
from longwang_ray.training.loader import Draw, Loader, Sample, unit_normal
from longwang_ray.training.loop import Evaluate, Optimisation, fit
from longwang_ray.training.losses import ReadCoarse
from longwang_ray.training.settings import HeadSettings
from longwang_ray.training.worker import Worker

STAGE = 3
"""Tells its batches from those of a training's other networks."""

NOISE_POWER = 4


@dataclass(frozen=True)
class Lessons:
    """What a head is taught with.

    Attributes:
        space: Latents and their rain, on the worker's device; reads what the supplies draw.
        train: To learn from.
        held_out: To judge by.
        window: Days, rows and columns, in fine cells.
    """

    space: LatentSpace
    train: Supply
    held_out: Supply
    window: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Of a window's latents."""
        auto = self.space.autoencoder.config
        t, i, j = (w // c for w, c in zip(self.window, auto.compression, strict=True))
        return auto.latent_channels, t, i, j


def distil_head(
    part: HeadSettings,
    lessons: Lessons,
    *,
    seed: int,
    files: Checkpoints,
    worker: Worker,
    channel: Channel,
    loaders: int = 0,
    title: str = "head",
) -> CoarseHead:
    """Teach a head, going on from the checkpoint that is there.

    Args:
        part: Sizes and fit.
        lessons: What with.
        seed: Of weights and batches.
        files: Where checkpoint and curve live.
        worker: Who computes.
        channel: Who is told, and who may wish to stop.
        loaders: Threads that draw windows ahead.
        title: Which training it is.

    Returns:
        The head with averaged weights, on the worker's device.

    Raises:
        TrainingError: As `fit`.
        TrainingStopped: if somebody wished so; a checkpoint is left.
    """
    how = part.optimisation

    def objective_of(network: CoarseHead) -> ReadCoarse:
        return ReadCoarse(network, lessons.space)

    def loader(supply: Supply) -> Loader:
        draw = _draw(supply, lessons, part)
        return Loader(draw, seed, STAGE, how.batch, how.accumulate, worker, loaders)

    head = _fresh(part, lessons, seed).to(worker.device)
    judge: Evaluate[CoarseHead] = HeldOut(
        "head", objective_of, loader(lessons.held_out), None, None, files, title
    )
    steps = Optimisation(**how.model_dump())
    return fit("head", objective_of(head), loader(lessons.train), steps, files, channel, judge)


def _fresh(part: HeadSettings, lessons: Lessons, seed: int) -> CoarseHead:
    """Fresh weights, the same on every worker."""
    auto = lessons.space.autoencoder.config
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 2)
        return CoarseHead(HeadConfig(auto.latent_channels, part.channels, auto.time_compression))


def _draw(supply: Supply, lessons: Lessons, part: HeadSettings) -> Draw:
    def one(generator: np.random.Generator, _: int) -> Sample:
        source, _context = supply.one(generator, lessons.window)
        return torch.from_numpy(source), disturbance(generator, lessons.shape, part)

    return one


def disturbance(
    generator: np.random.Generator, shape: tuple[int, ...], part: HeadSettings
) -> Tensor:
    """What guidance does to latents: it shifts them, and what it shifts is not yet clean.

    A constant for each channel, and white noise of a level that differs from window to window.
    """
    level, share = generator.random(2).astype("f4").tolist()
    shift = unit_normal(generator, (shape[0], 1, 1, 1))
    noise = unit_normal(generator, shape)
    return share * part.shift * shift + level**NOISE_POWER * part.noise * noise
