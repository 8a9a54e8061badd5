"""Power of rain over wavelengths: summed over modes, so that scenes can be pooled.

The transform is that of `scores.power_spectrum`: each field without its mean, Hann-windowed. Rings
are the same for every domain, 1/64 cycles per cell wide, ring k holding wavelengths from 64/k to
64/(k − 1) cells; a small domain leaves the first of them empty.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from longwang_ray.evaluation.scores import power_of_modes
from longwang_ray.evaluation.sums import Sums

Array = NDArray[np.floating]

RINGS = 32
SHORTEST = 2.0 * RINGS / np.arange(1, RINGS + 1)
"""Shortest wavelength in each ring, cells: 64, 32, 21.3 … 2."""

LONG, SHORT = (8.0, 64.0), (4.0, 8.0)
"""Wavelengths that are compared, cells: a ring belongs to a band if its shortest does (the upper
end of the second one not)."""

_BANDS = {"long": (SHORTEST >= LONG[0]) & (SHORTEST <= LONG[1]),
          "short": (SHORTEST >= SHORT[0]) & (SHORTEST < SHORT[1])}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Spectrum(Sums):
    """Power summed over the modes of each ring, over fields.

    Attributes:
        power: Shape ``(RINGS,)``, (mm/day)².
        modes: How many modes went in, the same shape.
    """

    power: Array
    modes: Array

    @classmethod
    def of(cls, rain: Array) -> Spectrum:
        """Sum the power of fields ``(..., lat, lon)``, mm/day."""
        power, radius = power_of_modes(rain)
        ring = np.ceil(radius / 0.5 * RINGS).astype(int).ravel()  # 0 is the mean, then 1 … RINGS
        modes = np.bincount(ring, minlength=RINGS + 1)[1 : RINGS + 1]
        total = np.bincount(ring, power.ravel(), minlength=RINGS + 1)[1 : RINGS + 1]
        fields = float(rain.size // power.size)
        return cls(total * fields, modes * fields)

    @property
    def mean(self) -> Array:
        """Radially averaged power, shape ``(RINGS,)``, (mm/day)²; NaN where no mode went in."""
        return _ratio(self.power, self.modes)

    @property
    def wavelength(self) -> Array:
        """Of each ring's middle wavenumber, cells, shape ``(RINGS,)``."""
        return 2.0 * RINGS / (np.arange(RINGS) + 0.5)

    def ratio(self, truth: Spectrum) -> Array:
        """Power over the truth's, ring by ring; NaN where the truth has none."""
        return _ratio(self.mean, truth.mean)

    def worst(self, truth: Spectrum, band: str = "long") -> float:
        """The largest of the ratios and their inverses over a band; 1 is right.

        Args:
            truth: The truth's.
            band: "long" for 8 to 64 cells, "short" for 4 to 8.

        Returns:
            1 … ∞; NaN where the truth has no power in the band.
        """
        ratio = self.ratio(truth)[_BANDS[band]]
        known = ratio[np.isfinite(ratio)]
        if not known.size:
            return float("nan")
        with np.errstate(divide="ignore"):
            return float(np.max(np.maximum(known, 1 / known)))


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.full(len(above), np.nan), where=below > 0)
