"""What a tile costs, before anything is computed.

Activations are those of one batch of windows and do not grow with the tile. What does grow: the
sampler's copies of the latent, and after it one latent and the month that is decoded of it,

    sampling = latents · (copies · channels + coarse means) · 4 B
    fields   = core + copies · (one month and its windows' overhang) + shards on their way, · 4 B
    decoding = latents · channels · 4 B + fields
    memory   = worker + weights + batch · activations + max(sampling, decoding)

for the first is over, and its memory given back, when the second begins. Every term rises with
every size, so sizes taken at their largest bound all tiles.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

from longwang_ray.domain.lattice import Extent

Shape = tuple[int, int, int]

FLOAT = 4  # bytes
RUNTIME_BYTES = 600 * 2**20  # Python with torch, Ray and Zarr, before any data: in training
WORKER_BYTES = 450 * 2**20  # the same in a worker that samples, measured by bench_memory
LATENT_COPIES = 9  # state, estimate, its sum, noise, gradients, temporaries: by bench_memory
COARSE_MEANS = 3 * 4  # 2 × 2 daily means a latent cell: mean, gradient, temporary
FIELD_COPIES = 5  # decoded, its sum, the core, factors, temporaries: by bench_memory
SHARDS_ON_THEIR_WAY = 2 * 3  # two in the writer's queue and one being encoded; raw and encoded
BYTES_PER_VALUE = 0.76  # on disk at 9 mantissa bits, measured on rain with 65 % dry cells
LONGEST_MONTH = 31


@dataclass(frozen=True)
class PriorCost:
    """The sizes of a prior and of the sampler that drives it.

    Attributes:
        channels: Latent channels.
        weights_bytes: All networks in use.
        window_bytes: Activations of one window at its most demanding network.
        batch: Windows computed at once.
        evaluations: Denoiser passes that one window takes for one sample.
        decodes: Decoder passes for one sample over windows sampled: the halo is not decoded.
        evaluation_seconds: Time of one window's denoiser pass, guidance included, on one worker.
        decode_seconds: Time of one window's decoder pass on one worker.
        read_copies: Copies of the extent's rain that guidance through the decoder holds.
    """

    channels: int
    weights_bytes: int
    window_bytes: int
    batch: int = 1
    evaluations: int = 1
    decodes: float = 1.0
    evaluation_seconds: float = 0.0
    decode_seconds: float = 0.0
    read_copies: int = 0


@dataclass(frozen=True)
class Size:
    """The sizes of a tile that its memory depends on.

    Attributes:
        latent: Latent cells of the extent ``(time, lat, lon)``.
        fine: Fine cells of the extent ``(days, lat, lon)``.
        core: Fine cells it writes ``(days, lat, lon)``.
        shard: Fine cells of one shard ``(days, lat, lon)``.
        window_days: Days of a window.
    """

    latent: Shape
    fine: Shape
    core: Shape
    shard: Shape
    window_days: int

    @classmethod
    def of(cls, extent: Extent, core: Shape, shard: Shape) -> Size:
        """The sizes of an extent and its core."""
        time = extent.time
        return cls(extent.shape, extent.fine_shape, core, shard, time.window * time.compression)

    def model_bytes(self, prior: PriorCost) -> int:
        """What lies on the accelerator, if there is one: weights, activations, latents."""
        return _networks(prior) + self._sampling_bytes(prior)

    def field_bytes(self) -> int:
        """What lies in the worker's main memory: rain of the core, one month, shards."""
        days = min(self.fine[0], LONGEST_MONTH + 2 * self.window_days)
        month = days * self.fine[1] * self.fine[2] * FIELD_COPIES
        shards = SHARDS_ON_THEIR_WAY * prod(self.shard)
        return (prod(self.core) + month + shards) * FLOAT

    def memory(self, prior: PriorCost) -> int:
        """Bytes a worker needs for it, if model and fields share one memory."""
        decoding = prod(self.latent) * prior.channels * FLOAT + self.field_bytes()
        return WORKER_BYTES + _networks(prior) + max(self._sampling_bytes(prior), decoding)

    def _sampling_bytes(self, prior: PriorCost) -> int:
        latents = prod(self.latent) * (LATENT_COPIES * prior.channels + COARSE_MEANS)
        return (latents + prior.read_copies * prod(self.fine)) * FLOAT


def _networks(prior: PriorCost) -> int:
    """Weights, and activations of a batch."""
    return prior.weights_bytes + prior.batch * prior.window_bytes


@dataclass(frozen=True)
class TileCost:
    """Work and bytes of one tile, or of many.

    Attributes:
        windows: Windows it samples.
        evaluations: Denoiser passes.
        decodes: Decoder passes.
        values: Values it writes.
        bytes_written: Bytes on disk, estimated.
        memory: Bytes a worker needs; of many tiles a bound for each.
        seconds: Compute time on one worker, estimated.
    """

    windows: int
    evaluations: int
    decodes: int
    values: int
    bytes_written: int
    memory: int
    seconds: float

    @classmethod
    def of(cls, windows: int, values: int, memory: int, prior: PriorCost) -> TileCost:
        """The cost of so many windows and values."""
        evaluations, decodes = windows * prior.evaluations, round(windows * prior.decodes)
        seconds = evaluations * prior.evaluation_seconds + decodes * prior.decode_seconds
        written = round(values * BYTES_PER_VALUE)
        return cls(windows, evaluations, decodes, values, written, memory, seconds)
