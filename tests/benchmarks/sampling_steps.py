"""Skill against the number of steps, and against the kind of guidance.

Every setting samples the same region-months from the same noise, so that settings differ by what
they do and not by chance. Four scores are compared with those of the longest run,

    CRPS (fair) · p99.9 · power of three bands of wavelength, the worst · lag-1 of the domain mean

as ratios, with 5–95 % of a bootstrap over region-months and, but for the CRPS, realizations.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch

from longwang_ray.evaluation.scores import domain_lag1, fair_crps, percentile, power_spectrum
from longwang_ray.posterior.sampler import sample
from longwang_ray.prior.bundle import Prior
from tests.benchmarks.sampling_cases import (
    FAST,
    SAMPLING,
    Case,
    Rain,
    finished,
    guided,
    noise_of,
    now,
)

BANDS = ((8, 16), (16, 32), (32, 64))
"""Wavelengths in cells."""

WITHIN = {"crps": 0.01, "p999": 0.03, "spectrum": 0.03, "lag1": 0.03}
"""How far a default may be from the reference."""

RESAMPLES = 1000
MET = 0.2
"""A month missed by more before closing was not met: closing alone made its CRPS."""

Row = dict[str, object]


class Setting(NamedTuple):
    """How a month is sampled."""

    steps: int
    order: int
    kind: str = FAST
    batch: int = SAMPLING.batch


@dataclass(frozen=True)
class Skill:
    """What a setting did, ``(cases, realizations, …)``; the CRPS has one value a case.

    Attributes:
        crps: mm/day.
        p999: mm/day.
        power: Of each band.
        lag1: Of the domain's mean.
        gap: Relative miss of the month before closing.
        conflict: Mean χ² of an observed cell before closing.
        seconds: Of a realization-month, its decoding included.
    """

    crps: np.ndarray
    p999: np.ndarray
    power: np.ndarray
    lag1: np.ndarray
    gap: float
    conflict: float
    seconds: float


@torch.no_grad()
def sampled(
    prior: Prior, case: Case, setting: Setting, realization: int, device: str
) -> tuple[Rain, float]:
    """One realization-month and its seconds."""
    noise = noise_of(prior, case, realization, device)
    schedule = prior.denoiser.schedule
    started = now(device)
    denoise = guided(prior, case, setting.kind, setting.steps, device, setting.batch)
    latent = sample(denoise, noise, schedule, setting.steps, setting.order)
    rain = finished(prior, case, latent, min(setting.batch, SAMPLING.decode_batch))
    return rain, now(device) - started


def skill_of(
    prior: Prior, cases: Sequence[Case], setting: Setting, realizations: int, device: str
) -> Skill:
    """All region-months and realizations of a setting."""
    crps, p999, power, lag1, gaps, conflicts, times = [], [], [], [], [], [], []
    for case in cases:
        drawn = [sampled(prior, case, setting, r, device) for r in range(realizations)]
        fields = np.stack([rain.closed for rain, _ in drawn])
        crps.append([fair_crps(fields, case.truth).mean()])
        p999.append(percentile(fields, 99.9))
        power.append([band_power(field) for field in fields])
        lag1.append(domain_lag1(fields))
        gaps += [rain.gap for rain, _ in drawn]
        conflicts += [rain.conflict for rain, _ in drawn]
        times += [taken for _, taken in drawn]
    arrays = (np.array(values) for values in (crps, p999, power, lag1))
    return Skill(*arrays, *(float(np.mean(values)) for values in (gaps, conflicts, times)))


def band_power(rain: np.ndarray) -> np.ndarray:
    """Mean power of each band of wavelengths that the field holds."""
    wavenumber, power = power_spectrum(rain)
    wavelength = 1 / wavenumber
    bands = [power[(wavelength >= low) & (wavelength < high)] for low, high in BANDS]
    return np.array([band.mean() for band in bands if band.size])


def relative(found: Skill, reference: Skill, seed: int = 0) -> Row:
    """Ratios to a reference, ``{score: (value, 5 %, 95 %)}``."""
    generator = np.random.default_rng(seed)
    n, m = found.p999.shape
    every = np.arange(n)[:, None], np.arange(m)[None]
    point = _ratios(found, reference, *every)
    drawn = [
        _ratios(
            found,
            reference,
            np.repeat(generator.integers(0, n, n)[:, None], m, axis=1),
            generator.integers(0, m, (n, m)),
        )
        for _ in range(RESAMPLES)
    ]
    low, high = np.percentile(np.array(drawn), [5, 95], axis=0)
    return {
        score: tuple(float(v) for v in values)
        for score, *values in zip(WITHIN, point, low, high, strict=True)
    }


def _ratios(found: Skill, reference: Skill, i: np.ndarray, j: np.ndarray) -> np.ndarray:
    """Of the means over chosen cases and realizations, in the order of `WITHIN`."""
    bands = found.power[i, j].mean((0, 1)) / reference.power[i, j].mean((0, 1))
    return np.array(
        [
            found.crps[i[:, 0]].mean() / reference.crps[i[:, 0]].mean(),
            found.p999[i, j].mean() / reference.p999[i, j].mean(),
            bands[np.abs(np.log(bands)).argmax()],
            found.lag1[i, j].mean() / reference.lag1[i, j].mean(),
        ]
    )


def good_enough(row: Row) -> bool:
    """Whether a row's ratios are within the bounds; a lower CRPS is never too low."""
    found = {score: row[score][0] for score in WITHIN}
    return found["crps"] <= 1 + WITHIN["crps"] and all(
        abs(found[score] - 1) <= bound for score, bound in WITHIN.items() if score != "crps"
    )


HEADER = (
    f"{'guidance':13} {'order':>5} {'steps':>5} {'s/month':>8} {'CRPS':>7} {'gap':>6} {'χ²':>7}  "
    + " ".join(f"{score + ', relative':>21}" for score in WITHIN)
)


def shown(setting: Setting, skill: Skill, row: Row) -> str:
    """One line."""
    ratios = " ".join("{:7.3f} ({:5.2f}…{:5.2f})".format(*row[score]) for score in WITHIN)
    return (
        f"{setting.kind:13} {setting.order:5} {setting.steps:5} {skill.seconds:8.2f} "
        f"{skill.crps.mean():7.4f} {skill.gap:6.3f} {skill.conflict:7.2f}  {ratios}"
        f"{'  *' if good_enough(row) else ''}"
    )


def compare(
    prior: Prior,
    cases: Sequence[Case],
    settings: Sequence[Setting],
    reference: Skill | None,
    realizations: int,
    device: str,
) -> tuple[list[Row], dict[Setting, Skill]]:
    """A row each setting, relative to a reference or to the first of them; printed at once."""
    print(HEADER)
    rows, skills = [], {}
    for setting in settings:
        skill = skill_of(prior, cases, setting, realizations, device)
        reference = reference or skill
        ratios = relative(skill, reference)
        print(shown(setting, skill, ratios), flush=True)
        told = {
            "seconds": skill.seconds, "crps_mm": float(skill.crps.mean()), "gap": skill.gap,
            "conflict": skill.conflict, "good_enough": good_enough(ratios),
        }  # fmt: skip
        rows.append({**setting._asdict(), **told, **ratios})
        skills[setting] = skill
    return rows, skills


def steps_table(
    prior: Prior,
    cases: Sequence[Case],
    steps: Sequence[int],
    first_order: Sequence[int],
    realizations: int,
    device: str,
) -> tuple[list[Row], dict[Setting, Skill]]:
    """Both samplers, relative to the most steps of the second order."""
    most, fewer = max(steps), sorted(set(steps) - {max(steps)})
    print(
        f"\nSkill against steps: {len(cases)} region-months × {realizations} realizations of "
        f"{' × '.join(map(str, cases[0].truth.shape))} cells, no halo; relative to "
        f"{most} steps of order 2 with 5–95 %; * within {WITHIN}"
    )
    settings = [Setting(most, 2), *(Setting(n, 2) for n in fewer)]
    settings += [Setting(n, 1) for n in first_order]
    rows, skills = compare(prior, cases, settings, None, realizations, device)
    for order in (1, 2):
        enough = [r["steps"] for r in rows if r["order"] == order and r["good_enough"]]
        print(f"order {order}: the fewest steps within the bounds are {min(enough, default=None)}")
    return rows, skills


def guidance_table(
    prior: Prior,
    cases: Sequence[Case],
    kinds: Sequence[str],
    steps: int,
    realizations: int,
    device: str,
) -> tuple[list[Row], dict[Setting, Skill]]:
    """The kinds of guidance at the default number of steps, relative to the first."""
    print(
        f"\nSkill of guidance at {steps} steps: {len(cases)} region-months × {realizations} "
        f"realizations; relative to {kinds[0]}"
    )
    settings = [Setting(steps, prior.denoiser.order, kind) for kind in kinds]
    rows, skills = compare(prior, cases, settings, None, realizations, device)
    print(f"skill per second: {best_value(rows)}")
    return rows, skills


def best_value(rows: Sequence[Row]) -> str:
    """The cheapest kind among those within 1 % of the best CRPS that meet the month."""
    met = [row for row in rows if float(row["gap"]) <= MET]
    if not met:
        return f"no guidance meets the month within {MET:.0%} before closing"
    most = (1 + WITHIN["crps"]) * min(float(row["crps_mm"]) for row in met)
    chosen = min(
        (row for row in met if float(row["crps_mm"]) <= most), key=lambda row: row["seconds"]
    )
    return f"of those that meet the month, within 1 % of the best CRPS, {chosen['kind']}"
