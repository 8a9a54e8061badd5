"""A training so small that a test can run it: the globe's days are smooth noise, made at once."""

import numpy as np
import pytest
import yaml

from longwang_ray.config import parse_model
from longwang_ray.training.settings import TrainConfig
from longwang_ray.training.sources import synthetic_days

TINY = """
name: tiny
description: for tests
intended_use: demonstration
output: out
bundle: out/prior
seed: 3
engine: {kind: serial, threads: 1, loaders: 0}
data: {kind: synthetic, seed: 1, sequences: 2, days: 4, held_out: 1}
lattice: {window: [4, 32, 32], stride: [2, 16, 16]}
autoencoder:
  channels: 4
  multipliers: [1, 1, 1]
  blocks: 1
  latent_channels: 2
  time_compression: 1
  kernel: [1, 3, 3]
  norm: cell
  window: [2, 32, 32]
  loss: {spatial: 1.0, temporal: 0.0}
  optimisation: {steps: 6, batch: 2, learning_rate: 5.0e-3, warmup: 2, checkpoint_every: 2}
denoiser:
  channels: [4, 8]
  blocks: [1]
  strides: [[2, 2, 2]]
  attention: []
  embedding: 8
  norm: cell
  optimisation: {steps: 4, batch: 2, warmup: 2, checkpoint_every: 2}
head:
  channels: 4
  estimates: 4
  optimisation: {steps: 4, batch: 2, warmup: 2, checkpoint_every: 2}
"""


def rainy_globe(generator, days):
    """Days that are dry where a smooth noise is low; smooth over 20 cells."""
    coarse = generator.normal(size=(days, 36, 72)) + 1j * generator.normal(size=(days, 36, 72))
    spectrum = np.zeros((days, 720, 1440), np.complex64)
    spectrum[:, :36, :72] = coarse
    smooth = np.fft.ifft2(spectrum, axes=(1, 2)).real
    smooth /= smooth.std()
    return (8 * np.clip(smooth - 0.3, 0, None) ** 1.5).astype(np.float16)


@pytest.fixture(scope="session")
def days_at(tmp_path_factory):
    """Put the days of a training where it looks for them, hard-linked from one copy."""
    kept = tmp_path_factory.mktemp("days")

    def put(config):
        days = synthetic_days(config.data, config.days_folder)
        days.folder.mkdir(parents=True, exist_ok=True)
        for sequence in range(config.data.sequences):
            index = [sequence * config.data.days + day for day in range(config.data.days)]
            sources = [kept / f"{sequence}-{len(index)}-{day}.npy" for day in index]
            if not sources[0].exists():
                rain = rainy_globe(np.random.default_rng(sequence), len(index))
                for source, field in zip(sources, rain, strict=True):
                    np.save(source, field)
            for source, day in zip(sources, index, strict=True):
                days.file(day).hardlink_to(source)

    return put


@pytest.fixture
def tiny(tmp_path, days_at):
    """The tiny training in a folder of its own, its days already there."""

    def make(name="out", *overrides):
        folder = tmp_path / name
        paths = [f"output={folder}", f"bundle={folder / 'prior'}"]
        config = parse_model(TrainConfig, yaml.safe_load(TINY), [*paths, *overrides])
        days_at(config)
        return config

    return make
