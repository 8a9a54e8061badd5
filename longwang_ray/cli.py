"""The command line: ``longwang plan | run | status | verify | plot | evaluate``, and for priors
``train | assess | import-prior``.

Every command says in one readable message what went wrong, and ends with a code that says so:
0 done, 1 refused or failed, 2 wrong usage, 3 not complete, 130 and 143 stopped by a signal.
"""

from __future__ import annotations

import argparse
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

from longwang_ray import __version__

DONE, FAILED, INCOMPLETE = 0, 1, 3
SIGNALLED = 128
MOST_PROBLEMS = 20
"""Problems that ``verify`` prints; a store without its shards has millions."""


class Terminated(BaseException):
    """SIGTERM arrived; like Ctrl-C it is no fault of the work it interrupts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parsed(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    level = logging.DEBUG if options.verbose else logging.INFO
    logging.getLogger("longwang_ray").setLevel(level)
    previous = signal.signal(signal.SIGTERM, _terminate)
    command: Callable[[argparse.Namespace], int] = options.command
    try:
        return command(options)
    except KeyboardInterrupt:
        return _stopped(options.name, signal.SIGINT)
    except Terminated:
        return _stopped(options.name, signal.SIGTERM)
    except BrokenPipeError:  # e.g. `| head`; Python would complain once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALLED + signal.SIGPIPE
    except Exception as error:
        if options.verbose:
            raise
        text = str(error) or type(error).__name__
        print(f"longwang {options.name}: {text}", file=sys.stderr)
        if not isinstance(error, ValueError | RuntimeError | OSError | MemoryError):
            print("(this looks like a fault of ours: --verbose shows where)", file=sys.stderr)
        return FAILED
    finally:
        signal.signal(signal.SIGTERM, previous)


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Arguments read; KEY=VALUE may stand behind options, too, where argparse leaves them over."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not (hasattr(options, "overrides") and all(re.match(r"[\w.]+=", r) for r in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides += rest
    return options


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _stopped(command: str, by: signal.Signals) -> int:
    after = {
        "run": ": what is written stays, and the same command samples the rest",
        "train": ": the same command goes on from the last checkpoint",
        "train-head": ": the same command goes on from the last checkpoint",
    }
    print(f"\nlongwang {command}: stopped by {by.name}{after.get(command, '')}", file=sys.stderr)
    return SIGNALLED + by


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="longwang",
        description="Turn coarse monthly rain of climate models into ensembles of daily fields.",
    )
    parser.add_argument("--version", action="version", version=f"longwang_ray {__version__}")
    parser.add_argument("--verbose", action="store_true", help="show tracebacks and details")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    def add(name: str, function: Callable[[argparse.Namespace], int], text: str) -> _Parser:
        one = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        one.set_defaults(command=function, name=name)
        one.add_argument(
            "--verbose", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS
        )
        return one

    _configured(add("plan", _plan, "print what a run would do, and start nothing"))
    _configured(add("run", _run, "sample what a configuration asks for and is not there yet"))
    _stored(add("status", _status, "tell how far a store is"))
    verify = _stored(add("verify", _verify, "read a whole store and check it"))
    verify.add_argument(
        "--tolerance", type=float, default=1e-3, help="relative closure allowed (default 1e-3)"
    )
    plot = _stored(add("plot", _plot, "draw three days of each realization beside the month"))
    plot.add_argument("--group", help="gcm/scenario/variant, if the store has several")
    plot.add_argument("--month", type=_month, help="YYYY-MM; the first complete one if left out")
    plot.add_argument("-o", "--output", type=Path, help="PNG to write (default STORE.png)")
    evaluate = _stored(add("evaluate", _evaluate, "score a store against daily rain"))
    evaluate.add_argument(
        "reference",
        metavar="REFERENCE",
        help="daily rain: NetCDF or Zarr, a path or URL; synthetic for the quickstart's own truth",
    )
    evaluate.add_argument("--variable", default="pr", help="its variable (default pr)")
    evaluate.add_argument("--group", help="gcm/scenario/variant, if the store has several")
    assess = add("assess", _assess, "say how good a prior is, on days that it has not seen")
    assess.add_argument("prior", metavar="PRIOR", help="an embedded prior, a folder or a URL")
    assess.add_argument(
        "-o", "--output", type=Path, required=True, help="folder for card, metrics and pictures"
    )
    assess.add_argument(
        "--data",
        nargs="+",
        default=(),
        metavar=("CONFIG", "KEY=VALUE"),
        help="a training's YAML: on the days that it holds out",
    )
    train = _configured(add("train", _train, "fit a prior, and write its bundle"))
    train.add_argument("--dry-run", action="store_true", help="check and describe, fit nothing")
    train.add_argument(
        "--only",
        choices=("autoencoder", "statistics", "denoiser", "head"),
        help="fit this part alone; those that it needs must be finished",
    )
    _taught(add("train-head", _train_head, "teach a prior the coarse head that it lacks"))
    _published(add("import-prior", _import_prior, "turn the published checkpoints into a prior"))
    return parser


_Parser = argparse.ArgumentParser


def _month(text: str) -> str:
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", text):
        raise argparse.ArgumentTypeError(f"{text!r} is not a month: write YYYY-MM")
    return text


def _configured(parser: _Parser) -> _Parser:
    parser.add_argument("config", metavar="CONFIG", help="YAML file")
    return _overridable(parser)


def _overridable(parser: _Parser) -> _Parser:
    parser.add_argument(
        "overrides", nargs="*", metavar="KEY=VALUE", help="e.g. realizations=8 sources.0.path=FILE"
    )
    return parser


def _stored(parser: _Parser) -> _Parser:
    parser.add_argument("store", metavar="STORE", help="path or URL of an ensemble store")
    return parser


def _taught(parser: _Parser) -> None:
    parser.add_argument("prior", metavar="BUNDLE", help="an embedded prior, a folder or a URL")
    parser.add_argument(
        "arguments",
        nargs="*",
        metavar="CONFIG | KEY=VALUE",
        help="YAML file; and e.g. data.sequences=8 head.optimisation.steps=1000",
    )
    parser.add_argument(
        "--out", metavar="FOLDER", help="new folder or URL (default BUNDLE-head, if local)"
    )
    parser.add_argument("--again", action="store_true", help="though it has a head already")


def _published(parser: _Parser) -> None:
    def option(name: str, text: str, **how: Any) -> None:  # noqa: ANN401 (argparse's own)
        parser.add_argument(f"--{name}", help=text, **how)

    cells: dict[str, Any] = {"type": _triple, "metavar": "DAYS,LAT,LON"}
    option("autoencoder", "its checkpoint", metavar="FILE", required=True)
    option("denoiser", "its checkpoint", metavar="FILE", required=True)
    option("statistics", "JSON: one or two files", metavar="FILE", required=True, nargs="+")
    option("out", "new folder", metavar="FOLDER", required=True, type=Path)
    option("name", "name of the prior (default longwang)", default="longwang")
    option("heads", "attention heads (default 4)", type=int, default=4)
    option(
        "strides", "of the denoiser, one each level (default 1,2,2 2,2,2 …)", nargs="+", **cells
    )
    option("time-compression", "days a latent step (default 4)", type=int, default=4)
    option("window", "of the networks (default 32,128,128)", default=(32, 128, 128), **cells)
    option("stride", "between windows (default about half a window)", **cells)


def _triple(text: str) -> tuple[int, int, int]:
    try:
        days, rows, columns = (int(part) for part in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not DAYS,LAT,LON") from error
    return days, rows, columns


def _plan(options: argparse.Namespace) -> int:
    from longwang_ray.config import load_config
    from longwang_ray.run import describe_plan, plan_ensemble

    _print_pairs(describe_plan(plan_ensemble(load_config(options.config, options.overrides))))
    return DONE


def _run(options: argparse.Namespace) -> int:
    from longwang_ray.config import load_config
    from longwang_ray.run import describe_plan, plan_ensemble, run_ensemble

    prepared = plan_ensemble(load_config(options.config, options.overrides))
    _print_pairs(describe_plan(prepared))
    summary = run_ensemble(prepared)
    for line in summary.lines():
        print(line)
    if not summary.complete:
        return INCOMPLETE
    try:
        _draw(summary.store, summary.groups[0].path, None, None)
    except (ValueError, OSError) as error:  # the rain is there: a picture is only a picture
        print(f"no picture: {error}", file=sys.stderr)
    return DONE


def _status(options: argparse.Namespace) -> int:
    from longwang_ray.store import status

    for group in status(options.store):
        share = group.done / group.asked if group.asked else 0.0
        print(f"{group.path}: {group.done} of {group.asked} shards ({share:.0%})")
        pairs = [
            ("realizations", str(group.realizations)),
            ("complete", ", ".join(map(_words, group.periods)) or "no period yet"),
            ("intended use", group.intended_use),
            ("recipe", group.recipe[:16]),
        ]
        if group.unsigned:
            pairs.append(("without receipt", f"{group.unsigned} shards, checked by the next run"))
        if group.rejected:
            pairs.append(("later differing copies", f"{group.rejected}; the first was kept"))
        _print_pairs(pairs, indent=2)
    return DONE


def _verify(options: argparse.Namespace) -> int:
    from longwang_ray.store import verify

    found = verify(options.store, tolerance=options.tolerance)
    for problem in found.problems[:MOST_PROBLEMS]:
        print(f"problem: {problem}")
    if len(found.problems) > MOST_PROBLEMS:
        print(f"… and {len(found.problems) - MOST_PROBLEMS} more")
    print(
        f"read {found.shards} shards; compared {found.months} monthly means of GCM cells with "
        f"the GCM: they differ by {found.closure:.1e} at most (allowed {options.tolerance:g}), "
        f"{found.unmet} could not be met and are recorded so"
    )
    print(f"{options.store}: " + ("verified" if found.ok else f"problems: {len(found.problems)}"))
    return DONE if found.ok else FAILED


def _words(period: str) -> str:
    return period.replace("/", " to ")


def _plot(options: argparse.Namespace) -> int:
    _draw(options.store, options.group, options.month, options.output)
    return DONE


def _evaluate(options: argparse.Namespace) -> int:
    from longwang_ray.evaluation.from_store import score_store

    report = score_store(options.store, options.reference, options.variable, options.group)
    print(report.text())
    return DONE


def _assess(options: argparse.Namespace) -> int:
    from longwang_ray.evaluation.training import evaluate_prior

    config, *overrides = options.data or (None,)
    return evaluate_prior(options.prior, options.output, config, overrides)


def _train(options: argparse.Namespace) -> int:
    from longwang_ray.evaluation.training import train_and_assess

    how: dict[str, Any] = {"dry_run": options.dry_run, "only": options.only}
    return train_and_assess(options.config, options.overrides, **how)


def _train_head(options: argparse.Namespace) -> int:
    from longwang_ray.prior.bundle import open_prior
    from longwang_ray.training.fit_head import folder_beside, train_head
    from longwang_ray.training.head_settings import load_head_training

    given = list(options.arguments)
    file = given.pop(0) if given and "=" not in given[0] else None
    config, prior = load_head_training(file, given), open_prior(options.prior)
    out = options.out or folder_beside(options.prior)
    made = open_prior(train_head(prior, config, out, again=options.again))
    errors = made.card["head_errors"]
    found = (f"{c}°: {one['error']:.1%}" for c, one in errors["cells"].items())
    _print_pairs(
        [
            ("prior", f"{out}, {made.name}, digest {made.digest[:16]}"),
            ("taught by", made.card["distilled_from"][:16]),
            ("head", f"means of {errors['days']} days beside the decoder's, {', '.join(found)}"),
        ]
    )
    return DONE


def _import_prior(options: argparse.Namespace) -> int:
    from longwang_ray.prior.official import load_official

    prior = load_official(
        options.autoencoder,
        options.denoiser,
        options.statistics,
        heads=options.heads,
        strides=options.strides,
        time_compression=options.time_compression,
        window=options.window,
        stride=options.stride,
        name=options.name,
    )
    prior.save(options.out)
    sizes = prior.denoiser.config
    told = f"told {sizes.context} numbers" if sizes.context else "unconditional"
    pairs = [
        ("prior", f"{options.out}, {prior.name}, {prior.parameters:,} parameters in float32"),
        ("denoiser", f"channels {sizes.channels}, attention at {sizes.attention}, {told}"),
        ("taken as", f"heads {sizes.heads}, strides {sizes.strides}"),
        ("window", f"{prior.window}, stride {prior.stride}, compression {prior.compression}"),
        ("digest", prior.digest[:16]),
    ]
    _print_pairs(pairs)
    return DONE


def _draw(store: str, group: str | None, month: str | None, output: Path | None) -> None:
    from longwang_ray.evaluation.from_store import draw_store

    figure = draw_store(store, group, month)
    name = store.rstrip("/").rsplit("/", 1)[-1].removesuffix(".zarr")
    local = Path(store.rstrip("/")).parent if "://" not in store else Path()
    target = output or local / f"{name}.png"
    figure.savefig(target, dpi=150)
    print(f"picture: {target}")


def _print_pairs(pairs: Sequence[tuple[str, str]], indent: int = 0) -> None:
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        print(f"{' ' * indent}{name:<{width}}  {value}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
