"""What a run takes beside what its plan had said: seconds, and memory of all its processes.

    python tests/benchmarks/bench_run.py CONFIG [KEY=VALUE …] [--json run.json]

Runs ``longwang plan`` for its words and ``longwang run`` for its deeds, in processes of their own,
and adds up the proportional memory (PSS) of the run and everything it started, twice a second.
For the globe-month:

    python tests/benchmarks/bench_run.py configs/cmip6.yaml sources.0.path=FILE region=null \\
        realizations=1 engine.kind=serial engine.threads=2 output.path=globe.zarr
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

LONGWANG = [sys.executable, "-m", "longwang_ray.cli"]


def children(root: int) -> set[int]:
    """A process and everything below it."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            stat = (folder / "stat").read_text()
        except OSError:
            continue
        parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(folder.name))
    found, todo = set(), [root]
    while todo:
        process = todo.pop()
        found.add(process)
        todo.extend(parents.get(process, []))
    return found


def memory(processes: set[int]) -> dict[int, int]:
    """Proportional memory of each, bytes."""
    held = {}
    for process in processes:
        try:
            text = Path(f"/proc/{process}/smaps_rollup").read_text()
        except OSError:
            continue
        held[process] = int(text.split("Pss:")[1].split()[0]) * 1024
    return held


def watch(command: list[str]) -> tuple[float, int, int, int]:
    """Seconds, peak of all processes, peak of the largest one, exit code."""
    started, total, largest = time.monotonic(), 0, 0
    with subprocess.Popen(command) as process:
        while process.poll() is None:
            held = memory(children(process.pid))
            total = max(total, sum(held.values()))
            largest = max([largest, *held.values()])
            time.sleep(0.5)
    return time.monotonic() - started, total, largest, process.returncode


def main() -> None:
    """Print the table, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config")
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    what = [options.config, *options.overrides]
    plan = subprocess.run([*LONGWANG, "plan", *what], check=True, capture_output=True, text=True)
    seconds, total, largest, code = watch([*LONGWANG, "run", *what])
    row = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "command": " ".join(["longwang run", *what]),
        "exit_code": code,
        "seconds": round(seconds, 1),
        "memory_all_processes_gib": round(total / 2**30, 2),
        "memory_largest_process_gib": round(largest / 2**30, 2),
    }
    print(plan.stdout)
    for name, value in row.items():
        print(f"{name:28} {value}")
    if options.json:
        options.json.write_text(json.dumps({**row, "plan": plan.stdout}, indent=1) + "\n")


if __name__ == "__main__":
    main()
