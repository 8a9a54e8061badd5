"""The unit in which the networks see rain.

    v = 2 (log(x + ε) − log ε − norm_min) / norm_range − 1,    x = exp(…)⁻¹ clamped at 0

so dry is −1 and the wettest day of the training data 1, as published.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class LogTransform:
    """Rain in mm/day to the networks' unit and back.

    Attributes:
        epsilon: Where the logarithm turns linear, mm/day.
        norm_min: Smallest ``log(x + ε) − log ε`` of the training data.
        norm_range: Largest minus smallest.
    """

    epsilon: float
    norm_min: float
    norm_range: float

    def forward(self, rain: Tensor) -> Tensor:
        """Transformed rain of rain in mm/day, any shape."""
        log = (rain + self.epsilon).log() - math.log(self.epsilon)
        return 2.0 * (log - self.norm_min) / self.norm_range - 1.0

    def inverse(self, v: Tensor) -> Tensor:
        """Rain in mm/day of transformed rain, any shape; never negative."""
        return self.unclamped(v).clamp(min=0.0)

    def unclamped(self, v: Tensor) -> Tensor:
        """The inverse as a formula, above −ε: its gradient does not end where it is dry."""
        log = (v + 1.0) / 2.0 * self.norm_range + self.norm_min
        return (log + math.log(self.epsilon)).exp() - self.epsilon
