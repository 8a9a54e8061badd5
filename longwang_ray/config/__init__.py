"""The configuration of one run: frozen parts, read strictly, errors by dotted path."""

from longwang_ray.config.loading import (
    ConfigError,
    load_config,
    load_model,
    parse_config,
    parse_model,
)
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
    "load_model",
    "parse_config",
    "parse_model",
]
