"""Find Ray, or start a private, quiet one.

A cluster is used if an address or ``RAY_ADDRESS`` names one, or if Ray already runs in this
process; otherwise one is started on this machine, without dashboard, logs or much memory.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import ray
from ray._private import worker as private

from longwang_ray.engine.executor import logger

LOCAL = "local"
#: Results are receipts of about 1 kB, so Ray's smallest object store is more than enough.
_OBJECT_STORE = 80 * 2**20
_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)


def connect(address: str, cpus: int = 1) -> bool:
    """Find Ray at an address, or start one here.

    Args:
        address: Of a cluster; ``"local"`` starts a private Ray.
        cpus: A private Ray has at least so many CPUs, whatever the machine has.

    Returns:
        Whether it was found or started by this call, so that the caller must shut it down.
    """
    if ray.is_initialized():
        return False
    quiet: dict[str, Any] = {"logging_level": "ERROR", "log_to_driver": False}
    if address == LOCAL:
        quiet |= {
            "num_cpus": max(usable_cpus(), cpus),
            "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE,
            # the workers have an environment of their own, so nobody would use these processes
            "_system_config": {"prestart_worker_first_driver": False},
        }
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    with _own_signals() as waiting, _own_words():
        ray.init(address=address, **quiet)
    try:
        for number in waiting:
            signal.raise_signal(number)
    except BaseException:
        ray.shutdown()
        raise
    logger.debug("Ray started: %s", address)
    return True


@contextmanager
def connected(cpus: int = 1) -> Iterator[bool]:
    """The cluster that this process is on, or a private Ray that has at least so many CPUs.

    Yields whether it is private; what was found or started is left or stopped at the end.
    """
    ours = connect(address := usual_address(), cpus)
    try:
        yield ours and address == LOCAL
    finally:
        if ours:
            ray.shutdown()


def is_up() -> bool:
    """Whether Ray still listens; what is sent to the whole process group ends a private one."""
    host, port = ray.get_runtime_context().gcs_address.rsplit(":", 1)
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=5).close()
    except OSError:
        return False
    return True


def usual_address() -> str:
    """Where Ray is looked for if nobody says: ``RAY_ADDRESS``, else here."""
    return os.environ.get("RAY_ADDRESS") or LOCAL


def worker_environment(threads: int, gpus: float) -> dict[str, str]:
    """Variables of a worker with so many threads and GPUs, set before anything is imported."""
    environment = dict.fromkeys(_THREADS, str(threads))
    if not gpus:  # Ray no longer hides the GPUs from those who asked for none
        environment["CUDA_VISIBLE_DEVICES"] = ""
    return environment


def usable_cpus() -> int:
    """Count the CPUs this process may use, where the system can tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def _own_words() -> Iterator[None]:
    """Keep Ray from printing a page for each dead worker: whoever lost it logs a line.

    No option of ``ray.init`` stops the thread that does so; started with nothing to do, it ends.
    """
    listen = getattr(private, "listen_error_messages", None)
    if listen is not None:
        private.listen_error_messages = lambda *_: None
    try:
        yield
    finally:
        if listen is not None:
            private.listen_error_messages = listen


@contextmanager
def _own_signals() -> Iterator[list[int]]:
    """Keep our handlers: ``ray.init`` puts its own SIGTERM handler in their place.

    The first Ctrl-C waits until Ray has started, in the list that this yields: half a Ray cannot
    be stopped, and its processes would stay. A second one does not wait.
    """
    waiting: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield waiting
        return

    def wait(number: int, _frame: FrameType | None) -> None:
        if waiting:
            raise KeyboardInterrupt
        waiting.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, wait)
    try:
        yield waiting
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
