"""What an evaluation will do, known before anything is computed: bad input is refused here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from longwang_ray.data.synthetic import CALENDAR
from longwang_ray.domain.calendar import Record
from longwang_ray.domain.cost import PriorCost, Size, TileCost
from longwang_ray.domain.grid import RectilinearGrid, era5_grid, overlap_lat, overlap_lon
from longwang_ray.domain.plan import Tile, Tiling
from longwang_ray.engine.progress import duration
from longwang_ray.evaluation.daily_truth import (
    archive_months,
    cells_of,
    open_truth,
    require_months,
)
from longwang_ray.evaluation.places import Domain
from longwang_ray.evaluation.samples import Recipe, pieces_of, tile_of
from longwang_ray.evaluation.settings import (
    GUIDED,
    SAMPLED,
    DailyTruth,
    EvaluateConfig,
    SyntheticTruth,
)
from longwang_ray.evaluation.truth import gcm_grid, records_of
from longwang_ray.evaluation.work import device_of, workers_of
from longwang_ray.posterior.cost import decoded_share, estimate_cost
from longwang_ray.posterior.observation import ErrorModel
from longwang_ray.posterior.tile import Sampling
from longwang_ray.prior.bundle import Prior, open_prior
from longwang_ray.run.planning import on_cluster, usable_memory


@dataclass(frozen=True)
class Prepared:
    """Everything known before anything is computed.

    Attributes:
        config: What was asked.
        prior: The prior.
        domain: Where.
        gcm: The grid that the truth is observed on.
        records: The truth's months.
        archive: Records that analogues are chosen from; of each seed, if synthetic.
    """

    config: EvaluateConfig
    prior: Prior
    domain: Domain
    gcm: RectilinearGrid
    records: tuple[Record, ...]
    archive: tuple[Record, ...]

    @property
    def work(self) -> Path:
        """Where samples are kept."""
        return Path(self.config.output).absolute() / "work"

    @property
    def recipe(self) -> Recipe:
        """What fixes the samples."""
        config = self.config
        tiling = Tiling(1, config.tiling.halo_strides, config.tiling.halo_months)
        sampling = {name: sampling_of(config, name) for name in SAMPLED}
        months = config.tiling.months_per_tile
        return Recipe(self.prior.digest, sampling, config.seed, tiling, months)

    def tiles(self) -> Iterator[Tile]:
        """What one method samples of one realization."""
        recipe = self.recipe
        for record in self.records:
            for months in pieces_of(record, recipe.months_per_tile):
                for box in self.domain.tiles:
                    yield tile_of(self.prior.lattice, record, months, box, recipe.tiling)

    @property
    def n_months(self) -> int:
        """Months of the truth."""
        return sum(len(record.months) for record in self.records)

    @property
    def draws(self) -> int:
        """How many realizations are drawn by all methods together."""
        return self.config.realizations * sum(name in SAMPLED for name in self.config.methods)

    @cached_property
    def cost(self) -> TileCost:
        """What sampling costs; its memory is what one worker needs."""
        tiles = list(self.tiles())
        first, record = tiles[0], self.records[0]
        held = record.months[first.core_months.start : first.core_months.stop]
        days = [range(month.start, month.stop) for month in held]
        share = decoded_share(self.prior, first, self.gcm, days)
        sampling = sampling_of(self.config, GUIDED[0])
        prior = estimate_cost(self.prior, sampling, share, self.config.engine.threads)
        windows = self.draws * sum(tile.extent.n_windows for tile in tiles)
        return TileCost.of(windows, 0, max(_memory(tile, prior) for tile in tiles), prior)

    @property
    def workers(self) -> int:
        """Workers that sample at once on this machine."""
        items = max(1, self.draws) * sum(1 for _ in self.tiles())
        return workers_of(self.config.engine, items, self.cost.memory)

    def lines(self) -> list[tuple[str, str]]:
        """What is printed before it begins: one pair a line."""
        config, box = self.config, self.domain.box
        side = config.scored
        scored = self.n_months * self.domain.n_regions
        return [
            ("truth", told_truth(config)),
            ("prior", f"{self.prior.name} ({self.prior.intended_use})"),
            ("observed", f"monthly means on {self.gcm.n_lat} × {self.gcm.n_lon} cells"),
            ("scored", f"{scored} region-months of {side:g}°, {box.rows} × {box.columns} cells"),
            ("methods", ", ".join(config.methods)),
            ("sampled", f"{self.draws * self.n_months} realization-months, {self.cost.windows:,} "
                        "windows, halos included"),
            ("time to sample", f"about {duration(self.cost.seconds / self.workers)} on "
                               f"{self.workers} worker{'s' * (self.workers > 1)}"),
        ]  # fmt: skip


def _memory(tile: Tile, prior: PriorCost) -> int:
    return Size.of(tile.extent, tile.core_shape, (1, 1, 1)).memory(prior)  # no shards here


def sampling_of(config: EvaluateConfig, method: str) -> Sampling:
    """How a method samples: as a run does, without context, or without the month."""
    error = ErrorModel(config.observation.relative, config.observation.floor)
    if method == "prior":
        return Sampling(config.sampler.steps, "none", error)
    return Sampling(
        config.sampler.steps, config.sampler.guidance, error, context=method != "unconditional"
    )


def told_truth(config: EvaluateConfig) -> str:
    """The truth, for people: neither folders of one machine nor secrets."""
    truth = config.truth
    months = ", ".join(truth.months[:6]) + (" …" if len(truth.months) > 6 else "")
    if isinstance(truth, SyntheticTruth):
        return f"synthetic Earth of seed {truth.seed}, {months}"
    return f"{truth.path.rstrip('/').rsplit('/', 1)[-1]} ({truth.variable}), {months}"


def prepare(config: EvaluateConfig) -> Prepared:
    """Open everything, check everything, compute nothing.

    Raises:
        PriorError, SourceError, ValueError, MemoryError: for whatever is wrong with the input.
    """
    device_of(config.engine)
    prior = open_prior(config.prior)
    _check_prior(config, prior)
    step = prior.grid_step
    domain = Domain.of(prior.grid, step, config.region, config.scored, config.tiling.degrees)
    gcm = gcm_grid(config.gcm)
    box = domain.box
    inside = (
        overlap_lat(gcm.lat_bounds, prior.grid.lat_bounds[box.row_indices]).whole.any(),
        overlap_lon(gcm.lon_bounds, prior.grid.lon_bounds[box.column_indices]).whole.any(),
    )
    if not all(inside):
        raise ValueError("gcm: no cell lies wholly inside the region; choose smaller cells")
    if isinstance(config.truth, SyntheticTruth):
        records, archive = _synthetic(config, prior)
    else:
        records, archive = _daily(config, config.truth, domain)
    prepared = Prepared(config, prior, domain, gcm, tuple(records), tuple(archive))
    _check_memory(prepared)
    _check_output(Path(config.output))
    return prepared


def _check_prior(config: EvaluateConfig, prior: Prior) -> None:
    guided = [name for name in config.methods if name in GUIDED]
    if guided and config.sampler.guidance == "fast" and prior.head is None:
        raise ValueError(
            f"sampler.guidance: fast needs a coarse head and prior {prior.name} has none; "
            "choose detached"
        )
    if "unconditional" in config.methods and not prior.denoiser.config.context:
        raise ValueError(
            f"methods: prior {prior.name} is not told any context, so that unconditional would "
            "be conditional again; leave it out"
        )


def _synthetic(config: EvaluateConfig, prior: Prior) -> tuple[list[Record], list[Record]]:
    if prior.grid != era5_grid():
        raise ValueError(
            f"truth.kind: the synthetic Earth has cells of 0.25°, prior {prior.name} has "
            f"{prior.grid_step:g}°; choose daily data on the prior's cells"
        )
    records = records_of(config.truth.months, CALENDAR)
    return records, records if "analogue" in config.methods else []


def _daily(
    config: EvaluateConfig, truth: DailyTruth, domain: Domain
) -> tuple[list[Record], list[Record]]:
    with open_truth(truth) as source:
        cells_of(source, domain.box)
        records = require_months(source, truth.months, truth.shortest, "truth.months")
        if "analogue" not in config.methods:
            return records, []
        names = archive_months(source, config.archive, truth.shortest)
        for month in truth.months:
            if not set(names) - {month}:
                raise ValueError(
                    f"methods: the data have no month beside {month} that an analogue could be "
                    "chosen from; leave analogue out"
                )
        return records, require_months(source, names, truth.shortest, "archive.months")


def _check_output(output: Path) -> None:
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"output: {output} cannot be a folder ({error.strerror})") from error


def _check_memory(prepared: Prepared) -> None:
    if on_cluster() or device_of(prepared.config.engine) == "cuda" or not prepared.draws:
        return
    need, limit = prepared.cost.memory, usable_memory() // prepared.workers
    if need > limit:
        raise MemoryError(
            f"a worker may need {need / 2**30:.1f} GiB and has {limit / 2**30:.1f} GiB; set "
            "tiling.degrees, lower tiling.months_per_tile or engine.workers"
        )
