"""The coarse head: daily means on half latent cells, straight from the latent.

Guidance needs only what a GCM cell can see, and no GCM cell sees single fine cells. Three small
convolutions read the mean rain of the 2 × 2 quarters of each latent cell for every day,

    r̂ = softplus(conv₁(silu(conv₃(silu(conv₃(z))))))^1.7

at a few per cent of the decoder's cost (facts/trial.md). The power makes room for heavy tails.
Where a latent step is a day of its own, the head looks at no other; where it holds several, the
decoder spreads each step over its neighbours, and so the head looks at those in time, too.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POWER = 1.7
QUARTERS = 2
"""Head cells a latent cell on each axis."""

REACH = 2
"""Latent cells on each side that the head sees."""


@dataclass(frozen=True)
class HeadConfig:
    """Sizes of a coarse head.

    Attributes:
        latent_channels: Channels of the latent.
        channels: Hidden channels.
        time_compression: Days a latent step.
    """

    latent_channels: int = 16
    channels: int = 48
    time_compression: int = 4

    @property
    def reach_in_time(self) -> int:
        """Latent steps before and after that the head sees."""
        return 0 if self.time_compression == 1 else REACH


class CoarseHead(nn.Module):
    """Latent → daily mean rain of the quarters of each latent cell."""

    def __init__(self, config: HeadConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels
        conv = nn.Conv3d if config.reach_in_time else nn.Conv2d
        self.layers = nn.Sequential(
            conv(config.latent_channels, width, 3, padding=1, padding_mode="replicate"),
            nn.SiLU(),
            conv(width, width, 3, padding=1, padding_mode="replicate"),
            nn.SiLU(),
            conv(width, config.time_compression * QUARTERS**2, 1),
        )

    def forward(self, z: Tensor) -> Tensor:
        """Daily mean rain.

        Args:
            z: Standardised latents, ``(batch, channel, T, H, W)``.

        Returns:
            Shape ``(batch, T · time_compression, 2H, 2W)``, mm/day, never negative.
        """
        batch, _, time = z.shape[:3]
        if self.config.reach_in_time:
            out = self.layers(z).transpose(1, 2).flatten(0, 1)
        else:
            days = z.transpose(1, 2).flatten(0, 1)
            out = self.layers(days.contiguous(memory_format=torch.channels_last))
        rain = F.pixel_shuffle(F.softplus(out) ** POWER, QUARTERS)
        return rain.unflatten(0, (batch, time)).flatten(1, 2)


def head_cell(compression: tuple[int, int, int], grid_step: float) -> tuple[float, float]:
    """Height and width of what the head reads, degrees.

    Args:
        compression: Days, rows and columns of fine cells a latent cell.
        grid_step: Spacing of the fine cells, degrees.
    """
    return compression[1] / QUARTERS * grid_step, compression[2] / QUARTERS * grid_step
