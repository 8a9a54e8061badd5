"""From days of rain to a prior: autoencoder, statistics, denoiser, coarse head, bundle.

Each stage keeps its checkpoint in the run's folder and goes on from it, so ``longwang train`` can
be killed and started again at any time.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.context import CONTEXT_SIZE
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.data import synthetic_windows
from longwang_ray.training.loop import LossFn, Optimisation, fit
from longwang_ray.training.losses import (
    AutoencoderLoss,
    denoiser_loss,
    head_loss,
    unit_normal,
)
from longwang_ray.training.settings import OptimisationSettings, TrainConfig
from longwang_ray.training.windows import Windows

log = logging.getLogger(__name__)
STATISTICS_WINDOWS = 256
MIXED = 256
"""Latents kept for the denoiser's batches are encoded this many windows at a time."""


@dataclass
class Stages:
    """The networks and statistics of a training run, as far as it has come."""

    config: TrainConfig
    train: Windows
    held_out: Windows

    @property
    def folder(self) -> Path:
        """Where checkpoints live."""
        return self.config.output

    def transform(self) -> LogTransform:
        """ε from the config, the range from the training days."""
        epsilon = self.config.transform.epsilon
        wettest = max(float(days.max()) for days in self.train.rain)
        span = math.log(wettest + epsilon) - math.log(epsilon)
        return LogTransform(epsilon, 0.0, round(span, 6))

    def autoencoder(self, transform: LogTransform) -> Autoencoder:
        """Fit the autoencoder."""
        part = self.config.autoencoder
        sizes = part.model_dump(exclude={"window", "loss", "optimisation"})
        torch.manual_seed(self.config.seed)
        module = Autoencoder(AutoencoderConfig(**sizes))
        loss = AutoencoderLoss(**part.loss.model_dump())
        latent = tuple(w // c for w, c in zip(part.window, module.config.compression, strict=True))

        def batch_loss(generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
            count = part.optimisation.batch
            rain, _ = self.train.draw(generator, count, part.window)
            shape = torch.Size((count, part.latent_channels, *latent))
            noise = unit_normal(_torch_generator(generator), shape)
            return loss(module, transform.forward(torch.from_numpy(rain)), noise)

        return self._fit("autoencoder", module, batch_loss, part.optimisation)

    def statistics(self, autoencoder: Autoencoder, transform: LogTransform) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation of each latent channel over training windows."""
        generator = np.random.Generator(np.random.Philox(key=[self.config.seed, 1 << 40]))
        latents = torch.cat(
            [
                encode(autoencoder, transform, self.train, generator, 16, self.config.lattice.window)[0]
                for _ in range(STATISTICS_WINDOWS // 16)
            ]
        )
        axes = (0, 2, 3, 4)
        return latents.mean(axes), latents.std(axes)

    def denoiser(
        self, autoencoder: Autoencoder, transform: LogTransform, mean: Tensor, std: Tensor
    ) -> Denoiser:
        """Fit the denoiser on standardised latents."""
        part, lattice = self.config.denoiser, self.config.lattice
        sizes = part.model_dump(exclude={"context_dropout", "optimisation"})
        torch.manual_seed(self.config.seed + 1)
        channels = self.config.autoencoder.latent_channels
        config = DenoiserConfig(latent_channels=channels, context=CONTEXT_SIZE, **sizes)
        module = Denoiser(config, Power(**self.config.schedule.model_dump()))
        place = (1, -1, 1, 1, 1)

        def batch_loss(generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
            count = part.optimisation.batch
            latent, context, _ = encode(
                autoencoder, transform, self.train, generator, count, lattice.window
            )
            latent = (latent - mean.view(place)) / std.view(place)
            # Stratified times: every batch sees all noise levels.
            t = torch.from_numpy(((np.arange(count) + generator.random()) / count).astype("f4"))
            known = torch.from_numpy((generator.random(count) >= part.context_dropout).astype("f4"))
            noise = unit_normal(_torch_generator(generator), latent.shape)
            return denoiser_loss(module, latent, t, noise, context, known)

        return self._fit("denoiser", module, batch_loss, part.optimisation)

    def head(
        self, autoencoder: Autoencoder, transform: LogTransform, mean: Tensor, std: Tensor
    ) -> CoarseHead:
        """Fit the coarse head to the decoder's rain of slightly noisy latents."""
        part, lattice = self.config.head, self.config.lattice
        auto = self.config.autoencoder
        torch.manual_seed(self.config.seed + 2)
        module = CoarseHead(HeadConfig(auto.latent_channels, part.channels, auto.time_compression))
        place = (1, -1, 1, 1, 1)

        def batch_loss(generator: np.random.Generator) -> tuple[Tensor, dict[str, float]]:
            count = part.optimisation.batch
            latent, _, _ = encode(
                autoencoder, transform, self.train, generator, count, lattice.window
            )
            noise = unit_normal(_torch_generator(generator), latent.shape)
            level = torch.from_numpy(generator.random(count).astype("f4")).view(-1, 1, 1, 1, 1)
            latent = latent + part.noise * level * std.view(place) * noise
            with torch.no_grad():
                rain = transform.inverse(autoencoder.decode(latent).float())[:, 0]
            return head_loss(module, (latent - mean.view(place)) / std.view(place), rain)

        return self._fit("head", module, batch_loss, part.optimisation)

    def _fit(
        self, name: str, module: torch.nn.Module, loss: LossFn, settings: OptimisationSettings
    ) -> Callable[..., Tensor]:
        optimisation = Optimisation(**settings.model_dump())
        return fit(name, module, loss, optimisation, self.folder, self.config.seed)


@torch.no_grad()
def encode(
    autoencoder: Autoencoder,
    transform: LogTransform,
    windows: Windows,
    generator: np.random.Generator,
    count: int,
    window: tuple[int, int, int],
) -> tuple[Tensor, Tensor, Tensor]:
    """Draw windows and encode them: latent means, contexts, and the rain itself in mm/day."""
    drawn, context = windows.draw(generator, count, window)
    rain = torch.from_numpy(drawn)
    latent, _ = autoencoder.encode(transform.forward(rain))
    return latent.float(), torch.from_numpy(context), rain


def _torch_generator(generator: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(generator.integers(2**62)))
