"""What a hydrologist would do without a network: borrow a real month and scale it.

The daily disaggregation of BCSD (Wood et al. 2002, doi:10.1029/2001JD000659; 2004,
doi:10.1023/B:CLIM.0000013685.99609.9e). The days of one month of an archive, of the same calendar
month but another year, are multiplied by a smooth factor, so that their means follow the GCM's:

    x_d = I( clip( y / A x̄ᵃ, 1/10, 10 ) ) · xᵃ_d

with ``xᵃ`` the archive's days, ``x̄ᵃ`` their mean and ``I`` the interpolation between the centres
of the GCM's cells. The days are real, so wet-day fraction, spectra and the sequence of days are
too; the weather is another year's, and what the archive never saw is only a multiple of what it
did.

Drawing several months of the archive makes an ensemble. The factor is capped, as is usual in dry
places: a month that was nearly dry in the archive can't be scaled into a wet one. So, and since
the interpolated factor is not iterated, the GCM's month is met approximately; `posterior.closure`
would meet it, and is no part of the published method.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt

from longwang_ray.posterior.closure import Interpolation
from longwang_ray.posterior.observation import MonthlyMean

Array = NDArray[np.floating]

LARGEST = 10.0
"""The largest factor; its inverse is the smallest."""

SMALLEST_MONTH = 1e-6
"""mm/day; a month with less is divided by this."""


def analogue(archive: Array, y: Array, operator: MonthlyMean, interpolate: Interpolation) -> Array:
    """Days of the archive, scaled to the GCM's month.

    Args:
        archive: One month of real days on the wanted cells, ``(day, lat, lon)``, mm/day; as many
            days as it has.
        y: The GCM's monthly means, ``(gcm_lat, gcm_lon)``, mm/day; NaN where masked.
        operator: ``A`` from these cells; only its latitude and longitude are used. A GCM cell that
            they cover in part is compared over that part, so give them a margin where that counts.
        interpolate: ``I`` from the GCM's cells to these.

    Returns:
        Shape ``(day, lat, lon)``, mm/day, float32. Where the GCM says nothing, the factor is that
        of the nearest cell where it does; 1 if there is none.

    Raises:
        ValueError: Where ``y`` has not the operator's GCM cells.
    """
    rows, columns = (w.double().numpy() for w in (operator.lat, operator.lon))
    if y.shape != (len(rows), len(columns)):
        raise ValueError(f"y is {y.shape}, the operator's GCM has {(len(rows), len(columns))}")
    month = rows @ archive.mean(axis=0, dtype=np.float64) @ columns.T
    known = np.isfinite(y) & np.outer(rows.any(axis=1), columns.any(axis=1))
    # a month without rain, in a cell that asks for some, gets the largest factor and stays dry
    ratio = np.where(known, y, 0.0) / np.maximum(month, SMALLEST_MONTH)
    factor = interpolate(torch.from_numpy(_spread(np.clip(ratio, 1 / LARGEST, LARGEST), known)))
    return (archive * factor.numpy()).astype(np.float32)


def _spread(ratio: Array, known: NDArray[np.bool_]) -> Array:
    """The ratio of the nearest known cell where it is not known itself."""
    if not known.any():
        return np.ones_like(ratio)
    nearest = distance_transform_edt(~known, return_distances=False, return_indices=True)
    return ratio[tuple(nearest)]
