"""The configuration of one run: frozen parts, read strictly, errors by dotted path."""

from longwang_ray.config.loading import ConfigError, load_config, parse_config
from longwang_ray.config.parts import (
    SYNTHETIC,
    EngineConfig,
    ObservationConfig,
    OutputConfig,
    RegionConfig,
    RunConfig,
    SamplerConfig,
    SourceConfig,
    TilingConfig,
)

__all__ = [
    "SYNTHETIC",
    "ConfigError",
    "EngineConfig",
    "ObservationConfig",
    "OutputConfig",
    "RegionConfig",
    "RunConfig",
    "SamplerConfig",
    "SourceConfig",
    "TilingConfig",
    "load_config",
    "parse_config",
]
