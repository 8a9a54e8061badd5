"""Seconds by stage of a tile, as a worker tells them to the driver.

    read     noise, context, observation and operator: what is prepared before the first step
    sample   the sampler's steps
    decode   windows decoded and blended, the drizzle dried
    close    factors found and applied

A graphics card works behind the program's back, so a stage there ends once it has caught up.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Adds up the seconds of named stages; one that raises is not counted.

    Args:
        device: Where the work is done.

    Attributes:
        seconds: Of each stage so far.

    >>> clock = Stopwatch()
    >>> with clock("sample"):
    ...     pass
    >>> list(clock.seconds)
    ['sample']
    """

    def __init__(self, device: torch.device | str = "cpu") -> None:
        self.seconds: dict[str, float] = {}
        self._device = torch.device(device)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count what is done inside towards a stage."""
        began = time.perf_counter()
        yield
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began
