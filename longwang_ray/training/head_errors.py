"""How near a freshly taught head comes to its decoder, for the card: held-out windows, as months.

Single windows are decoded, over all their days, with the real operator to grids of several sizes:
it takes a minute where a run's blended fields of whole months (``tests/benchmarks/bench_head.py``)
take many, and says about the same.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from longwang_ray.domain.calendar import Month
from longwang_ray.posterior.fidelity import STEPS, Tally, compare, regular_grid, total
from longwang_ray.posterior.observation import monthly_mean
from longwang_ray.prior.bundle import Prior
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.loader import window_generator
from longwang_ray.training.windows import TRIES, Place, Windows

WINDOWS = 16
JUDGING_STEP = 1 << 41  # of the seed; a training has fewer, its evaluations another


def head_errors(prior: Prior, windows: Windows, seed: int = 0) -> dict[str, Any]:
    """Errors of the head's means over a window's days, by the size of the GCM's cells.

    Args:
        prior: With a head.
        windows: Held-out rain.
        seed: Of the windows' places.

    Returns:
        What a card states: ``{"days": …, "windows": …, "cells": {degrees: {"error", "bias"}}}``;
        cells of which no window holds a whole one are left out.

    Raises:
        TrainingError: As `Windows.one`.
    """
    found: dict[float, list[Tally]] = {step: [] for step in STEPS}
    for index in range(WINDOWS):
        generator = window_generator(seed, JUDGING_STEP, 0, index)
        for step, tally in _errors_of(prior, *_window(prior, windows, generator)).items():
            found[step].append(tally)
    sums = {step: total(tallies) for step, tallies in found.items()}
    cells = {
        f"{step:g}": {"error": round(one.error, 5), "bias": round(one.bias, 5)}
        for step, one in sums.items()
        if one.rain
    }
    return {"days": prior.window[0], "windows": WINDOWS, "cells": cells}


def _window(
    prior: Prior, windows: Windows, generator: np.random.Generator
) -> tuple[Place, NDArray[np.float32]]:
    """A window without missing values, and where it stands."""
    for _ in range(TRIES):
        place = windows.place(generator, prior.window)
        rain = windows.read(place, prior.window)
        if not np.isnan(rain).any():
            return place, rain
    raise windows.too_few_values(rain, prior.window)


@torch.no_grad()
def _errors_of(prior: Prior, place: Place, rain: NDArray[np.float32]) -> dict[float, Tally]:
    if prior.head is None:
        raise TrainingError(f"prior {prior.name} has no head to judge")
    device = next(prior.head.parameters()).device
    days, rows, columns = prior.window
    mean, _ = prior.autoencoder.encode(
        prior.transform.forward(torch.from_numpy(rain).to(device))[None, None]
    )
    here = (1, -1, 1, 1, 1)
    latent = (mean - mean.new_tensor(prior.latent_mean).view(here)) / mean.new_tensor(
        prior.latent_std
    ).view(here)
    read, decoded = prior.head(latent)[0], prior.decode(latent)[0]
    cells = (
        np.arange(place.row, place.row + rows),
        np.arange(place.column, place.column + columns) % prior.grid.n_lon,
    )
    found = {}
    for step in STEPS:
        gcm = regular_grid(step)
        operator = monthly_mean([Month(1, 1, 0, days)], (0, days), prior.grid, *cells, gcm)
        found[step] = compare(read, decoded, operator.to(device), gcm)
    return found
