"""Commands about priors; what a command needs is imported when it is called."""

from __future__ import annotations

import argparse
from typing import Any

from longwang_ray.cli.output import DONE, print_pairs


def assess(options: argparse.Namespace) -> int:
    """Say how good a prior is."""
    from longwang_ray.evaluation.training import evaluate_prior

    config, *overrides = options.data or (None,)
    return evaluate_prior(options.prior, options.output, config, overrides)


def train(options: argparse.Namespace) -> int:
    """Fit a prior, or say what it would take."""
    from longwang_ray.evaluation.training import train_and_assess

    how: dict[str, Any] = {"dry_run": options.dry_run, "only": options.only}
    return train_and_assess(options.config, options.overrides, **how)


def train_head(options: argparse.Namespace) -> int:
    """Teach a prior a coarse head."""
    from longwang_ray.training.teach import teach

    print_pairs(teach(options.prior, options.arguments, options.out, again=options.again))
    return DONE


def import_prior(options: argparse.Namespace) -> int:
    """Turn the published checkpoints into a prior."""
    from longwang_ray.prior.official import describe_import, load_official

    prior = load_official(
        options.autoencoder,
        options.denoiser,
        options.statistics,
        heads=options.heads,
        strides=options.strides,
        time_compression=options.time_compression,
        window=options.window,
        stride=options.stride,
        name=options.name,
    )
    prior.save(options.out)
    print_pairs([("bundle", str(options.out)), *describe_import(prior)])
    return DONE
