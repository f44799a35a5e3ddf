"""Runs a prepared model once and writes down every operation, and what each quantizer saw.

Operations are recorded as torch dispatches them, below autograd and below composites, so that both
modes and models with any control flow come down to the same few ATen operations.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from quant_conformance.gate.errors import GateError
from quant_conformance.gate.recording.aliases import Aliases, put_together, within
from quant_conformance.gate.recording.forward_inputs import Inputs
from quant_conformance.gate.recording.quantizers import QuantizerFacts, facts_of, quantizer_modules
from quant_conformance.gate.recording.states import evaluating, restored, restoring_buffers
from quant_conformance.protocol import Array
from quant_conformance.runtimes.kernels import plain_sums

_OVERWRITING = ("copy_", "fill_", "zero_")
"""Operations that write into their first argument without reading it."""


@dataclass(frozen=True)
class Ref:
    """Stands for a recorded value among the arguments of an operation.

    Attributes:
        name: the value's name.
    """

    name: str


@dataclass(frozen=True)
class Operation:
    """One ATen operation.

    Attributes:
        function: its overload, such as ``aten.relu.default``.
        args: positional arguments, tensors as :class:`Ref`.
        kwargs: keyword arguments, likewise.
        outputs: names of its results; None for one that is no tensor.
    """

    function: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[str | None, ...]

    @property
    def name(self) -> str:
        """Name without namespace and overload: ``relu``."""
        return str(self.function.overloadpacket.__name__)

    @property
    def inputs(self) -> list[str]:
        """Names of the values that it reads; what it writes over without reading it is none."""
        read = self.args[1:] if self.name in _OVERWRITING else self.args
        kwargs = {name: value for name, value in self.kwargs.items() if name != "out"}
        leaves = pytree.tree_leaves((read, kwargs))
        return [leaf.name for leaf in leaves if isinstance(leaf, Ref)]


@dataclass(frozen=True)
class Quantization:
    """One run of a quantizer.

    Attributes:
        facts: what it does.
        source: the value that it read.
        result: the value that it gave.
    """

    facts: QuantizerFacts
    source: str
    result: str


@dataclass
class Recording:
    """One run of a prepared model.

    Attributes:
        values: every value by name (float32, float16, or integers).
        inputs: names of the model's inputs.
        outputs: names of the model's outputs.
        states: names of parameters, buffers and other constants.
        operations: in the order of computation.
        quantizations: in the order of computation, those of weights too.
        changed: names of the states that the run left with another content; ``values`` has what
            they were before.
    """

    values: dict[str, Array] = field(default_factory=dict)
    inputs: list[str] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    states: set[str] = field(default_factory=set)
    operations: list[Operation] = field(default_factory=list)
    quantizations: list[Quantization] = field(default_factory=list)
    changed: set[str] = field(default_factory=set)


def record(prepared: Any, example_inputs: Inputs | tuple[Any, ...]) -> Recording:
    """Runs a prepared model in evaluation mode and records it.

    torch's fused kernels for attention modules, which no export contains, are off meanwhile.

    Args:
        prepared: a prepared model of quant_torch or coreai-opt; it is left as it was, buffers that
            it writes into or replaces with it.
        example_inputs: arguments of one forward pass; a tuple has the positional ones.

    Raises:
        GateError: a dtype that cannot be recorded, or memory that is written in one and read in
            another.
    """
    recorder = _Recorder(prepared)
    inputs = Inputs.of(example_inputs).copied()
    for index, tensor in enumerate(inputs.tensors):
        recorder.recording.inputs.append(recorder.bind(tensor, f"input_{index}"))
    with (
        recorder.keeping_states(prepared),
        recorder.watching(prepared),
        evaluating(prepared),
        torch.no_grad(),
        plain_sums(),
        recorder,
    ):
        result = inputs.run(prepared)
    leaves = [t for t in pytree.tree_leaves(result) if isinstance(t, torch.Tensor)]
    recorder.recording.outputs.extend(recorder.name_of(t) for t in leaves)
    return recorder.recording


class _Recorder(TorchDispatchMode):
    """Names tensors by identity; it holds on to all of them, so that identities stay unique."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.recording = Recording()
        self._names: dict[int, str] = {}
        self._tensors: list[torch.Tensor] = []
        self._counts: dict[str, int] = {}
        self._aliases = Aliases()
        self._depth = 0  # inside a quantizer, whose own operations are not the model's
        self._given: str | None = None
        named = [*model.named_buffers(), *model.named_parameters()]
        self._states = {id(t): name for name, t in named}
        self._state_tensors = dict(named)
        self._written_memory: set[int] = set()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Runs an operation and writes it down."""
        kwargs = kwargs or {}
        if self._depth:
            return func(*args, **kwargs)
        refs = pytree.tree_map_only(torch.Tensor, lambda t: Ref(self.name_of(t)), (args, kwargs))
        written = _written(func, args, kwargs)
        result = func(*args, **kwargs)
        label = func.overloadpacket.__name__
        results = list(result) if isinstance(result, tuple | list) else [result]
        results += [t for t in written if not any(t is other for other in results)]
        names = [
            self.bind(t, self._fresh(label.strip("_"))) if isinstance(t, torch.Tensor) else None
            for t in results
        ]
        if func is torch.ops.aten.as_strided.default and self._chosen(args[0], result, refs[0][0]):
            return result
        for tensor in written:
            self._aliases.written(tensor, self._names[id(tensor)])
            self._written_memory.add(tensor.untyped_storage().data_ptr())
        self.recording.operations.append(Operation(func, refs[0], refs[1], tuple(names)))
        return result

    def bind(self, tensor: torch.Tensor, name: str) -> str:
        """Names a tensor and keeps its present content."""
        self._names[id(tensor)] = name
        self._tensors.append(tensor)
        self._aliases.bound(tensor)
        if tensor.dtype == torch.bfloat16:
            raise GateError(f"{name} is bfloat16; float32 and float16 programs are judged")
        self._depth += 1  # what is done here is no operation of the model
        try:
            self.recording.values[name] = tensor.detach().cpu().numpy().copy()
        finally:
            self._depth -= 1
        return name

    def name_of(self, tensor: torch.Tensor) -> str:
        """Name of a tensor; one that no operation made is a state of the model."""
        if id(tensor) in self._names:
            if self._aliases.is_stale(tensor):
                self._renew(tensor)
            return self._names[id(tensor)]
        name = self.bind(tensor, self._states.get(id(tensor)) or self._fresh("constant"))
        self.recording.states.add(name)
        return name

    @contextmanager
    def keeping_states(self, model: nn.Module) -> Iterator[None]:
        """Gives states back what they held; what they were is among the recorded values."""
        with restoring_buffers(model, self.recording.changed):
            try:
                yield
            finally:
                for name, tensor in self._state_tensors.items():
                    if tensor.untyped_storage().data_ptr() not in self._written_memory:
                        continue
                    # One that has no value yet was not read, and shares memory with one that was.
                    held = torch.from_numpy(
                        self.recording.values.get(name, tensor.detach().cpu().numpy())
                    )
                    if restored(tensor, held):
                        self.recording.changed.add(name)

    @contextmanager
    def watching(self, model: nn.Module) -> Iterator[None]:
        """Lets the quantizers tell what they get and give."""
        with ExitStack() as stack:
            for path, module in quantizer_modules(model):
                before = module.register_forward_pre_hook(self._enter)
                after = module.register_forward_hook(_bound(self._leave, path))
                stack.callback(before.remove)
                stack.callback(after.remove)
            yield

    def _enter(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        if self._depth == 0:
            self._given = self.name_of(args[0])
        self._depth += 1

    def _leave(self, path: str, module: nn.Module, args: Any, result: torch.Tensor) -> None:
        if self._depth > 1 or self._given is None:
            self._depth -= 1
            return
        facts = facts_of(path, module, tuple(result.shape))  # reads qparams, so still inside
        self._depth -= 1
        if facts is None:
            if id(result) not in self._names:
                self._names[id(result)] = self._given
                self._tensors.append(result)
            return
        name = self.bind(result, self._fresh(f"quantized {facts.name}"))
        self.recording.quantizations.append(Quantization(facts, self._given, name))

    def _fresh(self, label: str) -> str:
        name = label
        while name in self.recording.values:
            self._counts[label] = self._counts.get(label, 0) + 1
            name = f"{label}_{self._counts[label]}"
        return name

    def _renew(self, tensor: torch.Tensor) -> None:
        """Gives a tensor the value that writes through others left in it."""
        name = self._names[id(tensor)]
        for overlay in self._aliases.overlays(tensor):
            name = put_together(
                overlay,
                name,
                self.recording.values,
                tuple(tensor.shape),
                (self._add, self._constant, Ref),
            )
        self._names[id(tensor)] = name

    def _add(self, function: Any, args: tuple[Any, ...], value: Array) -> str:
        """Records an operation that was not dispatched."""
        name = self._fresh(function.overloadpacket.__name__)
        self.recording.values[name] = value
        self.recording.operations.append(Operation(function, args, {}, (name,)))
        return name

    def _chosen(self, operand: torch.Tensor, view: torch.Tensor, ref: Ref) -> bool:
        """Records a view of memory as elements of its operand; False if it shows others, too."""
        index = within(operand, view)
        if index is None:
            return False
        aten, flat = torch.ops.aten, self.recording.values[ref.name].reshape(-1)
        line = self._add(aten.view.default, (ref, [-1]), flat)
        chosen = (Ref(line), [Ref(self._constant(index))])
        picked = self._add(aten.index.Tensor, chosen, flat[index])
        shaped = (Ref(picked), list(view.shape))
        name = self._names[id(view)]
        self.recording.operations.append(Operation(aten.view.default, shaped, {}, (name,)))
        return True

    def _constant(self, value: Array) -> str:
        name = self._fresh("constant")
        self.recording.values[name] = value
        self.recording.states.add(name)
        return name


def _written(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[torch.Tensor]:
    """The arguments that an operation writes into."""
    written = []
    for index, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            given = args[index] if index < len(args) else kwargs.get(argument.name)
            written += [t for t in pytree.tree_leaves(given) if isinstance(t, torch.Tensor)]
    return written


def _bound(method: Any, path: str) -> Any:
    def hook(module: nn.Module, args: Any, result: torch.Tensor) -> None:
        method(path, module, args, result)

    return hook
