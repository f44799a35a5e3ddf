"""What a model looks like to the quantizer: modules, their operations, and where tensors flow."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from quant_torch.quantization.config import ExecutionMode


class SourceFrame(NamedTuple):
    """One level of the calls that led to an operation.

    Attributes:
        filename: Source file.
        lineno: Line number in it, from 1.
        function_name: Name of the function.
        code_context: The source line, stripped.
    """

    filename: str
    lineno: int
    function_name: str
    code_context: str


@dataclass(frozen=True)
class ModuleContext:
    """One level of the module nesting.

    Attributes:
        module_name: Name in the model, as module_name_configs match it.
        module_type: Fully qualified class name, as module_type_configs match it.
    """

    module_name: str
    module_type: str


@dataclass(eq=False)
class OpInfo:
    """One operation of a model.

    Attributes:
        op_name: Its name, as op_name_config patterns match it.
        op_type: Its type, a key of op_type_config; None if it is not known.
        module_stack: The modules it runs in, outermost first.
        source_frames: The source lines that led to it, outermost first; may be empty.
        inputs: Where its tensor arguments come from, in order.
        outputs: The operations that take each of its outputs, by output index.
        is_state: Whether it is a parameter or buffer.
        position: Its place in the order in which operations run.
    """

    op_name: str
    op_type: str | None
    module_stack: tuple[ModuleContext, ...] = ()
    source_frames: tuple[SourceFrame, ...] = ()
    inputs: tuple[InputEdge, ...] = ()
    outputs: dict[int, tuple[OpInfo, ...]] = field(default_factory=dict)
    is_state: bool = False
    position: int = 0

    def __repr__(self) -> str:
        return f"OpInfo({self.op_name!r}, type={self.op_type!r})"


@dataclass(frozen=True, eq=False)
class InputEdge:
    """A tensor argument of an operation.

    Attributes:
        op: The operation that made the tensor; a state, or a stand-in for a model input.
        output_idx: Which of its outputs; None for states and inputs.
    """

    op: OpInfo
    output_idx: int | None

    @property
    def op_name(self) -> str:
        """Name of the producer."""
        return self.op.op_name

    @property
    def op_type(self) -> str | None:
        """Type of the producer."""
        return self.op.op_type

    @property
    def is_state(self) -> bool:
        """Whether the producer is a parameter or buffer."""
        return self.op.is_state

    @property
    def module_stack(self) -> tuple[ModuleContext, ...]:
        """The modules that the producer runs in, outermost first."""
        return self.op.module_stack

    @property
    def inputs(self) -> tuple[InputEdge, ...]:
        """Where the producer's own tensor arguments come from."""
        return self.op.inputs

    @property
    def outputs(self) -> dict[int, tuple[OpInfo, ...]]:
        """The operations that take each of the producer's outputs, by output index."""
        return self.op.outputs


@dataclass(frozen=True, eq=False)
class BoundaryEdge:
    """Where a tensor crosses the boundary of a module.

    Attributes:
        op: The operation inside the module.
        index: Its input that gets the tensor, or its output that leaves.
    """

    op: OpInfo
    index: int


@dataclass(eq=False)
class ModuleInfo:
    """A module with the operations that it calls itself; iterates like ``nn.Module``.

    Attributes:
        module_name: Name in the model; the empty string for the model itself.
        module_type: Fully qualified class name.
        child_modules: Children by their full name.
        ops: Operations that the module calls itself, in order.
        input_ops: Who takes each module input, by the index that module_input_spec uses.
        output_ops: Who makes each module output, by the index that module_output_spec uses.
    """

    module_name: str
    module_type: str
    child_modules: dict[str, ModuleInfo] = field(default_factory=dict)
    ops: list[OpInfo] = field(default_factory=list)
    input_ops: dict[int, list[BoundaryEdge]] = field(default_factory=dict)
    output_ops: dict[int, BoundaryEdge] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"ModuleInfo({self.module_name!r}, type={self.module_type!r})"

    def children(self) -> Iterator[ModuleInfo]:
        """Direct children, in order."""
        yield from self.child_modules.values()

    def named_children(self) -> Iterator[tuple[str, ModuleInfo]]:
        """(full name, module) of the direct children, in order."""
        yield from self.child_modules.items()

    def modules(self) -> Iterator[ModuleInfo]:
        """This module and everything below it, depth first."""
        yield self
        for child in self.children():
            yield from child.modules()

    def named_modules(self) -> Iterator[tuple[str, ModuleInfo]]:
        """(full name, module) of this module and everything below it, depth first."""
        for module in self.modules():
            yield module.module_name, module

    def get_submodule(self, module_name: str) -> ModuleInfo:
        """The module of a full name, this one or below it.

        Raises:
            KeyError: There is none.
        """
        for name, module in self.named_modules():
            if name == module_name:
                return module
        raise KeyError(f"no module {module_name!r} in {self.module_name or 'the model'}")

    def all_ops(self) -> list[OpInfo]:
        """Operations of this module and everything below it, in the order they run."""
        found = [op for module in self.modules() for op in module.ops]
        return sorted(found, key=lambda op: op.position)


@dataclass(frozen=True)
class ModelSummary:
    """Everything that was found in a model.

    Attributes:
        model: The model as a tree of modules.
        mode: The execution mode whose names these are.
    """

    model: ModuleInfo
    mode: ExecutionMode
