"""Batches, drawn ahead of the step that wants them.

Window ``i`` of step ``k`` is fixed before anyone draws it: its generator is keyed by (seed, step,
stage, index). So a batch is the same however many workers share it, in whatever parts it is
computed, and after any restart.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longwang_ray.training.worker import Worker

Sample = tuple[Tensor, ...]
Draw = Callable[[np.random.Generator, int], Sample]
"""One window's tensors, from its own generator and its index in the batch."""

AHEAD = 2
"""Steps drawn ahead of the one that is being computed."""


def window_generator(seed: int, step: int, stage: int, index: int) -> np.random.Generator:
    """What is random about one window of one step."""
    return np.random.Generator(np.random.Philox(key=[seed, step], counter=[0, 0, stage, index]))


def unit_normal(generator: np.random.Generator, shape: tuple[int, ...]) -> Tensor:
    """Training noise; sampling never uses it."""
    seeded = torch.Generator().manual_seed(int(generator.integers(2**62)))
    return torch.randn(shape, generator=seeded)


@dataclass(frozen=True)
class Loader:
    """Where a worker's batches come from.

    Attributes:
        draw: Draws one window.
        seed: Of the training.
        stage: A number that tells the networks of one training apart.
        batch: Windows a step, of all workers together.
        accumulate: Parts in which a worker computes its share.
        worker: Whose share.
        threads: That draw ahead; 0 draws when it is asked.
    """

    draw: Draw
    seed: int
    stage: int
    batch: int
    accumulate: int
    worker: Worker
    threads: int

    @contextmanager
    def steps(self, first: int, stop: int) -> Iterator[Iterator[list[Sample]]]:
        """The parts of each step's share, from ``first`` on; ends its threads."""
        if not self.threads:
            yield (self._parts(self._drawn(step)) for step in range(first, stop))
            return
        pool = ThreadPoolExecutor(self.threads, thread_name_prefix="longwang-loader")
        try:
            yield self._ahead(pool, first, stop)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def at(self, step: int, count: int) -> list[Sample]:
        """The first windows of a step, one by one."""
        return [self._one(step, i) for i in range(count)]

    def _ahead(self, pool: ThreadPoolExecutor, first: int, stop: int) -> Iterator[list[Sample]]:
        waiting: deque[list[Future[Sample]]] = deque()
        asked = first
        for _ in range(first, stop):
            while asked < stop and len(waiting) <= AHEAD:
                waiting.append([pool.submit(self._one, asked, i) for i in self._share()])
                asked += 1
            yield self._parts([future.result() for future in waiting.popleft()])

    def _drawn(self, step: int) -> list[Sample]:
        return [self._one(step, i) for i in self._share()]

    def _share(self) -> range:
        return self.worker.share(self.batch)

    def _one(self, step: int, index: int) -> Sample:
        return self.draw(window_generator(self.seed, step, self.stage, index), index)

    def _parts(self, samples: list[Sample]) -> list[Sample]:
        size = len(samples) // self.accumulate
        return [self._stacked(samples[k * size : (k + 1) * size]) for k in range(self.accumulate)]

    def _stacked(self, samples: list[Sample]) -> Sample:
        cuda = self.worker.device.type == "cuda"
        stacked = [torch.stack(tensors) for tensors in zip(*samples, strict=True)]
        pinned = [tensor.pin_memory() if cuda else tensor for tensor in stacked]
        return tuple(t.to(self.worker.device, non_blocking=cuda) for t in pinned)
