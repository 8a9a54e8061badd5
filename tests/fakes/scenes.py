"""Region-months made of gamma-distributed rain, some of it correlated, for tests of the scores."""

import numpy as np
from scipy.ndimage import gaussian_filter

from longwang_ray.evaluation.scene import Scene


def showers(rng, *shape, width=0.0):
    """Rain with about two thirds dry, ``shape``, mm/day; storms are ``width`` cells wide."""
    anomaly = rng.standard_normal(shape)
    if width:
        anomaly = gaussian_filter(anomaly, (0,) * (len(shape) - 2) + (width, width), mode="wrap")
    anomaly /= anomaly.std()
    return (12 * np.maximum(anomaly - 0.4, 0) ** 2).astype(np.float32)


def scene(seed=0, realizations=4, days=6, cells=12, region="34N 344E", **methods):
    """One region-month; methods "ensemble" and "single" beside those that are given."""
    rng = np.random.default_rng(seed)
    month = 1 + seed % 12
    return Scene(
        name=f"2001-{month:02d} {region}",
        month=month,
        lat=34 + 0.25 * np.arange(cells)[::-1],
        lon=344 + 0.25 * np.arange(cells),
        truth=showers(rng, days, cells, cells),
        methods={
            "ensemble": showers(rng, realizations, days, cells, cells),
            "single": showers(rng, 1, days, cells, cells),
            **methods,
        },
    )
