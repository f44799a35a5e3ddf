"""One recorded run of a model: which operations ran where, on which tensors."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from quant_torch._torch_internals import pytree
from quant_torch.quantization._eager._call_sites import SiteKey, source_frames
from quant_torch.quantization._eager._derived import Origins
from quant_torch.quantization._eager._records import ModuleCall, OpCall, TensorInput
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._sites import Path
from quant_torch.quantization._eager._state import PreparedState
from quant_torch.quantization._eager._whole_numbers import WholeNumbers
from quant_torch.quantization._eager.supported_ops_registry import (
    SupportedOp,
    TorchFunction,
    supported_functions,
)
from quant_torch.quantization._example_inputs import ExampleInputs


class Trace:
    """Records operations and module calls; attach it as ``PreparedState.trace``.

    Args:
        model: The model that will run.
        with_frames: Whether to record source lines.
    """

    def __init__(self, model: nn.Module, with_frames: bool = False) -> None:
        self.model = model
        self.calls: list[OpCall] = []
        self.module_calls: list[ModuleCall] = []
        self.model_inputs: list[torch.Tensor] = []
        self._functions = supported_functions()
        self.whole = WholeNumbers()
        self._kept: list[torch.Tensor] = []  # a tensor that lives cannot lend its id to another
        self._owners: dict[int, list[tuple[nn.Module, str]]] = {}
        states = []
        for module_name, module in model.named_modules():
            for name, tensor in own_tensors(module):
                self._owners.setdefault(id(tensor), []).append((module, name))
                self._kept.append(tensor)
                states.append((module_name, name, tensor))
            # A mask may be an attribute and no buffer; an export takes it for a constant, too.
            plain = [(name, value) for name, value in vars(module).items() if _is_tensor(value)]
            self._kept += [value for _, value in plain]
            self.whole.constants(b for b in module._buffers.values() if b is not None)
            self.whole.constants(value for _, value in plain)
            states += [(module_name, name, value) for name, value in plain]
        self.origins = Origins(model, states)
        self._running: list[ModuleCall] = []
        self._producers: dict[int, tuple[OpCall, int]] = {}
        self._names: dict[tuple[str, SiteKey, int], str] = {}
        self._with_frames = with_frames

    def run(self, model: nn.Module, state: PreparedState, inputs: ExampleInputs) -> None:
        """Run the model once, without gradients, and record it."""
        state.trace = self
        try:
            with torch.no_grad():
                inputs.run(model)
        finally:
            state.trace = None

    def module_entered(
        self, scope: ModuleScope, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """A module starts to run."""
        call = ModuleCall(scope)
        for index, (name, leaf) in enumerate(_named_leaves(scope, args, kwargs)):
            call.input_keys += (index, name)
            if isinstance(leaf, torch.Tensor):
                # Given twice, a tensor goes by the keys of both arguments.
                call.inputs[id(leaf)] = (*call.inputs.get(id(leaf), ()), index, name)
                self._kept.append(leaf)
        if not self._running:
            self.model_inputs = [t for t in pytree.tree_leaves((args, kwargs)) if _is_tensor(t)]
            self.origins.from_data(self.model_inputs)
        self._running.append(call)
        self.module_calls.append(call)

    def module_left(self, output: Any) -> None:
        """The module that started last ends."""
        call = self._running.pop()
        for index, leaf in enumerate(pytree.tree_leaves(output)):
            call.output_keys.append(index)
            producer = self._producers.get(id(leaf))
            if producer is not None and call in producer[0].modules:
                call.outputs[index] = producer
        if not self._running:
            self.whole.returned(t for t in pytree.tree_leaves(output) if _is_tensor(t))

    def called(
        self,
        scope: ModuleScope,
        function: TorchFunction,
        key: SiteKey,
        visit: int,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        result: Any,
    ) -> None:
        """An operation ran."""
        outputs = {i: t for i, t in enumerate(pytree.tree_leaves(result)) if _is_tensor(t)}
        if not outputs:
            self._kept += [t for t in pytree.tree_leaves((args, kwargs)) if _is_tensor(t)]
            self.whole.called(function, args, kwargs, [])
            return
        place = (scope.name, key, visit)
        name = self._names.get(place)
        if name is None:
            name = scope.new_op_name(getattr(function, "__name__", "function"))
            self._names[place] = name
        call = OpCall(scope, name, function, self._functions.get(function), key, visit)
        call.modules = tuple(reversed(self._running))
        call.inputs = [
            self._input(index, argument, path, tensor, outputs.values())
            for index, (argument, path, tensor) in enumerate(
                tensor_arguments(call.op, args, kwargs)
            )
        ]
        if self._with_frames:
            call.frames = source_frames(3, Trace.run.__code__)
        for index, tensor in outputs.items():
            # Written in place, an input of a module is no longer what the module was given.
            for running in self._running:
                running.inputs.pop(id(tensor), None)
            self._producers[id(tensor)] = (call, index)
            self._kept.append(tensor)
        self.origins.called(function, args, kwargs, outputs, place)
        self.whole.called(function, args, kwargs, list(outputs.values()))
        call.outputs = outputs
        self.calls.append(call)

    def _input(
        self,
        index: int,
        name: str,
        path: Path,
        tensor: torch.Tensor,
        outputs: Iterable[torch.Tensor],
    ) -> TensorInput:
        self._kept.append(tensor)
        return TensorInput(
            index,
            name,
            path,
            tensor,
            self._owners.get(id(tensor), []),
            self._producers.get(id(tensor)),
            [
                (running, running.inputs[id(tensor)])
                for running in reversed(self._running)
                if id(tensor) in running.inputs
            ],
            self.origins.is_of_data(tensor),
            self.whole.had(tensor, outputs),
        )


def own_tensors(module: nn.Module) -> list[tuple[str, torch.Tensor]]:
    """Parameters and buffers of a module itself, by attribute name.

    A parametrized tensor is the one that its parametrizations compute; it is the same object at
    every reading inside ``parametrize.cached()``.
    """
    own: dict[str, torch.Tensor | None] = {**module._parameters, **module._buffers}
    if parametrize.is_parametrized(module):
        own.update({name: getattr(module, name) for name in module.parametrizations})
    return [(name, tensor) for name, tensor in own.items() if tensor is not None]


def tensor_arguments(
    op: SupportedOp | None, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Path, torch.Tensor]]:
    """Name, path and value of every tensor argument, also inside sequences.

    Args:
        op: Gives the names of positional arguments; None where they are not known.
        args: Positional arguments.
        kwargs: Keyword arguments.
    """
    names = op.arguments if op is not None else ()
    for position, value in enumerate(args):
        if position < len(names):
            name = names[position]
        else:
            name = f"input_{position}" if position else "input"
        yield from _tensors_in(value, name, ("args", position))
    for name, value in kwargs.items():
        yield from _tensors_in(value, name, ("kwargs", name))


def _tensors_in(value: Any, name: str, path: Path) -> Iterator[tuple[str, Path, torch.Tensor]]:
    if isinstance(value, torch.Tensor):
        yield name, path, value
    elif isinstance(value, list | tuple):
        for i, inner in enumerate(value):
            yield from _tensors_in(inner, f"{name}_{i}", (*path, i))


def _named_leaves(
    scope: ModuleScope, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """Leaves of the arguments in order, each with the name of the parameter it came in by."""
    kinds = inspect.Parameter
    positional = [
        name
        for name, parameter in scope.__signature__.parameters.items()
        if parameter.kind in (kinds.POSITIONAL_ONLY, kinds.POSITIONAL_OR_KEYWORD)
    ]
    for position, value in enumerate(args):
        name = positional[position] if position < len(positional) else f"input_{position}"
        for leaf in pytree.tree_leaves(value):
            yield name, leaf
    for name, value in kwargs.items():
        for leaf in pytree.tree_leaves(value):
            yield name, leaf


def _is_tensor(leaf: Any) -> bool:
    return isinstance(leaf, torch.Tensor)
