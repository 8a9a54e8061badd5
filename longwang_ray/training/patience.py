"""When a training that keeps losing its workers is given up: after failures without progress."""

from __future__ import annotations

import logging
from typing import Literal, NamedTuple

from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.stages import STAGES, STATISTICS

log = logging.getLogger(__name__)


class Ended(NamedTuple):
    """How a group ended, and what it made or what went wrong, in one line.

    *Lost* counts as a failure, *moved* (a machine was taken away, none was free) does not.
    """

    how: Literal["done", "stopped", "refused", "lost", "moved"]
    text: str


class Patience:
    """Counts failures in a row without a new checkpoint in between.

    Args:
        files: Where checkpoints live.
        failures: How many are borne.
    """

    def __init__(self, files: Checkpoints, failures: int) -> None:
        self._files, self._failures = files, failures
        self._failed, self._before = 0, self._progress()

    def spend(self, ended: Ended) -> float:
        """Say what happened and that it goes on; the seconds to wait before it does.

        Raises:
            TrainingError: if that was one too many.
        """
        now = self._progress() or self._before
        self._failed = (0 if now != self._before else self._failed) + (ended.how == "lost")
        self._before = now
        if self._failed > self._failures:
            raise TrainingError(
                f"{ended.text}; given up: {self._failed} in a row without a new checkpoint in "
                f"{self._files.url} (engine.failures={self._failures})"
            )
        log.warning("%s; going on from the last checkpoint", ended.text)
        return 2.0**self._failed if self._failed else 0.0

    def _progress(self) -> tuple[int, ...] | None:
        """How far the checkpoints are; ``None`` if they cannot be asked now."""
        try:
            steps = [self._files.steps_done(stage) for stage in STAGES if stage != "statistics"]
            return (*steps, int(self._files.exists(STATISTICS)))
        except OSError:
            return None
