"""The configuration: what is accepted, and that every refusal names its path."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from longwang_ray.config import ConfigError, RunConfig, load_config, parse_config
from longwang_ray.config.yaml_tree import YamlError, override, parse_yaml

CONFIGS = Path(__file__).parents[1] / "configs"

MINIMAL = {
    "sources": [
        {"gcm": "CMCC-CM2-SR5", "scenario": "historical", "variant": "r1i1p1f1", "path": "f"}
    ],
    "output": {"path": "runs/out.zarr"},
}


def refusal(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_config(MINIMAL, overrides, origin="my.yaml")
    return str(caught.value)


@pytest.mark.parametrize("name", ["quickstart.yaml", "cmip6.yaml"])
def test_shipped_configs_load(name):
    config = load_config(CONFIGS / name)
    assert config.realizations == 2
    assert config.sampler.steps == 8
    assert config.sampler.guidance == "fast"


def test_cmip6_spells_out_every_default():
    config = load_config(CONFIGS / "cmip6.yaml")
    plain = parse_config(MINIMAL)
    assert (config.engine, config.tiling, config.observation) == (
        plain.engine,
        plain.tiling,
        plain.observation,
    )


def test_quickstart_region_is_large_enough_and_crosses_greenwich():
    region = load_config(CONFIGS / "quickstart.yaml").region
    assert region is not None
    assert region.lat[1] - region.lat[0] >= 32
    assert (region.lon[1] - region.lon[0]) % 360 >= 32
    assert region.lon[0] > region.lon[1]


def test_overrides_reach_into_lists_and_new_mappings():
    config = parse_config(
        MINIMAL,
        [
            "sources.0.path=gs://b/x=y.zarr",
            "sources.1={gcm: B, scenario: s, variant: v, path: g}",
            "region.lat=[-10, 40]",
            "region.lon=[350, 10]",
            "period=[1960-11, 1960-12]",
            "observation.floor=1e-2",
            "engine.workers=3",
            "tiling.shard_cells=64",
        ],
    )
    assert config.sources[0].path == "gs://b/x=y.zarr"
    assert config.sources[1].gcm == "B"
    assert config.region is not None
    assert config.region.lon == (350, 10)
    assert config.period == ("1960-11", "1960-12")
    assert config.observation.floor == 0.01
    assert config.engine.workers == 3
    assert config.tiling.shard_cells == (64, 64)


def test_overrides_leave_the_callers_mapping_alone():
    parse_config(MINIMAL, ["sources.0.path=other"])
    assert MINIMAL["sources"][0]["path"] == "f"


def test_a_config_is_frozen_and_comparable():
    config = parse_config(MINIMAL)
    assert config == RunConfig.model_validate(config.model_dump())
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ("sources.0.vriant=x", "my.yaml: sources.0.vriant: unknown key; did you mean 'variant'?"),
        ("sampler.guidence=fast", "sampler.guidence: unknown key; did you mean 'guidance'?"),
        ("shard-cells=4", "shard-cells: unknown key; "),
        ("zzz=1", "zzz: unknown key; known here: prior, sources, period"),
        ("realizations=two", "realizations: expected a whole number, found 'two' (str)"),
        ("realizations=2.5", "realizations: expected a whole number, found 2.5 (float)"),
        ("realizations=true", "realizations: expected a whole number, found True (bool)"),
        ("realizations=0", "realizations: expected greater than or equal to 1, found 0"),
        ("sampler.guidance=quick", "sampler.guidance: expected 'exact', 'detached' or 'fast'"),
        (
            "engine.workers=many",
            "engine.workers: expected a whole number or expected 'auto', found 'many'",
        ),
        ("engine=ray", "engine: expected a mapping of keys, found 'ray' (str)"),
        ("output.path=null", "output.path: expected a text, found None"),
        ("output.mantissa_bits=24", "output.mantissa_bits: expected less than or equal to 23"),
        ("observation.floor=0", "observation.floor: expected greater than 0"),
        ("observation.floor=.nan", "observation.floor: "),
        ("period=[1960-13, 1960-12]", "period.0: expected YYYY-MM, found '1960-13'"),
        ("period=[1961-01, 1960-12]", "period: ends before it begins"),
        ("period=1960-11", "period: expected a list, found '1960-11'"),
        ("period=[1960-11]", "period.1: missing"),
        ("region={lat: [10, -10], lon: [0, 5]}", "region.lat: must be [south, north]"),
        ("region={lat: [10, 20], lon: [5, 5]}", "region.lon: is empty"),
        ("region={lat: [10, 20]}", "region.lon: missing; this key is required"),
        ("sources=[]", "sources: expected at least 1, found []"),
        ("sources.0.gcm=a/b", "sources.0.gcm: expected letters, digits, . _ -, found 'a/b'"),
        ("sources.3.gcm=a", "override sources.3.gcm: expected a number from 0 to 1"),
        ("seed.x=1", None),
        ("realizations", "override 'realizations': write it as key.subkey=value"),
        ("period=[1, 2", "override 'period=[1, 2': line 1"),
    ],
)
def test_refusals_name_their_path(assignment, expected):
    message = refusal(assignment)
    if expected is not None:
        assert expected in message


def test_every_wrong_value_is_named_at_once():
    message = refusal("realizations=two", "seed=-1", "sources.0.path=7")
    assert [line.split(": ")[1] for line in message.splitlines()] == [
        "sources.0.path",
        "realizations",
        "seed",
    ]


def test_two_sources_of_one_group_are_refused():
    assert "sources 0 and 1 are both CMCC-CM2-SR5/historical/r1i1p1f1" in refusal(
        "sources.1={gcm: CMCC-CM2-SR5, scenario: historical, variant: r1i1p1f1, path: g}"
    )


def test_storage_options_are_not_shown():
    config = parse_config(MINIMAL, ["sources.0.storage_options={token: s3cret}"])
    assert "s3cret" not in repr(config)


def test_files_that_are_no_configuration(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: cannot read"):
        load_config(tmp_path / "nowhere.yaml")
    broken = tmp_path / "broken.yaml"
    broken.write_text("prior: [demo\nseed: 1\n")
    with pytest.raises(ConfigError, match=r"broken\.yaml: line 2"):
        load_config(broken)
    broken.write_text("- 1\n")
    with pytest.raises(ConfigError, match="expected a mapping of keys"):
        load_config(broken)
    broken.write_text("seed: 1\nseed: 2\n")
    with pytest.raises(ConfigError, match="line 2: the key 'seed' is given twice"):
        load_config(broken)
    broken.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not a UTF-8 text"):
        load_config(broken)


def test_yaml_floats_without_a_point_are_numbers():
    assert parse_yaml("[1e-3, -2E5, 1960-11, 12]") == [1e-3, -2e5, "1960-11", 12]


def test_override_does_not_walk_through_a_leaf():
    with pytest.raises(YamlError, match="seed holds 3, which has no parts"):
        override({"seed": 3}, "seed.x=1")
