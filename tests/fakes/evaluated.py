"""An evaluation that nobody ran: scenes of thresholded noise, their statistics, made-up scores."""

import numpy as np

from longwang_ray.evaluation.examples import ExampleDays, Examples, FactorHistogram
from longwang_ray.evaluation.figures import CoarseMonth
from longwang_ray.evaluation.pooled import merge, pool_scene
from longwang_ray.evaluation.scene import Scene
from longwang_ray.evaluation.summary import Interval, Summary

SLOPES = {"conditional": 1.6, "unconditional": 1.5, "trilinear": 2.6, "analogue": 1.6}
"""Of each method's amplitudes over wavenumber; the truth's is 1.6."""

SCORES = {
    "r2_monthly": (0.9, 0.05), "wasserstein": (0.3, 0.1), "crps": (1.9, 0.4),
    "monthly_consistency": (0.02, 0.01), "wet_fraction": (0.34, 0.1), "dry_fraction": (0.4, 0.1),
    "r95p": (0.31, 0.05), "r99p": (0.1, 0.03), "lag1": (0.4, 0.15), "mean": (3.5, 1.5),
    "p99": (28.0, 5.0), "p999": (55.0, 9.0), "length": (9.0, 2.0), "r2_monthly_mean": (0.95, 0.02),
    "lag1_cells": (0.3, 0.1), "reliability": (0.05, 0.02), "cell_consistency": (0.03, 0.01),
    "spectrum_ratio_short": (1.3, 0.2), "fss": (0.5, 0.1), "spread_skill": (0.97, 0.08),
    "spectrum_ratio_max": (1.2, 0.1), "closure_before": (0.08, 0.03),
    "closure_after": (2e-6, 1e-6),
}  # fmt: skip
OF_TRUTH = (
    "wet_fraction", "dry_fraction", "r95p", "r99p", "lag1", "lag1_cells", "mean", "p99", "p999",
    "length",
)  # fmt: skip


def noise(rng, shape, slope):
    """Gaussian noise of unit variance whose amplitude falls as wavenumber^−slope."""
    wavenumber = np.hypot(np.fft.fftfreq(shape[-2])[:, None], np.fft.fftfreq(shape[-1]))
    wavenumber[0, 0] = np.inf
    smooth = np.fft.ifft2(np.fft.fft2(rng.standard_normal(shape)) * wavenumber**-slope).real
    return smooth / smooth.std()


def rain(rng, shape, slope=1.6, wet=0.35):
    field = noise(rng, shape, slope)
    over = np.maximum(field - np.quantile(field, 1 - wet), 0)
    return (9 * over**1.6).astype(np.float32)


def place(cells):
    """Cells across 0°E, north first."""
    return 36 - 0.25 * (np.arange(cells) + 0.5), (350 + 0.25 * (np.arange(cells) + 0.5)) % 360


def summary(rng, methods=SLOPES, realizations=4, scenes=2, cells=32, days=28):
    """Statistics of scenes, and scores that fit the names but nothing else."""
    lat, lon = place(cells)
    pooled = {}
    for month in range(1, scenes + 1):
        truth = rain(rng, (days, cells, cells))
        fields = {
            name: rain(
                rng,
                (1 if name == "trilinear" else realizations, days, cells, cells),
                SLOPES.get(name, 1.6),
            )
            for name in methods
        }
        scene = Scene(f"2001-{month:02d} 28N 350E", month, lat, lon, truth, fields)
        pooled = merge(pooled, pool_scene(scene))
    scores = {name: {key: _interval(rng, *SCORES[key]) for key in SCORES} for name in methods}
    scores["truth"] = {key: _interval(rng, *SCORES[key]) for key in OF_TRUTH}
    return Summary("A perfect-model test", 48, scores, pooled)


def _interval(rng, mean, width):
    middle = mean + 0.3 * width * rng.standard_normal()
    return Interval(middle, middle - width, middle + width)


def examples(rng, methods=SLOPES, cells=32, realizations=2, observed=True):
    """Fields to draw; ``observed=False``: no month said anything, and nothing was closed."""
    lat, lon = place(cells)
    shape = (3, cells, cells)
    days = ExampleDays(
        lat,
        lon,
        [f"2001-01-{day:02d}" for day in (9, 10, 11)],
        rain(rng, shape),
        {
            name: rain(
                rng, (1 if name == "trilinear" else realizations, *shape), SLOPES.get(name, 1.6)
            )
            for name in methods
        },
        gcm_month(rng.gamma(2, 2, (72, 144)), "2001-01"),
    )
    inside = np.full((72, 144), np.nan)
    if observed:
        inside[47:50, [*range(140, 144), 0, 1]] = 1.0
    return Examples(
        days=[days],
        conflict=[
            gcm_month(inside * rng.chisquare(1, inside.shape), f"2001-{month:02d}")
            for month in (1, 4, 7, 10)
        ],
        factors=FactorHistogram.of(np.exp(rng.normal(0, 0.12, 20000 * observed))),
        lat=lat,
        lon=lon,
        bias={name: 0.4 * noise(rng, (cells, cells), 1.2) for name in methods},
    )


def gcm_month(values, name):
    """On cells of 2.5°."""
    edge, west = np.linspace(-90, 90, 73), 2.5 * np.arange(144)
    lat_bounds = np.stack([edge[:-1], edge[1:]], axis=1)
    return CoarseMonth(values, lat_bounds, np.stack([west, west + 2.5], axis=1), name)
