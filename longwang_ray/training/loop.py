"""One training loop for every network of a prior.

AdamW with warm-up and cosine decay, gradient clipping, an exponential moving average of the
weights, and a checkpoint that a killed run goes on from. What is random is drawn from
(seed, step), so a resumed run sees the same windows as an undisturbed one and ends with the same
weights. A signal to stop is heeded between two steps, after a checkpoint.
"""

from __future__ import annotations

import copy
import csv
import logging
import math
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Generic, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

log = logging.getLogger(__name__)

REPORT_EVERY = 50
STOPPING = (signal.SIGINT, signal.SIGTERM)

Network = TypeVar("Network", bound=nn.Module)
LossFn = Callable[[np.random.Generator], tuple[Tensor, dict[str, float]]]
"""Draws a batch and returns its loss and what to log."""


class TrainingError(ValueError):
    """A training that cannot go on as it is; says which file and what to do."""


@dataclass(frozen=True)
class Optimisation:
    """How one network is fitted.

    Attributes:
        steps: Optimiser steps in all.
        batch: Windows a step.
        learning_rate: Peak rate of AdamW.
        warmup: Steps of linear warm-up before the cosine.
        ema: Decay of the averaged weights.
        clip: Largest norm of the gradient.
        weight_decay: Of AdamW.
        checkpoint_every: Steps between checkpoints.
        bf16: Autocast to bfloat16.
    """

    steps: int
    batch: int
    learning_rate: float = 1e-3
    warmup: int = 100
    ema: float = 0.999
    clip: float = 1.0
    weight_decay: float = 1e-4
    checkpoint_every: int = 250
    bf16: bool = False

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * done)))


class Ema(Generic[Network]):
    """Moving average of a network's weights; early steps forget faster."""

    def __init__(self, module: Network, decay: float) -> None:
        self.average: Network = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the weights after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for mean, weight in zip(self.average.parameters(), module.parameters(), strict=True):
            mean.lerp_(weight, 1.0 - decay)


@dataclass
class _Run(Generic[Network]):
    module: Network
    optimiser: torch.optim.Optimizer
    ema: Ema[Network]
    file: Path
    step: int = 0

    def save(self) -> None:
        state = {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.average.state_dict(),
            "step": self.step,
        }
        part = self.file.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, self.file)  # a kill leaves the last whole checkpoint

    def resume(self) -> None:
        state = read_checkpoint(self.file)
        if state is None:
            return
        try:
            self.module.load_state_dict(state["module"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.ema.average.load_state_dict(state["ema"])
        except (RuntimeError, ValueError) as error:
            raise TrainingError(
                f"{self.file}: is a network of other sizes than the configuration's; give this "
                "training another folder (output=…), or remove the file"
            ) from error
        self.step = state["step"]
        log.info("%s: goes on from step %d", self.file.stem, self.step)


def read_checkpoint(file: Path) -> dict[str, Any] | None:
    """What a checkpoint holds, ``None`` where there is none.

    Raises:
        TrainingError: if the file is no checkpoint.
    """
    if not file.exists():
        return None
    try:
        state = torch.load(file, weights_only=True, map_location="cpu", mmap=True)
    except Exception as error:  # torch raises what its readers raise: zip, pickle, runtime
        raise TrainingError(f"{file}: is no checkpoint ({error}); remove it") from error
    return dict(state)


def fit(
    name: str,
    module: Network,
    loss: LossFn,
    optimisation: Optimisation,
    folder: Path,
    seed: int,
) -> Network:
    """Fit a network and return its averaged weights.

    Args:
        name: Names the checkpoint ``{name}.pt`` and the log ``{name}.csv``.
        module: The network; changed in place.
        loss: Loss of one batch under the module's present weights.
        optimisation: How.
        folder: Where checkpoint and log live; a checkpoint found there is gone on from.
        seed: Of everything random, together with the step.

    Raises:
        TrainingError: if the checkpoint does not fit the network.
    """
    folder.mkdir(parents=True, exist_ok=True)
    optimiser = torch.optim.AdamW(
        module.parameters(),
        lr=optimisation.learning_rate,
        weight_decay=optimisation.weight_decay,
        betas=(0.9, 0.99),
    )
    run = _Run(module, optimiser, Ema(module, optimisation.ema), folder / f"{name}.pt")
    run.resume()
    module.train()
    report = _Report(name, folder / f"{name}.csv", run.step, optimisation.steps)
    with _heeded_between_steps() as stop:
        while run.step < optimisation.steps and not stop:
            metrics = _step(run, loss, optimisation, seed)
            run.step += 1
            last = run.step == optimisation.steps
            if run.step % REPORT_EVERY == 0 or last:
                report(run.step, metrics)
            if run.step % optimisation.checkpoint_every == 0 or last or stop:
                run.save()
    if stop:
        log.info(
            "%s: stopped at step %d of %d; the same command goes on from there",
            name, run.step, optimisation.steps,
        )  # fmt: skip
        signal.raise_signal(stop[0])
        raise KeyboardInterrupt  # whoever handles the signal: an unfinished network is no result
    return run.ema.average


@contextmanager
def _heeded_between_steps() -> Iterator[list[signal.Signals]]:
    """Collect signals to stop instead of being torn out of a step; a second one is not waited for.

    Only the main thread is told of signals: elsewhere nothing changes.
    """
    asked: list[signal.Signals] = []
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    found = {number: signal.getsignal(number) for number in STOPPING}
    # A signal that is ignored (nohup, a shell's background) stays ignored; None is not Python's.
    before = {n: handler for n, handler in found.items() if handler not in (signal.SIG_IGN, None)}

    def ask(number: int, _frame: FrameType | None) -> None:
        asked.append(signal.Signals(number))
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, ask)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _step(run: _Run[Any], loss: LossFn, optimisation: Optimisation, seed: int) -> dict[str, float]:
    for group in run.optimiser.param_groups:
        group["lr"] = optimisation.rate(run.step)
    generator = np.random.Generator(np.random.Philox(key=[seed, run.step]))
    with torch.autocast("cpu", torch.bfloat16, enabled=optimisation.bf16):
        value, metrics = loss(generator)
    run.optimiser.zero_grad(set_to_none=True)
    value.backward()
    norm = nn.utils.clip_grad_norm_(run.module.parameters(), optimisation.clip)
    if torch.isfinite(norm):  # a bad batch is skipped, not learned
        run.optimiser.step()
        run.ema.update(run.module, run.step)
    return metrics | {"loss": value.item(), "grad_norm": norm.item()}


@dataclass
class _Report:
    """A line in the log and a row in a table, every so many steps."""

    name: str
    file: Path
    first: int
    steps: int
    started: float = field(default_factory=time.monotonic)

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        rate = (step - self.first) / (time.monotonic() - self.started)
        left = (self.steps - step) / rate / 60
        shown = " ".join(f"{k}={v:.4g}" for k, v in metrics.items())
        log.info("%s %d/%d %s %.1f min left", self.name, step, self.steps, shown, left)
        row = metrics | {"steps_per_second": rate}
        new = not self.file.exists()
        with self.file.open("a", newline="") as handle:
            writer = csv.writer(handle)
            if new:
                writer.writerow(["step", *row])
            writer.writerow([step, *(f"{v:.6g}" for v in row.values())])
