"""What fixes the field of a group, and what its store says of itself."""

from __future__ import annotations

from typing import Any

from longwang_ray import __version__
from longwang_ray.domain.noise import NOISE_VERSION
from longwang_ray.domain.plan import GroupPlan
from longwang_ray.posterior.closure import ITERATIONS
from longwang_ray.posterior.tile import ALGORITHM_VERSION
from longwang_ray.run.planning import Prepared
from longwang_ray.store import GroupSpec


def recipe_of(prepared: Prepared, path: str) -> dict[str, Any]:
    """All that fixes the field of a group; nothing about the cluster, tiles, region or period."""
    config, prior, source = prepared.config, prepared.prior, prepared.sources[path]
    gcm, scenario, variant = path.split("/")
    return {
        "algorithm": ALGORITHM_VERSION,
        "prior": {"name": prior.name, "sha256": prior.digest},
        "source": {
            "gcm": gcm,
            "scenario": scenario,
            "variant": variant,
            "sha256": source.digest,
            "calendar": source.record.calendar,
            "record": [str(source.record.months[0]), str(source.record.months[-1])],
            "operator": "area-weighted mean of each native cell over each calendar month",
        },
        "noise": {"seed": config.seed, "version": NOISE_VERSION, "generator": "Philox4x64-10"},
        "lattice": {
            "window": list(prior.window),
            "stride": list(prior.stride),
            "taper": "smootherstep",
        },
        "sampler": config.sampler.model_dump(),
        "observation": config.observation.model_dump(),
        "closure": {"kind": "smooth factors", "iterations": ITERATIONS},
        "dry_threshold": prior.dry_threshold,
        "precision": "float32",
        "mantissa_bits": config.output.mantissa_bits,
    }


def group_spec(prepared: Prepared, plan: GroupPlan) -> GroupSpec:
    """What the store is told about a group."""
    source = prepared.sources[plan.group.path]
    return GroupSpec(
        group=plan.group,
        layout=plan.layout,
        grid=prepared.prior.grid,
        record=source.record,
        realizations=prepared.config.realizations,
        recipe=recipe_of(prepared, plan.group.path),
        observation=source.rain,
        gcm_grid=source.grid,
        attributes=attributes_of(prepared, plan.group.path),
        shards=(plan.shards.start, plan.shards.stop),
        mantissa_bits=prepared.config.output.mantissa_bits,
    )


def attributes_of(prepared: Prepared, path: str) -> dict[str, Any]:
    """Where a group comes from, for people and catalogues (ACDD-1.3)."""
    prior, group = prepared.prior, path.replace("/", " ")
    source = {f"source_{k}": v for k, v in prepared.sources[path].attributes.items()}
    return {
        **source,
        "title": f"Daily precipitation downscaled from {group} with the {prior.name} prior",
        "summary": (
            "Ensemble of daily precipitation fields sampled from a latent generative prior, "
            "conditioned on the monthly means of a global climate model"
        ),
        "intended_use": prior.intended_use,
        "references": "arXiv:2605.17603",
        "product_version": __version__,
        "prior_name": prior.name,
        "prior_sha256": prior.digest,
    }
