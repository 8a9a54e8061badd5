"""The configuration of one run: one frozen model per part, read strictly.

YAML in, `RunConfig` out. An unknown key, a missing one or a wrong type stops the run before
anything is opened, and the error names the dotted path of the value (``sources.0.vriant``), which
is also how a value is overridden on the command line (``sources.0.variant=r2i1p1f1``).

Below this module nobody receives the whole configuration: parts are handed on as plain arguments.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

SYNTHETIC = "synthetic"
"""The `SourceConfig.path` that means the package's own synthetic month."""


def listed(value: object) -> object:
    """YAML knows lists only; the strict models hold tuples."""
    return tuple(value) if isinstance(value, list) else value


def _paired(value: object) -> object:
    """One number of cells means as many in latitude as in longitude."""
    is_number = isinstance(value, int) and not isinstance(value, bool)
    return (value, value) if is_number else listed(value)


Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
MonthName: TypeAlias = Annotated[str, StringConstraints(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")]
Interval: TypeAlias = Annotated[tuple[float, float], BeforeValidator(listed)]
Positive: TypeAlias = Annotated[int, Field(ge=1)]


class Part(BaseModel):
    """A frozen part of a configuration: an unknown key or another type is an error."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False, validate_default=True
    )


class SourceConfig(Part):
    """One (gcm, scenario, variant): who it is, and where its monthly rain is.

    `path` is a NetCDF file, a glob of several, a Zarr store, any fsspec URL of these, or
    ``synthetic``. `storage_options` go to fsspec; they may hold secrets and are never stored.
    """

    gcm: Name
    scenario: Name
    variant: Name
    path: Annotated[str, StringConstraints(min_length=1)]
    variable: Annotated[str, StringConstraints(min_length=1)] = "pr"
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False)


class RegionConfig(Part):
    """Fine cells with centres in [low, high) degrees; longitude may cross 0°E ([350, 10]).

    A region whose `lat` ends at 90 holds the pole's own row, too.
    """

    lat: Interval
    lon: Interval

    @field_validator("lat")
    @classmethod
    def _check_lat(cls, value: tuple[float, float]) -> tuple[float, float]:
        low, high = value
        if not -90 <= low < high <= 90:
            raise ValueError("must be [south, north] in degrees, south below north")
        return value

    @field_validator("lon")
    @classmethod
    def _check_lon(cls, value: tuple[float, float]) -> tuple[float, float]:
        west, east = value
        if not (-360 <= west <= 360 and -360 <= east <= 360 and abs(east - west) <= 360):
            raise ValueError("must be [west, east] in degrees within -360..360")
        if west == east:
            raise ValueError("is empty: for all longitudes write [0, 360]")
        return value


class SamplerConfig(Part):
    """How many denoising steps, and which guidance holds the sample to its month."""

    steps: Positive = 8
    guidance: Literal["exact", "detached", "fast"] = "fast"


class ObservationConfig(Part):
    """The error of a monthly mean y: std = relative · y + floor, in mm/day."""

    relative: Annotated[float, Field(ge=0)] = 0.05
    floor: Annotated[float, Field(gt=0)] = 0.02


class TilingConfig(Part):
    """Core and halo of a tile; the result does not depend on them.

    `halo_strides` null: what was measured on the prior. `shard_cells` is (lat, lon) or one number
    for both; null: the region's full width.
    """

    shards_per_tile: Positive = 12
    halo_strides: Annotated[int, Field(ge=0)] | None = None
    shard_cells: Annotated[tuple[Positive, Positive] | None, BeforeValidator(_paired)] = None


class EngineConfig(Part):
    """Who does the work; `threads` belong to one worker.

    `tile_timeout` is in seconds: a worker that takes longer for a tile is stopped, and the tile is
    tried by another. ``auto``: much longer than planned; null: never.
    """

    kind: Literal["ray", "serial"] = "ray"
    workers: Positive | Literal["auto"] = "auto"
    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Positive = 1
    tile_timeout: Annotated[float, Field(gt=0)] | Literal["auto"] | None = "auto"


class OutputConfig(Part):
    """Where the ensemble goes, and to how many of float32's 23 mantissa bits it is rounded."""

    path: Annotated[str, StringConstraints(min_length=1)]
    mantissa_bits: Annotated[int, Field(ge=1, le=23)] = 9


class RunConfig(Part):
    """One run: which prior, which months of which models, where, how, and to which store."""

    prior: Annotated[str, StringConstraints(min_length=1)] = "demo"
    sources: Annotated[tuple[SourceConfig, ...], BeforeValidator(listed), Field(min_length=1)]
    period: Annotated[tuple[MonthName, MonthName] | None, BeforeValidator(listed)] = None
    region: RegionConfig | None = None
    realizations: Positive = 1
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    sampler: SamplerConfig = SamplerConfig()
    observation: ObservationConfig = ObservationConfig()
    tiling: TilingConfig = TilingConfig()
    engine: EngineConfig = EngineConfig()
    output: OutputConfig

    @field_validator("period")
    @classmethod
    def _check_period(cls, value: tuple[str, str] | None) -> tuple[str, str] | None:
        if value is not None and value[0] > value[1]:
            raise ValueError("ends before it begins: write [first month, last month]")
        return value

    @model_validator(mode="after")
    def _check_sources(self) -> RunConfig:
        seen: dict[tuple[str, str, str], int] = {}
        for number, source in enumerate(self.sources):
            key = (source.gcm, source.scenario, source.variant)
            if (first := seen.setdefault(key, number)) != number:
                raise ValueError(
                    f"sources {first} and {number} are both {'/'.join(key)}: each source needs "
                    "its own group (several files of one source: give a glob as path)"
                )
        return self
