"""What estimates are worth: the curve and its slope, the kernels, and their place in a bundle."""

from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from longwang_ray.prior.bundle import PriorError, open_prior
from longwang_ray.prior.estimates import EstimateTables

TIMES = torch.tensor([0.0, 0.5, 1.0])
READ = torch.tensor([0.01, 0.1, 1.0, 10.0])
EXPECTED = torch.tensor([[0.01, 0.1, 1.0, 10.0], [0.05, 0.3, 2.0, 12.0], [0.3, 1.0, 3.0, 15.0]])
CHANNELS = torch.stack([c * torch.eye(6) for c in (0.0, 0.4, 1.0)])
NEIGHBOURS = torch.tensor([[0.0, 0.0, 0.0], [0.2, 0.4, 0.6], [0.4, 0.7, 0.8]])
TABLES = EstimateTables.of(TIMES, READ, EXPECTED, CHANNELS, NEIGHBOURS)
RAIN = torch.tensor([0.0, 0.004, 0.01, 0.03, 0.1, 0.5, 1.0, 7.0, 10.0, 80.0])


def test_knots_are_met_and_clean_latents_are_read_as_they_are():
    for time, row in zip(TIMES, EXPECTED, strict=True):
        assert torch.allclose(TABLES.curve(time)(READ), row, rtol=1e-4)
    assert torch.allclose(TABLES.curve(TIMES[0])(RAIN), RAIN, atol=1e-5, rtol=1e-4)


def test_it_increases_with_rain_and_lies_between_the_times_beside():
    middle, low, high = (TABLES.curve(torch.tensor(t))(RAIN) for t in (0.75, 0.5, 1.0))
    assert (middle.diff() > 0).all()
    assert ((middle >= low - 1e-6) & (middle <= high + 1e-6)).all()
    assert middle.min() >= 0


def test_beyond_the_knots_the_ratio_is_kept():
    rain = torch.tensor([10.0, 100.0, 1000.0])
    ratio = TABLES.curve(TIMES[1])(rain) / rain
    assert torch.allclose(ratio, torch.tensor(1.2), rtol=1e-3)


def test_gradient_is_the_curve_s_slope():
    rain = torch.tensor([0.004, 0.03, 0.5, 7.0, 80.0]).requires_grad_()
    curve = TABLES.curve(torch.tensor(0.6))
    (slope,) = torch.autograd.grad(curve(rain).sum(), rain)
    step = 0.01 * rain.detach()
    with torch.no_grad():
        exact = (curve(rain + step) - curve(rain - step)) / (2 * step)
    assert torch.allclose(slope, exact, rtol=5e-3)


def test_kernels_are_positive_definite_and_end():
    errors = TABLES.errors(torch.tensor(0.75))
    assert torch.allclose(errors.channels, 0.7 * torch.eye(6))
    shape = (9, 20, 24)
    for kernel, n in zip(errors.kernels(shape, closed=True), shape, strict=True):
        assert kernel.shape == (n, n)
        assert torch.equal(kernel, kernel.T)
        assert torch.allclose(kernel.diag(), torch.ones(n))
        assert torch.linalg.eigvalsh(kernel).min() > 0
        assert kernel[0, n // 2] == 0
    assert kernel[0, 1].item() == pytest.approx(0.7 * 6 / 7, rel=1e-5)


def test_only_a_closed_circle_s_kernel_goes_round_it():
    errors = TABLES.errors(TIMES[2])
    opened, closed = (errors.kernels((4, 20, 24), closed=c) for c in (False, True))
    assert opened[2][0, -1] == 0
    assert closed[2][0, -1] == closed[2][0, 1] == opened[2][0, 1]
    assert torch.equal(opened[1], closed[1])


def test_tables_that_are_none_are_refused():
    with pytest.raises(ValueError, match="times and knots must increase"):
        EstimateTables.of(TIMES.flip(0), READ, EXPECTED, CHANNELS, NEIGHBOURS)
    with pytest.raises(ValueError, match="must not decrease"):
        EstimateTables.of(TIMES, READ, EXPECTED.flip(1), CHANNELS, NEIGHBOURS)


def test_a_bundle_keeps_them_and_its_digest_tells(bundle, tmp_path):
    plain = replace(open_prior(bundle), estimates=None)
    channels = CHANNELS[:, : plain.channels, : plain.channels]
    tables = EstimateTables.of(TIMES, READ, EXPECTED, channels, NEIGHBOURS)
    told = replace(plain, estimates=tables)
    told.save(tmp_path / "told")
    plain.save(tmp_path / "plain")
    opened = open_prior(tmp_path / "told")
    assert opened.digest == told.digest != plain.digest
    for name, value in tables.state_dict().items():
        assert torch.equal(opened.estimates.state_dict()[name], value)
    assert opened.parameters == plain.parameters
    assert open_prior(tmp_path / "plain").estimates is None


def test_a_bundle_without_its_tables_is_said(bundle, tmp_path):
    plain = open_prior(bundle)
    channels = CHANNELS[:, : plain.channels, : plain.channels]
    tables = EstimateTables.of(TIMES, READ, EXPECTED, channels, NEIGHBOURS)
    replace(plain, estimates=tables).save(tmp_path / "prior")
    file = tmp_path / "prior" / "weights.safetensors"
    weights = {k: v for k, v in load_file(file).items() if not k.startswith("estimates.")}
    save_file(weights, file)
    with pytest.raises(PriorError, match="does not fit"):
        open_prior(tmp_path / "prior")


def test_the_demonstration_prior_s_estimates_stand_for_more_rain_than_they_hold():
    tables = open_prior("demo").estimates
    dry = torch.tensor([0.1])
    noisy, clean = (tables.curve(torch.tensor(t))(dry).item() for t in (1.0, 0.0))
    assert noisy > 5 * clean
    assert clean == pytest.approx(0.1, rel=0.2)
    first, last = (tables.errors(torch.tensor(t)).neighbours for t in (0.0, 1.0))
    assert (last[1:] > first[1:]).all()
