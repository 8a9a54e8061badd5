"""A coarse head for a prior that has none: ``longwang train-head``.

An imported prior computes what was published and can be guided only through its whole decoder. A
head taught by that decoder makes ``fast`` guidance possible; nothing else of the prior changes.
The new bundle says which prior it came from, how the head was taught, and how near it comes.
"""

from __future__ import annotations

import json
import logging
import signal
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from longwang_ray.posterior.fidelity import STATED, cost_share
from longwang_ray.prior.bundle import DESCRIPTION, Prior
from longwang_ray.prior.head import QUARTERS, HeadConfig
from longwang_ray.training.channel import Channel, signals_collected
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.data import TrainingData, open_training_data
from longwang_ray.training.distil import Lessons, distil_head
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.estimates import Estimator, measure_estimates
from longwang_ray.training.head_errors import head_errors
from longwang_ray.training.head_settings import HeadTraining
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.latents import supply_of
from longwang_ray.training.publish import bundle_at, other_prior, save_bundle
from longwang_ray.training.settings import (
    DailyData,
    HeadSettings,
    SyntheticData,
    told_of,
)
from longwang_ray.training.worker import Worker, worker_alone

log = logging.getLogger(__name__)

AFFORDED = 0.03
"""Of the decoder's operations that a head may cost; its width is chosen by it."""

WIDTHS = (64, 48, 40, 32, 24, 16, 8)
SYNTHETIC_STEP = 0.25
SHORTEST_SEQUENCE = 16
TEACHER = "teacher.json"


def train_head(
    prior: Prior,
    config: HeadTraining,
    out: str | Path,
    *,
    again: bool = False,
    channel: Channel | None = None,
) -> str:
    """Teach a prior a coarse head, going on from the checkpoint that is there, and write both.

    Args:
        prior: Any; its networks are moved to the device that the config asks for and back.
        config: How.
        out: Folder or fsspec URL of the new bundle; nothing is overwritten.
        again: Whether a prior that has a head gets another one.
        channel: Who is told, and who may wish to stop; by default this process's log and its
            signals, which leave a checkpoint and then act as they would have.

    Returns:
        Where the new bundle is.

    Raises:
        TrainingError: if the prior has a head, its latent cells have no quarters, the data have no
            window of its size, or the folder or the checkpoint belongs to something else.
        TrainingStopped: if the ``channel`` that was given wished so.
    """
    training = _prepared(prior, config, str(out), again)
    if config.engine.threads is not None:
        torch.set_num_threads(config.engine.threads)
    try:
        if channel is not None:
            return training.run(channel)
        with signals_collected() as here:
            try:
                return training.run(here)
            except TrainingStopped as stopped:
                log.info("%s; the same command goes on from there", stopped)
        signal.raise_signal(here.signals[0])
        raise KeyboardInterrupt  # whoever handles the signal: an unfinished head is no result
    finally:
        prior.to("cpu")


def folder_beside(where: str) -> str:
    """The folder of the new bundle where none is named: beside the old one.

    Raises:
        TrainingError: if the old one is embedded, or not on this machine.
    """
    folder = Path(where.rstrip("/"))
    if "://" in where or not (folder / DESCRIPTION).exists():
        raise TrainingError(
            f"{where}: is no folder of this machine, so nothing can be written beside it; say "
            "where the new prior goes (--out FOLDER)"
        )
    return str(folder.with_name(f"{folder.name}-head"))


@dataclass(frozen=True)
class _Training:
    """Everything checked, nothing computed."""

    prior: Prior
    part: HeadSettings
    config: HeadTraining
    data_settings: SyntheticData | DailyData
    data: TrainingData
    folder: Path
    files: Checkpoints
    out: str
    worker: Worker

    def run(self, channel: Channel) -> str:
        prior, config, device = self.prior.to(self.worker.device), self.config, self.worker.device
        mean, std = (torch.tensor(v, device=device) for v in (prior.latent_mean, prior.latent_std))
        per_day = prior.autoencoder.config.per_day
        space = LatentSpace(prior.autoencoder, prior.transform, mean, std, per_day)
        train, held_out = (
            supply_of(windows, prior.autoencoder, prior.transform, self.folder)
            for windows in (self.data.train, self.data.held_out)
        )
        lessons = Lessons(space, train, held_out, prior.window)
        channel.tell(f"head: {self._told()}")
        head = distil_head(
            self.part,
            lessons,
            seed=config.seed,
            files=self.files,
            worker=self.worker,
            channel=channel,
            loaders=config.engine.loaders,
            title=f"{prior.name}: head",
        )
        head = head.eval().requires_grad_(False)
        channel.tell("head: what estimates are worth")
        estimator = Estimator(prior.denoiser, head.to(device), space, prior.window, prior.stride)
        tables = measure_estimates(estimator, train, config.seed, self.part.estimates)
        taught = replace(prior, head=head, estimates=tables)
        errors = head_errors(taught, self.data.held_out, config.seed)
        for step, one in errors["cells"].items():
            channel.tell(
                f"head, cells of {step}°: error {one['error']:.1%}, bias {one['bias']:+.1%}"
            )
        return save_bundle(replace(taught.to("cpu"), card=self._card(errors)), self.out)

    @property
    def told(self) -> dict[str, Any]:
        """What the card says about the head's making: nothing of this machine, no secrets."""
        return {
            "seed": self.config.seed,
            "data": told_of(self.data_settings),
            "head": self.part.model_dump(mode="json"),
        }

    def _told(self) -> str:
        auto, window = self.prior.autoencoder.config, self.prior.window
        sizes = HeadConfig(auto.latent_channels, self.part.channels, auto.time_compression)
        share = cost_share(auto, sizes, window)
        days = int(self.data.train.parts[0].days.sum())
        return (
            f"{self.part.channels} channels, {share:.2%} of the decoder's operations; "
            f"{days:,} days, {self.data.train.count(window):,} windows to learn from"
        )

    def _card(self, errors: dict[str, Any]) -> dict[str, Any]:
        prior, card = self.prior, dict(self.prior.card)
        if self.config.name is not None:
            card["name"] = self.config.name
        return {
            **_without_head(card),
            "distilled_from": prior.digest,
            "head_training": self.told,
            STATED: errors,
        }


def _prepared(prior: Prior, config: HeadTraining, out: str, again: bool) -> _Training:
    """Check all that can be checked before days are read."""
    _require_headless(prior, again)
    _require_quarters(prior)
    where = config.output or f"{out.rstrip('/')}-training"
    if "://" in where and config.cache is None:
        raise TrainingError(
            f"{where}: checkpoints go there, and days are kept on this machine: say where "
            "(cache=FOLDER, on a disk with room for them)"
        )
    folder = config.cache or Path(where)
    asked = _data(prior, config)
    data = open_training_data(asked, folder, prior.compression[1], prior.grid_step)
    for windows in (data.train, data.held_out):
        windows.count(prior.window)  # raises if there is none
    part = _sized(prior, config)
    files = Checkpoints(where)
    worker = worker_alone(config.engine.device)
    training = _Training(prior, part, config, asked, data, folder, files, out, worker)
    _require_room(training)
    _require_same_teacher(training)
    return training


def _require_headless(prior: Prior, again: bool) -> None:
    if prior.head is not None and not again:
        raise TrainingError(
            f"prior {prior.name} has a coarse head already ({prior.head.config.channels} "
            "channels); say --again (again=True) to teach it another one"
        )


def _require_quarters(prior: Prior) -> None:
    rows, columns = prior.compression[1:]
    if rows % QUARTERS or columns % QUARTERS:
        raise TrainingError(
            f"prior {prior.name}: a latent cell is {rows} × {columns} fine cells and has no "
            "quarters for a head to read; its decoder alone can guide (sampler.guidance: detached)"
        )


def _data(prior: Prior, config: HeadTraining) -> SyntheticData | DailyData:
    if config.data is not None and not isinstance(config.data, SyntheticData):
        return config.data
    if prior.grid_step != SYNTHETIC_STEP:
        raise TrainingError(
            f"prior {prior.name} has a grid of {prior.grid_step:g}°, the synthetic Earth one of "
            f"{SYNTHETIC_STEP}°: give daily rain on the prior's grid (data in CONFIG)"
        )
    return config.data or SyntheticData(days=max(SHORTEST_SEQUENCE, prior.window[0]))


def _sized(prior: Prior, config: HeadTraining) -> HeadSettings:
    """The head's settings with its width, which is part of what a checkpoint must fit."""
    told = config.head.model_dump()
    if told["channels"] == "auto":
        told["channels"] = affordable_width(prior)
    return HeadSettings.model_validate(told)


def affordable_width(prior: Prior) -> int:
    """The most channels whose operations are at most 3 % of the decoder's."""
    auto = prior.autoencoder.config
    for width in WIDTHS:
        sizes = HeadConfig(auto.latent_channels, width, auto.time_compression)
        if cost_share(auto, sizes, prior.window) <= AFFORDED:
            return width
    return WIDTHS[-1]


def _require_room(training: _Training) -> None:
    """Hours of training later is too late to learn that the folder is taken."""
    there = bundle_at(training.out)
    asked = {"distilled_from": training.prior.digest, "head_training": training.told}
    if there is not None and any(there.card.get(key) != value for key, value in asked.items()):
        raise other_prior(training.out, "from another prior, or taught otherwise")


def _require_same_teacher(training: _Training) -> None:
    """A checkpoint is gone on from with the teacher that it has had, or not at all."""
    files, digest = training.files, training.prior.digest
    kept = files.read(TEACHER)
    if kept is not None and json.loads(kept).get("prior") != digest:
        raise TrainingError(
            f"{files.where(TEACHER)}: a head of another prior is being taught here "
            f"({json.loads(kept).get('prior', '')[:12]}, this one is {digest[:12]}); give another "
            "folder (output=…)"
        )
    files.write(TEACHER, json.dumps({"prior": digest}).encode())


def _without_head(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card without what was measured of an earlier head, in all its parts or at its top."""
    metrics = card.get("metrics")
    if not isinstance(metrics, Mapping):
        return dict(card)
    kept = {
        name: {k: v for k, v in part.items() if k != "head"} if isinstance(part, Mapping) else part
        for name, part in metrics.items()
        if name != "head"
    }
    return {**card, "metrics": kept}
