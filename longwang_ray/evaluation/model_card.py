"""A prior's model card: what it is, what it is not, and how good it was found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

AMOUNTS = {
    "mean": "mean, mm/day",
    "dry": "dry share (< 0.1 mm)",
    "wet": "wet share (> 1 mm)",
    "p99": "p99, mm/day",
    "p999": "p99.9, mm/day",
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
    steps = ", ".join(
        f"{name} {training[name]['optimisation']['steps']:,} steps"
        for name in ("autoencoder", "denoiser", "head")
        if name in training
    )
    told = _daily(data) if data["kind"] == "daily" else _synthetic(data)
    return f"{told} Fitted in: {steps}. {training.get('history', '')}".rstrip()


def _synthetic(data: Mapping[str, Any]) -> str:
    sequences = data["sequences"] - data["held_out"]
    return (
        f"{sequences * data['days']} days of the package's {data['kind']} Earth (seed "
        f"{data['seed']}), in {sequences} sequences spread over the year."
    )


def _daily(data: Mapping[str, Any]) -> str:
    """Where daily data came from: a file's name, never its folder, nor what opens it."""
    name = str(data["path"]).rstrip("/").split("?")[0].rsplit("/", 1)[-1]
    held = _periods(data["held_out"])
    if band := data.get("held_out_lon"):
        held += f", and longitudes {band[0]:g} to {band[1]:g}°E at all times"
    skipped = f" Left out: {', '.join(data['skip'])}." if data.get("skip") else ""
    return (
        f"Daily precipitation, `{data['variable']}` of `{name}`: {_periods(data['train'])}. Held "
        f"out: {held}.{skipped}"
    )


def _periods(periods: Sequence[Sequence[str]]) -> str:
    return ", ".join(first if first == last else f"{first} to {last}" for first, last in periods)


def _quality(metrics: Mapping[str, Any]) -> list[str]:
    if not metrics:
        return ["Not assessed yet."]
    found = [
        "Measured on rain that training has not seen. A ratio of 1, or a difference of 0 between "
        "correlations, is right."
    ]
    for name, part in metrics.items():
        found.append(f"### {name[0].upper()}{name[1:]}: {_periods(part['periods'])}")
        found += [_reconstruction(part["reconstruction"]), *_samples(part["samples"])]
        if head := part.get("head"):
            found.append(_head(head))
    return found


def _reconstruction(redone: Mapping[str, Any]) -> str:
    lines = ["| reconstruction | truth | reconstructed | ratio |", "|---|---|---|---|"]
    for key, text in AMOUNTS.items():
        one = redone[key]
        values = (_number(one["truth"]), _number(one["reconstructed"]), _number(one["ratio"], 3))
        lines.append(f"| {text} | {' | '.join(values)} |")
    lines.append(f"| correlation of daily rain | | {_number(redone['correlation'], 3)} | |")
    for band, ratio in redone["power_ratio"].items():
        lines.append(f"| power at wavelengths of {band} | | | {_number(ratio, 3)} |")
    return "\n".join(lines)


def _samples(samples: Mapping[str, Any]) -> list[str]:
    """One table of what the samples are like, one of how they hang together."""
    heads = " | ".join(samples)
    rule = "|---" * (len(samples) + 1) + "|"
    amounts = [f"| prior alone: truth → sampled (ratio) | {heads} |", rule]
    for key, text in AMOUNTS.items():
        amounts.append(_row(text, [s[key] for s in samples.values()]))
    pattern = [f"| in space and time: truth → sampled | {heads} |", rule]
    for distance in next(iter(samples.values()))["space"]:
        pairs = [s["space"][distance] for s in samples.values()]
        pattern.append(_row(f"correlation {distance} apart (difference)", pairs))
    pattern.append(
        _row("correlation length, cells (ratio)", [s["length"] for s in samples.values()])
    )
    pattern.append(_row("lag-1 correlation (difference)", [s["lag1"] for s in samples.values()]))
    for band in dict.fromkeys(b for s in samples.values() for b in s["power_ratio"]):
        ratios = (_number(s["power_ratio"].get(band)) for s in samples.values())
        pattern.append(f"| power at {band}, sampled / truth | {' | '.join(ratios)} |")
    pattern.append(_row("slope of power, 8–32 cells", [s["slope"] for s in samples.values()]))
    return ["\n".join(amounts), "\n".join(pattern)]


def _row(text: str, pairs: Sequence[Mapping[str, Any]]) -> str:
    cells = []
    for pair in pairs:
        cell = f"{_number(pair['truth'])} → {_number(pair['prior'])}"
        if "ratio" in pair:
            cell += f" ({_number(pair['ratio'])})"
        elif "difference" in pair:
            cell += f" ({_number(pair['difference'], signed=True)})"
        cells.append(cell)
    return f"| {text} | {' | '.join(cells)} |"


def _number(value: float | None, digits: int | None = None, signed: bool = False) -> str:
    """Three figures, or so many after the point; a dash where nothing is known."""
    if value is None:
        return "–"
    if signed:
        return f"{value:+.2f}"
    return f"{value:.3g}" if digits is None else f"{value:.{digits}f}"


def _head(head: Mapping[str, Any]) -> str:
    shares = {key: "–" if value is None else f"{value:.1%}" for key, value in head.items()}
    return (
        f"The coarse head reads means of these days within {shares['monthly_error']} of the "
        f"decoder's on its own cells, {shares['monthly_error_wide']} on cells twice as wide (bias "
        f"{shares['bias']})."
    )
