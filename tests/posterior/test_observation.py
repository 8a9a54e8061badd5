"""The operator is an area mean over real months, and its transpose is its transpose."""

import numpy as np
import pytest
import torch

from longwang_ray.domain.calendar import month_record
from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.posterior.observation import ErrorModel, Observation, monthly_mean

FINE = era5_grid(2.5)
GCMS = {
    "nested": RectilinearGrid.from_centres(np.arange(85, -90, -10.0), np.arange(3.75, 360, 10)),
    "straddling": RectilinearGrid.from_centres(np.linspace(90, -90, 20), np.arange(0, 360, 11.25)),
    "upwards": RectilinearGrid.from_centres(np.linspace(-87, 87, 17), np.arange(1.0, 360, 12)),
}
BOXES = {
    "globe": (np.arange(72), np.arange(144)),
    "across": (np.arange(20, 50), np.arange(130, 160) % 144),
    "pole": (np.arange(0, 20), np.arange(10, 60)),
}


def operator_on(gcm, box, calendar="noleap", months=2, before=3, after=5):
    record = month_record(calendar, "2001-01", months)
    days = (record.start - before, record.stop + after)
    rows, columns = BOXES[box]
    return monthly_mean(record.months, days, FINE, rows, columns, GCMS[gcm]), record


def field_for(operator, seed=0):
    shape = (operator.month.shape[1], operator.lat.shape[1], operator.lon.shape[1])
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def brute_force(gcm, box, rain, parts=40):
    """The area mean over a GCM cell by a fine rule, of a field constant on fine cells."""
    rows, columns = BOXES[box]
    means = np.full(gcm.shape, np.nan)
    lat_edges = FINE.lat_bounds[rows]
    for J in range(gcm.n_lat):
        south, north = sorted(gcm.lat_bounds[J])
        sines = np.linspace(*np.sin(np.deg2rad([south, north])), 2 * parts + 1)[1::2]
        lats = np.rad2deg(np.arcsin(sines))
        low, high = lat_edges.min(1), lat_edges.max(1)
        i = [np.flatnonzero((low <= lat) & (lat <= high)) for lat in lats]
        for I in range(gcm.n_lon):  # noqa: E741 (the equation's name)
            lons = np.linspace(*gcm.lon_bounds[I], 2 * parts + 1)[1::2]
            west = FINE.lon_bounds[columns, 0]
            j = [np.flatnonzero((lon - west) % 360 < FINE.lon[1] - FINE.lon[0]) for lon in lons]
            if all(map(len, i)) and all(map(len, j)):
                means[J, I] = rain[np.ix_([k[0] for k in i], [k[0] for k in j])].mean()
    return means


@pytest.mark.parametrize("gcm", GCMS)
@pytest.mark.parametrize("box", BOXES)
def test_area_mean(gcm, box):
    operator, _ = operator_on(gcm, box)
    rain = field_for(operator)
    truth = brute_force(GCMS[gcm], box, rain.mean(0).numpy())
    same = operator.__class__(
        torch.full((1, len(rain)), 1 / len(rain)), operator.lat, operator.lon, operator.inside
    )
    found = same(rain)[0].numpy()
    inside = operator.inside.numpy()
    assert inside.any()
    assert np.isfinite(truth[inside]).all()
    assert np.allclose(found[inside], truth[inside], atol=0.03)  # the rule's own error


@pytest.mark.parametrize("gcm", GCMS)
@pytest.mark.parametrize("box", BOXES)
def test_constant_and_what_is_inside(gcm, box):
    operator, _ = operator_on(gcm, box)
    ones = operator(torch.ones_like(field_for(operator)))
    assert torch.allclose(ones[:, operator.inside], torch.ones(()), atol=1e-5)
    assert operator.inside.all() == (box == "globe")


@pytest.mark.parametrize("gcm", GCMS)
@pytest.mark.parametrize("box", BOXES)
def test_adjoint(gcm, box):
    operator, _ = operator_on(gcm, box)
    x = field_for(operator).double()
    exact = operator.__class__(
        operator.month.double(), operator.lat.double(), operator.lon.double(), operator.inside
    )
    y = torch.rand(exact(x).shape, generator=torch.Generator().manual_seed(1)).double()
    assert (exact(x) * y).sum().item() == pytest.approx((x * exact.transpose(y)).sum().item())


@pytest.mark.parametrize(
    ("calendar", "lengths"),
    [("noleap", (31, 28)), ("360_day", (30, 30)), ("standard", (31, 28)), ("julian", (31, 28))],
)
def test_months_are_those_of_the_calendar(calendar, lengths):
    operator, record = operator_on("nested", "globe", calendar)
    assert tuple(m.days for m in record.months) == lengths
    rain = torch.zeros(operator.month.shape[1], 72, 144)
    rain[:3] = 100.0  # days before the record are nobody's
    rain[3 : 3 + lengths[0]] = 1.0
    rain[3 + lengths[0] : 3 + sum(lengths)] = 2.0
    means = operator(rain)
    assert torch.allclose(means[0], torch.tensor(1.0), atol=1e-5)
    assert torch.allclose(means[1], torch.tensor(2.0), atol=1e-5)


def test_leap_february():
    record = month_record("standard", "2004-02", 1)
    assert record.months[0].days == 29


@pytest.mark.parametrize("blocks", [(1, 2, 2), (2, 5, 3)])
def test_coarsened_operator_reads_block_means(blocks):
    days, lat, lon = blocks
    operator, _ = operator_on("straddling", "across", before=1 + (59 + 1) % 2, after=0)
    rain = field_for(operator)
    means = torch.nn.functional.avg_pool3d(rain[None], blocks)[0]
    spread = means.repeat_interleave(days, 0).repeat_interleave(lat, 1).repeat_interleave(lon, 2)
    assert torch.allclose(operator.coarsen(*blocks)(means), operator(spread), atol=1e-5)


def test_observation_counts_what_is_known_and_inside():
    operator, _ = operator_on("nested", "across")
    y = np.full((2, *GCMS["nested"].shape), 4.0, np.float32)
    J, I = np.argwhere(operator.inside.numpy())[0]  # noqa: E741
    y[0, J, I] = np.nan
    seen = Observation.of(y, operator, ErrorModel(0.05, 0.1))
    assert seen.counts[1].equal(operator.inside)
    assert not seen.counts[0, J, I]
    assert seen.counts.sum() == 2 * operator.inside.sum() - 1
    assert torch.allclose(seen.std[seen.counts], torch.tensor(0.3))
    residual = seen.residual(torch.full_like(seen.mean, 1.0))
    assert residual.isfinite().all()
    assert torch.allclose(residual[seen.counts], torch.tensor(3.0))
    assert (residual[~seen.counts] == 0).all()
