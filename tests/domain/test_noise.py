"""A cell's noise is the same in whatever tile it is asked for, on any machine."""

import hashlib

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from longwang_ray.domain.lattice import Lattice
from longwang_ray.domain.noise import NoiseKey, noise_block, noise_field

KEY = NoiseKey(20260517, "CMCC-CM2-SR5", "r1i1p1f1", 0)
SMALL = Lattice(window=(4, 6, 6), stride=(3, 4, 4), compression=(2, 2, 2), shape=(14, 20))
# Philox4x64-10 at key 0 and counter 0, from the known-answer tests of its authors' Random123.
PHILOX = [0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B]


def test_the_generator_is_the_published_one():
    before = np.full(4, 2**64 - 1, np.uint64)  # numpy counts up before it generates
    generator = np.random.Philox(key=np.zeros(2, np.uint64), counter=before)
    assert generator.random_raw(4).tolist() == PHILOX


def test_the_stream_never_changes():
    """If this fails, every archive's noise has changed: raise NOISE_VERSION instead."""
    block = noise_block(KEY, 179_000, 2, (4, 18, 36))
    digest = hashlib.sha256(block.astype("<f4").tobytes()).hexdigest()
    assert digest == "b1988702853f07265f41041da5eaf1990618720582be0f4cfd07371115325464"
    injected = noise_block(KEY, -3, 2, (4, 18, 36), stream=1)
    digest = hashlib.sha256(injected.astype("<f4").tobytes()).hexdigest()
    assert digest == "556259f855fb9b100bfacf3841429f4513a870b16483c128ec271ab55d943fd8"


@st.composite
def extents(draw):
    day = draw(st.integers(-30, 30))
    n_lat, n_lon = SMALL.fine_shape
    row, column = draw(st.integers(0, n_lat - 1)), draw(st.integers(0, n_lon - 1))
    return SMALL.extent(
        (day, day + draw(st.integers(1, 20))),
        (row, draw(st.integers(row + 1, n_lat))),
        (column, draw(st.integers(1, n_lon))),
        draw(st.integers(0, 2)),
    )


@given(extents())
@settings(max_examples=60)
def test_a_cells_noise_is_the_same_in_any_extent(extent):
    field = noise_field(KEY, extent, 3, SMALL)
    assert field.shape == (3, *extent.shape)
    for t, latent_day in enumerate(extent.time.cells()):
        block, place = divmod(int(latent_day), SMALL.stride[0])
        globe = noise_block(KEY, block, 3, (SMALL.stride[0], *SMALL.shape))[:, place]
        rows, columns = extent.lat.cells(), extent.lon.cells()
        np.testing.assert_array_equal(field[:, t], globe[:, rows][:, :, columns])


@given(st.integers(0, 13), st.integers(1, 14), st.integers(1, 5))
def test_rows_drawn_alone_are_the_same_rows(first, count, channels):
    stop = min(first + count, 14)
    whole = noise_block(KEY, 7, channels, (3, 14, 5))
    part = noise_block(KEY, 7, channels, (3, 14, 5), rows=(first, stop))
    np.testing.assert_array_equal(part, whole[:, :, first:stop])


def test_it_is_standard_normal_and_white():
    field = noise_block(KEY, 0, 4, (4, 90, 180)).astype(np.float64)
    n = field.size
    assert abs(field.mean()) < 4 / n**0.5
    assert abs(field.var() - 1) < 4 * (2 / n) ** 0.5
    assert abs((field**4).mean() - 3) < 4 * (96 / n) ** 0.5
    assert 4 < np.abs(field).max() < 6
    for axis in range(4):
        assert abs((field * np.roll(field, 1, axis)).mean()) < 4 / n**0.5


def test_every_part_of_the_key_counts():
    def draw(seed=1, gcm="a", variant="b", realization=0, block=0, stream=0):
        return noise_block(
            NoiseKey(seed, gcm, variant, realization), block, 2, (4, 20, 30), stream
        )

    others = [
        draw(seed=2),
        draw(gcm="c"),
        draw(variant="c"),
        draw(realization=1),
        draw(block=1),
        draw(block=-1),
        draw(stream=1),
        draw(gcm="b", variant="a"),
    ]
    fields = [draw(), *others]
    correlation = np.corrcoef([field.ravel() for field in fields])
    assert np.abs(correlation - np.eye(len(fields))).max() < 5 / fields[0].size ** 0.5


def test_scenarios_share_their_noise():
    assert not hasattr(KEY, "scenario")
