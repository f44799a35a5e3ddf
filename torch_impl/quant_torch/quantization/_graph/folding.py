"""Folds batch norm into the layer before it, in the graph (BN-1 to BN-5)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn

from quant_torch.quantization._graph.batch_norm import BatchNorm, FoldedBias, FoldedWeight
from quant_torch.quantization._graph.ops import is_state, module_of, op_type, shape_of
from quant_torch.quantization._graph.patterns import (
    BATCH_NORM,
    TRANSPOSED_CONVOLUTIONS,
    WEIGHTED,
)
from quant_torch.quantization._graph.train_mode import add_module

STATE_OF = "quant_state_of"
"""Key in ``node.meta`` of a folded weight: the node of the weight itself."""

_NORM_ARGUMENTS = ("input", "weight", "bias", "running_mean", "running_var", "training",
                   "momentum", "eps")  # fmt: skip


def can_fold(layer: fx.Node, norm: fx.Node) -> bool:
    """Whether a batch norm scales the output channels of a layer by constants (BN-5)."""
    if op_type(layer) not in WEIGHTED or op_type(norm) not in BATCH_NORM:
        return False
    arguments = _norm_arguments(norm)
    statistics = (arguments["running_mean"], arguments["running_var"])
    return (
        arguments["input"] is layer
        and not arguments["training"]
        and all(isinstance(s, fx.Node) and is_state(s) for s in statistics)
        # Batch norm works on axis 1, a linear layer's channels are on its last axis.
        and (op_type(layer) != "linear" or len(shape_of(layer)) == 2)
    )


class BatchNormFolder:
    """Rewrites the batch norms of one graph.

    Args:
        module: The graph module.
        model: The model that was captured; tells the momentum.
    """

    def __init__(self, module: fx.GraphModule, model: nn.Module) -> None:
        self.module = module
        self.model = model
        self._weights: dict[tuple[Any, ...], fx.Node] = {}

    def fold(self, layer: fx.Node, norm: fx.Node) -> None:
        """Fold one batch norm; a layer and norm that are called again share the folded weight."""
        graph = self.module.graph
        norm_arguments = _norm_arguments(norm)
        gamma, beta, mean, variance = (
            norm_arguments[name] for name in ("weight", "bias", "running_mean", "running_var")
        )
        eps = float(norm_arguments["eps"])
        weight, bias = layer.args[1], _argument(layer, 2, "bias")
        transposed = op_type(layer) in TRANSPOSED_CONVOLUTIONS
        groups = int(_argument(layer, 6, "groups", 1)) if transposed else 1
        key = (weight, gamma, variance, eps, transposed, groups)
        with graph.inserting_before(layer):
            if key not in self._weights:
                folded = FoldedWeight(eps, int(transposed), groups)
                node = self._call(f"{norm.name}_folded_weight", folded, (weight, gamma, variance))
                _describe(node, weight)
                node.meta[STATE_OF] = weight
                self._weights[key] = node
            folded_weight = self._weights[key]
            part = FoldedBias(eps, weight.meta["val"].dtype)
            folded_bias = self._call(
                f"{norm.name}_folded_bias", part, (bias, gamma, beta, mean, variance)
            )
            _describe(folded_bias, mean)
        _set_argument(layer, 1, "weight", folded_weight)
        _set_argument(layer, 2, "bias", folded_bias)
        self._replace_norm(norm, bias, folded=True)

    def replace_alone(self, nodes: Iterable[fx.Node]) -> None:
        """Make the batch norms that are not folded follow train() and eval()."""
        for node in list(nodes):
            if op_type(node) not in BATCH_NORM or node.op != "call_function":
                continue
            arguments = _norm_arguments(node)
            tracked = isinstance(arguments["running_mean"], fx.Node)
            if tracked and not arguments["training"]:
                self._replace_norm(node, None, folded=False)

    def _replace_norm(self, norm: fx.Node, bias: fx.Node | None, folded: bool) -> None:
        arguments = _norm_arguments(norm)
        name = module_of(norm)
        source = self.model.get_submodule(name) if name is not None else None
        momentum = getattr(source, "momentum", arguments["momentum"])
        part = BatchNorm(float(arguments["eps"]), momentum, folded)
        counter = None
        if isinstance(getattr(source, "num_batches_tracked", None), torch.Tensor):
            with self.module.graph.inserting_before(norm):
                counter = self.module.graph.get_attr(f"{name}.num_batches_tracked")
                counter.meta["val"] = source.num_batches_tracked
        op_type(norm)  # keeps its name while the target changes
        norm.target = add_module(self.module, norm.name, part.train(self.module.training))
        norm.op = "call_module"
        norm.kwargs = {}
        norm.args = (
            arguments["input"], bias, arguments["weight"], arguments["bias"],
            arguments["running_mean"], arguments["running_var"], counter,
        )  # fmt: skip

    def _call(self, name: str, part: nn.Module, arguments: tuple[Any, ...]) -> fx.Node:
        target = add_module(self.module, name, part.train(self.module.training))
        return self.module.graph.call_module(target, arguments)


def _describe(node: fx.Node, like: fx.Node) -> None:
    node.meta["val"] = like.meta["val"]


def _norm_arguments(norm: fx.Node) -> dict[str, Any]:
    given = dict(zip(_NORM_ARGUMENTS, norm.args, strict=False)) | dict(norm.kwargs)
    return {name: given.get(name) for name in _NORM_ARGUMENTS}


def _argument(node: fx.Node, place: int, name: str, otherwise: Any = None) -> Any:
    if place < len(node.args):
        return node.args[place]
    return node.kwargs.get(name, otherwise)


def _set_argument(node: fx.Node, place: int, name: str, value: fx.Node) -> None:
    if place < len(node.args):
        node.update_arg(place, value)
    else:
        node.update_kwarg(name, value)
