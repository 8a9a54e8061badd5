"""The published statistics: how rain was transformed, and how latents were standardised.

    train_stats.json    epsilon, norm_min, norm_max, norm_range
    latent_stats.json   channel_mean, channel_std

in one file or two, at any depth; each must be there once, finite and possible.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from longwang_ray.prior.bundle import PriorError
from longwang_ray.prior.transform import LogTransform

File = str | Path


def read_statistics(
    files: File | Sequence[File], latent_channels: int
) -> tuple[LogTransform, tuple[float, ...], tuple[float, ...]]:
    """Transform of rain, and mean and standard deviation of each latent channel.

    Raises:
        PriorError: if a file cannot be read, or a number is missing, twice or impossible.
    """
    paths = [files] if isinstance(files, str | Path) else list(files)
    where = ", ".join(map(str, paths))
    tree = [_read_json(Path(path)) for path in paths]
    rain, latent = _holding(tree, "epsilon", where), _holding(tree, "channel_mean", where)
    epsilon, low = (_numbers(rain, key, where, 1)[0] for key in ("epsilon", "norm_min"))
    spread = _spread(rain, low, where)
    mean, std = (
        _numbers(latent, key, where, latent_channels) for key in ("channel_mean", "channel_std")
    )
    for key, least in (("epsilon", epsilon), ("norm_range", spread), ("channel_std", min(std))):
        if least <= 0:
            raise PriorError(f"{where}: {key} is {least:g}, must be above 0")
    return LogTransform(epsilon, low, spread), mean, std


def _spread(rain: Mapping[str, Any], low: float, where: str) -> float:
    """``norm_range``, which must be ``norm_max − norm_min`` where both are given."""
    if "norm_max" not in rain:
        return _numbers(rain, "norm_range", where, 1)[0]
    difference = _numbers(rain, "norm_max", where, 1)[0] - low
    spread = _numbers(rain, "norm_range", where, 1)[0] if "norm_range" in rain else difference
    if not math.isclose(spread, difference, rel_tol=1e-3):
        raise PriorError(
            f"{where}: norm_range is {spread:g}, but norm_max − norm_min is {difference:g}"
        )
    return spread


def _read_json(path: Path) -> Any:  # noqa: ANN401 (JSON)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise PriorError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (ValueError, RecursionError) as error:
        raise PriorError(f"{path}: is no whole JSON ({error}); copy it again") from error


def _holding(tree: Any, key: str, where: str) -> Mapping[str, Any]:  # noqa: ANN401 (JSON)
    """The one mapping, at any depth, that holds a key."""
    found = list(_mappings(tree, key))
    if not found:
        raise PriorError(f"{where}: no {key}; give train_stats.json and latent_stats.json")
    if any(other != found[0] for other in found):
        raise PriorError(f"{where}: {key} is there {len(found)} times; give one prior's files")
    return found[0]


def _mappings(tree: Any, key: str) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401 (JSON)
    if isinstance(tree, dict) and key in tree:
        yield tree
    elif isinstance(tree, dict | list):
        for child in tree.values() if isinstance(tree, dict) else tree:
            yield from _mappings(child, key)


def _numbers(mapping: Mapping[str, Any], key: str, where: str, count: int) -> tuple[float, ...]:
    try:
        values = torch.tensor(mapping.get(key), dtype=torch.float64).flatten().tolist()
    except (TypeError, ValueError, RuntimeError, OverflowError):
        values = []
    if len(values) != count or not all(map(math.isfinite, values)):
        raise PriorError(
            f"{where}: {key} is {str(mapping.get(key))[:80]}, expected {count} finite number(s)"
        )
    return tuple(values)
