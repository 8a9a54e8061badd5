"""One training loop for every network of a prior.

AdamW with warm-up and cosine decay, gradient clipping, an exponential moving average of the
weights, and a checkpoint that a killed run goes on from. A batch is what its (seed, step) says, so
the curve is the same on any number of workers, in any number of parts, after any restart. A wish
to stop is heeded between two steps, after a checkpoint.
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from longwang_ray.engine.progress import duration
from longwang_ray.training.channel import Channel
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.curves import Curve
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.loader import Loader, Sample

NO_BF16 = ("DEFAULT", "AVX2")
"""CPUs that compute bfloat16 in software: a training step takes about 15 times as long."""

MOST_SKIPPED = 20
"""Steps in a row without a finite gradient before it is said that nothing is learned."""

Network = TypeVar("Network", bound=nn.Module)


class Evaluation(NamedTuple):
    """What was seen of a network on held-out days: metrics, and a picture if one was drawn."""

    metrics: dict[str, float]
    picture: NDArray[np.uint8] | None


Evaluate = Callable[[Network, int], Evaluation]
"""Looks at the averaged network after a step; only the first worker does."""


@dataclass(frozen=True)
class Optimisation:
    """How one network is fitted.

    Attributes:
        steps: Optimiser steps in all.
        batch: Windows a step, of all workers together.
        learning_rate: Peak rate of AdamW.
        warmup: Steps of linear warm-up before the cosine.
        ema: Decay of the averaged weights.
        clip: Largest norm of the gradient.
        weight_decay: Of AdamW.
        accumulate: Parts in which a worker computes its share of a batch.
        report_every: Steps between rows of the curve.
        checkpoint_every: Steps between checkpoints.
        evaluate_every: Steps between evaluations.
        bf16: Autocast to bfloat16.
        compile: Compile the network with ``torch.compile``.
    """

    steps: int
    batch: int
    learning_rate: float = 1e-3
    warmup: int = 100
    ema: float = 0.999
    clip: float = 1.0
    weight_decay: float = 1e-4
    accumulate: int = 1
    report_every: int = 50
    checkpoint_every: int = 250
    evaluate_every: int = 1000
    bf16: bool = False
    compile: bool = False

    def rate(self, step: int) -> float:
        """Learning rate of a step."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * (0.02 + 0.98 * 0.5 * (1.0 + math.cos(math.pi * done)))


class Objective(nn.Module, Generic[Network]):
    """What a network is asked to minimise.

    Its ``forward`` takes the tensors of a batch and returns the mean loss and a dictionary of
    metrics, all without dimension.

    Attributes:
        network: The network that is fitted.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network


class Ema(Generic[Network]):
    """Moving average of a network's weights; early steps forget faster."""

    def __init__(self, module: Network, decay: float) -> None:
        self.average: Network = copy.deepcopy(module).requires_grad_(False).eval()
        self.decay = decay

    @torch.no_grad()
    def update(self, module: nn.Module, step: int) -> None:
        """Move the average towards the weights after a step."""
        decay = min(self.decay, (1 + step) / (10 + step))
        pairs = zip(self.average.parameters(), module.parameters(), strict=True)
        means, weights = zip(*pairs, strict=True)
        torch._foreach_lerp_(means, weights, 1.0 - decay)


@dataclass
class _Run(Generic[Network]):
    """The state of a training: all that a checkpoint holds."""

    name: str
    module: Network
    optimiser: torch.optim.Optimizer
    ema: Ema[Network]
    step: int = 0

    def state(self) -> dict[str, Any]:
        return {
            "module": self.module.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "ema": self.ema.average.state_dict(),
            "step": self.step,
        }

    def resume(self, files: Checkpoints) -> None:
        state = files.read_state(self.name)
        if state is None:
            return
        try:
            self.module.load_state_dict(state["module"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.ema.average.load_state_dict(state["ema"])
        except (RuntimeError, ValueError, KeyError) as error:
            raise TrainingError(
                f"{files.where(self.name)}.pt: is a network of other sizes than the "
                "configuration's; give this training another folder (output=…), or remove the file"
            ) from error
        self.step = state["step"]


def fit(
    name: str,
    objective: Objective[Network],
    loader: Loader,
    optimisation: Optimisation,
    files: Checkpoints,
    channel: Channel,
    evaluate: Evaluate[Network] | None = None,
) -> Network:
    """Fit a network and return its averaged weights.

    Args:
        name: Names the checkpoint and the curve.
        objective: The network and its loss, on the worker's device; changed in place.
        loader: Where batches come from.
        optimisation: How.
        files: Where checkpoint and curve live; a checkpoint found there is gone on from.
        channel: Who is told, and who may wish to stop.
        evaluate: Looks at the averaged network now and then.

    Raises:
        TrainingError: if the checkpoint does not fit the network, or workers see different ones.
        TrainingStopped: if somebody wished so; a checkpoint is left.
    """
    worker, module = loader.worker, objective.network
    run = _Run(name, module, _adamw(module, optimisation), Ema(module, optimisation.ema))
    run.resume(files)
    if not worker.same(run.step):
        raise TrainingError(
            f"{files.url}: workers on different machines see different checkpoints in it; give a "
            "shared folder or a URL (output=gs://…)"
        )
    if run.step:
        channel.tell(f"{name}: goes on from step {run.step} of {optimisation.steps}")
    if worker.leads and run.step:
        files.tell_steps(name, run.step)  # a kill between the two writes left it behind
    if run.step < optimisation.steps:
        _Fit(run, objective, loader, optimisation, files, channel, evaluate).go_on()
    return run.ema.average


def _adamw(module: nn.Module, how: Optimisation) -> torch.optim.Optimizer:
    fused = next(module.parameters()).is_cuda
    return torch.optim.AdamW(
        module.parameters(),
        lr=how.learning_rate,
        weight_decay=how.weight_decay,
        betas=(0.9, 0.99),
        fused=fused,
    )


@dataclass
class _Fit(Generic[Network]):
    run: _Run[Network]
    objective: Objective[Network]
    loader: Loader
    how: Optimisation
    files: Checkpoints
    channel: Channel
    evaluate: Evaluate[Network] | None
    wrapped: nn.Module = field(init=False)
    skipped: int = 0

    def go_on(self) -> None:
        """Every step that is left."""
        run, how, worker = self.run, self.how, self.loader.worker
        run.module.train()
        slow = torch.backends.cpu.get_cpu_capability() in NO_BF16
        if how.bf16 and slow and worker.device.type == "cpu":
            self.channel.tell(
                f"{run.name}: this CPU imitates bfloat16, about 15 times slower than float32; "
                f"stop and set {run.name}.optimisation.bf16=false"
            )
        if how.compile:
            run.module.compile()
        self.wrapped = worker.wrap(self.objective)
        curve = Curve(self.files, run.name, run.step) if worker.leads else None
        report = _Report(run.name, self.channel, curve, how, run.step)
        with self.loader.steps(run.step, how.steps) as batches:
            for parts in batches:
                metrics = self._step(parts)
                run.step += 1
                last = run.step == how.steps
                if run.step % how.report_every == 0 or last:
                    shown = worker.mean(torch.stack(list(metrics.values()))).tolist()
                    report(run.step, dict(zip(metrics, shown, strict=True)))
                stop = worker.any(self.channel.stop_asked())
                if run.step % how.checkpoint_every == 0 or last or stop:
                    self._save()
                if stop and not last:
                    raise TrainingStopped(f"{run.name}: stopped at step {run.step} of {how.steps}")
                if run.step % how.evaluate_every == 0 or last:
                    self._look(report)
        if curve is not None:
            curve.close()

    def _step(self, parts: list[Sample]) -> dict[str, Tensor]:
        run, how = self.run, self.how
        for group in run.optimiser.param_groups:
            group["lr"] = how.rate(run.step)
        run.optimiser.zero_grad(set_to_none=True)
        found = [self._part(part, last=k == len(parts) - 1) for k, part in enumerate(parts)]
        norm = nn.utils.clip_grad_norm_(run.module.parameters(), how.clip, foreach=True)
        if torch.isfinite(norm):  # a bad batch is skipped, not learned
            run.optimiser.step()
            run.ema.update(run.module, run.step)
            self.skipped = 0
        else:
            self._skip()
        means = {key: torch.stack([f[key] for f in found]).mean() for key in found[0]}
        return means | {"grad_norm": norm.detach()}

    def _skip(self) -> None:
        self.skipped += 1
        if self.skipped == MOST_SKIPPED:
            raise TrainingError(
                f"{self.run.name}: the gradients of {MOST_SKIPPED} steps in a row were not "
                f"finite, up to step {self.run.step + 1}; try bf16: false (some shapes of bf16 "
                "convolutions are broken on some CPUs), or a lower learning_rate; the last "
                "checkpoint is from before"
            )

    def _part(self, part: Sample, last: bool) -> dict[str, Tensor]:
        """Gradient of one part of the batch; workers average theirs once, with the last part."""
        waits = self.loader.worker.world_size > 1 and not last
        quiet = self.wrapped.no_sync() if waits else nullcontext()
        device = self.loader.worker.device.type
        with quiet:
            with torch.autocast(device, torch.bfloat16, enabled=self.how.bf16):
                loss, metrics = self.wrapped(*part)
            (loss / self.loader.accumulate).backward()
        return {"loss": loss.detach().float(), **{k: v.detach() for k, v in metrics.items()}}

    def _save(self) -> None:
        if self.loader.worker.leads:
            self.files.write_state(self.run.name, self.run.state())

    def _look(self, report: _Report) -> None:
        worker = self.loader.worker
        if worker.leads and self.evaluate is not None:
            device = worker.device.type
            with torch.no_grad(), torch.autocast(device, torch.bfloat16, enabled=self.how.bf16):
                found = self.evaluate(self.run.ema.average, self.run.step)
            report.held_out(self.run.step, found)
        worker.wait()


@dataclass
class _Report:
    """A line for the user and a row of the curve, every so many steps."""

    name: str
    channel: Channel
    curve: Curve | None
    how: Optimisation
    first: int
    started: float = field(default_factory=time.monotonic)

    def __call__(self, step: int, metrics: dict[str, float]) -> None:
        if self.curve is None:
            return
        rate = (step - self.first) / (time.monotonic() - self.started)
        shown = " ".join(f"{k}={v:.4g}" for k, v in metrics.items())
        self.channel.tell(
            f"{self.name} {step}/{self.how.steps} {shown} {rate * self.how.batch:.3g} windows/s, "
            f"{duration((self.how.steps - step) / rate)} left"
        )
        self.curve.add(step, {**metrics, "steps_per_second": rate})

    def held_out(self, step: int, found: Evaluation) -> None:
        if self.curve is None:
            return
        shown = " ".join(f"{k}={v:.4g}" for k, v in found.metrics.items())
        self.channel.tell(f"{self.name} {step}/{self.how.steps} held out: {shown}")
        self.curve.add(step, {f"held_out_{k}": v for k, v in found.metrics.items()})
        if found.picture is not None:
            self.curve.show(step, found.picture)
