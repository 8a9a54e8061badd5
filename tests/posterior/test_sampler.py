"""The sampler against the analytic solution of a Gaussian's probability flow."""

import pytest
import torch

from longwang_ray.posterior.sampler import sample
from longwang_ray.prior.schedule import CosineSquared, Power

STD = 0.6


def denoiser_of(schedule, std=STD, mean=0.3):
    """E[x₀ | x_t] of independent normals."""

    def denoise(x, t):
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        gain = alpha * std**2 / (alpha**2 * std**2 + sigma**2)
        return mean + gain * (x - alpha * mean)

    return denoise


def flowed(noise, schedule, steps, std=STD, mean=0.3):
    """x₀ carried along dx = … exactly: deviations scale with √(α²std² + σ²)."""
    t = torch.linspace(1, 0, steps + 1)[[0, -2]]
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    width = (alpha**2 * std**2 + sigma**2).sqrt()
    x = alpha[1] * mean + (sigma[0] * noise - alpha[0] * mean) * width[1] / width[0]
    return denoiser_of(schedule, std, mean)(x, t[1])


@pytest.mark.parametrize("schedule", [Power(), CosineSquared()])
@pytest.mark.parametrize("order", [1, 2])
def test_many_steps_give_the_analytic_solution(schedule, order):
    noise = torch.randn(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    found = sample(denoiser_of(schedule), noise, schedule, 2000, order)
    assert torch.allclose(found, flowed(noise, schedule, 2000), atol=5e-3)


@pytest.mark.parametrize(("order", "gain"), [(1, 2.0), (2, 4.0)])
def test_order_of_convergence(order, gain):
    """Twice the steps: half the error of the first order, a quarter of the second's."""
    noise, schedule = torch.ones(1, 1, 1, 1, dtype=torch.float64), Power(0.3, 3.0, 1.0)
    errors = []
    for steps in (100, 200):
        found = sample(denoiser_of(schedule), noise, schedule, steps, order)
        errors.append((found - flowed(noise, schedule, steps)).abs().item())
    assert errors[0] / errors[1] == pytest.approx(gain, rel=0.25)


def test_second_order_keeps_the_variance_at_few_steps():
    noise = torch.randn(1, 8, 50, 50, generator=torch.Generator().manual_seed(0))
    first, second = (
        sample(denoiser_of(Power(), 1.0, 0.0), noise, Power(), 8, order).std().item()
        for order in (1, 2)
    )
    assert first == pytest.approx(0.75, abs=0.02)
    assert second == pytest.approx(1.0, abs=0.03)


def test_one_step_is_the_denoiser():
    noise, schedule = torch.randn(1, 2, 3, 4), CosineSquared()
    one = torch.tensor(1.0)
    expected = denoiser_of(schedule)(schedule.sigma(one) * noise, one)
    assert torch.allclose(sample(denoiser_of(schedule), noise, schedule, 1), expected, atol=1e-6)


def test_noise_is_all_that_it_depends_on():
    noise = torch.randn(1, 2, 3, 4)
    runs = [sample(denoiser_of(Power()), noise.clone(), Power(), 8, 2) for _ in range(2)]
    assert torch.equal(*runs)
