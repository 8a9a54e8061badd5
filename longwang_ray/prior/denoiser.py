"""The conditional denoiser: what clean latent stands behind a noisy one.

With ``x_t = α(t) x₀ + σ(t) ε`` it returns ``x̂ = E[x₀ | x_t, context]``. The network is the
published ``UNet3D``; how its output is read is the bundle's ``parametrisation``:

* ``epsilon`` (published): ``x̂ = (x − σ F(x, t)) / α``
* ``edm`` (ours): with ``s = σ/α`` and unit-variance data,
  ``x̂ = x/α / (1 + s²) + s/√(1 + s²) · F(x, t)``, well conditioned at every noise level
  (Karras et al. 2022), where the first form multiplies the network's errors by ``s``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from longwang_ray.prior.layers import Norm, SelfAttention, make_norm
from longwang_ray.prior.schedule import Schedule

Triple = tuple[int, int, int]
Parametrisation = Literal["epsilon", "edm"]


@dataclass(frozen=True)
class DenoiserConfig:
    """Sizes of a denoiser.

    Attributes:
        latent_channels: Channels in and out.
        channels: Channels of each level; the last is the bottleneck's.
        blocks: Residual blocks of each level above the bottleneck.
        strides: Downsampling (days, lat, lon) below each level.
        attention: Levels with self-attention; the bottleneck always has it.
        heads: Attention heads.
        embedding: Width of the time and context embedding.
        context: Numbers of context a window, 0 for none.
        norm: ``group`` (published) or ``cell`` (local).
        parametrisation: How the output is read.
    """

    latent_channels: int = 16
    channels: tuple[int, ...] = (512, 512, 512, 512)
    blocks: tuple[int, ...] = (4, 4, 4)
    strides: tuple[Triple, ...] = ((1, 2, 2), (2, 2, 2), (2, 2, 2))
    attention: tuple[int, ...] = (0, 1, 2)
    heads: int = 4
    embedding: int = 32
    context: int = 5
    norm: Norm = "group"
    parametrisation: Parametrisation = "epsilon"


class TimeEmbedding(nn.Module):
    """``MLP([cos πkt, sin πkt], k = 1 … 16)``."""

    def __init__(self, width: int, frequencies: int = 16) -> None:
        super().__init__()
        self.register_buffer("freqs", math.pi * torch.arange(1, frequencies + 1).float())
        self.mlp = nn.Sequential(nn.Linear(2 * frequencies, 256), nn.SiLU(), nn.Linear(256, width))

    def forward(self, t: Tensor) -> Tensor:
        angle = t[:, None] * self.freqs
        return self.mlp(torch.cat([angle.cos(), angle.sin()], dim=-1))


class AdaptiveBlock(nn.Module):
    """Residual block whose two norms are scaled and shifted by the embedding."""

    def __init__(self, channels: int, embedding: int, norm: Norm) -> None:
        super().__init__()
        self.norm1 = make_norm(norm, channels)
        self.norm2 = make_norm(norm, channels)
        self.conv1 = nn.Conv3d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv3d(channels, channels, 3, padding=1)
        self.cond_proj = nn.Sequential(nn.SiLU(), nn.Linear(embedding, 4 * channels))

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        modulation = self.cond_proj(embedding)[:, :, None, None, None]
        scale1, shift1, scale2, shift2 = modulation.chunk(4, dim=1)
        h = self.conv1(F.silu(torch.addcmul(shift1, self.norm1(x), 1 + scale1)))
        h = self.conv2(F.silu(torch.addcmul(shift2, self.norm2(h), 1 + scale2)))
        return x + h


class _Down(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: Triple) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class _Up(nn.Module):
    def __init__(self, inputs: int, outputs: int, norm: Norm) -> None:
        super().__init__()
        self.norm = make_norm(norm, inputs)
        self.conv = nn.Conv3d(inputs, outputs, 3, padding=1)

    def forward(self, x: Tensor, size: torch.Size) -> Tensor:
        return self.conv(F.interpolate(self.norm(x), size=size, mode="nearest"))


class UNet(nn.Module):
    """The published ``UNet3D``; decoder modules are numbered from the coarsest level up."""

    def __init__(self, config: DenoiserConfig) -> None:
        super().__init__()
        widths, depth = config.channels, len(config.strides)
        emb, norm, heads = config.embedding, config.norm, config.heads

        def blocks(level: int) -> nn.ModuleList:
            count = config.blocks[level]
            return nn.ModuleList(AdaptiveBlock(widths[level], emb, norm) for _ in range(count))

        def attentions(levels: range) -> nn.ModuleDict:
            return nn.ModuleDict(
                {
                    str(place): SelfAttention(widths[level], heads, norm)
                    for place, level in enumerate(levels)
                    if level in config.attention
                }
            )

        down, up = range(depth), range(depth - 1, -1, -1)
        self.time_embedding = TimeEmbedding(emb)
        if config.context:
            self.cond_embedding = nn.Sequential(
                nn.Linear(config.context, 128), nn.SiLU(),
                nn.Linear(128, 256), nn.SiLU(),
                nn.Linear(256, emb),
            )  # fmt: skip
        self.input_conv = nn.Conv3d(config.latent_channels, widths[0], 3, padding=1)
        self.encoder_blocks = nn.ModuleList(blocks(level) for level in down)
        self.encoder_attns = attentions(down)
        self.downsamples = nn.ModuleList(
            _Down(widths[level], widths[level + 1], config.strides[level]) for level in down
        )
        self.bottleneck_block1 = AdaptiveBlock(widths[-1], emb, norm)
        self.bottleneck_attn = SelfAttention(widths[-1], heads, norm)
        self.bottleneck_block2 = AdaptiveBlock(widths[-1], emb, norm)
        self.upsamples = nn.ModuleList(_Up(widths[i + 1], widths[i], norm) for i in up)
        self.skip_projs = nn.ModuleList(nn.Conv3d(2 * widths[i], widths[i], 1) for i in up)
        self.decoder_blocks = nn.ModuleList(blocks(level) for level in up)
        self.decoder_attns = attentions(up)
        self.output_norm = make_norm(norm, widths[0])
        self.output_conv = nn.Conv3d(widths[0], config.latent_channels, 3, padding=1)

    def forward(
        self, x: Tensor, t: Tensor, context: Tensor | None, known: Tensor | None
    ) -> Tensor:
        embedding = self.time_embedding(t)
        if context is not None:
            told = self.cond_embedding(context)
            embedding = embedding + (told if known is None else told * known[:, None])
        h, skips = self.input_conv(x), []
        for level, blocks in enumerate(self.encoder_blocks):
            h = self._level(h, embedding, blocks, self.encoder_attns, level)
            skips.append(h)
            h = self.downsamples[level](h)
        h = self.bottleneck_block1(h, embedding)
        h = self.bottleneck_block2(self.bottleneck_attn(h), embedding)
        for place, blocks in enumerate(self.decoder_blocks):
            skip = skips.pop()
            h = self.upsamples[place](h, skip.shape[2:])
            h = self.skip_projs[place](torch.cat([h, skip], dim=1))
            h = self._level(h, embedding, blocks, self.decoder_attns, place)
        return self.output_conv(F.silu(self.output_norm(h)))

    @staticmethod
    def _level(
        h: Tensor, embedding: Tensor, blocks: nn.Module, attentions: nn.ModuleDict, place: int
    ) -> Tensor:
        for block in blocks.children():
            h = block(h, embedding)
        return attentions[str(place)](h) if str(place) in attentions else h


class Denoiser(nn.Module):
    """A network and the schedule that it was trained with.

    Args:
        config: Sizes and parametrisation.
        schedule: ``α(t)`` and ``σ(t)``.
    """

    def __init__(self, config: DenoiserConfig, schedule: Schedule) -> None:
        super().__init__()
        self.config, self.schedule = config, schedule
        self.network = UNet(config)

    def forward(
        self, x: Tensor, t: Tensor, context: Tensor | None = None, known: Tensor | None = None
    ) -> Tensor:
        """Posterior mean ``x̂ = E[x₀ | x_t]`` of standardised latents.

        Args:
            x: Noisy latents, ``(batch, channel, T, H, W)``.
            t: Time of the schedule, ``(batch,)``, in [0, 1].
            context: Context of each window, ``(batch, context)``; ``None`` is the unconditional
                prior.
            known: Whether each window's context is told, ``(batch,)`` of 0 and 1 (training's
                context dropout); ``None`` tells all.
        """
        place = (-1, 1, 1, 1, 1)
        alpha, sigma = self.schedule.alpha(t).view(place), self.schedule.sigma(t).view(place)
        if self.config.parametrisation == "epsilon":
            return (x - sigma * self.network(x, t, context, known)) / alpha
        # α² + σ² = 1 + O(η²): x is already c_in · (x/α) of Karras et al.
        norm = alpha.square() + sigma.square()
        output = self.network(x / norm.sqrt(), t, context, known)
        return alpha / norm * x + sigma / norm.sqrt() * output

    @property
    def order(self) -> int:
        """Order of the sampler that suits it.

        Imported priors keep the published step: near t = 1 their x̂ is too rough to extrapolate.
        """
        return 1 if self.config.parametrisation == "epsilon" else 2

    def skip(self, t: Tensor) -> Tensor:
        """``∂x̂/∂x`` with the network's output held: ``1/α`` of ε, ``α/(α² + σ²)`` of edm."""
        alpha, sigma = self.schedule.alpha(t), self.schedule.sigma(t)
        if self.config.parametrisation == "epsilon":
            return 1.0 / alpha
        return alpha / (alpha.square() + sigma.square())
