"""How a network does on days that it does not learn from, while it learns.

The same held-out windows every time, under the averaged weights: their loss for the curve, and a
picture for the eye.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from longwang_ray.posterior.sampler import sample
from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.loader import Loader, Sample
from longwang_ray.training.loop import Evaluation, Network, Objective
from longwang_ray.training.sight import Sight, Watch

Fields = NDArray[np.floating]
Picture = Callable[[Network, Sample], tuple[Fields, Fields]]
"""Held-out days and what the network makes of them, ``(n, lat, lon)`` each, mm/day."""

WINDOWS = 16
SHOWN = 4
SAMPLER_STEPS = 12
HELD_OUT_STEP = 1 << 40  # of the seed; a training has fewer


@dataclass(frozen=True)
class HeldOut(Generic[Network]):
    """Evaluates one network.

    Attributes:
        stage: Which network.
        objective_of: Its loss.
        loader: Draws held-out windows.
        picture: What to show.
        watch: Who draws it.
        files: Where pictures go.
        title: Which training it is.
    """

    stage: str
    objective_of: Callable[[Network], Objective[Network]]
    loader: Loader
    picture: Picture[Network] | None
    watch: Watch | None
    files: Checkpoints
    title: str

    @cached_property
    def _windows(self) -> list[Sample]:
        device = self.loader.worker.device
        drawn = self.loader.at(HELD_OUT_STEP, max(SHOWN, min(WINDOWS, self.loader.batch)))
        return [tuple(tensor[None].to(device) for tensor in window) for window in drawn]

    def __call__(self, network: Network, step: int) -> Evaluation:
        """Loss and metrics of held-out windows, and their picture.

        Args:
            network: With averaged weights.
            step: After which it is.
        """
        objective = self.objective_of(network)
        found: list[dict[str, Tensor]] = []
        for window in self._windows:
            loss, metrics = objective(*window)
            found.append({"loss": loss, **metrics})
        metrics = {key: float(torch.stack([f[key] for f in found]).mean()) for key in found[0]}
        return Evaluation(metrics, self._picture(network, step))

    def _picture(self, network: Network, step: int) -> NDArray[np.uint8] | None:
        if self.watch is None or self.picture is None:
            return None
        batch = tuple(torch.cat(parts) for parts in zip(*self._windows[:SHOWN], strict=True))
        truth, shown = self.picture(network, batch)
        return self.watch(Sight(self.stage, step, self.files.url, truth, shown, self.title))


def reconstructions(
    autoencoder: Autoencoder, transform: LogTransform, windows: Sample
) -> tuple[Fields, Fields]:
    """The middle day of each window, and what the autoencoder keeps of it."""
    rain = windows[0]
    mean, _ = autoencoder.encode(transform.forward(rain)[:, None])
    redone = transform.inverse(autoencoder.decode(mean).float())[:, 0]
    return _middle(rain), _middle(redone)


def prior_samples(
    denoiser: Denoiser, space: LatentSpace, windows: Sample
) -> tuple[Fields, Fields]:
    """The middle day of each window, and of a sample of the same place and season."""
    source, context, _, _, noise = windows
    steps, order = SAMPLER_STEPS, denoiser.order

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return denoiser(x, t.expand(len(x)), context).float()

    latent = sample(denoise, noise, denoiser.schedule, steps, order)
    return _middle(space.rain(space.read(source))), _middle(space.rain(latent))


def _middle(rain: Tensor) -> Fields:
    """``(n, lat, lon)`` of ``(n, days, lat, lon)``."""
    return rain[:, rain.shape[1] // 2].float().cpu().numpy()
