"""The perfect-model test, top-down: a known truth, observed as by a climate model, sampled back.

    truth x → y = A x → ensembles x̂ ~ p(x | y) → scores of region-months → tables and a page

Every step keeps what it made (see `work`), so a test that was stopped goes on where it was. The
scores are the same, to the byte, however often it was stopped and whoever sampled.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from pathlib import Path

from longwang_ray import __version__
from longwang_ray.data.source import SourceError
from longwang_ray.evaluation.daily_truth import cut_daily, open_truth
from longwang_ray.evaluation.month_baselines import Archive
from longwang_ray.evaluation.perfect_examples import examples_of
from longwang_ray.evaluation.perfect_plan import Prepared, told_truth
from longwang_ray.evaluation.pooled import Pooled, merge
from longwang_ray.evaluation.report_html import write_report
from longwang_ray.evaluation.samples import Sample, SampleFactory, pieces_of, seconds_of
from longwang_ray.evaluation.scenes import JudgeFactory, Kept, RegionMonth, Scored
from longwang_ray.evaluation.settings import GUIDED, SAMPLED, DailyTruth, SyntheticTruth
from longwang_ray.evaluation.summary import Summary
from longwang_ray.evaluation.truth import CutFactory, Observed, SyntheticRecord
from longwang_ray.evaluation.work import carry_out, device_of, keep_bytes
from longwang_ray.run.ensemble import absolute

log = logging.getLogger(__name__)
EARTH_BYTES = 2**30
"""What one worker needs that makes days of the synthetic Earth, or scores a region-month."""


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation found.

    Attributes:
        summary: Scores and pooled statistics.
        report: The page.
        output: Its folder, with ``scores.json``, ``pooled.json``, ``table.txt``, ``about.json``.
    """

    summary: Summary
    report: Path
    output: Path


def evaluate(prepared: Prepared) -> Evaluated:
    """Make the truth, sample what isn't there yet, score it all, and write the reports.

    Raises:
        Unfinished: if some samples were given up; the same call tries them again.
    """
    truths, archive = make_truth(prepared)
    kept = sample_all(prepared, truths, archive)
    scored = score_all(prepared, kept, truths)
    pooled: Mapping[str, Pooled] = reduce(merge, (found.pooled for found in scored))
    summary = Summary.of(title_of(prepared), [found.scores for found in scored], pooled)
    output, about = Path(prepared.config.output), about_of(prepared, kept, truths)
    summary.write(output)
    keep_bytes(output / "table.txt", summary.text().encode())
    keep_bytes(output / "about.json", (json.dumps(about, indent=2) + "\n").encode())
    examples = examples_of(prepared, kept, truths, pooled)
    return Evaluated(summary, write_report(output, summary, examples, about), output)


def make_truth(prepared: Prepared) -> tuple[list[Observed], list[Observed]]:
    """The truth's records, and those that analogues are chosen from."""
    config, box, gcm = prepared.config, prepared.domain.box, prepared.gcm
    if isinstance(config.truth, DailyTruth):
        return _read_daily(prepared, config.truth)
    truth: SyntheticTruth = config.truth
    work = prepared.work

    def cuts(seed: int, records: tuple) -> list[SyntheticRecord]:
        return [SyntheticRecord(seed, record, box, gcm, work) for record in records]

    own = cuts(truth.seed, prepared.records)
    others = [cut for seed in config.archive.seeds for cut in cuts(seed, prepared.archive)]
    wanted = [*own, *others]
    todo = [cut for cut in wanted if not cut.there]
    already = len(wanted) - len(todo)
    for _ in carry_out(
        config.engine, CutFactory(config.engine.threads), todo, len(wanted), "truth record",
        already=already, memory=EARTH_BYTES,
    ):  # fmt: skip
        pass
    return [cut.read() for cut in own], [cut.read() for cut in others]


def _read_daily(prepared: Prepared, truth: DailyTruth) -> tuple[list[Observed], list[Observed]]:
    box, gcm, work = prepared.domain.box, prepared.gcm, prepared.work
    with open_truth(truth) as source:
        own = [cut_daily(source, record, box, gcm, work) for record in prepared.records]
        others = []
        for record in prepared.archive:
            try:
                others.append(cut_daily(source, record, box, gcm, work))
            except SourceError as error:  # other months do as well
                log.info("left out of the archive: %s", error)
    return own, others


def samples_of(prepared: Prepared, truths: list[Observed]) -> Iterator[Sample]:
    """All that is to be sampled: realization by realization, so that each is complete early."""
    config, recipe = prepared.config, prepared.recipe
    for realization in range(config.realizations):
        for method in config.methods:
            if method not in SAMPLED and (method != "reconstruction" or realization):
                continue
            for observed in truths:
                folder = prepared.work / recipe.folder(method, observed)
                for months in pieces_of(observed.monthly.record, recipe.months_per_tile):
                    for box in prepared.domain.tiles:
                        yield Sample(method, realization, observed, months, box, folder)


def sample_all(prepared: Prepared, truths: list[Observed], archive: list[Observed]) -> Kept:
    """Sample what isn't there yet."""
    config, engine = prepared.config, prepared.config.engine
    samples = list(samples_of(prepared, truths))
    todo = [sample for sample in samples if not sample.there]
    factory = SampleFactory(
        absolute(config.prior), prepared.recipe, device_of(engine), engine.threads
    )
    for _ in carry_out(
        engine, factory, todo, len(samples), "sample",
        already=len(samples) - len(todo), memory=prepared.cost.memory if todo else EARTH_BYTES,
    ):  # fmt: skip
        pass
    folders = {(s.method, str(s.observed.monthly.record.months[0])): s.folder for s in samples}
    weather = Archive(tuple(archive), of_truth=isinstance(config.truth, DailyTruth))
    return Kept(config.methods, folders, config.realizations, weather)


def region_months(prepared: Prepared, truths: list[Observed]) -> Iterator[RegionMonth]:
    """Every region-month: by month, then from the north-west to the south-east of each tile."""
    side = prepared.domain.scored
    for observed in truths:
        for month in range(len(observed.monthly.record.months)):
            for tile in prepared.domain.tiles:
                for box in tile.pieces(side, side):
                    yield RegionMonth(observed, month, tile, box)


def score_all(prepared: Prepared, kept: Kept, truths: list[Observed]) -> list[Scored]:
    """Score all region-months; in one order, whoever was first."""
    engine, items = prepared.config.engine, list(region_months(prepared, truths))
    factory = JudgeFactory(kept, engine.threads)
    found: dict[str, Scored] = {}
    for outcome in carry_out(
        engine, factory, items, len(items), "region-month", memory=EARTH_BYTES
    ):
        if outcome.result is not None:
            found[outcome.key] = outcome.result
    return [found[item.key] for item in items]


def title_of(prepared: Prepared) -> str:
    """What was evaluated, in one line."""
    months = prepared.n_months * prepared.domain.n_regions
    return f"{prepared.prior.name} against {told_truth(prepared.config)}: {months} region-months"


def about_of(prepared: Prepared, kept: Kept, truths: list[Observed]) -> dict[str, str]:
    """What the numbers were made from."""
    config, box = prepared.config, prepared.domain.box
    (south, north), (west, east) = config.region.lat, config.region.lon
    sampler = config.sampler
    return {
        "prior": f"{prepared.prior.name} ({prepared.prior.intended_use})",
        "prior digest": prepared.prior.digest,
        "truth": told_truth(config),
        "region": f"{south:g} to {north:g}N, {west:g} to {east:g}E, {box.rows} × {box.columns} "
        f"cells, scored as squares of {config.scored:g}°",
        "observed on": f"{prepared.gcm.n_lat} × {prepared.gcm.n_lon} cells of the globe",
        "observation error": f"{config.observation.relative:g} y + "
        f"{config.observation.floor:g} mm/day",
        "sampler": f"{sampler.steps} steps, guidance {sampler.guidance}, "
        f"halo of {config.tiling.halo_strides} strides",
        "realizations": str(config.realizations),
        "seed": str(config.seed),
        **_seconds(prepared, kept, truths),
        "longwang_ray": __version__,
    }


def _seconds(prepared: Prepared, kept: Kept, truths: list[Observed]) -> dict[str, str]:
    """Seconds that a worker took for a realization-month of the domain, halo included."""
    told = {}
    for method in (name for name in prepared.config.methods if name in (*GUIDED, "prior")):
        total = sum(
            seconds_of(kept.path(method, RegionMonth(observed, k, tile, tile), r, "done.json"))
            for observed in truths
            for k in range(len(observed.monthly.record.months))
            for tile in prepared.domain.tiles
            for r in range(kept.realizations)
        )
        each = total / (kept.realizations * prepared.n_months)
        told[f"seconds a realization-month, {method}"] = f"{each:.1f}"
    return told
