"""Many windows, one field: predictions of all windows, blended at every step.

    f(x) = Σ_k w_k · F(x|_k),      Σ_k w_k = 1

The sum over windows ``k`` runs in one fixed order, in batches of a fixed size. Its gradient
separates: with the cotangent ``g`` of the blended field, each window gives ``Jᵀ_k (w_k · g)`` on
its own, so that activations never exist for more than one batch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from longwang_ray.domain.lattice import Extent
from longwang_ray.prior.denoiser import Denoiser

Place = tuple[int, int, int]
WindowFn = Callable[[Tensor, slice], Tensor]
"""Windows ``(batch, channel, T, H, W)`` and which of the extent's windows they are → output."""


class Resolution(NamedTuple):
    """Cells of an output per latent cell on each axis: 1 for latents, finer for rain."""

    time: int = 1
    lat: int = 1
    lon: int = 1


LATENT = Resolution()


class Blend:
    """All windows of an extent and their weights.

    Args:
        extent: Which windows.
        batch: Windows computed at once, at most; part of what fixes the result to the bit.
        device: Where fields live.
    """

    def __init__(self, extent: Extent, batch: int, device: torch.device | str = "cpu") -> None:
        self.extent, self.batch = extent, batch
        self.device = torch.device(device)
        self._weights: dict[Resolution, list[Tensor]] = {}
        self._places = tuple(extent.windows())
        self._window = (extent.time.window, extent.lat.window, extent.lon.window)

    @property
    def shape(self) -> Place:
        """Latent cells of the extent."""
        return self.extent.shape

    def __call__(self, function: WindowFn, field: Tensor, at: Resolution = LATENT) -> Tensor:
        """Blend a function of windows.

        Args:
            function: Applied to batches of windows; ``(batch, channel, …)`` → the same leading
                dimensions, cells at resolution ``at``.
            field: ``(channel, T, H, W)`` of the extent.
            at: Cells of the output per latent cell.

        Returns:
            ``(channel, …)`` on the extent at resolution ``at``.
        """
        padded, total = self._pad(field), None
        for which, places in self._batches():
            out = function(self._gather(padded, places, LATENT), which)
            if total is None:
                total = out.new_zeros(out.shape[1], *self._padded_shape(at))
            self._scatter(total, out * self._weight(places, at), places, at)
        assert total is not None
        return self._fold(total, at)

    def pull_back(
        self, function: WindowFn, field: Tensor, cotangent: Tensor, at: Resolution
    ) -> Tensor:
        """Gradient of ``⟨g, blend(function)(field)⟩`` with respect to the field.

        Args:
            function: As in a blend; differentiable.
            field: ``(channel, T, H, W)``.
            cotangent: ``g`` at resolution ``at``, ``(channel, …)``.
            at: Cells of the output per latent cell.

        Returns:
            ``(channel, T, H, W)``.
        """
        padded, pulled = self._pad(field), self._pad(cotangent, at)
        total = torch.zeros_like(padded)
        for which, places in self._batches():
            windows = self._gather(padded, places, LATENT).requires_grad_()
            with torch.enable_grad():
                out = function(windows, which)
            back = self._gather(pulled, places, at) * self._weight(places, at)
            (grad,) = torch.autograd.grad(out, windows, back)
            self._scatter(total, grad, places, LATENT)
        return self._fold(total, LATENT)

    def _batches(self) -> Iterator[tuple[slice, tuple[Place, ...]]]:
        """As few batches as it takes, of equal sizes: a last one of a single window is slow."""
        count = -(-len(self._places) // self.batch)
        edges = [round(k * len(self._places) / count) for k in range(count + 1)]
        for first, stop in pairwise(edges):
            yield slice(first, stop), self._places[first:stop]

    def _slices(self, place: Place, at: Resolution) -> tuple[slice, ...]:
        starts = (span.offsets[k] for span, k in zip(self.extent.spans, place, strict=True))
        return tuple(
            slice(start * r, (start + size) * r)
            for start, size, r in zip(starts, self._window, at, strict=True)
        )

    def _gather(self, padded: Tensor, places: tuple[Place, ...], at: Resolution) -> Tensor:
        return torch.stack([padded[:, *self._slices(p, at)] for p in places])

    def _scatter(
        self, total: Tensor, windows: Tensor, places: tuple[Place, ...], at: Resolution
    ) -> None:
        for window, place in zip(windows, places, strict=True):
            total[:, *self._slices(place, at)] += window

    def _weight(self, places: tuple[Place, ...], at: Resolution) -> Tensor:
        """Weights of windows at a resolution, ``(batch, 1, T, H, W)``."""
        if at not in self._weights:
            axes = zip(self.extent.spans, at, strict=True)
            self._weights[at] = [torch.from_numpy(s.weights(n)).to(self.device) for s, n in axes]
        t, i, j = (
            torch.stack([w[p[axis]] for p in places]) for axis, w in enumerate(self._weights[at])
        )
        return (t[:, :, None, None] * i[:, None, :, None] * j[:, None, None, :])[:, None]

    def _padded_shape(self, at: Resolution) -> Place:
        t, i, j = self.shape
        return t * at.time, i * at.lat, (j + self._overhang) * at.lon

    @property
    def _overhang(self) -> int:
        """Columns by which the last windows pass the place where a closed circle was cut."""
        span = self.extent.lon
        return span.offsets[-1] + span.window - span.size if span.wraps else 0

    def _pad(self, field: Tensor, at: Resolution = LATENT) -> Tensor:
        more = self._overhang * at.lon
        return torch.cat([field, field[..., :more]], dim=-1) if more else field

    def _fold(self, total: Tensor, at: Resolution) -> Tensor:
        more = self._overhang * at.lon
        if not more:
            return total
        whole = total[..., :-more].clone()
        whole[..., :more] += total[..., -more:]
        return whole


class BlendedDenoiser:
    """The conditional denoiser on a whole extent: all windows, blended.

    Args:
        blend: The windows.
        denoiser: ``(windows, times, context)`` → clean windows.
        context: Context of every window, ``(windows, context)``; ``None`` is the unconditional
            prior.
    """

    def __init__(self, blend: Blend, denoiser: Denoiser, context: Tensor | None) -> None:
        self.blend, self.denoiser, self.context = blend, denoiser, context

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        """Clean latents of noisy ones, both ``(channel, T, H, W)``."""
        return self.blend(self._windows(t), x)

    def pull_back(self, x: Tensor, t: Tensor, cotangent: Tensor) -> Tensor:
        """``Jᵀ g`` of this denoiser at ``x``."""
        return self.blend.pull_back(self._windows(t), x, cotangent, LATENT)

    def _windows(self, t: Tensor) -> WindowFn:
        def clean(windows: Tensor, which: slice) -> Tensor:
            told = None if self.context is None else self.context[which]
            return self.denoiser(windows, t.expand(len(windows)), told)

        return clean
