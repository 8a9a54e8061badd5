"""The report: says all that was scored, needs only itself, lives with what is missing."""

import re
from html import unescape
from html.parser import HTMLParser

import numpy as np
import pytest

from longwang_ray.evaluation.method_style import label, styles
from longwang_ray.evaluation.report_html import write_report
from longwang_ray.evaluation.score_tables import LIKE, LIKE_TOO, NEAR, NEAR_TOO
from longwang_ray.evaluation.summary import Interval, Summary
from tests.fakes import evaluated

FIGURES = {
    "days_1", "scores", "spectra", "quantiles", "return_levels", "spells", "ranks", "spread",
    "fss", "bias", "conflict", "factors",
}  # fmt: skip
METHODS = ("conditional", "conditional_open", "trilinear", "<mine> & yours")


class Page(HTMLParser):
    """Tags with their attributes, and the text between them."""

    def __init__(self, path):
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags, self.open, self.said = [], [], ""
        self.feed(self.source)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.said += data

    def all(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A report of everything: its page and its folder."""
    rng = np.random.default_rng(11)
    summary = evaluated.summary(rng, METHODS, cells=16, days=12)
    summary.scores["conditional"]["unheard_of"] = Interval(0.25, 0.125, 0.5)
    summary.scores["conditional"]["crps"] = Interval(1.0, 0.5, 2.0)
    summary.scores["trilinear"]["crps"] = Interval(2.0, 1.0, 3.0)
    folder = tmp_path_factory.mktemp("evaluation")
    about = {"prior": "a <b>demonstration</b>", "digest": "0123abcd"}
    path = write_report(folder, summary, evaluated.examples(rng, METHODS, cells=16), about)
    return Page(path), folder


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """One realization, scores that some lack, no GCM cell observed, nothing closed."""
    rng = np.random.default_rng(12)
    methods = ("conditional", "trilinear")
    whole = evaluated.summary(rng, methods, realizations=1, scenes=1, cells=16, days=6)
    scores = {
        "truth": {"r95p": Interval(0.3, 0.2, 0.4)},
        "conditional": {"r95p": Interval(0.31, 0.2, 0.4), "crps": Interval(np.nan, 0, 0)},
        "trilinear": {},
    }
    examples = evaluated.examples(rng, methods, cells=16, realizations=1, observed=False)
    folder = tmp_path_factory.mktemp("bare")
    summary = Summary("bare", 1, scores, whole.pooled)
    return Page(write_report(folder, summary, examples, {})), folder


def test_it_names_every_method_and_every_score(full):
    page, _ = full
    for method in ("truth", *METHODS):
        assert label(method) in page.said
    headings = [unescape(name) for name in re.findall(r"<th[^>]*>([^<]+)<span", page.source)]
    columns = (*NEAR, *LIKE, *LIKE_TOO, *NEAR_TOO)
    assert headings == [*(column.name for column in columns), "unheard_of"]
    assert {column.key for column in columns} == set(evaluated.SCORES)
    assert "0.250[0.125, 0.500]" in page.said


def test_each_figure_is_there_with_words_and_as_a_file(full):
    page, folder = full
    images = page.all("img")
    assert len(images) == len(FIGURES)
    assert all(len(image["alt"]) > 60 for image in images)
    assert {path.stem for path in (folder / "figures").glob("*.png")} == FIGURES
    assert len(page.all("figcaption")) == len(FIGURES)


def test_it_needs_nothing_but_itself(full):
    page, _ = full
    assert not re.search(r"https?:|url\(|@import", page.source)
    assert not page.all("script")
    assert not page.all("link")
    assert all(i["src"].startswith("data:image/png;base64,") for i in page.all("img"))
    anchors = {attrs.get("id") for _, attrs in page.tags}
    assert all(a["href"].startswith("#") and a["href"][1:] in anchors for a in page.all("a"))
    assert page.open == []


def test_what_others_wrote_is_text(full):
    page, _ = full
    assert not page.all("mine")
    assert not page.all("b")
    assert "a <b>demonstration</b>" in page.said


def test_the_best_of_a_column_is_marked_and_targets_are_judged(full):
    page, _ = full
    row = re.search(r"<tr><th>[^\n]*conditional</th>\n(.*?)</tr>", page.source, re.DOTALL)[1]
    assert '<td class="best">1.00<span class="range">[0.500, 2.00]</span></td>' in row
    judged = re.search(r"<tr><th>fair CRPS</th>.*?</tr>", page.source)[0]
    assert "0.500 ×" in judged
    assert "✓ met" in judged


def test_what_is_missing_is_said_and_nothing_fails(bare):
    page, folder = bare
    drawn = {path.stem for path in (folder / "figures").glob("*.png")}
    assert drawn == FIGURES - {"ranks", "spread", "conflict", "factors"}
    assert page.said.count("Not drawn: ") == 4
    assert "nothing to be in conflict with" in page.said
    assert "nan" not in page.said.lower().split()
    headings = re.findall(r"<th[^>]*>([^<]+)<span", page.source)
    assert headings == ["fair CRPS", "R95p"]
    assert "<td>–</td>" in page.source


def test_a_method_looks_the_same_wherever_it_is_drawn():
    few, many = styles(["conditional", "mine"]), styles(["truth", "mine", *evaluated.SLOPES])
    assert few["conditional"] == many["conditional"]
    assert few["mine"] == many["mine"]
    assert len({style.colour for style in many.values()}) == len(many)
