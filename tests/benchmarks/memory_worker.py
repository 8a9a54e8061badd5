"""A worker's process, alone: it works on one tile as an actor would, and tells its peaks.

    python -m tests.benchmarks.memory_worker FILE

FILE holds a pickled worker factory and tile. What is printed is JSON: bytes that were resident at
most by the end of each stage, from the process's birth on; Linux's watermark is set back at the
beginning of each, so that a stage's peak is its own.
"""

import json
import pickle
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray  # noqa: F401 (an actor has it in memory)

peaks: dict[str, int] = {}


def watermark(stage: str) -> None:
    """Note the peak since the last time."""
    text = Path("/proc/self/status").read_text()
    peak = int(text.split("VmHWM:")[1].split()[0]) * 1024
    peaks[stage] = max(peaks.get(stage, 0), peak)
    Path("/proc/self/clear_refs").write_text("5")


def main() -> None:
    """Work, and print."""
    job, tile = pickle.loads(Path(sys.argv[1]).read_bytes())
    from longwang_ray.run import worker

    class Watermarks(worker.Stopwatch):
        """Notes a peak where seconds are taken."""

        @contextmanager
        def __call__(self, stage: str) -> Iterator[None]:
            watermark("between")
            with super().__call__(stage):
                yield
            watermark(stage)

    worker.Stopwatch = Watermarks  # type: ignore[misc]
    one = job()
    watermark("start")
    report = one(tile)
    one.close()
    watermark("between")
    told = {"peak": max(peaks.values()), "peaks": peaks, "seconds": dict(report.seconds)}
    print(json.dumps({**told, "shards": report.shards, "bytes": report.bytes}))


if __name__ == "__main__":
    main()
