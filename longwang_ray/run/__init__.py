"""One run: what it will do (planning), what fixes its result (recipe), who does it (worker)."""

from longwang_ray.run.ensemble import Incomplete, RunSummary, execute, run_ensemble
from longwang_ray.run.planning import Prepared, describe_plan, plan_ensemble

__all__ = [
    "Incomplete",
    "Prepared",
    "RunSummary",
    "describe_plan",
    "execute",
    "plan_ensemble",
    "run_ensemble",
]
