"""How much room a Ray cluster has for workers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray


def has_room(each: Mapping[str, float], count: int) -> bool:
    """Whether a cluster holds so many workers at once, or may grow until it does.

    Args:
        each: What one worker needs, by Ray's names of resources; on one machine.
        count: How many workers.
    """
    return room_for(each) >= count


def room_for(each: Mapping[str, float]) -> int:
    """How many workers of a kind fit now, or may once an autoscaler has added machines.

    Args:
        each: What one worker needs, by Ray's names of resources; on one machine.
    """
    here = sum(_share(node, each) for node in _machines())
    return max(here, _share(largest(), each))


def _share(have: Mapping[str, float], each: Mapping[str, float]) -> int:
    return int(min(have.get(name, 0) // need for name, need in each.items()))


def gpus_at_most() -> int:
    """GPUs that the cluster has, or may grow to."""
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    return int(max(have.get("GPU", 0), largest().get("GPU", 0)))


def room_in_words() -> str:
    """What the cluster has now."""
    have: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    count = len(_machines())
    machines = "one machine" if count == 1 else f"{count} machines"
    return f"Ray has {have.get('CPU', 0):g} CPU and {have.get('GPU', 0):g} GPU on {machines}"


def _machines() -> list[dict[str, float]]:
    """What each machine has."""
    nodes: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return [node["Resources"] for node in nodes if node["Alive"]]


def largest() -> dict[str, float]:
    """What an autoscaler may grow the cluster to, empty without one; Ray tells it privately."""
    ask = getattr(ray._private.state.state, "get_max_resources_from_cluster_config", None)
    return (ask() if ask is not None else None) or {}
