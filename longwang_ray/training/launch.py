"""Who trains: this process alone, or Ray Train's workers, one for each GPU.

    driver     ⇄     conductor     ⇄     workers
    restarts,        TorchTrainer.fit,   train_prior, one rank each
    log, Ctrl-C      mail

Ray Train starts a group of workers and tells when one is lost; what is repeated and what is given
up is decided by the driver. A group goes on from the training's own checkpoint, so it can be
thrown away at any time, and one on other machines goes on.
"""

from __future__ import annotations

import logging
import signal
import tempfile
import time
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import GetTimeoutError, OutOfMemoryError, RayActorError, RayError, RayTaskError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from longwang_ray.engine.connection import connected, is_up, worker_environment
from longwang_ray.engine.room import room_in_words
from longwang_ray.training.channel import Here, signals_collected
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.crew import POLL, Crew, await_room, crew_for, pause
from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.fit_prior import require_even_shares, require_room, train_prior
from longwang_ray.training.patience import Ended, Patience
from longwang_ray.training.post import Job, one_line, take_part
from longwang_ray.training.settings import TrainConfig
from longwang_ray.training.sight import Watch
from longwang_ray.training.stages import Stage
from longwang_ray.training.worker import Worker, worker_alone

log = logging.getLogger(__name__)

JOINING = 45.0
"""Seconds that a cluster's machines may take to join before it is said that they are missing."""
SILENCE = 60.0
MOVED = "a worker's machine is being taken away"
TOO_LARGE = (
    "a worker was killed because its machine ran out of memory; batches in more parts "
    "(optimisation.accumulate=…) or fewer workers a machine (engine.cpus_per_worker=…) need less"
)
CONDUCTED = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "1",  # a lost worker is noticed within so many seconds
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "600",  # a cluster may first have to grow
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative paths are meant from the user's folder
}
"""How Ray Train conducts: it can be told only by its environment."""


def launch(config: TrainConfig, only: Stage | None = None, watch: Watch | None = None) -> str:
    """Fit a prior with the workers that its configuration asks for.

    Args:
        config: What is asked; ``config.engine`` says of whom.
        only: Run one stage alone.
        watch: Draws what the networks make of held-out days; a function of a module, which other
            processes can import.

    Returns:
        As `train_prior`.

    Raises:
        TrainingError: As `train_prior`; or if the workers cannot be had, or are lost more than
            ``engine.failures`` times in a row without a new checkpoint in between.
    """
    if config.engine.kind == "serial":
        return train_prior(config, only, worker=worker_alone(config.engine.device), watch=watch)
    _require_ray_train()
    require_room(config)
    cpus = config.engine.cpus_per_worker * (
        1 if config.engine.workers == "auto" else config.engine.workers
    )
    with signals_collected() as here, connected(cpus) as private:
        made = _train(config, only, watch, here, private)
    if made is not None:
        return config.bundle if only is None else made
    signal.raise_signal(here.signals[0])
    raise KeyboardInterrupt  # whoever handles the signal: an unfinished network is no result


def _require_ray_train() -> None:
    try:
        import ray.train.torch  # noqa: F401
    except ImportError as error:
        raise TrainingError(
            f"training on Ray needs more than is installed ({one_line(error)}): "
            "pip install 'longwang-ray[train]', or train in this process (engine.kind=serial)"
        ) from error


def _train(
    config: TrainConfig, only: Stage | None, watch: Watch | None, here: Here, private: bool
) -> str | None:
    """Train on workers until it is done; ``None`` if the user has stopped it."""
    crew = crew_for(config.engine, private)
    require_even_shares(config, crew.count)
    job = Job(config, only, watch, crew.threads, str(Path.cwd()), log.getEffectiveLevel())
    patience = Patience(Checkpoints(config.output), config.engine.failures)
    with closing(Groups(crew, here)) as groups:
        while not here.signals:
            await_room(crew, here, 0.0 if private else JOINING)
            ended = groups.train(job)
            if ended.how == "done":
                return ended.text
            if ended.how == "refused":
                raise TrainingError(ended.text)
            if here.signals:
                log.info("%s", ended.text)
                break
            pause(patience.spend(ended), here)
    return None


class Groups:
    """Groups of workers, one after the other, as the driver sees them.

    Args:
        crew: Who is in each.
        here: The user's signals; the first one asks for a checkpoint and the end.
    """

    def __init__(self, crew: Crew, here: Here) -> None:
        self._crew, self._here = crew, here
        self._begun = self._asked = False
        self._heard = 0.0
        self._conductor: Any = None

    def train(self, job: Job) -> Ended:
        """Let a group train until it ends, however that is, and pass on what it says."""
        self._begun, self._heard = False, time.monotonic()
        self._conductor = self._conductor or _hire()
        try:
            with tempfile.TemporaryDirectory(prefix="longwang-") as storage:
                return self._train(job, storage)
        except RayTaskError as error:
            return Ended("refused", f"Ray Train failed: {one_line(error.cause or error)}")
        except RayError as error:
            self.close()
            return Ended("lost", f"the conductor of the workers was lost ({one_line(error)})")

    def close(self) -> None:
        """End the conductor, and with it whatever it has started."""
        if self._conductor is not None:
            ray.kill(self._conductor)
        self._conductor = None

    def _train(self, job: Job, storage: str) -> Ended:
        fitted = self._conductor.fit.remote(job, self._crew, storage)
        while not ray.wait([fitted], timeout=POLL)[0]:
            self._listen()
            if self._here.signals and not self._stopping():
                return Ended("stopped", "stopped before the workers had begun")
            if self._here.signals and not is_up():
                return Ended("stopped", "stopped with the last checkpoint: Ray was stopped, too")
        self._listen()
        return Ended(*ray.get(fitted))

    def _stopping(self) -> bool:
        """Pass the wish to stop on; whether anybody is there to hear it."""
        if self._begun and not self._asked:
            log.info("stopping after this step, with a checkpoint; once more to stop at once")
            self._conductor.stop.remote()
            self._asked = True
        return self._begun

    def _listen(self) -> None:
        lines, self._begun = ray.get(self._conductor.take.remote())
        for level, line in lines:
            log.log(level, "%s", line)
        if not self._begun and time.monotonic() - self._heard > SILENCE:
            log.info(
                "waiting for workers: %s are asked for, %s", self._crew.words, room_in_words()
            )
            self._heard = time.monotonic()


def _hire() -> Any:  # noqa: ANN401 (Ray's handle)
    """Start a conductor on the driver's machine, the last to be taken away."""
    actor: Any = ray.remote
    kind = actor(num_cpus=0, max_restarts=0, concurrency_groups={"mail": 1})(Conductor)
    node = ray.get_runtime_context().get_node_id()
    return kind.options(
        scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
        runtime_env={"env_vars": CONDUCTED},
    ).remote()


class Conductor:
    """The actor that runs Ray Train, and carries mail between its workers and the driver."""

    def __init__(self) -> None:
        self._lines: list[tuple[int, str]] = []
        self._begun = self._asked = False

    def fit(self, job: Job, crew: Crew, storage: str) -> Ended:
        """Start the workers and wait for their end; Ray Train's own storage stays empty."""
        import ray.train.torch

        self._begun = False
        api: Any = ray.train  # the second version's, which its annotations do not know of
        gpus = crew.each.get("GPU", 0)
        trainer = api.torch.TorchTrainer(
            _work,
            train_loop_config={"job": job, "conductor": ray.get_runtime_context().current_actor},
            scaling_config=api.ScalingConfig(
                num_workers=crew.count, use_gpu=gpus > 0, resources_per_worker=crew.each
            ),
            run_config=api.RunConfig(
                name="train",
                storage_path=storage,
                failure_config=api.FailureConfig(
                    max_failures=0, controller_failure_limit=0, max_preemption_failures=0
                ),
                worker_runtime_env={"env_vars": worker_environment(crew.threads, gpus)},
            ),
        )
        try:
            return Ended("done", str(trainer.fit().return_value))
        except api.TrainingFailedError as error:
            return explain(error)

    @ray.method(concurrency_group="mail")
    def tell(self, level: int, line: str) -> None:
        """Keep a line for the user."""
        self._lines.append((level, line))

    @ray.method(concurrency_group="mail")
    def begin(self) -> None:
        """Hear that the workers are at work."""
        self._begun = True

    @ray.method(concurrency_group="mail")
    def take(self) -> tuple[list[tuple[int, str]], bool]:
        """Hand out the lines, once, and whether the workers are at work."""
        lines, self._lines = self._lines, []
        return lines, self._begun

    @ray.method(concurrency_group="mail")
    def stop(self) -> None:
        """Hear the user's wish to stop."""
        self._asked = True

    @ray.method(concurrency_group="mail")
    def stop_asked(self) -> bool:
        """Whether the user wishes to stop."""
        return self._asked


def explain(error: Exception) -> Ended:
    """Why a group of Ray Train's ended: by what tells most of all that befell its workers."""
    if type(error).__name__ == "PreemptionError":
        return Ended("moved", MOVED)
    found = getattr(error, "worker_failures", {}).values()
    causes = [getattr(cause, "health_check_failure", cause) for cause in found]
    causes = causes or [getattr(error, "controller_failure", error)]
    return min((_verdict(cause) for cause in causes), key=lambda told: told[0])[1]


def _verdict(cause: Exception) -> tuple[int, Ended]:
    """What one failure means, and its rank: one dead worker makes others fail in other ways."""
    if isinstance(cause, TrainingError):
        return 0, Ended("refused", str(cause))
    if isinstance(cause, OutOfMemoryError):
        return 1, Ended("lost", TOO_LARGE)
    if getattr(cause, "preempted", False):
        return 2, Ended("moved", MOVED)
    if isinstance(cause, RayActorError):
        return 3, Ended("lost", "a worker died: killed, out of memory, or its machine was lost")
    if isinstance(cause, TrainingStopped):
        return 4, Ended("stopped", str(cause))
    if type(cause).__name__ == "WorkerGroupStartupTimeoutError":
        return 5, Ended("moved", "no machines were free for the workers")
    return 6, Ended("lost", f"a worker failed ({one_line(cause)})")


def _work(told: dict[str, Any]) -> str:
    """What Ray Train runs in every worker."""
    import ray.train.torch

    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    worker = Worker(context.get_world_rank(), context.get_world_size(), device)
    if worker.leads:
        told["conductor"].begin.remote()
    return take_part(told["job"], worker, Letters(told["conductor"]))


class Letters:
    """The mail of one worker: calls of the conductor."""

    def __init__(self, conductor: Any) -> None:  # noqa: ANN401 (Ray's handle)
        self._conductor = conductor
        self._last: Any = None

    def send(self, level: int, line: str) -> None:
        """Send a line."""
        self._last = self._conductor.tell.remote(level, line)

    def ask(self) -> Future[bool]:
        """Ask whether the user wishes to stop."""
        answer: Future[bool] = self._conductor.stop_asked.remote().future()
        return answer

    def leaving(self) -> bool:
        """Whether a machine of the group is about to be taken away; Ray Train knows it here."""
        from ray.train.v2._internal.execution.context import get_train_context

        return get_train_context().preemption_context.preemption_info is not None

    def flush(self) -> None:
        """Wait until what was sent has arrived, but not for long."""
        try:
            if self._last is not None:
                ray.get(self._last, timeout=5)
        except (RayError, GetTimeoutError):
            log.debug("the last lines may be lost", exc_info=True)
