"""A tiny untrained prior on a 2.5° grid: everything real but the sizes and the weights."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.layout import Group, Layout
from longwang_ray.domain.plan import GroupPlan, Tiling
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform


@cache
def tiny_prior(norm="cell", time_compression=1, seed=0):
    """Windows of 4 days × 8 × 8 cells, half overlapping; a globe of 36 × 72 latent cells."""
    torch.manual_seed(seed)
    kernel = (1 if norm == "cell" and time_compression == 1 else 3, 3, 3)
    auto = AutoencoderConfig(4, (1, 2), 1, 3, time_compression, kernel, norm)
    denoiser = DenoiserConfig(
        3, (8, 8), (1,), ((1, 2, 2),), (), 2, 8, 5, norm=norm, parametrisation="edm"
    )
    prior = Prior(
        autoencoder=Autoencoder(auto),
        denoiser=Denoiser(denoiser, Power()),
        head=CoarseHead(HeadConfig(3, 6, time_compression)),
        transform=LogTransform(0.1, 0.0, 8.0),
        latent_mean=(0.1, -0.2, 0.0),
        latent_std=(1.5, 0.5, 1.0),
        window=(4, 8, 8),
        stride=(2, 4, 4),
        grid_step=2.5,
        card={"name": "tiny", "intended_use": "demonstration"},
    )
    with torch.no_grad():  # so that some of its rain is below the dry threshold, and most is not
        prior.autoencoder.decoder.conv_out.conv.weight.mul_(0.5)
        prior.autoencoder.decoder.conv_out.conv.bias.fill_(-0.72)
    for module in prior.modules.values():
        module.eval().requires_grad_(False)
    return prior


@pytest.fixture(scope="session")
def make_prior():
    """The tiny prior of a norm and a compression in time."""
    return tiny_prior


@pytest.fixture(scope="session", params=[("cell", 1), ("group", 2)], ids=["local", "windowwide"])
def prior(request):
    """Both kinds of tiny prior."""
    return tiny_prior(*request.param)


@pytest.fixture(scope="session")
def make_plan():
    """A region of the tiny prior's globe, across 0°E, and tiles of it."""

    def plan(prior, *, months=1, halo=2, scenario="historical", shard_cells=None, **tiling):
        record = month_record("noleap", "1960-11", months)
        days = (record.start, record.stop)
        layout = Layout.of(days, (20, 16), (136, 16), 144, 16, shard_cells)
        group = Group("gcm", scenario, "r1")
        tiling = Tiling(tiling.pop("shards_per_tile", 12), halo, **tiling)
        return GroupPlan(group, layout, record, prior.lattice, 1, tiling)

    return plan


@pytest.fixture(scope="session")
def make_monthly():
    """Months of a GCM on 7.5° cells: a smooth field with a dry end."""

    def monthly(record, factor=1.0):
        lat, lon = np.arange(86.25, -90, -7.5), np.arange(0, 360, 7.5)
        grid = RectilinearGrid.from_centres(lat, lon)
        wet = np.cos(np.deg2rad(lat))[:, None] * (1.2 + np.sin(np.deg2rad(2 * lon)))[None, :]
        rain = np.stack([factor * 0.7 * wet * (1 + 0.2 * m) for m in range(len(record.months))])
        return MonthlyRain(rain.astype(np.float32), grid, record)

    return monthly
