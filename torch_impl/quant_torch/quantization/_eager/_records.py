"""What a recorded run is made of: operations, their tensors, and calls of modules."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch import nn

from quant_torch.quantization._eager._call_sites import SiteKey, SourceFrame
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._sites import Path
from quant_torch.quantization._eager.supported_ops_registry import SupportedOp, TorchFunction


@dataclass(eq=False)
class TensorInput:
    """A tensor argument of a recorded operation.

    Attributes:
        index: Its position among the tensor arguments: the key of op_input_spec.
        name: Its argument name.
        path: Its place among args and kwargs.
        tensor: The tensor.
        owners: (module, attribute) pairs that hold it as parameter or buffer; empty if none.
        producer: The operation and output index that it comes from, if one was recorded.
        readers: The running module calls that got it as input, innermost first, with the keys it
            goes by there.
        of_data: Whether it depends on the model's inputs.
        whole: Whether it comes from integers, shapes and constants alone (PLACE-14).
    """

    index: int
    name: str
    path: Path
    tensor: torch.Tensor
    owners: list[tuple[nn.Module, str]]
    producer: tuple[OpCall, int] | None
    readers: list[tuple[ModuleCall, tuple[int | str, ...]]]
    of_data: bool = False
    whole: bool = False


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
        masks: Whether it joins a mask to the scores of a softmax (PLACE-14).
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
    masks: bool = False

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
