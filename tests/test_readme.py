"""The README's commands and code do what it says, on a tiny prior (the first two: see .ci/run)."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from longwang_ray.cli import main
from longwang_ray.config import load_config
from longwang_ray.evaluation.settings import load_evaluate_config
from longwang_ray.training.settings import load_train_config

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    shlex.split(line, comments=True)[1:]
    for line in TEXT.splitlines()
    if line.startswith("    longwang ")
]
CODE = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)


@pytest.fixture
def desk(config, tmp_path, monkeypatch):
    """A folder with what the README speaks of: FILE, and the configurations, but small."""
    months = config(months=1).sources[0].path
    small = config(months=1, realizations=1).model_dump(mode="json")
    small["sources"][0].update(gcm="CMCC-CM2-SR5", path=months)
    small["output"]["path"] = "runs/quickstart.zarr"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "configs").mkdir()
    for name in ("cmip6", "quickstart"):
        (tmp_path / "configs" / f"{name}.yaml").write_text(yaml.safe_dump(small))
    Path(months).rename(tmp_path / "FILE")
    small["sources"][0]["path"] = "FILE"
    (tmp_path / "configs" / "quickstart.yaml").write_text(yaml.safe_dump(small))
    return tmp_path


def test_every_override_is_a_key():
    chosen = [words for words in COMMANDS if words[0] in ("plan", "run")]
    assert len(chosen) >= 3
    for _, path, *words in chosen:
        load_config(ROOT / path, [word for word in words if not word.startswith("--")])


def test_every_key_of_an_evaluation_is_there():
    asked = [words for words in COMMANDS if _evaluates_a_truth(words)]
    assert len(asked) == 2
    for _, path, *overrides in asked:
        load_evaluate_config(ROOT / path, overrides)


def _evaluates_a_truth(words):
    return words[0] == "evaluate" and words[1].endswith(".yaml")


def test_the_commands_one_after_the_other(desk, capsys, bundle):
    done = []
    for words in COMMANDS:
        if any(word.startswith("period") for word in words):
            continue  # twelve months of Europe: see above
        if "synthetic" in words or words[0] == "assess":
            continue  # .ci/run does the first; tests/evaluation assesses a tiny prior
        if _evaluates_a_truth(words):
            continue  # an hour; tests/evaluation/test_perfect_model does it with a tiny prior
        if words[0] == "evaluate":
            _daily_rain()
        if words[0] in ("import-prior", "train-head") or "configs/train_era5.yaml" in words:
            continue  # tests/prior/test_official, tests/training/test_distil, test_era5_archive
        if words[0] == "train":  # hours; tests/training fits a small one
            if not Path("rain.nc").exists():
                _training_rain()
            given = [word.replace("=FILE", "=rain.nc") for word in words[2:]]
            words = ["train", str(ROOT / words[1]), *given, "--dry-run"]
        assert main(words) == 0, capsys.readouterr().err
        done.append(words[0])
    assert set(done) == {"run", "plan", "status", "verify", "plot", "evaluate", "train"}
    assert (desk / "days.png").exists()
    read, called = CODE
    names = {}
    exec(read, names)  # our own README
    assert names["rain"].dims == ("realization", "time", "lat", "lon")
    names["tree"].close()
    exec(called.replace('"demo"', repr(bundle)), names)
    assert names["prior"].name == "tiny"
    assert names["rain"].sizes["realization"] == 4


def test_the_training_on_era5_is_asked_for_with_keys_that_there_are():
    asked = [words for words in COMMANDS if words[0] == "train" and "era5" in words[1]]
    assert asked
    for _, path, *overrides in asked:
        load_train_config(ROOT / path, overrides)


def _training_rain():
    """A part of the box and the days that configs/train_merge.yaml speaks of."""
    days = np.concatenate([np.arange(31), np.arange(427, 458)])
    lat, lon = np.arange(-20, 4, 0.25), np.arange(290, 330, 0.25)
    rain = np.random.default_rng(0).gamma(0.2, 10, (len(days), len(lat), len(lon)))
    time = ("time", days, {"units": "days since 2023-03-01", "calendar": "standard"})
    dataset = xr.Dataset(
        {"pr": (("time", "lat", "lon"), rain.astype("f4"), {"units": "mm/day"})},
        coords={"time": time, "lat": lat, "lon": lon},
    )
    dataset.to_netcdf("rain.nc", engine="netcdf4")


def _daily_rain():
    group = "CMCC-CM2-SR5/historical/r1i1p1f1"
    with xr.open_zarr("out.zarr", group=group) as found:
        truth = found.pr.isel(realization=0).drop_vars("realization").load()
    truth = truth * np.random.default_rng(0).uniform(0.5, 1.5, truth.shape).astype(np.float32)
    truth.attrs = {"units": "kg m-2 s-1"}
    truth.sortby("lon").to_netcdf("daily.nc", engine="netcdf4")


def test_the_picture_is_there_or_will_be():
    (path,) = re.findall(r"!\[.*?\]\((.*?)\)", TEXT)
    assert path == ".images/quickstart.png"
