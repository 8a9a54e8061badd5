"""What ``longwang evaluate CONFIG`` is told: a truth, how it is observed, what is scored.

Read as strictly as a run's configuration: an unknown key or a wrong type names its dotted path.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from longwang_ray.config import EngineConfig, ObservationConfig, RegionConfig, SamplerConfig
from longwang_ray.config import load_model as _load_model
from longwang_ray.config.parts import MonthName, Part, Positive, listed

Method: TypeAlias = Literal[
    "conditional", "unconditional", "prior", "reconstruction", "trilinear", "analogue"
]
GUIDED = ("conditional", "unconditional")
"""Methods that are held to the month; each is scored before closure, too, as ``…_open``."""

SAMPLED = (*GUIDED, "prior")
"""Methods that draw realizations from the prior."""

Seed: TypeAlias = Annotated[int, Field(ge=0, lt=2**63)]
Text: TypeAlias = Annotated[str, StringConstraints(min_length=1)]
Months: TypeAlias = Annotated[tuple[MonthName, ...], BeforeValidator(listed)]
Seeds: TypeAlias = Annotated[tuple[Seed, ...], BeforeValidator(listed)]


class _Months(Part):
    months: Annotated[Months, Field(min_length=1)]

    @field_validator("months")
    @classmethod
    def _check_months(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if list(value) != sorted(set(value)):
            raise ValueError("must name each month once, in order")
        return value


class SyntheticTruth(_Months):
    """Months of the synthetic Earth of one seed; a prior was trained on seeds from 1000 on."""

    kind: Literal["synthetic"]
    seed: Seed


class DailyTruth(_Months):
    """Months of any daily or hourly precipitation on the prior's cells.

    A month that lacks days is refused; with `shortest` it stands for its longest run of days, if
    that has at least so many: its monthly mean is theirs.

    `path` is a NetCDF file or a Zarr store, local or any fsspec URL; `storage_options` go to
    fsspec, may hold secrets and are never stored.
    """

    kind: Literal["daily"]
    path: Text
    variable: Text = "pr"
    units: str | None = None
    stamp: Literal["start", "middle", "end"] | None = None
    shortest: Positive | None = None
    storage_options: dict[str, Any] = Field(default_factory=dict, repr=False, exclude=True)


Truth: TypeAlias = Annotated[SyntheticTruth | DailyTruth, Field(discriminator="kind")]


class ArchiveSettings(Part):
    """Other months, for the analogues: of other seeds, or of the same dataset.

    Synthetic: the truth's months of each of `seeds`. Daily: `months` of the data, by default as
    many as there are (48 at most); none is an analogue of itself.
    """

    seeds: Seeds = ()
    months: Months = ()


class GcmSettings(Part):
    """The grid that the truth is observed on: rows and columns, or the size of its cells.

    `lat` rows from pole to pole, both included, and `lon` columns from 0°E, as CMCC-CM2 has them;
    or `degrees`, with cells that end at the poles.
    """

    lat: Annotated[int, Field(ge=2)] | None = None
    lon: Annotated[int, Field(ge=2)] | None = None
    degrees: Annotated[float, Field(gt=0, le=90)] | None = None

    @model_validator(mode="after")
    def _check_size(self) -> GcmSettings:
        if (self.lat is None) != (self.lon is None) or (self.lat is None) == (
            self.degrees is None
        ):
            raise ValueError("say either lat and lon (rows and columns) or degrees (of a cell)")
        if self.degrees is not None and abs(180 / self.degrees % 1) > 1e-9:
            raise ValueError(f"degrees is {self.degrees}, must divide 180")
        return self


class CutSettings(Part):
    """Core and halo of what is sampled at once; the result does not depend on them.

    `degrees`: side of a core, null: the whole region; `halo_months` null: as many as cover
    `halo_strides`.
    """

    halo_strides: Annotated[int, Field(ge=0)] = 2
    halo_months: Annotated[int, Field(ge=0)] | None = None
    months_per_tile: Positive = 12
    degrees: Annotated[float, Field(gt=0)] | None = None


class EvaluateConfig(Part):
    """All of an evaluation.

    `region` is cut into squares of `scored` degrees; one of them in one month is a region-month.
    `output` is a folder that all workers share: reports, and in `work` the samples.
    """

    prior: Text = "demo"
    truth: Truth
    archive: ArchiveSettings = ArchiveSettings()
    gcm: GcmSettings
    region: RegionConfig
    scored: Annotated[float, Field(gt=0)] = 16.0
    realizations: Annotated[int, Field(ge=2)] = 8
    methods: Annotated[tuple[Method, ...], BeforeValidator(listed), Field(min_length=1)] = (
        "conditional",
        "unconditional",
        "trilinear",
    )
    sampler: SamplerConfig = SamplerConfig()
    observation: ObservationConfig = ObservationConfig()
    tiling: CutSettings = CutSettings()
    engine: EngineConfig = EngineConfig()
    seed: Seed = 0
    output: Text

    @model_validator(mode="after")
    def _check_methods(self) -> EvaluateConfig:
        if len(set(self.methods)) != len(self.methods):
            raise ValueError(f"methods: {', '.join(self.methods)} names one twice")
        if "analogue" in self.methods and isinstance(self.truth, SyntheticTruth):
            if not self.archive.seeds:
                raise ValueError(
                    "archive.seeds: the method analogue needs other weather to choose from; name "
                    "seeds, or leave analogue out of methods"
                )
            if self.truth.seed in self.archive.seeds:
                raise ValueError(
                    f"archive.seeds: {self.truth.seed} is the truth's own: choose other seeds"
                )
        if "://" in self.output:
            raise ValueError(f"output: {self.output} is no folder; give a path that workers share")
        return self


def load_evaluate_config(path: str | Path, overrides: Iterable[str] = ()) -> EvaluateConfig:
    """Read an evaluation's configuration; relative paths are meant from the current folder.

    Raises:
        ConfigError: As `load_config` does for a run.
    """
    return _load_model(EvaluateConfig, path, overrides)
