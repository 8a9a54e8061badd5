"""The networks' own promises: locality, equal short cuts, what an untold context means."""

import numpy as np
import pytest
import torch

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.context import window_context
from longwang_ray.prior.layers import (
    CellNorm,
    ReplicateConv3d,
    SelfAttention,
    SpatialNorm,
    groups_of,
    make_norm,
)
from longwang_ray.prior.schedule import CosineSquared, Power
from longwang_ray.prior.transform import LogTransform


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(1)


def noise_like(*shape):
    return torch.randn(*shape)


def test_shapes_through_the_autoencoder(prior):
    config = prior.autoencoder.config
    rain = noise_like(2, 1, *prior.window)
    mean, logvar = prior.autoencoder.encode(rain)
    latent = tuple(w // c for w, c in zip(prior.window, config.compression, strict=True))
    assert mean.shape == logvar.shape == (2, 3, *latent)
    assert prior.autoencoder.decode(mean).shape == rain.shape


def test_days_alone_equal_days_together():
    config = AutoencoderConfig(4, (1, 2), 1, 3, 1, (1, 3, 3), "cell")
    alone = Autoencoder(config).requires_grad_(False)
    z = noise_like(2, 3, 4, 5, 6)
    assert config.per_day
    assert torch.allclose(alone.decode(z), alone.decoder(z), atol=1e-5)
    v = noise_like(2, 1, 4, 8, 8)
    assert torch.allclose(torch.cat(alone.encode(v), 1), alone.encoder(v), atol=1e-5)


def test_one_day_convolves_in_two_dimensions():
    conv = ReplicateConv3d(3, 5, (1, 3, 3)).requires_grad_(False)
    x = noise_like(2, 3, 1, 6, 7)
    twice = torch.cat([x, x], dim=2)  # two days go through the 3-D routine
    assert torch.allclose(conv(x), conv(twice)[:, :, :1], atol=1e-6)


def test_replicated_edges():
    conv = ReplicateConv3d(1, 1, (3, 3, 3)).requires_grad_(False)
    constant = torch.full((1, 1, 4, 5, 6), 2.0)
    assert torch.allclose(conv(constant), conv(constant).flatten()[0].expand(1, 1, 4, 5, 6))


def test_cell_norm_sees_its_own_cell_only():
    norm, x = CellNorm(6), noise_like(1, 6, 3, 4, 5)
    other = x.clone()
    other[..., 2, 3, 4] += 5.0
    changed = (norm(other) != norm(x)).any(1)[0].nonzero()
    assert changed.tolist() == [[2, 3, 4]]
    assert torch.allclose(norm(x).square().mean(1), torch.ones(1, 3, 4, 5), atol=1e-4)


def test_group_norm_takes_a_number_that_divides():
    assert [groups_of(c) for c in (512, 48, 16, 7)] == [32, 24, 16, 7]
    assert make_norm("group", 48).num_groups == 24


def test_spatial_norm_convolves_before_it_resizes():
    norm = SpatialNorm(4, 2, "cell").requires_grad_(False)
    h, z = noise_like(1, 4, 2, 6, 6), noise_like(1, 2, 2, 3, 3)
    large = torch.nn.functional.interpolate(z, size=h.shape[2:], mode="nearest")
    expected = norm.norm_layer(h) * (1 + norm.conv_scale(large)) + norm.conv_bias(large)
    assert torch.allclose(norm(h, z), expected, atol=1e-5)


def test_attention_is_the_module_whose_weights_it_holds():
    attention = SelfAttention(8, 2, "group").requires_grad_(False)
    x = noise_like(2, 8, 2, 3, 4)
    tokens = attention.norm(x).flatten(2).transpose(1, 2)
    expected = x + attention.attn(tokens, tokens, tokens)[0].transpose(1, 2).reshape(x.shape)
    assert torch.allclose(attention(x), expected, atol=1e-5)


def test_untold_context_is_the_unconditional_prior(prior):
    x, t = noise_like(3, 3, *prior.lattice.window), torch.tensor([0.1, 0.5, 0.9])
    context, known = noise_like(3, 5), torch.tensor([1.0, 0.0, 1.0])
    mixed = prior.denoiser(x, t, context, known)
    assert torch.allclose(mixed[1], prior.denoiser(x, t)[1], atol=1e-6)
    told = prior.denoiser(x, t, context)
    assert torch.allclose(mixed[[0, 2]], told[[0, 2]], atol=1e-6)
    assert not torch.allclose(mixed[1], told[1], atol=1e-3)


def test_a_batch_is_its_windows(prior):
    x, t = noise_like(3, 3, *prior.lattice.window), torch.full((3,), 0.4)
    one = torch.cat([prior.denoiser(x[k : k + 1], t[k : k + 1]) for k in range(3)])
    assert torch.allclose(prior.denoiser(x, t), one, atol=1e-5)


@pytest.mark.parametrize("schedule", [Power(), CosineSquared()])
def test_schedules_keep_unit_variance(schedule):
    t = torch.linspace(0.02, 0.98, 9)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    assert torch.allclose(alpha**2 + sigma**2, torch.ones(9), atol=2e-6)
    assert (torch.diff(sigma / alpha) > 0).all()


def test_power_schedule_runs_between_its_ends():
    ends = Power(0.02, 60.0, 5.0).ratio(torch.tensor([0.0, 1.0], dtype=torch.float64))
    assert ends.tolist() == pytest.approx([0.02, 60.0])


def test_transform_there_and_back():
    transform, rain = LogTransform(0.1, 0.0, 8.0), torch.tensor([0.0, 0.05, 1.0, 300.0])
    v = transform.forward(rain)
    assert v[0] == -1
    assert torch.allclose(transform.inverse(v), rain, rtol=1e-4, atol=1e-6)
    below = torch.tensor([-1.2])
    assert transform.inverse(below) == 0
    assert -0.1 < transform.unclamped(below) < 0


def test_context_is_periodic_and_has_no_step():
    c = window_context(45.0, np.array([0.0, 360.0, 180.0]), np.array([0.0, 1.0, 0.5]))
    assert c.dtype == np.float32
    assert np.allclose(c[0], c[1], atol=1e-6)
    assert np.allclose(c[2, 1:], -c[0, 1:], atol=1e-6)
    assert c[0, 0] == 0.5
    middle_of_january = window_context(0, 0, 0.5 / 12)[3:]
    assert np.allclose(middle_of_january, [np.sin(np.pi / 6), np.cos(np.pi / 6)])
