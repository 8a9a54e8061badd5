"""One published checkpoint: which network lies in a file, how large it is, and its weights.

Our modules carry the published names, so a checkpoint is read by dropping what saving added:

    {"vae_state_dict" | "model_state_dict": {…}}          a wrapper
    module. | eps. | eps.module.                          DDP, the schedule object around the U-Net
    _device_tracker                                       its buffer

and every size that a tensor's shape tells is taken from there. Nothing in a file is ever executed:
``torch.load(weights_only=True)``.
"""

from __future__ import annotations

import hashlib
import math
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from longwang_ray.prior.autoencoder import AutoencoderConfig
from longwang_ray.prior.bundle import PriorError
from longwang_ray.prior.denoiser import DenoiserConfig, Triple

Kind = Literal["autoencoder", "denoiser"]
FIRST: dict[Kind, str] = {
    "autoencoder": "encoder.conv_in.conv.weight",
    "denoiser": "input_conv.weight",
}
"""The tensor that each network begins with, by which it is known."""
WRAPPERS = ("vae_state_dict", "model_state_dict", "state_dict")
ADDED = ("module", "_orig_mod")
"""Parts that DDP and ``torch.compile`` put into names."""


@dataclass(frozen=True)
class Checkpoint:
    """The weights of one network, under the names of our modules.

    Attributes:
        path: The file they come from.
        tensors: Weights, still on disk where the file allows it.
    """

    path: Path
    tensors: Mapping[str, Tensor]

    @property
    def sha256(self) -> str:
        """Digest of the file."""
        with self.path.open("rb") as handle:
            return hashlib.file_digest(handle, "sha256").hexdigest()

    def shape(self, name: str, rank: int) -> tuple[int, ...]:
        """Shape of a tensor that must be there, and have so many axes."""
        if name not in self.tensors:
            raise PriorError(f"{self.path}: lacks {name}: is it truncated, or of another network?")
        shape = tuple(self.tensors[name].shape)
        if len(shape) != rank or 0 in shape:
            raise PriorError(f"{self.path}: {name} has shape {shape}, expected {rank} axes")
        return shape

    def count(self, prefix: str) -> int:
        """How many modules are numbered ``prefix.0``, ``prefix.1``, …"""
        ours = (n.removeprefix(f"{prefix}.") for n in self.tensors if n.startswith(f"{prefix}."))
        return len({name.split(".")[0] for name in ours})

    def fill(self, network: nn.Module) -> None:
        """Put these weights into a network, in float32, and make it ready to compute.

        Raises:
            PriorError: if a tensor is missing, left over, of another shape or not finite.
        """
        shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
        self._refuse("lacks", [n for n in shapes if n not in self.tensors], shapes)
        self._refuse("has unknown tensors:", [n for n in self.tensors if n not in shapes], shapes)
        misfits = [n for n, shape in shapes.items() if self.tensors[n].shape != shape]
        self._refuse("contradicts its first layers in", misfits, shapes)
        weights = {n: self.tensors[n].to(torch.float32, copy=True) for n in shapes}
        broken = [n for n, weight in weights.items() if not bool(weight.isfinite().all())]
        self._refuse("has NaN or infinity in", broken, shapes)
        network.load_state_dict(weights, assign=True)
        network.eval().requires_grad_(False)

    def _refuse(self, what: str, names: list[str], shapes: Mapping[str, torch.Size]) -> None:
        if not names:
            return
        first = names[0]
        sizes = ""
        if first in self.tensors and first in shapes:
            sizes = f" of {tuple(self.tensors[first].shape)} where {tuple(shapes[first])} fits"
        raise PriorError(
            f"{self.path}: {what} {first}{sizes} ({len(names)} such, of {len(shapes)} tensors)"
        )


def read_checkpoint(path: str | Path, kind: Kind) -> Checkpoint:
    """Read the file of one published network.

    Args:
        path: A local file written by ``torch.save``.
        kind: Which network it must hold.

    Raises:
        PriorError: if it cannot be read, is damaged, would execute code, or holds something else.
    """
    source = Path(path)
    tensors = _own_names(source, _load(source))
    if FIRST[kind] in tensors:
        return Checkpoint(source, tensors)
    for other, first in FIRST.items():
        if first in tensors:
            raise PriorError(
                f"{source}: was given as the {kind} but holds a {other}: are the two swapped?"
            )
    found = ", ".join(list(tensors)[:3]) or "no tensor"
    raise PriorError(f"{source}: holds no published {kind}: no {FIRST[kind]}, but {found}")


def _load(path: Path) -> Mapping[Any, Any]:
    try:
        zipped = zipfile.is_zipfile(path)
        if zipped:
            with zipfile.ZipFile(path) as archive:  # torch itself checks no checksum
                if torn := archive.testzip():
                    raise PriorError(f"{path}: is damaged at {torn}; copy it again")
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except OSError as error:
        raise PriorError(f"{path}: cannot be read ({error.strerror or error})") from error
    except pickle.UnpicklingError as error:
        raise PriorError(
            f"{path}: is not whole, or holds more than weights, which is never executed; "
            "give the file with the state_dict alone, or copy it again"
        ) from error
    except PriorError:
        raise
    except Exception as error:  # a torn file fails in torch, zipfile or pickle, in many ways
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise PriorError(
            f"{path}: is not a whole PyTorch file ({reason}); copy it again"
        ) from error
    for wrapper in WRAPPERS:
        if isinstance(found, Mapping) and isinstance(found.get(wrapper), Mapping):
            found = found[wrapper]
    if not isinstance(found, Mapping):
        raise PriorError(f"{path}: holds a {type(found).__name__}, expected a state_dict")
    return found


def _own_names(path: Path, state: Mapping[Any, Any]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for name, value in state.items():
        parts = [part for part in str(name).split(".") if part not in ADDED]
        own = ".".join(parts[1:] if parts[:1] == ["eps"] else parts)
        if not isinstance(value, Tensor) or parts[-1:] == ["_device_tracker"]:
            continue
        if own in tensors:
            raise PriorError(f"{path}: holds {own} twice, the second time as {name}")
        tensors[own] = value
    return tensors


def autoencoder_sizes(file: Checkpoint, time_compression: int) -> AutoencoderConfig:
    """Sizes of an autoencoder; how far days are compressed leaves no trace in its tensors.

    Raises:
        PriorError: if the tensors contradict each other or the compression.
    """
    channels, variables, *kernel = file.shape(FIRST["autoencoder"], 5)
    if variables != 1 or any(k % 2 == 0 for k in kernel):
        raise PriorError(
            f"{file.path}: reads {variables} variables with a kernel of {kernel}; "
            "a prior of rain reads one, with odd kernels"
        )
    levels = file.count("encoder.down")
    first = (f"encoder.down.{i}.block.0.conv1.conv.weight" for i in range(levels))
    widths = [file.shape(name, 5)[0] for name in first]
    if uneven := [width for width in widths if width % channels]:
        raise PriorError(f"{file.path}: {uneven[0]} channels are no multiple of {channels}")
    halvings = math.log2(time_compression) if time_compression >= 1 else -1
    if not 0 <= halvings <= levels - 1 or halvings % 1:
        raise PriorError(
            f"{file.path}: time_compression is {time_compression}, must be a power of two up to "
            f"{2 ** max(levels - 1, 0)} for the file's {levels} levels"
        )
    return AutoencoderConfig(
        channels=channels,
        multipliers=tuple(width // channels for width in widths),
        blocks=file.count("encoder.down.0.block"),
        latent_channels=file.shape("decoder.conv_in.conv.weight", 5)[1],
        time_compression=time_compression,
        kernel=(kernel[0], kernel[1], kernel[2]),
    )


def denoiser_sizes(
    file: Checkpoint,
    heads: int,
    strides: Sequence[Triple] | None,
    attention_levels: Sequence[int] | None,
) -> DenoiserConfig:
    """Sizes of a denoiser; heads and strides leave no trace in its tensors.

    Raises:
        PriorError: if the tensors contradict each other or what is asked.
    """
    depth = file.count("downsamples")
    downs = [file.shape(f"downsamples.{i}.conv.weight", 5) for i in range(depth)]
    if not downs:
        raise PriorError(f"{file.path}: lacks downsamples.0: is it truncated?")
    channels = (*(down[1] for down in downs), downs[-1][0])
    levels = tuple(i for i in range(depth) if file.count(f"encoder_attns.{i}"))
    if attention_levels is not None and tuple(sorted(attention_levels)) != levels:
        raise PriorError(
            f"{file.path}: attention_levels is {tuple(attention_levels)}, the file has attention "
            f"at {levels}; leave it out to take the file's"
        )
    wanted = tuple(map(tuple, strides or [(1, 2, 2), *[(2, 2, 2)] * (depth - 1)]))
    if len(wanted) != depth or any(len(s) != 3 or min(s) < 1 for s in wanted):
        raise PriorError(
            f"{file.path}: strides is {wanted}, the file needs {depth} of three numbers from 1 on"
        )
    attending = [channels[i] for i in levels] + [channels[-1]]
    if heads < 1 or any(width % heads for width in attending):
        raise PriorError(f"{file.path}: heads is {heads}, must divide the channels {attending}")
    told = "cond_embedding.0.weight"
    return DenoiserConfig(
        latent_channels=file.shape(FIRST["denoiser"], 5)[1],
        channels=channels,
        blocks=tuple(file.count(f"encoder_blocks.{i}") for i in range(depth)),
        strides=tuple((s[0], s[1], s[2]) for s in wanted),
        attention=levels,
        heads=heads,
        embedding=file.shape("time_embedding.mlp.2.weight", 2)[0],
        context=file.shape(told, 2)[1] if told in file.tensors else 0,
    )
