"""longwang_ray: coarse monthly precipitation in, ensembles of daily 0.25° fields out.

For each (gcm, variant, scenario, realization) there is one global daily field, fixed by the
recipe before anyone computes it; workers only compute pieces of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from longwang_ray.config import load_config
    from longwang_ray.prior.bundle import open_prior
    from longwang_ray.run import plan_ensemble, run_ensemble
    from longwang_ray.store import open_ensemble

__version__ = "0.1.0"
__all__ = ["load_config", "open_ensemble", "open_prior", "plan_ensemble", "run_ensemble"]

_HOMES = {
    "load_config": "longwang_ray.config",
    "open_ensemble": "longwang_ray.store",
    "open_prior": "longwang_ray.prior.bundle",
    "plan_ensemble": "longwang_ray.run",
    "run_ensemble": "longwang_ray.run",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 (any of the public functions)
    """Import a public function when it is first asked for: torch and Ray take seconds."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
