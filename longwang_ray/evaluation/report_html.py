"""The report of an evaluation: one HTML page that needs nothing but itself.

Figures lie in it as PNG in base64 (and beside it as files), styles in its head; there is no script
and no link. Whoever gets the file by mail sees all of it.
"""

from __future__ import annotations

import base64
import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import isfinite
from pathlib import Path

from longwang_ray.evaluation.examples import Examples
from longwang_ray.evaluation.method_style import TRUTH, label, styles
from longwang_ray.evaluation.plates import Plate, plates
from longwang_ray.evaluation.score_tables import Column, Table, best, tables
from longwang_ray.evaluation.summary import Interval, Summary
from longwang_ray.evaluation.tables import pooled_table
from longwang_ray.evaluation.targets import Target, targets

log = logging.getLogger(__name__)

_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")

STYLE = """\
:root { color-scheme: light; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: #fff; color: #1a1a1a;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 0; }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .4rem; }
p { margin: .4rem 0; max-width: 46rem; }
nav { margin: 1rem 0; } nav a { margin-right: .9rem; color: #0072b2; white-space: nowrap; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .88rem; margin: .5rem 0; }
th, td { padding: .35rem .55rem; text-align: right; border-bottom: 1px solid #ddd;
  vertical-align: top; white-space: nowrap; font-variant-numeric: tabular-nums; }
thead th { border-bottom: 2px solid #555; vertical-align: bottom; white-space: normal;
  min-width: 4.6rem; }
th:first-child, td:first-child { text-align: left; }
tbody th { font-weight: 600; position: sticky; left: 0; background: #fff; }
.range, .unit { display: block; color: #595959; font-size: .82em; font-weight: 400; }
.best { background: #e3f1fa; font-weight: 700; }
.key { display: inline-block; width: .8em; height: .8em; margin-right: .45em; border-radius: 50%; }
.about td { text-align: left; white-space: normal; overflow-wrap: anywhere; }
.aims td, .aims th { white-space: normal; min-width: 0; }
.aims td:nth-child(n+3) { white-space: nowrap; }
pre { font-size: .8rem; line-height: 1.35; }
.met { color: #00614a; font-weight: 700; } .missed { color: #a33b00; font-weight: 700; }
figure { margin: 0; } figure img { max-width: 100%; height: auto; display: block; }
figcaption { max-width: 46rem; margin: .2rem 0 .6rem; }
.none { color: #595959; font-style: italic; }
@media (max-width: 40rem) { th, td { padding: .3rem .4rem; }
  tbody th { white-space: normal; min-width: 8.5rem; } }
@media print { h2, figure { break-inside: avoid; } }
"""


def write_report(
    folder: Path, summary: Summary, examples: Examples, about: Mapping[str, str]
) -> Path:
    """Write ``report.html`` into a folder, and its figures into ``figures/`` beside it.

    Args:
        folder: Made if it is not there.
        summary: Scores and pooled statistics.
        examples: Fields to draw.
        about: What was evaluated, by name: prior, digest, settings, sizes, time.

    Returns:
        The page's path.

    Raises:
        OSError: if the folder can't be written.
    """
    pictures = folder / "figures"
    pictures.mkdir(parents=True, exist_ok=True)
    drawn = []
    for plate in plates(summary, examples):
        image = _png(plate)
        if image is not None:
            (pictures / f"{plate.name}.png").write_bytes(image)
        drawn.append((plate, image))
    page = folder / "report.html"
    lines = _page(summary, targets(summary, examples.factors), drawn, about)
    page.write_text("\n".join(lines) + "\n", encoding="utf-8")
    log.info("report: %s", page)
    return page


def _png(plate: Plate) -> bytes | None:
    if plate.figure is None:
        return None
    held = io.BytesIO()
    plate.figure.savefig(held, format="png", bbox_inches="tight", pad_inches=0.08)
    return held.getvalue()


def _page(
    summary: Summary,
    aims: Sequence[Target],
    drawn: Sequence[tuple[Plate, bytes | None]],
    about: Mapping[str, str],
) -> Iterator[str]:
    title = escape(summary.title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield f"<title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>"
    yield f"<h1>{title}</h1>"
    yield f"<p>{summary.region_months} region-months of daily precipitation, scored.</p>"
    links = [f'<a href="#{plate.name}">{escape(plate.title)}</a>' for plate, _ in drawn]
    yield f'<nav><a href="#tables">Tables</a> {" ".join(links)} <a href="#about">About</a></nav>'
    yield from _targets(aims)
    yield '<section id="tables">'
    yield "<p>Each cell: mean over region-months, and 5–95 % of them. Shaded: the best method of"
    yield "the column, and the best of those not closed; truth, reconstruction and the prior alone"
    yield "are references.</p>"
    for table in tables(summary.scores):
        yield from _table(table, summary)
    if TRUTH in summary.pooled:
        heading, lines = pooled_table(summary.pooled).split("\n", 1)
        yield f"<h2>{escape(heading)}</h2>"
        yield f'<div class="scroll"><pre>{escape(lines)}</pre></div>'
    yield "</section>"
    for plate, image in drawn:
        yield from _figure(plate, image)
    yield from _about(about)
    yield "</body>\n</html>"


def _targets(aims: Sequence[Target]) -> Iterator[str]:
    if not aims:
        return
    yield "<h2>At a glance: conditional against its targets</h2>"
    yield '<div class="scroll"><table class="aims"><thead><tr><th>score</th><th>wanted</th>'
    yield "<th>found</th><th></th></tr></thead><tbody>"
    for one in aims:
        verdict = ("met", "✓ met") if one.met else ("missed", "✗ missed")
        yield (
            f"<tr><th>{escape(one.name)}</th><td>{escape(one.wanted)}</td>"
            f'<td>{escape(one.found)}</td><td class="{verdict[0]}">{verdict[1]}</td></tr>'
        )
    yield "</tbody></table></div>"


def _table(table: Table, summary: Summary) -> Iterator[str]:
    yield f"<h2>{escape(table.title)}</h2>"
    yield '<div class="scroll"><table><thead><tr><th>method</th>'
    for column in table.columns:
        yield _heading(column)
    yield "</tr></thead><tbody>"
    winners = {column.key: best(summary.scores, column) for column in table.columns}
    for name, style in styles(summary.scores).items():
        scores = summary.scores[name]
        if not any(column.key in scores for column in table.columns):
            continue
        key = f'<span class="key" style="background:{style.colour}"></span>'
        yield f"<tr><th>{key}{escape(label(name))}</th>"
        for column in table.columns:
            yield _cell(scores.get(column.key), name in winners[column.key])
        yield "</tr>"
    yield "</tbody></table></div>"


def _heading(column: Column) -> str:
    goals = {
        "low": "lower is better", "high": "higher is better", "one": "1 is right",
        "truth": "near truth is better", "none": "",
    }  # fmt: skip
    unit = column.unit if column.unit not in ("", "1") else ""
    small = ", ".join(part for part in (unit, goals[column.goal]) if part)
    hint = f' title="{escape(column.meaning)}"' if column.meaning else ""
    return f'<th{hint}>{escape(column.name)}<span class="unit">{escape(small)}</span></th>'


def _cell(score: Interval | None, winner: bool) -> str:
    if score is None or not isfinite(score.mean):
        return "<td>–</td>"
    mark = ' class="best"' if winner else ""
    span = f"[{_number(score.p5)}, {_number(score.p95)}]"
    return f'<td{mark}>{_number(score.mean)}<span class="range">{span}</span></td>'


def _number(value: float) -> str:
    """Three figures, with a true minus, and a power of ten where it is small.

    >>> _number(-0.1234), _number(0.0000021)
    ('−0.123', '2.1·10⁻⁶')
    """
    if not isfinite(value):
        return "–"
    if value and abs(value) < 1e-3:
        digits, power = (
            f"{value:.2g}".split("e") if "e" in f"{value:.2g}" else (f"{value:.2g}", "")
        )
        raised = power.lstrip("-0").translate(_RAISED)
        return (f"{digits}·10⁻{raised}" if power else digits).replace("-", "−")
    return f"{value:#.3g}".rstrip(".").replace("-", "−")


def _figure(plate: Plate, image: bytes | None) -> Iterator[str]:
    yield f'<section id="{plate.name}">\n<h2>{escape(plate.title)}</h2>'
    if image is None:
        yield f'<p class="none">Not drawn: {escape(plate.missing)}.</p>'
    else:
        data = base64.b64encode(image).decode("ascii")
        alt = escape(f"{plate.title}. {plate.caption}")
        yield f"<figure>\n<figcaption>{escape(plate.caption)}</figcaption>"
        yield f'<img alt="{alt}" src="data:image/png;base64,{data}">\n</figure>'
    yield "</section>"


def _about(about: Mapping[str, str]) -> Iterator[str]:
    yield '<section id="about">\n<h2>About</h2>'
    yield '<div class="scroll"><table class="about"><tbody>'
    for name, value in about.items():
        yield f"<tr><th>{escape(name)}</th><td>{escape(str(value))}</td></tr>"
    yield "</tbody></table></div>\n</section>"
