"""Running a model as it will be used: in evaluation mode, and put back afterwards.

Both execution modes prepare, calibrate, inspect and finalize through these contexts, whatever mode
the model was left in.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization.spec._fast.memory import same_bits


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every module has the mode that it had before.

    Args:
        model: The model; its modules may differ in their modes. Modules that are added inside
            take the mode of the module around them.
    """
    modes = {module: module.training for module in model.modules()}
    try:
        set_training(model, False)
        yield
    finally:
        _restore_modes(model, modes)


@contextmanager
def undisturbed(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; modes, buffers and torch's random state are restored.

    Args:
        model: The model. A buffer gets its content back, and its tensor where the module assigned
            another one. Fake-quantize modules keep what they observe.
    """
    ours = {part for q in fake_quantizers(model) for part in q.modules()}
    modules = [module for module in model.modules() if module not in ours]
    kept = [(m, name, buffer) for m in modules for name, buffer in m._buffers.items()]
    contents = {b: _Content(b) for _, _, b in kept if _has_content(b)}
    tensors = itertools.chain(model.parameters(), model.buffers())
    devices = sorted({t.device.index or 0 for t in tensors if t.is_cuda})
    try:
        with torch.random.fork_rng(devices=devices), evaluating(model):
            yield
    finally:
        for module, name, buffer in kept:
            if name in module._buffers:  # a quantized buffer is kept by its parametrization
                module._buffers[name] = buffer
        for content in contents.values():
            content.restore()


def _has_content(buffer: torch.Tensor | None) -> bool:
    return buffer is not None and not nn.parameter.is_lazy(buffer)


class _Content:
    """What a buffer holds.

    Args:
        buffer: The buffer.
    """

    def __init__(self, buffer: torch.Tensor) -> None:
        self._buffer = buffer
        self._before = buffer.detach().clone()
        self._version = None if buffer.is_inference() else buffer._version

    def restore(self) -> None:
        """Write it back where the buffer was written to."""
        buffer, before = self._buffer, self._before
        if type(buffer) is torch.Tensor and buffer.layout is torch.strided and not buffer.is_meta:
            # A write through .data leaves the version as it was.
            changed = not (same_bits(buffer, before) or torch.equal(buffer, before))
        else:
            changed = self._version is None or buffer._version != self._version
        if changed:
            with torch.inference_mode(buffer.is_inference()), torch.no_grad():
                buffer.copy_(before)


def set_training(model: nn.Module, training: bool) -> None:
    """Call ``train(training)``; what it writes to a weight reaches the weight itself.

    A module whose ``train`` merges an adapter into its weight would else write to the quantized
    values, which are thrown away.
    """
    with _bare(model):
        model.train(training)


def _restore_modes(model: nn.Module, modes: dict[nn.Module, bool]) -> None:
    with _bare(model):
        for module in list(model.modules()):
            # What train() does beyond its flag, such as merging an adapter, only train() undoes.
            own = type(module).train is not nn.Module.train
            if own and module.training != modes.get(module, module.training):
                module.train(modes[module])
    _set_flags(model, modes, model.training)


@contextmanager
def _bare(model: nn.Module) -> Iterator[None]:
    """Every fake-quantize module gives the very tensor that it gets, while inside."""
    quantizers = fake_quantizers(model)
    switches = [(q.observer_enabled, q.fake_quant_enabled) for q in quantizers]
    for quantizer in quantizers:
        quantizer.observer_enabled = quantizer.fake_quant_enabled = False
    try:
        yield
    finally:
        for quantizer, (observing, quantizing) in zip(quantizers, switches, strict=True):
            quantizer.observer_enabled, quantizer.fake_quant_enabled = observing, quantizing


def _set_flags(module: nn.Module, modes: dict[nn.Module, bool], around: bool) -> None:
    module.training = modes.get(module, around)
    for child in module.children():
        _set_flags(child, modes, module.training)
