"""The pictures of a training on its way: held-out days beside what the network makes of them.

One column a window. The autoencoder's third row is what it got wrong; a sample is another day of
the same place and season, so that only its looks can be compared.
"""

from __future__ import annotations

import io
import logging
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.figure import Figure
from matplotlib.image import imsave
from numpy.typing import NDArray

from longwang_ray.evaluation.maps import (
    LEVELS,
    STEPS,
    Colours,
    difference_colours,
    draw_field,
    rain_colours,
)
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.sight import Sight

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Array = NDArray[np.floating]
Row = tuple[str, Array, Colours]

log = logging.getLogger(__name__)
MOST_COLUMNS = 6
DOTS_PER_INCH = 100


def draw_progress(sight: Sight) -> NDArray[np.uint8]:
    """Draw a sight and write ``{url}/figures/{stage}-{step}.png``.

    A picture that cannot be written is told and stops nothing.

    Args:
        sight: What the training shows.

    Returns:
        The picture, ``(height, width, 3)``.
    """
    canvas = FigureCanvasAgg(draw_sight(sight))
    canvas.draw()
    picture = np.ascontiguousarray(np.asarray(canvas.buffer_rgba())[..., :3])
    name, content = f"figures/{sight.stage}-{sight.step:07d}.png", io.BytesIO()
    imsave(content, picture, format="png")
    try:
        Checkpoints(sight.url).write(name, content.getvalue())
    except Exception as error:  # each filesystem has its own; a picture is only a picture
        log.warning("%s/%s: not written (%s)", sight.url.rstrip("/"), name, error)
    return picture


def draw_sight(sight: Sight) -> Figure:
    """Draw truth, what the network makes of it, and the difference where there is one."""
    rain, columns = rain_colours(), min(len(sight.truth), MOST_COLUMNS)
    rows: list[Row] = [
        ("held-out day", sight.truth, rain),
        ("reconstructed" if sight.redone else "prior sample", sight.shown, rain),
    ]
    if sight.redone:
        off = sight.shown.astype(np.float32) - sight.truth.astype(np.float32)
        rows.append(("reconstructed − held-out", off, difference_colours()))
    tall, wide = sight.truth.shape[1:]
    size = (columns * 2.2 + 0.5, len(rows) * (2.2 * tall / wide + 0.15) + 1.0)
    figure = Figure(figsize=size, layout="constrained", dpi=DOTS_PER_INCH)
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for i, (name, fields, colours) in enumerate(rows):
        for j in range(columns):
            _window(axes[i, j], sight, j, fields[j], colours)
        axes[i, 0].set_ylabel(name, fontsize=9)
    for j, name in enumerate(sight.names[:columns]):
        axes[0, j].set_title(name, fontsize=8)
    figure.suptitle(f"{sight.title}: {sight.stage}, step {sight.step:,}", fontsize=10)
    _bars(figure, axes, rows)
    return figure


def _window(axes: Axes, sight: Sight, j: int, field: Array, colours: Colours) -> None:
    if sight.lat is None or sight.lon is None:
        axes.imshow(np.ma.masked_invalid(field), cmap=colours[0], norm=colours[1])
        axes.set_xticks([])
        axes.set_yticks([])
        return
    draw_field(axes, field, sight.lat[j], sight.lon[j], colours)
    axes.set_aspect("auto")  # windows of all latitudes in boxes of one size
    axes.set_box_aspect(field.shape[0] / field.shape[1])
    axes.tick_params(labelsize=6)


def _bars(figure: Figure, axes: NDArray[np.object_], rows: list[Row]) -> None:
    bars: list[tuple[str, tuple[float, ...], Colours]] = [
        ("precipitation, mm/day", LEVELS, rows[0][2])
    ]
    if len(rows) > 2:
        both = (*(-step for step in STEPS[::-1]), *STEPS)
        bars.append(("difference, mm/day", both, rows[2][2]))
    for label, levels, (colours, norm) in bars:
        bar = figure.colorbar(
            ScalarMappable(norm, colours), ax=axes.ravel().tolist(), location="bottom",
            extend="both", shrink=0.7, aspect=50, pad=0.02,
        )  # fmt: skip
        bar.set_ticks(levels, labels=[f"{level:g}" for level in levels])
        bar.set_label(label, fontsize=8)
        bar.ax.tick_params(labelsize=7)
