"""The words that the command line understands, and the function that each command calls."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from longwang_ray import __version__
from longwang_ray.cli import priors, runs, status


def make_parser() -> argparse.ArgumentParser:
    """All commands and their options."""
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

    _add_runs(add)
    _add_priors(add)
    return parser


_Parser = argparse.ArgumentParser
_Add = Callable[[str, Callable[[argparse.Namespace], int], str], _Parser]


def _add_runs(add: _Add) -> None:
    """Commands about runs and their stores."""
    plan = add("plan", runs.plan, "print what a run would do, and start nothing")
    _configured(plan).add_argument("--json", action="store_true", help="as one JSON object")
    run = add("run", runs.run, "sample what a configuration asks for and is not there yet")
    _configured(run).add_argument(
        "--json", action="store_true", help="events on standard output, one JSON object a line"
    )
    run.add_argument(
        "--repair",
        action="store_true",
        help="read the store first; sample damaged shards anew",
    )
    told = add("status", status.status, "tell how far a store and its runs are")
    _stored(told).add_argument("--json", action="store_true", help="as one JSON object")
    verify = _stored(add("verify", runs.verify, "read a whole store and check it"))
    verify.add_argument(
        "--tolerance", type=float, default=1e-3, help="relative closure allowed (default 1e-3)"
    )
    plot = _stored(add("plot", runs.plot, "draw three days of each realization beside the month"))
    plot.add_argument("--group", help="gcm/scenario/variant, if the store has several")
    plot.add_argument("--month", type=_month, help="YYYY-MM; the first complete one if left out")
    plot.add_argument("-o", "--output", type=Path, help="PNG to write (default STORE.png)")
    _evaluated(add("evaluate", runs.evaluate, "score ensembles against daily rain"))


def _add_priors(add: _Add) -> None:
    """Commands about priors."""
    assess = add("assess", priors.assess, "say how good a prior is, on days that it has not seen")
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
    train = _configured(add("train", priors.train, "fit a prior, and write its bundle"))
    train.add_argument("--dry-run", action="store_true", help="check and describe, fit nothing")
    train.add_argument(
        "--only",
        choices=("autoencoder", "statistics", "denoiser", "head"),
        help="fit this part alone; those that it needs must be finished",
    )
    _taught(add("train-head", priors.train_head, "teach a prior the coarse head that it lacks"))
    _published(
        add("import-prior", priors.import_prior, "turn the published checkpoints into a prior")
    )


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


def _evaluated(parser: _Parser) -> None:
    parser.add_argument(
        "asked",
        metavar="CONFIG | STORE",
        help="YAML file: sample a known truth back, and score it; or an ensemble store",
    )
    parser.add_argument(
        "overrides",
        nargs="*",
        metavar="KEY=VALUE | REFERENCE",
        help="of a CONFIG, e.g. realizations=4; of a STORE its daily rain: NetCDF or Zarr, a path "
        "or URL; synthetic for the quickstart's own truth",
    )
    parser.add_argument("--variable", help="the reference's (default pr)")
    parser.add_argument("--group", help="gcm/scenario/variant, if the store has several")
    parser.set_defaults(wrong_usage=parser.error)


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
