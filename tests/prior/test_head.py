"""The coarse head gives days and quarters, each where its latent cell is, and looks no further."""

import pytest
import torch

from longwang_ray.prior.head import QUARTERS, REACH, CoarseHead, HeadConfig, head_cell


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(1)


def noise(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def moved_along(axis, days, place, shape=(9, 12, 12)):
    """Latent cells of an axis whose rain one latent cell moves."""
    head = CoarseHead(HeadConfig(1, 4, days)).requires_grad_(False)
    z = noise(1, 1, *shape)
    other = z.clone()
    other[..., *place] += 3.0
    moved = (head(other) - head(z)).abs()[0] > 1e-7
    others = [a for a in range(3) if a != axis]
    cells = moved.any(max(others)).any(min(others)).nonzero().flatten()
    cells = cells // (days if axis == 0 else QUARTERS)
    return cells.min().item(), cells.max().item()


@pytest.mark.parametrize("days", [1, 2, 4])
def test_days_and_quarters(days):
    head = CoarseHead(HeadConfig(3, 6, days)).requires_grad_(False)
    rain = head(noise(2, 3, 4, 5, 6))
    assert rain.shape == (2, 4 * days, 5 * QUARTERS, 6 * QUARTERS)
    assert (rain > 0).all()


@pytest.mark.parametrize("days", [1, 2, 4])
def test_what_it_reads_lies_where_its_latent_cell_is(days):
    place = (4, 6, 5)
    for axis in (1, 2):
        assert moved_along(axis, days, place) == (place[axis] - REACH, place[axis] + REACH)


def test_a_day_of_its_own_is_read_alone():
    assert moved_along(0, 1, (4, 6, 5)) == (4, 4)


@pytest.mark.parametrize("days", [2, 4])
def test_steps_of_several_days_are_read_with_their_neighbours(days):
    reach = HeadConfig(1, 4, days).reach_in_time
    assert reach > 0
    assert moved_along(0, days, (4, 6, 5)) == (4 - reach, 4 + reach)


def test_each_quarter_and_each_day_has_an_output_of_its_own():
    head = CoarseHead(HeadConfig(1, 4, 2)).requires_grad_(False)
    z = torch.zeros(1, 1, 1, 1, 1)
    before, last = head(z), head.layers[-1]
    for number in range(2 * QUARTERS**2):
        last.bias[number] += 1.0
        changed = (head(z) != before).nonzero()
        last.bias[number] -= 1.0
        day, quarter = divmod(number, QUARTERS**2)
        assert changed.tolist() == [[0, day, *divmod(quarter, QUARTERS)]]


def test_the_cells_it_reads():
    assert head_cell((4, 4, 4), 0.25) == (0.5, 0.5)
    assert head_cell((1, 8, 2), 0.5) == (2.0, 0.5)
