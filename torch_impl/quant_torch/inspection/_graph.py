"""Inspect a model as graph mode sees it: the captured graph under the names that configs use."""

from __future__ import annotations

import operator
import os
import re
from typing import Any

import torch
from torch import fx, nn

from quant_torch.inspection.types import (
    BoundaryEdge,
    InputEdge,
    ModuleContext,
    ModuleInfo,
    OpInfo,
    SourceFrame,
)
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._graph.boundaries import ENTERS, LEAVES
from quant_torch.quantization._graph.capture import capture
from quant_torch.quantization._graph.matching import find_regions
from quant_torch.quantization._graph.ops import is_state, module_stack, op_type
from quant_torch.quantization.config.quantizer_config import type_name

_FRAME = re.compile(
    r'File "(?P<file>.+)", line (?P<line>\d+), in (?P<function>\S+)\n\s*(?P<code>.*)'
)
_TORCH = os.path.join(os.path.dirname(torch.__file__), "")


def summarize(
    model: nn.Module,
    inputs: ExampleInputs,
    supported_only: bool,
    dynamic_shapes: Any,
    export_with_no_grad: bool,
) -> ModuleInfo:
    """The modules and operations of a captured graph.

    Args:
        model: A float model.
        inputs: Arguments of one forward pass.
        supported_only: Whether to list only the first operations of regions, which are those that
            configs can name (PLACE-3).
        dynamic_shapes: Passed to ``torch.export``.
        export_with_no_grad: Whether to export under ``torch.no_grad``.

    Raises:
        GraphCaptureError: The model cannot be captured.
    """
    names = [name for name, _ in model.named_modules()]
    graph = capture(model, inputs, dynamic_shapes, export_with_no_grad, names).graph
    return _Summary(model, graph, supported_only).root


class _Summary:
    """Builds the tree of one graph."""

    def __init__(self, model: nn.Module, graph: fx.Graph, supported_only: bool) -> None:
        self._infos = {n: ModuleInfo(n, type_name(type(m))) for n, m in model.named_modules()}
        first = {id(m): n for n, m in model.named_modules()}
        # A module goes by any of its names; the tree has the first.
        self._names = {n: first[id(m)] for n, m in model.named_modules(remove_duplicate=False)}
        self._ops: dict[fx.Node, OpInfo] = {}
        self._sources: dict[fx.Node, OpInfo] = {}
        self.root = self._infos[""]
        for name, info in self._infos.items():
            if name:
                self._infos[name.rpartition(".")[0]].child_modules[name] = info
        shown = {region.anchor for region in find_regions(graph)} if supported_only else None
        for node in graph.nodes:
            if _is_operation(node):
                self._add(node, shown is None or node in shown)
        for node in graph.nodes:
            self._add_boundaries(node)

    def _add(self, node: fx.Node, shown: bool) -> None:
        stack = tuple(ModuleContext(*level) for level in module_stack(node))
        op = OpInfo(node.name, op_type(node), stack, _frames(node), position=len(self._ops))
        self._ops[node] = op
        if shown and stack:
            self._infos[self._names[stack[-1].module_name]].ops.append(op)
        op.inputs = tuple(self._edge(op, source) for source in node.all_input_nodes)

    def _edge(self, op: OpInfo, source: fx.Node) -> InputEdge:
        node, index = _producer(source)
        producer = self._ops.get(node)
        if producer is None:
            known = OpInfo(str(node.target), None, is_state=is_state(node))
            return InputEdge(self._sources.setdefault(node, known), None)
        producer.outputs[index] = (*producer.outputs.get(index, ()), op)
        return InputEdge(producer, index)

    def _add_boundaries(self, node: fx.Node) -> None:
        op = self._ops.get(node)
        for crossing in node.meta.get(ENTERS, ()) if op is not None else ():
            place = node.all_input_nodes.index(crossing.source)
            edges = self._infos[crossing.module].input_ops.setdefault(crossing.index, [])
            if op is not None and not any(e.op is op and e.index == place for e in edges):
                edges.append(BoundaryEdge(op, place))
        made, index = _producer(node)
        for crossing in node.meta.get(LEAVES, ()):
            if made in self._ops:
                outputs = self._infos[crossing.module].output_ops
                outputs.setdefault(crossing.index, BoundaryEdge(self._ops[made], index))


def _is_operation(node: fx.Node) -> bool:
    """Whether a node is an operation of the model, and no element of another's results."""
    return (
        node.op in ("call_function", "call_module")
        and node.target is not operator.getitem
        and bool(node.meta.get("nn_module_stack"))
    )


def _producer(node: fx.Node) -> tuple[fx.Node, int]:
    """The operation that made a value, and which of its results it is."""
    if node.op == "call_function" and node.target is operator.getitem:
        source, index = node.args
        if isinstance(source, fx.Node) and isinstance(index, int):
            return source, index
    return node, 0


def _frames(node: fx.Node) -> tuple[SourceFrame, ...]:
    """The lines of the model that led to an operation, outermost first, torch's own left out."""
    found = [
        SourceFrame(m["file"], int(m["line"]), m["function"], m["code"].strip())
        for m in _FRAME.finditer(node.meta.get("stack_trace") or "")
    ]
    return tuple(f for f in found if not f.filename.startswith(_TORCH)) or tuple(found)
