"""Read a configuration: YAML, overrides, and errors that say where.

Every refused value is named by its dotted path, with what was found there and what would do. What
a configuration may hold is a pydantic model: a run's, or another that is read as strictly.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError

from longwang_ray.config.parts import RunConfig
from longwang_ray.config.yaml_tree import YamlError, copied, override, parse_yaml

Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """The configuration is not usable; the message names each value by its dotted path."""


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read one run's configuration; relative paths in it are meant from the current folder.

    Raises:
        ConfigError: As `load_model` does.
    """
    return load_model(RunConfig, path, overrides)


def load_model(model: type[Model], path: str | Path, overrides: Iterable[str] = ()) -> Model:
    """Read any configuration.

    Args:
        model: What it may hold.
        path: A YAML file.
        overrides: ``dotted.path=value`` each, the value in YAML: ``realizations=8``.

    Raises:
        ConfigError: The file or an override is not readable, or a value is refused. The message
            names every value refused, by its dotted path.
    """
    try:
        text = Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not a UTF-8 text file"
        raise ConfigError(f"{path}: cannot read this configuration ({reason})") from error
    try:
        data = parse_yaml(text)
    except YamlError as error:
        raise ConfigError(f"{path}: {error}") from error
    return parse_model(model, data, overrides, origin=str(path))


def parse_config(
    data: object, overrides: Iterable[str] = (), *, origin: str = "configuration"
) -> RunConfig:
    """The same from a mapping (what YAML gives), for use from Python; `origin` names it in errors.

    >>> parse_config(
    ...     {
    ...         "sources": [{"gcm": "A", "scenario": "b", "variant": "c", "path": "f.nc"}],
    ...         "output": {"path": "o.zarr"},
    ...     },
    ...     ["seed=7"],
    ... ).seed
    7
    """
    return parse_model(RunConfig, data, overrides, origin=origin)


def parse_model(
    model: type[Model],
    data: object,
    overrides: Iterable[str] = (),
    *,
    origin: str = "configuration",
) -> Model:
    """Any configuration from a mapping; `origin` names it in errors."""
    if not isinstance(data, Mapping):
        raise ConfigError(f"{origin}: expected a mapping of keys, found {_shown(data)}")
    tree = copied(data)
    try:
        for assignment in overrides:
            override(tree, assignment)
    except YamlError as error:
        raise ConfigError(f"override {error}") from error
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        lines = _explain(error, model)
        raise ConfigError("\n".join(f"{origin}: {line}" for line in lines)) from error


def _explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """One line per refused value: its path, what is wrong, what was found."""
    reasons: dict[str, list[str]] = {}
    found: dict[str, str] = {}
    for item in error.errors(include_url=False):
        # pydantic adds the branch of a union to the path; such parts are no keys of ours
        keep_all = item["type"] == "extra_forbidden"
        parts = [str(p) for p in item["loc"] if keep_all or _is_key(p)]
        path = ".".join(parts)
        reasons.setdefault(path, []).append(_reason(item, parts, model))
        if path and item["type"] not in {"extra_forbidden", "missing"}:
            found[path] = f", found {_shown(item['input'])}"
    return [
        (f"{path}: " if path else "") + " or ".join(why) + found.get(path, "")
        for path, why in reasons.items()
    ]


def _is_key(part: int | str) -> bool:
    return isinstance(part, int) or (part.isidentifier() and part not in {"int", "float", "str"})


_PLAIN = {
    "missing": "missing; this key is required",
    "model_type": "expected a mapping of keys",
    "model_attributes_type": "expected a mapping of keys",
    "dict_type": "expected a mapping of keys",
    "tuple_type": "expected a list",
    "string_type": "expected a text",
    "int_type": "expected a whole number",
    "float_type": "expected a number",
}


def _reason(
    item: Any,  # noqa: ANN401 (pydantic's own dict)
    parts: list[str],
    model: type[BaseModel],
) -> str:
    kind = item["type"]
    if kind == "extra_forbidden":
        return _unknown_key(parts, model)
    if kind == "value_error":
        return str(item["ctx"]["error"])
    if kind in {"too_short", "too_long", "string_too_short"}:
        limit = item["ctx"].get("min_length", item["ctx"].get("max_length"))
        return f"expected {'at most' if kind == 'too_long' else 'at least'} {limit}"
    if kind == "string_pattern_mismatch":
        form = "YYYY-MM" if r"\d{4}" in item["ctx"]["pattern"] else "letters, digits, . _ -"
        return f"expected {form}"
    return _PLAIN.get(kind) or re.sub(r"^Input should be ", "expected ", item["msg"])


def _unknown_key(parts: list[str], model: type[BaseModel]) -> str:
    """Tell a slip of the pen from a key of another world."""
    for name in parts[:-1]:
        if name in model.model_fields:
            model = _part_in(model.model_fields[name].annotation) or model
    known = list(model.model_fields)
    near = difflib.get_close_matches(parts[-1], known, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"known here: {', '.join(known)}"
    return f"unknown key; {hint}"


def _part_in(annotation: Any) -> type[BaseModel] | None:  # noqa: ANN401 (any annotation)
    """The model inside a type: `SourceConfig` of ``tuple[SourceConfig, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((part for inner in get_args(annotation) if (part := _part_in(inner))), None)


def _shown(value: object) -> str:
    """A value as an error shows it: short, and with its kind where that may be the reason."""
    text = repr(value)
    text = text if len(text) <= 60 else text[:57] + "..."
    return f"{text} ({type(value).__name__})"
