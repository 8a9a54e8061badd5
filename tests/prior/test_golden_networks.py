"""The published architecture and transform, to the last digits of the published code's outputs."""

import json

import pytest
import torch

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.schedule import CosineSquared
from longwang_ray.prior.transform import LogTransform

CLOSE = 1e-4


def relative(found, truth):
    return ((found - truth).norm() / truth.norm()).item()


@pytest.fixture(scope="module")
def autoencoder(golden_folder):
    module = Autoencoder(AutoencoderConfig(16, (1, 2, 4), 1, 4, 4)).eval()
    module.load_state_dict(torch.load(golden_folder / "vae_ema_final.pt", weights_only=True))
    return module.requires_grad_(False)


def test_encoder_and_decoder(autoencoder, golden):
    mean, logvar = autoencoder.encode(golden["vae.x"])
    assert relative(mean, golden["vae.mean"]) < CLOSE
    assert relative(logvar, golden["vae.logvar"]) < CLOSE
    assert relative(autoencoder.decode(golden["vae.z"]), golden["vae.decoded"]) < CLOSE
    assert relative(autoencoder.decode(mean), golden["vae.recon"]) < CLOSE


@pytest.mark.parametrize(
    ("name", "attention", "context", "truth"),
    [
        ("cond", (1,), 5, "unet.eps_cond"),
        ("uncond", (0, 1), 0, "unet.eps_uncond_model"),
    ],
)
def test_u_net(golden_folder, golden, name, attention, context, truth):
    sizes = DenoiserConfig(
        4, (32, 32, 64), (1, 1), ((1, 2, 2), (2, 2, 2)), attention, 4, 32, context
    )
    denoiser = Denoiser(sizes, CosineSquared()).eval().requires_grad_(False)
    file = golden_folder / f"diffusion_{name}_ema_final.pt"
    state = torch.load(file, weights_only=True)
    weights = {k.removeprefix("eps."): v for k, v in state.items() if k.startswith("eps.")}
    denoiser.network.load_state_dict(weights)
    told = golden["unet.c"] if context else None
    x, t = golden["unet.x"], golden["unet.t"]
    epsilon = denoiser.network(x, t, told, None)
    assert relative(epsilon, golden[truth]) < CLOSE
    alpha, sigma = (v.view(-1, 1, 1, 1, 1) for v in (_at("alpha", t), _at("sigma", t)))
    assert relative(denoiser(x, t, told), (x - sigma * golden[truth]) / alpha) < CLOSE


def _at(name, t):
    return getattr(CosineSquared(), name)(t)


def test_schedule(golden):
    assert relative(_at("alpha", golden["sde.t"]), golden["sde.mu"]) < CLOSE
    assert relative(_at("sigma", golden["sde.t"]), golden["sde.sigma"]) < CLOSE


def test_rain_in_mm(autoencoder, golden, golden_folder):
    stats = json.loads((golden_folder / "stats.json").read_text())
    rain, latent = stats["precip_stats"], stats["latent_stats"]
    prior = Prior(
        autoencoder=autoencoder,
        denoiser=None,
        head=None,
        transform=LogTransform(rain["epsilon"], rain["norm_min"], rain["norm_range"]),
        latent_mean=tuple(latent["channel_mean"]),
        latent_std=tuple(latent["channel_std"]),
        window=(32, 32, 32),
        stride=(16, 16, 16),
    )
    assert relative(prior.decode(golden["physical.z"]), golden["physical.mm"][:, 0]) < CLOSE
