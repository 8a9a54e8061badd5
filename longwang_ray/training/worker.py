"""One process of a training, and what it needs to know of the others.

Every worker runs the same program on its share of each batch; gradients are averaged by
``torch.distributed``, which whoever starts several workers has set up. The first one writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from longwang_ray.training.errors import TrainingError

Made = TypeVar("Made")


@dataclass(frozen=True)
class Worker:
    """One of ``world_size`` processes.

    Attributes:
        rank: Which one, from 0.
        world_size: How many there are.
        device: Where it computes.
    """

    rank: int = 0
    world_size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        """Whether it is the one that writes."""
        return self.rank == 0

    def share(self, count: int) -> range:
        """Which of ``count`` windows are its own."""
        return range(self.rank, count, self.world_size)

    def wrap(self, module: nn.Module) -> nn.Module:
        """The module with its gradients averaged over all workers."""
        if self.world_size == 1:
            return module
        devices = [self.device] if self.device.type == "cuda" else None
        return DistributedDataParallel(module, device_ids=devices)

    def wait(self) -> None:
        """Until all workers are here."""
        if self.world_size > 1:
            dist.barrier()

    def led(self, make: Callable[[], Made]) -> Made:
        """What the first worker makes, for all of them."""
        made = [make() if self.leads else None]
        if self.world_size > 1:
            dist.broadcast_object_list(made, device=self.device)
        return cast(Made, made[0])

    def any(self, flag: bool) -> bool:
        """Whether any worker says so."""
        if self.world_size == 1:
            return flag
        said = torch.tensor(float(flag), device=self.device)
        dist.all_reduce(said, dist.ReduceOp.MAX)
        return bool(said.item())

    def mean(self, values: torch.Tensor) -> torch.Tensor:
        """Values averaged over all workers."""
        if self.world_size > 1:
            values = values.to(self.device)
            dist.all_reduce(values)
            values = values / self.world_size
        return values

    def same(self, number: int) -> bool:
        """Whether all workers have the same number."""
        if self.world_size == 1:
            return True
        ends = torch.tensor([number, -number], device=self.device)
        dist.all_reduce(ends, dist.ReduceOp.MAX)
        return int(ends[0]) == -int(ends[1])


SOLO = Worker()
"""A training in one process, on the CPU."""


def worker_alone(device: str) -> Worker:
    """A training in one process, on the device that is wished for.

    Args:
        device: ``cpu``, ``cuda``, or ``auto``: a GPU where torch sees one.

    Raises:
        TrainingError: if a GPU is wished for and torch sees none.
    """
    there = torch.cuda.is_available()
    if device == "cuda" and not there:
        raise TrainingError(
            "engine.device=cuda, but torch sees no GPU here; give engine.device=cpu"
        )
    return Worker(device=torch.device("cuda" if device != "cpu" and there else "cpu"))
