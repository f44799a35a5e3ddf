"""Which tensors of a prepared model are quantized, and how (PLACE-12)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import fx, nn

from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.spec import QuantizationSpec


@dataclass(frozen=True)
class PlacedQuantizer:
    """A tensor that is quantized.

    Attributes:
        tensor: Its name: in graph mode of the operation, argument or parameter that it comes from,
            in eager mode of the call site with the argument or output.
        target: ``"weight"`` or ``"activation"``.
        spec: How it is quantized, known ranges included.
        group: The first tensor with the same set of qparams; its own name if it shares none.
    """

    tensor: str
    target: str
    spec: QuantizationSpec
    group: str


def placement(model: nn.Module) -> tuple[PlacedQuantizer, ...]:
    """List the quantized tensors of a prepared model, in the order of computation (PLACE-12).

    Args:
        model: What ``Quantizer.prepare`` gave, of either mode.
    """
    first: dict[int, str] = {}
    placed = []
    for tensor, quantizer in _quantized(model):
        group = first.setdefault(id(quantizer), tensor)
        placed.append(PlacedQuantizer(tensor, quantizer.quantization_target, quantizer.spec, group))
    return tuple(placed)


def _quantized(model: nn.Module) -> Iterator[tuple[str, FakeQuantizeImplBase]]:
    if not isinstance(model, fx.GraphModule):
        for quantizer in fake_quantizers(model):
            yield quantizer.tensor_name, quantizer
        return
    from quant_torch.quantization._graph.insertion import quantizers_of

    for node, quantizer in quantizers_of(model):
        tensor = node.args[0]
        if quantizer.quantization_target == "weight":
            yield quantizer.tensor_name, quantizer
        else:
            yield tensor.target if tensor.op == "placeholder" else tensor.name, quantizer
