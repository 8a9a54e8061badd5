"""A prior's assessment: numbers that can be reckoned, all of it on a tiny prior, its card."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from longwang_ray.domain.grid import era5_grid
from longwang_ray.evaluation import training
from longwang_ray.evaluation.model_card import model_card
from longwang_ray.evaluation.prior_fields import Drawing, draw, reconstruct
from longwang_ray.evaluation.prior_report import assess_prior
from longwang_ray.evaluation.prior_scores import (
    compare_samples,
    compare_spectra,
    score_head,
    score_reconstruction,
)
from longwang_ray.evaluation.views import BAND, DAYS, Region, views_of
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior, open_prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.schedule import Power
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.days import DayBlock

QUICK = Drawing(steps=1)
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
    """Two series of one season and one of another; 0°E lies inside a region."""
    grid = era5_grid()
    found = []
    for seed, first in ((1, 730_000), (2, 730_000), (3, 730_180)):
        days = np.zeros((10, *grid.shape), np.float16)
        days[:, 120:420, :520] = rain(seed, 10, 300, 520)
        days[:, 120:420, 1380:] = rain(seed + 9, 10, 300, 60)
        found.append(DayBlock(days, first, "noleap", (0, 0)))
    return found


@pytest.fixture
def box():
    """Six days of a box of 40 × 72 cells that crosses 0°E."""
    return DayBlock(rain(5, 6, 40, 72), 730_000, "standard", (301, 1390))


def identity(monkeypatch):
    """An autoencoder that keeps everything, and decodes latents to nothing."""
    monkeypatch.setattr(Autoencoder, "encode", lambda _, v: (v, v))
    monkeypatch.setattr(Autoencoder, "decode", lambda _, z: z if z.shape[1] == 1 else z.new_zeros(
        len(z), 1, z.shape[2], 4 * z.shape[3], 4 * z.shape[4]))  # fmt: skip


def test_a_perfect_reconstruction_scores_one():
    days = [rain(0, 2, 5, 64, 64), rain(1, 2, 5, 48, 64)]
    found = score_reconstruction(days, days)
    ratios = [found[key]["ratio"] for key in ("mean", "dry", "wet", "p99", "p999")]
    ratios += [found["correlation"], *found["power_ratio"].values()]
    assert ratios == pytest.approx([1.0] * len(ratios))


def test_halving_the_rain_halves_means_and_quarters_power():
    days = [rain(0, 2, 5, 64, 64)]
    found = score_reconstruction(days, [days[0] / 2])
    assert found["mean"]["ratio"] == pytest.approx(0.5, abs=1e-4)
    assert found["p99"]["ratio"] == pytest.approx(0.5, abs=1e-4)
    assert found["p99"]["truth"] == pytest.approx(np.percentile(days[0], 99), rel=1e-4)
    assert found["correlation"] == pytest.approx(1.0, abs=1e-4)
    assert found["wet"]["ratio"] < 1
    assert found["power_ratio"]["6-8 cells"] == pytest.approx(0.25, abs=1e-4)


def test_white_noise_has_a_flat_spectrum_and_no_memory():
    noise = rain(0, 4, 30, 64, 64)
    assert compare_spectra(noise, noise)["slope"]["prior"] == pytest.approx(0, abs=0.1)
    found = compare_samples([noise], [noise * 0], np.zeros(64))
    assert found["lag1"]["truth"] == pytest.approx(-1 / 30, abs=0.02)
    assert found["space"]["1 cell"]["truth"] == pytest.approx(0, abs=0.02)
    assert found["length"]["truth"] == pytest.approx(1 - np.exp(-1), abs=0.02)
    assert found["dry"]["prior"] == 1
    assert found["mean"]["truth"] == pytest.approx(2.4, abs=0.1)


def test_samples_without_rain_have_no_ratio_to_be_wrong():
    noise = rain(0, 1, 4, 64, 64)
    found = compare_samples([noise * 0], [noise], np.zeros(64))
    assert found["p99"]["ratio"] is None
    assert found["lag1"] == {"truth": None, "prior": found["lag1"]["prior"], "difference": None}
    json.dumps(found, allow_nan=False)


def test_smooth_rain_is_said_to_hang_together_further_than_noise():
    noise = rain(0, 1, 4, 64, 64)
    smooth = sum(np.roll(noise, (i, j), (2, 3)) for i in range(8) for j in range(8)) / 64
    found = compare_samples([noise], [smooth], np.zeros(64))
    # Means over 8 × 8 cells: the correlation falls linearly to nought at 8 cells
    assert found["space"]["4 cells"]["prior"] == pytest.approx(0.5, abs=0.1)
    assert found["space"]["4 cells"]["difference"] == pytest.approx(0.5, abs=0.1)
    assert found["length"]["prior"] == pytest.approx(8 * (1 - np.exp(-1)), abs=1)
    assert found["length"]["ratio"] > 5
    assert found["power_ratio"]["4-6 cells"] < 0.1


def test_two_runs_of_days_do_not_follow_each_other():
    up = np.arange(6.0)[None, :, None, None] + np.zeros((1, 6, 32, 32))
    down = 1e3 - up
    found = compare_samples([up, down], [up, up], np.zeros(32))
    assert found["lag1"]["truth"] == pytest.approx(found["lag1"]["prior"])


def test_a_head_ten_percent_high_is_said_to_be():
    decoded = rain(0, 1, 20, 10, 11) + 1
    found = score_head(decoded * 1.1, decoded)
    assert found == pytest.approx(dict.fromkeys(found, 0.1), abs=1e-4)


def test_an_assessment_of_a_prior_that_keeps_everything(prior, held_out, monkeypatch):
    """Places, days and blending must all agree."""
    identity(monkeypatch)
    report = assess_prior(prior, held_out, regions=PLACES, drawing=QUICK)
    redone = report.metrics[DAYS]["reconstruction"]
    assert redone["correlation"] == pytest.approx(1, abs=1e-4)
    assert redone["p99"]["ratio"] == pytest.approx(1, abs=1e-3)
    assert redone["mean"]["ratio"] == pytest.approx(1, abs=2e-2)  # drizzle below 0.1 is dried
    assert report.metrics[DAYS]["periods"] == [
        ["2001-01-01", "2001-01-10"], ["2001-06-30", "2001-07-09"],
    ]  # fmt: skip


def test_a_box_is_judged_in_belts_of_its_own(prior, box, monkeypatch):
    identity(monkeypatch)
    band = replace(box, rain=box.rain[..., :40])
    report = assess_prior(prior, {DAYS: [box], BAND: [band]}, drawing=QUICK)
    assert list(report.metrics) == [DAYS, BAND]
    for part, name in zip(report.metrics.values(), ("347.5–5.5E", "347.5–357.5E"), strict=True):
        assert list(part["samples"]) == [f"5N–15N {name}"]
        assert part["reconstruction"]["correlation"] == pytest.approx(1, abs=1e-4)


def test_days_are_reconstructed_where_they_are(prior, box, monkeypatch):
    identity(monkeypatch)
    redone = reconstruct(prior, box.rain)
    dried = np.where(box.rain < 0.1, 0, box.rain)
    assert redone == pytest.approx(dried, abs=1e-3, rel=1e-4)


def test_samples_of_a_view_are_those_of_a_run(prior, box):
    """Drawn on the globe's lattice: a neighbouring view agrees where their windows do."""
    (view,) = views_of(prior, [box])
    days = replace(view, days=(view.days[0], view.days[0] + 4))
    drawn = draw(prior, days, QUICK)
    assert drawn.rain.shape == (1, 4, 40, 72)
    again = draw(prior, replace(days, columns=(view.columns[0], 40)), QUICK)
    assert again.rain[..., :24] == pytest.approx(drawn.rain[..., :24], rel=1e-4, abs=1e-3)


def test_a_report_goes_into_the_bundle_and_leaves_its_digest(prior, held_out, tmp_path):
    folder = tmp_path / "prior"
    prior.save(folder)
    before = open_prior(folder).digest
    few = assess_prior(open_prior(folder), held_out[:1], regions=PLACES[:1], drawing=QUICK)
    training.add_report(folder, open_prior(folder), few)
    after = open_prior(folder)
    assert after.digest == before
    assert after.card["metrics"] == json.loads(json.dumps(few.metrics))
    assert set(few.metrics[DAYS]) == {"periods", "reconstruction", "samples", "head"}
    assert {file.name for file in folder.iterdir()} == {
        "prior.json", "weights.safetensors", "MODEL_CARD.md", "days.png", "spectra.png",
    }  # fmt: skip
    card = (folder / "MODEL_CARD.md").read_text()
    assert "It is **not** a model of the Earth's rain" in card
    assert "### Held-out days: 2001-01-01 to 2001-01-10" in card
    assert "| prior alone: truth → sampled (ratio) | Greenwich |" in card
    assert after.digest in card


def test_evaluating_a_prior_leaves_its_folder_alone(prior, box, tmp_path, monkeypatch):
    prior.save(tmp_path / "prior")
    monkeypatch.setattr(training, "synthetic_held_out", lambda: [box])
    monkeypatch.setattr(assess_prior, "__kwdefaults__", {
        **assess_prior.__kwdefaults__, "drawing": QUICK})  # fmt: skip
    assert training.evaluate_prior(tmp_path / "prior", tmp_path / "out") == 0
    assert {file.name for file in (tmp_path / "prior").iterdir()} == {
        "prior.json", "weights.safetensors",
    }  # fmt: skip
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert "reconstruction" in metrics[DAYS]


def test_the_same_seed_gives_the_same_report(prior, box):
    first, second = (assess_prior(prior, [box], drawing=QUICK).metrics for _ in range(2))
    other = assess_prior(prior, [box], drawing=replace(QUICK, seed=1)).metrics
    assert first == second
    assert first != other


def test_too_few_days_are_refused_with_the_numbers(prior, box):
    short = replace(box, rain=box.rain[:3])
    with pytest.raises(ValueError, match=r"held out are 3 × 40 × 72 .* 4 × 32 × 32"):
        assess_prior(prior, [short])


def test_a_band_narrower_than_a_window_is_told_and_the_rest_assessed(prior, box, caplog):
    narrow = replace(box, rain=box.rain[..., :28])
    with caplog.at_level(logging.WARNING):
        report = assess_prior(prior, {DAYS: [box], BAND: [narrow]}, drawing=QUICK)
    assert list(report.metrics) == [DAYS]
    assert "held-out band: not assessed: held out are 6 × 40 × 28" in caplog.text


def test_missing_values_are_no_truth(prior, box):
    broken = box.rain.copy()
    broken[3, 30, 60] = np.nan
    with pytest.raises(ValueError, match="is without missing values"):
        assess_prior(prior, [replace(box, rain=broken)], drawing=QUICK)


def test_a_card_without_metrics_says_so(prior):
    card = model_card(prior.description(), prior.parameters, prior.digest)
    assert "Not assessed yet." in card
    assert "Intended use: **demonstration**." in card


def test_a_card_names_its_data_and_no_machine(prior):
    data = {
        "kind": "daily", "path": "/home/somebody/secret/merge.nc", "variable": "pr",
        "train": [["2023-03-01", "2023-03-31"]], "held_out": [["2024-05-20", "2024-05-31"]],
        "held_out_lon": [308.0, 324.0], "skip": ["2023-03-05"],
        "storage_options": {"token": "hush"},
    }  # fmt: skip
    fit = {"optimisation": {"steps": 4500}}
    made = {"data": data, "autoencoder": fit, "denoiser": fit, "head": fit}
    card = model_card({**prior.description(), "training": made}, prior.parameters, prior.digest)
    assert "`pr` of `merge.nc`: 2023-03-01 to 2023-03-31. Held out: 2024-05-20" in card
    assert "longitudes 308 to 324°E at all times. Left out: 2023-03-05." in card
    assert "autoencoder 4,500 steps" in card
    assert "somebody" not in card
    assert "hush" not in card


def test_train_dry_run_prints_the_plan_and_starts_nothing(tmp_path, capsys):
    config = training.Path(__file__).parents[2] / "configs" / "train_demo.yaml"
    out = tmp_path / "out"
    assert training.train_and_assess(config, [f"output={out}"], dry_run=True) == 0
    assert not out.exists()
    assert "parameters" in capsys.readouterr().out
