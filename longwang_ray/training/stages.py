"""The stages of a training: each goes on from its checkpoint and returns what it has fitted.

autoencoder  →  statistics of its latents  →  denoiser of standardised latents
                                           →  coarse head, taught by the decoder
                                           →  what its estimates are worth, as the head reads them
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.estimates import EstimateTables
from longwang_ray.prior.head import CoarseHead
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.channel import Channel
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.data import TrainingData
from longwang_ray.training.distil import Lessons, distil_head
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.estimates import Estimator, measure_estimates
from longwang_ray.training.held_out import HeldOut, Picture, prior_samples, reconstructions
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.latents import Supply, encoder_digest, supply_of
from longwang_ray.training.loader import Draw, Loader, Sample, unit_normal, window_generator
from longwang_ray.training.loop import Evaluate, Network, Objective, Optimisation, fit
from longwang_ray.training.losses import AutoencoderLoss, Denoise, Reconstruct
from longwang_ray.training.networks import make_autoencoder, make_denoiser
from longwang_ray.training.settings import OptimisationSettings, TrainConfig
from longwang_ray.training.sight import Watch
from longwang_ray.training.windows import Windows
from longwang_ray.training.worker import Worker

log = logging.getLogger(__name__)

Stage = Literal["autoencoder", "statistics", "denoiser", "head"]
STAGES: tuple[Stage, ...] = ("autoencoder", "statistics", "denoiser", "head")
STATISTICS_WINDOWS = 256
TRANSFORM, STATISTICS = "transform.json", "statistics.json"


@dataclass(frozen=True)
class Stages:
    """The stages of one training, as one worker sees them.

    Attributes:
        config: What is asked.
        data: Days to learn from, and days held out.
        files: Where checkpoints and curves live.
        worker: Who computes.
        channel: Who is told.
        watch: Draws what the networks make of held-out days, now and then.
    """

    config: TrainConfig
    data: TrainingData
    files: Checkpoints
    worker: Worker
    channel: Channel
    watch: Watch | None = None

    def transform(self) -> LogTransform:
        """ε from the config; the range from there or from the training days, measured once."""
        epsilon = self.config.transform.epsilon

        def measured() -> float:
            kept = self.files.read(TRANSFORM)
            if kept is not None and json.loads(kept)["epsilon"] == epsilon:
                return float(json.loads(kept)["range"])
            wettest = self.data.wettest()
            span = round(math.log(wettest + epsilon) - math.log(epsilon), 6)
            content = {"epsilon": epsilon, "wettest": wettest, "range": span}
            self.files.write(TRANSFORM, json.dumps(content).encode())
            return span

        return LogTransform(epsilon, 0.0, self.config.transform.range or self.worker.led(measured))

    def autoencoder(self, transform: LogTransform) -> Autoencoder:
        """Fit the autoencoder."""
        part = self.config.autoencoder
        loss = AutoencoderLoss(**part.loss.model_dump())
        latent = tuple(w // c for w, c in zip(part.window, part.compression, strict=True))
        shape = (part.latent_channels, *latent)

        def draw(windows: Windows) -> Draw:
            def one(generator: np.random.Generator, _: int) -> Sample:
                rain, _context = windows.one(generator, part.window)
                return torch.from_numpy(rain), unit_normal(generator, shape)

            return one

        module = self._seeded(0, lambda: make_autoencoder(self.config))
        return self._fit(
            "autoencoder",
            lambda network: Reconstruct(network, transform, loss),
            module,
            (draw(self.data.train), draw(self.data.held_out)),
            part.optimisation,
            lambda network, batch: reconstructions(network, transform, batch),
        )

    def space(self, autoencoder: Autoencoder, transform: LogTransform) -> LatentSpace:
        """The autoencoder with the statistics of its latents, measured once on training days.

        Raises:
            TrainingError: if later stages were fitted on the latents of another autoencoder.
        """
        digest = encoder_digest(autoencoder)
        zero, one = torch.zeros(1), torch.ones(1)
        raw = self._placed(LatentSpace(autoencoder, transform, zero, one))

        def measured() -> tuple[list[float], list[float]]:
            kept = self.files.read(STATISTICS)
            if kept is not None:
                found = json.loads(kept)
                if found["encoder"] == digest:
                    return found["mean"], found["std"]
                self._require_no_later_stage()
            self.channel.tell("statistics of the latents")
            mean, std = self._measure(raw)
            content = {"encoder": digest, "mean": mean, "std": std}
            self.files.write(STATISTICS, json.dumps(content).encode())
            return mean, std

        mean, std = (torch.tensor(values) for values in self.worker.led(measured))
        return self._placed(LatentSpace(autoencoder, transform, mean, std))

    def denoiser(self, space: LatentSpace) -> Denoiser:
        """Fit the denoiser on standardised latents."""
        config, part = self.config, self.config.denoiser
        batch, window = part.optimisation.batch, config.lattice.window
        cells = tuple(w // c for w, c in zip(window, config.autoencoder.compression, strict=True))
        shape = (config.autoencoder.latent_channels, *cells)

        def draw(supply: Supply) -> Draw:
            def one(generator: np.random.Generator, index: int) -> Sample:
                source, context = supply.one(generator, window)
                # Stratified times: every batch sees all noise levels.
                t = torch.tensor((index % batch + generator.random()) / batch, dtype=torch.float32)
                known = torch.tensor(float(generator.random() >= part.context_dropout))
                noise = unit_normal(generator, shape)
                return torch.from_numpy(source), torch.from_numpy(context), t, known, noise

            return one

        train, held_out = self._supplies(space)
        module = self._seeded(1, lambda: make_denoiser(config))
        return self._fit(
            "denoiser",
            lambda network: Denoise(network, self._reading(space)),
            module,
            (draw(train), draw(held_out)),
            part.optimisation,
            lambda network, sample: prior_samples(network, self._reading(space), sample),
        )

    def head(self, space: LatentSpace) -> CoarseHead:
        """Teach the coarse head by the decoder."""
        config = self.config
        lessons = Lessons(self._reading(space), *self._supplies(space), config.lattice.window)
        return distil_head(
            config.head,
            lessons,
            seed=config.seed,
            files=self.files,
            worker=self.worker,
            channel=self.channel,
            loaders=config.engine.loaders,
            title=config.name,
        )

    def estimates(
        self, space: LatentSpace, denoiser: Denoiser, head: CoarseHead
    ) -> EstimateTables:
        """Measure what estimates are worth; it takes minutes, so nothing is kept."""
        self.channel.tell("what estimates are worth")
        lattice, (train, _) = self.config.lattice, self._supplies(space)
        estimator = Estimator(
            denoiser.eval(), head.eval(), self._reading(space), lattice.window, lattice.stride
        )
        return measure_estimates(estimator, train, self.config.seed, self.config.head.estimates)

    def require_done(self, stages: tuple[Stage, ...]) -> None:
        """Refuse to go on unless these stages have been finished.

        Raises:
            TrainingError: one has not.
        """
        for stage in stages:
            if stage == "statistics":
                if not self.files.exists(STATISTICS):
                    raise TrainingError(
                        f"{self.files.url}: no statistics yet; run that stage first"
                    )
                continue
            steps = getattr(self.config, stage).optimisation.steps
            if (done := self.files.steps_done(stage)) < steps:
                raise TrainingError(
                    f"{self.files.url}: {stage} has done {done} of {steps} steps; run it first"
                )

    def _fit(
        self,
        name: Stage,
        objective_of: Callable[[Network], Objective[Network]],
        module: Network,
        draws: tuple[Draw, Draw],
        settings: OptimisationSettings,
        picture: Picture[Network] | None,
    ) -> Network:
        module = module.to(self.worker.device)
        train, held_out = (self._loader(draw, name, settings) for draw in draws)
        look: Evaluate[Network] = HeldOut(
            name, objective_of, held_out, picture, self.watch, self.files, self.config.name
        )
        how = Optimisation(**settings.model_dump())
        return fit(name, objective_of(module), train, how, self.files, self.channel, look)

    def _loader(self, draw: Draw, name: Stage, how: OptimisationSettings) -> Loader:
        seed, threads, stage = self.config.seed, self.config.engine.loaders, STAGES.index(name)
        return Loader(draw, seed, stage, how.batch, how.accumulate, self.worker, threads)

    def _seeded(self, stage: int, make: Callable[[], Network]) -> Network:
        """Fresh weights, the same on every worker."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.config.seed + stage)
            return make()

    def _supplies(self, space: LatentSpace) -> tuple[Supply, Supply]:
        """What the stages after the autoencoder learn from, and what judges them."""
        auto, transform, folder = space.autoencoder, space.transform, self.config.days_folder
        train, held_out = self.data.train, self.data.held_out
        return (
            supply_of(train, auto, transform, folder),
            supply_of(held_out, auto, transform, folder),
        )

    def _reading(self, space: LatentSpace) -> LatentSpace:
        """The space as the supplies want it read."""
        per_day = space.autoencoder.config.per_day
        return LatentSpace(space.autoencoder, space.transform, space.mean, space.std, per_day)

    def _placed(self, space: LatentSpace) -> LatentSpace:
        device = self.worker.device
        mean, std = space.mean.to(device), space.std.to(device)
        return LatentSpace(space.autoencoder.to(device), space.transform, mean, std)

    def _measure(self, space: LatentSpace) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel over windows of the training days."""
        window, stage = self.config.lattice.window, STAGES.index("statistics")
        count, total, squares = 0, torch.zeros(()), torch.zeros(())
        for index in range(STATISTICS_WINDOWS):
            generator = window_generator(self.config.seed, 0, stage, index)
            rain, _ = self.data.train.one(generator, window)
            latent = space.encode(torch.from_numpy(rain)[None].to(self.worker.device)).double()
            count += latent[0, 0].numel()
            total = total.to(latent) + latent.sum((0, 2, 3, 4))
            squares = squares.to(latent) + latent.square().sum((0, 2, 3, 4))
        mean = total / count
        std = (squares / count - mean.square()).sqrt()
        return mean.float().tolist(), std.float().tolist()

    def _require_no_later_stage(self) -> None:
        for stage in ("denoiser", "head"):
            if self.files.exists(f"{stage}.pt"):
                raise TrainingError(
                    f"{self.files.where(stage)}.pt: was fitted on the latents of another "
                    "autoencoder; remove it, or give this training another folder (output=…)"
                )
