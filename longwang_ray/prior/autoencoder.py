"""The autoencoder: days of rain to a small latent, and back.

Published as ``AutoencoderKL3D``: residual blocks over ``ch × ch_mult`` channels, each level but
the last halving space and, in the first ``log₂(compress_time)`` levels, days. The encoder states a
Gaussian ``q(z | v) = N(mean, exp(logvar))``; the decoder is told ``z`` again at every norm.
Rain enters and leaves in the transformed unit of ``prior.transform``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longwang_ray.prior.layers import (
    Downsample,
    Norm,
    ReplicateConv3d,
    ResidualBlock,
    SpatialNorm,
    Upsample,
    make_norm,
)


@dataclass(frozen=True)
class AutoencoderConfig:
    """Sizes of an autoencoder.

    Attributes:
        channels: Channels after the first convolution.
        multipliers: Channels of each level, as multiples; every level but the last halves space.
        blocks: Residual blocks a level (the decoder has one more).
        latent_channels: Channels of the latent.
        time_compression: Days a latent step, a power of two.
        kernel: Convolution kernel, (days, lat, lon).
        norm: ``group`` (published) or ``cell`` (local).
    """

    channels: int = 128
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 4
    latent_channels: int = 16
    time_compression: int = 4
    kernel: tuple[int, int, int] = (3, 3, 3)
    norm: Norm = "group"

    @property
    def compression(self) -> tuple[int, int, int]:
        """Days, rows and columns of fine cells a latent cell."""
        space = 2 ** (len(self.multipliers) - 1)
        return self.time_compression, space, space

    @property
    def per_day(self) -> bool:
        """Whether days never meet: then they may as well be a batch."""
        return self.time_compression == 1 and self.kernel[0] == 1 and self.norm == "cell"

    def halves_time(self, level: int) -> bool:
        """Whether the step from ``level`` to the next coarser one halves days."""
        return level < int(math.log2(self.time_compression))


class _Level(nn.Module):
    def __init__(self, blocks: list[ResidualBlock]) -> None:
        super().__init__()
        self.block = nn.ModuleList(blocks)


class _Middle(nn.Module):
    def __init__(self, first: ResidualBlock, second: ResidualBlock) -> None:
        super().__init__()
        self.block_1, self.block_2 = first, second


class Encoder(nn.Module):
    """Rain ``(batch, 1, days, lat, lon)`` → mean and log-variance, stacked on channels."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        block_of = partial(ResidualBlock, kernel=config.kernel, norm=config.norm)
        self.conv_in = ReplicateConv3d(1, config.channels, config.kernel)
        self.down = nn.ModuleList()
        width = config.channels
        for level, out in enumerate(widths):
            blocks = [block_of(width if i == 0 else out, out) for i in range(config.blocks)]
            rung = _Level(blocks)
            if level < len(widths) - 1:
                rung.downsample = Downsample(out, config.halves_time(level))
            self.down.append(rung)
            width = out
        self.mid = _Middle(block_of(width, width), block_of(width, width))
        self.norm_out = make_norm(config.norm, width)
        self.conv_out = ReplicateConv3d(width, 2 * config.latent_channels, config.kernel)

    def forward(self, x: Tensor) -> Tensor:
        h = self.conv_in(x)
        for rung in self.down:
            for block in rung.block:
                h = block(h)
            if hasattr(rung, "downsample"):
                h = rung.downsample(h)
        h = self.mid.block_2(self.mid.block_1(h))
        return self.conv_out(F.silu(self.norm_out(h)))


class Decoder(nn.Module):
    """Latent ``(batch, latent, T, H, W)`` → rain in the transformed unit."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        widths = [config.channels * m for m in config.multipliers]
        latent = config.latent_channels
        block_of = partial(ResidualBlock, kernel=config.kernel, norm=config.norm, latent=latent)
        width = widths[-1]
        self.conv_in = ReplicateConv3d(latent, width, config.kernel)
        self.mid = _Middle(block_of(width, width), block_of(width, width))
        rungs: list[_Level] = []
        for level, out in reversed(list(enumerate(widths))):
            blocks = [block_of(width if i == 0 else out, out) for i in range(config.blocks + 1)]
            rung = _Level(blocks)
            if level > 0:
                rung.upsample = Upsample(out, config.halves_time(level - 1))
            rungs.insert(0, rung)
            width = out
        self.up = nn.ModuleList(rungs)
        self.norm_out = SpatialNorm(width, latent, config.norm)
        self.conv_out = ReplicateConv3d(width, 1, config.kernel)

    def forward(self, z: Tensor) -> Tensor:
        h = self.conv_in(z)
        h = self.mid.block_2(self.mid.block_1(h, z), z)
        for rung in reversed(self.up):
            for block in rung.block:
                h = block(h, z)
            if hasattr(rung, "upsample"):
                h = rung.upsample(h)
        return self.conv_out(F.silu(self.norm_out(h, z)))


class Autoencoder(nn.Module):
    """Encoder and decoder of one prior."""

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent.

        Args:
            x: Transformed rain, ``(batch, 1, days, lat, lon)``, multiples of the compression.

        Returns:
            Two tensors ``(batch, latent, T, H, W)``; the log-variance is clamped to −30 … 20.
        """
        mean, logvar = self._days(self.encoder, x).chunk(2, dim=1)
        return mean, torch.clamp(logvar, -30.0, 20.0)

    def decode(self, z: Tensor) -> Tensor:
        """Transformed rain ``(batch, 1, days, lat, lon)`` of latents ``(batch, latent, …)``."""
        return self._days(self.decoder, z)

    def _days(self, network: nn.Module, x: Tensor) -> Tensor:
        if not self.config.per_day:
            return network(x)
        days = x.transpose(1, 2).flatten(0, 1)
        # Channels last: a CPU's 2-D routines then reorder nothing, a third of their time.
        alone = network(days.contiguous(memory_format=torch.channels_last)[:, :, None])
        return alone[:, :, 0].unflatten(0, (x.shape[0], x.shape[2])).transpose(1, 2)
