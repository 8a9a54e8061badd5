"""Files of a training: whole or not at all, on a disk and behind a URL."""

import fsspec
import pytest
import torch

from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.errors import TrainingError

STATE = {"step": 7, "module": {"weight": torch.arange(6.0)}}


@pytest.fixture(params=["disk", "memory"])
def files(request, tmp_path):
    if request.param == "disk":
        yield Checkpoints(f"{tmp_path}/run/")
        return
    yield Checkpoints("memory://checkpoints-test/run")
    fsspec.filesystem("memory").rm("checkpoints-test", recursive=True)


def test_what_is_written_is_read(files):
    assert files.read_state("net") is None
    assert files.steps_done("net") == 0
    files.write_state("net", STATE)
    found = files.read_state("net")
    assert torch.equal(found["module"]["weight"], STATE["module"]["weight"])
    assert files.steps_done("net") == found["step"] == 7
    files.write("figures/one.txt", b"seen")
    assert files.read("figures/one.txt") == b"seen"
    assert files.read("figures/two.txt") is None
    assert files.exists("net.pt")


def test_a_kill_while_writing_leaves_the_last_whole_checkpoint(tmp_path, monkeypatch):
    files = Checkpoints(str(tmp_path))
    files.write_state("net", STATE)

    def torn(state, file):
        file.write_bytes(b"half a")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", torn)
    with pytest.raises(KeyboardInterrupt):
        files.write_state("net", STATE | {"step": 8})
    assert files.read_state("net")["step"] == 7


def test_a_checkpoint_is_read_without_running_what_is_in_it(tmp_path):
    class Evil:
        def __reduce__(self):
            return print, ("never",)

    torch.save({"step": 1, "module": Evil()}, tmp_path / "net.pt")
    with pytest.raises(TrainingError, match=r"net\.pt: is no checkpoint .*remove it"):
        Checkpoints(str(tmp_path)).read_state("net")


def test_a_damaged_step_is_named(tmp_path):
    (tmp_path / "net.json").write_text("[]")
    with pytest.raises(TrainingError, match=r"net\.json: is not what a training leaves"):
        Checkpoints(str(tmp_path)).steps_done("net")


def test_an_unknown_filesystem_is_named():
    with pytest.raises(TrainingError, match="output: nofs://bucket/run: "):
        Checkpoints("nofs://bucket/run")
