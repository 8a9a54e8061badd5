"""What ``longwang train`` does around a training, which is done at once here."""

from types import SimpleNamespace

import pytest

from longwang_ray.evaluation import training
from longwang_ray.evaluation.progress import draw_progress
from longwang_ray.training import launch

CONFIG = training.Path(__file__).parents[2] / "configs" / "train_demo.yaml"


@pytest.fixture
def steps(monkeypatch, tmp_path):
    """What is launched and assessed, in order; the bundle has ``card``."""
    seen = SimpleNamespace(launched=[], assessed=[], card={})

    def launched(config, only=None, watch=None):
        seen.launched.append((config.name, only, watch))
        return tmp_path / "prior"

    def no_plan(config):
        return SimpleNamespace(lines=lambda: ["a plan"])

    monkeypatch.setattr(launch, "launch", launched)
    monkeypatch.setattr(training, "plan_training", no_plan)
    monkeypatch.setattr(training, "open_prior", lambda _: SimpleNamespace(card=seen.card))
    monkeypatch.setattr(training, "held_out_of", lambda config: {"days": config.name})
    monkeypatch.setattr(training, "assess_bundle", lambda *what: seen.assessed.append(what))
    return seen


def test_a_prior_is_launched_watched_and_assessed(steps, tmp_path, capsys):
    assert training.train_and_assess(CONFIG, ["name=mine"]) == 0
    assert steps.launched == [("mine", None, draw_progress)]
    assert steps.assessed == [(tmp_path / "prior", {"days": "mine"})]
    assert capsys.readouterr().out == f"a plan\ndone: {tmp_path / 'prior'}\n"


def test_a_prior_is_assessed_once(steps):
    steps.card["metrics"] = {}
    training.train_and_assess(CONFIG)
    assert steps.launched
    assert not steps.assessed


def test_one_stage_alone_is_not_assessed(steps):
    training.train_and_assess(CONFIG, only="denoiser")
    assert steps.launched[0][1] == "denoiser"
    assert not steps.assessed


def test_an_assessment_looks_at_what_a_training_held_out(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(training, "open_prior", lambda where: where)
    monkeypatch.setattr(training, "held_out_of", lambda config: {"days": config.name})
    monkeypatch.setattr(training, "_assessed", lambda prior, days: asked.append((prior, days)))
    monkeypatch.setattr(training, "_write", lambda *_: None)
    with pytest.raises(AttributeError, match="metrics"):  # nothing was assessed here
        training.evaluate_prior("demo", tmp_path, CONFIG, ["name=other"])
    assert asked == [("demo", {"days": "other"})]
