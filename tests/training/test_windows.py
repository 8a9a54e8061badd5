"""Windows: anywhere on the globe, across 0°E, with the context of their place."""

import numpy as np
import pytest
import torch

from longwang_ray.domain.grid import era5_grid
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.latents import encode_days
from longwang_ray.training.stages import encode_windows
from longwang_ray.training.windows import Windows

GRID = era5_grid(5.0)
DAYS, WINDOW = 3, (2, 8, 8)


def generator(seed=0):
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


@pytest.fixture
def windows():
    """Rain that says where it is: the index of its cell."""
    cell = np.arange(GRID.n_lat * GRID.n_lon, dtype=np.float32).reshape(GRID.shape)
    rain = np.stack([cell + 10_000 * day for day in range(DAYS)])
    return Windows([rain], np.array([[0.1, 0.2, 0.3]]), GRID, 4)


def places(windows, count=400):
    rain, context = windows.draw(generator(), count, WINDOW)
    return rain, (rain[:, 0, 0, 0, :] % 10_000).astype(int) % GRID.n_lon, context


def test_windows_cross_greenwich_in_one_piece(windows):
    _, columns, context = places(windows)
    east = np.diff(columns, axis=1) % GRID.n_lon
    assert (east == 1).all(), "neighbours on the circle"
    crossing = columns[:, 0] > columns[:, -1]
    assert crossing.any()
    centre = GRID.lon[columns[:, 0]] + 3.5 * 5.0
    assert np.allclose(context[:, 1], np.sin(np.deg2rad(centre)), atol=1e-6)
    assert np.allclose(context[:, 2], np.cos(np.deg2rad(centre)), atol=1e-6)


def test_windows_stand_on_latent_cells_and_reach_both_edges(windows):
    rain, columns, _ = places(windows)
    rows = (rain[:, 0, 0, :, 0] % 10_000).astype(int) // GRID.n_lon
    assert (columns[:, 0] % 4 == 0).all()
    assert (rows[:, 0] % 4 == 0).all()
    assert rows.min() == 0
    assert rows.max() == GRID.n_lat - 1
    days = (rain[:, 0, :, 0, 0] // 10_000).astype(int)
    assert (np.diff(days, axis=1) == 1).all()


def test_the_same_seed_draws_the_same_windows(windows):
    first, second = (windows.draw(generator(5), 3, WINDOW) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    other, _ = windows.draw(generator(6), 3, WINDOW)
    assert not np.array_equal(first[0], other)


def test_the_draws_of_a_step_are_pinned(windows):
    """Checkpoints go on with the windows that they would have seen: these may never change."""
    found = [windows.place(generator(step), WINDOW)[:2] for step in range(3)]
    assert found == [(0, (0, 0, 44)), (0, (0, 8, 52)), (0, (0, 12, 64))]


def test_latents_of_whole_days_are_those_of_windows_away_from_their_edges(windows, tmp_path):
    torch.manual_seed(0)
    config = AutoencoderConfig(4, (1, 1, 1), 1, 2, 1, (1, 3, 3), "cell")
    autoencoder = Autoencoder(config).eval()
    grid, whole = era5_grid(2.5), (2, 72, 144)
    rain = np.random.default_rng(0).gamma(0.3, 5.0, (DAYS, *grid.shape)).astype(np.float32)
    days = Windows([rain], windows.year_fraction, grid, 4)
    transform = LogTransform(0.1, 0.0, 7.0)
    kept = encode_days(days, autoencoder, transform, tmp_path)
    latent, context = kept.draw(generator(1), 4, whole)
    direct, told = encode_windows(autoencoder, transform, days, generator(1), 4, whole)
    assert np.array_equal(context, told.numpy())
    assert latent.shape == tuple(direct.shape)
    inside = slice(12, -12)  # the encoder sees 40 fine cells each way
    assert np.abs(latent - direct.numpy())[..., inside].max() < 2e-3
    again = encode_days(days, autoencoder, transform, tmp_path)
    assert np.array_equal(again.latents[0], kept.latents[0])
    assert len(list(tmp_path.glob("latents-*.npy"))) == 1
