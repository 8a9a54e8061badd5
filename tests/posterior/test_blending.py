"""Blending is linear, exact on constants, and its gradient is that of the dense computation."""

import numpy as np
import pytest
import torch

from longwang_ray.domain.lattice import Extent, Lattice
from longwang_ray.posterior.blending import LATENT, Blend, BlendedDenoiser, Resolution

LATTICE = Lattice(window=(4, 6, 6), stride=(2, 4, 3), compression=(1, 2, 2), shape=(15, 12))
EXTENTS = {
    "inside": LATTICE.extent((10, 15), (6, 14), (2, 6)),
    "poles": LATTICE.extent((10, 15), (0, 30), (2, 6)),
    "across": LATTICE.extent((10, 15), (6, 14), (20, 6)),
    "closed": LATTICE.extent((10, 15), (0, 30), (0, 24)),
}
FINE = Resolution(1, 2, 2)


@pytest.fixture(params=EXTENTS, name="extent")
def _extent(request) -> Extent:
    return EXTENTS[request.param]


def field_on(extent, channels=2, seed=0):
    return torch.randn(channels, *extent.shape, generator=torch.Generator().manual_seed(seed))


def curved(windows, which):
    """Differentiable, nonlinear, not local, and another one for every window."""
    number = torch.arange(which.start, which.stop).view(-1, 1, 1, 1, 1)
    mixed = windows.roll(1, dims=-1) * windows.roll(2, dims=-2)
    return torch.tanh(windows + 0.3 * mixed) * (1 + 0.1 * number)


def fine(windows, which):
    """Twice as fine in space, one channel."""
    return torch.nn.functional.interpolate(
        curved(windows, which), scale_factor=(1.0, 2.0, 2.0), mode="nearest"
    ).sum(1, keepdim=True)


def dense(extent, function, field, at=LATENT):
    """The definition: every window by index, weighted with its span's weights."""
    spans, total = extent.spans, None
    weights = [torch.from_numpy(s.weights(n)) for s, n in zip(spans, at, strict=True)]
    for number, place in enumerate(extent.windows()):
        t, i, j = (torch.from_numpy(s.window_cells(k)) for s, k in zip(spans, place, strict=True))
        out = function(field[:, t][:, :, i][..., j][None], slice(number, number + 1))[0]
        cells, shares = [], []
        for axis, (span, k) in enumerate(zip(spans, place, strict=True)):
            r, first = at[axis], span.offsets[k] * at[axis]
            index = torch.arange(first, first + span.window * r) % (span.size * r)
            cells.append(index)
            shares.append(weights[axis][k])
        share = torch.einsum("t,i,j->tij", *shares)
        if total is None:
            shape = [n * r for n, r in zip(extent.shape, at, strict=True)]
            total = torch.zeros(out.shape[0], *shape)
        grid = (slice(None), *(torch.meshgrid(*cells, indexing="ij")))
        total = total.index_put(
            (torch.arange(out.shape[0])[:, None, None, None], *(g[None] for g in grid[1:])),
            out * share,
            accumulate=True,
        )
    return total


def test_constant_comes_back(extent):
    ones = torch.ones(2, *extent.shape)
    assert torch.allclose(Blend(extent, 5)(lambda w, _: w, ones), ones, atol=1e-6)


def test_any_field_comes_back_where_windows_agree(extent):
    field = field_on(extent)
    assert torch.allclose(Blend(extent, 5)(lambda w, _: w, field), field, atol=1e-5)


@pytest.mark.parametrize(("function", "at"), [(curved, LATENT), (fine, FINE)])
def test_blend_is_the_definition(extent, function, at):
    field = field_on(extent)
    found = Blend(extent, 5)(function, field, at)
    assert torch.allclose(found, dense(extent, function, field, at), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 7, 1000])
def test_the_batch_changes_rounding_at_most(extent, batch):
    field = field_on(extent)
    found = Blend(extent, batch)(curved, field)
    assert torch.allclose(found, Blend(extent, 3)(curved, field), atol=1e-6)


@pytest.mark.parametrize(("function", "at"), [(curved, LATENT), (fine, FINE)])
def test_pull_back_is_autograd_of_the_definition(extent, function, at):
    field = field_on(extent).requires_grad_()
    out = dense(extent, function, field, at)
    cotangent = torch.randn(out.shape, generator=torch.Generator().manual_seed(1))
    (expected,) = torch.autograd.grad(out, field, cotangent)
    with torch.no_grad():
        found = Blend(extent, 5).pull_back(function, field.detach(), cotangent, at)
    assert torch.allclose(found, expected, atol=1e-5)


def test_the_circle_has_no_seam():
    """A field turned by whole strides gives the same result turned, if windows are all alike."""

    def alike(windows, which):
        return curved(windows, slice(0, len(windows))) / (
            1 + 0.1 * torch.arange(len(windows)).view(-1, 1, 1, 1, 1)
        )

    extent = EXTENTS["closed"]
    blend, field = Blend(extent, 4), field_on(extent)
    turned = blend(alike, field.roll(LATTICE.stride[2], -1))
    assert torch.allclose(turned, blend(alike, field).roll(LATTICE.stride[2], -1), atol=1e-5)


def test_blended_denoiser_tells_each_window_its_context(extent):
    def denoiser(windows, t, context):
        return windows * t.view(-1, 1, 1, 1, 1) + context.view(-1, 1, 1, 1, 1)

    context = torch.arange(extent.n_windows, dtype=torch.float32)[:, None]
    blend, x, t = Blend(extent, 3), field_on(extent), torch.tensor(0.5)
    found = BlendedDenoiser(blend, denoiser, context)(x, t)
    number = blend(lambda w, which: torch.ones_like(w) * context[which].view(-1, 1, 1, 1, 1), x)
    assert torch.allclose(found, 0.5 * x + number, atol=1e-4)
    g = field_on(extent, seed=2)
    pulled = BlendedDenoiser(blend, denoiser, context).pull_back(x, t, g)
    assert torch.allclose(pulled, 0.5 * g, atol=1e-5)


def test_weights_of_neighbouring_tiles_are_the_same():
    """In the core of a small extent the blend equals that of the globe."""
    small, globe = EXTENTS["inside"], EXTENTS["closed"]
    field = field_on(globe)
    rows = slice(small.lat.start, small.lat.stop)
    part = field[:, :, rows][..., small.lon.cells()]
    whole = Blend(globe, 4)(lambda w, _: torch.tanh(w.roll(1, -1)), field)
    found = Blend(small, 4)(lambda w, _: torch.tanh(w.roll(1, -1)), part)
    core_rows = np.arange(6 // 2, 14 // 2)
    core_columns = np.arange(2 // 2, 8 // 2)
    i, j = core_rows - small.lat.start, (core_columns - small.lon.start) % 12
    assert torch.allclose(
        found[:, :, i][..., j], whole[:, :, core_rows][..., core_columns], atol=1e-6
    )
