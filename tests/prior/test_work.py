"""Operations and memory counted without computing: closed forms, and the published sizes."""

import pytest
import torch
from torch import nn

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.layers import SelfAttention
from longwang_ray.prior.schedule import CosineSquared
from longwang_ray.prior.work import gradient_work, imagined, work_of

TERA = 1e12


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_a_matrix_product():
    with imagined():
        layer, x = nn.Linear(30, 50, bias=False), torch.empty(7, 30)
        forward = work_of(lambda: layer(x))
        learned = gradient_work(lambda: layer(x), [layer.weight])
        guided = gradient_work(lambda: layer(x), [x.requires_grad_()])
        both = gradient_work(lambda: layer(x), [x, layer.weight])
    assert forward.flops == 2 * 7 * 30 * 50
    assert learned.flops == guided.flops == 2 * forward.flops
    assert both.flops == 3 * forward.flops
    assert forward.peak == 4 * 7 * 50


def test_memory_is_of_what_is_alive_at_once():
    with imagined():
        x = torch.empty(1000)
        assert work_of(lambda: x.exp().exp().exp()).peak == 2 * 4000
        # exp keeps its result: three, and the gradient's way back
        assert gradient_work(lambda: x.exp().exp().exp(), [x.requires_grad_()]).peak >= 3 * 4000
        assert work_of(lambda: x.view(10, 100).T).peak == 0, "a view is no memory"


def test_attention_is_counted_where_it_is_fused():
    channels, heads, cells = 32, 4, 6 * 10 * 10
    with imagined():
        attention, x = SelfAttention(channels, heads, "group"), torch.empty(1, channels, 6, 10, 10)
        work = work_of(lambda: attention(x))
    products = 2 * cells * channels * 4 * channels  # q, k, v and out
    assert work.flops == products + 2 * 2 * cells**2 * channels
    assert work.peak < 4 * heads * cells**2, "the weights of attention are never there"


def test_half_precision_takes_less_and_a_gpu_keeps_its_norms_wide():
    with imagined():
        module = Autoencoder(AutoencoderConfig(32, (1, 2), 1, 4, 2))
        rain, weights = torch.empty(1, 1, 8, 32, 32), list(module.parameters())
        full, half, mixed = (
            gradient_work(lambda: module.decode(module.encode(rain)[0]), weights, precision).peak
            for precision in ("float32", "bf16", "bf16 on cuda")
        )
    assert half < 0.75 * full
    assert half < mixed < full


@pytest.fixture(scope="module")
def published():
    """Work of the published networks on one window of 32 days × 128 × 128 cells."""
    with imagined():
        autoencoder = Autoencoder(AutoencoderConfig())
        denoiser = Denoiser(DenoiserConfig(embedding=256), CosineSquared())
        latent, t, told = torch.empty(1, 16, 8, 32, 32), torch.empty(1), torch.empty(1, 5)
        rain = torch.empty(1, 1, 32, 128, 128)
        return {
            "parameters": (parameters(denoiser), parameters(autoencoder.decoder)),
            "denoise": work_of(lambda: denoiser(latent, t, told)),
            "decode": work_of(lambda: autoencoder.decode(latent)),
            "encode": work_of(lambda: autoencoder.encode(rain)[0]),
        }


def test_the_published_sizes(published):
    denoiser, decoder = published["parameters"]
    assert denoiser == pytest.approx(434e6, rel=0.001)
    assert decoder == pytest.approx(127e6, rel=0.002)


def test_the_published_cost(published):
    assert published["denoise"].flops / TERA == pytest.approx(2.9, abs=0.05)
    assert published["decode"].flops / TERA == pytest.approx(10.3, abs=0.05)
    # Backward, twice a forward pass, and one pass before it: what `exact` guidance takes a step.
    step = 3 * (published["denoise"].flops + published["decode"].flops)
    assert step / TERA == pytest.approx(40, abs=0.5)
    assert 3 * published["decode"].flops / step == pytest.approx(0.78, abs=0.01)


def test_the_largest_network_is_counted_in_seconds(published):
    assert published["decode"].peak > 2 * 4 * 256 * 32 * 128 * 128, "input and output of a layer"
    assert published["denoise"].peak < 4 * 4 * 8192**2, "not the weights of attention"
