"""Who does it: map a picklable callable over picklable items, here or on a Ray cluster.

This room knows nothing of rain. Its one idea is that *an item is a pure function of its key*: it
may be run twice, by anyone, in any order, so a lost worker costs time and never data.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from longwang_ray.engine.executor import (
    EngineError,
    Executor,
    Factory,
    Health,
    Keyed,
    Outcome,
    StopRun,
)
from longwang_ray.engine.meter import Measure, Meter, Snapshot
from longwang_ray.engine.progress import watch
from longwang_ray.engine.screens import Viewer
from longwang_ray.engine.serial import SerialExecutor

if TYPE_CHECKING:
    from longwang_ray.engine.ray_executor import RayExecutor

__all__ = [
    "EngineError",
    "Executor",
    "Factory",
    "Health",
    "Keyed",
    "Measure",
    "Meter",
    "Outcome",
    "RayExecutor",
    "SerialExecutor",
    "Snapshot",
    "StopRun",
    "Viewer",
    "watch",
]


def __getattr__(name: str) -> Any:  # noqa: ANN401 - the signature that PEP 562 gives
    """Import Ray (a second, 100 MB) only for those who ask for its executor."""
    if name == "RayExecutor":
        from longwang_ray.engine.ray_executor import RayExecutor

        return RayExecutor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
