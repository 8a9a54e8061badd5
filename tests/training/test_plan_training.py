"""The dry run, and that a configuration is read strictly."""

from pathlib import Path
from types import SimpleNamespace

import fsspec
import numpy as np
import pytest
import torch
import xarray as xr
import yaml

from longwang_ray.config import ConfigError, parse_model
from longwang_ray.training import demand
from longwang_ray.training.demand import (
    Demand,
    demands,
    expected_workers,
    require_memory,
)
from longwang_ray.training.errors import TrainingError
from longwang_ray.training.plan import plan_training
from longwang_ray.training.settings import EngineSettings, TrainConfig, load_train_config

CONFIGS = Path(__file__).parents[2] / "configs"
DEMO, ERA5 = CONFIGS / "train_demo.yaml", CONFIGS / "train_era5.yaml"
GIB = 2**30


def test_the_shipped_training_keeps_its_promises(tmp_path):
    config = load_train_config(DEMO, [f"output={tmp_path / 'none'}"])
    plan = plan_training(config)
    assert plan.parameters <= 4_000_000
    assert 2 * plan.parameters <= 10e6, "bytes on disk in float16"
    assert 0.10 <= config.denoiser.context_dropout <= 0.20
    assert [n.name for n in plan.networks] == ["autoencoder", "denoiser", "head"]
    assert all(n.done == 0 for n in plan.networks)
    assert not (tmp_path / "none").exists(), "a dry run writes nothing"
    text = "\n".join(plan.lines())
    assert "4,000 steps" in text
    assert "intended use: demonstration" in text
    assert plan.days == (320, 64)
    assert 384 * 2 * 720 * 1440 < plan.disk < 1.5 * 384 * 2 * 720 * 1440, "days and latents"


def test_more_windows_at_once_take_more_memory_and_operations(tiny):
    few, many = (
        demands(tiny(name, *(f"denoiser.optimisation.{o}" for o in how)), 1)["denoiser"]
        for name, how in (("few", ["batch=2"]), ("many", ["batch=8", "accumulate=2"]))
    )
    assert (few.at_once, many.at_once) == (2, 4)
    assert many.flops == 4 * few.flops
    assert many.peak == pytest.approx(2 * few.peak, rel=0.05), "activations, not weights"
    added_up = 4 * few.parameters  # gradients of both parts
    assert many.memory == few.memory + (many.peak - few.peak) + added_up


def test_samples_are_counted(tiny):
    plan = plan_training(tiny())
    autoencoder, denoiser, _ = plan.networks
    places = (720 - 32) // 4 + 1, 1440 // 4
    assert autoencoder.windows == 3 * places[0] * places[1], "2 of 4 days"
    assert denoiser.windows == 1 * places[0] * places[1]
    assert autoencoder.passes == pytest.approx(6 * 2 * 2 * 32 * 32 / (4 * 720 * 1440))


def test_a_remote_output_is_asked_how_far_it_is(tiny, tmp_path):
    files = fsspec.filesystem("memory")
    files.pipe("/plan-here/autoencoder.json", b'{"step": 5}')
    try:
        config = tiny("out", "output=memory://plan-here", f"cache={tmp_path / 'days'}")
        plan = plan_training(config)
    finally:
        files.rm("/plan-here", recursive=True)
    assert [n.done for n in plan.networks] == [5, 0, 0]
    assert "5 of 6 steps done" in "\n".join(plan.lines())
    assert ("checkpoints", "memory://plan-here") in plan.pairs()


@pytest.fixture
def daily_file(tmp_path):
    """Two months of dry days on 40 × 48 cells of the prior's grid."""
    time = np.datetime64("2020-01-01") + np.arange(60)
    lat, lon = 30 - 0.25 * np.arange(40), 10 + 0.25 * np.arange(48)
    rain = np.zeros((60, 40, 48), np.float32)
    field = xr.DataArray(
        rain, {"time": time, "lat": lat, "lon": lon}, name="pr", attrs={"units": "mm/day"}
    )
    field.lat.attrs["units"], field.lon.attrs["units"] = "degrees_north", "degrees_east"
    field.to_netcdf(tmp_path / "rain.nc")
    return tmp_path / "rain.nc"


def daily(tiny, file, **changed):
    told = tiny(f"out-{len(changed)}-{file.stem}").model_dump(mode="json")
    periods = {
        "train": [["2020-01-01", "2020-02-09"]],
        "held_out": [["2020-02-10", "2020-02-29"]],
    }
    told["data"] = {"kind": "daily", "path": str(file), **periods, **changed}
    return parse_model(TrainConfig, told, [])


def test_data_are_opened_and_no_day_is_read(tiny, daily_file):
    config = daily(tiny, daily_file)
    plan = plan_training(config)
    assert plan.days == (40, 20)
    assert plan.cells == (40, 48)
    assert plan.networks[0].windows == 39 * 3 * 5
    assert not list(config.days_folder.glob("days-*/*2020*"))
    with pytest.raises(TrainingError, match=r"missing\.nc"):
        plan_training(daily(tiny, daily_file.with_name("missing.nc")))


def test_windows_that_do_not_fit_are_refused(tiny, daily_file):
    short = daily(tiny, daily_file, held_out=[["2020-02-10", "2020-02-12"]])
    with pytest.raises(TrainingError, match="at most 3 in a row"):
        plan_training(short)


def test_a_batch_that_cannot_be_shared_is_refused(tiny):
    config = tiny("out", "engine.kind=ray", "engine.workers=3")
    with pytest.raises(TrainingError, match=r"autoencoder\.optimisation\.batch is 2"):
        plan_training(config)


@pytest.fixture
def gpus(monkeypatch):
    """Pretend that this machine has two GPUs of 80 GiB."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    of_80 = SimpleNamespace(total_memory=80 * GIB)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: of_80)


LARGE = Demand(parameters=10**9, at_once=12, flops=1, peak=120 * GIB, memory=140 * GIB)


def test_too_little_memory_is_refused(gpus):
    message = (
        "12 windows at once take about 140.0 GiB a worker, this machine's GPU has 80.0 GiB; 6"
    )
    with pytest.raises(TrainingError, match=message) as caught:
        require_memory("denoiser", LARGE, EngineSettings())
    assert "make denoiser.optimisation.accumulate 2 times what it is" in str(caught.value)
    whole = Demand(10**9, 1, 1, peak=120 * GIB, memory=140 * GIB)
    with pytest.raises(TrainingError, match="choose a smaller window or network"):
        require_memory("denoiser", whole, EngineSettings())


def test_memory_of_other_machines_is_not_known(gpus, monkeypatch):
    require_memory("denoiser", LARGE, EngineSettings(workers=8))
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    require_memory("denoiser", LARGE, EngineSettings())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    require_memory("denoiser", LARGE, EngineSettings(device="cuda"))
    pages = {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": GIB}
    monkeypatch.setattr(demand.os, "sysconf", pages.__getitem__)
    with pytest.raises(TrainingError, match=r"this machine has 1\.0 GiB"):
        require_memory("denoiser", LARGE, EngineSettings(kind="serial"))


def test_workers_are_one_for_each_gpu(gpus):
    assert expected_workers(EngineSettings()) == 2
    assert expected_workers(EngineSettings(device="cpu")) == 1
    assert expected_workers(EngineSettings(kind="serial")) == 1
    assert expected_workers(EngineSettings(workers=8)) == 8


def test_the_published_sizes_are_planned():
    told = yaml.safe_load(ERA5.read_text())
    told["data"] = {"kind": "synthetic", "sequences": 3, "days": 40, "held_out": 1}
    told["engine"] = {"kind": "ray", "workers": 8, "device": "cuda"}
    plan = plan_training(parse_model(TrainConfig, told, []))
    autoencoder, denoiser, _ = (network.demand for network in plan.networks)
    assert denoiser.parameters == pytest.approx(434e6, rel=0.03)
    assert autoencoder.parameters == pytest.approx(226.7e6, rel=0.001)
    encode, decode, denoise = 6.83e12, 10.27e12, 2.92e12  # a window forward
    batch = told["autoencoder"]["optimisation"]["batch"]
    assert autoencoder.flops == pytest.approx(3 * (encode + decode) * batch, rel=0.01)
    batch = told["denoiser"]["optimisation"]["batch"]
    assert denoiser.flops == pytest.approx((3 * denoise + encode) * batch, rel=0.02)
    assert 20 * GIB < plan.memory < 80 * GIB, "an H100's"


def test_a_plain_dictionary_of_yaml_will_do():
    assert TrainConfig(**yaml.safe_load(DEMO.read_text())).lattice.stride == (8, 48, 48)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("denoser.heads=2", "denoser: unknown key; did you mean 'denoiser'?"),
        ("denoiser.optimisation.stps=9", "denoiser.optimisation.stps: unknown key; did you mean"),
        ("seed=1.5", "seed: expected a whole number, found 1.5 (float)"),
        ("lattice.window=[8, 50, 48]", "lattice.window is [8, 50, 48], must be a multiple"),
        ("denoiser.channels=[32, 64]", "blocks has 2 entries, channels asks for 1"),
        ("data.held_out=30", "holds out 30 of 24 sequences"),
        ("lattice.window.0=32", "a window has 32 days, a sequence only 16"),
        ("intended_use=fun", "intended_use: expected 'demonstration' or 'research'"),
        ("output=gs://bucket/run", "say where days are kept on each machine"),
    ],
)
def test_a_refusal_names_its_path(override, message):
    with pytest.raises(ConfigError) as caught:
        load_train_config(DEMO, [override])
    assert message in str(caught.value)
