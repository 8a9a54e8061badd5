"""What fused attention and channels-last gain over the straightforward form, in one run.

    python -m tests.benchmarks.bench_attention [--bf16] [--threads 1] [--json FILE]

Attention: the layer of a full-size denoiser (512 channels, 4 heads) over all cells of its levels,
as ``prior.layers.SelfAttention`` computes it (``scaled_dot_product_attention``), beside the module
that holds its weights called for its output and the weights of attention, as published. Layout:
the denoiser, decoder and autoencoder at reduced width, with weights contiguous and with channels
innermost. A step of learning is a forward pass and its gradient.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.layers import SelfAttention
from longwang_ray.prior.schedule import CosineSquared
from tests.benchmarks.measure import MIB, Measured, Work, machine, measure

LEVELS = {"8 × 32 × 32": (8, 32, 32), "8 × 16 × 16": (8, 16, 16), "4 × 8 × 8": (4, 8, 8)}
CHANNELS, HEADS = 512, 4
Row = dict[str, float | str]


class Straightforward(SelfAttention):
    """The same layer, its module asked for the weights of attention too."""

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(x).flatten(2).transpose(1, 2)
        mixed, self.weights = self.attn(tokens, tokens, tokens)
        return x + mixed.transpose(1, 2).reshape(x.shape)


def attention(
    fused: bool, cells: tuple[int, int, int], learn: bool, bf16: bool, device: str
) -> Work:
    """One layer on one window."""
    torch.manual_seed(0)
    layer = (SelfAttention if fused else Straightforward)(CHANNELS, HEADS, "group").to(device)
    x = torch.randn(1, CHANNELS, *cells, device=device)
    return prepared(layer, (x,), learn, bf16)


def network(name: str, innermost: bool, learn: bool, bf16: bool, device: str) -> Work:
    """One network at reduced width (full width on a GPU) on one window."""
    torch.manual_seed(0)
    full = device != "cpu"
    cells = (8, 32, 32) if full else (4, 16, 16)
    latent = torch.randn(1, 16, *cells)
    module: nn.Module
    if name == "denoiser":
        width = (512,) * 4 if full else (128,) * 4
        module = Denoiser(DenoiserConfig(channels=width, embedding=64), CosineSquared())
        inputs: tuple[Tensor, ...] = (latent, torch.full((1,), 0.5), torch.zeros(1, 5))
    else:
        autoencoder = Autoencoder(AutoencoderConfig(128 if full else 32))
        module = autoencoder.decoder if name == "decoder" else autoencoder.encoder
        rain = torch.randn(1, 1, *(4 * n for n in cells))
        inputs = (latent,) if name == "decoder" else (rain,)
    module = module.to(device)
    if innermost:
        lay_out(module)
    return prepared(module, tuple(x.to(device) for x in inputs), learn, bf16)


def lay_out(module: nn.Module) -> None:
    """Channels innermost in all weights of convolutions: what a pass returns follows them."""
    layouts = {4: torch.channels_last, 5: torch.channels_last_3d}
    for weight in module.parameters():
        if weight.ndim in layouts:
            weight.data = weight.data.contiguous(memory_format=layouts[weight.ndim])


def prepared(module: nn.Module, inputs: tuple[Tensor, ...], learn: bool, bf16: bool) -> Work:
    """A pass, with its gradient or without."""

    def work() -> Tensor:
        with (
            torch.set_grad_enabled(learn),
            torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=bf16),
        ):
            out = module(*inputs)
        if learn:
            module.zero_grad()
            out.float().square().mean().backward()
        return out.detach()

    return work


def difference(a: Work, b: Work) -> float:
    """Norm of the difference over the norm."""
    one, two = (work().float() for work in (a, b))
    return float((one - two).norm() / two.norm())


def compare(what: str, learn: bool, ours: Measured, plain: Measured, apart: float) -> Row:
    """One row of the table, printed."""
    row: Row = {
        "what": what, "pass": "learn" if learn else "forward",
        "seconds": ours.seconds, "plain_seconds": plain.seconds,
        "peak": ours.peak, "plain_peak": plain.peak, "difference": apart,
    }  # fmt: skip
    print(
        f"{what:32} {row['pass']:8} {ours.seconds:9.3f} {plain.seconds:9.3f} "
        f"{plain.seconds / ours.seconds:6.2f}× {ours.peak / MIB:9,.0f} {plain.peak / MIB:9,.0f} "
        f"{plain.peak / max(ours.peak, 1):6.1f}× " + ("" if learn else f"{apart:9.1e}"),
        flush=True,
    )
    return row


def tables(device: str, threads: int, repeats: int, bf16: bool) -> list[Row]:
    """Both comparisons."""
    head = "s", "plain s", "gain", "MiB", "plain MiB", "gain", "differ"
    columns = "{:>9} {:>9} {:>7} {:>9} {:>9} {:>7} {:>9}".format(*head)
    rows = []
    print(f"{'fused attention':32} {'pass':8} {columns}")
    for name, cells in LEVELS.items():
        for learn in (False, True):
            forms = [partial(attention, fused, cells, learn, bf16) for fused in (True, False)]
            once = 0 if device == "cpu" and cells == (8, 32, 32) else repeats  # it takes long
            rows.append(_row(f"attention, {name}", forms, learn, device, threads, once))
    print(f"{'channels innermost':32} {'pass':8} {columns}")
    for name in ("denoiser", "decoder", "encoder"):
        for learn in (False, True):
            forms = [partial(network, name, last, learn, bf16) for last in (True, False)]
            rows.append(_row(name, forms, learn, device, threads, repeats))
    return rows


def _row(
    what: str, forms: list[partial[Work]], learn: bool, device: str, threads: int, repeats: int
) -> Row:
    apart = 0.0 if learn else difference(*(form(device) for form in forms))
    ours, plain = (measure(form, device, threads, repeats) for form in forms)
    return compare(what, learn, ours, plain, apart)


def main() -> None:
    """Print the tables, write the JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--bf16", action="store_true", help="autocast, as GPUs train")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    about = {
        "machine": machine(options.device, options.threads),
        "command": " ".join(["python", *sys.argv]),
        "arithmetic": "bf16 autocast" if options.bf16 else "float32",
    }
    print("\n".join(f"{name}: {value}" for name, value in about.items()))
    rows = tables(options.device, options.threads, options.repeats, options.bf16)
    if options.json:
        options.json.write_text(json.dumps({**about, "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
