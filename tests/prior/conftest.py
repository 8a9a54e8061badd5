"""A tiny untrained prior, and the published code's outputs."""

from __future__ import annotations

import pytest
import torch

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform


@pytest.fixture(scope="session", params=[("cell", 1), ("group", 2)], ids=["local", "windowwide"])
def prior(request):
    """Windows of 4 days × 16 × 16 cells on a 2.5° grid, both kinds of norm."""
    norm, days = request.param
    torch.manual_seed(0)
    auto = AutoencoderConfig(4, (1, 2, 2), 1, 3, days, (1 if days == 1 else 3, 3, 3), norm)
    denoiser = DenoiserConfig(3, (8, 8), (1,), ((1, 2, 2),), (0,), 2, 8, 5, norm, "edm")
    prior = Prior(
        autoencoder=Autoencoder(auto),
        denoiser=Denoiser(denoiser, Power()),
        head=CoarseHead(HeadConfig(3, 6, days)),
        transform=LogTransform(0.1, 0.0, 8.0),
        latent_mean=(0.1, -0.2, 0.0),
        latent_std=(1.5, 0.5, 1.0),
        window=(4, 16, 16),
        stride=(2, 8, 8),
        grid_step=2.5,
        card={"name": "tiny", "intended_use": "demonstration"},
    )
    for module in prior.modules.values():
        module.eval().requires_grad_(False)
    return prior
