"""Rain that a prior makes by itself: days through its autoencoder, and samples without a month.

Samples stand on the lattice of a run, since the denoiser is told place and season. The autoencoder
is told neither, so its windows are laid from the corner of the days at hand: short runs and narrow
boxes are used to their edges.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from longwang_ray.domain.lattice import Extent, Span
from longwang_ray.domain.noise import NoiseKey, noise_field
from longwang_ray.evaluation.prior_scores import Metrics, score_head
from longwang_ray.evaluation.views import View
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.reading import HeadReader
from longwang_ray.posterior.sampler import sample
from longwang_ray.posterior.tile import contexts
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.head import QUARTERS

Array = NDArray[np.floating]
CELLS_AT_ONCE = 16 * 8 * 48 * 48
"""Fine cells in the windows that the denoiser takes at once; the decoder takes a quarter."""


@dataclass(frozen=True)
class Drawing:
    """How samples are drawn.

    Attributes:
        steps: Denoiser evaluations.
        realizations: How many.
        seed: Of their noise.
    """

    steps: int = 12
    realizations: int = 1
    seed: int = 0


@torch.no_grad()
def reconstruct(prior: Prior, rain: Array) -> Array:
    """Days through encoder and decoder, window by window, blended in mm/day as samples are.

    Args:
        prior: Its autoencoder is used.
        rain: ``(day, lat, lon)``, mm/day, whole latent cells, a window at least.

    Returns:
        The same shape; what is below the dry threshold is dry.
    """
    extent, device = _laid(prior, rain.shape), _device(prior)
    field, places = torch.from_numpy(np.ascontiguousarray(rain)), tuple(extent.windows())

    def through(_: Tensor, which: slice) -> Tensor:
        cuts = []
        for place in places[which]:
            t, i, j = (s.window_fine_cells(k) for s, k in zip(extent.spans, place, strict=True))
            cuts.append(field[t][:, i][..., j])
        windows = prior.transform.forward(torch.stack(cuts)[:, None].to(device))
        mean, _ = prior.autoencoder.encode(windows)
        return prior.transform.inverse(prior.autoencoder.decode(mean))

    nothing = torch.zeros(1, *extent.shape, device=device)
    blend = Blend(extent, max(1, _batch(prior) // 2), device)
    return _dried(prior, blend(through, nothing, Resolution(*prior.compression))[0])


@dataclass(frozen=True)
class Sampled:
    """Samples of a prior over a view.

    Attributes:
        rain: ``(realization, day, lat, lon)``, mm/day.
        head: How near the coarse head came to the decoder; ``None`` without a head.
    """

    rain: Array
    head: Metrics | None


@torch.no_grad()
def draw(prior: Prior, view: View, drawing: Drawing) -> Sampled:
    """Draw rain of the prior alone: a run's sampler, lattice and blending, without guidance."""
    extent = prior.lattice.extent(view.days, view.rows, view.columns)
    latents = [
        _latent(prior, extent, view.calendar, drawing, r) for r in range(drawing.realizations)
    ]
    rain = [_decode(prior, extent, z) for z in latents]
    begin, i, j = (
        extent.time.local_fine(view.days[0], view.days[1] - view.days[0]),
        extent.lat.local_fine(view.rows[0], view.rows[1] - view.rows[0]),
        extent.lon.local_fine(*view.columns),
    )
    shown = np.stack([field[begin][:, i][..., j] for field in rain])
    return Sampled(shown, _judge_head(prior, extent, latents, rain))


def _laid(prior: Prior, shape: Sequence[int]) -> Extent:
    """Windows over a field, from its first cell to its last, at most a stride apart."""
    sizes = zip(shape, prior.window, prior.stride, prior.compression, strict=True)
    return Extent(*(_span(n // c, w // c, s // c, c) for n, w, s, c in sizes))


def _span(size: int, window: int, stride: int, compression: int) -> Span:
    room = size - window
    gaps = -(-room // stride)
    starts = tuple((2 * k * room + gaps) // max(2 * gaps, 1) for k in range(gaps + 1))
    return Span(0, size, starts, window, window - stride, compression)


def _latent(
    prior: Prior, extent: Extent, calendar: str, drawing: Drawing, realization: int
) -> Tensor:
    key = NoiseKey(drawing.seed, "prior", "assessment", realization)
    device, denoiser = _device(prior), prior.denoiser
    noise = torch.from_numpy(noise_field(key, extent, prior.channels, prior.lattice)).to(device)
    told = None
    if denoiser.config.context:
        told = torch.from_numpy(contexts(extent, prior, calendar)).to(device)
    denoise = BlendedDenoiser(Blend(extent, _batch(prior), device), denoiser, told)
    return sample(denoise, noise, denoiser.schedule, drawing.steps, denoiser.order)


def _decode(prior: Prior, extent: Extent, latent: Tensor) -> Array:
    blend = Blend(extent, max(1, _batch(prior) // 4), latent.device)
    at = Resolution(*prior.compression)
    return _dried(prior, blend(lambda w, _: prior.decode(w)[:, None], latent, at)[0])


def _dried(prior: Prior, rain: Tensor) -> Array:
    return torch.where(rain < prior.dry_threshold, 0.0, rain).float().cpu().numpy()


def _batch(prior: Prior) -> int:
    return max(1, CELLS_AT_ONCE // int(np.prod(prior.window)))


def _device(prior: Prior) -> torch.device:
    return next(prior.autoencoder.parameters()).device


def _judge_head(
    prior: Prior, extent: Extent, latents: Sequence[Tensor], rain: Sequence[Array]
) -> Metrics | None:
    if prior.head is None:
        return None
    read = HeadReader(prior.head, closed=extent.lon.wraps)
    cells = (prior.compression[1] // QUARTERS, prior.compression[2] // QUARTERS)
    decoded = [F.avg_pool2d(torch.from_numpy(field)[None], cells)[0].numpy() for field in rain]
    return score_head(np.stack([read(z).cpu().numpy() for z in latents]), np.stack(decoded))
