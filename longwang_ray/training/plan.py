"""What a training would do, before anything is fitted: networks, steps, days, memory.

    memory = runtime + 5 · 4 B · parameters + 4 B · values kept for the gradient of one batch

Five copies: weights, gradient, two moments of AdamW, the moving average. What the gradient keeps
is counted on the ``meta`` device of torch, where shapes are propagated and nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from longwang_ray.domain.cost import RUNTIME_BYTES
from longwang_ray.domain.grid import era5_grid
from longwang_ray.prior.context import CONTEXT_SIZE
from longwang_ray.training.data import day_bytes
from longwang_ray.training.networks import make_autoencoder, make_denoiser, make_head
from longwang_ray.training.settings import OptimisationSettings, TrainConfig
from longwang_ray.training.stages import steps_done

COPIES = 5
FLOAT = 4
MIB = 2**20


@dataclass(frozen=True)
class NetworkPlan:
    """One network of a training.

    Attributes:
        name: Which stage fits it.
        parameters: How many numbers are learned.
        steps: Optimiser steps in all.
        done: Of these, what the checkpoint has.
        batch: Windows a step.
        memory: Bytes while it is fitted, estimated.
    """

    name: str
    parameters: int
    steps: int
    done: int
    batch: int
    memory: int


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do.

    Attributes:
        config: What is asked.
        networks: In the order in which they are fitted.
        days: Days to learn from, and days held out.
        disk: Bytes of days on disk.
    """

    config: TrainConfig
    networks: tuple[NetworkPlan, ...]
    days: tuple[int, int]
    disk: int

    @property
    def parameters(self) -> int:
        """Of all networks."""
        return sum(network.parameters for network in self.networks)

    @property
    def memory(self) -> int:
        """Bytes of the largest stage, estimated."""
        return max(network.memory for network in self.networks)

    def pairs(self) -> list[tuple[str, str]]:
        """The plan as names and what belongs to them, to be printed."""
        config = self.config
        used, held = self.days
        rows = [
            ("prior", f"{config.name}, intended use: {config.intended_use}"),
            (
                "days",
                f"{used} to learn from, {held} held out, {self.disk / MIB:,.0f} MiB on disk",
            ),
        ]
        for n in self.networks:
            rows.append(
                (
                    n.name,
                    f"{n.parameters:,} parameters, {n.done:,} of {n.steps:,} steps done, "
                    f"{n.batch} windows a step, about {n.memory / MIB:,.0f} MiB",
                )
            )
        bundle = f"{config.bundle} ({2 * self.parameters / MIB:.1f} MiB in float16)"
        return [
            *rows,
            ("together", f"{self.parameters:,} parameters"),
            ("memory", f"about {self.memory / MIB:,.0f} MiB"),
            ("checkpoints", str(config.output)),
            ("bundle", bundle),
        ]

    def lines(self) -> list[str]:
        """The pairs, aligned."""
        pairs = self.pairs()
        width = max(len(name) for name, _ in pairs)
        return [f"{name:<{width}}  {text}" for name, text in pairs]


def plan_training(config: TrainConfig) -> TrainingPlan:
    """Describe a training; starts nothing and writes nothing.

    Raises:
        TrainingError: if a checkpoint is there that cannot be read.
    """
    part, lattice = config.autoencoder, config.lattice
    shape = tuple(w // c for w, c in zip(lattice.window, part.compression, strict=True))
    with torch.device("meta"):
        autoencoder, denoiser, head = (
            make_autoencoder(config), make_denoiser(config), make_head(config)
        )  # fmt: skip
        batch = config.denoiser.optimisation.batch
        rain = torch.empty(part.optimisation.batch, 1, *part.window)
        noisy = torch.empty(batch, part.latent_channels, *shape)
        clean = torch.empty(config.head.optimisation.batch, part.latent_channels, *shape)
        time, context = torch.empty(batch), torch.empty(batch, CONTEXT_SIZE)
        kept = (
            _kept(lambda: autoencoder.decode(autoencoder.encode(rain)[0])),
            _kept(lambda: denoiser(noisy, time, context)),
            _kept(lambda: head(clean)),
        )
    networks = (
        _network(config, "autoencoder", autoencoder, part.optimisation, kept[0]),
        _network(config, "denoiser", denoiser, config.denoiser.optimisation, kept[1]),
        _network(config, "head", head, config.head.optimisation, kept[2]),
    )
    data = config.data
    days = ((data.sequences - data.held_out) * data.days, data.held_out * data.days)
    return TrainingPlan(config, networks, days, sum(days) * day_bytes(era5_grid()))


def _network(
    config: TrainConfig, name: str, module: nn.Module, fit: OptimisationSettings, kept: int
) -> NetworkPlan:
    parameters = sum(p.numel() for p in module.parameters())
    memory = RUNTIME_BYTES + COPIES * FLOAT * parameters + kept
    done = min(steps_done(config.output, name), fit.steps)
    return NetworkPlan(name, parameters, fit.steps, done, fit.batch, memory)


def _kept(forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for its gradient, each tensor once."""
    seen: dict[int, int] = {}
    alive = []  # or a freed tensor's place would be counted for another one

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        alive.append(tensor)
        seen[storage._cdata] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        forward()
    return sum(seen.values())
