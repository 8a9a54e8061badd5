"""A head for a published-like prior: better than a constant, resumed, and never over another."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longwang_ray.cli import DONE, FAILED, main
from longwang_ray.posterior.fidelity import STATED, cost_share
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import Prior, open_prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.head import HeadConfig
from longwang_ray.prior.layers import ResidualBlock
from longwang_ray.prior.official import load_official
from longwang_ray.prior.schedule import CosineSquared
from longwang_ray.prior.transform import LogTransform
from longwang_ray.training.channel import Here
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.data import open_training_data
from longwang_ray.training.distil import disturbance
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.fit_head import affordable_width, folder_beside, train_head
from longwang_ray.training.head_settings import load_head_training
from longwang_ray.training.settings import HeadSettings, OptimisationSettings

AUTO = AutoencoderConfig(4, (1, 2, 2), 1, 3, 4)  # days by four, group norms: as published
DENOISER = DenoiserConfig(3, (8, 16), (1,), ((1, 2, 2),), (), 2, 8, 5)
SMALL = [
    "head.estimates=4",
    "head.channels=8",
    "head.optimisation.batch=2",
    "head.optimisation.checkpoint_every=20",
]
QUICK = [f"head.optimisation.{how}" for how in ("warmup=10", "ema=0.9", "learning_rate=1.0e-2")]
DATA = "data={kind: synthetic, seed: 1, sequences: 2, days: 8, held_out: 1}"


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """An imported prior, whose random decoder is smooth and rains within reason."""
    folder = tmp_path_factory.mktemp("published")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        auto = Autoencoder(AUTO).requires_grad_(False)
        denoiser = Denoiser(DENOISER, CosineSquared()).requires_grad_(False)
        smooth = F.interpolate(torch.randn(1, 8, 8, 8), (64, 64), mode="bicubic")
    rain = 8 * (smooth - 0.3).clamp(min=0) ** 1.5
    mean, _ = auto.encode(LogTransform(0.1, 0.0, 8.0).forward(rain)[None])
    latent = {"channel_mean": mean.mean((0, 2, 3, 4)), "channel_std": mean.std((0, 2, 3, 4))}
    for block in auto.decoder.modules():  # so that its rain is smoother than noise
        if isinstance(block, ResidualBlock):
            block.conv2.conv.weight.mul_(0.2)
    last = auto.decoder.conv_out.conv
    last.bias.zero_()
    last.weight.mul_(0.12 / auto.decode(mean).std())
    last.bias.sub_(auto.decode(mean).mean() + 0.2)
    torch.save(auto.state_dict(), folder / "vae.pt")
    torch.save(denoiser.network.state_dict(), folder / "eps.pt")
    rain = {"epsilon": 0.1, "norm_min": 0.0, "norm_max": 8.0, "norm_range": 8.0}
    latent = {name: values.tolist() for name, values in latent.items()}
    (folder / "s.json").write_text(json.dumps({"precip_stats": rain, "latent_stats": latent}))
    files = [folder / name for name in ("vae.pt", "eps.pt", "s.json")]
    prior = load_official(
        *files, heads=2, strides=((1, 2, 2),), window=(8, 32, 32), stride=(4, 16, 16)
    )
    prior.save(folder / "prior")
    return str(folder / "prior")


@pytest.fixture
def told(tmp_path, days_at):
    """A head's settings, its days already there; more may be said."""

    def make(*overrides, name="training"):
        folder = tmp_path / name
        config = load_head_training(None, [DATA, f"output={folder}", *SMALL, *overrides])
        if not folder.exists():
            days_at(_Days(config.data, folder))
        return config

    return make


class _Days:
    def __init__(self, data, folder):
        self.data, self.days_folder = data, folder


def unseen(prior, config, count=6):
    """Disturbed latents of held-out days, and the decoder's means over quarters of their cells."""
    data = open_training_data(config.data, Path(config.output), prior.compression[1])
    generator = np.random.default_rng(5)
    part = HeadSettings(shift=0.5, optimisation=OptimisationSettings(steps=1, batch=1))
    rain = np.stack([data.held_out.one(generator, prior.window)[0] for _ in range(count)])
    latent, _ = prior.autoencoder.encode(prior.transform.forward(torch.from_numpy(rain))[:, None])
    mean, std = (
        torch.tensor(v).view(1, -1, 1, 1, 1) for v in (prior.latent_mean, prior.latent_std)
    )
    z = (latent - mean) / std
    z = z + torch.stack([disturbance(generator, z.shape[1:], part) for _ in rain])
    return z, F.avg_pool2d(prior.decode(z), 2)


def test_an_imported_prior_gets_a_head_that_beats_a_constant(published, told, tmp_path):
    before = open_prior(published)
    config = told("head.optimisation.steps=240", *QUICK)
    out = train_head(before, config, tmp_path / "new")
    prior = open_prior(out)
    assert (before.head, prior.head.config) == (None, HeadConfig(3, 8, 4))
    assert prior.card["distilled_from"] == before.digest != prior.digest
    assert prior.card["imported"] == before.card["imported"]
    assert prior.weights_dtype == torch.float32
    for name, tensor in before.state().items():
        assert torch.equal(prior.state()[name], tensor), "nothing but the head is new"

    z, rain = unseen(prior, config)
    constant = (rain - rain.median()).abs().mean()
    assert (prior.head(z) - rain).abs().mean() < 0.85 * constant

    stated = prior.card[STATED]
    assert stated["days"] == 8
    assert set(stated["cells"]) == {"0.25", "0.5", "1", "2.5"}
    assert all(0 < one["error"] < 1 for one in stated["cells"].values())
    assert prior.estimates.channels.shape == (17, 3, 3), "and what its estimates are worth"
    assert prior.card["head_training"]["head"]["channels"] == 8
    assert str(tmp_path) not in json.dumps(prior.card), "no folder of this machine in the card"


def test_the_same_again_is_done_and_another_is_refused(published, told, tmp_path):
    prior, out = open_prior(published), tmp_path / "new"
    config = told("head.optimisation.steps=4")
    train_head(prior, config, out)
    written = (out / "weights.safetensors").stat().st_mtime_ns
    train_head(prior, config, out)
    assert (out / "weights.safetensors").stat().st_mtime_ns == written
    with pytest.raises(TrainingError, match="holds another prior already"):
        train_head(prior, told("head.optimisation.steps=5"), out)
    assert (out / "weights.safetensors").stat().st_mtime_ns == written

    full = tmp_path / "thesis"
    full.mkdir()
    (full / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match="is not empty"):
        train_head(prior, config, full)


class Impatient(Here):
    """Somebody who wishes to stop after some steps."""

    def __init__(self, steps):
        super().__init__()
        self.left = steps

    def stop_asked(self):
        self.left -= 1
        return self.left < 0


def test_stopped_it_goes_on_to_the_same_head(published, told, tmp_path):
    prior, steps = open_prior(published), "head.optimisation.steps=12"
    calm = train_head(prior, told(steps, name="calm"), tmp_path / "a")
    shaken = told(steps, name="shaken")
    with pytest.raises(TrainingStopped):
        train_head(prior, shaken, tmp_path / "b", channel=Impatient(5))
    assert not (tmp_path / "b").exists()
    assert Checkpoints(shaken.output).steps_done("head") == 6
    again = train_head(prior, shaken, tmp_path / "b")
    assert open_prior(calm).digest == open_prior(again).digest


def test_a_checkpoint_is_not_continued_with_another_teacher(published, told, tmp_path):
    prior, config = open_prior(published), told("head.optimisation.steps=2")
    train_head(prior, config, tmp_path / "a")
    with pytest.raises(TrainingError, match="a head of another prior is being taught here"):
        train_head(replace(prior, dry_threshold=0.5), config, tmp_path / "b")


def test_a_head_is_replaced_only_if_that_is_said(published, told, tmp_path):
    prior = open_prior(published)
    steps = "head.optimisation.steps=2"
    taught = open_prior(train_head(prior, told(steps), tmp_path / "a"))
    card = {**taught.card, "metrics": {"days": {"head": {"bias": 0}, "samples": {"x": 1}}}}
    taught = replace(taught, card=card)
    with pytest.raises(TrainingError, match=r"has a coarse head already .*--again"):
        train_head(taught, told(steps, name="second"), tmp_path / "b")
    config = told(steps, "seed=9", name="second")
    other = open_prior(train_head(taught, config, tmp_path / "b", again=True))
    assert other.card["distilled_from"] == taught.digest != other.digest
    assert other.card["metrics"] == {"days": {"samples": {"x": 1}}}, "the old head's are gone"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window": (16, 32, 32), "stride": (8, 16, 16)}, "no window of 16 days × 32 × 32 cells"),
        ({"grid_step": 2.5}, "grid of 2.5°, the synthetic Earth one of 0.25°"),
    ],
)
def test_what_cannot_be_taught_is_refused_before_a_day_is_read(
    published, told, tmp_path, change, message
):
    prior = replace(open_prior(published), **change)
    with pytest.raises(TrainingError, match=message):
        train_head(prior, told(), tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_latent_cells_without_quarters_are_refused(published, told, tmp_path):
    flat = Autoencoder(AutoencoderConfig(4, (1,), 1, 3, 4))
    prior: Prior = replace(open_prior(published), autoencoder=flat)
    with pytest.raises(TrainingError, match=r"1 × 1 fine cells and has no quarters"):
        train_head(prior, told(), tmp_path / "new")


def test_the_width_is_what_three_per_cent_buy(published):
    prior = open_prior(published)
    width, wider = (affordable_width(prior), 2 * affordable_width(prior))
    cost = [cost_share(AUTO, HeadConfig(3, n, 4), prior.window) for n in (width, wider)]
    assert cost[0] <= 0.03
    assert cost[0] < cost[1] / 2
    assert (
        affordable_width(replace(prior, autoencoder=Autoencoder(replace(AUTO, blocks=4)))) >= width
    )


def test_disturbances_are_mostly_clean_shifts():
    optimisation = OptimisationSettings(steps=1, batch=1)
    part = HeadSettings(noise=0.4, shift=1.0, optimisation=optimisation)
    drawn = [disturbance(np.random.default_rng(k), (3, 2, 4, 4), part) for k in range(200)]
    shift = torch.stack([d.mean((1, 2, 3)) for d in drawn])
    noise = torch.stack([d.std((1, 2, 3)) for d in drawn]).mean(1)
    assert shift.square().mean().sqrt() == pytest.approx(1 / math.sqrt(3), rel=0.2)
    assert noise.median() < 0.05
    assert 0.3 < noise.max() < 0.6


def test_from_the_command_line(published, told, tmp_path, capsys):
    config = told()
    arguments = [DATA, f"output={config.output}", *SMALL, "head.optimisation.steps=2"]
    out = tmp_path / "new"
    assert main(["train-head", published, *arguments, "--out", str(out)]) == DONE
    assert open_prior(out).digest[:16] in capsys.readouterr().out

    file = tmp_path / "head.yaml"
    file.write_text("seed: 4\nhead: {chanels: 8}\n")
    assert main(["train-head", published, str(file), "--out", str(out)]) == FAILED
    assert "did you mean 'channels'?" in capsys.readouterr().err
    assert main(["train-head", "demo"]) == FAILED
    assert "--out FOLDER" in capsys.readouterr().err
    assert main(["train-head", str(tmp_path / "nowhere")]) == FAILED
    assert "cannot read" in capsys.readouterr().err


def test_the_folder_beside_a_local_bundle(published):
    assert folder_beside(published + "/") == f"{published}-head"
    for elsewhere in ("demo", "gs://bucket/prior"):
        with pytest.raises(TrainingError, match="--out FOLDER"):
            folder_beside(elsewhere)


def test_the_shipped_configuration_loads_and_may_be_changed():
    file = Path(__file__).parents[2] / "configs" / "train_head.yaml"
    config = load_head_training(file, ["head.optimisation.steps=10", "engine.device=cpu"])
    assert config.head.optimisation.steps == 10
    assert (config.head.channels, config.data.kind) == ("auto", "daily")
    plain = load_head_training(None, ["head.optimisation.batch=2", "engine.threads=1"])
    assert plain.head.optimisation.steps == 4000
    assert plain.data is None
