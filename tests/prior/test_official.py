"""The published files load at any size and compute the same, or one error says which is wrong."""

import json
import pickle
import zipfile
from collections import OrderedDict

import pytest
import torch

from longwang_ray.cli import main
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.bundle import PriorError, open_prior
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.official import default_stride, load_official
from longwang_ray.prior.schedule import CosineSquared

CLOSE = 1e-4
AUTO = AutoencoderConfig(4, (1, 2, 2), 1, 3, 2)
DENOISER = DenoiserConfig(3, (8, 16), (1,), ((2, 2, 2),), (), 2, 8, 5)
STEPS = ((1, 2, 2), (2, 2, 2))
SIZES = {
    "four levels": (
        AutoencoderConfig(6, (1, 1, 2, 3), 2, 5, 8),
        DenoiserConfig(5, (12, 6, 18, 10), (1, 2, 1), (*STEPS, (1, 1, 2)), (0, 2), 2, 16, 5),
    ),
    "two levels, wide first": (
        AutoencoderConfig(4, (2, 3), 1, 2, 1, (1, 3, 5)),
        DenoiserConfig(2, (8, 12), (2,), ((1, 2, 2),), (0,), 4, 8, 7),
    ),
    "unconditional": (AUTO, DenoiserConfig(3, (40, 24, 8), (1, 2), STEPS, (1,), 8, 32, 0)),
}
STATS = {"epsilon": 0.1, "norm_min": 0.5, "norm_max": 8.5, "norm_range": 8.0}


def relative(found, truth):
    return ((found - truth).norm() / truth.norm()).item()


def stats_of(channels):
    return {"channel_mean": [0.25] * channels, "channel_std": [1.5] * channels}


def plain(state):
    return OrderedDict(state)


def ddp(state):
    return {f"module.{k}": v for k, v in state.items()}


def schedule_of(state, prefix="eps."):
    """As the schedule object around the U-Net saves it."""
    return {"_device_tracker": torch.empty(0), **{prefix + k: v for k, v in state.items()}}


class Files:
    """The three files of a prior with random weights, and the networks they were saved from."""

    def __init__(self, folder, auto=AUTO, denoiser=DENOISER):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            self.autoencoder = Autoencoder(auto).eval().requires_grad_(False)
            self.denoiser = Denoiser(denoiser, CosineSquared()).eval().requires_grad_(False)
        self.paths = [folder / name for name in ("vae.pt", "eps.pt", "stats.json")]
        self.vae, self.eps, self.stats = self.paths
        self.options = {"heads": denoiser.heads, "strides": denoiser.strides}
        self.options["time_compression"] = auto.time_compression
        self.write(plain, schedule_of)
        latent = stats_of(auto.latent_channels)
        self.stats.write_text(json.dumps({"precip_stats": STATS, "latent_stats": latent}))

    def write(self, autoencoder, denoiser):
        torch.save(autoencoder(self.autoencoder.state_dict()), self.vae)
        torch.save(denoiser(self.denoiser.network.state_dict()), self.eps)

    def load(self, **options):
        return load_official(*self.paths, **{**self.options, **options})


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def assert_computes_the_same(prior, files):
    shape = [4 * c for c in prior.compression]
    rain = torch.randn(2, 1, *shape, generator=torch.Generator().manual_seed(5))
    mean, logvar = prior.autoencoder.encode(rain)
    for found, truth in zip((mean, logvar), files.autoencoder.encode(rain), strict=True):
        assert relative(found, truth) < CLOSE
    assert relative(prior.autoencoder.decode(mean), files.autoencoder.decode(mean)) < CLOSE
    size, t = prior.denoiser.config.context, torch.tensor([0.2, 0.9])
    told = torch.linspace(-1, 1, 2 * size).view(2, size) if size else None
    truth = files.denoiser(mean, t, told)
    assert relative(prior.denoiser(mean, t, told), truth) < CLOSE


@pytest.mark.parametrize("name", SIZES)
def test_every_size_is_read_off_the_files(tmp_path, name):
    auto, denoiser = SIZES[name]
    files = Files(tmp_path, auto, denoiser)
    prior = files.load(attention_levels=denoiser.attention)
    assert prior.autoencoder.config == auto
    assert prior.denoiser.config == denoiser
    assert prior.denoiser.schedule == CosineSquared()
    assert prior.head is None
    assert prior.transform.norm_range == 8.0
    assert prior.latent_std == (1.5,) * auto.latent_channels
    assert not any(p.requires_grad for m in prior.modules.values() for p in m.parameters())
    assert_computes_the_same(prior, files)


@pytest.mark.parametrize(
    ("autoencoder", "denoiser"),
    [
        (lambda s: {"vae_state_dict": s, "epoch": 3}, lambda s: schedule_of(s, "eps.module.")),
        (ddp, lambda s: ddp(schedule_of(s))),
        (lambda s: {"model_state_dict": ddp(s)}, lambda s: {"model_state_dict": schedule_of(s)}),
        (lambda s: {f"_orig_mod.{k}": v for k, v in s.items()}, plain),
        (lambda s: {k: v.double() for k, v in s.items()}, schedule_of),
    ],
)
def test_every_way_of_saving(files, autoencoder, denoiser):
    files.write(autoencoder, denoiser)
    assert_computes_the_same(files.load(), files)


def test_files_of_the_old_format(files):
    state = files.autoencoder.state_dict()
    torch.save(state, files.vae, _use_new_zipfile_serialization=False)
    assert_computes_the_same(files.load(), files)


def test_the_file_may_go_once_it_is_read(files):
    prior = files.load()
    for path in files.paths:
        path.write_bytes(b"")
    assert_computes_the_same(prior, files)


def test_a_bundle_of_it_loses_nothing(files, tmp_path):
    prior = files.load(name="ours")
    prior.save(tmp_path / "bundle")
    again = open_prior(tmp_path / "bundle")
    assert again.weights_dtype == torch.float32
    assert again.digest == prior.digest
    assert again.description() == prior.description()
    assert (again.name, again.intended_use) == ("ours", "research")
    assert all(torch.equal(v, prior.state()[k]) for k, v in again.state().items())
    assert_computes_the_same(again, files)


def test_statistics_in_two_files(files, tmp_path):
    rain, latent = tmp_path / "train_stats.json", tmp_path / "latent_stats.json"
    bare = {k: v for k, v in STATS.items() if k != "norm_range"}
    rain.write_text(json.dumps(bare))
    latent.write_text(json.dumps({"n": 7, **stats_of(3)}))
    prior = load_official(files.vae, files.eps, [rain, latent], **files.options)
    assert (prior.transform, prior.latent_mean) == (files.load().transform, (0.25,) * 3)


def test_defaults_are_the_published_ones(tmp_path):
    auto = AutoencoderConfig(2, (1, 2, 4), 1, 3, 4)
    files = Files(tmp_path, auto, DenoiserConfig(3, (8,) * 4, (1,) * 3, attention=(0, 1, 2)))
    prior = load_official(*files.paths)
    assert prior.denoiser.config == files.denoiser.config
    assert prior.autoencoder.config == auto
    assert (prior.window, prior.stride) == ((32, 128, 128), (16, 64, 60))


@pytest.mark.parametrize("window", [(32, 128, 128), (8, 16, 16), (4, 4, 8), (64, 720, 1440)])
def test_default_strides_close_the_circle(window):
    stride = default_stride(window, (4, 4, 4))
    assert all(
        s % 4 == 0 and 4 <= s <= max(w // 2, 4) for s, w in zip(stride, window, strict=True)
    )
    assert 1440 % stride[2] == 0


# --- the golden files ---------------------------------------------------------------------------


def golden_prior(folder, name, **options):
    file = folder / f"diffusion_{name}_ema_final.pt"
    return load_official(folder / "vae_ema_final.pt", file, folder / "stats.json", **options)


@pytest.mark.parametrize("bundled", [False, True], ids=["loaded", "bundled"])
@pytest.mark.parametrize(
    ("name", "truth"), [("cond", "unet.eps_cond"), ("uncond", "unet.eps_uncond_model")]
)
def test_golden(golden_folder, golden, tmp_path, name, truth, bundled):
    prior = golden_prior(golden_folder, name)
    if bundled:
        prior.save(tmp_path / "p")
        prior = open_prior(tmp_path / "p")
    mean, logvar = prior.autoencoder.encode(golden["vae.x"])
    assert relative(mean, golden["vae.mean"]) < CLOSE
    assert relative(logvar, golden["vae.logvar"]) < CLOSE
    assert relative(prior.autoencoder.decode(golden["vae.z"]), golden["vae.decoded"]) < CLOSE
    assert relative(prior.decode(golden["physical.z"]), golden["physical.mm"][:, 0]) < CLOSE
    told = golden["unet.c"] if name == "cond" else None
    epsilon = prior.denoiser.network(golden["unet.x"], golden["unet.t"], told, None)
    assert relative(epsilon, golden[truth]) < CLOSE


# --- the command line ---------------------------------------------------------------------------


def test_import_prior(files, tmp_path, capsys):
    words = ["import-prior", "--autoencoder", files.vae, "--denoiser", files.eps]
    words += ["--statistics", files.stats, "--out", tmp_path / "out", "--heads", 2, "--name", "me"]
    words += ["--strides", "2,2,2", "--time-compression", 2, "--window", "8,64,64"]
    words = [str(word) for word in words]
    assert main(words) == 0
    prior = open_prior(tmp_path / "out")
    assert (prior.name, prior.window, prior.stride) == ("me", (8, 64, 64), (4, 32, 32))
    assert prior.digest[:16] in capsys.readouterr().out
    assert_computes_the_same(prior, files)
    assert main(words) == 1
    assert "holds a prior already" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["1,2", "1,2,x", ""])
def test_cells_that_are_none(text, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["import-prior", "--window", text])
    assert "is not DAYS,LAT,LON" in capsys.readouterr().err


# --- files that cannot be used ------------------------------------------------------------------


class Harm:
    def __reduce__(self):
        return print, ("this must not run",)


def without(*names):
    return lambda state: {k: v for k, v in state.items() if k not in names}


def changed(name, change):
    return lambda state: {**state, name: change(state[name])}


def nan(tensor):
    return torch.full_like(tensor, float("nan"))


BLOCK = "encoder.down.1.block.0.conv2.conv.weight"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without(BLOCK), rf"vae.pt: lacks {BLOCK} \(1 such"),
        (without("encoder.conv_in.conv.weight"), "vae.pt: holds no published autoencoder"),
        (without("decoder.conv_in.conv.weight"), "vae.pt: lacks decoder.conv_in.conv.weight"),
        (lambda s: {k: v for k, v in s.items() if "encoder" in k}, "vae.pt: lacks decoder"),
        (lambda s: {**s, "quant_conv.weight": torch.ones(1)}, "unknown tensors: quant_conv"),
        (changed(BLOCK, lambda v: v[:4]), rf"contradicts its first layers in {BLOCK} of \(4, 8"),
        (changed("encoder.conv_in.conv.weight", lambda v: v[:3]), "no multiple of 3"),
        (changed("encoder.conv_in.conv.weight", lambda v: v[0]), "expected 5 axes"),
        (changed("encoder.conv_in.conv.weight", lambda v: v.repeat(1, 2, 1, 1, 1)), "reads 2 var"),
        (changed(BLOCK, nan), f"NaN or infinity in {BLOCK}"),
        (lambda s: {**s, **ddp(s)}, "twice"),
        (lambda s: {}, "no published autoencoder: .* no tensor"),
        (lambda s: {"generator": s}, "no published autoencoder: .* no tensor"),
        (lambda s: list(s.values()), "holds a list, expected a state_dict"),
        (lambda s: next(iter(s.values())), "holds a Tensor, expected a state_dict"),
        (lambda s: {"vae_state_dict": s, "hook": Harm()}, "never executed"),
    ],
)
def test_an_unusable_autoencoder(files, state, message, capsys):
    files.write(state, schedule_of)
    with pytest.raises(PriorError, match=message):
        files.load()
    assert capsys.readouterr().out == ""


ATTENTION = "decoder_attns.0.norm.weight"


@pytest.mark.parametrize(
    ("state", "message"),
    [
        (without("time_embedding.mlp.2.weight"), "eps.pt: lacks time_embedding.mlp.2.weight"),
        (lambda s: {k: v for k, v in s.items() if "downsamples" not in k}, "lacks downsamples.0"),
        (lambda s: {**s, ATTENTION: torch.ones(8)}, f"unknown tensors: {ATTENTION}"),
        (changed("skip_projs.0.weight", lambda v: v[:, :8]), "in skip_projs.0.weight of"),
        (changed("input_conv.weight", lambda v: v[:, :2]), "2 latent channels, .*vae.pt has 3"),
    ],
)
def test_an_unusable_denoiser(files, state, message):
    files.write(plain, lambda s: schedule_of(state(s)))
    with pytest.raises(PriorError, match=message):
        files.load()


def test_swapped_files(files):
    with pytest.raises(PriorError, match=r"eps.pt: was given as the autoencoder .* swapped"):
        load_official(files.eps, files.vae, files.stats)
    with pytest.raises(PriorError, match=r"vae.pt: was given as the denoiser .* swapped"):
        load_official(files.vae, files.vae, files.stats)


@pytest.mark.parametrize("which", [0, 1, 2])
@pytest.mark.parametrize("keep", [0, 1, 5, 60, 0.5, -1, -30])
def test_truncated_files(files, which, keep):
    path = files.paths[which]
    whole = path.read_bytes()
    path.write_bytes(whole[: int(keep * len(whole)) if keep == 0.5 else keep])
    with pytest.raises(PriorError, match=rf"{path.name}: .*(whole|damaged)"):
        files.load()


def test_a_damaged_file_of_the_right_length(files):
    whole = bytearray(files.vae.read_bytes())
    middle = len(whole) // 2
    whole[middle : middle + 4096] = bytes(4096)
    files.vae.write_bytes(whole)
    with pytest.raises(PriorError, match=r"vae.pt: .*(damaged|whole)"):
        files.load()


@pytest.mark.parametrize("kind", ["text", "zip", "pickle", "folder", "nothing"])
def test_files_of_something_else(files, kind):
    files.vae.unlink()
    if kind == "text":
        files.vae.write_text("<html>404</html>")
    elif kind == "zip":
        with zipfile.ZipFile(files.vae, "w") as archive:
            archive.writestr("a", "b")
    elif kind == "pickle":
        files.vae.write_bytes(pickle.dumps(Harm()))
    elif kind == "folder":
        files.vae.mkdir()
    with pytest.raises(PriorError, match=r"vae.pt: (is not|cannot be read)"):
        files.load()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 3}, r"heads is 3, must divide the channels \[16\]"),
        ({"heads": 0}, "heads is 0"),
        ({"strides": STEPS}, "the file needs 1"),
        ({"strides": ((0, 2, 2),)}, "the file needs 1"),
        ({"strides": ((2, 2),)}, "the file needs 1"),
        (
            {"attention_levels": (0,)},
            r"attention_levels is \(0,\), the file has attention at \(\)",
        ),
        ({"time_compression": 8}, "power of two up to 4 for the file's 3 levels"),
        ({"time_compression": 3}, "power of two"),
        ({"time_compression": 0}, "power of two"),
        ({"window": (32, 130, 128)}, r"window \(32, 130, 128\).* no multiple of"),
        ({"window": (32, 128)}, r"window is \(32, 128\)"),
        ({"stride": (16, 64, 64)}, "must divide the circle"),
        ({"stride": (64, 64, 60)}, "leaves cells"),
        ({"stride": (16, 0, 60)}, "each above 0"),
    ],
)
def test_options_that_do_not_fit(files, options, message):
    with pytest.raises(PriorError, match=message):
        files.load(**options)


def test_latent_cells_that_do_not_fit_the_globe(tmp_path):
    files = Files(tmp_path, AutoencoderConfig(2, (1,) * 6, 1, 3, 1))
    with pytest.raises(PriorError, match="no multiple of"):
        files.load()


@pytest.mark.parametrize(
    ("rain", "latent", "message"),
    [
        ({}, {"channel_std": [1.0]}, r"channel_std is \[1.0\], expected 3"),
        ({}, {"channel_std": [1.0, 0.0, 1.0]}, "channel_std is 0, must be above 0"),
        ({}, {"channel_mean": [1.0, None, 1.0]}, "channel_mean is"),
        ({}, {"channel_mean": [float("nan")] * 3}, "channel_mean is .*finite"),
        ({"epsilon": 0}, {}, "epsilon is 0, must"),
        ({"epsilon": "0.1 mm"}, {}, "epsilon is 0.1 mm, expected"),
        ({"norm_min": None}, {}, "norm_min is None"),
        ({"norm_range": 7.0}, {}, "norm_range is 7, but norm_max − norm_min is 8"),
        ({"norm_max": 0.5, "norm_range": 0.0}, {}, "norm_range is 0, must"),
    ],
)
def test_unusable_statistics(files, rain, latent, message):
    tree = {"precip_stats": {**STATS, **rain}, "latent_stats": {**stats_of(3), **latent}}
    files.stats.write_text(json.dumps(tree))
    with pytest.raises(PriorError, match=rf"stats.json: {message}"):
        files.load()


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"latent_stats": stats_of(3)}, "no epsilon"),
        (STATS, "no channel_mean"),
        ([], "no epsilon"),
        (3, "no epsilon"),
        ({"a": STATS, "b": {**STATS, "epsilon": 1.0}, **stats_of(3)}, "epsilon is there 2 times"),
    ],
)
def test_statistics_missing_or_twice(files, tree, message):
    files.stats.write_text(json.dumps(tree))
    with pytest.raises(PriorError, match=rf"stats.json: {message}"):
        files.load()
