"""What a training would do, before anything is fitted: samples, operations, memory, disk.

    passes = steps · batch · cells of a window / cells of all training days

tells how often each cell is learned from: windows overlap, so their number alone says little.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from longwang_ray.engine.progress import duration
from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.data import TrainingData, open_training_data
from longwang_ray.training.demand import (
    Demand,
    demands,
    expected_workers,
    require_memory,
    said_bytes,
)
from longwang_ray.training.fit_prior import require_even_shares
from longwang_ray.training.settings import TrainConfig

HALF = 2
SUSTAINED = 100e12
"""Operations a second of one GPU at which the time of a training is told: an assumption."""


@dataclass(frozen=True)
class NetworkPlan:
    """One network of a training.

    Attributes:
        name: Which stage fits it.
        steps: Optimiser steps in all.
        done: Of these, what the checkpoint has.
        batch: Windows a step, of all workers together.
        demand: What it takes.
        windows: Different windows that can be drawn.
        passes: How often each cell of the training days is seen, on average.
    """

    name: str
    steps: int
    done: int
    batch: int
    demand: Demand
    windows: int
    passes: float

    def pairs(self) -> list[tuple[str, str]]:
        """It as names and what belongs to them."""
        demand = self.demand
        total = demand.flops * self.steps
        return [
            (
                self.name,
                f"{demand.parameters:,} parameters, {self.done:,} of {self.steps:,} steps done",
            ),
            (
                "  a step",
                f"{self.batch} windows, {demand.at_once} at once on each worker, "
                f"{_said_flops(demand.flops)}",
            ),
            (
                "  all steps",
                f"{_said_flops(total)}, {duration(total / SUSTAINED)} on a GPU that "
                f"sustains {SUSTAINED / 1e12:.0f} TFLOP/s",
            ),
            (
                "  samples",
                f"{self.windows:,} different windows; each cell is seen {_short(self.passes)} "
                "times",
            ),
            (
                "  memory",
                f"about {said_bytes(demand.memory)} a worker, of it {said_bytes(demand.peak)} for "
                "activations and gradients",
            ),
        ]


@dataclass(frozen=True)
class TrainingPlan:
    """What a training would do.

    Attributes:
        config: What is asked.
        networks: In the order in which they are fitted.
        workers: How many there are; as far as is known, where the config leaves it open.
        days: Days to learn from, and days held out.
        cells: Rows and columns of a day.
        disk: Bytes of days, and of their latents, on each machine's disk.
    """

    config: TrainConfig
    networks: tuple[NetworkPlan, ...]
    workers: int
    days: tuple[int, int]
    cells: tuple[int, int]
    disk: int

    @property
    def parameters(self) -> int:
        """Of all networks."""
        return sum(network.demand.parameters for network in self.networks)

    @property
    def memory(self) -> int:
        """Bytes a worker needs in the largest stage, estimated."""
        return max(network.demand.memory for network in self.networks)

    def pairs(self) -> list[tuple[str, str]]:
        """The plan as names and what belongs to them, to be printed."""
        config, engine = self.config, self.config.engine
        used, held = self.days
        rows, columns = self.cells
        open_ = engine.kind == "ray" and engine.workers == "auto"
        counted = ", or as many as the cluster has GPUs" if open_ else ""
        return [
            ("prior", f"{config.name}, intended use: {config.intended_use}"),
            ("days", f"{used:,} to learn from, {held:,} held out, {rows} × {columns} cells"),
            ("disk", f"{said_bytes(self.disk)} of days in {config.days_folder}, on each machine"),
            ("workers", f"{self.workers} ({engine.kind}, device {engine.device}){counted}"),
            *(pair for network in self.networks for pair in network.pairs()),
            ("together", f"{self.parameters:,} parameters"),
            ("memory", f"about {said_bytes(self.memory)} a worker"),
            ("checkpoints", config.output),
            ("bundle", f"{config.bundle} ({said_bytes(HALF * self.parameters)} in float16)"),
        ]

    def lines(self) -> list[str]:
        """The pairs, aligned."""
        pairs = self.pairs()
        width = max(len(name) for name, _ in pairs)
        return [f"{name:<{width}}  {text}" for name, text in pairs]


def plan_training(config: TrainConfig) -> TrainingPlan:
    """Describe a training and open its data; computes nothing, writes nothing, reads no day.

    Raises:
        TrainingError: if a batch cannot be shared evenly, the data cannot be opened or have no
            window of the sizes asked for, this machine is to compute and has too little memory,
            or a checkpoint is there that cannot be read.
    """
    workers = expected_workers(config.engine)
    require_even_shares(config, workers)
    data = open_training_data(config.data, config.days_folder, config.autoencoder.compression[1])
    for window in (config.autoencoder.window, config.lattice.window):
        data.train.count(window), data.held_out.count(window)  # they refuse one that fits nowhere
    files = Checkpoints(config.output)
    networks = tuple(
        _network(config, name, demand, data, files)
        for name, demand in demands(config, workers).items()
    )
    for network in networks:
        require_memory(network.name, network.demand, config.engine)
    train, held = (int(w.parts[0].days.sum()) for w in (data.train, data.held_out))
    cells = data.days.box.n_rows, data.days.box.n_columns
    disk = (train + held) * _day_bytes(config, cells)
    return TrainingPlan(config, networks, workers, (train, held), cells, disk)


def _network(
    config: TrainConfig, name: str, demand: Demand, data: TrainingData, files: Checkpoints
) -> NetworkPlan:
    how = getattr(config, name).optimisation
    window = config.autoencoder.window if name == "autoencoder" else config.lattice.window
    cells = data.train.parts[0].days.sum() * data.days.box.n_rows * data.outside.sum()
    return NetworkPlan(
        name=name,
        steps=how.steps,
        done=min(files.steps_done(name), how.steps),
        batch=how.batch,
        demand=demand,
        windows=data.train.count(window),
        passes=how.steps * how.batch * prod(window) / float(cells),
    )


def _day_bytes(config: TrainConfig, cells: tuple[int, int]) -> int:
    """Bytes of a day as it is kept, with its latents where those are kept too."""
    part = config.autoencoder
    fine = HALF * prod(cells)
    if not part.time_compression == part.kernel[0] == 1 or part.norm != "cell":
        return fine
    return fine + fine * part.latent_channels // prod(part.compression)


def _said_flops(count: float) -> str:
    units = {1e18: "EFLOP", 1e15: "PFLOP", 1e12: "TFLOP", 1e9: "GFLOP"}
    scale = next((s for s in units if count >= s), 1e9)
    return f"{_short(count / scale)} {units[scale]}"


def _short(number: float) -> str:
    """Two digits of a small number, all of a large one."""
    return f"{number:,.0f}" if number >= 10 else f"{number:.2g}"
