"""From a module to a graph: ``torch.export``, and a graph module that behaves like a module.

What ``torch.export`` gives refuses ``train()`` and ``eval()`` and other batch sizes. The graph
module made here has the parameters of the model itself, under their own names, and no such limits.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack
from typing import Any

import torch
from torch import fx, nn
from torch.export import Dim

from quant_torch.quantization._evaluation import evaluating
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._graph.boundaries import record_boundaries, take_out_marks
from quant_torch.quantization._graph.constants import check_constant_inputs
from quant_torch.quantization._graph.functionalize import functionalize
from quant_torch.quantization._graph.train_mode import switchable_dropout
from quant_torch.quantization._input_failures import users_line


class GraphCaptureError(RuntimeError):
    """A model that ``torch.export`` cannot capture."""


def capture(
    model: nn.Module,
    inputs: ExampleInputs,
    dynamic_shapes: Any = None,
    no_grad: bool = True,
    whole_modules: Collection[str] = (),
) -> fx.GraphModule:
    """Capture a model as a graph of ATen operations, in evaluation mode.

    Args:
        model: The model; its parameters are shared, its training flags are as before.
        inputs: Arguments of one forward pass.
        dynamic_shapes: Passed to ``torch.export``.
        no_grad: Whether to export under ``torch.no_grad``.
        whole_modules: Names of the modules whose inputs and outputs are to be recorded; see
            :mod:`boundaries`.

    Returns:
        A graph without in-place operations on intermediate values, whose dropouts follow
        ``train()`` and ``eval()``.

    Raises:
        GraphCaptureError: The model cannot be exported; names the operation where that is known.
    """
    with ExitStack() as stack:
        stack.enter_context(evaluating(model))
        stack.enter_context(record_boundaries(model, whole_modules))
        if no_grad:
            stack.enter_context(torch.no_grad())
        distinct = _without_aliases(inputs)
        try:
            program = torch.export.export(
                model, distinct.args, distinct.kwargs, dynamic_shapes=dynamic_shapes, strict=False
            )
            exported = program.module(check_guards=False)
        except Exception as error:
            raise GraphCaptureError(_explain(error, inputs, dynamic_shapes)) from error
    graph = exported.graph
    take_out_marks(graph)
    functionalize(graph)
    graph.eliminate_dead_code()
    _name_states(exported, model)
    check_constant_inputs(graph)
    switchable_dropout(exported, graph)
    return _plain_module(exported)


def _name_states(exported: fx.GraphModule, model: nn.Module) -> None:
    """Give every parameter and buffer one node, under the first name that the model has for it."""
    tensors = (*model.named_buffers(), *model.named_parameters())
    names = {id(tensor): name for name, tensor in tensors}
    held = dict(exported.named_parameters(remove_duplicate=False))
    held |= dict(exported.named_buffers(remove_duplicate=False))
    first: dict[int, fx.Node] = {}
    for node in list(exported.graph.nodes):
        if node.op != "get_attr" or node.target not in held:
            continue
        tensor = held[node.target]
        known = first.setdefault(id(tensor), node)
        if known is not node:
            node.replace_all_uses_with(known)
            exported.graph.erase_node(node)
        elif names.get(id(tensor)) in held:
            node.target = names[id(tensor)]


def _plain_module(exported: fx.GraphModule) -> fx.GraphModule:
    """A graph module of the same graph and tensors, without the hooks of an exported one."""
    exported.graph._tracer_cls = None  # an export's tracer cannot trace again, as unpickling does
    module = fx.GraphModule(exported, exported.graph, type(exported).__name__)
    held = {*dict(module.named_parameters()), *dict(module.named_buffers())}
    tensors = [
        *exported.named_parameters(remove_duplicate=False),
        *exported.named_buffers(remove_duplicate=False),
    ]
    saved = set(exported.state_dict())
    for name, tensor in tensors:
        if name not in held:
            _hold(module, name, tensor, name in saved)
    return module.eval()


def _hold(module: nn.Module, name: str, tensor: torch.Tensor, saved: bool) -> None:
    *path, last = name.split(".")
    owner = module
    for step in path:
        if not hasattr(owner, step):
            owner.add_module(step, nn.Module())
        owner = getattr(owner, step)
    if isinstance(tensor, nn.Parameter):
        owner.register_parameter(last, tensor)
    else:
        owner.register_buffer(last, tensor, persistent=saved)


def _without_aliases(inputs: ExampleInputs) -> ExampleInputs:
    # Export takes two arguments that are one tensor for one input, and drops the other.
    seen: set[int] = set()

    def distinct(value: torch.Tensor) -> torch.Tensor:
        if id(value) in seen:
            return value.detach().clone().requires_grad_(value.requires_grad)
        seen.add(id(value))
        return value

    return inputs.mapped(distinct)


def _explain(error: Exception, inputs: ExampleInputs, dynamic_shapes: Any) -> str:
    """What failed, at which line of the user's model, and what to do."""
    lines = (line.strip() for line in str(error).splitlines())
    reason = next((line for line in lines if line), "no reason given")
    return (
        f"torch.export cannot capture this model: {type(error).__name__}: {reason}"
        f"{users_line(error)}{_fixed_sizes(inputs, dynamic_shapes)}\n"
        "Graph mode needs a model that torch.export accepts. Eager mode does not capture a graph "
        "and takes control flow that depends on data: QuantizerConfig(execution_mode='eager')."
    )


def _fixed_sizes(inputs: ExampleInputs, dynamic_shapes: Any) -> str:
    """A hint where an axis that is to be dynamic has a size that export takes for a constant."""
    hints = [
        f"\nAxis {axis} of {name} is dynamic, and its size in the example inputs is {size}: "
        "torch.export takes 0 and 1 for constants; give example inputs of size 2 or more there."
        for name, axis, size in _dynamic_axes(inputs, dynamic_shapes)
        if size < 2
    ]
    return "".join(hints)


def _dynamic_axes(inputs: ExampleInputs, dynamic_shapes: Any) -> Iterator[tuple[str, int, int]]:
    """Name of the argument, axis and size of what is dynamic among the top-level arguments."""
    if isinstance(dynamic_shapes, dict):
        given = dict(enumerate(inputs.args)) | inputs.kwargs
        names = list(dynamic_shapes)
        pairs = [
            (name, given.get(name, given.get(place)), dynamic_shapes[name])
            for place, name in enumerate(names)
        ]
    elif isinstance(dynamic_shapes, list | tuple):
        names = [f"argument {place}" for place in range(len(inputs.args))]
        pairs = list(zip(names, inputs.args, dynamic_shapes, strict=False))
    else:
        return
    for name, tensor, axes in pairs:
        if not isinstance(tensor, torch.Tensor) or not axes:
            continue
        named = axes.items() if isinstance(axes, dict) else enumerate(axes)
        for axis, dim in named:
            free = dim not in (None, Dim.STATIC, Dim.AUTO) and not isinstance(dim, int)
            if free and axis < tensor.dim():
                yield name, axis, tensor.shape[axis]
