"""Every flag of the frozen set: the bug it catches, the bug's effect, and where it was seen."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quant_conformance.generate.flag import Flag
from quant_conformance.generate.flags_elements import LAYOUT, ROUNDING, SPECIAL
from quant_conformance.generate.flags_tensors import (
    EXPORT,
    LAYER,
    LIFECYCLE,
    OBSERVERS,
    PLACEMENT,
    QPARAMS,
)

FLAGS: Mapping[str, Flag] = MappingProxyType(
    {
        **ROUNDING,
        **SPECIAL,
        **LAYOUT,
        **QPARAMS,
        **OBSERVERS,
        **PLACEMENT,
        **EXPORT,
        **LAYER,
        **LIFECYCLE,
    }
)
"""Flag -> what it means."""
