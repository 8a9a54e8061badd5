"""The networks that a training configuration describes, with fresh weights."""

from __future__ import annotations

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.context import CONTEXT_SIZE
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.training.settings import TrainConfig


def make_autoencoder(config: TrainConfig) -> Autoencoder:
    """Rain ↔ latent."""
    sizes = config.autoencoder.model_dump(exclude={"window", "loss", "optimisation"})
    return Autoencoder(AutoencoderConfig(**sizes))


def make_denoiser(config: TrainConfig) -> Denoiser:
    """The denoiser of standardised latents, with its schedule."""
    sizes = config.denoiser.model_dump(exclude={"context_dropout", "optimisation"})
    channels = config.autoencoder.latent_channels
    return Denoiser(
        DenoiserConfig(latent_channels=channels, context=CONTEXT_SIZE, **sizes),
        Power(**config.schedule.model_dump()),
    )


def make_head(config: TrainConfig) -> CoarseHead:
    """Standardised latent → coarse daily means."""
    auto = config.autoencoder
    return CoarseHead(
        HeadConfig(auto.latent_channels, config.head.channels, auto.time_compression)
    )
