"""A group of a store, and what of it is there: the store lists which shards are done."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from longwang_ray.domain.layout import Group
from longwang_ray.store.ensemble import finished, open_ensemble


@dataclass(frozen=True)
class OpenedGroup:
    """A group of a store: its rain, what was observed, and which of its shards are done.

    Attributes:
        rain: The group's dataset, as `open_ensemble` opens it.
        monthly: Its child group ``monthly``.
        done: One truth value a shard, ``(realization, time, lat, lon)`` of the shard grid.
    """

    rain: xr.Dataset
    monthly: xr.Dataset
    done: NDArray[np.bool_]

    @property
    def name(self) -> str:
        """The gcm, scenario and variant, for a title."""
        about = self.rain.attrs
        return f"{about['source_id']} {about['experiment_id']} {about['variant_label']}"

    def sampled(self, whole: bool = False) -> xr.Dataset:
        """Cut the rain to what has been sampled.

        Args:
            whole: Only days that are done everywhere, and the realizations that have all of these;
                otherwise also what has begun.

        Raises:
            ValueError: There is nothing yet.
        """
        begun = np.all(self.done, axis=(2, 3)) if whole else np.any(self.done, axis=(2, 3))
        begun = np.asarray(begun).reshape(self.done.shape[:2])
        shards = np.flatnonzero(begun.any(axis=0))
        if not len(shards):
            raise ValueError(f"{self.name}: no day has been sampled yet")
        enough = np.all(begun[:, shards], axis=1) if whole else np.any(begun, axis=1)
        length = json.loads(self.rain.attrs["layout"])["shard"][0]
        days = (shards[:, None] * length + np.arange(length)).ravel()
        return self.rain.isel(
            time=days[days < self.rain.sizes["time"]], realization=np.flatnonzero(enough)
        )


def open_group(
    url: str, group: str | None = None, storage_options: Mapping[str, Any] | None = None
) -> OpenedGroup:
    """Open a group of a store; raises StoreError if there is no such store or group."""
    rain = open_ensemble(url, group, storage_options)
    about = rain.attrs
    path = Group(about["source_id"], about["experiment_id"], about["variant_label"]).path
    options = dict(storage_options) if storage_options else None
    monthly = xr.open_zarr(url, group=f"{path}/monthly", storage_options=options)
    return OpenedGroup(rain, monthly, finished(url, path, storage_options))
