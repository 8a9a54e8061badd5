"""A whole training: stages in order, resumed exactly, a bundle that opens and is written once."""

import dataclasses
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch
import yaml

from longwang_ray.prior.bundle import PriorError, open_prior
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.fit_prior import train_prior
from longwang_ray.training.publish import save_bundle

ROOT = Path(__file__).parents[2]

TRAIN = """
import sys
from longwang_ray.training.fit_prior import train_prior
from longwang_ray.training.settings import load_train_config
train_prior(load_train_config(sys.argv[1]), sys.argv[2])
"""


def start(config, stage):
    """The same training in a process of its own."""
    file = Path(config.output) / "train.yaml"
    file.write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = [sys.executable, "-c", TRAIN, str(file), stage]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment)


def wait_for(condition, process):
    deadline = time.monotonic() + 60
    while not condition():
        assert process.poll() is None, "the training ended before it could be stopped"
        assert time.monotonic() < deadline, "no checkpoint within a minute"
        time.sleep(0.01)


def weights(config, stage):
    return torch.load(checkpoint_file(config.output, stage), weights_only=True)["module"]


def checkpoint_file(output, stage):
    return Path(output) / f"{stage}.pt"


def steps_done(output, stage):
    return Checkpoints(output).steps_done(stage)


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_a_training_writes_a_bundle_that_opens_and_is_written_once(tiny):
    config = tiny()
    bundle = train_prior(config)
    prior = open_prior(bundle)
    assert (prior.name, prior.intended_use) == ("tiny", "demonstration")
    assert prior.window == (4, 32, 32)
    assert prior.card["training"]["denoiser"]["optimisation"]["steps"] == 4
    assert "output" not in prior.card["training"], "no folder of this machine in the card"
    mean, std = np.array(prior.latent_mean), np.array(prior.latent_std)
    assert np.isfinite(mean).all()
    assert (std > 0).all()

    weights = Path(bundle) / "weights.safetensors"
    written = weights.stat().st_mtime_ns
    assert train_prior(config) == bundle, "the same prior again is done"
    assert weights.stat().st_mtime_ns == written

    other = tiny("other", "seed=4", f"bundle={bundle}")
    with pytest.raises(TrainingError, match="trained with another configuration"):
        train_prior(other)
    changed = dataclasses.replace(prior, dry_threshold=0.2)
    with pytest.raises(TrainingError, match="another prior already"):
        save_bundle(changed, bundle)
    assert open_prior(bundle).digest == prior.digest


def test_a_folder_with_something_else_is_not_touched(tiny):
    config = tiny()
    folder = Path(config.bundle)
    folder.mkdir()
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(TrainingError, match=r"is not empty \(thesis\.txt\) and holds no prior"):
        train_prior(config)
    assert [file.name for file in folder.iterdir()] == ["thesis.txt"]
    with pytest.raises(PriorError):
        open_prior(config.bundle)


def test_killed_in_mid_training_it_ends_with_the_same_weights(tiny):
    steps = "autoencoder.optimisation.steps=40"
    calm, shaken = tiny("calm", steps), tiny("shaken", steps)
    train_prior(calm, "autoencoder")

    process = start(shaken, "autoencoder")
    wait_for(lambda: checkpoint_file(shaken.output, "autoencoder").exists(), process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert 0 < steps_done(shaken.output, "autoencoder") < 40

    train_prior(shaken, "autoencoder")
    assert same(weights(calm, "autoencoder"), weights(shaken, "autoencoder"))


def test_an_interrupt_leaves_a_checkpoint_between_two_steps(tiny):
    config = tiny("out", "autoencoder.optimisation.steps=100000",
                  "autoencoder.optimisation.checkpoint_every=100000")  # fmt: skip
    process = start(config, "autoencoder")
    wait_for(lambda: (Path(config.output) / "autoencoder.csv").exists(), process)
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) in (130, -signal.SIGINT)
    assert steps_done(config.output, "autoencoder") >= 50


def test_a_stage_alone_needs_those_before_it(tiny):
    config = tiny()
    with pytest.raises(TrainingError, match="autoencoder has done 0 of 6 steps"):
        train_prior(config, "denoiser")
    assert train_prior(config, "autoencoder") == str(checkpoint_file(config.output, "autoencoder"))
    assert train_prior(config, "statistics") == f"{config.output}/statistics.json"
    assert train_prior(config, "head").endswith("head.pt")
    assert steps_done(config.output, "denoiser") == 0


def test_a_checkpoint_of_other_sizes_is_refused(tiny):
    train_prior(tiny(), "autoencoder")
    changed = tiny("again", "autoencoder.channels=8")
    checkpoint = checkpoint_file(changed.output, "autoencoder")
    checkpoint.hardlink_to(Path(changed.output).parent / "out" / "autoencoder.pt")
    with pytest.raises(TrainingError, match="is a network of other sizes"):
        train_prior(changed, "autoencoder")


def test_a_denoiser_is_not_continued_on_another_autoencoders_latents(tiny):
    config = tiny()
    train_prior(config, "autoencoder")
    train_prior(config, "statistics")
    checkpoint_file(config.output, "denoiser").write_bytes(b"")
    longer = config.autoencoder.optimisation.model_copy(update={"steps": 8})
    config = config.model_copy(
        update={"autoencoder": config.autoencoder.model_copy(update={"optimisation": longer})}
    )
    train_prior(config, "autoencoder")
    with pytest.raises(TrainingError, match="latents of another autoencoder"):
        train_prior(config, "statistics")


def test_all_of_it_may_live_behind_urls(tiny):
    bucket = "memory://training-behind-urls"
    try:
        local = tiny()
        config = local.model_copy(
            update={
                "output": f"{bucket}/run",
                "bundle": f"{bucket}/prior",
                "cache": local.days_folder,
            }
        )
        prior = open_prior(train_prior(config))
        assert prior.digest == open_prior(train_prior(local)).digest
        assert train_prior(config) == f"{bucket}/prior", "the same prior again is done"
        with pytest.raises(TrainingError, match="another prior already"):
            save_bundle(dataclasses.replace(prior, dry_threshold=0.2), f"{bucket}/prior")
        with pytest.raises(TrainingError, match="is not empty"):
            save_bundle(prior, f"{bucket}/run")
    finally:
        fsspec.filesystem("memory").rm("training-behind-urls", recursive=True)
