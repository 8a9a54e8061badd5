"""longwang_ray: coarse monthly precipitation in, ensembles of daily 0.25° fields out.

For each (gcm, variant, scenario, realization) there is one global daily field, fixed by the recipe before anyone
computes it; workers only compute pieces of it.
"""

__version__ = "0.1.0"
