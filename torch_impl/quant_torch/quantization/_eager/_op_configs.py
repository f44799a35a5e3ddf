"""Which config holds for an operation of a recorded run, if any."""

from __future__ import annotations

import re

from quant_torch.quantization._eager._records import OpCall
from quant_torch.quantization._eager._roles import is_weighted
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._tracing import Trace
from quant_torch.quantization._eager.supported_ops_registry import SupportedOp
from quant_torch.quantization._whole_numbers import leaves_alone
from quant_torch.quantization.config import ModuleQuantizerConfig, OpQuantizerConfig


def call_config(call: OpCall, trace: Trace) -> OpQuantizerConfig | None:
    """The config of a recorded operation; None if it is not quantized.

    An operation that is off by default needs a config that names it: its type, or its very name;
    a matrix product, a factor that is a parameter. Integer arithmetic is left alone (PLACE-14).
    """
    whole = bool(call.inputs) and all(tensor.whole for tensor in call.inputs)
    if (whole or call.masks) and is_left_alone(call):
        return None
    if call.op is not None and call.op.states_only:
        return None
    on = is_weighted(call, trace)
    return op_config(call.scope, call.full_name, call.types, call.op, on)


def state_config(call: OpCall, trace: Trace) -> OpQuantizerConfig | None:
    """The config of what a recorded operation reads of states; of recurrent layers nothing else."""
    if call.op is None or not call.op.states_only:
        return call_config(call, trace)
    return op_config(call.scope, call.full_name, call.types, call.op, on=True)


def is_left_alone(call: OpCall) -> bool:
    """Whether the call asks for nothing where it is integer arithmetic (PLACE-14)."""
    return leaves_alone(call.scope.settings.config, call.full_name)


def layer_config(scope: ModuleScope, key: str, op: SupportedOp) -> OpQuantizerConfig | None:
    """The config of the operation that a standard module performs."""
    return op_config(scope, scope.full_name(key), (key,), op)


def op_config(
    scope: ModuleScope,
    full_name: str,
    types: tuple[str, ...],
    op: SupportedOp | None,
    on: bool = False,
) -> OpQuantizerConfig | None:
    """The config of an operation.

    Args:
        scope: Of the module that calls it.
        full_name: Its name in the model.
        types: The names its type goes by.
        op: What is known about it; None leaves it alone.
        on: Whether it is quantized though it is off by default.
    """
    config = scope.settings.config
    if config is None or op is None:
        return None
    if not (on or op.by_default) and not _is_named(config, full_name, types):
        return None
    return config.op_config(full_name, types)


def _is_named(config: ModuleQuantizerConfig, full_name: str, types: tuple[str, ...]) -> bool:
    if any(op_type in config.op_type_config for op_type in types):
        return True
    # A pattern such as ".*" means the operations that are on; an exact name means this one.
    exact = {full_name, re.escape(full_name)}
    return any(pattern in exact for pattern in config.op_name_config)
