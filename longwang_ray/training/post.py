"""A worker far from the user: what it is told, and how the two speak with each other.

Its lines travel to the user's process, and his wish to stop the other way. The wish is
asked for once a second in the background, so a step never waits for the network.
"""

from __future__ import annotations

import logging
import os
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from longwang_ray.training.errors import TrainingError, TrainingStopped
from longwang_ray.training.fit_prior import train_prior
from longwang_ray.training.settings import TrainConfig
from longwang_ray.training.sight import Watch
from longwang_ray.training.stages import Stage
from longwang_ray.training.worker import Worker

PACKAGE = "longwang_ray"
ASK_EVERY = 1.0


@dataclass(frozen=True)
class Job:
    """What every worker is told.

    Attributes:
        config: What is asked.
        only: One stage alone.
        watch: Draws what the networks make of held-out days.
        threads: CPU threads of a worker.
        folder: The user's folder, from which relative paths are meant.
        level: Of the user's log.
    """

    config: TrainConfig
    only: Stage | None
    watch: Watch | None
    threads: int
    folder: str
    level: int


class Mail(Protocol):
    """What carries a worker's words to the user and his wish back; nothing here waits."""

    def send(self, level: int, line: str) -> None:
        """Send a line."""

    def ask(self) -> Future[bool]:
        """Ask whether the user wishes to stop."""

    def leaving(self) -> bool:
        """Whether this worker's machine is about to be taken away."""

    def flush(self) -> None:
        """Wait until what was sent has arrived, but not for long."""


class Post:
    """A worker's end of the mail: the training's channel.

    Args:
        mail: What carries it.
        leads: Whether its lines are shown; the other workers would say the same.
    """

    def __init__(self, mail: Mail, leads: bool) -> None:
        self._mail, self._leads = mail, leads
        self._answer: Future[bool] | None = None
        self._next, self._asked = 0.0, False

    def tell(self, line: str) -> None:
        """Show a line to the user."""
        if self._leads:
            self._mail.send(logging.INFO, line)

    def stop_asked(self) -> bool:
        """Whether the user wishes to stop, or the machine must be left."""
        if self._asked or self._mail.leaving():
            return True
        if self._answer is not None and self._answer.done():
            self._asked = self._answer.exception() is None and self._answer.result()
            self._answer = None
        elif self._answer is None and time.monotonic() >= self._next:
            self._answer = self._mail.ask()
            self._next = time.monotonic() + ASK_EVERY
        return self._asked


class _Forward(logging.Handler):
    """Sends log records to the user: all of the first worker's, warnings of the others'."""

    def __init__(self, mail: Mail, worker: Worker) -> None:
        super().__init__(logging.NOTSET if worker.leads else logging.WARNING)
        self._mail = mail
        if not worker.leads:
            self.setFormatter(logging.Formatter(f"worker {worker.rank}: %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Send one."""
        self._mail.send(record.levelno, self.format(record))


@contextmanager
def _forwarded(mail: Mail, worker: Worker, level: int) -> Iterator[None]:
    logger, handler = logging.getLogger(PACKAGE), _Forward(mail, worker)
    logger.setLevel(level)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        mail.flush()


def take_part(job: Job, worker: Worker, mail: Mail) -> str:
    """Do one worker's share of a training.

    Returns:
        What the training made.

    Raises:
        TrainingError: if no other worker would fare better.
        TrainingStopped: if the user wished so, or the machine must be left.
        OSError, RuntimeError: What another attempt may not meet.
    """
    with _forwarded(mail, worker, job.level):
        _enter(job)
        torch.set_num_threads(job.threads)
        try:
            post = Post(mail, worker.leads)
            made = train_prior(job.config, job.only, worker=worker, channel=post, watch=job.watch)
        except torch.OutOfMemoryError as error:
            raise TrainingError(
                f"a worker's GPU has too little memory ({one_line(error)}); compute a batch in "
                "more parts (optimisation.accumulate=…), or give optimisation.bf16=true"
            ) from None
        except (TrainingError, TrainingStopped, OSError, RuntimeError):
            raise
        except Exception as error:
            logging.getLogger(__name__).debug("a worker failed", exc_info=True)
            raise TrainingError(_fault(error)) from None
    return str(made)


def _enter(job: Job) -> None:
    """Be where the user is, so that relative paths mean the same."""
    if Path(job.folder).is_dir():
        os.chdir(job.folder)
        return
    paths = (job.config.output, str(job.config.bundle), str(job.config.days_folder))
    if any("://" not in path and not Path(path).is_absolute() for path in paths):
        raise TrainingError(
            f"a worker's machine has no folder {job.folder}, from which relative paths are meant; "
            "give output, bundle and cache as absolute paths of shared folders, or output as a URL"
        )


def _fault(error: Exception) -> str:
    """A deterministic error in one line; one of ours says where."""
    if isinstance(error, ValueError):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"{one_line(error)} (in {Path(last.filename).name}, line {last.lineno})"


def one_line(error: BaseException) -> str:
    """An error's kind and the first line of what it says."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
