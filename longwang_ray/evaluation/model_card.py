"""A prior's model card: what it is, what it is not, and how good it was found."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

IS_NOT = {
    "demonstration": """\
It is **not** a model of the Earth's rain. Everything it knows comes from a synthetic Earth, a
random field with a made-up climatology; it has never seen a real day. What it adds to a climate
model's month shows how the method works and how its software behaves. Do not use its output for
climate impact, risk, design or any decision, nor as a baseline in a comparison of methods.""",
    "research": """\
It is not a forecast model, and it knows only the days that it was trained on: rain outside their
range, another grid or another climate is extrapolation. Check its output against observations
before you rely on it.""",
}

NAMES = {
    "wet_ratio": "wet days (> 1 mm), reconstructed / real",
    "p99_ratio": "99th percentile, reconstructed / real",
    "p999_ratio": "99.9th percentile, reconstructed / real",
    "mean_ratio": "mean rain, reconstructed / real",
    "correlation": "correlation of daily rain, mm/day",
}
SCORES = {
    "mean": "mean, mm/day",
    "dry": "dry share (< 0.1 mm)",
    "wet": "wet share (> 1 mm)",
    "p99": "p99, mm/day",
    "p999": "p99.9, mm/day",
    "lag1": "lag-1 autocorrelation",
}


def model_card(description: Mapping[str, Any], parameters: int, digest: str) -> str:
    """The card as Markdown.

    Args:
        description: A bundle's ``prior.json``, with its metrics.
        parameters: How many numbers were learned.
        digest: The prior's.
    """
    use = str(description.get("intended_use", "research"))
    window = " × ".join(str(n) for n in description["lattice"]["window"])
    channels = description["autoencoder"]["latent_channels"]
    parts = [
        f"# {description.get('name', 'unnamed')}: a prior of daily precipitation at "
        f"{description['grid']['step']}°",
        str(description.get("description", "")),
        f"Intended use: **{use}**.",
        "## What it is",
        f"An autoencoder ({channels} latent channels), a conditional denoiser and a coarse head, "
        f"{parameters:,} parameters in all, for windows of {window} (days × rows × columns). "
        "`longwang_ray` samples with it daily fields that agree with a climate model's months.",
        "## What it is not",
        IS_NOT.get(use, IS_NOT["research"]),
        "## What it learnt from",
        _training(description.get("training", {})),
        "## How good it is",
        *_quality(description.get("metrics", {})),
        "## Identity",
        f"Digest `{digest}`; all sizes and statistics are in `prior.json`.",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _training(training: Mapping[str, Any]) -> str:
    data = training.get("data")
    if not data:
        return "Not stated."
    sequences = data["sequences"] - data["held_out"]
    steps = ", ".join(
        f"{name} {training[name]['optimisation']['steps']:,} steps"
        for name in ("autoencoder", "denoiser", "head")
    )
    return (
        f"{sequences * data['days']} days of the package's {data['kind']} Earth (seed "
        f"{data['seed']}), in {sequences} sequences spread over the year. Fitted in: {steps}. "
        f"{training.get('history', '')}"
    ).rstrip()


def _quality(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return ["Not assessed yet."]
    redone = metrics["reconstruction"]
    rows = [(text, redone[key]) for key, text in NAMES.items()]
    powers = redone["power_ratio"].items()
    rows += [(f"power at wavelengths of {band}, reconstructed / real", v) for band, v in powers]
    found = [
        "Measured on days that training has not seen.",
        "\n".join(["| reconstruction | |", "|---|---|", *(f"| {t} | {v:.3f} |" for t, v in rows)]),
        _samples(metrics["samples"], metrics["samples_spectrum"]),
    ]
    if head := metrics.get("head"):
        found.append(
            f"The coarse head reads monthly means within {head['monthly_error']:.1%} of the "
            f"decoder's on its own cells, {head['monthly_error_wide']:.1%} on cells twice as wide "
            f"(bias {head['bias']:+.1%})."
        )
    return found


def _samples(samples: Mapping[str, Any], spectrum: Mapping[str, Any]) -> str:
    lines = [f"| prior alone: truth → sampled | {' | '.join(samples)} |"]
    lines.append("|---" * (len(samples) + 1) + "|")
    for key, text in SCORES.items():
        cells = (f"{s[key]['truth']:.3g} → {s[key]['prior']:.3g}" for s in samples.values())
        lines.append(f"| {text} | {' | '.join(cells)} |")
    powers = ", ".join(f"{v:.2f} at {band}" for band, v in spectrum["power_ratio"].items())
    slope = spectrum["slope"]
    lines.append("")
    lines.append(
        f"Power of samples over truth: {powers}. Slope of the power of a mode over 8–32 cells: "
        f"{slope['truth']:.2f} → {slope['prior']:.2f}."
    )
    return "\n".join(lines)
