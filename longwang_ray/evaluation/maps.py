"""One map of rain: its colours, its land outline and its axes.

Maps are plate carrée. A region may cross 0°E: its longitudes are unrolled to one ascending run
whose middle lies in (−180, 180], and whatever else is drawn (coarse cells, land) is brought to
that run. Colours are white below 0.1 mm/day and then one step darker for each doubling, so that
drizzle and downpour both show; lightness falls monotonically, which survives grey print and
colour blindness.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import colormaps
from matplotlib.cm import ScalarMappable
from matplotlib.colors import BoundaryNorm, Colormap, LinearSegmentedColormap, ListedColormap
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from longwang_ray.data.land import land_fraction

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

Array = NDArray[np.floating]
Colours = tuple[Colormap, BoundaryNorm]

LEVELS = (0.1, 0.25, 0.5, 1, 2, 4, 8, 16, 32, 64, 128)
"""Where the colour changes, mm/day."""

STEPS = (0.5, 1, 2, 4, 8, 16, 32)
"""Where the colour of a difference changes, mm/day, to either side."""

_ANCHORS = ("#eef6e3", "#b9e0cf", "#74c3c9", "#3a97c0", "#2f64a8", "#3c3286", "#4b0f5a", "#2b0620")
_STEP = 0.25
_DEGREES = [1, 1.5, 2, 3, 4, 5, 6, 10]
_NORTH_ROWS, _ROUND = 720, 1440


def rain_colours() -> Colours:
    """Colour map and norm of rain: white below 0.1 mm/day, grey where there is none (NaN)."""
    smooth = LinearSegmentedColormap.from_list("rain", _ANCHORS)
    shades = [smooth(share) for share in np.linspace(0, 1, len(LEVELS))]
    steps = ListedColormap(shades[:-1], name="rain")
    colours = steps.with_extremes(under="white", over=shades[-1], bad="0.8")
    return colours, BoundaryNorm(LEVELS, steps.N)


def rain_scale() -> ScalarMappable:
    """What a colour bar of rain is made from."""
    colours, norm = rain_colours()
    return ScalarMappable(norm=norm, cmap=colours)


def difference_colours(changes: Sequence[float] = STEPS) -> Colours:
    """Colour map and norm of differences: brown too dry, green too wet, and white within the
    first of these changes of colour (mm/day, to either side)."""
    edges = [-step for step in changes[::-1]] + list(changes)
    shades = colormaps["BrBG"](np.linspace(0, 1, len(edges) + 1))
    shades[len(changes)] = 1.0
    steps = ListedColormap(shades[1:-1], name="difference")
    colours = steps.with_extremes(under=shades[0], over=shades[-1], bad="0.8")
    return colours, BoundaryNorm(edges, steps.N)


def unrolled(lon: Array) -> Array:
    """Longitudes as one ascending run, its middle in (−180, 180].

    >>> unrolled(np.array([358.0, 359.0, 0.0, 1.0]))
    array([-2., -1.,  0.,  1.])
    """
    run = np.unwrap(np.asarray(lon, dtype=np.float64), period=360)
    middle = (run[0] + run[-1]) / 2
    return run - 360 * np.ceil((middle - 180) / 360)


@dataclass(frozen=True)
class Frame:
    """The region of a map: outer edges of its cells, degrees; east above west."""

    south: float
    north: float
    west: float
    east: float

    @classmethod
    def of(cls, lat: Array, lon: Array) -> Frame:
        """The frame of regular cells with these centres (as stored, so perhaps across 0°E)."""
        run = unrolled(lon)
        tall, wide = _spacing(lat) / 2, _spacing(run) / 2
        south, north = float(np.min(lat)) - tall, float(np.max(lat)) + tall
        return cls(max(south, -90.0), min(north, 90.0), run[0] - wide, run[-1] + wide)

    @property
    def aspect(self) -> float:
        """Height over width that a degree gets on the page: 1 / cos of the middle latitude."""
        middle = np.deg2rad((self.south + self.north) / 2)
        return 1.0 if self.east - self.west > 180 else float(1 / max(np.cos(middle), 0.3))

    @property
    def shape(self) -> float:
        """Height over width of the map on the page."""
        return (self.north - self.south) * self.aspect / (self.east - self.west)


def _spacing(axis: Array) -> float:
    return float(np.median(np.abs(np.diff(axis)))) if len(axis) > 1 else _STEP


def draw_fine(axes: Axes, rain: Array, lat: Array, lon: Array) -> AxesImage:
    """Draw a field on a regular grid: ``rain (lat, lon)`` in mm/day, latitude in either order."""
    return draw_field(axes, rain, lat, lon, rain_colours())


def draw_field(axes: Axes, field: Array, lat: Array, lon: Array, colours: Colours) -> AxesImage:
    """Draw a field as `draw_fine` does, in other colours."""
    frame = Frame.of(lat, lon)
    north_first = field if lat[0] >= lat[-1] else field[::-1]
    image = axes.imshow(
        np.ma.masked_invalid(north_first),
        extent=(frame.west, frame.east, frame.south, frame.north),
        cmap=colours[0],
        norm=colours[1],
        interpolation="antialiased",
        interpolation_stage="rgba",
    )
    finish(axes, frame)
    return image


def draw_coarse(
    axes: Axes,
    rain: Array,
    lat_bounds: Array,
    lon_bounds: Array,
    frame: Frame,
    colours: Colours | None = None,
) -> None:
    """Draw the cells of a GCM as they are, cut to a frame.

    Args:
        axes: Where to draw.
        rain: Shape ``(J, I)``, mm/day.
        lat_bounds: Cell edges, shape ``(J, 2)``; ``lon_bounds`` likewise ``(I, 2)``.
        lon_bounds: See ``lat_bounds``.
        frame: What the map shows.
        colours: If they are not those of rain.
    """
    rows = np.argsort(np.mean(lat_bounds, axis=1))
    south, north = np.min(lat_bounds, axis=1)[rows], np.max(lat_bounds, axis=1)[rows]
    seen = (north > frame.south) & (south < frame.north)
    rows, south, north = rows[seen], south[seen], north[seen]
    west, columns = _columns(lon_bounds, frame)
    if not (len(rows) and len(columns)):
        raise ValueError(f"no cell of the GCM lies in the region {frame}")
    width = np.mod(lon_bounds[columns[-1], 1] - lon_bounds[columns[-1], 0], 360)
    shades, norm = colours or rain_colours()
    axes.pcolormesh(
        np.append(west, west[-1] + width),
        np.append(south, north[-1]),
        np.ma.masked_invalid(rain[np.ix_(rows, columns)]),
        cmap=shades,
        norm=norm,
    )
    finish(axes, frame)


def _columns(lon_bounds: Array, frame: Frame) -> tuple[Array, NDArray[np.intp]]:
    """Western edges in the frame's run of longitudes, ascending, and which columns they are of;
    on a global map a column can be seen at both ends."""
    width = np.mod(lon_bounds[:, 1] - lon_bounds[:, 0], 360)
    width = np.where(width == 0, 360, width)
    first = frame.west + np.mod(lon_bounds[:, 0] - frame.west, 360)
    west = np.concatenate([first - 360, first])
    columns = np.tile(np.arange(len(lon_bounds)), 2)
    seen = (west + np.tile(width, 2) > frame.west + 1e-6) & (west < frame.east - 1e-6)
    order = np.argsort(west[seen])
    return west[seen][order], columns[seen][order]


def finish(axes: Axes, frame: Frame) -> None:
    """Give a map its land outline, limits, aspect and labelled degrees."""
    _outline_land(axes, frame)
    axes.set_xlim(frame.west, frame.east)
    axes.set_ylim(frame.south, frame.north)
    axes.set_aspect(frame.aspect)
    axes.xaxis.set_major_locator(MaxNLocator(4, steps=_DEGREES))
    axes.yaxis.set_major_locator(MaxNLocator(4, steps=_DEGREES))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: east_name(x)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: north_name(y)))
    axes.tick_params(labelsize=7, length=2)


def _outline_land(axes: Axes, frame: Frame) -> None:
    rows = slice(
        max(int((90 - frame.north) / _STEP) - 1, 0),
        min(int((90 - frame.south) / _STEP) + 2, _NORTH_ROWS),
    )
    columns = np.arange(int(frame.west // _STEP) - 1, int(frame.east // _STEP) + 2)
    land = land_fraction()[rows][:, columns % _ROUND]
    width = 0.3 if frame.east - frame.west > 180 else 0.5
    if land.min() < 0.5 <= land.max():
        lat = 90 - _STEP * np.arange(rows.start, rows.stop)
        axes.contour(columns * _STEP, lat, land, levels=[0.5], colors="0.2", linewidths=width)


def east_name(lon: float) -> str:
    """A longitude as a map says it.

    >>> east_name(-12.5), east_name(200.0), east_name(0.0)
    ('12.5°W', '160°W', '0°')
    """
    turned = (lon + 180) % 360 - 180
    if turned in (0.0, -180.0):
        return f"{abs(turned):g}°"
    return f"{abs(turned):g}°{'E' if turned > 0 else 'W'}"


def north_name(lat: float) -> str:
    """A latitude as a map says it.

    >>> north_name(-10.0), north_name(0.0)
    ('10°S', '0°')
    """
    if lat == 0:
        return "0°"
    return f"{abs(lat):g}°{'N' if lat > 0 else 'S'}"
