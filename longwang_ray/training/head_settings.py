"""What ``longwang train-head`` is told: days, and the head's size and fit."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from longwang_ray.config import load_model, parse_model
from longwang_ray.training.settings import (
    Data,
    Folder,
    OptimisationSettings,
    Positive,
    Share,
    Strict,
    Text,
    Weight,
)


class HeadOptimisation(OptimisationSettings):
    """As any network's, with defaults for a head."""

    steps: Positive = 4000
    batch: Positive = 4
    learning_rate: Annotated[float, Field(gt=0)] = 4e-3
    ema: Share = 0.995


class HeadLessons(Strict):
    """Size and fit of the head; `auto` is as wide as 3 % of the decoder's operations allow."""

    channels: Positive | Literal["auto"] = "auto"
    noise: Weight = 0.4
    shift: Weight = 1.0
    estimates: Positive = 256
    optimisation: HeadOptimisation = HeadOptimisation()


class HeadEngine(Strict):
    """One process teaches a head; `loaders` are its threads that draw windows ahead."""

    kind: Literal["serial"] = "serial"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive | None = None
    loaders: Annotated[int, Field(ge=0)] = 2


class HeadTraining(Strict):
    """A head's training.

    `name` is the new prior's, by default the old one's. `output`, a folder or an fsspec URL, keeps
    checkpoint and curve, by default beside the new bundle; `cache` is where days are kept on this
    machine, by default inside `output`. `data` are by default days of the synthetic Earth.
    """

    name: Text | None = None
    output: Text | None = None
    cache: Folder | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    engine: HeadEngine = HeadEngine()
    data: Data | None = None
    head: HeadLessons = HeadLessons()


def load_head_training(
    path: str | Path | None = None, overrides: Iterable[str] = ()
) -> HeadTraining:
    """Read a head's training; without a file all is as by default.

    Raises:
        ConfigError: As `load_config` does for a run.
    """
    if path is None:
        return parse_model(HeadTraining, {}, overrides, origin="head training")
    return load_model(HeadTraining, path, overrides)
