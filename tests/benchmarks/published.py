"""The published sizes, what passes through their networks, and a guided sampler of one window.

Shared by the benchmarks that count them and those that measure them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from longwang_ray.domain.lattice import Extent, Span
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.covariance import White
from longwang_ray.posterior.guidance import (
    FAST_PASSES,
    HeadGuidance,
    Logarithmic,
    ScoreGuidance,
)
from longwang_ray.posterior.observation import ErrorModel, MonthlyMean, Observation
from longwang_ray.posterior.reading import HeadReader, WindowReader
from longwang_ray.posterior.sampler import Denoise
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.context import CONTEXT_SIZE
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform
from longwang_ray.prior.work import Precision, gradient_work, imagined, work_of

GUIDANCE = ("none", "fast", "detached", "exact")


@dataclass(frozen=True)
class Sizes:
    """Of one prior.

    Attributes:
        width: Channels of the denoiser.
        embedding: Width of its embedding; 256 makes the published number of parameters.
        channels: First channels of the autoencoder.
        window: Days, rows and columns.
    """

    width: int = 512
    embedding: int = 256
    channels: int = 128
    window: tuple[int, int, int] = (32, 128, 128)


FULL = Sizes()
REDUCED = Sizes(128, 64, 32, (16, 64, 64))


def make_prior(sizes: Sizes) -> Prior:
    """Networks with fresh weights."""
    auto = AutoencoderConfig(sizes.channels)
    denoiser = DenoiserConfig(
        channels=(sizes.width,) * 4, embedding=sizes.embedding, parametrisation="edm"
    )
    return Prior(
        autoencoder=Autoencoder(auto),
        denoiser=Denoiser(denoiser, Power()),
        head=CoarseHead(HeadConfig(16, 128, 4)),
        transform=LogTransform(0.1, 0.0, 8.0),
        latent_mean=(0.0,) * 16,
        latent_std=(1.0,) * 16,
        window=sizes.window,
        stride=sizes.window,
    )


@dataclass(frozen=True)
class Pass:
    """A pass through a network on one window.

    Attributes:
        forward: The pass.
        learn: Parameters that are learned with its gradient.
        guide: Inputs that are guided with its gradient.
    """

    forward: Callable[[], Tensor]
    learn: tuple[Tensor, ...]
    guide: tuple[Tensor, ...]

    def run(self, toward: str) -> Tensor:
        """Compute it, and its gradient unless only ``forward`` is asked for."""
        if toward == "forward":
            with torch.no_grad():
                return self.forward()
        out = self.forward()
        out.float().sum().backward(inputs=list(getattr(self, toward)))
        for tensor in (*self.learn, *self.guide):
            tensor.grad = None
        return out.detach()


def passes(prior: Prior, device: str = "cpu") -> dict[str, Pass]:
    """Everything that a training or a sampler passes through, by name."""
    days, rows, columns = prior.window
    latent = torch.randn(1, 16, days // 4, rows // 4, columns // 4, device=device)
    rain = torch.randn(1, 1, days, rows, columns, device=device)
    t, told = torch.full((1,), 0.5, device=device), torch.zeros(1, CONTEXT_SIZE, device=device)
    latent.requires_grad_()
    auto, head = prior.autoencoder, prior.head

    def of(forward: Callable[[], Tensor], *modules: nn.Module) -> Pass:
        return Pass(forward, tuple(p for m in modules for p in m.parameters()), (latent,))

    return {
        "denoiser": of(lambda: prior.denoiser(latent, t, told), prior.denoiser),
        "decoder": of(lambda: auto.decode(latent), auto.decoder),
        "encoder": of(lambda: auto.encode(rain)[0], auto.encoder),
        "autoencoder": of(lambda: auto.decode(auto.encode(rain)[0]), auto),
        "head": of(lambda: head(latent), head),
    }


class Counted(NamedTuple):
    """Parameters of the networks that are passed, operations, and bytes alive at once."""

    parameters: int
    flops: int
    peak: int


Case = tuple[str, str]
CASES = (
    ("denoiser", "forward"), ("denoiser", "guide"), ("denoiser", "learn"),
    ("decoder", "forward"), ("decoder", "guide"),
    ("encoder", "forward"), ("autoencoder", "learn"),
    ("head", "forward"), ("head", "guide"),
)  # fmt: skip


def counted(sizes: Sizes, precision: Precision = "float32") -> dict[Case, Counted]:
    """Operations and memory of each case, without computing."""
    rows: dict[Case, Counted] = {}
    with imagined():
        everything = passes(make_prior(sizes))
        for name, toward in CASES:
            one = everything[name]
            if toward == "forward":
                work = work_of(one.forward, precision)
            else:
                work = gradient_work(one.forward, getattr(one, toward), precision)
            rows[name, toward] = Counted(sum(p.numel() for p in one.learn), work.flops, work.peak)
    return rows


def guided_flops(rows: dict[Case, Counted]) -> dict[str, float]:
    """Operations of one guided step of one window, as the sampler passes through the networks."""
    denoise, decode, read = (rows[n, "forward"].flops for n in ("denoiser", "decoder", "head"))
    denoise_back, decode_back, read_back = (
        rows[n, "guide"].flops for n in ("denoiser", "decoder", "head")
    )
    return {
        "none": denoise,
        "fast": denoise + FAST_PASSES * read + (FAST_PASSES + 1) * read_back,
        "detached": denoise + decode + decode_back,
        "exact": denoise + decode + decode_back + denoise_back,
    }


def guided(prior: Prior, guidance: str, device: str) -> tuple[Denoise, Tensor]:
    """A guided denoiser on one window with four observed cells, and its noise."""
    spans = [Span(0, n // 4, (0,), n // 4, 1, compression=4) for n in prior.window]
    blend = Blend(Extent(*spans), 1, device)
    denoise = BlendedDenoiser(blend, prior.denoiser, torch.zeros(1, CONTEXT_SIZE, device=device))
    noise = torch.randn(16, *(s.size for s in spans), device=device)
    days, rows, columns = prior.window
    halves = [torch.eye(2).repeat_interleave(n // 2, 1) / (n // 2) for n in (rows, columns)]
    month, inside = torch.full((1, days), 1 / days), torch.ones(2, 2).bool()
    operator = MonthlyMean(month, *halves, inside).to(torch.device(device))
    observed = Observation.of(np.full((1, 2, 2), 3.0, "f4"), operator, ErrorModel())
    schedule = prior.denoiser.schedule
    if guidance == "none":
        return denoise, noise
    if guidance == "fast":
        reader = HeadReader(prior.head, closed=False, tables=prior.estimates)
        quarters = operator.coarsen(1, 2, 2)
        return HeadGuidance(
            denoise, White(schedule), reader.at_time, quarters, observed, Logarithmic()
        ), noise
    decode = WindowReader(
        blend, lambda w, _: prior.decode(w, clamp=False)[:, None], Resolution(4, 4, 4)
    )
    back = denoise.pull_back if guidance == "exact" else None
    return ScoreGuidance(denoise, schedule, decode, operator, observed, back), noise
