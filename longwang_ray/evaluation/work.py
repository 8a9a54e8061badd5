"""What an evaluation keeps of its work: arrays in files whose names say what fixes them.

A file appears whole (written aside, then renamed) and is never changed: the same question finds
it again, another question has another digest. So an evaluation that was killed goes on where it
was, and a changed setting never meets old samples.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from longwang_ray.config import EngineConfig
from longwang_ray.engine import Keyed, Outcome, RayExecutor, SerialExecutor, watch
from longwang_ray.run.planning import on_cluster, usable_cpus, usable_memory

Array = NDArray[np.floating]


class Unfinished(RuntimeError):
    """Some of the work was given up; the same command tries it again."""


def digest_of(**parts: Any) -> str:  # noqa: ANN401 (anything that JSON holds)
    """A short name of everything that fixes a piece of work."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def keep(path: Path, values: Array) -> None:
    """Write an array, whole or not at all."""
    held = io.BytesIO()
    np.save(held, np.ascontiguousarray(values, dtype=np.float32))
    keep_bytes(path, held.getvalue())


def keep_bytes(path: Path, data: bytes) -> None:
    """Write a file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        aside.write_bytes(data)
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def kept(path: Path) -> Array:
    """An array that was written, read as it is needed."""
    return np.load(path, mmap_mode="r")


def device_of(engine: EngineConfig) -> str:
    """``cuda`` or ``cpu``.

    Raises:
        ValueError: if a GPU is asked for and there is none.
    """
    found = torch.cuda.is_available()
    if engine.device == "cuda" and not found:
        raise ValueError("engine.device: cuda was asked for and torch sees no GPU; choose cpu")
    return "cuda" if found and engine.device != "cpu" else "cpu"


def workers_of(engine: EngineConfig, items: int, memory: int) -> int:
    """Workers that run at once on this machine: no more than items, or than fit.

    Args:
        engine: What was asked.
        items: How much there is to do.
        memory: Bytes that one worker needs.
    """
    if engine.kind == "serial":
        return 1
    if engine.workers != "auto":
        count = engine.workers
    elif device_of(engine) == "cuda":
        count = torch.cuda.device_count()
    else:
        count = min(usable_cpus() // engine.threads, usable_memory() // memory)
    return max(1, min(count, items))


def carry_out(
    engine: EngineConfig,
    factory: Callable[[], Callable[[Any], Any]],
    items: Iterable[Keyed],
    total: int,
    unit: str,
    *,
    already: int = 0,
    memory: int = 2**30,
) -> Iterator[Outcome[Any]]:
    """Have all items done, and show how far they are.

    Args:
        engine: Who does it.
        factory: Makes a worker.
        items: What is left to do.
        total: How many there are in all.
        unit: What one is called.
        already: How many of them an earlier run did.
        memory: Bytes that one worker needs.

    Raises:
        Unfinished: when the rest is done, if some were given up.
    """
    if total == already:
        return
    executor: RayExecutor | SerialExecutor
    if engine.kind == "serial":
        executor = SerialExecutor()
    else:
        count = workers_of(engine, total - already, memory)
        executor = RayExecutor(
            None if engine.workers == "auto" and on_cluster() else count,
            gpus=1 if device_of(engine) == "cuda" else 0,
            threads=engine.threads,
            deadline=None if engine.tile_timeout == "auto" else engine.tile_timeout,
        )
    failed = []
    with closing(executor) if isinstance(executor, RayExecutor) else nullcontext():
        outcomes = executor.map(factory, items, total - already)
        for outcome in watch(
            outcomes, total, already=already, unit=unit, health=lambda: executor.health
        ):
            if outcome.ok:
                yield outcome
            else:
                failed.append(f"{outcome.key}: {outcome.error}")
    if failed:
        raise Unfinished(
            f"{len(failed)} of {total} {unit}s were given up, the first {failed[0]}; what is "
            "finished stays, and the same command tries the rest again"
        )
