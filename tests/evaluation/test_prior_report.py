"""A prior's assessment: numbers that can be reckoned, all of it on a tiny prior, its card."""

import json

import numpy as np
import pytest
import torch

from longwang_ray.domain.grid import era5_grid
from longwang_ray.evaluation import training
from longwang_ray.evaluation.model_card import model_card
from longwang_ray.evaluation.prior_report import HeldOutDays, Region, assess_prior
from longwang_ray.evaluation.prior_scores import (
    compare_samples,
    compare_spectra,
    score_head,
    score_reconstruction,
)
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior, open_prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform

PLACES = (Region("Greenwich", (40, 52), (354, 6)), Region("wide", (-6, 6), (100, 116)))


@pytest.fixture
def prior():
    """Small and local, untrained."""
    torch.manual_seed(0)
    config = AutoencoderConfig(4, (1, 1, 1), 1, 2, 1, (1, 3, 3), "cell")
    denoiser = DenoiserConfig(2, (4, 8), (1,), ((2, 2, 2),), (), 2, 8, 5, "cell", "edm")
    parts = (
        Autoencoder(config),
        Denoiser(denoiser, Power()),
        CoarseHead(HeadConfig(2, 4, 1)),
    )
    for part in parts:
        part.eval().requires_grad_(False)
    card = {"name": "tiny", "intended_use": "demonstration", "description": "Of a test."}
    transform = LogTransform(0.1, 0.0, 7.0)
    return Prior(*parts, transform, (0.0, 0.0), (1.0, 1.0), (4, 32, 32), (2, 16, 16), card=card)


def rain(seed, *shape):
    return np.random.default_rng(seed).gamma(0.3, 8.0, shape).astype(np.float32)


@pytest.fixture
def held_out():
    """Two series of one season and one of another; 0°E lies inside the region."""
    grid = era5_grid()
    found = []
    for seed, first in ((1, 730_000), (2, 730_000), (3, 730_180)):
        days = np.zeros((10, *grid.shape), np.float16)
        days[:, 120:420, :520] = rain(seed, 10, 300, 520)
        days[:, 120:420, 1380:] = rain(seed + 9, 10, 300, 60)
        found.append(HeldOutDays(days, first))
    return found


def test_a_perfect_reconstruction_scores_one():
    days = [rain(0, 2, 5, 64, 64), rain(1, 2, 5, 48, 64)]
    found = score_reconstruction(days, days)
    ratios = [v for k, v in found.items() if k != "power_ratio"] + [*found["power_ratio"].values()]
    assert ratios == pytest.approx([1.0] * len(ratios))


def test_halving_the_rain_halves_means_and_quarters_power():
    days = [rain(0, 2, 5, 64, 64)]
    found = score_reconstruction(days, [days[0] / 2])
    assert found["mean_ratio"] == pytest.approx(0.5, abs=1e-4)
    assert found["p99_ratio"] == pytest.approx(0.5, abs=1e-4)
    assert found["correlation"] == pytest.approx(1.0, abs=1e-4)
    assert found["wet_ratio"] < 1
    assert found["power_ratio"]["6-8 cells"] == pytest.approx(0.25, abs=1e-4)


def test_white_noise_has_a_flat_spectrum_and_no_memory():
    noise = rain(0, 4, 30, 64, 64)
    assert compare_spectra(noise, noise)["slope"]["prior"] == pytest.approx(0, abs=0.1)
    found = compare_samples(noise, noise * 0, np.zeros(64))
    assert found["lag1"]["truth"] == pytest.approx(-1 / 30, abs=0.02)
    assert found["dry"]["prior"] == 1
    assert found["mean"]["truth"] == pytest.approx(2.4, abs=0.1)


def test_a_head_ten_percent_high_is_said_to_be():
    decoded = rain(0, 1, 20, 10, 11) + 1
    found = score_head(decoded * 1.1, decoded)
    assert found == pytest.approx(dict.fromkeys(found, 0.1), abs=1e-4)


def test_an_assessment_of_a_prior_that_keeps_everything(prior, held_out, monkeypatch):
    """Cells taken as latents in space and back: places, days and blending must all agree."""
    monkeypatch.setattr(Autoencoder, "encode", lambda _, v: (v, v))
    monkeypatch.setattr(Autoencoder, "decode", lambda _, z: z if z.shape[1] == 1 else z.new_zeros(
        len(z), 1, z.shape[2], 4 * z.shape[3], 4 * z.shape[4]))  # fmt: skip
    report = assess_prior(prior, held_out, regions=PLACES, steps=2)
    redone = report.metrics["reconstruction"]
    assert redone["correlation"] == pytest.approx(1, abs=1e-4)
    assert redone["p99_ratio"] == pytest.approx(1, abs=1e-3)
    assert redone["mean_ratio"] == pytest.approx(1, abs=2e-2)  # drizzle below 0.1 is dried


def test_a_report_goes_into_the_bundle_and_leaves_its_digest(prior, held_out, tmp_path):
    folder = tmp_path / "prior"
    prior.save(folder)
    before = open_prior(folder).digest
    few = assess_prior(open_prior(folder), held_out[:1], regions=PLACES[:1], steps=2)
    training.add_report(folder, open_prior(folder), few)
    after = open_prior(folder)
    assert after.digest == before
    assert after.card["metrics"] == json.loads(json.dumps(few.metrics))
    assert set(few.metrics) == {"reconstruction", "samples", "samples_spectrum", "head"}
    assert {file.name for file in folder.iterdir()} == {
        "prior.json", "weights.safetensors", "MODEL_CARD.md", "days.png", "spectra.png",
    }  # fmt: skip
    card = (folder / "MODEL_CARD.md").read_text()
    assert "It is **not** a model of the Earth's rain" in card
    assert "Greenwich" in card
    assert after.digest in card


def test_evaluating_a_prior_leaves_its_folder_alone(prior, held_out, tmp_path, monkeypatch):
    prior.save(tmp_path / "prior")
    monkeypatch.setattr(assess_prior, "__kwdefaults__", {
        **assess_prior.__kwdefaults__, "regions": PLACES[:1], "steps": 1})  # fmt: skip
    assert training.evaluate_prior(tmp_path / "prior", tmp_path / "out", held_out[:1]) == 0
    assert {file.name for file in (tmp_path / "prior").iterdir()} == {
        "prior.json", "weights.safetensors",
    }  # fmt: skip
    assert "reconstruction" in json.loads((tmp_path / "out" / "metrics.json").read_text())


def test_the_same_seed_gives_the_same_report(prior, held_out):
    first, second = (
        assess_prior(prior, held_out[:1], regions=PLACES[:1], steps=1).metrics for _ in range(2)
    )
    assert first == second


def test_too_few_days_are_refused(prior, held_out):
    short = HeldOutDays(held_out[0].rain[:8], held_out[0].first_day)
    with pytest.raises(ValueError, match="8 held-out days are too few for windows of 4 days"):
        assess_prior(prior, [short], regions=PLACES[:1])


def test_a_card_without_metrics_says_so(prior):
    card = model_card(prior.description(), prior.parameters, prior.digest)
    assert "Not assessed yet." in card
    assert "Intended use: **demonstration**." in card


def test_train_dry_run_prints_the_plan_and_starts_nothing(tmp_path, capsys):
    config = training.Path(__file__).parents[2] / "configs" / "train_demo.yaml"
    out = tmp_path / "out"
    assert training.train_and_assess(config, [f"output={out}"], dry_run=True) == 0
    assert not out.exists()
    assert "parameters" in capsys.readouterr().out
