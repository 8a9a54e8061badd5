"""Latents of whole days: those of windows, but for what their edges see; round 0°E; kept."""

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import day_number
from longwang_ray.domain.grid import era5_grid
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.days import Box, KeptDays
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.latents import encode_days
from longwang_ray.training.windows import Part, Windows

GRID = era5_grid(1.25)
TRANSFORM = LogTransform(0.1, 0.0, 7.0)
SEEN = 10  # latent cells that the encoder sees each way
NUMBERS = day_number("noleap", 2001, 3, 1) + np.arange(3)


def autoencoder(seed=0):
    torch.manual_seed(seed)
    return Autoencoder(AutoencoderConfig(4, (1, 1, 1), 1, 2, 1, (1, 3, 3), "cell")).eval()


def windows(folder, box=None, missing=()):
    box = box or Box.globe(GRID)
    rain = np.random.default_rng(0).gamma(0.3, 5.0, (3, box.n_rows, box.n_columns))
    rain[list(missing)] = np.nan
    days = KeptDays(
        GRID, box, NUMBERS, "noleap", folder / "days", lambda a, b: rain[a:b], np.arange(3)
    )
    columns = np.zeros(GRID.n_lon, bool)
    columns[(box.first_column + np.arange(box.n_columns)) % GRID.n_lon] = True
    return Windows(days, (Part(np.ones(3, bool), columns),), 4)


def generator(seed=1):
    return np.random.Generator(np.random.Philox(key=[seed, 0]))


def directly(supply, network, window, seed):
    rain, context = supply.one(generator(seed), window)
    with torch.no_grad():
        mean, _ = network.encode(TRANSFORM.forward(torch.from_numpy(rain))[None, None])
    return mean[0].numpy(), context


def test_latents_are_those_of_windows_away_from_their_edges(tmp_path):
    supply, network, window = windows(tmp_path), autoencoder(), (1, 96, 96)
    kept = encode_days(supply, network, TRANSFORM, tmp_path)
    across = 0
    for seed in range(6):
        latent, context = kept.one(generator(seed), window)
        direct, told = directly(supply, network, window, seed)
        assert np.array_equal(context, told)
        assert latent.shape == direct.shape == (2, 1, 24, 24)
        inside = (..., slice(SEEN, -SEEN), slice(SEEN, -SEEN))
        assert np.abs(latent - direct)[inside].max() < 2e-3
        across += supply.place(generator(seed), window).column > GRID.n_lon - 96
    assert across, "some of them go on across 0°E"


def test_a_box_is_encoded_on_the_globes_latent_cells(tmp_path):
    box = Box(9, 99, 226, 110, False)  # goes on across 0°E; no edge on a latent cell
    supply, network, window = windows(tmp_path, box), autoencoder(), (1, 96, 88)
    kept = encode_days(supply, network, TRANSFORM, tmp_path)
    assert kept.latents.box == Box(12, 96, 228, 108, False)
    latent, context = kept.one(generator(), window)
    direct, told = directly(supply, network, window, 1)
    assert np.array_equal(context, told)
    inside = (..., slice(SEEN, -SEEN), slice(SEEN, -SEEN))
    assert np.abs(latent - direct)[inside].max() < 2e-3


def test_days_are_encoded_once_for_an_encoder(tmp_path):
    supply, window = windows(tmp_path), (2, 16, 16)
    kept = encode_days(supply, autoencoder(), TRANSFORM, tmp_path)
    assert not kept.latents.folder.exists(), "nothing is encoded ahead of its use"
    first, _ = kept.draw(generator(), 4, window)
    assert first.shape == (4, 2, 2, 4, 4)
    again = encode_days(supply, autoencoder(), TRANSFORM, tmp_path)
    assert again.latents.folder == kept.latents.folder
    assert np.array_equal(again.draw(generator(), 4, window)[0], first)
    for other in (
        encode_days(supply, autoencoder(1), TRANSFORM, tmp_path),
        encode_days(supply, autoencoder(), LogTransform(0.1, 0.0, 8.0), tmp_path),
    ):
        assert other.latents.folder != kept.latents.folder


def test_missing_values_are_drawn_around(tmp_path):
    supply = windows(tmp_path, missing=[2])
    kept = encode_days(supply, autoencoder(), TRANSFORM, tmp_path)
    for seed in range(8):
        assert np.isfinite(kept.one(generator(seed), (1, 16, 16))[0]).all()
    with pytest.raises(TrainingError, match="in a row have missing values"):
        kept.one(generator(), (3, 16, 16))
