"""What is known of a method over all scenes, in sums that can be added in any order.

    pooled(S ∪ T) = pooled(S) + pooled(T)

Nothing here is a mean of means: histograms, spectra, ranks, spells and errors are counted or
summed cell by cell and divided only when asked. So scenes can be scored as they come, by any
number of workers, and the result is the same up to the rounding of sums.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from longwang_ray.evaluation.bias import Bias
from longwang_ray.evaluation.distribution import Distribution
from longwang_ray.evaluation.neighbourhood import Neighbourhood
from longwang_ray.evaluation.ranks import Ranks
from longwang_ray.evaluation.scene import Array, Scene
from longwang_ray.evaluation.spectra import Spectrum
from longwang_ray.evaluation.spells import Spells
from longwang_ray.evaluation.spread import Spread

_ALWAYS: dict[str, Any] = {"rain": Distribution, "spectrum": Spectrum, "spells": Spells}
_OF_METHODS: dict[str, Any] = {
    "ranks": Ranks,
    "spread": Spread,
    "neighbourhood": Neighbourhood,
    "bias": Bias,
}


@dataclass(frozen=True, eq=False)
class Pooled:
    """Mergeable statistics of one method, or of the truth, over scenes. ``+`` merges.

    Attributes:
        scenes: How many region-months went in.
        rain: Distribution of daily rain.
        spectrum: Radially summed power.
        spells: Lengths of dry and wet spells.
        ranks: Rank histogram; None of the truth and of deterministic methods.
        spread: Spread and error; None of the truth, as are the next two.
        neighbourhood: Sums of the fractions skill score.
        bias: Mean rain of truth and method, region by region.
    """

    scenes: int
    rain: Distribution
    spectrum: Spectrum
    spells: Spells
    ranks: Ranks | None = None
    spread: Spread | None = None
    neighbourhood: Neighbourhood | None = None
    bias: Bias | None = None

    @classmethod
    def of_truth(cls, scene: Scene) -> Pooled:
        """What the truth of one scene is like."""
        return cls(1, *_like(scene.truth[None], scene.area))

    @classmethod
    def of_method(cls, scene: Scene, ensemble: Array) -> Pooled:
        """What a method is like in one scene, and how it compares with the truth."""
        return cls(
            1,
            *_like(ensemble, scene.area),
            ranks=Ranks.of(ensemble, scene.truth) if len(ensemble) > 1 else None,
            spread=Spread.of(ensemble, scene.truth, scene.area),
            neighbourhood=Neighbourhood.of(ensemble, scene.truth),
            bias=Bias.of(scene, ensemble),
        )

    def __add__(self, other: Pooled) -> Pooled:
        merged: dict[str, Any] = {}
        for name in (*_ALWAYS, *_OF_METHODS):
            mine, theirs = getattr(self, name), getattr(other, name)
            if (mine is None) != (theirs is None):
                raise ValueError(f"cannot pool: only one of the two has {name}")
            merged[name] = None if mine is None else mine + theirs
        return Pooled(self.scenes + other.scenes, **merged)

    def to_json(self) -> dict[str, Any]:
        """A plain tree of numbers and lists; what is None is absent."""
        parts = {name: getattr(self, name) for name in (*_ALWAYS, *_OF_METHODS)}
        kept = {name: part.to_json() for name, part in parts.items() if part is not None}
        return {"scenes": self.scenes, **kept}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Pooled:
        """The inverse of `to_json`."""
        kinds = (_ALWAYS | _OF_METHODS).items()
        parts: dict[str, Any] = {
            name: kind.from_json(tree[name]) for name, kind in kinds if name in tree
        }
        return cls(tree["scenes"], **parts)


def _like(rain: Array, area: Array) -> tuple[Distribution, Spectrum, Spells]:
    return Distribution.of(rain, area), Spectrum.of(rain), Spells.of(rain)


def pool_scene(scene: Scene) -> dict[str, Pooled]:
    """One scene's share of the statistics: ``{method or "truth": Pooled}``."""
    found = {name: Pooled.of_method(scene, rain) for name, rain in scene.methods.items()}
    return {"truth": Pooled.of_truth(scene), **found}


def merge(first: Mapping[str, Pooled], second: Mapping[str, Pooled]) -> dict[str, Pooled]:
    """Add what two sets of scenes say of each method; one that only one of them has is kept."""
    together = dict(first)
    for name, pooled in second.items():
        together[name] = together[name] + pooled if name in together else pooled
    return together
