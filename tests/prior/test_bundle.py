"""A bundle comes back as it was, or one error says which file is wrong and how."""

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file

from longwang_ray.prior.bundle import DESCRIPTION, WEIGHTS, PriorError, open_prior


@pytest.fixture
def folder(prior, tmp_path):
    prior.save(tmp_path / "prior")
    return tmp_path / "prior"


def edit(folder, change):
    description = json.loads((folder / DESCRIPTION).read_text())
    change(description)
    (folder / DESCRIPTION).write_text(json.dumps(description))


def test_round_trip(prior, folder):
    again = open_prior(folder)
    assert again.digest == prior.digest
    assert again.description() == prior.description()
    assert again.lattice == prior.lattice
    for name, tensor in again.state().items():
        half = prior.state()[name].half().float()
        exact = name.endswith("freqs")  # a constant, not learned: not rounded
        assert torch.equal(tensor, prior.state()[name] if exact else half)
    assert not any(p.requires_grad for m in again.modules.values() for p in m.parameters())


def test_opened_networks_compute_the_same(prior, folder):
    """… up to the float16 of the weights: the layout in memory is the computer's business."""
    again, torch_state = open_prior(str(folder)), torch.Generator().manual_seed(3)
    latent = torch.randn(2, 3, *prior.lattice.window, generator=torch_state)
    t, context = torch.tensor([0.3, 0.7]), torch.randn(2, 5, generator=torch_state)
    before, after = prior.denoiser(latent, t, context), again.denoiser(latent, t, context)
    assert torch.allclose(before, after, atol=0.02)
    assert torch.allclose(prior.head(latent), again.head(latent), rtol=0.02, atol=1e-3)
    rain = prior.decode(latent)
    assert rain.shape == (2, *prior.window)
    assert torch.allclose(rain, again.decode(latent), rtol=0.05, atol=0.02)


def test_digest_is_of_what_computes(prior, folder):
    edit(folder, lambda d: d.update(name="better card", metrics={"crps": 1.0}))
    renamed = open_prior(folder)
    assert renamed.name == "better card"
    assert renamed.digest == prior.digest
    assert replace(prior, dry_threshold=0.2).digest != prior.digest
    assert replace(prior, stride=(2, 8, 4)).digest != prior.digest
    weights = load_file(folder / WEIGHTS)
    weights["head.layers.0.bias"] += 1.0
    save_file(weights, folder / WEIGHTS)
    assert open_prior(folder).digest != prior.digest


def test_a_prior_without_a_head(prior, tmp_path):
    replace(prior, head=None).save(tmp_path / "p")
    assert open_prior(tmp_path / "p").head is None


def test_nothing_is_overwritten(prior, folder):
    with pytest.raises(PriorError, match="holds a prior already"):
        prior.save(folder)


@pytest.mark.parametrize("file", [DESCRIPTION, WEIGHTS])
def test_missing_file(folder, file):
    (folder / file).unlink()
    with pytest.raises(PriorError, match=rf"cannot read .*{file}"):
        open_prior(folder)


def test_unknown_name():
    with pytest.raises(PriorError, match=r"no_such_prior.*embedded priors: "):
        open_prior("no_such_prior")


def test_unknown_protocol():
    with pytest.raises(PriorError, match="cannot read"):
        open_prior("nowhere://bucket/prior")


@pytest.mark.parametrize("keep", [0, 4, 1000, -2])
def test_truncated_weights(folder, keep):
    whole = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(whole[:keep])
    with pytest.raises(PriorError, match="not a whole prior"):
        open_prior(folder)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b""])
def test_torn_description(folder, text):
    (folder / DESCRIPTION).write_bytes(text)
    with pytest.raises(PriorError, match="not a whole prior"):
        open_prior(folder)


@pytest.mark.parametrize("found", [0, "1", None])
def test_wrong_format(folder, found):
    edit(folder, lambda d: d.update(format=found))
    with pytest.raises(PriorError, match=f"format is {found!r}"):
        open_prior(folder)


def test_a_description_that_is_no_mapping(folder):
    (folder / DESCRIPTION).write_text("[1]")
    with pytest.raises(PriorError, match="format is None"):
        open_prior(folder)


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("autoencoder"),
        lambda d: d["denoiser"].update(wings=2),
        lambda d: d["schedule"].update(kind="linear"),
        lambda d: d["lattice"].update(stride=[2, 8, 40]),
        lambda d: d["lattice"].update(window=[4, 18, 16]),
        lambda d: d["lattice"].update(window=None),
        lambda d: d["grid"].update(step=0.7),
    ],
)
def test_unusable_description(folder, change):
    edit(folder, change)
    with pytest.raises(PriorError, match=DESCRIPTION):
        open_prior(folder)


def test_weights_that_do_not_fit(folder):
    edit(folder, lambda d: d["denoiser"].update(channels=[8, 16]))
    with pytest.raises(PriorError, match=f"{WEIGHTS}: does not fit"):
        open_prior(folder)


@pytest.mark.parametrize("name", ["head.extra", "tail.weight"])
def test_weights_of_nothing(folder, name):
    weights = load_file(folder / WEIGHTS)
    save_file({**weights, name: torch.ones(1)}, folder / WEIGHTS)
    with pytest.raises(PriorError, match="does not fit"):
        open_prior(folder)
