"""The dry run, and that a configuration is read strictly."""

from pathlib import Path

import pytest
import yaml

from longwang_ray.config import ConfigError
from longwang_ray.training.plan import plan_training
from longwang_ray.training.settings import TrainConfig, load_train_config

DEMO = Path(__file__).parents[2] / "configs" / "train_demo.yaml"


def test_the_shipped_training_keeps_its_promises(tmp_path):
    config = load_train_config(DEMO, [f"output={tmp_path / 'none'}"])
    plan = plan_training(config)
    assert plan.parameters <= 4_000_000
    assert 2 * plan.parameters <= 10e6, "bytes on disk in float16"
    assert 0.10 <= config.denoiser.context_dropout <= 0.20
    assert [n.name for n in plan.networks] == ["autoencoder", "denoiser", "head"]
    assert all(n.done == 0 for n in plan.networks)
    assert not (tmp_path / "none").exists(), "a dry run writes nothing"
    text = "\n".join(plan.lines())
    assert "4,000 steps" in text
    assert "intended use: demonstration" in text


def test_more_windows_a_step_take_more_memory():
    plans = [
        plan_training(load_train_config(DEMO, [f"denoiser.optimisation.batch={n}"]))
        for n in (4, 16)
    ]
    small, large = (plan.networks[1].memory for plan in plans)
    assert large > small + 50e6


def test_a_plain_dictionary_of_yaml_will_do():
    assert TrainConfig(**yaml.safe_load(DEMO.read_text())).lattice.stride == (4, 32, 32)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("denoser.heads=2", "denoser: unknown key; did you mean 'denoiser'?"),
        ("denoiser.optimisation.stps=9", "denoiser.optimisation.stps: unknown key; did you mean"),
        ("seed=1.5", "seed: expected a whole number, found 1.5 (float)"),
        ("lattice.window=[8, 50, 48]", "lattice.window is [8, 50, 48], must be a multiple"),
        ("denoiser.channels=[32, 64]", "blocks has 2 entries, channels asks for 1"),
        ("data.held_out=30", "holds out 30 of 24 sequences"),
        ("lattice.window.0=32", "a window has 32 days, a sequence only 16"),
        ("intended_use=fun", "intended_use: expected 'demonstration' or 'research'"),
    ],
)
def test_a_refusal_names_its_path(override, message):
    with pytest.raises(ConfigError) as caught:
        load_train_config(DEMO, [override])
    assert message in str(caught.value)
