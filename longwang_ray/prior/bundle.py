"""A prior on disk: one self-describing folder.

    prior.json            architecture, window, lattice, transform, grid, statistics, metrics
    weights.safetensors   ``autoencoder.*``, ``denoiser.*``, ``head.*``, ``estimates.*``

What was learned is stored as float16, or as float32 where a published prior must compute what it
did; it is computed with in float32.

The digest is taken over what computes (the weights and the functional part of ``prior.json``), so
that a better model card leaves published ensembles alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from longwang_ray.domain.grid import RectilinearGrid, era5_grid
from longwang_ray.domain.lattice import Lattice
from longwang_ray.prior.autoencoder import Autoencoder, AutoencoderConfig
from longwang_ray.prior.denoiser import Denoiser, DenoiserConfig
from longwang_ray.prior.estimates import EstimatesConfig, EstimateTables
from longwang_ray.prior.head import CoarseHead, HeadConfig
from longwang_ray.prior.layers import lay_out
from longwang_ray.prior.schedule import CosineSquared, Power, Schedule
from longwang_ray.prior.transform import LogTransform

FORMAT = 1
HALO_STRIDES = 2
DESCRIPTION, WEIGHTS = "prior.json", "weights.safetensors"
EMBEDDED = Path(__file__).parent / "weights"
FUNCTIONAL = (
    "format", "grid", "lattice", "transform", "dry_threshold", "latent",
    "autoencoder", "denoiser", "schedule", "head", "estimates",
)  # fmt: skip
SCHEDULES: dict[str, type[CosineSquared | Power]] = {
    "cosine_squared": CosineSquared,
    "power": Power,
}


class PriorError(ValueError):
    """A bundle that cannot be used; says which file and what is wrong."""


@dataclass(frozen=True)
class Prior:
    """Autoencoder, denoiser, head, and all that is needed to use them.

    Attributes:
        autoencoder: Rain ↔ latent.
        denoiser: Denoiser of standardised latents.
        head: Standardised latent → coarse daily means; ``None`` for imported priors.
        transform: Rain ↔ the networks' unit.
        latent_mean: Mean of each latent channel.
        latent_std: Standard deviation of each latent channel.
        window: Days, rows and columns of a window, in fine cells.
        stride: Days, rows and columns between windows.
        grid_step: Spacing of the fine grid, degrees.
        dry_threshold: Rain below it is drizzle that the decoder made up, mm/day.
        estimates: What its estimates are worth while noise is high; ``None`` if not known.
        card: What it is, where it comes from and how good it is.
        weights_dtype: Type in which the learned weights are stored; opening a bundle takes its.
    """

    autoencoder: Autoencoder
    denoiser: Denoiser
    head: CoarseHead | None
    transform: LogTransform
    latent_mean: tuple[float, ...]
    latent_std: tuple[float, ...]
    window: tuple[int, int, int]
    stride: tuple[int, int, int]
    grid_step: float = 0.25
    dry_threshold: float = 0.1
    estimates: EstimateTables | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
    weights_dtype: torch.dtype = torch.float16

    @property
    def name(self) -> str:
        """Its name."""
        return str(self.card.get("name", "unnamed"))

    @property
    def intended_use(self) -> str:
        """What its output may be used for: ``demonstration`` or ``research``."""
        return str(self.card.get("intended_use", "research"))

    @property
    def halo_strides(self) -> int:
        """Lattice strides of halo that leave 1e-3 of mean rain between a tile and the globe.

        Measured on the prior (its card's ``halo``), else 2: enough for full attention and norms
        over whole windows.
        """
        measured = self.card.get("halo")
        return int(measured["strides"]) if measured else HALO_STRIDES

    @property
    def channels(self) -> int:
        """Latent channels."""
        return self.autoencoder.config.latent_channels

    @property
    def compression(self) -> tuple[int, int, int]:
        """Days, rows and columns of fine cells a latent cell."""
        return self.autoencoder.config.compression

    @cached_property
    def grid(self) -> RectilinearGrid:
        """The fine grid."""
        return era5_grid(self.grid_step)

    @cached_property
    def lattice(self) -> Lattice:
        """All windows of the globe, in latent cells."""
        ratio = zip(self.window, self.stride, self.compression, strict=True)
        window, stride = zip(*((w // c, s // c) for w, s, c in ratio), strict=True)
        rows, columns = self.compression[1:]
        return Lattice(
            window, stride, self.compression, (self.grid.n_lat // rows, self.grid.n_lon // columns)
        )

    @property
    def modules(self) -> dict[str, nn.Module]:
        """The networks by their names in the weights file."""
        parts: dict[str, nn.Module] = {
            "autoencoder": self.autoencoder,
            "denoiser": self.denoiser.network,
        }
        more = {"head": self.head, "estimates": self.estimates}
        return parts | {name: part for name, part in more.items() if part is not None}

    @property
    def parameters(self) -> int:
        """How many numbers were learned."""
        return sum(p.numel() for module in self.modules.values() for p in module.parameters())

    @cached_property
    def digest(self) -> str:
        """sha256 of what computes."""
        weights = save(self._stored())
        functional = {k: v for k, v in self.description().items() if k in FUNCTIONAL}
        text = json.dumps(functional, sort_keys=True)
        return hashlib.sha256(text.encode() + hashlib.sha256(weights).digest()).hexdigest()

    def state(self) -> dict[str, Tensor]:
        """All weights under their names in the file."""
        return {
            f"{part}.{name}": tensor.detach().cpu().contiguous()
            for part, module in self.modules.items()
            for name, tensor in module.state_dict().items()
        }

    def _stored(self) -> dict[str, Tensor]:
        """The weights as they are written: what was learned rounded, constants as they are."""
        learned, dtype = self._learned(), self.weights_dtype
        return {k: v.to(dtype) if k in learned else v for k, v in self.state().items()}

    def _learned(self) -> set[str]:
        return {
            f"{part}.{name}"
            for part, module in self.modules.items()
            for name, _ in module.named_parameters()
        }

    def to(self, device: torch.device | str) -> Prior:
        """Move the networks; returns the prior itself."""
        for name, module in self.modules.items():
            module.to(device)
            if name != "autoencoder":  # where it gains nothing
                lay_out(module, channels_innermost=torch.device(device).type == "cpu")
        return self

    def decode(self, latent: Tensor, clamp: bool = True) -> Tensor:
        """Rain of standardised latents.

        Args:
            latent: ``(batch, channel, T, H, W)``.
            clamp: Whether what decodes to less than nothing is nothing; guidance needs its slope.

        Returns:
            mm/day, ``(batch, days, lat, lon)``.
        """
        place = (1, -1, 1, 1, 1)
        mean, std = latent.new_tensor(self.latent_mean), latent.new_tensor(self.latent_std)
        v = self.autoencoder.decode(latent * std.view(place) + mean.view(place))
        inverse = self.transform.inverse if clamp else self.transform.unclamped
        return inverse(v)[:, 0]

    def description(self) -> dict[str, Any]:
        """The content of ``prior.json``."""
        tables = self.estimates
        return {
            **self.card,
            "format": FORMAT,
            "grid": {"step": self.grid_step},
            "lattice": {"window": list(self.window), "stride": list(self.stride)},
            "transform": asdict(self.transform),
            "dry_threshold": self.dry_threshold,
            "latent": {"mean": list(self.latent_mean), "std": list(self.latent_std)},
            "autoencoder": asdict(self.autoencoder.config),
            "denoiser": asdict(self.denoiser.config),
            "schedule": asdict(self.denoiser.schedule),  # type: ignore[call-overload]
            "head": None if self.head is None else asdict(self.head.config),
            **({} if tables is None else {"estimates": asdict(tables.config)}),
        }

    def save(self, folder: str | Path) -> None:
        """Write the bundle into a new or empty folder, weights as ``weights_dtype``.

        Raises:
            PriorError: if a bundle is already there.
        """
        target = Path(folder)
        target.mkdir(parents=True, exist_ok=True)
        if (target / DESCRIPTION).exists():
            raise PriorError(f"{target}: holds a prior already; choose another folder")
        (target / WEIGHTS).write_bytes(save(self._stored()))
        (target / DESCRIPTION).write_text(json.dumps(self.description(), indent=1) + "\n")


def open_prior(where: str | Path) -> Prior:
    """Open a prior.

    Args:
        where: The name of an embedded prior (``demo``), a folder, or an fsspec URL of one.

    Raises:
        PriorError: if it is not there, or not whole.
    """
    embedded = EMBEDDED / str(where)
    named = "/" not in str(where) and (embedded / DESCRIPTION).exists()
    folder = str(embedded if named else where).rstrip("/")
    text, weights = (_read(f"{folder}/{file}") for file in (DESCRIPTION, WEIGHTS))
    try:
        description = json.loads(text)
        tensors = load(weights)
    except (ValueError, SafetensorError) as error:
        raise PriorError(f"{folder}: is not a whole prior ({error}); copy it again") from error
    found = description.get("format") if isinstance(description, dict) else None
    if found != FORMAT:
        raise PriorError(
            f"{folder}/{DESCRIPTION}: format is {found!r}, this version reads {FORMAT}; "
            "install the version that wrote it"
        )
    try:
        prior = _build(description)
        check_lattice(prior)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise PriorError(
            f"{folder}/{DESCRIPTION}: {error!r}: missing, unknown or not fitting; copy it again "
            "or install the version that wrote it"
        ) from error
    _load_weights(prior, tensors, folder)
    if any(tensors[name].dtype != torch.float16 for name in prior._learned()):
        prior = replace(prior, weights_dtype=torch.float32)
    return prior.to("cpu")


def _read(url: str) -> bytes:
    try:
        with fsspec.open(url, "rb") as handle:
            return bytes(handle.read())
    except (OSError, ValueError, ImportError) as error:
        known = ", ".join(sorted(p.parent.name for p in EMBEDDED.glob(f"*/{DESCRIPTION}")))
        raise PriorError(
            f"prior: cannot read {url} ({error}); give a folder or URL that holds {DESCRIPTION} "
            f"and {WEIGHTS}, or one of the embedded priors: {known or 'none'}"
        ) from error


def _build(d: Mapping[str, Any]) -> Prior:
    schedule_of = dict(d["schedule"])
    schedule: Schedule = SCHEDULES[schedule_of.pop("kind")](**schedule_of)
    auto, denoiser = _tupled(d["autoencoder"]), _tupled(d["denoiser"])
    return Prior(
        autoencoder=Autoencoder(AutoencoderConfig(**auto)),
        denoiser=Denoiser(DenoiserConfig(**denoiser), schedule),
        head=None if d["head"] is None else CoarseHead(HeadConfig(**d["head"])),
        transform=LogTransform(**d["transform"]),
        latent_mean=tuple(d["latent"]["mean"]),
        latent_std=tuple(d["latent"]["std"]),
        window=tuple(d["lattice"]["window"]),
        stride=tuple(d["lattice"]["stride"]),
        grid_step=d["grid"]["step"],
        dry_threshold=d["dry_threshold"],
        estimates=EstimateTables(EstimatesConfig(**d["estimates"])) if "estimates" in d else None,
        card={k: v for k, v in d.items() if k not in FUNCTIONAL},
    )


def check_lattice(prior: Prior) -> None:
    """Refuse windows that cut latent cells, or leave gaps; the lattice itself checks the rest.

    Raises:
        ValueError: if the window, its stride or the grid does not fit.
    """
    grid, space = (prior.grid.n_lat, prior.grid.n_lon), prior.compression[1:]
    if any(n % c for n, c in zip(grid, space, strict=True)):
        raise ValueError(f"the grid's {grid} cells are no multiple of {space}")
    for name, cells in (("window", prior.window), ("stride", prior.stride)):
        if any(n % c for n, c in zip(cells, prior.compression, strict=True)):
            raise ValueError(f"lattice.{name} {cells} is no multiple of {prior.compression}")
    prior.lattice  # noqa: B018 (computed once, and its errors belong here)


def _tupled(value: Any) -> Any:  # noqa: ANN401 (JSON)
    """JSON's lists as the tuples that frozen configurations hold."""
    if isinstance(value, dict):
        return {k: _tupled(v) for k, v in value.items()}
    return tuple(_tupled(v) for v in value) if isinstance(value, list) else value


def _load_weights(prior: Prior, tensors: Mapping[str, Tensor], folder: str) -> None:
    strange = sorted(k for k in tensors if k.split(".")[0] not in prior.modules)
    if strange:
        raise PriorError(
            f"{folder}/{WEIGHTS}: does not fit {DESCRIPTION}: {strange[0]} belongs to no network"
        )
    for part, module in prior.modules.items():
        own = {
            name.removeprefix(f"{part}."): tensor.float()
            for name, tensor in tensors.items()
            if name.startswith(f"{part}.")
        }
        try:
            module.load_state_dict(own)
        except RuntimeError as error:
            reason = str(error).splitlines()[1].strip()
            raise PriorError(
                f"{folder}/{WEIGHTS}: does not fit {DESCRIPTION}: {reason}"
            ) from error
        module.eval().requires_grad_(False)
