"""Inspect a model as eager mode sees it: one recorded run, the model left as it was."""

from __future__ import annotations

from torch import nn

from quant_torch.inspection.types import (
    BoundaryEdge,
    InputEdge,
    ModuleContext,
    ModuleInfo,
    OpInfo,
    SourceFrame,
)
from quant_torch.quantization._eager._records import OpCall, TensorInput
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._tracing import Trace
from quant_torch.quantization._eager.engine import inspect_model
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization.config.quantizer_config import type_name


def summarize(model: nn.Module, inputs: ExampleInputs, supported_only: bool) -> ModuleInfo:
    """The modules and operations of one run.

    Args:
        model: A float model.
        inputs: Arguments of one forward pass.
        supported_only: Whether to leave out operations that are not quantized by default.
    """
    return _Summary(model, inspect_model(model, inputs), supported_only).root


class _Summary:
    """Builds the tree of one trace; an operation passed several times is one operation."""

    def __init__(self, model: nn.Module, trace: Trace, supported_only: bool) -> None:
        self._trace = trace
        self._supported_only = supported_only
        self._infos = {name: self._module(name, m) for name, m in model.named_modules()}
        self._names = {id(m): name for name, m in model.named_modules()}
        self._ops: dict[str, OpInfo] = {}
        self._states: dict[str, OpInfo] = {}
        self._inputs = {
            id(tensor): OpInfo(f"input_{i}", None) for i, tensor in enumerate(trace.model_inputs)
        }
        self.root = self._infos[""]
        for name, info in self._infos.items():
            if name:
                self._infos[name.rpartition(".")[0]].child_modules[name] = info
        for call in trace.calls:
            self._add(call)
        self._add_boundaries()

    @staticmethod
    def _module(name: str, module: nn.Module) -> ModuleInfo:
        return ModuleInfo(name, type_name(type(module)))

    def _shown(self, call: OpCall) -> bool:
        return not self._supported_only or (call.op is not None and call.op.by_default)

    def _add(self, call: OpCall) -> None:
        if call.full_name in self._ops:
            return
        op = OpInfo(
            call.full_name,
            call.function_name,
            tuple(self._context(c.scope) for c in reversed(call.modules)),
            tuple(SourceFrame(*frame) for frame in call.frames),
            position=len(self._ops),
        )
        self._ops[call.full_name] = op
        if self._shown(call):
            self._infos[call.scope.name].ops.append(op)
        op.inputs = tuple(self._edge(op, tensor) for tensor in call.inputs)

    def _context(self, scope: ModuleScope) -> ModuleContext:
        return ModuleContext(scope.name, self._infos[scope.name].module_type)

    def _edge(self, op: OpInfo, tensor: TensorInput) -> InputEdge:
        if tensor.owners:
            owner, attribute = tensor.owners[0]
            prefix = self._names.get(id(owner), "")
            name = f"{prefix}.{attribute}" if prefix else attribute
            state = self._states.setdefault(name, OpInfo(name, None, is_state=True))
            return InputEdge(state, None)
        producer = self._ops.get(tensor.producer[0].full_name) if tensor.producer else None
        if producer is not None and tensor.producer is not None:
            index = tensor.producer[1]
            producer.outputs[index] = (*producer.outputs.get(index, ()), op)
            return InputEdge(producer, index)
        given = self._inputs.get(id(tensor.tensor))
        return InputEdge(given or OpInfo(f"untracked_{tensor.index}", None), None)

    def _add_boundaries(self) -> None:
        for call in self._trace.calls:
            op = self._ops[call.full_name]
            for tensor in call.inputs:
                for running, keys in tensor.readers:
                    taken = self._infos[running.scope.name].input_ops
                    edges = taken.setdefault(int(keys[0]), [])
                    if not any(e.op is op and e.index == tensor.index for e in edges):
                        edges.append(BoundaryEdge(op, tensor.index))
        for running in self._trace.module_calls:
            made = self._infos[running.scope.name].output_ops
            for index, (call, output) in running.outputs.items():
                made.setdefault(index, BoundaryEdge(self._ops[call.full_name], output))
