"""Pooled spectra: themselves over themselves, amplitudes, domains of several sizes."""

import numpy as np
import pytest

from longwang_ray.evaluation.spectra import RINGS, SHORTEST, Spectrum
from tests.fakes.scenes import showers


@pytest.fixture
def rain():
    return showers(np.random.default_rng(2), 5, 64, 64, width=1.5)


def test_a_field_over_itself_is_one(rain):
    spectrum = Spectrum.of(rain)
    np.testing.assert_array_equal(spectrum.ratio(spectrum), np.ones(RINGS))
    assert spectrum.worst(spectrum) == spectrum.worst(spectrum, "short") == 1


@pytest.mark.parametrize("factor", [2, 0.5])
def test_twice_and_half_the_rain_are_four_times_off(rain, factor):
    truth, other = Spectrum.of(rain), Spectrum.of(factor * rain)
    np.testing.assert_allclose(other.ratio(truth), factor**2, rtol=1e-6)
    for band in ("long", "short"):
        assert other.worst(truth, band) == pytest.approx(4)


def test_the_bands_are_what_they_say(rain):
    truth = Spectrum.of(rain)
    for ring in range(RINGS):
        power = truth.power.copy()
        power[ring] *= 3
        other = Spectrum(power, truth.modes)
        in_long, in_short = 8 <= SHORTEST[ring] <= 64, 4 <= SHORTEST[ring] < 8
        assert other.worst(truth) == pytest.approx(3 if in_long else 1)
        assert other.worst(truth, "short") == pytest.approx(3 if in_short else 1)


def test_a_wave_stands_in_the_ring_of_its_length():
    wave = np.tile(1 + np.sin(2 * np.pi * np.arange(64) / 10), (1, 64, 1))
    spectrum = Spectrum.of(wave)
    ring = np.nanargmax(spectrum.power)
    assert SHORTEST[ring] <= 10 <= 64 / ring
    assert spectrum.wavelength[ring] == pytest.approx(10, rel=0.1)


def test_domains_of_several_sizes_pool_to_the_same_white_noise():
    rng = np.random.default_rng(3)
    parts = [3 * rng.standard_normal((60, *cells)) for cells in ((64, 64), (32, 48), (40, 40))]
    spectrum = sum(map(Spectrum.of, parts[1:]), Spectrum.of(parts[0]))
    np.testing.assert_allclose(spectrum.mean[2:], 9, rtol=0.1)
    assert spectrum.modes.sum() < sum(part.size for part in parts)  # corners lie beyond all rings


def test_without_any_power_there_is_no_ratio(rain):
    dry = Spectrum.of(np.zeros((1, 64, 64)))
    assert np.isnan(Spectrum.of(rain).worst(dry))
    assert dry.worst(Spectrum.of(rain)) == np.inf
