"""A synthetic Earth: daily rain that behaves like rain, made from a seed.

The demonstration prior needs something true to learn, and nothing may be downloaded. So rain is a
thresholded Gaussian field. At every cell

    g = Σ_o w_o(φ) g_o,    g_o(t + 1) = a_o · shift(g_o(t)) + √(1 − a_o²) · smooth_o(white noise)

is a sum over octaves ``o`` of smoothed noise, carried along each latitude by the mean wind
(``shift``) and forgotten after ``τ_o = −1 / ln a_o`` days. With the local chance of rain ``p`` and
the mean wet-day amount ``m`` of the place and season,

    u = (Φ(g) − (1 − p)) / p,   rain = m · (−ln(1 − u))^κ / Γ(1 + κ)   where u > 0, else 0,

which is intermittent (``p``), heavy-tailed (κ > 1, a stretched exponential), scaling in space (the
octaves), and moving. Climatology has an ITCZ that follows the sun, further over land, subtropical
dry zones, storm tracks, and dry continental interiors. It is no reanalysis: no cell of it ever
happened.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from longwang_ray.data.land import land_fraction
from longwang_ray.data.source import MonthlySource
from longwang_ray.domain.calendar import day_number, month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid, overlap_lat, overlap_lon

KAPPA = 1.45
"""Exponent of the stretched exponential: 1 is an exponential tail, more is heavier."""

SPIN_UP_DAYS = 30
SCALES = (1.0, 2.0, 4.0, 8.0, 16.0, 48.0)
"""Smoothing of each octave, in 0.25° cells of latitude."""

LIFETIMES = (1.0, 1.4, 2.0, 2.8, 4.0, 12.0)
"""Memory of each octave in days: the large outlive the small."""

NOISE_DOMAIN = 0x5E71

CALENDAR = "noleap"
MONTH = "2001-11"
MONTH_SEED = 7
"""Of the synthetic month; training days have seeds from 1000 on."""

GCM_SHAPE = (192, 288)
"""Rows and columns of the synthetic GCM, those of CMCC-CM2: about 1°, nested in no 0.25° cell."""


@dataclass(frozen=True)
class Climate:
    """What a place and season are like.

    Attributes:
        wet: Chance that a day is wet, shape ``(lat, lon)``.
        amount: Mean rain of a wet day, shape ``(lat, lon)``, mm/day.
    """

    wet: np.ndarray
    amount: np.ndarray


def _bump(x: np.ndarray, centre: float | np.ndarray, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((x - centre) / width) ** 2)


@lru_cache(maxsize=1)
def _continentality() -> np.ndarray:
    """How deep inside a continent a cell lies: the land fraction within about 12 degrees."""
    land = land_fraction().astype(np.float64)
    kernel = _bump(np.arange(-100, 101), 0.0, 30.0)
    kernel /= kernel.sum()
    periodic = np.concatenate([land[:, -100:], land, land[:, :100]], axis=1)
    rows = np.apply_along_axis(np.convolve, 1, periodic, kernel, "valid")
    padded = np.pad(rows, ((100, 100), (0, 0)), mode="edge")
    return np.apply_along_axis(np.convolve, 0, padded, kernel, "valid")


def climate(year_fraction: float) -> Climate:
    """Chance and amount of rain at every cell at a time of the year.

    Args:
        year_fraction: 0 at the start of January, 1 at the end of December.
    """
    grid = era5_grid()
    lat = grid.lat[:, None]
    land, inland = land_fraction(), _continentality()
    sun = math.sin(2 * math.pi * (year_fraction - 0.30))  # northernmost in late July
    winter_north, winter_south = 0.5 - 0.5 * sun, 0.5 + 0.5 * sun

    itcz = _bump(lat, 3.0 + 6.0 * sun + 9.0 * sun * inland, 6.5)
    tracks = (0.7 + 0.5 * winter_north) * _bump(lat, 46.0 + 6.0 * sun, 11.0)
    tracks = tracks + (0.9 + 0.3 * winter_south) * _bump(lat, -50.0 + 4.0 * sun, 11.0)
    wave = 0.75 + 0.25 * np.sin(np.deg2rad(grid.lon[None, :] * 2.0) + 0.04 * lat)
    dry = _bump(lat, 24.0 + 5.0 * sun, 8.0) + _bump(lat, -23.0 + 5.0 * sun, 8.0)

    wet = 0.15 + 0.62 * itcz * wave + 0.50 * tracks * wave + 0.15 * _bump(abs(lat), 70.0, 14.0)
    wet = wet * (1.0 - 0.55 * dry) * (1.0 - 0.55 * inland * (1.0 - itcz)) * (1.0 + 0.10 * land)
    amount = 3.0 + 10.0 * itcz + 5.5 * tracks + 3.0 * dry + 2.5 * land * itcz - 1.5 * inland
    amount = amount * (1.0 - 0.75 * _bump(abs(lat), 90.0, 18.0))
    return Climate(np.clip(wet, 0.02, 0.85), np.maximum(amount, 0.6))


@lru_cache(maxsize=1)
def _drift() -> np.ndarray:
    """Mean wind of each row in degrees of longitude a day: easterly in the tropics."""
    lat = era5_grid().lat
    speed = 9.0 * (_bump(lat, 47.0, 14.0) + _bump(lat, -47.0, 14.0)) - 5.0 * _bump(lat, 0.0, 12.0)
    return speed


class _Octave:
    """One scale of the Gaussian field, kept as zonal wave numbers of every row."""

    def __init__(self, scale: float, lifetime: float) -> None:
        grid = era5_grid()
        lat = grid.lat
        self.memory = math.exp(-1.0 / lifetime)
        width = np.maximum(np.cos(np.deg2rad(lat)), 0.06)
        cutoff = int(min(grid.n_lon // 2, 3.2 * grid.n_lon / (2 * math.pi * scale)))
        wave = np.arange(1, cutoff + 1)
        radians = 2 * math.pi * wave[None] / grid.n_lon  # a cell, of each wave
        zonal = np.exp(-0.5 * (radians * scale / width[:, None]) ** 2)
        meridional = _bump(lat[:, None] / 0.25, lat[None, :] / 0.25, scale)
        meridional[meridional < 1e-6] = 0.0
        # A wave of unit complex noise has variance 2 on the circle: normalise every row to 1.
        variance = meridional**2 @ (2.0 * zonal**2).sum(axis=1)
        self.zonal = torch.from_numpy(zonal.astype(np.float32))
        self.meridional = torch.from_numpy(
            (meridional / np.sqrt(variance)[:, None]).astype(np.float32)
        )
        self.turn = torch.from_numpy(np.exp(-1j * np.deg2rad(_drift())[:, None] * wave)).to(
            torch.complex64
        )
        self.state = torch.zeros(zonal.shape, dtype=torch.complex64)

    def step(self, generator: np.random.Generator) -> torch.Tensor:
        """Carry the field one day on and return its waves, shape ``(lat, wave)``."""
        noise = torch.from_numpy(
            generator.standard_normal((*self.zonal.shape, 2), dtype=np.float32)
        ) * (0.5**0.5 * self.zonal[..., None])
        fresh = torch.einsum("ij,jmc->imc", self.meridional, noise).contiguous()
        innovation = math.sqrt(1.0 - self.memory**2)
        self.state = self.memory * self.turn * self.state
        self.state = self.state + innovation * torch.view_as_complex(fresh)
        return self.state


def _octave_weights() -> torch.Tensor:
    """Share of each octave at each latitude, ``(octave, lat, 1)``; squares sum to one.

    Tropical rain is convective and small, storm-track rain frontal and large.
    """
    lat = era5_grid().lat
    scales = np.array(SCALES)[:, None]
    slope = 0.62 + 0.28 * (1.0 - _bump(lat, 5.0, 18.0))[None, :]
    variance = np.minimum(scales, 12.0) ** (2 * slope)
    variance[-1] *= 0.45
    return torch.from_numpy(np.sqrt(variance / variance.sum(0)).astype(np.float32))[..., None]


class SyntheticEarth:
    """Daily rain over the globe, one day after another.

    Args:
        seed: Everything follows from it.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def days(self, start: int, count: int, days_in_year: int = 365) -> Iterator[np.ndarray]:
        """Rain of ``count`` days from day ``start`` of a year of ``days_in_year`` days.

        Runs with the same seed and start agree to the bit. A month before the start is thrown
        away, so that the first day is as correlated as any other.

        Yields:
            Rain on the ERA5 grid, shape ``(720, 1440)``, mm/day, float32.
        """
        generator = np.random.Generator(np.random.Philox(key=[self.seed, NOISE_DOMAIN + start]))
        octaves = [_Octave(s, t) for s, t in zip(SCALES, LIFETIMES, strict=True)]
        weights = _octave_weights()
        for day in range(start - SPIN_UP_DAYS, start + count):
            waves = [octave.step(generator) for octave in octaves]
            if day >= start:
                season = climate((day % days_in_year + 0.5) / days_in_year)
                yield _rain(_to_cells(waves, weights), season)


def _to_cells(waves: list[torch.Tensor], weights: torch.Tensor) -> torch.Tensor:
    n_lon = era5_grid().n_lon
    total = torch.zeros(weights.shape[1], n_lon // 2 + 1, dtype=torch.complex64)
    for wave, weight in zip(waves, weights, strict=True):
        total[:, 1 : wave.shape[1] + 1] += weight * wave
    return torch.fft.irfft(total, n=n_lon, norm="forward")


def _rain(gaussian: torch.Tensor, season: Climate) -> np.ndarray:
    wet = torch.from_numpy(season.wet.astype(np.float32))
    amount = torch.from_numpy(season.amount.astype(np.float32))
    # 1 − u, the chance of a wetter day given a wet one; the clamp caps 1-in-10⁶ of wet days.
    exceedance = (torch.special.ndtr(-gaussian) / wet).clamp(1e-6, 1.0)
    rain = amount * (-exceedance.log()) ** KAPPA / math.gamma(1.0 + KAPPA)
    return rain.to(torch.float32).numpy()


def synthetic_days(month: str = MONTH, seed: int = MONTH_SEED) -> Iterator[np.ndarray]:
    """The days of a synthetic month: the truth behind `synthetic_month`.

    The weather follows from the seed and the place of the month in the year; all years are alike.

    Args:
        month: ``"YYYY-MM"``, in the calendar without leap days.
        seed: Of the synthetic Earth.

    Returns:
        Rain on the ERA5 grid day by day, shape ``(720, 1440)``, mm/day, float32.
    """
    (found,) = month_record(CALENDAR, month, 1).months
    start = found.start - day_number(CALENDAR, found.year, 1)
    return SyntheticEarth(seed).days(start, found.days)


def synthetic_month(month: str = MONTH, seed: int = MONTH_SEED) -> MonthlySource:
    """One month as a climate model of about 1° would have it, made from the synthetic Earth.

    The mean of `synthetic_days` over each cell of a 192 × 288 grid, by exact overlap of areas.
    It is deterministic, masked nowhere, and takes about eight seconds on one core.

    Args:
        month: ``"YYYY-MM"``, in the calendar without leap days.
        seed: Of the synthetic Earth.

    Raises:
        ValueError: if ``month`` is no month.
    """
    record = month_record(CALENDAR, month, 1)
    fine, coarse = era5_grid(), _gcm_grid()
    total = np.zeros(fine.shape)
    with _one_thread():
        for day in synthetic_days(month, seed):
            total += day
    lat = overlap_lat(coarse.lat_bounds, fine.lat_bounds).weights
    lon = overlap_lon(coarse.lon_bounds, fine.lon_bounds).weights
    rain = lat @ (total / record.n_days) @ lon.T
    attributes = {
        "title": "synthetic Earth: no cell of it ever happened",
        "source_id": "Synthetic",
        "synthetic_seed": str(seed),
    }
    return MonthlySource(rain[None].astype(np.float32), coarse, record, attributes)


def _gcm_grid() -> RectilinearGrid:
    """Rows from pole to pole, both poles included; columns from 0°E."""
    n_lat, n_lon = GCM_SHAPE
    lon = 360.0 / n_lon * np.arange(n_lon)
    return RectilinearGrid.from_centres(np.linspace(90.0, -90.0, n_lat), lon)


@contextmanager
def _one_thread() -> Iterator[None]:
    """Sums in one order: the month's digest must not depend on how many cores there are."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
