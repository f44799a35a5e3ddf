"""What a model keeps between two runs, given back after one that was only watched."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from quant_conformance.gate.recording.quantizers import quantizer_modules


@contextmanager
def restoring_buffers(model: nn.Module, changed: set[str]) -> Iterator[None]:
    """Puts back the buffers that a run replaces by other tensors; those of quantizers are theirs.

    Args:
        model: the model.
        changed: gets the names of those whose content was another one.
    """
    skipped = tuple(f"{name}." for name, _ in quantizer_modules(model))
    before = [
        (path, module, dict(module._buffers))
        for path, module in model.named_modules()
        if not f"{path}.".startswith(skipped)
    ]
    try:
        yield
    finally:
        for path, module, buffers in before:
            for name, tensor in buffers.items():
                now = module._buffers.get(name)
                if now is not tensor and not _same(now, tensor):
                    changed.add(f"{path}.{name}".lstrip("."))
            module._buffers.update(buffers)


def restored(tensor: torch.Tensor, held: torch.Tensor) -> bool:
    """Writes into a tensor what it held, and tells whether that was something else.

    Args:
        tensor: a parameter or a buffer that was written into.
        held: what was in it before.
    """
    if _same(tensor.detach().cpu(), held):
        return False
    with torch.no_grad():
        tensor.copy_(held)
    return True


def _same(one: torch.Tensor | None, other: torch.Tensor | None) -> bool:
    if one is None or other is None:
        return one is other
    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    different = one != other
    if one.is_floating_point():
        different &= ~(one.isnan() & other.isnan())
    return not bool(different.any())


class _WrittenOut(TorchFunctionMode):
    """Long short-term memories step by step, not by oneDNN's kernel for whole layers."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Calls a function of torch."""
        kwargs = kwargs or {}
        if func is not torch.lstm and func not in _LSTMS:
            return func(*args, **kwargs)
        with torch.backends.mkldnn.flags(enabled=False):
            return func(*args, **kwargs)


_LSTMS = (torch.ops.aten.lstm.input, torch.ops.aten.lstm.data)


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode, without torch's fused kernels, which no export contains."""
    modes = {module: module.training for module in model.modules()}
    for module in modes:
        module.training = False
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with _WrittenOut():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)
        for module, training in modes.items():
            module.training = training
