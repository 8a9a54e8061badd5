"""Real workers that fail on purpose: they kill themselves, hang, raise, or run out of memory.

    python -m tests.fakes.faulty '{"kill": ["r1."]}' run CONFIG …

is ``longwang run CONFIG …`` with such workers. A fault is named with parts of the keys of tiles it
strikes; with ``once`` (a folder) it strikes each tile only the first time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from ray import cloudpickle

import longwang_ray.run.ensemble as ensemble

FOREVER = 3600.0
_ = cloudpickle.register_pickle_by_value(sys.modules[__name__])


@dataclass(frozen=True)
class Faults:
    """Which tiles fail, and how; parts of keys each."""

    kill: tuple[str, ...] = ()
    hang: tuple[str, ...] = ()
    raises: tuple[str, ...] = ()
    memory: tuple[str, ...] = ()
    once: str | None = None
    delay: float = 0.0

    def strikes(self, name: str, key: str) -> bool:
        """Whether a tile fails in this way now."""
        if not any(part in key for part in getattr(self, name)):
            return False
        if self.once is None:
            return True
        try:
            (Path(self.once) / f"{name}-{key}").touch(exist_ok=False)
        except FileExistsError:
            return False
        return True


@dataclass(frozen=True)
class FaultyFactory:
    """Makes the true worker, and puts the faults before it."""

    true: Any
    faults: Faults

    def __call__(self) -> FaultyWorker:
        return FaultyWorker(self.true(), self.faults)


class FaultyWorker:
    """A worker of the run, which fails where it is told to."""

    def __init__(self, true: Any, faults: Faults) -> None:
        self.true, self.faults = true, faults

    def __call__(self, tile: Any) -> Any:
        time.sleep(self.faults.delay)
        if self.faults.strikes("kill", tile.key):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.faults.strikes("hang", tile.key):
            time.sleep(FOREVER)
        if self.faults.strikes("raises", tile.key):
            raise OSError("a hiccup of the network")
        if not self.faults.strikes("memory", tile.key):
            return self.true(tile)
        starved = self.true.prior.denoiser.register_forward_pre_hook(too_much)
        try:
            return self.true(tile)
        finally:
            starved.remove()

    def close(self) -> None:
        self.true.close()


def too_much(*_: Any) -> None:
    """Ask torch's allocator for more than any machine has."""
    torch.empty(2**60, dtype=torch.uint8)


def install(faults: Faults) -> None:
    """Let the runs of this process have faulty workers."""
    true = ensemble.worker_factory
    ensemble.worker_factory = lambda *how: FaultyFactory(true(*how), faults)


def main() -> int:
    from longwang_ray.cli import main as longwang

    told = {k: tuple(v) if isinstance(v, list) else v for k, v in json.loads(sys.argv[1]).items()}
    install(Faults(**told))
    torch.set_num_threads(1)
    return longwang(sys.argv[2:])


if __name__ == "__main__":
    sys.modules["tests.fakes.faulty"] = sys.modules["__main__"]
    sys.exit(main())
