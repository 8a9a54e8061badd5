"""The head reads the field as one function of the globe, in whatever pieces."""

import pytest
import torch

from longwang_ray.posterior import reading
from longwang_ray.posterior.blending import Resolution
from longwang_ray.posterior.reading import HeadReader


@pytest.fixture
def latent():
    return torch.randn(3, 6, 5, 7, generator=torch.Generator().manual_seed(0))


@pytest.fixture(params=[False, True], ids=["open", "closed"])
def reader(request, prior):
    return HeadReader(prior.head, closed=request.param)


def test_shape_and_resolution(reader, prior, latent):
    days = prior.compression[0]
    assert reader.at == Resolution(days, 2, 2)
    assert reader(latent).shape == (6 * days, 10, 14)


def test_pull_back_is_autograd(reader, latent):
    cotangent = torch.randn(reader(latent).shape, generator=torch.Generator().manual_seed(1))
    field = latent.clone().requires_grad_()
    (expected,) = torch.autograd.grad(reader(field), field, cotangent)
    with torch.no_grad():
        found = reader.pull_back(latent, cotangent)
    assert torch.allclose(found, expected, atol=1e-6)


def test_steepness_is_what_is_read_and_its_gradient(reader, latent):
    rain, slope = reader.steepness(latent)
    assert torch.equal(rain, reader(latent))
    assert torch.equal(slope, reader.pull_back(latent, torch.ones_like(rain)))
    assert not rain.requires_grad


@pytest.mark.parametrize("cells", [1, 70, 10**6])
def test_pieces_do_not_matter(reader, latent, monkeypatch, cells):
    rain = reader(latent)
    pulled = reader.pull_back(latent, torch.ones_like(rain))
    monkeypatch.setattr(reading, "CELLS_AT_ONCE", cells)
    assert torch.allclose(reader(latent), rain, atol=1e-6)
    assert torch.allclose(reader.pull_back(latent, torch.ones_like(rain)), pulled, atol=1e-6)


def test_a_closed_circle_has_no_seam(prior, latent):
    reader = HeadReader(prior.head, closed=True)
    turned = reader(latent.roll(3, -1))
    assert torch.allclose(turned, reader(latent).roll(6, -1), atol=1e-6)


def test_open_and_closed_agree_away_from_the_cut(prior, latent):
    ends = reading.REACH * 2
    around, cut = (HeadReader(prior.head, closed=c)(latent) for c in (True, False))
    assert torch.allclose(around[..., ends:-ends], cut[..., ends:-ends], atol=1e-6)
    assert not torch.allclose(around[..., 0], cut[..., 0], atol=1e-6)
