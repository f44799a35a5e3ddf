"""What torch has no public name for, and quant_torch cannot do without.

A torch that has moved one of these fails here, while quant_torch is imported and by an error that
names it, and not in the middle of somebody's model.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

try:
    # Which backward pass is under way; -1 outside of one.
    from torch._C import _current_graph_task_id as current_backward_id

    # What torch.jit.trace records into, and the value of its graph that a tensor is.
    from torch._C import _get_tracing_state, _get_value_trace, _set_tracing_state, _set_value_trace

    # A traced graph: values that nobody reads left out, and nested calls put in place.
    from torch._C import _jit_pass_dce as remove_dead_code
    from torch._C import _jit_pass_inline as inline_calls

    # The types of torch.ops.aten.add.Tensor and torch.ops.aten.add, which captured graphs call.
    from torch._ops import OpOverload, OpOverloadPacket

    # What an exported graph notes as the value of a node: a shape and a dtype without data.
    from torch._subclasses import FakeTensor

    # The common base of batch and instance norms.
    from torch.nn.modules.batchnorm import _NormBase as NormBase

    # Nested arguments, taken apart and put together exactly as torch.export does it.
    from torch.utils import _pytree as pytree

    # Sees every operation that runs, whoever calls it.
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError as error:
    raise ImportError(
        f"quant_torch was written for torch 2.13; torch {torch.__version__} lacks an internal name "
        f"that it uses ({error})"
    ) from error

EXPORTER = "torch.export._trace"
"""What torch.export imports when it is first used; without it, nothing is imported earlier."""

__all__ = [
    "EXPORTER",
    "FakeTensor",
    "NormBase",
    "OpOverload",
    "OpOverloadPacket",
    "TorchDispatchMode",
    "current_backward_id",
    "inline_calls",
    "pytree",
    "remove_dead_code",
    "take_for",
    "untraced",
]


@contextmanager
def untraced() -> Iterator[None]:
    """What is computed inside is no part of what ``torch.jit.trace`` records."""
    state = _get_tracing_state()
    _set_tracing_state(None)
    try:
        yield
    finally:
        _set_tracing_state(state)


def take_for(target: torch.Tensor, result: torch.Tensor) -> None:
    """Let ``torch.jit.trace`` take one tensor for another: where it is read, the other is."""
    _set_value_trace(target, _get_value_trace(result))
