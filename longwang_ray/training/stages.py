"""The stages of a training: each goes on from its checkpoint and returns what it has fitted.

autoencoder  →  statistics of its latents  →  denoiser of standardised latents
                                           →  coarse head, taught by the decoder
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.head import CoarseHead
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.data import synthetic_windows
from longwang_ray.training.latents import encode_days, encoder_digest
from longwang_ray.training.loop import Network, Optimisation, TrainingError, fit, read_checkpoint
from longwang_ray.training.losses import AutoencoderLoss, denoiser_loss, head_loss, unit_normal
from longwang_ray.training.networks import make_autoencoder, make_denoiser, make_head
from longwang_ray.training.settings import HeadSettings, OptimisationSettings, TrainConfig
from longwang_ray.training.windows import Windows

log = logging.getLogger(__name__)

Stage = Literal["autoencoder", "statistics", "denoiser", "head"]
STAGES: tuple[Stage, ...] = ("autoencoder", "statistics", "denoiser", "head")
STATISTICS_WINDOWS = 256
STATISTICS_STREAM = 1 << 40  # of the seed; steps have the numbers below
PLACE = (1, -1, 1, 1, 1)

Loss = tuple[Tensor, dict[str, float]]
Latents = Callable[[np.random.Generator, int], tuple[Tensor, Tensor]]
"""Draws so many latent windows, not standardised, and their contexts."""


class Statistics(NamedTuple):
    """Mean and standard deviation of each latent channel."""

    mean: Tensor
    std: Tensor

    def restore(self, latent: Tensor) -> Tensor:
        """Latents as the decoder wants them, of standardised ones."""
        return latent * self.std.view(PLACE) + self.mean.view(PLACE)

    def standardise(self, latent: Tensor) -> Tensor:
        """Latents ``(batch, channel, T, H, W)`` in units of their deviation."""
        return (latent - self.mean.view(PLACE)) / self.std.view(PLACE)


@dataclass(frozen=True)
class Stages:
    """The stages of one training.

    Attributes:
        config: What is asked.
        train: Days to learn from.
        held_out: Days kept back.
    """

    config: TrainConfig
    train: Windows
    held_out: Windows

    @classmethod
    def of(cls, config: TrainConfig) -> Stages:
        """The stages of a configuration; makes its days, once."""
        rows = config.autoencoder.compression[1]
        return cls(config, *synthetic_windows(config.data, config.output, rows))

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
        torch.manual_seed(self.config.seed)
        module = make_autoencoder(self.config)
        loss = AutoencoderLoss(**part.loss.model_dump())
        latent = tuple(w // c for w, c in zip(part.window, part.compression, strict=True))

        def batch_loss(generator: np.random.Generator) -> Loss:
            count = part.optimisation.batch
            rain, _ = self.train.draw(generator, count, part.window)
            shape = torch.Size((count, part.latent_channels, *latent))
            noise = unit_normal(_torch_generator(generator), shape)
            return loss(module, transform.forward(torch.from_numpy(rain)), noise)

        return self._fit("autoencoder", module, batch_loss, part.optimisation)

    def statistics(self, autoencoder: Autoencoder, transform: LogTransform) -> Statistics:
        """Measure the latents on windows of the training days, or read what was measured.

        Raises:
            TrainingError: if later stages were fitted on the latents of another autoencoder.
        """
        file, digest = statistics_file(self.folder), encoder_digest(autoencoder)
        if file.exists():
            kept = json.loads(file.read_text())
            if kept["encoder"] == digest:
                return Statistics(torch.tensor(kept["mean"]), torch.tensor(kept["std"]))
            self._require_no_later_stage()
        log.info("statistics of the latents")
        found = self._measure(autoencoder, transform)
        content = {"encoder": digest, "mean": found.mean.tolist(), "std": found.std.tolist()}
        part = file.with_suffix(".part")
        part.write_text(json.dumps(content))
        os.replace(part, file)
        return found

    def latents(self, autoencoder: Autoencoder, transform: LogTransform) -> Latents:
        """A supply of latent windows for the stages after the autoencoder."""
        window = self.config.lattice.window
        if not autoencoder.config.per_day:
            return lambda generator, count: encode_windows(
                autoencoder, transform, self.train, generator, count, window
            )
        days = encode_days(self.train, autoencoder, transform, self.folder)

        def cut(generator: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
            latent, context = days.draw(generator, count, window)
            return torch.from_numpy(latent), torch.from_numpy(context)

        return cut

    def denoiser(self, latents: Latents, statistics: Statistics) -> Denoiser:
        """Fit the denoiser on standardised latents."""
        part = self.config.denoiser
        torch.manual_seed(self.config.seed + 1)
        module = make_denoiser(self.config)

        def batch_loss(generator: np.random.Generator) -> Loss:
            count = part.optimisation.batch
            latent, context = latents(generator, count)
            latent = statistics.standardise(latent)
            # Stratified times: every batch sees all noise levels.
            times = (np.arange(count) + generator.random()) / count
            t = torch.from_numpy(times.astype("f4"))
            told = generator.random(count) >= part.context_dropout
            noise = unit_normal(_torch_generator(generator), latent.shape)
            known = torch.from_numpy(told.astype("f4"))
            return denoiser_loss(module, latent, t, noise, context, known)

        return self._fit("denoiser", module, batch_loss, part.optimisation)

    def head(
        self,
        latents: Latents,
        statistics: Statistics,
        autoencoder: Autoencoder,
        transform: LogTransform,
    ) -> CoarseHead:
        """Fit the coarse head to the decoder's rain of disturbed latents."""
        part = self.config.head
        torch.manual_seed(self.config.seed + 2)
        module = make_head(self.config)

        def batch_loss(generator: np.random.Generator) -> Loss:
            latent, _ = latents(generator, part.optimisation.batch)
            latent = statistics.standardise(latent) + _disturbance(generator, latent.shape, part)
            with torch.no_grad():
                decoded = autoencoder.decode(statistics.restore(latent)).float()
            return head_loss(module, latent, transform.inverse(decoded)[:, 0])

        return self._fit("head", module, batch_loss, part.optimisation)

    def require_done(self, stages: tuple[Stage, ...]) -> None:
        """Refuse to go on unless these stages have been finished.

        Raises:
            TrainingError: one has not.
        """
        for stage in stages:
            if stage == "statistics":
                if not statistics_file(self.folder).exists():
                    raise TrainingError(f"{self.folder}: no statistics yet; run that stage first")
                continue
            steps = getattr(self.config, stage).optimisation.steps
            if (done := steps_done(self.folder, stage)) < steps:
                raise TrainingError(
                    f"{self.folder}: {stage} has done {done} of {steps} steps; run it first"
                )

    def _fit(
        self,
        name: str,
        module: Network,
        loss: Callable[[np.random.Generator], Loss],
        settings: OptimisationSettings,
    ) -> Network:
        optimisation = Optimisation(**settings.model_dump())
        return fit(name, module, loss, optimisation, self.folder, self.config.seed)

    def _measure(self, autoencoder: Autoencoder, transform: LogTransform) -> Statistics:
        key = [self.config.seed, STATISTICS_STREAM]
        generator = np.random.Generator(np.random.Philox(key=key))
        window = self.config.lattice.window
        batches = [
            encode_windows(autoencoder, transform, self.train, generator, 16, window)[0]
            for _ in range(STATISTICS_WINDOWS // 16)
        ]
        latents, axes = torch.cat(batches), (0, 2, 3, 4)
        return Statistics(latents.mean(axes), latents.std(axes))

    def _require_no_later_stage(self) -> None:
        for stage in ("denoiser", "head"):
            if (file := checkpoint_file(self.folder, stage)).exists():
                raise TrainingError(
                    f"{file}: was fitted on the latents of another autoencoder; remove it, or "
                    "give this training another folder (output=…)"
                )


@torch.no_grad()
def encode_windows(
    autoencoder: Autoencoder,
    transform: LogTransform,
    windows: Windows,
    generator: np.random.Generator,
    count: int,
    window: tuple[int, int, int],
) -> tuple[Tensor, Tensor]:
    """Draw windows of rain and encode them: latent means and contexts."""
    rain, context = windows.draw(generator, count, window)
    latent, _ = autoencoder.encode(transform.forward(torch.from_numpy(rain)))
    return latent.float(), torch.from_numpy(context)


def checkpoint_file(folder: Path, stage: str) -> Path:
    """Where a network's checkpoint lies."""
    return folder / f"{stage}.pt"


def statistics_file(folder: Path) -> Path:
    """Where the statistics of the latents lie."""
    return folder / "statistics.json"


def steps_done(folder: Path, stage: str) -> int:
    """How many steps a network's checkpoint has."""
    state = read_checkpoint(checkpoint_file(folder, stage))
    return 0 if state is None else int(state["step"])


def _disturbance(generator: np.random.Generator, shape: torch.Size, part: HeadSettings) -> Tensor:
    """What guidance does to latents: it shifts them, and what it shifts is not yet clean.

    A constant for each channel, and white noise of a level that differs from window to window.
    """
    shift = part.shift * unit_normal(
        _torch_generator(generator), torch.Size((*shape[:2], 1, 1, 1))
    )
    level = torch.from_numpy(generator.random(shape[0]).astype("f4")).view(-1, 1, 1, 1, 1)
    share = torch.from_numpy(generator.random(shape[0]).astype("f4")).view(-1, 1, 1, 1, 1)
    return share * shift + part.noise * level * unit_normal(_torch_generator(generator), shape)


def _torch_generator(generator: np.random.Generator) -> torch.Generator:
    return torch.Generator().manual_seed(int(generator.integers(2**62)))
