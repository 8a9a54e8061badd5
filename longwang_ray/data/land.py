"""Where the land is: the share of each ERA5 cell that is land.

The packed field beside this module is the mean over the 30 × 30 samples of 30 arc seconds in each
cell, in whole percents. It was made once from the elevation model GLOBE 1.0 (NOAA, 1999) as the
PyPI package ``global-land-mask`` 1.0.0 (MIT, Todd Karin, 2019) packs it. Lakes count as land,
Antarctic ice shelves mostly as sea.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


@cache
def land_fraction() -> NDArray[np.float32]:
    """Land share of every cell of the ERA5 grid, to 0.01.

    Returns:
        Shape ``(720, 1440)``, from 0 (sea) to 1 (land); latitude 90 … −89.75, longitude
        0 … 359.75. The first row is the half cell at the pole, the last one reaches from −89.625
        to −90. Shared between its callers, hence read-only.

    >>> share = land_fraction()
    >>> float(share[160, 60])  # 50° N 15° E, Bohemia
    1.0
    >>> float(share[360, 1320])  # the equator at 30° W, the Atlantic
    0.0
    """
    with files(__package__).joinpath("land_0p25.npz").open("rb") as file, np.load(file) as packed:
        share: NDArray[np.float32] = packed["percent"].astype(np.float32) / np.float32(100)
    share.flags.writeable = False
    return share
