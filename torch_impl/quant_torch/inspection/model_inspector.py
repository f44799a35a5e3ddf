"""Find out what a config can name in a model."""

from __future__ import annotations

import copy
import re
from collections.abc import Mapping
from typing import Any

from torch import fx, nn

from quant_torch.inspection._format import format_summary
from quant_torch.inspection.types import ModelSummary, ModuleInfo, OpInfo
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization.config import ExecutionMode, QuantizerConfig
from quant_torch.quantization.config.quantizer_config import type_name
from quant_torch.quantization.shares import QuantizedShares


class ModelInspector:
    """Lists the modules and operations of a model under the names that configs use.

    The model is run (eager mode) or exported (graph mode) once and left as it was.

    Args:
        model: A float model.
        example_inputs: Positional arguments of forward.
        execution_mode: The mode whose names are wanted: ``"graph"`` or ``"eager"``.
        compressor: ``Quantizer`` to list only what is quantized by default, None to list all.
        dynamic_shapes: Passed to ``torch.export`` in graph mode.
        export_with_no_grad: Whether graph mode exports under ``torch.no_grad``.
        example_kwargs: Keyword arguments of forward, by name.

    Raises:
        TypeError: model is no module, or its forward does not take the example inputs.
        ValueError: Unknown execution mode.
    """

    def __init__(
        self,
        model: nn.Module,
        example_inputs: tuple[Any, ...],
        execution_mode: ExecutionMode | str,
        compressor: type | None = None,
        dynamic_shapes: Any = None,
        export_with_no_grad: bool = True,
        *,
        example_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be an nn.Module, given {type(model).__name__}")
        mode = ExecutionMode(execution_mode)
        if mode is ExecutionMode.EAGER and isinstance(model, fx.GraphModule):
            raise TypeError("eager mode inspects the model itself, not a captured graph of it")
        inputs = ExampleInputs.checked(model, example_inputs, example_kwargs)
        tree = _summarize(
            model, inputs, mode, compressor is not None, dynamic_shapes, export_with_no_grad
        )
        self._summary = ModelSummary(tree, mode)
        self._model, self._inputs, self._mode = model, inputs, mode
        self._export = (dynamic_shapes, export_with_no_grad)

    @property
    def summary(self) -> ModelSummary:
        """The tree of modules and operations."""
        return self._summary

    def get_matched_ops_for_op_type(self, op_type: str) -> tuple[OpInfo, ...]:
        """Operations of a type, as op_type_config matches it."""
        return tuple(op for op in self._ops() if op.op_type == op_type)

    def get_matched_ops_for_op_name(self, pattern: str) -> tuple[OpInfo, ...]:
        """Operations whose whole name matches a pattern, as op_name_config matches it.

        Raises:
            ValueError: The pattern is no regular expression.
        """
        matches = _compiled(pattern).fullmatch
        return tuple(op for op in self._ops() if matches(op.op_name))

    def get_matched_ops_for_module_name(self, module_name: str) -> tuple[OpInfo, ...]:
        """Operations inside the modules whose whole name matches a pattern.

        Raises:
            ValueError: The pattern is no regular expression.
        """
        matches = _compiled(module_name).fullmatch
        return tuple(
            op for op in self._ops() if any(matches(c.module_name) for c in op.module_stack)
        )

    def get_matched_ops_for_module_type(self, module_type: type | str) -> tuple[OpInfo, ...]:
        """Operations inside the modules of a class, given as the class or its full name."""
        wanted = type_name(module_type)
        return tuple(
            op for op in self._ops() if any(c.module_type == wanted for c in op.module_stack)
        )

    def quantized_shares(self, config: QuantizerConfig | None = None) -> QuantizedShares:
        """Which share of the parameters and multiply-adds a config quantizes, and what not and why.

        A copy of the model is prepared.

        Args:
            config: The config, of whatever mode; None for the default.
        """
        from quant_torch.quantization.quantizer import Quantizer

        config = QuantizerConfig() if config is None else config
        config = config.model_copy(update={"execution_mode": self._mode})
        quantizer = Quantizer(copy.deepcopy(self._model), config)
        quantizer.prepare(
            self._inputs.args, *self._export, example_kwargs=self._inputs.kwargs or None
        )
        return quantizer.shares()

    def format_summary(self, colorize: bool | None = None) -> str:
        """The tree as text.

        Args:
            colorize: Whether to use terminal colours; None for when writing to a terminal.
        """
        return format_summary(self._summary, colorize)

    def _ops(self) -> list[OpInfo]:
        return self._summary.model.all_ops()


def _summarize(
    model: nn.Module,
    inputs: ExampleInputs,
    mode: ExecutionMode,
    supported_only: bool,
    dynamic_shapes: Any,
    export_with_no_grad: bool,
) -> ModuleInfo:
    if mode is ExecutionMode.EAGER:
        from quant_torch.inspection._eager import summarize

        return summarize(model, inputs, supported_only)
    try:
        from quant_torch.inspection._graph import summarize as summarize_graph
    except ModuleNotFoundError as error:
        if error.name != "quant_torch.inspection._graph":
            raise
        raise NotImplementedError("graph mode cannot be inspected in this build") from None
    return summarize_graph(model, inputs, supported_only, dynamic_shapes, export_with_no_grad)


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
