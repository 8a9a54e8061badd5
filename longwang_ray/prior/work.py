"""What a network costs, counted and not computed: operations, and bytes alive at once.

Inside `imagined` tensors have shapes and no values, and every operation of the real modules is
looked at as it passes by:

    flops = Σ 2 · multiply-adds of convolutions, matrix products and attention
    peak  = max over time of Σ bytes of tensors that are alive

So the largest network is counted in a second on any machine. Not seen are a library's own scratch
space and a compiler's fusions: the first adds to memory, the second takes away.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry, sdpa_backward_flop_count, sdpa_flop_count

Precision = Literal["float32", "bf16", "bf16 on cuda"]
"""Of the arithmetic: bf16 is torch's autocast, which leaves norms in float32 on a GPU only."""

aten = torch.ops.aten
FORMULAS = flop_registry | {  # what torch's own table lacks
    aten._scaled_dot_product_flash_attention_for_cpu: (
        lambda q, k, v, *_, **__: sdpa_flop_count(q.shape, k.shape, v.shape)
    ),
    aten._scaled_dot_product_flash_attention_for_cpu_backward: (
        lambda grad, q, k, v, *_, **__: sdpa_backward_flop_count(
            grad.shape, q.shape, k.shape, v.shape
        )
    ),
}


@dataclass(frozen=True)
class Work:
    """What something costs.

    Attributes:
        flops: Floating-point operations; a multiplication and an addition are two.
        peak: Bytes alive at once beyond what was alive before: activations, gradients, results.
    """

    flops: int
    peak: int


def imagined() -> AbstractContextManager[Any]:
    """Where tensors have no values: build modules and inputs here, and count them here."""
    return FakeTensorMode()


def work_of(forward: Callable[[], Tensor], precision: Precision = "float32") -> Work:
    """Cost of a pass without gradient.

    Args:
        forward: The pass, of modules and inputs from the same `imagined`.
        precision: Of its arithmetic.
    """
    with torch.no_grad():
        return _counted(forward, precision)


def gradient_work(
    forward: Callable[[], Tensor], toward: Sequence[Tensor], precision: Precision = "float32"
) -> Work:
    """Cost of a pass and its gradient.

    Args:
        forward: As in `work_of`.
        toward: With respect to what: parameters to learn, an input to be guided.
        precision: As in `work_of`; the gradient's follows from it.
    """

    def pass_and_gradient() -> None:
        with torch.enable_grad():
            total = forward().sum()
        torch.autograd.grad(total, toward, allow_unused=True)

    return _counted(pass_and_gradient, precision)


def _counted(work: Callable[[], object], precision: Precision) -> Work:
    meter = Meter()
    cast = torch.autocast("cpu", torch.bfloat16, enabled=precision != "float32")
    norms = _WideNorms() if precision == "bf16 on cuda" else nullcontext()
    with cast, norms, meter:
        work()
    return Work(meter.flops, meter.peak)


class Meter(TorchDispatchMode):
    """Looks at everything that is computed, or imagined, while it is entered.

    Attributes:
        flops: Floating-point operations so far.
        now: Bytes of what was made since and is alive.
        peak: The most there ever were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.flops, self.now, self.peak = 0, 0, 0
        self._known: set[int] = set()

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        given = {storage._cdata for storage in _storages((args, kwargs))}
        result = func(*args, **(kwargs or {}))
        if formula := FORMULAS.get(func.overloadpacket):
            self.flops += formula(*args, **(kwargs or {}), out_val=result)
        for storage in _storages(result):
            if storage._cdata not in given | self._known:  # else a view, or changed in place
                self._hold(storage)
        return result

    def _hold(self, storage: torch.UntypedStorage) -> None:
        """Count a storage until the last tensor that shares it is gone."""
        key, size = storage._cdata, storage.nbytes()
        self._known.add(key)
        self.now += size
        self.peak = max(self.peak, self.now)
        weakref.finalize(storage, self._drop, key, size).atexit = False

    def _drop(self, key: int, size: int) -> None:
        self._known.discard(key)
        self.now -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]


class _WideNorms(TorchFunctionMode):
    """Group norms in float32, as autocast computes them on a GPU."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> object:
        if func is torch.nn.functional.group_norm:
            args = (args[0].float(), *args[1:])
        return func(*args, **(kwargs or {}))
