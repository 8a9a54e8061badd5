"""Between rain and standardised latents, with an autoencoder that is fitted and stays as it is.

x₀ = (encode(v(rain)) − mean) / std,        rain = v⁻¹(decode(std · x₀ + mean))
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.transform import LogTransform

PLACE = (1, -1, 1, 1, 1)


@dataclass(frozen=True)
class LatentSpace:
    """A frozen autoencoder and the statistics of its latents, all on one device.

    Attributes:
        autoencoder: Rain ↔ latent.
        transform: Rain ↔ the networks' unit.
        mean: Of each latent channel.
        std: Of each latent channel.
        encoded: Whether what is read is latents already.
    """

    autoencoder: Autoencoder
    transform: LogTransform
    mean: Tensor
    std: Tensor
    encoded: bool = False

    @torch.no_grad()
    def encode(self, rain: Tensor) -> Tensor:
        """Latents, not standardised, of rain ``(batch, days, lat, lon)`` in mm/day."""
        mean, _ = self.autoencoder.encode(self.transform.forward(rain)[:, None])
        return mean.float()

    @torch.no_grad()
    def read(self, source: Tensor) -> Tensor:
        """Standardised latents ``(batch, channel, T, H, W)``.

        Args:
            source: Rain ``(batch, days, lat, lon)`` in mm/day, or latents where it is `encoded`.
        """
        latent = source if self.encoded else self.encode(source)
        return (latent - self.mean.view(PLACE)) / self.std.view(PLACE)

    @torch.no_grad()
    def rain(self, latent: Tensor) -> Tensor:
        """Rain ``(batch, days, lat, lon)`` in mm/day of standardised latents."""
        restored = latent * self.std.view(PLACE) + self.mean.view(PLACE)
        return self.transform.inverse(self.autoencoder.decode(restored).float())[:, 0]
