"""Warnings about operations that a config names and the model does not have."""

from __future__ import annotations

import re
import warnings

from quant_torch._suggest import closest
from quant_torch.quantization._eager._op_configs import call_config
from quant_torch.quantization._eager._tracing import Trace, own_tensors
from quant_torch.quantization._eager.supported_ops_registry import supported_functions
from quant_torch.quantization._spec_keys import SpecKeys
from quant_torch.quantization.config import QuantizerConfig


def warn_about_unmatched_ops(config: QuantizerConfig, trace: Trace) -> None:
    """Warn about every op_type_config and op_name_config entry that no operation matches.

    Args:
        config: The config.
        trace: A recorded run of the model.

    Warns:
        UserWarning: With the closest types or names.
    """
    known = [call for call in trace.calls if call.op is not None]
    types = {op_type for call in known for op_type in call.types}
    names = {call.full_name for call in known}
    supported = {op.key for op in supported_functions().values()}
    entries = [
        config.global_config,
        *config.module_type_configs.values(),
        *config.module_name_configs.values(),
    ]
    for entry in entries:
        if entry is None:
            continue
        for op_type in entry.op_type_config:
            if op_type not in types:
                hint = closest(op_type, types or supported, 3)
                why = "no operation" if op_type in supported else "no supported operation"
                warnings.warn(f"{why} has the type {op_type!r}{hint}", stacklevel=2)
        for pattern in entry.op_name_config:
            if not any(re.fullmatch(pattern, name) for name in names):
                hint = closest(pattern, names, 3)
                warnings.warn(f"no operation matches the name {pattern!r}{hint}", stacklevel=2)


def warn_about_unknown_keys(trace: Trace) -> None:
    """Warn about keys of spec dicts that name no tensor.

    Args:
        trace: A recorded run of the model.

    Warns:
        UserWarning: With the closest key and all that there are.
    """
    keys = SpecKeys()
    for call in trace.calls:
        config = call_config(call, trace)
        if config is None:
            continue
        keys.offer("op_state_spec", config.op_state_spec)
        for tensor in call.inputs:
            attributes = [attribute for _, attribute in tensor.owners]
            keys.offer("op_input_spec", config.op_input_spec, tensor.index, tensor.name)
            keys.offer("op_state_spec", config.op_state_spec, *attributes)
        keys.offer("op_output_spec", config.op_output_spec, *call.outputs)
    for running in trace.module_calls:
        boundary = running.scope.settings.boundary
        if boundary is not None:
            states = [name for name, _ in own_tensors(running.scope.module)]
            keys.offer("module_input_spec", boundary.module_input_spec, *running.input_keys)
            keys.offer("module_output_spec", boundary.module_output_spec, *running.output_keys)
            keys.offer("module_state_spec", boundary.module_state_spec, *states)
    keys.warn_about_unknown(lambda message: warnings.warn(message, stacklevel=4))
