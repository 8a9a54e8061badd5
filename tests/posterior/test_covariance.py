"""What corrections are spread by: symmetric, as measured, the same all round the globe."""

import pytest
import torch

from longwang_ray.posterior.covariance import Measured, White, white_variance
from longwang_ray.posterior.guidance import HeadGuidance
from longwang_ray.prior.estimates import EstimateTables
from longwang_ray.prior.schedule import Power
from tests.posterior.test_guidance import LinearReader, block_mean, fixed, observe

SCHEDULE = Power(0.02, 200.0, 5.0)
SHAPE = (2, 6, 10, 12)
TIMES = torch.tensor([0.0, 1.0])


def tables(neighbours, channels=None):
    channels = torch.eye(2) if channels is None else channels
    knots = torch.tensor([0.1, 1.0])
    return EstimateTables.of(
        TIMES, knots, knots.expand(2, 2), channels.expand(2, 2, 2), torch.tensor([neighbours] * 2)
    )


def test_white_errors_have_the_variance_that_noise_leaves():
    t, field = torch.tensor(0.5), torch.randn(SHAPE)
    ratio = SCHEDULE.ratio(t)
    assert torch.allclose(White(SCHEDULE)(t)(field), field * ratio**2 / (1 + ratio**2))
    assert white_variance(SCHEDULE, torch.tensor(1.0)) == pytest.approx(1.0, abs=1e-4)


@pytest.mark.parametrize("closed", [False, True])
def test_measured_errors_are_a_covariance(closed):
    channels = torch.tensor([[1.0, -0.6], [-0.6, 0.5]])
    spread = Measured(SCHEDULE, tables([0.4, 0.7, 0.8], channels), closed)(torch.tensor(0.3))
    a, b = (torch.randn(SHAPE, generator=torch.Generator().manual_seed(k)) for k in (1, 2))
    assert (a * spread(b)).sum().item() == pytest.approx((b * spread(a)).sum().item(), rel=1e-4)
    assert (a * spread(a)).sum() > 0


def test_independent_errors_stay_where_they_are():
    field = torch.randn(SHAPE)
    spread = Measured(SCHEDULE, tables([0.0, 0.0, 0.0]), closed=False)(torch.tensor(0.5))
    variance = white_variance(SCHEDULE, torch.tensor(0.5))
    assert torch.allclose(spread(field), variance * field, atol=1e-6)


def test_a_rolled_field_is_spread_the_same_on_a_closed_circle():
    field = torch.randn(SHAPE)
    spread = Measured(SCHEDULE, tables([0.4, 0.7, 0.8]), closed=True)(torch.tensor(0.5))
    assert torch.allclose(spread(field.roll(5, -1)), spread(field).roll(5, -1), atol=1e-5)


def test_what_is_wrong_together_is_corrected_together():
    """One wet column is seen; with measured errors its neighbours are corrected with it."""
    shape = (4, 8, 8)
    slope = torch.zeros(shape)
    slope[:, :, 2] = 1.0
    reader, operator = LinearReader(slope), block_mean((4, 8, 8), 8)
    errors = tables([0.4, 0.7, 0.8])
    single = EstimateTables.of(
        TIMES, errors.read, errors.expected, torch.ones(2, 1, 1), errors.neighbours
    )
    x = torch.zeros(1, *shape)
    found = {}
    for name, covariance in (
        ("white", White(SCHEDULE)),
        ("measured", Measured(SCHEDULE, single, False)),
    ):
        guided = HeadGuidance(
            lambda x, t: x, covariance, fixed(reader), operator, observe(operator, 0.1, 1e-3)
        )
        found[name] = guided(x, torch.tensor(1.0))
    for moved in found.values():  # both meet the observation
        assert operator(reader(moved)).mean().item() == pytest.approx(0.1, rel=1e-2)
    assert found["white"][..., 4].abs().max() == 0
    beside = found["measured"][..., 3].mean() / found["measured"][..., 2].mean()
    assert 0.5 < beside < 1.0
