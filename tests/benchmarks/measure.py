"""Seconds and peak memory of a piece of work; on a CPU each in a process of its own.

Peak is what was resident (CPU) or allocated (CUDA) at most while the work ran, less what was
before: activations, results, and a library's scratch space.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch

MIB, GIB = 2**20, 2**30
Work = Callable[[], object]
Make = Callable[[str], Work]
"""Prepares a piece of work on a device; picklable, for it is called in another process."""

TRIM_THRESHOLD, MMAP_THRESHOLD, AT_ONCE = -1, -3, 65536
"""Of glibc's mallopt: it keeps nothing back, so that what is resident is what is alive."""


class Measured(NamedTuple):
    """Seconds of the fastest repetition, and bytes beyond those that were there before."""

    seconds: float
    peak: int


def measure(make: Make, device: str = "cpu", threads: int = 1, repeats: int = 3) -> Measured:
    """Measure a piece of work ``repeats`` times, and on a CPU once more for its memory.

    On a CPU seconds are the process's own over its threads: other processes do not count. Call it
    from a process that has computed with one thread only, for it is forked.
    """
    if device != "cpu":
        return _on_cuda(make(device), repeats)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_on_cpu, (make, threads, repeats))


def machine(device: str, threads: int) -> str:
    """In words."""
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, torch {torch.__version__}"
    name = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        names = [s for s in info.read_text().splitlines() if s.startswith("model name")]
        name = names[0].split(":")[1].strip() if names else name
    return f"{name}, {threads} of {os.cpu_count()} cores, torch {torch.__version__}"


def _on_cuda(work: Work, repeats: int) -> Measured:
    work()
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before, best = torch.cuda.memory_allocated(), float("inf")
    for _ in range(max(repeats, 1)):
        started = time.perf_counter()
        work()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return Measured(best, torch.cuda.max_memory_allocated() - before)


def _on_cpu(make: Make, threads: int, repeats: int) -> Measured:
    torch.set_num_threads(threads)
    work = make("cpu")
    times = [_seconds(work, threads) for _ in range(repeats)]
    library = ctypes.CDLL(None)
    for option in (TRIM_THRESHOLD, MMAP_THRESHOLD):
        library.mallopt(option, AT_ONCE)
    library.malloc_trim(0)
    before = resident("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Linux's watermark falls to what is there
    times.append(_seconds(work, threads))
    return Measured(min(times), resident("VmHWM") - before)


def _seconds(work: Work, threads: int) -> float:
    started = time.process_time()
    work()
    return (time.process_time() - started) / threads


def resident(name: str) -> int:
    """Bytes of this process as Linux tells them: ``VmRSS`` now, ``VmHWM`` at most."""
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{name}:")[1].split()[0]) * 1024
