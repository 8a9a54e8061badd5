"""A tiny untrained prior that rains, small monthly files, and configurations of whole runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path

os.environ.setdefault("MPLBACKEND", "Agg")

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import xarray as xr
from safetensors.torch import load_file

from longwang_ray.config import parse_config
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform

# A background shell starts its children deaf to Ctrl-C; what is tested here must hear it.
signal.signal(signal.SIGINT, signal.default_int_handler)

LATENT = 2
GOLDEN = Path(__file__).parents[2] / "shared" / "golden" / "longwang_official"


def rainy_prior(head=True):
    """A prior at 2.5° (72 × 144 cells) with few windows: 16 days × 16 × 16 cells.

    Its latents are white Gaussian noise, which its denoiser knows exactly; its decoder is random,
    with rain that stays within reason, and its head is fitted to the decoder for a moment, so that
    guidance pulls the right way.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        auto = AutoencoderConfig(4, (1, 2, 2), 1, LATENT, 1, (1, 3, 3), "cell")
        denoiser = DenoiserConfig(LATENT, (8, 8), (1,), ((1, 2, 2),), (), 2, 8, 5, "cell", "edm")
        prior = Prior(
            autoencoder=Autoencoder(auto),
            denoiser=Denoiser(denoiser, Power()),
            head=CoarseHead(HeadConfig(LATENT, 8, 1)) if head else None,
            transform=LogTransform(0.1, 0.0, 4.5),
            latent_mean=(0.0,) * LATENT,
            latent_std=(1.0,) * LATENT,
            window=(16, 16, 16),
            stride=(8, 12, 12),
            grid_step=2.5,
            card={"name": "tiny", "intended_use": "demonstration"},
        )
        _temper(prior)
    for module in prior.modules.values():
        module.eval().requires_grad_(False)
    return prior


def _temper(prior):
    z = torch.randn(16, LATENT, 2, 8, 8)
    with torch.no_grad():
        for parameter in prior.denoiser.network.output_conv.parameters():
            parameter.zero_()
        last = prior.autoencoder.decoder.conv_out.conv
        last.bias.zero_()
        last.weight.mul_(0.25 / prior.autoencoder.decode(z).std())
        last.bias.sub_(prior.autoencoder.decode(z).mean() + 0.1)
        rain = F.avg_pool2d(prior.decode(z), prior.compression[1] // 2)
    if prior.head is None:
        return
    optimiser = torch.optim.Adam(prior.head.parameters(), 0.02)
    for _ in range(60):
        optimiser.zero_grad()
        (prior.head(z) - rain).square().mean().backward()
        optimiser.step()


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The tiny prior's folder."""
    folder = tmp_path_factory.mktemp("prior") / "tiny"
    rainy_prior().save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def headless(tmp_path_factory):
    """The folder of one that has no coarse head."""
    folder = tmp_path_factory.mktemp("prior") / "headless"
    rainy_prior(head=False).save(folder)
    return str(folder)


@pytest.fixture(scope="session")
def write_months():
    """Write a GCM's months on 5° × 10° cells as a NetCDF file; return its path."""

    def write(path, start="2000-01", months=2, calendar="noleap", seed=0):
        lat, lon = np.arange(-87.5, 90, 5), np.arange(0.0, 360, 10)
        edges = xr.date_range(
            f"{start}-01", periods=months + 1, freq="MS", calendar=calendar, use_cftime=True
        )
        days = np.array([(edge - edges[0]).days for edge in edges], float)
        rain = np.random.default_rng(seed).uniform(0.5, 1.2, (months, len(lat), len(lon)))
        time = {"units": f"days since {start}-01", "calendar": calendar, "bounds": "time_bnds"}
        dataset = xr.Dataset(
            {
                "pr": (("time", "lat", "lon"), rain / 86400, {"units": "kg m-2 s-1"}),
                "time_bnds": (("time", "bnds"), np.stack([days[:-1], days[1:]], 1)),
            },
            coords={
                "time": ("time", (days[:-1] + days[1:]) / 2, time),
                "lat": ("lat", lat, {"units": "degrees_north"}),
                "lon": ("lon", lon, {"units": "degrees_east"}),
            },
            attrs={"source_id": "TEST", "tracking_id": "hdl:1/2"},
        )
        dataset.to_netcdf(path, engine="netcdf4")
        return str(path)

    return write


def shard_bytes(store):
    """Every shard's object of a store, by its key."""
    root = Path(store)
    found = root.glob("*/*/*/pr/c/**/*")
    return {str(path.relative_to(root)): path.read_bytes() for path in found if path.is_file()}


@pytest.fixture(scope="session")
def shards():
    """Reads the shards of a store."""
    return shard_bytes


@pytest.fixture
def config(bundle, write_months, tmp_path):
    """A run of 2 realizations × 2 time shards × 1 region across 0°E; each part may be changed."""

    def make(name="out", months=2, calendar="noleap", start="2000-01", **changes):
        path = tmp_path / f"{calendar}-{start}-{months}.nc"
        if not path.exists():
            write_months(path, start=start, months=months, calendar=calendar)
        source = {"gcm": "TEST", "scenario": "historical", "variant": "r1i1p1f1"}
        tree = {
            "prior": bundle,
            "sources": [{**source, "path": str(path)}],
            "region": {"lat": [10, 30], "lon": [340, 20]},
            "realizations": 2,
            "sampler": {"steps": 1},
            "tiling": {"halo_strides": 0, "shards_per_tile": 1},
            "engine": {"kind": "serial"},
            "output": {"path": str(tmp_path / f"{name}.zarr")},
        }
        return parse_config({**tree, **changes})

    return make


@pytest.fixture(scope="session")
def golden():
    """Inputs and outputs of the published code; skips where they are not at hand."""
    if not GOLDEN.exists():
        pytest.skip("../shared/golden is not here")
    return load_file(GOLDEN / "golden_io.safetensors")


@pytest.fixture(scope="session")
def golden_folder(golden):
    """Where the published weights lie."""
    return GOLDEN
