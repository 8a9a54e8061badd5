"""The command line: exit codes, and one readable message for each thing that can be wrong."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import yaml

from longwang_ray.cli import DONE, FAILED, INCOMPLETE, Terminated, main

ROOT = Path(__file__).parents[1]
COMMANDS = [
    *("plan", "run", "status", "verify", "plot", "evaluate"),
    *("train", "assess", "train-head", "import-prior"),
]
GROUP = "TEST/historical/r1i1p1f1"


@pytest.fixture
def yaml_file(config, tmp_path, monkeypatch):
    """A run's configuration as a file in the current folder."""
    monkeypatch.chdir(tmp_path)
    tree = config(months=1, realizations=1).model_dump(mode="json")
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(tree))
    return str(path)


@pytest.fixture
def told(capsys):
    """Run a command; return its exit code and what it told on both streams."""

    def run(*arguments):
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return code, captured.out, captured.err

    return run


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_help(command, capsys):
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith(" ".join(["usage: longwang", *command]))


def test_the_version_and_wrong_usage(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0
    assert capsys.readouterr().out.startswith("longwang_ray ")
    for wrong in ([], ["dance"], ["run"], ["plot", "x.zarr", "--month", "2000"]):
        with pytest.raises(SystemExit) as end:
            main(wrong)
        assert end.value.code == 2
        assert "usage: longwang" in capsys.readouterr().err


def test_from_plan_to_plot(yaml_file, told, tmp_path):
    code, out, _ = told("plan", yaml_file)
    assert code == DONE
    assert "1 realization of 8 × 16 cells at 2.5°, 31 days from 2000-01-01 to 2000-01-31" in out
    for row in ("tiles", "windows", "network evaluations", "disk", "memory", "time on this"):
        assert f"\n{row}" in out
    assert not (tmp_path / "out.zarr").exists()

    code, out, _ = told("run", yaml_file, "output.path=out.zarr")  # relative: the current folder
    assert code == DONE
    assert "before closure" in out
    assert "intended use: demonstration" in out
    assert "store: out.zarr (1 tiles sampled" in out
    assert out.splitlines()[-1] == "picture: out.png"
    assert (tmp_path / "out.png").read_bytes().startswith(b"\x89PNG")

    code, out, _ = told("run", yaml_file)
    assert code == DONE
    assert "nothing was left to do: all 1 tiles were there before" in out

    code, out, _ = told("status", "out.zarr")
    assert code == DONE
    assert f"{GROUP}: 1 of 1 shards (100%)" in out
    assert "2000-01-01 to 2000-01-31" in out
    assert "demonstration" in out

    code, out, _ = told("verify", "out.zarr")
    assert code == DONE
    assert out.splitlines()[-1] == "out.zarr: verified"

    code, out, _ = told("plot", "out.zarr", "--group", GROUP, "--month", "2000-01", "-o", "my.png")
    assert (code, out) == (DONE, "picture: my.png\n")
    assert (tmp_path / "my.png").exists()
    code, _, err = told("plot", "out.zarr", "--month", "1999-01")
    assert code == FAILED
    assert "1999-01 is not among the months" in err
    code, _, err = told("plot", "out.zarr", "--group", "no/such/group")
    assert code == FAILED
    assert GROUP in err  # what there is

    code, _, err = told("run", yaml_file, "seed=7", "sampler.steps=2", "region=null")
    assert code == FAILED
    for difference in ("noise.seed: the store has 0, now 7", "sampler.steps", "layout"):
        assert difference in err


def test_a_store_with_a_shard_lost_or_changed(yaml_file, told, tmp_path):
    assert told("run", yaml_file)[0] == DONE
    shard = tmp_path / "out.zarr" / GROUP / "pr/c/0/0/0/0"
    data = shard.read_bytes()
    shard.write_bytes(data[:-9])
    code, out, _ = told("verify", "out.zarr")
    assert code == FAILED
    assert "corrupt" in out
    assert out.splitlines()[-1] == "out.zarr: problems: 1"
    shard.unlink()
    code, out, _ = told("verify", "out.zarr")
    assert code == FAILED
    assert f"problem: {GROUP}/pr/c/0/0/0/0: missing" in out
    assert "0 of 1 shards (0%)" in told("status", "out.zarr")[1]
    assert told("run", yaml_file)[0] == DONE
    assert shard.read_bytes() == data


def test_a_store_before_it_is_sealed(config, told, monkeypatch):
    """What a run that was stopped leaves behind can be looked at."""
    from longwang_ray.run import ensemble

    made = config(realizations=1)

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(ensemble, "seal", stop)
    with pytest.raises(KeyboardInterrupt):
        ensemble.run_ensemble(made)
    code, out, _ = told("status", made.output.path)
    assert code == DONE
    assert "2 of 2 shards" in out
    assert "no period yet" in out
    assert told("verify", made.output.path)[0] == DONE


def test_evaluate_against_daily_rain(yaml_file, told, tmp_path):
    assert told("run", yaml_file)[0] == DONE
    with xr.open_zarr("out.zarr", group=GROUP) as found:
        truth = found.pr.isel(realization=0).drop_vars("realization").load()
    rng = np.random.default_rng(0)
    truth = truth * rng.uniform(0.5, 1.5, truth.shape).astype(np.float32)
    truth.attrs = {"units": "kg m-2 s-1"}
    truth.sortby("lon").to_netcdf("daily.nc", engine="netcdf4")
    code, out, err = told("evaluate", "out.zarr", "daily.nc")
    assert code == DONE, err
    assert "daily.nc" in out


BAD = {
    "unknown key": (["sources.0.vriant=r2"], "sources.0.vriant: unknown key; did you mean"),
    "wrong type": (["realizations=two"], "realizations: expected a whole number"),
    "no such file": (["sources.0.path=nowhere.nc"], "nowhere.nc: no such file"),
    "no such variable": (["sources.0.variable=tas"], "no variable 'tas'; there are: pr"),
    "period outside": (["period=[1999-12,2000-01]"], "1999-12 is outside the record"),
    "region empty": (["region={lat: [10, 10.1], lon: [0, 1]}"], None),
    "region impossible": (["region={lat: [80, 95], lon: [0, 9]}"], "region.lat: must be [south"),
    "no prior": (["prior=nowhere"], "cannot read nowhere/prior.json"),
    "memory and ray": (["output.path=memory://x", "engine.kind=ray"], "engine.kind=serial"),
    "no GPU": (["engine.device=cuda"], "engine.device: cuda was asked for"),
    "shards too small": (["tiling.shards_per_tile=0"], "tiling.shards_per_tile"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_is_made(case, yaml_file, told, tmp_path):
    overrides, message = BAD[case]
    if case == "no GPU":
        torch = pytest.importorskip("torch")
        if torch.cuda.is_available():
            pytest.skip("there is one")
    if case == "region empty":  # 2.5° cells: 10° is a centre, so choose between two
        overrides, message = ["region={lat: [11, 12], lon: [0, 1]}"], "region: "
    code, _, err = told("run", yaml_file, *overrides)
    assert code == FAILED
    assert err.startswith("longwang run: ")
    assert message in err
    assert "fault of ours" not in err
    assert not (tmp_path / "out.zarr").exists()


def test_fast_guidance_needs_a_head(yaml_file, headless, told):
    code, _, err = told("plan", yaml_file, f"prior={headless}")
    assert code == FAILED
    assert "choose detached" in err


def test_a_rotated_grid_and_a_regional_source(yaml_file, told, tmp_path):
    with xr.open_dataset(tmp_path / "noleap-2000-01-1.nc", decode_times=False) as dataset:
        part = dataset.sel(lat=slice(0, 40), lon=slice(0, 40)).load()
    part.to_netcdf("part.nc", engine="netcdf4")
    code, _, err = told("plan", yaml_file, "sources.0.path=part.nc")
    assert code == FAILED
    assert "region.lon [340.0, 20.0]" in err
    assert "lie outside the source" in err
    lon, lat = np.meshgrid(np.arange(5.0), np.arange(4.0) + 40)
    rotated = xr.Dataset(
        {
            "pr": (("time", "rlat", "rlon"), np.ones((1, 4, 5)), {"units": "mm/day"}),
            "lat": (("rlat", "rlon"), lat, {"units": "degrees_north"}),
            "lon": (("rlat", "rlon"), lon, {"units": "degrees_east"}),
        },
        {"time": part.time, "rlat": np.arange(4.0), "rlon": np.arange(5.0)},
    )
    rotated.pr.attrs["coordinates"] = "lat lon"
    rotated.to_netcdf("rotated.nc", engine="netcdf4")
    code, _, err = told("plan", yaml_file, "sources.0.path=rotated.nc")
    assert code == FAILED
    assert "rotated" in err or "curvilinear" in err


def test_an_output_that_cannot_be_written(yaml_file, told, tmp_path):
    (tmp_path / "file").write_text("mine")
    code, _, err = told("run", yaml_file, "output.path=file")
    assert (code, "is a file; choose another path" in err) == (FAILED, True)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("mine")
    code, _, err = told("run", yaml_file, "output.path=mine")
    assert (code, "nothing is overwritten" in err) == (FAILED, True)
    code, _, err = told("run", yaml_file, "output.path=file/out.zarr")
    assert (code, "choose another path" in err) == (FAILED, True)
    assert "file/out.zarr" in err


def test_a_disk_that_is_full_ends_the_run_at_once(yaml_file, told, monkeypatch):
    from longwang_ray.store.shards import ShardStore

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        true = ShardStore.put

        def put(*how):
            patch.setattr(os, "fsync", full)
            return true(*how)

        patch.setattr(ShardStore, "put", put)
        code, _, err = told("run", yaml_file)
    assert code == FAILED
    assert "longwang run: output.path: " in err
    assert "the disk is full; make room" in err
    assert "No space left" in err
    assert "fault of ours" not in err


def test_a_tile_given_up_makes_the_run_incomplete(yaml_file, told, monkeypatch):
    from longwang_ray.run import worker

    with monkeypatch.context() as broken:
        broken.setattr(worker, "sample_months", lambda *_: 1 / 0)
        code, out, err = told("run", yaml_file)
    assert code == INCOMPLETE
    assert "was given up: ZeroDivisionError" in out
    assert out.splitlines()[-1].startswith("not complete: 1 tiles are missing")
    assert "picture" not in out + err
    code, out, _ = told("status", "out.zarr")
    assert code == DONE
    assert ": incomplete, " in out
    assert "0 of 1; 1 given up" in out
    (lost,) = (line for line in out.splitlines() if line.startswith("given up: "))
    assert lost.endswith(": ZeroDivisionError: division by zero")
    assert told("run", yaml_file)[0] == DONE
    out = told("status", "out.zarr")[1]
    assert "given up: " not in out
    assert [": complete, " in out, ": incomplete, " in out] == [True, True], "both runs are told"


def objects(out):
    """Each line of an output, which must be one JSON object."""
    return [json.loads(line) for line in out.splitlines()]


def test_events_for_machines(yaml_file, told):
    code, out, err = told("run", yaml_file, "--json")
    assert code == DONE
    events = objects(out)
    assert [one["event"] for one in events] == ["plan", "started", "progress", "finished"]
    plan, started, progress, finished = events
    assert plan["plan"][GROUP].startswith("1 realization of 8 × 16 cells")
    assert (started["total"], started["already"], started["groups"]) == (1, 0, [GROUP])
    assert (progress["done"], progress["total"], progress["failed"]) == (1, 1, 0)
    assert progress["bytes_written"] > 0
    assert progress["realization_years"] == pytest.approx(31 / 365, rel=1e-5)
    assert (finished["complete"], finished["given_up"]) == (True, {})
    assert finished["groups"] == [{"path": GROUP, "done": 1, "asked": 1, "complete": True}]
    for words in ("memory of a worker", "intended use: demonstration", "picture: "):
        assert words in err
    assert "1/1 tiles" not in err, "progress is for machines now"
    (run,) = objects(told("status", "out.zarr", "--json")[1])[0]["runs"]
    assert run["run"] == started["run"]


@pytest.mark.parametrize(
    ("error", "code", "last"),
    [(KeyboardInterrupt(), 130, "stopped"), (ValueError("no such day"), FAILED, "failed")],
)
def test_the_last_event_says_how_it_ended(yaml_file, told, monkeypatch, error, code, last):
    from longwang_ray.run import ensemble

    def end(*_):
        raise error

    monkeypatch.setattr(ensemble, "seal", end)
    found, out, err = told("run", yaml_file, "--json")
    assert found == code
    event = objects(out)[-1]
    assert event["event"] == last
    assert event.get("error") == (None if last == "stopped" else "ValueError: no such day")
    assert "longwang run: " in err
    (run,) = objects(told("status", "out.zarr", "--json")[1])[0]["runs"]
    assert (run["state"], run["done"]) == (last, 1)


def test_bad_input_is_an_event_too(yaml_file, told):
    code, out, _ = told("run", yaml_file, "realizations=two", "--json")
    assert code == FAILED
    (event,) = objects(out)
    assert event["event"] == "failed"
    assert "realizations: expected a whole number" in event["error"]


def test_a_plan_for_machines(yaml_file, told):
    (plan,) = objects(told("plan", yaml_file, "--json")[1])
    assert plan["tiles"] == "1 on 1 worker"
    assert "memory of a worker" in plan


def test_status_tells_of_runs_from_the_store_alone(yaml_file, told):
    assert told("run", yaml_file)[0] == DONE
    code, out, _ = told("status", "out.zarr")
    assert code == DONE
    lines = [line for line in out.splitlines() if line.startswith("run ")]
    assert len(lines) == 1
    assert ": complete, 20" in lines[0]
    assert "1 of 1" in out
    assert "0.0849 realization-years, " in out

    (found,) = objects(told("status", "out.zarr", "--json")[1])
    assert found.keys() == {"groups", "runs", "given_up"}
    (group,), (run,) = found["groups"], found["runs"]
    assert (group["path"], group["done"], group["asked"]) == (GROUP, 1, 1)
    assert (run["state"], run["done"], run["total"], run["silent"]) == ("complete", 1, 1, False)


def test_status_of_a_run_that_goes_on_and_of_one_that_was_killed(yaml_file, told):
    from longwang_ray.store import Journal, RunRecord

    assert told("run", yaml_file)[0] == DONE
    begun = RunRecord.begin([GROUP], {}, total=64, already=3)
    book = Journal("out.zarr", begun)
    book.write(
        done=12, rate=0.035, seconds_left=1620.0, workers_alive=3, workers_wanted=4, retried=2,
        realization_years=3.14159, bytes_written=2**31,
    )  # fmt: skip
    out = told("status", "out.zarr")[1]
    for words in (
        ": running; last sign of life",
        "12 of 64, 3 of them before it began",
        "3.14 realization-years, 2 GiB",
        "2.1 tiles/min, 27 min 0 s left",
        "3 of 4",
        "retried  2",
    ):
        assert words in out
    old = replace(book.record, updated="2026-01-01T00:00:00Z")
    next(Path("out.zarr").rglob(f"{begun.run}.json")).write_bytes(old.to_json())
    assert "no sign of life since 2026-01-01T00:00:00Z" in told("status", "out.zarr")[1]
    assert objects(told("status", "out.zarr", "--json")[1])[0]["runs"][0]["silent"]


@pytest.mark.parametrize("command", ["status", "verify", "plot"])
def test_a_store_that_is_none(command, told, tmp_path):
    code, _, err = told(command, tmp_path / "nothing.zarr")
    assert code == FAILED
    assert err.startswith(f"longwang {command}: ")
    assert "is not a store of longwang_ray; check the path" in err


def test_a_configuration_that_is_none(told, tmp_path):
    assert "No such file" in told("plan", tmp_path / "none.yaml")[2]
    (tmp_path / "bad.yaml").write_text("prior: [demo\nsources: 3")
    code, _, err = told("plan", tmp_path / "bad.yaml")
    assert (code, "not YAML" in err) == (FAILED, True)


def test_a_fault_of_ours_says_so(yaml_file, told, monkeypatch):
    from longwang_ray import run

    monkeypatch.setattr(run, "plan_ensemble", lambda _: {}["no"])
    code, _, err = told("plan", yaml_file)
    assert code == FAILED
    assert "--verbose shows where" in err
    with pytest.raises(KeyError):
        main(["plan", yaml_file, "--verbose"])


@pytest.mark.parametrize(("stop", "code"), [(KeyboardInterrupt, 130), (Terminated, 143)])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_signal_is_no_fault(yaml_file, told, monkeypatch, stop, code, wrapped):
    """Python wraps what a handler raises in the midst of a C extension, such as Ray's wait."""

    def interrupted(*_):
        if not wrapped:
            raise stop
        raise SystemError("returned a result with an exception set") from stop()

    monkeypatch.setattr("longwang_ray.run.plan_ensemble", interrupted)
    found, _, problem = told("plan", yaml_file)
    assert found == code
    assert "stopped by SIG" in problem


def test_a_reader_that_hangs_up(yaml_file):
    """`longwang plan … | head -1`: no complaint."""
    command = f"{sys.executable} -m longwang_ray.cli plan {yaml_file} | head -n 1"
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, shell=True, capture_output=True, text=True, env=env, check=True)
    assert done.stdout.startswith(GROUP)
    assert done.stderr == ""


def test_a_key_may_stand_behind_an_option(capsys):
    words = ["train", str(ROOT / "configs" / "train_demo.yaml"), "--dry-run"]
    assert main([*words, "name=mine"]) == DONE
    assert "\nprior        mine, " in "\n" + capsys.readouterr().out
    for wrong in (["--drie-run"], ["--only", "head", "mine"]):
        with pytest.raises(SystemExit) as end:
            main([*words, *wrong])
        assert end.value.code == 2
        assert "unrecognized arguments: " in capsys.readouterr().err
