"""Put a finished prior where it is asked for: whole or not at all, and over nothing.

On a disk the bundle is written beside its place and renamed; behind a URL its description comes
last, and without it there is no bundle.
"""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from pathlib import Path

from longwang_ray.prior.bundle import DESCRIPTION, WEIGHTS, Prior, open_prior
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.errors import TrainingError

log = logging.getLogger(__name__)


def save_bundle(prior: Prior, where: str) -> str:
    """Write a bundle; one that is there already must be the same prior.

    Args:
        prior: What was fitted.
        where: A folder or an fsspec URL.

    Returns:
        Where it is.

    Raises:
        TrainingError: if the place holds another prior, or something else.
    """
    if (there := bundle_at(where)) is not None:
        if there.digest != prior.digest:
            raise other_prior(where, f"{there.digest[:12]}, this one is {prior.digest[:12]}")
        log.info("%s: holds this prior already", where)
        return where
    files = Checkpoints(where)
    if files.local:
        _write_beside(prior, Path(files.root))
    else:
        with tempfile.TemporaryDirectory(prefix="longwang-") as folder:
            prior.save(folder)
            for name in (WEIGHTS, DESCRIPTION):
                files.put(name, Path(folder) / name)
    log.info("%s: prior %s, %s parameters", where, prior.digest[:12], f"{prior.parameters:,}")
    return where


def bundle_at(where: str) -> Prior | None:
    """The prior that is there; ``None`` where nothing is.

    Raises:
        TrainingError: if something else is there.
    """
    files = Checkpoints(where)
    if files.exists(DESCRIPTION):
        return open_prior(where)
    if found := files.names():
        if set(found) <= {WEIGHTS} and not files.local:
            return None  # a kill between weights and description left it
        raise TrainingError(
            f"{where}: is not empty ({', '.join(found[:3])}) and holds no prior; choose another "
            "folder (bundle=…)"
        )
    return None


def other_prior(where: str, found: str) -> TrainingError:
    """What to say of a place that is taken."""
    return TrainingError(
        f"{where}: holds another prior already ({found}); choose another folder (bundle=…), "
        "nothing was overwritten"
    )


def _write_beside(prior: Prior, folder: Path) -> None:
    part = folder.with_name(f"{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)  # what a killed run left of its own
    prior.save(part)
    os.replace(part, folder)
