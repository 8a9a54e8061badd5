"""Building blocks of the published networks, with names as in its state dicts.

All tensors are ``(batch, channel, time, lat, lon)``. Norms come in two kinds, chosen by the
bundle: ``group`` averages over the whole window as published; ``cell`` averages over the channels
of one cell only, so that a network stays local and its windows agree where they overlap.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Norm = Literal["group", "cell"]


def groups_of(channels: int, at_most: int = 32) -> int:
    """The largest number of groups up to ``at_most`` that divides ``channels``."""
    return next(g for g in range(min(at_most, channels), 0, -1) if channels % g == 0)


class CellNorm(nn.Module):
    """RMS norm over the channels of each cell: ``w · x / √(mean_c x² + ε) + b``."""

    def __init__(self, channels: int, affine: bool = True, eps: float = 1e-6) -> None:
        super().__init__()
        self.eps = eps
        self.weight = nn.Parameter(torch.ones(channels)) if affine else None
        self.bias = nn.Parameter(torch.zeros(channels)) if affine else None

    def forward(self, x: Tensor) -> Tensor:
        scale = torch.rsqrt(x.square().mean(1, keepdim=True) + self.eps)
        if self.weight is None or self.bias is None:
            return x * scale
        place = (-1, *(1,) * (x.ndim - 2))
        return torch.addcmul(self.bias.view(place), x * scale, self.weight.view(place))


def make_norm(kind: Norm, channels: int, affine: bool = True, eps: float = 1e-6) -> nn.Module:
    """The norm of a bundle's kind."""
    if kind == "cell":
        return CellNorm(channels, affine, eps)
    return nn.GroupNorm(groups_of(channels), channels, eps=eps, affine=affine)


class ReplicateConv3d(nn.Module):
    """3-D convolution over edge-replicated cells (the published ``CausalConv3d``, symmetric).

    A kernel of one day on a single day is computed as the 2-D convolution that it is: the 3-D
    routine of a CPU takes five times as long for the same sums.
    """

    def __init__(
        self, inputs: int, outputs: int, kernel: tuple[int, int, int] = (3, 3, 3)
    ) -> None:
        super().__init__()
        self.conv = nn.Conv3d(inputs, outputs, kernel)
        self.margin = tuple(k // 2 for k in reversed(kernel) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[2] == self.conv.kernel_size[0] == 1:
            return self._one_day(x[:, :, 0])[:, :, None]
        if any(self.margin):
            x = F.pad(x, self.margin, mode="replicate")
        return self.conv(x)

    def _one_day(self, x: Tensor) -> Tensor:
        if any(self.margin):
            x = F.pad(x, self.margin[:4], mode="replicate")
        return F.conv2d(x, self.conv.weight[:, :, 0], self.conv.bias)


class SpatialNorm(nn.Module):
    """A norm that is told the latent again: ``norm(h) · (1 + conv₁(z)) + conv₁(z)``.

    ``z`` is resized to ``h`` by nearest neighbour.
    """

    def __init__(self, channels: int, latent: int, kind: Norm) -> None:
        super().__init__()
        self.norm_layer = make_norm(kind, channels, affine=False)
        self.conv_scale = ReplicateConv3d(latent, channels, (1, 1, 1))
        self.conv_bias = ReplicateConv3d(latent, channels, (1, 1, 1))

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        # 1×1×1 convolutions commute with nearest resizing: convolve while it is still small.
        scale, bias = 1.0 + self.conv_scale(z), self.conv_bias(z)
        if scale.shape[2:] != h.shape[2:]:
            scale = F.interpolate(scale, size=h.shape[2:], mode="nearest")
            bias = F.interpolate(bias, size=h.shape[2:], mode="nearest")
        return torch.addcmul(bias, self.norm_layer(h), scale)


class ResidualBlock(nn.Module):
    """``x + conv(silu(norm(conv(silu(norm(x))))))``; with a latent, its norms are spatial."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        kernel: tuple[int, int, int],
        norm: Norm,
        latent: int | None = None,
    ) -> None:
        super().__init__()

        def norm_of(channels: int) -> nn.Module:
            if latent is None:
                return make_norm(norm, channels)
            return SpatialNorm(channels, latent, norm)

        self.norm1 = norm_of(inputs)
        self.conv1 = ReplicateConv3d(inputs, outputs, kernel)
        self.norm2 = norm_of(outputs)
        self.conv2 = ReplicateConv3d(outputs, outputs, kernel)
        if inputs != outputs:
            self.conv_shortcut = ReplicateConv3d(inputs, outputs, (1, 1, 1))

    def forward(self, x: Tensor, *latent: Tensor) -> Tensor:
        h = self.conv1(F.silu(self.norm1(x, *latent)))
        h = self.conv2(F.silu(self.norm2(h, *latent)))
        return h + (self.conv_shortcut(x) if hasattr(self, "conv_shortcut") else x)


class Downsample(nn.Module):
    """Halve latitude and longitude by a strided 2-D convolution, and days by their mean."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.time = time
        self.conv = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        if self.time:
            x = F.avg_pool3d(x, (2, 1, 1))
        return each_day(self.conv, F.pad(x, (0, 1, 0, 1)))


class Upsample(nn.Module):
    """Double latitude and longitude (and days) by nearest neighbour, then a 2-D convolution."""

    def __init__(self, channels: int, time: bool) -> None:
        super().__init__()
        self.factor = (2.0 if time else 1.0, 2.0, 2.0)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return each_day(self.conv, F.interpolate(x, scale_factor=self.factor, mode="nearest"))


def each_day(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a 2-D layer to every day of ``(batch, channel, time, lat, lon)``."""
    batch, _, time = x.shape[:3]
    y = layer(x.transpose(1, 2).flatten(0, 1))
    return y.unflatten(0, (batch, time)).transpose(1, 2)


class SelfAttention(nn.Module):
    """``x + proj(attention(norm(x)))`` over all T × H × W tokens of a window.

    The weights live in an ``nn.MultiheadAttention`` so that published state dicts fit; the product
    itself is the fused ``scaled_dot_product_attention``.
    """

    def __init__(self, channels: int, heads: int, norm: Norm) -> None:
        super().__init__()
        self.heads = heads
        self.norm = make_norm(norm, channels)
        self.attn = nn.MultiheadAttention(channels, heads, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        qkv = F.linear(tokens, self.attn.in_proj_weight, self.attn.in_proj_bias)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        return x + self.attn.out_proj(mixed).transpose(1, 2).reshape(x.shape)


def lay_out(module: nn.Module, channels_innermost: bool) -> None:
    """Order the weights in memory: a CPU convolves a quarter faster with channels innermost."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d} if channels_innermost else {}
    for weight in module.parameters():
        layout = layouts.get(weight.ndim, torch.contiguous_format)
        weight.data = weight.data.contiguous(memory_format=layout)
