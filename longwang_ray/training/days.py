"""Whole days of a box of the prior's grid, made once and then kept on this machine.

A window touches some tens of days, and a training draws each day hundreds of times. So a day is
made when it is first needed (read, summed over its hours, encoded), kept as one file in float16,
and memory-mapped from then on. Days that come in one piece, a chunk of their store or a sequence
of the synthetic Earth, are made together.
"""

from __future__ import annotations

import ast
import hashlib
import json
import mmap
import os
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import DTypeLike, NDArray

from longwang_ray.domain.grid import RectilinearGrid

PREFIX = 10
"""Bytes before the header of a NumPy file of version 1: magic, version, the header's length."""

FORMAT = 2
"""Of the files; part of every folder's name."""

Half = NDArray[np.float16]
Make = Callable[[int, int], Iterable[NDArray[Any]]]
"""The fields of days ``first … stop``, by index, in order; any float."""


@dataclass(frozen=True)
class Box:
    """Cells of the prior's grid that lie side by side; columns are counted round the circle.

    Attributes:
        first_row: Northernmost row.
        n_rows: How many.
        first_column: Westernmost column.
        n_columns: How many; may go on across 0°E.
        wraps: Whether they go once round, so that there is no western or eastern end.
    """

    first_row: int
    n_rows: int
    first_column: int
    n_columns: int
    wraps: bool

    @classmethod
    def globe(cls, grid: RectilinearGrid) -> Box:
        """All cells of a grid."""
        return cls(0, grid.n_lat, 0, grid.n_lon, True)

    def inside(self, step: int) -> Box:
        """The part of it that consists of whole squares of ``step`` cells of the globe."""
        top, rows = _whole(self.first_row, self.n_rows, step)
        west, columns = _whole(self.first_column, self.n_columns, step)
        return Box(top, rows, west, columns, self.wraps)


def _whole(first: int, count: int, step: int) -> tuple[int, int]:
    begin = -(-first // step) * step
    return begin, max(0, (first + count) // step * step - begin)


class Days(Protocol):
    """Days of a box, one at a time.

    Attributes:
        grid: The prior's grid, of the whole globe.
        box: Which of its cells are there.
        numbers: Day numbers, ascending, maybe with gaps.
        calendar: In which they count.
    """

    @property
    def grid(self) -> RectilinearGrid: ...
    @property
    def box(self) -> Box: ...
    @property
    def numbers(self) -> NDArray[np.int64]: ...
    @property
    def calendar(self) -> str: ...

    def field(self, day: int) -> Half:
        """A day's rain by index into `numbers`, ``(n_rows, n_columns)``, mm/day, maybe NaN."""


@dataclass(frozen=True, eq=False)
class KeptDays:
    """Days that are made when they are first needed, and kept one file a day.

    Several threads and processes may share the folder: within a process a piece is made once, and
    between processes whoever is last replaces a file by the same one.

    Attributes:
        grid: The prior's grid.
        box: The cells of a field.
        numbers: Day numbers, ascending.
        calendar: In which they count.
        folder: Where files lie; its name must tell what the days are made from.
        make: Makes the fields of a piece.
        pieces: Which days are made together: the same number, ``(day,)``, never descending.
    """

    grid: RectilinearGrid
    box: Box
    numbers: NDArray[np.int64]
    calendar: str
    folder: Path
    make: Make
    pieces: NDArray[np.int64]

    def field(self, day: int) -> Half:
        """A day by index, memory-mapped; made, with its piece, where it is not there yet."""
        file = self.file(day)
        try:
            return _mapped(file)
        except FileNotFoundError:
            self._keep_piece(int(self.pieces[day]))
        return _mapped(file)

    def file(self, day: int) -> Path:
        """Where a day is kept: under its number."""
        return self.folder / f"{self.numbers[day]}.npy"

    def keep(self, days: Iterable[int], threads: int = 8) -> None:
        """Make days ahead of their use, several at once."""
        pieces = sorted({int(self.pieces[d]) for d in days if not self.file(d).exists()})
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(self._keep_piece, pieces))

    def _keep_piece(self, piece: int) -> None:
        with self._lock(piece):
            first, stop = np.searchsorted(self.pieces, [piece, piece + 1]).tolist()
            files = [self.file(day) for day in range(first, stop)]
            if all(file.exists() for file in files):
                return  # another thread was first
            self.folder.mkdir(parents=True, exist_ok=True)
            for file, field in zip(files, self.make(first, stop), strict=True):
                _write(file, np.asarray(field, np.float16, order="C"))

    def _lock(self, piece: int) -> threading.Lock:
        with self._guard:
            return self._locks.setdefault(piece, threading.Lock())

    @cached_property
    def _guard(self) -> threading.Lock:
        return threading.Lock()

    @cached_property
    def _locks(self) -> dict[int, threading.Lock]:
        return {}


def _write(file: Path, field: Half) -> None:
    """A file whole or not at all."""
    part = file.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    with part.open("wb") as handle:
        np.save(handle, field)
    os.replace(part, file)


def _mapped(file: Path) -> Half:
    """A file's array, memory-mapped; ``np.load`` would take ten times as long over its header."""
    with file.open("rb", buffering=0) as handle:
        content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    begin = PREFIX + int.from_bytes(content[PREFIX - 2 : PREFIX], "little")
    shape = _shape(content[PREFIX:begin])
    return np.frombuffer(content, "<f2", offset=begin).reshape(shape)


@lru_cache
def _shape(header: bytes) -> tuple[int, ...]:
    """What the header of a NumPy file says; all days have the same one, row by row in float16."""
    told = ast.literal_eval(header.decode("latin1").strip())
    if told["fortran_order"] or told["descr"] != "<f2":
        raise ValueError(f"a kept day is not as it was written ({told}): remove its folder")
    return tuple(told["shape"])


def digest_of(*made_from: object) -> str:
    """Twelve hex digits that name what days are made from."""
    text = json.dumps([FORMAT, *made_from], default=str, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@dataclass(frozen=True)
class DayStack:
    """Consecutive days and some columns of `Days` as one array that is read where it is sliced.

    Attributes:
        days: Where they are.
        first: Index of the first day.
        columns: Columns of the box, by index.
        shape: ``(day, rows, columns)``.
    """

    days: Days
    first: int
    columns: NDArray[np.int64]
    shape: tuple[int, int, int]

    ndim = 3
    dtype = np.dtype(np.float16)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> NDArray[Any]:  # noqa: ANN401 (whatever numpy takes)
        days, *cells = key if isinstance(key, tuple) else (key,)
        chosen = np.arange(self.shape[0])[days]
        read = [self._day(day)[tuple(cells)] for day in np.atleast_1d(chosen)]
        return np.asarray(read[0]) if np.ndim(chosen) == 0 else np.stack(read)

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:], dtype)

    def _day(self, day: int) -> Half:
        return self.days.field(self.first + int(day))[:, self.columns]


@dataclass(frozen=True)
class DayBlock:
    """Consecutive days for assessment.

    Attributes:
        rain: ``(day, rows, columns)``, mm/day, array-like, maybe NaN: read where it is sliced.
        first_day: Its number.
        calendar: In which it counts.
        corner: First row and column on the prior's grid.
    """

    rain: DayStack | NDArray[np.floating]
    first_day: int
    calendar: str
    corner: tuple[int, int]
