"""What each network of a training demands of a worker, counted and not computed.

    memory = runtime + 4 B · (4 + c) · parameters + frozen networks + peak

Four copies: weights, two moments of AdamW, the moving average; one more, ``c``, for gradients that
add up over parts of a batch and one for those that are exchanged with other workers. ``peak`` is
what the loss of one part and its gradient keep alive, of the real networks (``prior.work``).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from longwang_ray.domain.cost import FLOAT, RUNTIME_BYTES
from longwang_ray.prior.autoencoder import Autoencoder
from longwang_ray.prior.context import CONTEXT_SIZE
from longwang_ray.prior.transform import LogTransform
from longwang_ray.prior.work import Precision, gradient_work, imagined
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.latent_space import LatentSpace
from longwang_ray.training.loop import Objective
from longwang_ray.training.losses import AutoencoderLoss, Denoise, ReadCoarse, Reconstruct
from longwang_ray.training.networks import make_autoencoder, make_denoiser, make_head
from longwang_ray.training.settings import EngineSettings, OptimisationSettings, TrainConfig

COPIES = 4
MIB, GIB = 2**20, 2**30
Batch = Callable[[int], tuple[Tensor, ...]]
"""Makes a batch of so many windows."""


@dataclass(frozen=True)
class Demand:
    """What fitting one network takes.

    Attributes:
        parameters: How many numbers are learned.
        at_once: Windows that a worker computes at once.
        flops: Floating-point operations a step, of all workers together.
        peak: Bytes that a worker's activations and gradients take.
        memory: Bytes a worker needs, all in all.
    """

    parameters: int
    at_once: int
    flops: int
    peak: int
    memory: int


def demands(config: TrainConfig, workers: int) -> dict[str, Demand]:
    """What each network demands, in the order in which they are fitted.

    Args:
        config: What is asked; its batches can be shared evenly.
        workers: How many there are.
    """
    with imagined():
        autoencoder = make_autoencoder(config)
        known = sum(p.numel() for p in autoencoder.parameters())
        return {
            name: _demand(config, name, objective, make, workers, known * (name != "autoencoder"))
            for name, (objective, make) in _objectives(config, autoencoder).items()
        }


def _demand(
    config: TrainConfig, name: str, objective: Objective, make: Batch, workers: int, frozen: int
) -> Demand:
    how: OptimisationSettings = getattr(config, name).optimisation
    at_once = how.batch // (workers * how.accumulate)
    batch, weights = make(at_once), list(objective.network.parameters())
    precision = _precision(config.engine, how)
    work = gradient_work(lambda: objective(*batch)[0], weights, precision)
    numbers = sum(weight.numel() for weight in weights)
    copies = COPIES + (how.accumulate > 1) + (workers > 1)
    memory = RUNTIME_BYTES + FLOAT * (copies * numbers + frozen) + work.peak
    return Demand(numbers, at_once, work.flops * (how.batch // at_once), work.peak, memory)


def _objectives(
    config: TrainConfig, autoencoder: Autoencoder
) -> dict[str, tuple[Objective, Batch]]:
    """What each stage minimises, and batches of its shapes: as `Stages` makes them."""
    part, window = config.autoencoder, config.lattice.window
    transform, unit = LogTransform(config.transform.epsilon, 0.0, 1.0), torch.ones(1)
    space = LatentSpace(autoencoder, transform, unit, unit, autoencoder.config.per_day)
    reconstruct = Reconstruct(autoencoder, transform, AutoencoderLoss(**part.loss.model_dump()))

    def latent(count: int, cells: tuple[int, int, int]) -> Tensor:
        shape = (c // n for c, n in zip(cells, part.compression, strict=True))
        return torch.empty(count, part.latent_channels, *shape)

    def source(count: int) -> Tensor:
        return latent(count, window) if space.encoded else torch.empty(count, *window)

    def noisy(count: int) -> tuple[Tensor, ...]:
        told, numbers = torch.empty(count, CONTEXT_SIZE), torch.empty(count)
        return source(count), told, numbers, numbers, latent(count, window)

    return {
        "autoencoder": (
            reconstruct,
            lambda count: (torch.empty(count, *part.window), latent(count, part.window)),
        ),
        "denoiser": (Denoise(make_denoiser(config), space), noisy),
        "head": (
            ReadCoarse(make_head(config), space),
            lambda count: (source(count), latent(count, window)),
        ),
    }


def expected_workers(engine: EngineSettings) -> int:
    """How many workers there will be, as far as this machine can tell."""
    if engine.kind == "serial":
        return 1
    return engine.workers if engine.workers != "auto" else max(1, _gpus(engine))


def _gpus(engine: EngineSettings) -> int:
    """GPUs of this machine that the training may use."""
    if engine.device == "cpu" or not torch.cuda.is_available():
        return 0
    return torch.cuda.device_count()


def require_memory(name: str, demand: Demand, engine: EngineSettings) -> None:
    """Refuse what this machine cannot hold, if it is this machine that will compute it.

    Raises:
        TrainingError: if it has too little memory; says how many windows at once would fit.
    """
    known = _device_memory(engine)
    if known is None or demand.memory <= known[0]:
        return
    there, where = known
    fewer = _fitting(demand, there)
    advice = (
        "choose a smaller window or network, or a larger machine"
        if fewer is None
        else f"{fewer} would fit: make {name}.optimisation.accumulate {demand.at_once // fewer} "
        "times what it is"
    )
    raise TrainingError(
        f"{name}: {demand.at_once} windows at once take about {said_bytes(demand.memory)} a "
        f"worker, {where} has {said_bytes(there)}; {advice}"
    )


def _fitting(demand: Demand, there: int) -> int | None:
    """The most windows at once, a divisor of those asked for, that memory suffices for."""
    rest = demand.memory - demand.peak
    for count in range(demand.at_once - 1, 0, -1):
        if demand.at_once % count == 0 and rest + demand.peak * count / demand.at_once <= there:
            return count
    return None


def _device_memory(engine: EngineSettings) -> tuple[int, str] | None:
    """Bytes of the device that will compute, and its name; ``None`` if it is another machine."""
    asked = 1 if engine.workers == "auto" else engine.workers
    if engine.kind == "ray" and ("RAY_ADDRESS" in os.environ or asked > _gpus(engine)):
        return None
    if _gpus(engine):
        return torch.cuda.get_device_properties(0).total_memory, "this machine's GPU"
    if engine.device != "cuda":
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), "this machine"
    return None


def _precision(engine: EngineSettings, how: OptimisationSettings) -> Precision:
    if not how.bf16:
        return "float32"
    on_gpu = engine.device == "cuda" or (engine.device == "auto" and _gpus(engine))
    return "bf16 on cuda" if on_gpu else "bf16"


def said_bytes(count: float) -> str:
    """Bytes, to be read."""
    return f"{count / GIB:,.1f} GiB" if count >= GIB else f"{count / MIB:,.1f} MiB"
