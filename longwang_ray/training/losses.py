"""What each network of a prior is asked to minimise.

Autoencoder (published): ``|v − v̂|₁ + a |∂_space (v − v̂)|₁ + b |∂_time (v − v̂)|₁ + k · KL``,
with central differences. Denoiser: ``E_t w(t) |x̂ − x₀|²`` where ``w`` makes it the plain squared
error of the network's own output. Head: ``L1(daily) + L1(mean over the window)`` of block means.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.head import QUARTERS, CoarseHead
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.loop import Objective

Loss = tuple[Tensor, dict[str, Tensor]]


@dataclass(frozen=True)
class AutoencoderLoss:
    """Weights of the published loss.

    Attributes:
        spatial: Of the central differences along latitude and longitude.
        temporal: Of the central differences along days.
        kl: Of the divergence of the latent from a unit Gaussian.
    """

    spatial: float = 10.0
    temporal: float = 10.0
    kl: float = 1e-6

    def __call__(self, autoencoder: Autoencoder, v: Tensor, noise: Tensor) -> Loss:
        """Loss of a batch.

        Args:
            autoencoder: Encoder and decoder.
            v: Transformed rain, ``(batch, 1, days, lat, lon)``.
            noise: Unit normal, of the latent's shape.
        """
        mean, logvar = autoencoder.encode(v)
        error = autoencoder.decode(mean + (0.5 * logvar).exp() * noise).float() - v
        l1 = error.abs().mean()
        spatial = (central(error, 3) + central(error, 4)) / 2
        temporal = central(error, 2) if self.temporal and v.shape[2] > 2 else l1.new_zeros(())
        kl = 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()
        loss = l1 + self.spatial * spatial + self.temporal * temporal + self.kl * kl
        return loss, {"l1": l1, "spatial": spatial, "kl": kl}


class Reconstruct(Objective[Autoencoder]):
    """The autoencoder's: rain ``(batch, days, lat, lon)`` in mm/day, and noise of the latent."""

    def __init__(
        self, autoencoder: Autoencoder, transform: LogTransform, loss: AutoencoderLoss
    ) -> None:
        super().__init__(autoencoder)
        self.transform, self.loss = transform, loss

    def forward(self, rain: Tensor, noise: Tensor) -> Loss:
        return self.loss(self.network, self.transform.forward(rain)[:, None], noise)


class Denoise(Objective[Denoiser]):
    """The denoiser's: what latents are read from, and what `denoiser_loss` takes."""

    def __init__(self, denoiser: Denoiser, space: LatentSpace) -> None:
        super().__init__(denoiser)
        self.space = space

    def forward(
        self, source: Tensor, context: Tensor, t: Tensor, known: Tensor, noise: Tensor
    ) -> Loss:
        latent = self.space.read(source)
        return denoiser_loss(self.network, latent, t, noise, context, known)


class ReadCoarse(Objective[CoarseHead]):
    """The head's: what latents are read from, and what is added to them."""

    def __init__(self, head: CoarseHead, space: LatentSpace) -> None:
        super().__init__(head)
        self.space = space

    def forward(self, source: Tensor, disturbance: Tensor) -> Loss:
        latent = self.space.read(source) + disturbance
        with torch.autocast(latent.device.type, enabled=False):  # bf16 would rain 0.4 % more
            rain = self.space.rain(latent)
        return head_loss(self.network, latent, rain)


def central(error: Tensor, axis: int) -> Tensor:
    """Mean absolute central difference along an axis."""
    size = error.shape[axis]
    return (error.narrow(axis, 2, size - 2) - error.narrow(axis, 0, size - 2)).abs().mean() / 2


def denoiser_loss(
    denoiser: Denoiser, latent: Tensor, t: Tensor, noise: Tensor, context: Tensor, known: Tensor
) -> Loss:
    """Squared error of the network's output, the same at every noise level.

    Args:
        denoiser: The network with its schedule.
        latent: Standardised latents, ``(batch, channel, T, H, W)``.
        t: Times, ``(batch,)``.
        noise: Unit normal, of the latents' shape.
        context: ``(batch, 5)``.
        known: 0 where the context is dropped, ``(batch,)``.
    """
    place = (-1, 1, 1, 1, 1)
    alpha, sigma = denoiser.schedule.alpha(t).view(place), denoiser.schedule.sigma(t).view(place)
    estimate = denoiser(alpha * latent + sigma * noise, t, context, known).float()
    error = (estimate - latent).square().mean(dim=(1, 2, 3, 4))
    epsilon = denoiser.config.parametrisation == "epsilon"
    # x̂ errors are σ/α (ε) or σ (edm) times those of the network's output.
    gain = (sigma / alpha if epsilon else sigma).flatten()
    loss = (error / gain.square()).mean()
    return loss, {"x0_mse": error.mean()}


def head_loss(head: CoarseHead, latent: Tensor, rain: Tensor) -> Loss:
    """How far the head's quarters are from the decoder's rain, by day and over the window.

    Args:
        head: The coarse head.
        latent: Standardised latents with a little noise, ``(batch, channel, T, H, W)``.
        rain: Decoded rain, ``(batch, days, lat, lon)``, mm/day.
    """
    estimate = head(latent).float()
    factor = rain.shape[-1] // latent.shape[-1] // QUARTERS
    truth = F.avg_pool2d(rain, factor)
    # Wet windows would drown the dry ones: errors count relative to the window's mean.
    scale = 1.0 / (1.0 + truth.mean(dim=(1, 2, 3), keepdim=True))
    error = (estimate - truth) * scale
    daily = error.abs().mean()
    monthly = error.mean(1).abs().mean()
    bias = (estimate.mean() - truth.mean()) / truth.mean().clamp(min=1e-3)
    return daily + monthly, {"daily": daily, "monthly": monthly, "bias": bias}
