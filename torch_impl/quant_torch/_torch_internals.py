"""What torch has no public name for, and quant_torch cannot do without.

A torch that has moved one of these fails here, while quant_torch is imported and by an error that
names it, and not in the middle of somebody's model.
"""

from __future__ import annotations

import torch

try:
    # Which backward pass is under way; -1 outside of one.
    from torch._C import _current_graph_task_id as current_backward_id

    # The types of torch.ops.aten.add.Tensor and torch.ops.aten.add, which captured graphs call.
    from torch._ops import OpOverload, OpOverloadPacket

    # What an exported graph notes as the value of a node: a shape and a dtype without data.
    from torch._subclasses import FakeTensor

    # Nested arguments, taken apart and put together exactly as torch.export does it.
    from torch.utils import _pytree as pytree

    # Sees every operation that runs, whoever calls it.
    from torch.utils._python_dispatch import TorchDispatchMode
except ImportError as error:
    raise ImportError(
        f"quant_torch was written for torch 2.13; torch {torch.__version__} lacks an internal name "
        f"that it uses ({error})"
    ) from error

__all__ = [
    "FakeTensor",
    "OpOverload",
    "OpOverloadPacket",
    "TorchDispatchMode",
    "current_backward_id",
    "pytree",
]
