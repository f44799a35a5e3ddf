"""Warnings about operations that a config names and the model does not have."""

from __future__ import annotations

import re
import warnings

from quant_torch._suggest import closest
from quant_torch.quantization._eager._tracing import Trace
from quant_torch.quantization._eager.supported_ops_registry import supported_functions
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
