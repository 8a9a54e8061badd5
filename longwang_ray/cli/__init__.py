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
from types import FrameType

from longwang_ray.cli.output import DONE, FAILED, INCOMPLETE
from longwang_ray.cli.parser import make_parser

__all__ = ["DONE", "FAILED", "INCOMPLETE", "main"]

SIGNALLED = 128


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
    except (KeyboardInterrupt, Terminated) as stop:
        return _stopped(options.name, stop)
    except BrokenPipeError:  # e.g. `| head`; Python would complain once more when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SIGNALLED + signal.SIGPIPE
    except Exception as error:
        # A signal that meets a C extension (Ray's wait) between two steps is wrapped by Python.
        if isinstance(error.__cause__, KeyboardInterrupt | Terminated):
            return _stopped(options.name, error.__cause__)
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
    parser = make_parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not (hasattr(options, "overrides") and all(re.match(r"[\w.]+=", r) for r in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.overrides += rest
    return options


def _terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


def _stopped(command: str, stop: BaseException) -> int:
    by = signal.SIGTERM if isinstance(stop, Terminated) else signal.SIGINT
    after = {
        "evaluate": ": the same command goes on",
        "run": ": what is written stays, and the same command samples the rest",
        "train": ": the same command goes on from the last checkpoint",
        "train-head": ": the same command goes on from the last checkpoint",
    }
    print(f"\nlongwang {command}: stopped by {by.name}{after.get(command, '')}", file=sys.stderr)
    return SIGNALLED + by
