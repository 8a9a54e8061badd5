"""Windows a second that a machine draws, against what an H200 would consume at full scale.

    python -m tests.benchmarks.bench_loader [--days 3] [--seconds 3] [--json loader.json]

Cold: days come from a local copy of ARCO-ERA5's layout, hourly chunks of the globe (1, 721, 1440)
in Zarr v2, are summed, and kept. Warm: windows are cut from the kept days, 2 MB each. The network
between here and the real archive isn't in it: there, 24 compressed hours a day have to arrive too.

What a GPU consumes is counted from the modules of ``configs/train_era5.yaml``: three forward
passes a training step (one forward, two backward), and for the denoiser the encoder's before it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch

from longwang_ray.domain.calendar import day_number
from longwang_ray.domain.grid import era5_grid
from longwang_ray.prior.context import CONTEXT_SIZE
from longwang_ray.prior.work import imagined, work_of
from longwang_ray.training.data import open_training_data
from longwang_ray.training.days import Box, KeptDays
from longwang_ray.training.loader import window_generator
from longwang_ray.training.networks import make_autoencoder, make_denoiser
from longwang_ray.training.settings import DailyData, load_train_config
from longwang_ray.training.windows import Part, Window, Windows
from tests.fakes.era5 import write_archive

CONFIG = Path(__file__).parents[2] / "configs" / "train_era5.yaml"
SIZES: tuple[Window, ...] = ((32, 128, 128), (8, 48, 48))
THREADS = (1, 2, 4)
TERA = 1e12


def hour_of_rain(generator: np.random.Generator) -> np.ndarray:
    """An hour of the globe in metres: dry in most places, noisy where it rains, as ERA5's."""
    coarse = np.kron(generator.normal(size=(92, 180)), np.ones((8, 8)))[:721]
    noise = generator.gamma(0.5, 2e-4, (721, 1440))
    return np.where(coarse > 0.4, noise, 0).astype(np.float32)


def archive_of(folder: Path, days: int) -> float:
    """Write some days from 1979-01-01 on; returns megabytes an hour, compressed."""
    generator, hours = np.random.default_rng(0), 24 * days + 1
    write_archive(folder, "1979-01-01T00", hours, lambda _: hour_of_rain(generator))
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / hours / 1e6


def cold(archive: Path, cache: Path, days: int, threads: int) -> tuple[float, float]:
    """Days a second, and a second of CPU time, that are read, summed and kept."""
    data = DailyData(
        kind="daily",
        path=str(archive),
        variable="total_precipitation",
        train=(("1979-01-01", "1979-01-01"),),
        held_out=(("1979-01-02", "2000-01-01"),),
    )
    opened = open_training_data(data, cache, 4)
    begin, cpu = time.perf_counter(), time.process_time()
    opened.days.keep(range(days), threads)
    return days / (time.perf_counter() - begin), days / (time.process_time() - cpu)


def kept_windows(folder: Path, days: int) -> Windows:
    """Windows of days that are kept already."""
    grid = era5_grid()
    hour = hour_of_rain(np.random.default_rng(1))[:720] * 1e4

    def make(first: int, stop: int) -> list[np.ndarray]:
        return [np.roll(hour, day, axis=1) for day in range(first, stop)]

    numbers = day_number("standard", 1979, 1, 1) + np.arange(days)
    kept = KeptDays(grid, Box.globe(grid), numbers, "standard", folder, make, np.arange(days))
    kept.keep(range(days), 2)
    part = Part(np.ones(days, bool), np.ones(grid.n_lon, bool))
    return Windows(kept, (part,), 4)


def warm(windows: Windows, window: Window, threads: int, seconds: float) -> tuple[float, float]:
    """Windows a second, and a second of CPU time, that threads of one process draw."""
    begin, cpu = time.perf_counter(), time.process_time()

    def draw(thread: int) -> int:
        count = 0
        while time.perf_counter() < begin + seconds:
            windows.one(window_generator(0, count, 1, thread), window)
            count += 1
        return count

    with ThreadPoolExecutor(threads) as pool:
        drawn = sum(pool.map(draw, range(threads)))
    return drawn / (time.perf_counter() - begin), drawn / (time.process_time() - cpu)


def consumed(tflops: float) -> dict[str, float]:
    """Windows a second that a GPU of a sustained rate trains on, counted from the modules."""
    config = load_train_config(CONFIG)
    with imagined():
        autoencoder, denoiser = make_autoencoder(config), make_denoiser(config)
        rain = torch.empty(1, 1, *config.autoencoder.window)
        latent = autoencoder.encode(rain)[0].detach()
        time_, context = torch.empty(1), torch.empty(1, CONTEXT_SIZE)
        encode = work_of(lambda: autoencoder.encode(rain)[0]).flops / TERA
        decode = work_of(lambda: autoencoder.decode(latent)).flops / TERA
        denoise = work_of(lambda: denoiser(latent, time_, context)).flops / TERA
    return {
        "encoder_tflop": encode,
        "decoder_tflop": decode,
        "denoiser_tflop": denoise,
        "autoencoder_windows_s": tflops / (3 * (encode + decode)),
        "denoiser_windows_s": tflops / (3 * denoise + encode),
    }


def machine() -> str:
    """What this is measured on."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    load = os.getloadavg()[0]
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [line for line in cpuinfo.read_text().splitlines() if "model name" in line]
        model = names[0].split(":")[1].strip() if names else model
    return f"{model}, {cores} cores, load {load:.1f} at the start"


def cold_table(folder: Path, days: int) -> list[dict[str, Any]]:
    """Days and windows a second out of the archive, for each number of threads."""
    megabytes = archive_of(folder / "archive", days)
    print(f"\ncold: {days} days of 24 chunks of {megabytes:.1f} MB, compressed")
    print(f"{'threads':>7} {'days/s':>8} {'days/CPU s':>10} {'32-day windows/s':>17} "
          f"{'1979–2014 takes':>16}")  # fmt: skip
    rows = []
    for threads in THREADS:
        rate, cpu = cold(folder / "archive", folder / f"cache{threads}", days, threads)
        rows.append({"kind": "cold", "threads": threads, "days_s": rate, "days_cpu_s": cpu})
        print(f"{threads:7} {rate:8.2f} {cpu:10.2f} {rate / 32:17.3f} "
              f"{13149 / rate / 3600:14.1f} h")  # fmt: skip
    return rows


def warm_table(windows: Windows, seconds: float, needed: dict[str, float]) -> list[dict[str, Any]]:
    """Windows a second from kept days, for each size and number of threads."""
    print(f"\nwarm: windows cut from {len(windows.days.numbers)} kept days")
    print(f"{'window':>10} {'threads':>7} {'windows/s':>10} {'windows/CPU s':>14} "
          f"{'H200s fed, denoiser':>20}")  # fmt: skip
    rows = []
    for window, threads in product(SIZES, THREADS):
        (rate, cpu), name = warm(windows, window, threads, seconds), "×".join(map(str, window))
        rows.append({"kind": "warm", "window": name, "threads": threads, "windows_s": rate,
                     "windows_cpu_s": cpu})  # fmt: skip
        fed = f"{rate / needed['denoiser_windows_s']:.1f}" if window == SIZES[0] else "–"
        print(f"{name:>10} {threads:7} {rate:10.1f} {cpu:14.1f} {fed:>20}")
    return rows


def main() -> None:
    """Print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=3, help="of the archive's copy")
    parser.add_argument("--kept", type=int, default=64, help="days that are kept, 2 MB each")
    parser.add_argument("--seconds", type=float, default=3.0, help="for each warm rate")
    parser.add_argument("--tflops", type=float, default=400.0, help="sustained by the GPU, bf16")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    about = {"machine": machine(), **{k: v for k, v in vars(options).items() if k != "json"}}
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    needed = consumed(options.tflops)
    with tempfile.TemporaryDirectory(prefix="longwang-bench-") as name:
        rows = cold_table(Path(name), options.days)
        windows = kept_windows(Path(name) / "kept", options.kept)
        rows += warm_table(windows, options.seconds, needed)
    told = ", ".join(f"{key} {value:.2f}" for key, value in needed.items())
    print(f"\nan H200 that sustains {options.tflops:g} TFLOP/s, 32×128×128 windows: {told}")
    if options.json:
        options.json.write_text(json.dumps({**about, **needed, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
