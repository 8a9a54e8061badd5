"""The published sampling and guidance, through our sampler, blending and score guidance.

Its observation is the sum over a window's days; ours is their mean. With y and std divided by the
days and γ by their square the two posteriors are the same.
"""

import json
from dataclasses import dataclass, replace

import pytest
import torch

from longwang_ray.domain.lattice import Extent, Span
from longwang_ray.posterior.blending import Blend, BlendedDenoiser, Resolution
from longwang_ray.posterior.guidance import ScoreGuidance
from longwang_ray.posterior.observation import MonthlyMean, Observation
from longwang_ray.posterior.reading import WindowReader
from longwang_ray.posterior.sampler import sample
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.schedule import CosineSquared
from longwang_ray.prior.transform import LogTransform

SINGLE, PATH = 1e-4, 1e-3
STD, GAMMA = 50.0, 0.01
FACTOR = 4
WINDOW = Span(start=0, size=8, offsets=(0,), window=8, overlap=1)


def relative(found, truth):
    return ((found - truth).norm() / truth.norm()).item()


@dataclass(frozen=True)
class Late:
    """A schedule that begins at ``start`` instead of 1."""

    schedule: CosineSquared
    start: float

    def alpha(self, t):
        return self.schedule.alpha(self.start * t)

    def sigma(self, t):
        return self.schedule.sigma(self.start * t)


@pytest.fixture(scope="module")
def prior(golden_folder):
    def weights(file, prefix=""):
        state = torch.load(golden_folder / file, weights_only=True)
        return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}

    auto = Autoencoder(AutoencoderConfig(16, (1, 2, 4), 1, 4, 4))
    auto.load_state_dict(weights("vae_ema_final.pt"))
    sizes = DenoiserConfig(4, (32, 32, 64), (1, 1), ((1, 2, 2), (2, 2, 2)), (1,), 4, 32, 5)
    denoiser = Denoiser(sizes, CosineSquared())
    denoiser.network.load_state_dict(weights("diffusion_cond_ema_final.pt", "eps."))
    free = Denoiser(replace(sizes, attention=(0, 1), context=0), CosineSquared())
    free.network.load_state_dict(weights("diffusion_uncond_ema_final.pt", "eps."))
    for module in (auto, denoiser, free):
        module.eval().requires_grad_(False)
    stats = json.loads((golden_folder / "stats.json").read_text())
    rain, latent = stats["precip_stats"], stats["latent_stats"]
    prior = Prior(
        autoencoder=auto,
        denoiser=denoiser,
        head=None,
        transform=LogTransform(rain["epsilon"], rain["norm_min"], rain["norm_range"]),
        latent_mean=tuple(latent["channel_mean"]),
        latent_std=tuple(latent["channel_std"]),
        window=(32, 32, 32),
        stride=(16, 16, 16),
    )
    return prior, free


@pytest.fixture(scope="module")
def blend():
    return Blend(Extent(WINDOW, WINDOW, WINDOW), 1)


@torch.no_grad()
@pytest.mark.parametrize("name", ["cond", "uncond"])
def test_deterministic_path(prior, blend, golden, name):
    conditional, free = prior
    for k, noise in enumerate(golden["sample.noise"]):
        context = golden["unet.c"][k : k + 1] if name == "cond" else None
        network = conditional.denoiser if name == "cond" else free
        denoise = BlendedDenoiser(blend, network, context)
        found = sample(denoise, noise, CosineSquared(), 8)
        assert relative(found, golden[f"sample.{name}"][k]) < PATH


def area_mean(lat):
    """The published operator without its sum over days: cos-latitude-weighted 4 × 4 means."""
    weight = torch.cos(torch.deg2rad(lat))
    coarse = len(lat) // FACTOR
    rows = torch.eye(coarse).repeat_interleave(FACTOR, 1) * weight
    columns = torch.eye(8).repeat_interleave(FACTOR, 1) / FACTOR
    month = torch.full((1, 32), 1 / 32)
    rows = rows / rows.sum(1, keepdim=True)
    return MonthlyMean(month, rows, columns, torch.ones(coarse, 8).bool())


def test_operator_is_the_total_over_days(golden):
    operator = area_mean(golden["operator.lat"])
    totals = torch.cat([32 * operator(field) for field in golden["operator.field"]])
    assert relative(totals, golden["operator.total"]) < SINGLE


def guided(prior, blend, golden, k, through):
    operator = area_mean(golden["operator.lat"])
    y = golden["guided.y"][k : k + 1] / 32
    seen = Observation(y, torch.full_like(y, STD / 32), torch.ones_like(y).bool())
    denoise = BlendedDenoiser(blend, prior.denoiser, golden["unet.c"][k : k + 1])
    decode = WindowReader(
        blend, lambda w, _: prior.decode(w, clamp=False)[:, None], Resolution(4, 4, 4)
    )
    pull_back = denoise.pull_back if through else None
    schedule, gamma = CosineSquared(), GAMMA / 32**2
    return ScoreGuidance(denoise, schedule, decode, operator, seen, pull_back, gamma)


@torch.no_grad()
@pytest.mark.parametrize(("through", "truth"), [(True, "eps_full"), (False, "eps_detached")])
def test_guided_noise(prior, blend, golden, through, truth):
    t, schedule = golden["guided.t"], CosineSquared()
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    for k, x in enumerate(golden["unet.x"]):
        clean = guided(prior[0], blend, golden, k, through)(x, t)
        epsilon = (x - alpha * clean) / sigma
        assert relative(epsilon, golden[f"guided.{truth}"][k]) < SINGLE


@torch.no_grad()
def test_guided_path(prior, blend, golden):
    start = golden["guided.start"].item()
    late = Late(CosineSquared(), start)
    denoise = guided(prior[0], blend, golden, 0, True)
    first = golden["sample.noise"][0] / late.sigma(torch.tensor(1.0))  # it starts at the noise
    found = sample(lambda x, t: denoise(x, start * t), first, late, 4)
    assert relative(found, golden["guided.path4"][0]) < PATH
