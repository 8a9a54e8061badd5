"""What a prior costs on this machine: bytes from its sizes, seconds from one measured batch."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import prod

import torch

from longwang_ray.domain.cost import PriorCost
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.plan import Tile
from longwang_ray.posterior.decoding import closing_extent
from longwang_ray.posterior.guidance import FAST_PASSES
from longwang_ray.posterior.reading import HeadReader
from longwang_ray.posterior.tile import Sampling
from longwang_ray.prior.bundle import Prior

FLOAT = 4
ALIVE = 8
"""Activations of the finest level that live at once in a network without gradients, measured."""

BACKWARD = 3.0
"""A forward pass with its gradient, in forward passes; of activations, too."""

READ_COPIES = 4
"""Of an extent's rain, read through the decoder: rain, cotangent, its sum, a temporary."""


def decoded_share(prior: Prior, tile: Tile, gcm: RectilinearGrid, months: list[range]) -> float:
    """Decoded windows of a tile over its sampled ones: the halo is sampled, not decoded."""
    decoded = sum(
        closing_extent(prior, tile, gcm, (days.start, days.stop)).n_windows for days in months
    )
    return decoded / tile.extent.n_windows


def estimate_cost(prior: Prior, sampling: Sampling, decoded: float, threads: int) -> PriorCost:
    """The sizes and speeds that a plan counts with.

    Args:
        prior: The prior, on the CPU.
        sampling: How it is sampled.
        decoded: Decoded windows over sampled windows.
        threads: CPU threads of a worker.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        denoise, decode = _measure(prior, sampling)
    finally:
        torch.set_num_threads(before)
    through_decoder = sampling.guidance in ("detached", "exact")
    return PriorCost(
        channels=prior.channels,
        weights_bytes=prior.parameters * FLOAT,
        window_bytes=_activations(prior, sampling) * int(BACKWARD if through_decoder else 1),
        batch=sampling.batch,
        evaluations=sampling.steps,
        decodes=decoded,
        evaluation_seconds=denoise,
        decode_seconds=decode,
        read_copies=READ_COPIES if through_decoder else 0,
    )


def _activations(prior: Prior, sampling: Sampling) -> int:
    """Bytes of one window in a batch: of the denoiser, or the decoder's in its own batch."""
    lattice, auto = prior.lattice, prior.autoencoder.config
    latent = prod(lattice.window) * prior.denoiser.config.channels[0] * FLOAT * ALIVE
    fine = prod(prior.window) * auto.channels * auto.multipliers[min(1, len(auto.multipliers) - 1)]
    decoder = fine * FLOAT * ALIVE * sampling.decode_batch // sampling.batch
    return int(max(latent, decoder))


@torch.inference_mode(False)
def _measure(prior: Prior, sampling: Sampling) -> tuple[float, float]:
    """Seconds of one window's guided evaluation, and of its decoding."""
    shape = (prior.channels, *prior.lattice.window)
    windows = torch.zeros(sampling.batch, *shape)
    told = prior.denoiser.config.context
    context = torch.zeros(sampling.batch, told) if told else None
    times = torch.full((sampling.batch,), 0.5)
    few = windows[: sampling.decode_batch]
    with torch.no_grad():
        denoise = _seconds(lambda: prior.denoiser(windows, times, context)) / sampling.batch
        decode = _seconds(lambda: prior.decode(few)) / len(few)
        guidance = {
            "fast": lambda: _head_seconds(prior),
            "detached": lambda: decode * (1.0 + BACKWARD),
            "exact": lambda: decode * (1.0 + BACKWARD) + denoise * BACKWARD,
            "none": lambda: 0.0,
        }[sampling.guidance]()
    return denoise + guidance, decode


def _head_seconds(prior: Prior) -> float:
    """The head reads the field, not the windows: its share of a window is one stride's cells."""
    if prior.head is None:
        return 0.0
    read = HeadReader(prior.head, closed=False)
    field = torch.zeros(prior.channels, *(2 * n for n in prior.lattice.window))
    cotangent = read(field)
    forward = _seconds(lambda: read(field))
    back = _seconds(lambda: read.pull_back(field, cotangent))
    share = prod(prior.lattice.stride) / prod(field.shape[1:])
    return ((FAST_PASSES - 1) * forward + (FAST_PASSES + 1) * back) * share


def _seconds(work: Callable[[], object]) -> float:
    """The shorter of two runs: the first one warms up."""
    best = float("inf")
    for _ in range(2):
        started = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - started)
    return best
