"""What the denoiser is told about a window: where its centre lies, and when in the year.

    c = (φ/90, sin λ, cos λ, sin 2πm/12, cos 2πm/12)

with ``m`` the month, 1 to 12 at the middle of each month and linear between, so that a window that
slides through the year meets no step.
"""

from __future__ import annotations

import numpy as np

CONTEXT_SIZE = 5


def window_context(
    lat: np.ndarray | float, lon: np.ndarray | float, year_fraction: np.ndarray | float
) -> np.ndarray:
    """Context vectors of windows.

    Args:
        lat: Latitude of the centres, degrees north.
        lon: Longitude of the centres, degrees east.
        year_fraction: Time of the centres, 0 to 1 from January on. All broadcast.

    Returns:
        Shape ``(…, 5)``, float32.
    """
    angle = np.deg2rad(lon)
    season = 2 * np.pi * (np.asarray(year_fraction) + 0.5 / 12)
    parts = (np.asarray(lat) / 90.0, np.sin(angle), np.cos(angle), np.sin(season), np.cos(season))
    return np.stack(np.broadcast_arrays(*parts), axis=-1).astype(np.float32)
