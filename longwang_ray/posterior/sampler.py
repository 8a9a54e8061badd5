"""From noise to a latent: a deterministic sampler, with the noise passed in.

The exponential-integrator (DDIM) step along ``x = α x₀ + σ ε``:

    x̂ = denoise(x, t),    ε̂ = (x − α x̂)/σ,    x ← α′ x̂ + σ′ ε̂

Nothing random happens here, and nothing is reduced over the field.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from longwang_ray.prior.schedule import Schedule

Denoise = Callable[[Tensor, Tensor], Tensor]
"""Noisy latents ``(channel, T, H, W)`` and the time ``()`` → clean latents ``x̂``."""


def sample(denoise: Denoise, noise: Tensor, schedule: Schedule, steps: int) -> Tensor:
    """Integrate from pure noise to a clean latent.

    Args:
        denoise: A denoiser, guided or not.
        noise: Unit normals, ``(channel, T, H, W)``.
        schedule: ``α`` and ``σ`` over time.
        steps: Denoiser evaluations.

    Returns:
        The latent, ``(channel, T, H, W)``.
    """
    times = torch.linspace(1.0, 0.0, steps + 1, dtype=torch.float64)[:-1]
    alphas, sigmas = schedule.alpha(times), schedule.sigma(times)
    x, estimate = sigmas[0].item() * noise, noise
    for step in range(steps):
        alpha, sigma = alphas[step].item(), sigmas[step].item()
        estimate = denoise(x, times[step].float().to(noise.device))
        if step + 1 < steps:
            epsilon = (x - alpha * estimate) / sigma
            x = alphas[step + 1].item() * estimate + sigmas[step + 1].item() * epsilon
    return estimate
