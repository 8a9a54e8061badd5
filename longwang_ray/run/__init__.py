"""One run: what it will do (planning), what fixes its result (recipe), who does it (worker)."""

from longwang_ray.run.ensemble import RunSummary, run_ensemble
from longwang_ray.run.planning import Prepared, describe_plan, plan_ensemble

__all__ = ["Prepared", "RunSummary", "describe_plan", "plan_ensemble", "run_ensemble"]
