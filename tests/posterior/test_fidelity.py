"""A head's errors are areas' means of what months differ by; cards say what may be expected."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from longwang_ray.domain.calendar import Month
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.posterior.fidelity import (
    STATED,
    Tally,
    cell_size,
    compare,
    cost_share,
    finer_than_head,
    regular_grid,
    stated_error,
    total,
)
from longwang_ray.posterior.observation import monthly_mean
from longwang_ray.prior.autoencoder import AutoencoderConfig
from longwang_ray.prior.head import HeadConfig

DAYS, ROWS, COLUMNS = 3, np.arange(8, 24), np.arange(20, 44)


def operator(gcm):
    month = Month(1, 1, 0, DAYS)
    return monthly_mean([month], (0, DAYS), era5_grid(2.5), ROWS, COLUMNS, gcm)


@pytest.fixture
def rain():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(DAYS, len(ROWS), len(COLUMNS), generator=generator)


@pytest.mark.parametrize("step", [5.0, 10.0, 7.5])
def test_means_of_its_own_cells_are_all_that_a_wide_cell_needs(rain, step):
    """Where GCM cells are made of whole head cells, true means leave no error."""
    fine = era5_grid(2.5)
    bounds = [fine.lat_bounds[ROWS], fine.lon_bounds[COLUMNS]]
    count = round(step / 2.5)
    lat, lon = (b[: len(b) // count * count].reshape(-1, count, 2) for b in bounds)
    edges = [np.stack([b[:, 0, 0], b[:, -1, 1]], 1) for b in (lat, lon)]
    gcm = RectilinearGrid(edges[0].mean(1), edges[1].mean(1), *edges)
    read = F.avg_pool2d(rain[None], 2)[0]
    found = compare(read, rain, operator(gcm), gcm)
    if count % 2 == 0:  # but for the areas of rows within a head cell
        assert found.error < 0.02
    else:
        assert 0.02 < found.error < 0.3
    assert found.rain > 0


def test_cells_finer_than_the_heads_are_read_as_its_means(rain):
    fine = era5_grid(2.5)
    gcm = fine.take(ROWS[2:6], COLUMNS[3:9])
    read = F.avg_pool2d(rain[None], 2)[0]
    found = compare(read, rain, operator(gcm), gcm)
    spread = read.repeat_interleave(2, 1).repeat_interleave(2, 2)
    error = (spread - rain).mean(0)[2:6, 3:9]
    area = torch.from_numpy(gcm.areas()).float()
    assert found.absolute == pytest.approx((area * error.abs()).sum().item(), rel=1e-4)
    assert found.signed == pytest.approx((area * error).sum().item(), rel=1e-3)
    assert found.error > 0.05


def test_a_head_that_reads_a_tenth_more(rain):
    gcm = regular_grid(15.0)
    read = 1.1 * F.avg_pool2d(rain[None], 2)[0]
    found = compare(read, rain, operator(gcm), gcm)
    assert found.bias == pytest.approx(0.1, abs=0.02)
    assert found.error >= abs(found.bias)


def test_tallies_add_up_and_nothing_is_not_a_number():
    both = total([Tally(1.0, -1.0, 10.0), Tally(3.0, 1.0, 10.0)])
    assert (both.error, both.bias) == (0.2, 0.0)
    assert math.isnan(total([Tally(0.0, 0.0, 0.0)]).error)


def test_cost_is_counted_on_the_real_networks():
    auto = AutoencoderConfig(4, (1, 2), 1, 3, 1, (1, 3, 3), "cell")
    thin, wide = (cost_share(auto, HeadConfig(3, n, 1), (2, 16, 16)) for n in (8, 16))
    assert 0 < thin < wide < 4 * thin
    deep = cost_share(replace(auto, blocks=3), HeadConfig(3, 8, 1), (2, 16, 16))
    assert deep < thin


def test_the_published_decoder_dwarfs_its_head():
    assert cost_share(AutoencoderConfig(), HeadConfig(), (32, 128, 128)) < 0.001


def test_what_a_card_lets_one_expect(make_prior):
    prior = make_prior()
    cells = {"0.25": {"error": 0.05}, "1": {"error": 0.03}, "2.5": {"error": 0.02}}
    stated = replace(prior, card={STATED: {"days": 31, "cells": cells}})
    found = [stated_error(stated, (n, n)) for n in (0.1, 0.25, 0.94, 1.0, 2.0, 5.0)]
    assert found == [0.05, 0.05, 0.05, 0.03, 0.03, 0.02]
    assert stated_error(prior, (1.0, 1.0)) is None


def test_what_was_assessed_will_do_where_nothing_is_stated(make_prior):
    head = {"monthly_error": 0.04, "monthly_error_wide": 0.03}
    worse = {"monthly_error": 0.06, "monthly_error_wide": 0.02}
    flat = replace(make_prior(), card={"metrics": {"head": head}})
    parts = replace(make_prior(), card={"metrics": {"a": {"head": head}, "b": {"head": worse}}})
    own = flat.compression[1] / 2 * flat.grid_step  # the head's cell, degrees
    assert [stated_error(flat, (n, n)) for n in (own, 3 * own)] == [0.04, 0.03]
    assert [stated_error(parts, (n, n)) for n in (own, 3 * own)] == [0.06, 0.03]


def test_sizes_of_cells():
    cmcc = RectilinearGrid.from_centres(np.linspace(-90, 90, 192), np.arange(288) * 1.25)
    assert cell_size(cmcc) == pytest.approx((180 / 191, 1.25), abs=1e-5)
    assert cell_size(regular_grid(2.5)) == (2.5, 2.5)
    assert finer_than_head((0.25, 0.25), (0.5, 0.5))
    assert finer_than_head((1.0, 0.25), (0.5, 0.5))
    assert not finer_than_head((0.5, 0.5), (0.5, 0.5))
