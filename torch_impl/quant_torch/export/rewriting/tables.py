"""The rules by target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from quant_torch.export.rewriting._rule import Rule, Rules, aten
from quant_torch.export.rewriting.activations import ACTIVATIONS, CLAMPS, rms_norm
from quant_torch.export.rewriting.arithmetic import (
    ALPHA,
    BLENDS,
    FLAGS,
    FUNCTIONS,
    WHOLE,
    expm1,
    log,
    log1p,
)
from quant_torch.export.rewriting.numbers import LACKING, NUMBERS
from quant_torch.export.rewriting.pools import COREAI_POOLS, COREML_POOLS
from quant_torch.export.rewriting.resizing import COREAI_RESIZING, RESIZING
from quant_torch.export.rewriting.shapes import SHAPES
from quant_torch.export.rewriting.sums import SUMS

COREML: Rules = {
    **ALPHA,
    **WHOLE,
    **FUNCTIONS,
    **BLENDS,
    **FLAGS,
    **CLAMPS,
    **ACTIVATIONS,
    **COREML_POOLS,
    **SUMS,
    **SHAPES,
    **RESIZING,
    aten.log.default: log,
    aten.rms_norm.default: rms_norm,
}
"""By the operations of a trace."""

COREAI: Rules = {
    **ALPHA,
    **WHOLE,
    **NUMBERS,
    **LACKING,
    **COREAI_POOLS,
    **COREAI_RESIZING,
    aten.log1p.default: log1p,
    aten.expm1.default: expm1,
}
"""By the operations of an exported program."""


def over(ours: Rules, theirs: Mapping[Any, Rule]) -> dict[Any, Rule]:
    """A table of decompositions in which ours come first, and theirs where ours do not apply."""

    def both(first: Rule, second: Rule) -> Rule:
        def decompose(*args: Any, **kwargs: Any) -> Any:
            result = first(*args, **kwargs)
            return second(*args, **kwargs) if result is NotImplemented else result

        return decompose

    table = dict(theirs)
    for overload, rule in ours.items():
        table[overload] = both(rule, theirs[overload]) if overload in theirs else rule
    return table
