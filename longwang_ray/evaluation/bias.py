"""Where a method rains too much: sums of truth and method by region, on blocks of cells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.scene import Scene
from longwang_ray.evaluation.sums import Sums

Array = NDArray[np.floating]

BLOCK = 4
"""Cells on a side of what a map shows: 1° of a 0.25° grid; a single cell's bias is noise."""


@dataclass(frozen=True, eq=False)
class RegionBias(Sums):
    """Sums of one region over days, mm, shape ``(rows, columns)`` of blocks.

    Attributes:
        truth: Of the true rain.
        method: Of the method's, mean over realizations.
        days: How many days went in, shape ``()``.
    """

    truth: Array
    method: Array
    days: Array


@dataclass(frozen=True, eq=False)
class Bias:
    """Mean rain of truth and method, region by region. ``+`` merges.

    Attributes:
        regions: By region ("34N 344E").
        lat: Centres of its rows of blocks, degrees north, by region.
        lon: Centres of its columns, degrees east, by region.
    """

    regions: Mapping[str, RegionBias]
    lat: Mapping[str, Array] = field(default_factory=dict)
    lon: Mapping[str, Array] = field(default_factory=dict)

    @classmethod
    def of(cls, scene: Scene, ensemble: Array) -> Bias:
        """Of one scene and one of its methods."""
        sums = RegionBias(
            _blocks(scene.truth.sum(axis=0, dtype=np.float64)),
            _blocks(ensemble.mean(axis=0, dtype=np.float64).sum(axis=0)),
            np.array(float(len(scene.truth))),
        )
        lat, lon = (
            _blocks(np.asarray(axis, dtype=np.float64)[:, None])[:, 0]
            for axis in (scene.lat, scene.lon)
        )
        return cls({scene.region: sums}, {scene.region: lat}, {scene.region: lon})

    def __add__(self, other: Bias) -> Bias:
        regions = dict(self.regions)
        for name, sums in other.regions.items():
            regions[name] = regions[name] + sums if name in regions else sums
        return Bias(regions, {**other.lat, **self.lat}, {**other.lon, **self.lon})

    def map(self, region: str) -> Array:
        """Method − truth, mean over days, shape ``(rows, columns)``, mm/day."""
        sums = self.regions[region]
        return (sums.method - sums.truth) / sums.days

    def relative(self) -> dict[str, float]:
        """Method over truth − 1, by region; NaN where it never rained."""
        return {
            name: float(sums.method.sum() / sums.truth.sum()) - 1
            if sums.truth.any()
            else float("nan")
            for name, sums in self.regions.items()
        }

    @property
    def overall(self) -> float:
        """Method over truth − 1 over all regions, a block counting the same everywhere."""
        truth, method = (
            sum(float(getattr(sums, name).sum()) for sums in self.regions.values())
            for name in ("truth", "method")
        )
        return method / truth - 1 if truth else float("nan")

    def to_json(self) -> dict[str, Any]:
        """``{region: {truth, method, days, lat, lon}}``."""
        return {
            name: {
                **sums.to_json(),
                "lat": self.lat[name].tolist(),
                "lon": self.lon[name].tolist(),
            }
            for name, sums in self.regions.items()
        }

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Bias:
        """The inverse of `to_json`."""
        sums = ("truth", "method", "days")
        return cls(
            {
                name: RegionBias.from_json({k: part[k] for k in sums})
                for name, part in tree.items()
            },
            {name: np.asarray(part["lat"]) for name, part in tree.items()},
            {name: np.asarray(part["lon"]) for name, part in tree.items()},
        )


def _blocks(cells: Array) -> Array:
    """Means of `BLOCK` × `BLOCK` cells; what is left at the end makes smaller ones."""
    means = cells
    for axis in range(cells.ndim):
        starts = np.arange(0, cells.shape[axis], BLOCK)
        sizes = np.diff(np.append(starts, cells.shape[axis]))
        shape = [1] * cells.ndim
        shape[axis] = -1
        means = np.add.reduceat(means, starts, axis=axis) / sizes.reshape(shape)
    return means
