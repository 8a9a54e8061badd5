"""From a sampled latent to a month of closed daily rain, one month at a time.

    rain = f · d,    d = dry(blend(decode, x̂)),    f: the factors that close the month

Only the core is kept, and around it as much is decoded as closing needs. What was decoded and what
closing made of it are both handed on: a ledger, a score or a map may want either.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from longwang_ray.domain.grid import RectilinearGrid
from longwang_ray.domain.lattice import Extent, Span
from longwang_ray.domain.plan import Tile
from longwang_ray.posterior.blending import Blend, Resolution
from longwang_ray.posterior.closure import Closed, close_month, interpolation
from longwang_ray.posterior.observation import (
    ErrorModel,
    MonthlyRain,
    Observation,
    operator_on,
)
from longwang_ray.posterior.stopwatch import Stopwatch
from longwang_ray.prior.bundle import Prior

NEIGHBOURS = 2
"""GCM cells beyond the core that closing looks at: further ones move its factors below 1e-3."""


@dataclass(frozen=True)
class MonthLedger:
    """How well a month was met, on the GCM cells whose centre lies in the core; NaN elsewhere.

    Attributes:
        month: Index into the record.
        before: ``A x`` before closing, ``(gcm_lat, gcm_lon)``, mm/day.
        after: ``A x`` after closing.
        factor: Mean factor of the cell, ``A f``.
        conflict: ``((y − A x)/σ_y)²`` before closing.
    """

    month: int
    before: np.ndarray
    after: np.ndarray
    factor: np.ndarray
    conflict: np.ndarray


@dataclass(frozen=True)
class DecodedMonth:
    """A month of a tile's core, as decoded, and what closes it.

    Attributes:
        month: Index into the record.
        first_day: Number of the first of its days in the core.
        open: Rain before closing, ``(days, rows, columns)``, mm/day, float32, dried.
        factor: Of each cell, ``(rows, columns)``, float32, the same on all days.
        ledger: How well the month was met, if its middle lies in the core.
    """

    month: int
    first_day: int
    open: np.ndarray
    factor: np.ndarray
    ledger: MonthLedger | None

    @property
    def closed(self) -> np.ndarray:
        """Rain that agrees with the month, ``(days, rows, columns)``, mm/day, float32."""
        return self.open * self.factor


@torch.no_grad()
def decode_months(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    latent: Tensor,
    error: ErrorModel,
    batch: int = 2,
    clock: Stopwatch | None = None,
) -> Iterator[DecodedMonth]:
    """Decode, dry and close the core's months, one in memory at a time.

    Args:
        prior: On the latent's device.
        tile: Whose core.
        monthly: What is observed.
        latent: Of the tile's whole extent, ``(channel, T, H, W)``.
        error: Of the observation.
        batch: Windows decoded at once.
        clock: Takes the seconds.
    """
    clock = clock or Stopwatch(latent.device)
    for index in tile.core_months:  # no name here keeps a month while the next is decoded
        yield _decoded_month(prior, tile, monthly, latent, error, batch, clock, index)


def _decoded_month(
    prior: Prior,
    tile: Tile,
    monthly: MonthlyRain,
    latent: Tensor,
    error: ErrorModel,
    batch: int,
    clock: Stopwatch,
    index: int,
) -> DecodedMonth:
    """One month: decoded, closed, and what of it lies in the core."""
    month = monthly.record.months[index]
    with clock("decode"):
        box = closing_extent(prior, tile, monthly.grid, (month.start, month.stop))
        first = month.start - box.time.fine_start
        field = _decode(prior, tile.extent, box, latent, batch)[first : first + month.days]
    with clock("close"):
        closed = _close(field, box, prior, monthly, index, error)
        begin, end = max(month.start, tile.days[0]), min(month.stop, tile.days[1])
        rows = box.lat.local_fine(tile.rows[0], tile.core_shape[1])
        columns = box.lon.local_fine(*tile.columns)
        core = field[begin - month.start : end - month.start, rows[0] : rows[-1] + 1]
        factor = closed.factor[rows[0] : rows[-1] + 1][:, columns].float().cpu().numpy()
        middle = month.start + month.days // 2
        inside = tile.days[0] <= middle < tile.days[1]
        told = _ledger(index, closed, tile, prior, monthly.grid) if inside else None
        return DecodedMonth(index, begin, core[..., columns].cpu().numpy(), factor, told)


def closing_extent(
    prior: Prior, tile: Tile, gcm: RectilinearGrid, days: tuple[int, int]
) -> Extent:
    """The fewest windows with the core and all GCM cells near it, whole if the extent has them."""
    lattice = prior.lattice
    widest = [np.abs(np.diff(b, axis=1)).max() for b in (gcm.lat_bounds, gcm.lon_bounds)]
    lat_halo, lon_halo = (
        int(np.ceil((1 + NEIGHBOURS) * cell / (stride * prior.grid_step)))
        for cell, stride in zip(widest, prior.stride[1:], strict=True)
    )
    return Extent(
        lattice.time_span(*days),
        _largest(lambda halo: lattice.lat_span(*tile.rows, halo), lat_halo, tile.extent.lat),
        _largest(lambda halo: lattice.lon_span(*tile.columns, halo), lon_halo, tile.extent.lon),
    )


def _largest(span_of: Callable[[int], Span], halo: int, limit: Span) -> Span:
    """The span with the largest halo up to ``halo`` that stays within the tile's own."""
    return next(s for h in range(halo, -1, -1) if (s := span_of(h)).size <= limit.size)


def _decode(prior: Prior, whole: Extent, box: Extent, latent: Tensor, batch: int) -> Tensor:
    """Blended rain of some of an extent's windows, ``(days, lat, lon)``, dried."""
    t, i, j = (
        torch.from_numpy(_places(part, span)).to(latent.device)
        for part, span in zip(box.spans, whole.spans, strict=True)
    )
    field = latent[:, t][:, :, i][..., j]
    blend = Blend(box, batch, latent.device)
    at = Resolution(*prior.compression)
    rain = blend(lambda w, _: prior.decode(w)[:, None], field, at)[0]
    return rain.masked_fill_(rain < prior.dry_threshold, 0.0)


def _places(part: Span, whole: Span) -> np.ndarray:
    """Latent cells of a span as indices into a larger one."""
    cells = part.start - whole.start + np.arange(part.size)
    return cells if whole.period is None else cells % whole.period


def _close(
    field: Tensor, box: Extent, prior: Prior, monthly: MonthlyRain, index: int, error: ErrorModel
) -> Closed:
    gcm = monthly.grid
    operator = operator_on(box, prior.grid, monthly, range(index, index + 1)).to(field.device)
    smooth = interpolation(prior.grid, box.lat.fine_cells(), box.lon.fine_cells(), gcm)
    observation = Observation.of(monthly.rain[index : index + 1], operator, error)
    return close_month(field.mean(0), operator, smooth.to(field.device), observation)


def _ledger(
    index: int, closed: Closed, tile: Tile, prior: Prior, gcm: RectilinearGrid
) -> MonthLedger:
    """What closing a month took, on the GCM cells that have their centre in the core."""
    edges = prior.grid.lat_bounds[tile.rows[0] : tile.rows[1]]
    north, south = edges.max(), edges.min()
    west = prior.grid.lon_bounds[tile.columns[0], 0]
    lat = (gcm.lat <= north) & ((gcm.lat > south) | (south <= -90.0))
    lon = (gcm.lon - west) % 360.0 < tile.columns[1] * prior.grid_step
    own = lat[:, None] & lon[None, :]
    told = (
        np.where(own, values.cpu().numpy(), np.nan).astype(np.float32)
        for values in (closed.before, closed.after, closed.mean_factor, closed.conflict)
    )
    return MonthLedger(index, *told)
