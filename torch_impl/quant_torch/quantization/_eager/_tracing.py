"""One recorded run of a model: which operations ran where, on which tensors."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from quant_torch._torch_internals import pytree
from quant_torch.quantization._eager._call_sites import SiteKey, SourceFrame, source_frames
from quant_torch.quantization._eager._derived import Origins
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._sites import Path
from quant_torch.quantization._eager._state import PreparedState
from quant_torch.quantization._eager.supported_ops_registry import (
    SupportedOp,
    TorchFunction,
    supported_functions,
)
from quant_torch.quantization._example_inputs import ExampleInputs


@dataclass(eq=False)
class TensorInput:
    """A tensor argument of a recorded operation.

    Attributes:
        index: Its position among the tensor arguments: the key of op_input_spec.
        name: Its argument name.
        path: Where it stands among args and kwargs.
        tensor: The tensor.
        owners: (module, attribute) pairs that hold it as parameter or buffer; empty if none.
        producer: The operation and output index that it comes from, if one was recorded.
        readers: The running module calls that got it as input, innermost first, with the keys it
            goes by there.
        of_data: Whether it depends on the model's inputs.
    """

    index: int
    name: str
    path: Path
    tensor: torch.Tensor
    owners: list[tuple[nn.Module, str]]
    producer: tuple[OpCall, int] | None
    readers: list[tuple[ModuleCall, tuple[int | str, ...]]]
    of_data: bool = False


@dataclass(eq=False)
class OpCall:
    """A recorded operation.

    Attributes:
        scope: Of the module that called it.
        name: Its name inside the module, such as ``"add_1"``.
        function: The torch function.
        op: What is known about the function, or None.
        key: Its call site.
        visit: Which visit of the call site it was.
        inputs: Tensor arguments.
        outputs: Tensor results by index.
        modules: The module calls it ran in, innermost first.
        frames: Source lines, outermost first; filled while inspecting only.
    """

    scope: ModuleScope
    name: str
    function: TorchFunction
    op: SupportedOp | None
    key: SiteKey
    visit: int
    inputs: list[TensorInput] = field(default_factory=list)
    outputs: dict[int, torch.Tensor] = field(default_factory=dict)
    modules: tuple[ModuleCall, ...] = ()
    frames: tuple[SourceFrame, ...] = ()

    @property
    def full_name(self) -> str:
        """Name in the model: what op_name_config matches."""
        return self.scope.full_name(self.name)

    @property
    def function_name(self) -> str:
        """Name of the function, without a number."""
        return getattr(self.function, "__name__", "function")

    @property
    def types(self) -> tuple[str, ...]:
        """The names its type goes by in op_type_config, the most specific first."""
        return (self.function_name, *([self.op.key] if self.op else []))


@dataclass(eq=False)
class ModuleCall:
    """A recorded call of a module.

    Attributes:
        scope: Of the module.
        inputs: Keys of every input tensor, by id: its indices and argument names.
        outputs: The recorded producer of every output tensor by index.
        input_keys: Indices and names of all arguments.
        output_keys: Indices of all results.
    """

    scope: ModuleScope
    inputs: dict[int, tuple[int | str, ...]] = field(default_factory=dict)
    outputs: dict[int, tuple[OpCall, int]] = field(default_factory=dict)
    input_keys: list[int | str] = field(default_factory=list)
    output_keys: list[int] = field(default_factory=list)


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
            return
        place = (scope.name, key, visit)
        name = self._names.get(place)
        if name is None:
            name = scope.new_op_name(getattr(function, "__name__", "function"))
            self._names[place] = name
        call = OpCall(scope, name, function, self._functions.get(function), key, visit)
        call.modules = tuple(reversed(self._running))
        call.inputs = [
            self._input(index, argument, path, tensor)
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
        call.outputs = outputs
        self.calls.append(call)

    def _input(self, index: int, name: str, path: Path, tensor: torch.Tensor) -> TensorInput:
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
