"""Latents of whole days, encoded once: for autoencoders whose days never meet and that are local.

A denoiser sees each day hundreds of times in different windows, and encoding costs as much as a
training step. Where the autoencoder has no window of its own (``per_day``), the globe is encoded
day by day instead, round the circle, and windows are cut from the latents.
"""

from __future__ import annotations

import hashlib
import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.windows import Windows

log = logging.getLogger(__name__)
MARGIN = 64
"""Fine columns repeated on either side of 0°E while encoding: more than the encoder sees."""


@dataclass(frozen=True)
class LatentWindows:
    """A supply of latent windows, at the places where ``Windows`` would draw rain.

    Attributes:
        windows: The days and their places.
        latents: Latents of each sequence, ``(day, channel, lat, lon)``.
        compression: Fine cells a latent cell, on both axes.
    """

    windows: Windows
    latents: list[np.ndarray]
    compression: int

    def draw(
        self, generator: np.random.Generator, count: int, window: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        """Random windows of latents ``(count, channel, days, H, W)`` and contexts ``(count, 5)``.

        Args:
            generator: Where they are drawn from.
            count: How many.
            window: Days, rows and columns, in fine cells.
        """
        pairs = [self._one(generator, window) for _ in range(count)]
        return np.stack([z for z, _ in pairs]), np.stack([c for _, c in pairs])

    def _one(
        self, generator: np.random.Generator, window: tuple[int, int, int]
    ) -> tuple[np.ndarray, np.ndarray]:
        s, (day, *corner), context = self.windows.place(generator, window)
        rows, columns = (n // self.compression for n in window[1:])
        i, j = (n // self.compression for n in corner)
        latent = self.latents[s]
        across = np.arange(j, j + columns) % latent.shape[-1]
        cut = latent[day : day + window[0], :, i : i + rows][..., across]
        return cut.astype(np.float32).swapaxes(0, 1), context


@torch.no_grad()
def encode_days(
    windows: Windows, autoencoder: Autoencoder, transform: LogTransform, folder: Path
) -> LatentWindows:
    """Encode every day once and keep the latents as float16.

    Args:
        windows: Days of rain.
        autoencoder: Encodes day by day.
        transform: Rain to the networks' unit.
        folder: Where latents are kept, under the digest of the encoder.
    """
    columns = autoencoder.config.compression[2]
    tag = encoder_digest(autoencoder)
    files = [folder / f"latents-{tag}-{s:03d}.npy" for s in range(len(windows.rain))]
    for index, (days, file) in enumerate(zip(windows.rain, files, strict=True)):
        if file.exists():
            continue
        log.info("latents of sequence %d of %d", index + 1, len(files))
        latents = np.stack([_encode_day(np.asarray(d), autoencoder, transform) for d in days])
        part = file.with_suffix(".part")
        with part.open("wb") as handle:
            np.save(handle, latents)
        os.replace(part, file)
    return LatentWindows(windows, [np.load(f, mmap_mode="r") for f in files], columns)


def _encode_day(day: np.ndarray, autoencoder: Autoencoder, transform: LogTransform) -> np.ndarray:
    rain = torch.from_numpy(day.astype(np.float32))
    around = torch.cat([rain[:, -MARGIN:], rain, rain[:, :MARGIN]], dim=1)
    mean, _ = autoencoder.encode(transform.forward(around)[None, None, None])
    cut = MARGIN // autoencoder.config.compression[2]
    return mean[0, :, 0, :, cut:-cut].float().numpy().astype(np.float16)


def encoder_digest(autoencoder: Autoencoder) -> str:
    """Sixteen hex digits that name an encoder by its weights."""
    digest = hashlib.sha256()
    for tensor in autoencoder.encoder.state_dict().values():
        digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()[:16]
