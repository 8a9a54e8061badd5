"""What a training measures on its way: a table beside its checkpoint, and TensorBoard.

A training that goes on from a checkpoint drops the rows behind it: each step stands in the table
once, whatever happened.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from longwang_ray.training.checkpoints import Checkpoints

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)
STEP = "step"


class Curve:
    """A table of metrics by step, ``{name}.csv``, and the same for TensorBoard.

    Args:
        files: Where it is kept.
        name: Of the network.
        step: The step from which the training goes on.
    """

    def __init__(self, files: Checkpoints, name: str, step: int) -> None:
        self._files, self._file = files, f"{name}.csv"
        self._rows = [row for row in self._read() if int(row[STEP]) <= step]
        self._board = _board(files.where(f"tensorboard/{name}"), step)

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Metrics after a step; those of one step share a row."""
        shown = {key: f"{value:.6g}" for key, value in values.items()}
        if self._rows and int(self._rows[-1][STEP]) == step:
            self._rows[-1] |= shown
        else:
            self._rows.append({STEP: str(step), **shown})
        self._write()
        if self._board is not None:
            for key, value in values.items():
                self._board.add_scalar(key, value, step)
            self._board.flush()

    def show(self, step: int, picture: NDArray[np.uint8]) -> None:
        """A picture ``(height, width, 3)`` after a step, for TensorBoard."""
        if self._board is not None:
            self._board.add_image("held_out", picture, step, dataformats="HWC")

    def close(self) -> None:
        """End TensorBoard's file."""
        if self._board is not None:
            self._board.close()

    def _read(self) -> list[dict[str, str]]:
        content = self._files.read(self._file)
        return [] if content is None else list(csv.DictReader(io.StringIO(content.decode())))

    def _write(self) -> None:
        columns = dict.fromkeys(key for row in self._rows for key in row)
        text = io.StringIO()
        table = csv.DictWriter(text, list(columns), restval="", lineterminator="\n")
        table.writeheader()
        table.writerows(self._rows)
        self._files.write(self._file, text.getvalue().encode())


def _board(url: str, step: int) -> SummaryWriter | None:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.info(
            "no TensorBoard here: metrics go to CSV alone (pip install 'longwang-ray[train]')"
        )
        return None
    return SummaryWriter(url, purge_step=step + 1)
