"""Pictures of a training on its way: they say what they show, and lie where one looks."""

import logging

import numpy as np
import pytest
from matplotlib.image import imread

from longwang_ray.evaluation.progress import MOST_COLUMNS, draw_progress, draw_sight
from longwang_ray.training.sight import Sight


def sight(url="memory://progress", stage="autoencoder", n=2, **more):
    truth, shown = np.random.default_rng(1).gamma(0.3, 8, (2, n, 24, 32)).astype("f4")
    return Sight(stage, 1000, str(url), truth, shown, "tiny", **more)


def words(figure):
    return [text.get_text() for axes in figure.axes for text in (axes.yaxis.label, axes.title)]


def test_a_picture_lies_beside_the_checkpoints(tmp_path):
    picture = draw_progress(sight(tmp_path / "run"))
    kept = imread(tmp_path / "run" / "figures" / "autoencoder-0001000.png")
    assert picture.dtype == np.uint8
    assert picture.ndim == 3
    assert np.array_equal(picture, np.round(kept[..., :3] * 255).astype(np.uint8))
    assert len(np.unique(picture.reshape(-1, 3), axis=0)) > 20


def test_a_picture_goes_to_any_url():
    import fsspec

    draw_progress(sight("memory://somewhere/run", "denoiser"))
    content = fsspec.filesystem("memory").cat_file("/somewhere/run/figures/denoiser-0001000.png")
    assert content.startswith(b"\x89PNG")


def test_only_reconstructions_are_subtracted():
    assert {"held-out day", "reconstructed", "reconstructed − held-out"} <= set(
        words(draw_sight(sight()))
    )
    said = words(draw_sight(sight(stage="denoiser")))
    assert "prior sample" in said
    assert not any("−" in word for word in said)


def test_windows_have_their_coasts_and_names():
    lat = np.stack([50 - 0.25 * np.arange(24), 10 - 0.25 * np.arange(24)])
    lon = np.stack([(356 + 0.25 * np.arange(32)) % 360, 290 + 0.25 * np.arange(32)])
    figure = draw_sight(sight(lat=lat, lon=lon, names=("1 March", "2 March")))
    assert {"1 March", "2 March"} <= set(words(figure))
    assert figure.axes[0].get_xlim() == pytest.approx((-4.125, 3.875))
    assert figure.axes[0].collections  # the Channel's coasts


def test_only_as_many_windows_as_fit_are_drawn():
    figure = draw_sight(sight(n=MOST_COLUMNS + 3))
    assert len(figure.axes) == 3 * MOST_COLUMNS + 2  # and two colour bars


def test_a_picture_that_cannot_be_written_stops_nothing(tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    with caplog.at_level(logging.WARNING):
        assert draw_progress(sight(tmp_path / "file")).size
    assert "autoencoder-0001000.png: not written" in caplog.text


def test_fields_of_different_shapes_are_refused():
    with pytest.raises(ValueError, match=r"truth is \(1, 4, 4\) and shown \(1, 4, 5\)"):
        Sight("denoiser", 1, "x", np.zeros((1, 4, 4)), np.zeros((1, 4, 5)), "tiny")
