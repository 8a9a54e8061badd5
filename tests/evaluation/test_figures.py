"""The pictures: drawn for regions, across 0°E and for the globe, and saying what they must."""

import numpy as np
import pytest

from longwang_ray.evaluation import figures
from longwang_ray.evaluation.figures import CoarseMonth, FineDays, draw_prior, draw_run


def gcm(n_lat=24, n_lon=36):
    edge = np.linspace(-90, 90, n_lat + 1)
    west = np.arange(n_lon) * 360 / n_lon
    rain = np.random.default_rng(5).gamma(1, 3, (n_lat, n_lon))
    bounds = np.stack([edge[:-1], edge[1:]], axis=1), np.stack([west, west + 360 / n_lon], axis=1)
    return CoarseMonth(rain, *bounds, name="1960-11")


def days(lat, lon, realizations=2):
    rain = np.random.default_rng(6).gamma(0.3, 9, (realizations, 3, len(lat), len(lon)))
    rain[0, 0, :2] = np.nan
    dates = ("1960-11-14", "1960-11-15", "1960-11-16")
    return FineDays(rain, rain.mean(axis=1), lat, lon, dates, range(realizations))


def words(figure):
    return [text.get_text() for axes in figure.axes for text in (axes.title, axes.xaxis.label)]


@pytest.mark.parametrize(
    ("lat", "lon"),
    [
        (40 - 0.25 * np.arange(40), 60 + 0.25 * np.arange(60)),
        (-10 + 0.25 * np.arange(40), (350 + 0.25 * np.arange(80)) % 360),
        (90 - 2.5 * np.arange(72), 2.5 * np.arange(144)),
    ],
    ids=["a region, north first", "across 0°E, south first", "the globe"],
)
def test_a_run_is_drawn(lat, lon, tmp_path):
    figure = draw_run(days(lat, lon), gcm(), "a run", demonstration=True)
    figure.savefig(tmp_path / "run.png", dpi=30)
    assert (tmp_path / "run.png").stat().st_size > 3000
    assert "demonstration" in figure.get_suptitle()
    said = words(figure)
    assert "the GCM's month, 1960-11" in said
    assert "realization 1, 1960-11-16" in said
    assert "precipitation, mm/day" in said


def test_a_real_prior_is_not_called_a_demonstration():
    lat, lon = 40 - 0.25 * np.arange(8), 60 + 0.25 * np.arange(8)
    assert "demonstration" not in draw_run(days(lat, lon), gcm(), "a run").get_suptitle()


def test_only_as_many_realizations_as_fit_are_drawn():
    lat, lon = 40 - 0.25 * np.arange(8), 60 + 0.25 * np.arange(8)
    figure = draw_run(days(lat, lon, realizations=6), gcm(), "a run")
    shown = {word.split(",")[0] for word in words(figure) if word.startswith("realization")}
    assert len(shown) == figures.MOST_ROWS


def test_a_prior_is_drawn_beside_what_it_learnt(tmp_path):
    lat, lon = 40 - 0.25 * np.arange(32), 60 + 0.25 * np.arange(32)
    fields = np.random.default_rng(7).gamma(0.3, 9, (3, 4, 32, 32))
    figure = draw_prior(*fields, lat, lon, "the demonstration prior")
    figure.savefig(tmp_path / "prior.png", dpi=30)
    assert {"held-out day 1", "reconstructed 4", "prior sample 2"} <= set(words(figure))


def test_spectra_have_a_line_each():
    line = (np.array([0.1, 0.2]), np.array([2.0, 1.0]))
    figure = figures.draw_spectra({"real": line, "sampled": line}, "spectra")
    assert [line.get_label() for line in figure.axes[0].lines] == ["real", "sampled"]
