"""What is sampled for an evaluation: as a run samples it, month by month, kept before closing.

    item = (record, months, box, method, realization)  →  open rain d, factors f, ledger

Closed rain is f · d, so one sample serves the scores before closing and after.
"""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from longwang_ray.domain.calendar import Month, Record
from longwang_ray.domain.lattice import Extent, Lattice
from longwang_ray.domain.layout import Group
from longwang_ray.domain.noise import NOISE_VERSION, NoiseKey
from longwang_ray.domain.plan import Tile, Tiling, time_extent
from longwang_ray.engine import StopRun
from longwang_ray.evaluation.places import Box
from longwang_ray.evaluation.prior_fields import reconstruct
from longwang_ray.evaluation.settings import GUIDED
from longwang_ray.evaluation.truth import Array, Observed
from longwang_ray.evaluation.work import digest_of, keep, keep_bytes, kept
from longwang_ray.posterior.decoding import DecodedMonth, decode_months
from longwang_ray.posterior.observation import MonthlyRain
from longwang_ray.posterior.tile import ALGORITHM_VERSION, Sampling, sample_latent
from longwang_ray.prior.bundle import Prior, open_prior

HOPELESS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)
"""Errors of a disk that no retry can help."""

GROUP = Group("truth", "evaluation", "r1")
LEDGER = ("before", "after", "factor", "conflict")


@dataclass(frozen=True)
class Sample:
    """One realization of some months of a record, on one box.

    Attributes:
        method: Which.
        realization: Index.
        observed: What it is conditioned on, and where the truth is.
        months: Indices into the record, ``[first, stop)``.
        box: Where.
        folder: Of the samples that differ in realization, months and box alone.
    """

    method: str
    realization: int
    observed: Observed
    months: tuple[int, int]
    box: Box
    folder: Path

    @property
    def key(self) -> str:
        """A stable name, unique in the evaluation."""
        first = self.own_months[0]
        return f"{self.method}~{first}~r{self.realization}~{self.box.place}"

    @property
    def own_months(self) -> tuple[Month, ...]:
        """Its months."""
        return self.observed.monthly.record.months[slice(*self.months)]

    def path(self, month: Month, what: str) -> Path:
        """The file of a month's ``open`` rain, ``factor`` or ``ledger``, or ``done.json``."""
        return sample_path(self.folder, month, self.box, self.realization, what)

    @property
    def there(self) -> bool:
        """Whether it was finished."""
        return all(self.path(month, "done.json").exists() for month in self.own_months)


def sample_path(folder: Path, month: Month, box: Box, realization: int, what: str) -> Path:
    """Where a piece of a sample is."""
    ending = what if "." in what else f"{what}.npy"
    return folder / f"{month}.{box.place}.r{realization:03d}.{ending}"


@dataclass(frozen=True)
class Recipe:
    """Everything that fixes samples but their realization, months and place.

    Attributes:
        prior: Digest of the prior.
        sampling: By method.
        seed: Of the noise.
        tiling: Halo of what is sampled at once.
        months_per_tile: Months sampled at once.
    """

    prior: str
    sampling: Mapping[str, Sampling]
    seed: int
    tiling: Tiling
    months_per_tile: int

    def folder(self, method: str, observed: Observed) -> str:
        """The name of a folder that only these samples have."""
        first = observed.monthly.record.months[0]
        if method == "reconstruction":
            digest = digest_of(prior=self.prior, truth=observed.folder.name)
            return f"{method}-{first}-{digest}"
        how, record = self.sampling[method], observed.monthly.record
        guided = how.guidance != "none"
        digest = digest_of(
            algorithm=[ALGORITHM_VERSION, NOISE_VERSION],
            prior=self.prior,
            record=[record.calendar, str(first), len(record.months)],
            source=observed.monthly.digest if guided else None,
            error=[how.error.relative, how.error.floor] if guided else None,
            sampler=[how.steps, how.guidance, how.context],
            seed=self.seed,
            tile=[self.tiling.halo_strides, self.tiling.halo_months, self.months_per_tile],
        )
        return f"{method}-{first}-{digest}"


def tile_of(
    lattice: Lattice,
    record: Record,
    months: tuple[int, int],
    box: Box,
    tiling: Tiling,
    realization: int = 0,
) -> Tile:
    """The tile whose core is some months ``[first, stop)`` of a box, with a run's own halo."""
    days = record.months[months[0]].start, record.months[months[1] - 1].stop
    rows, columns = (box.row, box.row + box.rows), (box.column, box.columns)
    halo = tiling.halo_strides
    span = time_extent(days, record, lattice, tiling.months(lattice))
    return Tile(
        group=GROUP,
        realization=realization,
        time_shards=(0, 1),
        lat_shard=0,
        lon_shard=0,
        days=days,
        rows=rows,
        columns=columns,
        extent=Extent(span, lattice.lat_span(*rows, halo), lattice.lon_span(*columns, halo)),
        months=record.months_inside(span.fine_start, span.fine_stop),
        core_months=range(*months),
    )


@dataclass(frozen=True)
class SampleFactory:
    """Makes a worker where it will work.

    Attributes:
        prior: Name or URL of the prior.
        recipe: How it samples.
        device: ``cpu`` or ``cuda``.
        threads: CPU threads of a worker.
    """

    prior: str
    recipe: Recipe
    device: str
    threads: int

    def __call__(self) -> Sampler:
        """The worker, with the prior in memory."""
        torch.set_num_threads(self.threads)
        torch.backends.cudnn.deterministic = True
        torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False
        return Sampler(open_prior(self.prior).to(self.device), self.recipe, self.device)


class Sampler:
    """Holds the prior and keeps samples.

    Args:
        prior: On the device.
        recipe: How it samples.
        device: Where.
    """

    def __init__(self, prior: Prior, recipe: Recipe, device: str) -> None:
        self.prior, self.recipe, self.device = prior, recipe, device

    def __call__(self, sample: Sample) -> int:
        """Sample, and keep what comes out; returns the number of months.

        Raises:
            StopRun: if nothing can be written and no retry can help.
        """
        try:
            if sample.method == "reconstruction":
                self._reconstruct(sample)
            else:
                self._sample(sample)
        except OSError as error:
            if error.errno in HOPELESS:
                raise StopRun(f"cannot write to {sample.folder}: {error}") from error
            raise
        return len(sample.own_months)

    def _sample(self, sample: Sample) -> None:
        started, count = time.monotonic(), len(sample.own_months)
        how, source = self.recipe.sampling[sample.method], sample.observed.monthly
        record, realization = source.record, sample.realization
        lattice, tiling = self.prior.lattice, self.recipe.tiling
        tile = tile_of(lattice, record, sample.months, sample.box, tiling, realization)
        monthly = MonthlyRain(source.rain, source.grid, source.record)
        key = NoiseKey(self.recipe.seed, GROUP.gcm, GROUP.variant, realization)
        latent = sample_latent(self.prior, tile, monthly, key, how, self.device)
        shared = (time.monotonic() - started) / count
        began = time.monotonic()
        decoded = decode_months(self.prior, tile, monthly, latent, how.error, how.decode_batch)
        for month, found in zip(sample.own_months, decoded, strict=True):
            self._keep(sample, month, found)
            seconds = shared + time.monotonic() - began
            keep_bytes(sample.path(month, "done.json"), _told(seconds))
            began = time.monotonic()

    def _keep(self, sample: Sample, month: Month, found: DecodedMonth) -> None:
        keep(sample.path(month, "open"), found.open)
        if sample.method in GUIDED and found.ledger is not None:
            keep(sample.path(month, "factor"), found.factor)
            ledger = np.stack([getattr(found.ledger, name) for name in LEDGER])
            keep(sample.path(month, "ledger"), ledger)

    def _reconstruct(self, sample: Sample) -> None:
        for month in sample.own_months:
            began = time.monotonic()
            rain = sample.observed.days(month, sample.box)
            keep(sample.path(month, "open"), through_autoencoder(self.prior, rain))
            keep_bytes(sample.path(month, "done.json"), _told(time.monotonic() - began))


def through_autoencoder(prior: Prior, rain: Array) -> Array:
    """Reconstruct days of any length and size: mirrored at the end to whole latent cells."""
    room = []
    for n, window, step in zip(rain.shape, prior.window, prior.compression, strict=True):
        room.append((0, max(-(-n // step) * step, window) - n))
    grown = np.pad(rain, room, mode="symmetric")
    days, rows, columns = rain.shape
    return reconstruct(prior, grown)[:days, :rows, :columns]


def seconds_of(path: Path) -> float:
    """How long a month of a sample took its worker, from its ``done.json``."""
    return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])


def _told(seconds: float) -> bytes:
    return json.dumps({"seconds": round(seconds, 3)}).encode()


def ledger_of(path: Path) -> dict[str, Array]:
    """How well a month was met before and after closing, by name, on the GCM's grid."""
    return dict(zip(LEDGER, kept(path), strict=True))


def pieces_of(record: Record, count: int) -> list[tuple[int, int]]:
    """A record's months in pieces of at most so many, ``[first, stop)`` each."""
    n = len(record.months)
    return [(k, min(k + count, n)) for k in range(0, n, count)]
