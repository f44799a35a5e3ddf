"""What a graph-mode model stores once it is finalized."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import fx

from quant_torch.quantization._graph.batch_norm import BatchNorm, FoldedBias, FoldedWeight
from quant_torch.quantization._graph.insertion import quantizers_of
from quant_torch.quantization._graph.ops import is_state
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase


def stored_tensors(
    model: fx.GraphModule,
) -> Iterator[tuple[str, torch.Tensor, FakeQuantizeImplBase | None]]:
    """Yield (owner, tensor, quantizer or None) of everything that is stored.

    Folded batch norms are not: their layers have a bias instead (BN-2).
    """
    quantizers = {}
    for node, quantizer in quantizers_of(model):
        source = node.args[0]
        if _part(model, source, FoldedWeight) is not None:
            source = source.args[0]
        if is_state(source):
            quantizers[source.target] = quantizer
    folded = _folded_tensors(model)
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        owner = name.rpartition(".")[0]
        inside = owner and any(
            isinstance(model.get_submodule(owner[:end]), FakeQuantizeImplBase)
            for end in (*(i for i, c in enumerate(owner) if c == "."), len(owner))
        )
        if not inside and name not in folded:
            yield owner, tensor, quantizers.get(name)
    for node in model.graph.nodes:
        if _part(model, node, FoldedBias) is not None and node.args[0] is None:
            layer = next(iter(node.users)).all_input_nodes[1]
            while layer.args:
                layer = layer.args[0]
            yield layer.target.rpartition(".")[0], _unmade(model, node.args[3]), None


def _folded_tensors(model: fx.GraphModule) -> set[str]:
    """Names of the tensors of folded batch norms that nothing else reads."""
    names: set[str] = set()
    for node in model.graph.nodes:
        norm = _part(model, node, BatchNorm)
        if norm is None or not norm.folded:
            continue
        for source in node.args[2:]:
            if source is not None and all(_is_fold(model, user) for user in source.users):
                names.add(source.target)
    return names


def _is_fold(model: fx.GraphModule, node: fx.Node) -> bool:
    norm = _part(model, node, (FoldedWeight, FoldedBias, BatchNorm))
    return norm is not None and getattr(norm, "folded", True)


def _part(model: fx.GraphModule, node: fx.Node, kind: type | tuple[type, ...]):  # type: ignore[no-untyped-def]
    if node.op != "call_module":
        return None
    module = model.get_submodule(node.target)
    return module if isinstance(module, kind) else None


def _unmade(model: fx.GraphModule, like: fx.Node) -> torch.Tensor:
    """A tensor that finalizing will make: shape and dtype only."""
    return torch.empty_like(model.get_buffer(like.target), device="meta")
