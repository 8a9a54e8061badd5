"""Latents of whole days, encoded once: for autoencoders whose days never meet and that are local.

A denoiser sees each day hundreds of times in different windows, and encoding costs as much as a
training step. Where the autoencoder has no window of its own (``per_day``), the box is encoded day
by day instead, round the circle where it closes, and windows are cut from the latents.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.days import Box, Days, KeptDays, digest_of
from longwang_ray.training.windows import TRIES, Window, Windows

MARGIN = 64
"""Fine columns repeated on either side of 0°E while encoding: more than the encoder sees."""


@dataclass(frozen=True, eq=False)
class LatentWindows:
    """A supply of latent windows, at the places where `Windows` would draw rain.

    Attributes:
        windows: The days and their places.
        latents: Latents of each day, ``(channel, H, W)``, of the box's whole latent cells.
        compression: Fine cells a latent cell, on both axes.
    """

    windows: Windows
    latents: KeptDays
    compression: int

    def one(
        self, generator: np.random.Generator, window: Window
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A random window of latents ``(channel, days, H, W)`` and its context ``(5,)``.

        Args:
            generator: Where it is drawn from.
            window: Days, rows and columns, in fine cells.

        Raises:
            TrainingError: As `Windows.one`.
        """
        for _ in range(TRIES):
            place = self.windows.place(generator, window)
            latent = self._read(place.day, place.row, place.column, window)
            if np.isfinite(latent).all():
                return latent, place.context
        raise self.windows.too_few_values(self.windows.read(place, window), window)

    def draw(
        self, generator: np.random.Generator, count: int, window: Window
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Several: latents ``(count, channel, days, H, W)``, contexts ``(count, 5)``."""
        pairs = [self.one(generator, window) for _ in range(count)]
        return np.stack([z for z, _ in pairs]), np.stack([c for _, c in pairs])

    def _read(self, day: int, row: int, column: int, window: Window) -> NDArray[np.float32]:
        box, c = self.latents.box, self.compression
        rows, columns = window[1] // c, window[2] // c
        top = (row - box.first_row) // c
        west = (column - box.first_column) % self.latents.grid.n_lon // c
        across = np.arange(west, west + columns) % (box.n_columns // c)
        strips = [self.latents.field(d)[:, top : top + rows] for d in range(day, day + window[0])]
        return np.stack([strip[..., across] for strip in strips], axis=1).astype(np.float32)


Supply = Windows | LatentWindows
"""Draws one window: rain or latents, and the context."""


def supply_of(
    windows: Windows, autoencoder: Autoencoder, transform: LogTransform, folder: Path
) -> Supply:
    """Latents of whole days where days never meet; else the rain, encoded with each batch.

    Args:
        windows: Days of rain.
        autoencoder: Encodes them.
        transform: Rain to the networks' unit.
        folder: Where latents are kept.
    """
    if not autoencoder.config.per_day:
        return windows
    return encode_days(windows, autoencoder, transform, folder)


def encode_days(
    windows: Windows, autoencoder: Autoencoder, transform: LogTransform, folder: Path
) -> LatentWindows:
    """Windows of latents; each day is encoded when it is first needed and kept as float16.

    Args:
        windows: Days of rain.
        autoencoder: Encodes day by day, on whatever device it is.
        transform: Rain to the networks' unit.
        folder: Where latents are kept, under the digest of the encoder and of the days.
    """
    days, step = windows.days, autoencoder.config.compression[2]
    box = days.box.inside(step)
    made_from = (encoder_digest(autoencoder), repr(transform), _identity(days), repr(box))
    encoder = _DayEncoder(days, box, autoencoder, transform)
    place = folder / f"latents-{digest_of(*made_from)}"
    alone = np.arange(len(days.numbers))
    latents = KeptDays(days.grid, box, days.numbers, days.calendar, place, encoder, alone)
    return LatentWindows(windows, latents, step)


def _identity(days: Days) -> str:
    """What tells these days from others that the same folder may hold."""
    return days.folder.name if isinstance(days, KeptDays) else f"{days.box} {days.calendar}"


class _DayEncoder:
    """Encodes days of a box; one at a time, for a network has one device."""

    def __init__(
        self, days: Days, box: Box, autoencoder: Autoencoder, transform: LogTransform
    ) -> None:
        self._days, self._box = days, box
        self._autoencoder, self._transform = autoencoder, transform
        self._device = next(autoencoder.parameters()).device
        self._lock = threading.Lock()

    def __call__(self, first: int, stop: int) -> Iterator[NDArray[np.float16]]:
        for day in range(first, stop):
            yield self._encode(self._days.field(day))

    @torch.no_grad()
    def _encode(self, day: NDArray[np.float16]) -> NDArray[np.float16]:
        whole, box = self._days.box, self._box
        top, west = box.first_row - whole.first_row, box.first_column - whole.first_column
        cut = day[top : top + box.n_rows, west : west + box.n_columns]
        margin = min(MARGIN, box.n_columns) if box.wraps else 0
        around = np.pad(cut.astype(np.float32), ((0, 0), (margin, margin)), mode="wrap")
        rain = self._transform.forward(torch.from_numpy(around).to(self._device))
        with self._lock:
            mean, _ = self._autoencoder.encode(rain[None, None, None])
        edge = margin // self._autoencoder.config.compression[2]
        columns = box.n_columns // self._autoencoder.config.compression[2]
        return mean[0, :, 0, :, edge : edge + columns].float().cpu().numpy().astype(np.float16)


def encoder_digest(autoencoder: Autoencoder) -> str:
    """Sixteen hex digits that name an encoder by its weights."""
    digest = hashlib.sha256()
    for tensor in autoencoder.encoder.state_dict().values():
        digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:16]
