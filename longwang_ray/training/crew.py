"""Which workers a training gets, and whether there is room for them."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass

from longwang_ray.engine.connection import usable_cpus
from longwang_ray.engine.room import gpus_at_most, has_room, room_in_words
from longwang_ray.training.channel import Here
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.settings import EngineSettings

log = logging.getLogger(__name__)
POLL = 0.2
LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Crew:
    """The workers of a group.

    Attributes:
        count: How many.
        each: What is reserved for each, by Ray's names of resources.
        threads: CPU threads of each.
    """

    count: int
    each: dict[str, float]
    threads: int

    @property
    def words(self) -> str:
        """What is asked for, to be read."""
        return f"{self.count} × ({', '.join(f'{v:g} {k}' for k, v in self.each.items())})"


def crew_for(engine: EngineSettings, private: bool) -> Crew:
    """The workers that are asked for: by default one for each GPU that there is or may come.

    Args:
        engine: What is asked.
        private: Whether Ray runs on this machine alone, and for us alone.

    Raises:
        TrainingError: if a GPU is asked for where none can be.
    """
    gpus = 0 if engine.device == "cpu" else gpus_at_most()
    on_gpu = gpus > 0 or engine.device == "cuda"
    if on_gpu and not gpus and private:
        raise TrainingError(
            "engine.device=cuda, but Ray sees no GPU on this machine; give engine.device=cpu, or "
            "join a cluster that has some (RAY_ADDRESS)"
        )
    count = max(gpus, 1) if engine.workers == "auto" else engine.workers
    threads = engine.threads or engine.cpus_per_worker
    if private and engine.threads is None and not on_gpu:
        threads = max(threads, usable_cpus() // count)  # nobody else is there
    each: dict[str, float] = {"CPU": engine.cpus_per_worker}
    return Crew(count, {**each, "GPU": 1} if on_gpu else each, threads)


def await_room(crew: Crew, here: Here, patience: float) -> None:
    """Wait while machines join the cluster, until the user wishes to stop.

    Raises:
        TrainingError: if there is still no room after so many seconds.
    """
    until, told = time.monotonic() + patience, False
    while not has_room(crew.each, crew.count) and not here.signals:
        if time.monotonic() >= until:
            raise TrainingError(
                f"{crew.words} are asked for, {room_in_words()}; ask for fewer or smaller workers "
                "(engine.workers=…, engine.cpus_per_worker=…, engine.device=…)"
            )
        if not told:
            log.info("waiting for machines: %s are asked for, %s", crew.words, room_in_words())
        told = True
        time.sleep(POLL)


def pause(seconds: float, here: Here) -> None:
    """Wait, half a minute at most, unless the user wishes to stop."""
    until = time.monotonic() + min(seconds, LONGEST_PAUSE)
    while time.monotonic() < until and not here.signals:
        time.sleep(POLL)
