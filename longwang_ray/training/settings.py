"""What ``longwang train`` is told: data, sizes and optimisation of each network.

Read as strictly as a run's configuration: an unknown key or a wrong type names its dotted path.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from longwang_ray.config import load_model


def _listed(value: object) -> object:
    """YAML knows lists only; the strict models hold tuples."""
    return tuple(_listed(v) for v in value) if isinstance(value, list) else value


Positive: TypeAlias = Annotated[int, Field(ge=1)]
Share: TypeAlias = Annotated[float, Field(ge=0, lt=1)]
Weight: TypeAlias = Annotated[float, Field(ge=0)]
Triple: TypeAlias = Annotated[tuple[Positive, Positive, Positive], BeforeValidator(_listed)]
Sizes: TypeAlias = Annotated[tuple[Positive, ...], BeforeValidator(_listed), Field(min_length=1)]
Levels: TypeAlias = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_listed)]
Triples: TypeAlias = Annotated[tuple[Triple, ...], BeforeValidator(_listed)]
Folder: TypeAlias = Annotated[Path, Field(strict=False)]
Text: TypeAlias = Annotated[str, Field(min_length=1)]


class Strict(BaseModel):
    """A frozen part: an unknown key or another type is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class SyntheticData(Strict):
    """Training days from the synthetic Earth; ``held_out`` of the sequences are kept back."""

    kind: Literal["synthetic"] = "synthetic"
    seed: int = 1
    sequences: Positive = 24
    days: Positive = 16
    held_out: Positive = 4

    @model_validator(mode="after")
    def _check_sequences(self) -> SyntheticData:
        if self.held_out >= self.sequences:
            raise ValueError(
                f"holds out {self.held_out} of {self.sequences} sequences: keep some to train on"
            )
        return self


def _day(value: object) -> object:
    """YAML reads an unquoted day as a date, a quoted one as text: both are meant."""
    return value.isoformat() if isinstance(value, date) else value


Day: TypeAlias = Annotated[
    str, BeforeValidator(_day), Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])$")
]
Period: TypeAlias = Annotated[tuple[Day, Day], BeforeValidator(_listed)]
Periods: TypeAlias = Annotated[tuple[Period, ...], BeforeValidator(_listed)]
Days: TypeAlias = Annotated[tuple[Day, ...], BeforeValidator(_listed)]
Meridians: TypeAlias = Annotated[tuple[float, float], BeforeValidator(_listed)]


class DailyData(Strict):
    """Training days from any daily or hourly precipitation: NetCDF, Zarr, any fsspec URL.

    Periods are [first day, last day], both included. `train` and `held_out` share no day; the
    cells of `held_out_lon`, [west, east) degrees, are kept back at all times. Days of `skip` are
    left out, as are days that the source lacks. `storage_options` go to fsspec; they may hold
    secrets and are never stored.
    """

    kind: Literal["daily"]
    path: Text
    variable: Text = "pr"
    units: str | None = None
    stamp: Literal["start", "middle", "end"] | None = None
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)
    train: Annotated[Periods, Field(min_length=1)]
    held_out: Annotated[Periods, Field(min_length=1)]
    held_out_lon: Meridians | None = None
    skip: Days = ()

    @model_validator(mode="after")
    def _check_periods(self) -> DailyData:
        for name in ("train", "held_out"):
            for first, last in getattr(self, name):
                if first > last:
                    raise ValueError(f"{name}: {first} … {last} ends before it begins")
        for a, b in self.train:
            for c, d in self.held_out:
                if a <= d and c <= b:
                    raise ValueError(
                        f"train {a} … {b} and held_out {c} … {d} share days: what a prior has "
                        "seen cannot say how good it is"
                    )
        return self


Data: TypeAlias = Annotated[SyntheticData | DailyData, Field(discriminator="kind")]


def told_of(data: SyntheticData | DailyData) -> dict[str, Any]:
    """What a card says of the days: neither folders of one machine nor secrets."""
    told = data.model_dump(mode="json")
    if isinstance(data, DailyData):
        told["path"] = data.path.rstrip("/").rsplit("/", 1)[-1]
    return told


class TransformSettings(Strict):
    """Where the logarithm turns linear, mm/day, and its range: null measures it on the data."""

    epsilon: Annotated[float, Field(gt=0)] = 0.1
    range: Annotated[float, Field(gt=0)] | None = None


class LossSettings(Strict):
    """Weights of the autoencoder's loss."""

    spatial: Weight = 10.0
    temporal: Weight = 10.0
    kl: Weight = 1e-6


class OptimisationSettings(Strict):
    """See ``training.loop.Optimisation``."""

    steps: Positive
    batch: Positive
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Annotated[int, Field(ge=0)] = 100
    ema: Share = 0.999
    clip: Annotated[float, Field(gt=0)] = 1.0
    weight_decay: Weight = 1e-4
    accumulate: Positive = 1
    report_every: Positive = 50
    checkpoint_every: Positive = 250
    evaluate_every: Positive = 1000
    bf16: bool = False
    compile: bool = False


class AutoencoderSettings(Strict):
    """Sizes and fit of the autoencoder; ``window`` is what it is fitted on."""

    channels: Positive = 128
    multipliers: Sizes = (1, 2, 4)
    blocks: Positive = 4
    latent_channels: Positive = 16
    time_compression: Positive = 4
    kernel: Triple = (3, 3, 3)
    norm: Literal["group", "cell"] = "group"
    window: Triple
    loss: LossSettings = LossSettings()
    optimisation: OptimisationSettings

    @property
    def compression(self) -> tuple[int, int, int]:
        """Days, rows and columns of fine cells a latent cell."""
        space = 2 ** (len(self.multipliers) - 1)
        return self.time_compression, space, space

    @model_validator(mode="after")
    def _check_window(self) -> AutoencoderSettings:
        _check_multiple("window", self.window, self.compression)
        return self


class DenoiserSettings(Strict):
    """Sizes and fit of the denoiser."""

    channels: Sizes = (512, 512, 512, 512)
    blocks: Sizes = (4, 4, 4)
    strides: Triples = ((1, 2, 2), (2, 2, 2), (2, 2, 2))
    attention: Levels = (0, 1, 2)
    heads: Positive = 4
    embedding: Positive = 32
    norm: Literal["group", "cell"] = "group"
    parametrisation: Literal["epsilon", "edm"] = "edm"
    context_dropout: Share = 0.15
    optimisation: OptimisationSettings

    @model_validator(mode="after")
    def _check_levels(self) -> DenoiserSettings:
        levels = len(self.channels) - 1
        for name in ("blocks", "strides"):
            if (count := len(getattr(self, name))) != levels:
                raise ValueError(
                    f"{name} has {count} entries, channels asks for {levels}: one for each level "
                    "but the bottleneck"
                )
        return self


class ScheduleSettings(Strict):
    """Noise-to-signal ratios that the denoiser learns."""

    s_min: Annotated[float, Field(gt=0)] = 0.02
    s_max: Annotated[float, Field(gt=0)] = 60.0
    rho: Annotated[float, Field(gt=0)] = 5.0


class HeadSettings(Strict):
    """Sizes and fit of the coarse head.

    Guidance moves latents away from those of real rain, and the head must read them there as the
    decoder does: so it is taught with white ``noise`` and with a ``shift`` of whole channels, both
    in the latents' standard deviations. Once it is taught, so many windows
    tell what estimates are worth (``estimates``).
    """

    channels: Positive = 48
    noise: Weight = 0.4
    shift: Weight = 1.0
    estimates: Positive = 256
    optimisation: OptimisationSettings


class EngineSettings(Strict):
    """Who trains: one process, or Ray Train's workers; the result does not depend on how many.

    `workers` auto: one for each GPU of the cluster, one where there is none. A worker that is
    lost is replaced, and all go on from the last checkpoint, at most `failures` times in a row
    without a new checkpoint in between. `loaders` are a worker's threads that draw windows ahead.
    """

    kind: Literal["ray", "serial"] = "ray"
    workers: Positive | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    cpus_per_worker: Positive = 1
    threads: Positive | None = None
    loaders: Annotated[int, Field(ge=0)] = 2
    failures: Annotated[int, Field(ge=0)] = 8


class LatticeSettings(Strict):
    """Window and stride in days and fine cells."""

    window: Triple
    stride: Triple


class TrainConfig(Strict):
    """All of a training run.

    `output` keeps checkpoints, curves and figures, `bundle` becomes the finished prior: folders or
    fsspec URLs, that all machines of a training can reach; `cache` is a folder on each machine
    where days and their latents are kept, by default inside `output`. What decodes below
    `dry_threshold`, mm/day, is dry.
    """

    name: Text
    description: str = ""
    intended_use: Literal["demonstration", "research"]
    output: Text
    bundle: Text
    cache: Folder | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    dry_threshold: Weight = 0.1
    engine: EngineSettings = EngineSettings()
    data: Data
    transform: TransformSettings = TransformSettings()
    lattice: LatticeSettings
    schedule: ScheduleSettings = ScheduleSettings()
    autoencoder: AutoencoderSettings
    denoiser: DenoiserSettings
    head: HeadSettings

    @model_validator(mode="after")
    def _check_windows(self) -> TrainConfig:
        for name in ("window", "stride"):
            value = getattr(self.lattice, name)
            _check_multiple(f"lattice.{name}", value, self.autoencoder.compression)
        longest = max(self.lattice.window[0], self.autoencoder.window[0])
        if isinstance(self.data, SyntheticData) and longest > self.data.days:
            raise ValueError(
                f"a window has {longest} days, a sequence only {self.data.days}: raise data.days"
            )
        return self

    @model_validator(mode="after")
    def _check_cache(self) -> TrainConfig:
        if self.cache is None and "://" in self.output:
            raise ValueError(
                f"output is remote ({self.output}): say where days are kept on each machine "
                "(cache=FOLDER, on a disk with room for them)"
            )
        return self

    @property
    def days_folder(self) -> Path:
        """Where days and their latents are kept on this machine."""
        return Path(self.output) if self.cache is None else self.cache


def load_train_config(path: str | Path, overrides: Iterable[str] = ()) -> TrainConfig:
    """Read a training's configuration; relative paths in it are meant from the current folder.

    Args:
        path: A YAML file.
        overrides: ``dotted.path=value`` each: ``denoiser.optimisation.steps=9000``.

    Raises:
        ConfigError: As `load_config` does for a run.
    """
    return load_model(TrainConfig, path, overrides)


def _check_multiple(name: str, cells: Triple, compression: Triple) -> None:
    if any(c % step for c, step in zip(cells, compression, strict=True)):
        raise ValueError(
            f"{name} is {list(cells)}, must be a multiple of {list(compression)}: the days, rows "
            "and columns of a latent cell"
        )
