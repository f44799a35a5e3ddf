"""What a Core ML deployment target must have for a model, said before coremltools is asked.

For a target that is too old coremltools leaves weights in float without a word, or fails somewhere
in its passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from torch import nn

from quant_torch._backends import CoreMLExportError
from quant_torch.quantization._finalize.coreml import CoreMLActivation
from quant_torch.quantization._finalize.facts import Facts, is_left_out
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase

_INTEGERS = ("int4", "uint4", "int8", "uint8")
_ACTIVATIONS, _WEIGHTS, _FINE_WEIGHTS = "iOS17", "iOS16", "iOS18"


class Need(NamedTuple):
    """A quantized tensor and the least target that has it.

    Attributes:
        name: Of the tensor.
        given: What it is.
        target: Member of ``coremltools.target``.
    """

    name: str
    given: str
    target: str


def of_prepared(model: nn.Module) -> Iterator[Need]:
    """What the quantized tensors of a prepared model need, as far as Core ML has them at all."""
    for module in model.modules():
        if not isinstance(module, FakeQuantizeImplBase) or is_left_out(module):
            continue
        facts = Facts(module, module.quantization_target)
        if facts.format.name not in _INTEGERS:
            continue  # finalize refuses these, whatever the target
        if facts.role == "activation":
            yield Need(facts.name, f"{facts.spec_text} activations", _ACTIVATIONS)
        else:
            fine = facts.format.bits < 8 or facts.granularity_key == "per_block"
            target = _FINE_WEIGHTS if fine else _WEIGHTS
            yield Need(facts.name, f"{facts.spec_text} weights", target)


def of_finalized(model: nn.Module) -> Iterator[Need]:
    """What the quantized tensors of a finalized model need."""
    for name, module in model.named_modules():
        if isinstance(module, CoreMLActivation):
            yield Need(name, "quantized activations", _ACTIVATIONS)
        for attribute, buffer in module.named_buffers(recurse=False):
            if not attribute.endswith("/quantization_n_bits"):
                continue
            prefix, _, _ = attribute.rpartition("/")
            weight = getattr(module, prefix.partition("/")[2])
            scale = getattr(module, f"{prefix}/quantization_scale")
            pairs = zip(scale.shape, weight.shape, strict=True)
            counts = [(count, extent) for count, extent in pairs if count > 1]
            in_blocks = len(counts) > 1 or any(count != extent for count, extent in counts)
            target = _FINE_WEIGHTS if int(buffer) < 8 or in_blocks else _WEIGHTS
            words = f"{int(buffer)}-bit weights" + (" in blocks" if in_blocks else "")
            yield Need(f"{name}.{prefix.partition('/')[2]}".lstrip("."), words, target)


def refuse_old_target(needs: Iterable[Need], deployment_target: str, targets: Any) -> None:
    """Raise where a target is too old; the message lists every such tensor.

    Args:
        needs: What the tensors need.
        deployment_target: Name of the target.
        targets: ``coremltools.target``.

    Raises:
        CoreMLExportError: The target is too old.
    """
    chosen = targets[deployment_target]
    lacking = [need for need in needs if chosen < targets[need.target]]
    if lacking:
        least = max((need.target for need in lacking), key=lambda name: targets[name])
        listed = "\n  ".join(
            f"{need.name}: given {need.given}; allowed: {need.target} or later" for need in lacking
        )
        raise CoreMLExportError(
            f"deployment target {deployment_target} cannot express this model, {least} can\n"
            f"  {listed}"
        )
