"""What a training shows of itself at an evaluation: held-out rain and what it makes of it.

The training computes the fields; whoever watches (``evaluation.progress``) draws them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Sight:
    """Pairs of daily fields of ``n`` windows, in mm/day.

    Attributes:
        stage: ``autoencoder``: ``shown`` are reconstructions of ``truth``, and their difference
            means something. ``denoiser``: ``shown`` are samples of the prior for the place and
            season of ``truth``, and it does not.
        step: Optimiser steps done.
        url: The training's output, a folder or an fsspec URL.
        truth: Held-out days, ``(n, lat, lon)``, any float.
        shown: What the network makes of them, likewise.
        title: Which training this is.
        lat: Cell centres of each window, degrees north, ``(n, lat)``; ``None`` draws no coasts.
        lon: Cell centres of each window, degrees east, ``(n, lon)``, across 0°E or not.
        names: What stands over each pair, e.g. its date; or nothing.
    """

    stage: str
    step: int
    url: str
    truth: NDArray[np.floating]
    shown: NDArray[np.floating]
    title: str
    lat: NDArray[np.floating] | None = None
    lon: NDArray[np.floating] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.truth.ndim != 3 or self.truth.shape != self.shown.shape or not len(self.truth):
            raise ValueError(
                f"truth is {self.truth.shape} and shown {self.shown.shape}: both must be the same "
                "(n, lat, lon), n ≥ 1"
            )

    @property
    def redone(self) -> bool:
        """Whether ``shown`` are the days of ``truth`` again, so that they can be subtracted."""
        return self.stage == "autoencoder"


Watch: TypeAlias = Callable[[Sight], NDArray[np.uint8] | None]
"""Draws a sight and returns the picture, ``(height, width, 3)``, for TensorBoard."""
