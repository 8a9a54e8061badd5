"""The published prior as one of ours: its three files in, a `Prior` out.

    autoencoder  ema_final.pt                           sizes from shapes
    denoiser     ema_final.pt, conditional or not       sizes from shapes; ε-prediction, cosine²
    statistics   train_stats.json, latent_stats.json    or both in one file

What shapes cannot tell (heads, strides of the U-Net, compression of days, window and lattice) are
options with the published values. The bundle keeps float32, to compute what was published.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from longwang_ray.domain.grid import era5_grid
from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.bundle import Prior, PriorError, check_lattice
from longwang_ray.prior.checkpoint import (
    Checkpoint,
    autoencoder_sizes,
    denoiser_sizes,
    read_checkpoint,
)
from longwang_ray.prior.denoiser import Denoiser, Triple
from longwang_ray.prior.schedule import CosineSquared
from longwang_ray.prior.statistics import File, read_statistics

PUBLISHED_WINDOW = (32, 128, 128)


def load_official(
    autoencoder: File,
    denoiser: File,
    statistics: File | Sequence[File],
    *,
    heads: int = 4,
    strides: Sequence[Triple] | None = None,
    attention_levels: Sequence[int] | None = None,
    time_compression: int = 4,
    window: Triple = PUBLISHED_WINDOW,
    stride: Triple | None = None,
    name: str = "longwang",
) -> Prior:
    """Read the published files as a prior without a head.

    Args:
        autoencoder: Its checkpoint; bare or wrapped, saved under DDP or not.
        denoiser: The conditional or the unconditional one, likewise.
        statistics: JSON with ``epsilon, norm_min, norm_range`` of rain and ``channel_mean,
            channel_std`` of latents: one file, or one each.
        heads: Attention heads.
        strides: Downsampling (days, lat, lon) below each level of the denoiser; published are
            (1, 2, 2), and (2, 2, 2) from the second level on.
        attention_levels: Levels with self-attention; read from the file, so only checked.
        time_compression: Days a latent step, a power of two.
        window: Days, rows and columns that the networks were trained on.
        stride: Days, rows and columns between windows; about half a window if left out.
        name: Name of the prior.

    Returns:
        The prior, float32, its networks frozen and on the CPU.

    Raises:
        PriorError: if a file cannot be read, is damaged, is another network, or does not fit the
            others or the options.
    """
    encoding = read_checkpoint(autoencoder, "autoencoder")
    denoising = read_checkpoint(denoiser, "denoiser")
    auto = autoencoder_sizes(encoding, time_compression)
    config = denoiser_sizes(denoising, heads, strides, attention_levels)
    if config.latent_channels != auto.latent_channels:
        raise PriorError(
            f"{denoiser}: denoises {config.latent_channels} latent channels, {autoencoder} has "
            f"{auto.latent_channels}; give two that were trained together"
        )
    transform, mean, std = read_statistics(statistics, config.latent_channels)
    with torch.device("meta"):  # 560 M random numbers would only be overwritten
        networks = Autoencoder(auto), Denoiser(config, CosineSquared())
    prior = Prior(
        *networks,
        head=None,
        transform=transform,
        latent_mean=mean,
        latent_std=std,
        window=_three(window, "window"),
        stride=_three(stride or default_stride(window, auto.compression), "stride"),
        weights_dtype=torch.float32,
        card=_card(name, autoencoder=encoding, denoiser=denoising),
    )
    try:
        check_lattice(prior)
    except ValueError as error:
        raise PriorError(f"window {prior.window}, stride {prior.stride}: {error}") from error
    encoding.fill(prior.autoencoder)
    denoising.fill(prior.denoiser.network)
    prior.denoiser.eval()
    return prior.to("cpu")


def _card(name: str, **files: Checkpoint) -> dict[str, Any]:
    origin = {part: {"file": f.path.name, "sha256": f.sha256} for part, f in files.items()}
    return {"name": name, "intended_use": "research", "imported": origin}


def _three(cells: Sequence[int], name: str) -> Triple:
    if len(cells) != 3 or min(cells) < 1:
        raise PriorError(f"{name} is {tuple(cells)}, must be days, rows and columns, each above 0")
    return cells[0], cells[1], cells[2]


def default_stride(window: Triple, compression: Triple) -> Triple:
    """Half a window in whole latent cells; in longitude the next shorter that closes the circle.

    >>> default_stride((32, 128, 128), (4, 4, 4))
    (16, 64, 60)
    """
    cells = zip(_three(window, "window"), compression, strict=True)
    days, rows, half = (max(w // c // 2, 1) for w, c in cells)
    circle = era5_grid().n_lon // compression[2]
    columns = max(n for n in range(1, half + 1) if circle % n == 0)
    return days * compression[0], rows * compression[1], columns * compression[2]


def describe_import(prior: Prior) -> list[tuple[str, str]]:
    """What was read off the files and what was taken for granted, to be printed."""
    sizes = prior.denoiser.config
    told = f"told {sizes.context} numbers" if sizes.context else "unconditional"
    return [
        ("prior", f"{prior.name}, {prior.parameters:,} parameters in float32"),
        ("denoiser", f"channels {sizes.channels}, attention at {sizes.attention}, {told}"),
        ("taken as", f"heads {sizes.heads}, strides {sizes.strides}"),
        ("window", f"{prior.window}, stride {prior.stride}, compression {prior.compression}"),
        ("digest", prior.digest[:16]),
    ]
