"""What a taught prior's estimates are worth, measured on training days.

Latents are noised to a few times of the schedule and denoised in one step. What the head reads
from the estimates is sorted into bins, and the mean of what it reads from the clean latents in
each is made monotonic in the least squares sense (pool adjacent violators, Barlow et al. 1972).
The errors' covariance of channels, and their correlation with the neighbour on each axis, are
plain moments. Only the middle of each window counts, as it does when windows are blended.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import isotonic_regression
from torch import Tensor

from longwang_ray.prior.denoiser import Denoiser
from longwang_ray.prior.estimates import SMALLEST, EstimateTables
from longwang_ray.prior.head import CoarseHead
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.latents import Supply
from longwang_ray.training.loader import unit_normal, window_generator

TIMES = tuple(k / 16 for k in range(17))
AT_ONCE = 8
FEWEST = 500
"""Values that a bin's mean is taken of, at least."""

WETTEST, KNOTS = 200.0, 33
MEASURING_STEP = 1 << 42  # of the seed; a training has fewer, its evaluations others


@dataclass(frozen=True)
class Estimator:
    """The networks whose estimates are judged, on one device.

    Attributes:
        denoiser: Makes the estimates.
        head: Reads them.
        space: What the supply's windows are read with.
        window: Days, rows and columns, in fine cells.
        stride: Between windows, likewise.
    """

    denoiser: Denoiser
    head: CoarseHead
    space: LatentSpace
    window: tuple[int, int, int]
    stride: tuple[int, int, int]

    def middle(self, cells: Tensor) -> Tensor:
        """What belongs to one window more than to its neighbours, of ``(…, days, H, W)``."""
        sizes = zip(cells.shape[-3:], self.window, self.stride, strict=True)
        edges = [n * (window - stride) // (2 * window) for n, window, stride in sizes]
        t, i, j = (slice(e, n - e) for e, n in zip(edges, cells.shape[-3:], strict=True))
        return cells[..., t, i, j]

    def read(self, latent: Tensor) -> NDArray[np.float32]:
        """The middle of what the head reads from a batch, flat."""
        return self.middle(self.head(latent)).cpu().numpy().ravel()

    def estimate(self, latent: Tensor, context: Tensor, noise: Tensor, time: float) -> Tensor:
        """What is made in one step of latents noised to a time."""
        denoiser = self.denoiser
        t = latent.new_tensor(time)
        noisy = denoiser.schedule.alpha(t) * latent + denoiser.schedule.sigma(t) * noise
        told = context if denoiser.config.context else None
        return denoiser(noisy, t.expand(len(latent)), told)


@dataclass
class _AtTime:
    """Sums over windows at one time."""

    channels: int
    read: list[NDArray[np.float32]] = field(default_factory=list)
    products: Tensor = field(init=False)
    beside: Tensor = field(default_factory=lambda: torch.zeros(3, 2, dtype=torch.float64))
    count: int = 0

    def __post_init__(self) -> None:
        self.products = torch.zeros(self.channels, self.channels, dtype=torch.float64)

    def add(self, read: NDArray[np.float32], error: Tensor) -> None:
        """A batch: what was read, and errors ``(batch, channel, T, H, W)``."""
        self.read.append(read)
        error = error.cpu().double()
        flat = error.transpose(0, 1).flatten(1)
        self.products += flat @ flat.T
        self.count += flat.shape[1]
        for k, axis in enumerate((2, 3, 4)):
            n = error.shape[axis]
            if n > 1:
                one, other = error.narrow(axis, 0, n - 1), error.narrow(axis, 1, n - 1)
                size = (one.square().sum() + other.square().sum()) / 2
                self.beside[k] += torch.stack([(one * other).sum(), size])

    @property
    def covariance(self) -> Tensor:
        """Of the channels."""
        return self.products / self.count

    @property
    def neighbours(self) -> Tensor:
        """Correlation with the next cell on each axis."""
        return (self.beside[:, 0] / self.beside[:, 1].clamp(min=1e-30)).clamp(0.0, 1.0)


@torch.no_grad()
def measure_estimates(
    estimator: Estimator, supply: Supply, seed: int, windows: int
) -> EstimateTables:
    """Measure the tables on windows of training days.

    Args:
        estimator: The networks.
        supply: Draws the windows.
        seed: Of the windows and their noise.
        windows: How many.
    """
    found: list[_AtTime] = []
    clean: list[NDArray[np.float32]] = []
    for first in range(0, windows, AT_ONCE):
        generators = [
            window_generator(seed, MEASURING_STEP, 0, k)
            for k in range(first, min(first + AT_ONCE, windows))
        ]
        latent, context = _drawn(estimator, supply, generators)
        found = found or [_AtTime(latent.shape[1]) for _ in TIMES]
        clean.append(estimator.read(latent))
        for into, time in zip(found, TIMES, strict=True):
            noise = torch.cat([unit_normal(g, latent.shape[1:])[None] for g in generators])
            estimate = estimator.estimate(latent, context, noise.to(latent), time)
            into.add(estimator.read(estimate), estimator.middle(estimate - latent))
    truth = np.concatenate(clean)
    knots = np.geomspace(SMALLEST, WETTEST, KNOTS)
    rows = [regression(np.concatenate(one.read), truth, knots) for one in found]
    return EstimateTables.of(
        torch.tensor(TIMES),
        torch.from_numpy(knots),
        torch.from_numpy(np.stack(rows)),
        torch.stack([one.covariance for one in found]),
        torch.stack([one.neighbours for one in found]),
    )


def regression(
    read: NDArray[np.floating], truth: NDArray[np.floating], knots: NDArray[np.floating]
) -> NDArray[np.float64]:
    """The increasing function nearest to ``E[truth | read]``, on knots.

    Args:
        read: What estimates read, mm/day.
        truth: What clean latents read, the same shape.
        knots: Where, mm/day, increasing. Beyond the data the ratio to the nearest bin is kept.
    """
    order = np.argsort(read, kind="stable")
    read, truth = read[order].astype(np.float64), truth[order].astype(np.float64)
    count = len(read)
    fewest = min(FEWEST, max(count // 2, 1))
    edges = [0]
    for edge in np.searchsorted(read, knots):
        if edge - edges[-1] >= fewest and count - edge >= fewest:
            edges.append(int(edge))
    sizes = np.diff([*edges, count])
    x, y = (np.add.reduceat(values, edges) / sizes for values in (read, truth))
    y = isotonic_regression(y, weights=sizes).x
    x, y, at = (np.log(values + SMALLEST) for values in (x, y, knots))
    inside = np.interp(at, x, y)
    beyond = np.minimum(at - x[0], 0.0) + np.maximum(at - x[-1], 0.0)
    return np.maximum(np.exp(inside + beyond) - SMALLEST, 0.0)


def _drawn(
    estimator: Estimator, supply: Supply, generators: list[np.random.Generator]
) -> tuple[Tensor, Tensor]:
    pairs = [supply.one(generator, estimator.window) for generator in generators]
    sources, contexts = (torch.from_numpy(np.stack(part)) for part in zip(*pairs, strict=True))
    device = next(estimator.head.parameters()).device
    return estimator.space.read(sources.to(device)), contexts.to(device)
