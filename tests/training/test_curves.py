"""Tables and TensorBoard: each step once, whatever happened."""

import pytest

from longwang_ray.training.checkpoints import Checkpoints
from longwang_ray.training.curves import Curve


def lines(files):
    return files.read("net.csv").decode().splitlines()


def test_metrics_of_one_step_share_a_row_and_new_columns_fit_in(tmp_path):
    files = Checkpoints(str(tmp_path))
    curve = Curve(files, "net", 0)
    curve.add(10, {"loss": 0.5})
    curve.add(20, {"loss": 0.25})
    curve.add(20, {"held_out_loss": 0.3})
    curve.close()
    assert lines(files) == ["step,loss,held_out_loss", "10,0.5,", "20,0.25,0.3"]


def test_gone_on_from_a_checkpoint_the_rows_behind_it_are_dropped(tmp_path):
    files = Checkpoints(str(tmp_path))
    first = Curve(files, "net", 0)
    for step in (10, 20, 30):
        first.add(step, {"loss": step / 100})
    first.close()
    second = Curve(files, "net", 20)
    second.add(30, {"loss": 0.31})
    second.close()
    assert lines(files) == ["step,loss", "10,0.1", "20,0.2", "30,0.31"]


def test_tensorboard_reads_the_same_numbers(tmp_path):
    board = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    files = Checkpoints(str(tmp_path))
    curve = Curve(files, "net", 0)
    curve.add(10, {"loss": 0.5})
    curve.add(20, {"loss": 0.25})
    curve.close()
    found = board.EventAccumulator(str(tmp_path / "tensorboard" / "net"))
    found.Reload()
    assert [(e.step, e.value) for e in found.Scalars("loss")] == [(10, 0.5), (20, 0.25)]
