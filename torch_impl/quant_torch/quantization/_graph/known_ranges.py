"""Operations whose outputs lie in a known range, and what that does to a spec (PLACE-8)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import fx

from quant_torch.quantization._graph.functionalize import MUTATED
from quant_torch.quantization._graph.ops import op_type
from quant_torch.quantization._graph.value_preserving import (
    divisor_ratio,
    is_average,
    stays_inside,
)
from quant_torch.quantization.spec.qparams_calculator import StatelessQParamsCalculatorBase
from quant_torch.quantization.spec.qscheme import QuantizationScheme
from quant_torch.quantization.spec.spec import QuantizationSpec


@dataclass(frozen=True)
class KnownRange:
    """A range that holds whatever the data.

    Attributes:
        low: Lower bound, at most 0, or None.
        high: Upper bound, at least 0, or None.
        reached: Whether data usually reach the upper bound, so that it is taken for theirs.
    """

    low: float | None
    high: float | None
    reached: bool = False

    @property
    def scheme(self) -> QuantizationScheme:
        """Symmetric where the bounds are."""
        mirrored = self.low is not None and self.high is not None and self.low == -self.high
        return QuantizationScheme.SYMMETRIC if mirrored else QuantizationScheme.ASYMMETRIC

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """The bounds that do not come from the data."""
        if self.scheme is QuantizationScheme.SYMMETRIC:
            return None, None  # one bound is that of the data, and so is the other
        high = self.high if self.reached or self.high == 0.0 else None
        return (0.0 if self.low == 0.0 else None), high


_OUTPUTS = {
    "relu": KnownRange(0.0, None),
    "relu6": KnownRange(0.0, 6.0, reached=True),
    "sigmoid": KnownRange(0.0, 1.0),
    "hardsigmoid": KnownRange(0.0, 1.0),
    "tanh": KnownRange(-1.0, 1.0),
}
# In training they scale up what they keep, and give 0 for the rest.
_SCALING = frozenset({"dropout", "feature_dropout"})


def known_range(node: fx.Node, known: dict[fx.Node, KnownRange | None]) -> KnownRange | None:
    """The known range of a node's value, or None.

    Args:
        node: A node of the graph; the nodes before it must have been asked before.
        known: What was found so far; extended.
    """
    if node not in known:
        known[node] = _range_of(node, known)
    return known[node]


def _range_of(node: fx.Node, known: dict[fx.Node, KnownRange | None]) -> KnownRange | None:
    kind = op_type(node)
    if node.meta.get(MUTATED):
        return None  # what is written later may be anything
    if kind in _OUTPUTS:
        return _OUTPUTS[kind]
    if kind == "hardtanh":
        return _hardtanh(node)
    scales = kind in _SCALING or (is_average(node) and divisor_ratio(node) > 0)
    if not scales and not stays_inside(node):
        return None
    inner = hull(known.get(source) for source in node.all_input_nodes)
    if inner is None or (kind not in _SCALING and stays_inside(node)):
        return inner
    return _bounds_of_zero(inner)


def _hardtanh(node: fx.Node) -> KnownRange | None:
    arguments = dict(zip(("min_val", "max_val"), node.args[1:], strict=False)) | dict(node.kwargs)
    low, high = arguments.get("min_val", -1.0), arguments.get("max_val", 1.0)
    if not isinstance(low, int | float) or not isinstance(high, int | float):
        return None
    widened = KnownRange(min(float(low), 0.0), max(float(high), 0.0))
    if widened == KnownRange(0.0, 6.0):
        return _OUTPUTS["relu6"]  # as nn.ReLU6 is captured
    return None if widened.low == widened.high else widened


def _bounds_of_zero(inner: KnownRange) -> KnownRange | None:
    low = 0.0 if inner.low == 0.0 else None
    high = 0.0 if inner.high == 0.0 else None
    return None if low is None and high is None else KnownRange(low, high)


def hull(ranges: Iterable[KnownRange | None]) -> KnownRange | None:
    """The least range that holds several; None where one of them, or every bound, is unknown."""
    found = list(ranges)
    if not found or any(r is None for r in found):
        return None
    lows = [r.low for r in found if r is not None]
    highs = [r.high for r in found if r is not None]
    low = None if None in lows else min(low for low in lows if low is not None)
    high = None if None in highs else max(high for high in highs if high is not None)
    if low is None and high is None:
        return None
    return KnownRange(low, high, any(r.reached and r.high == high for r in found if r is not None))


def within(
    spec: QuantizationSpec,
    known: KnownRange | None,
    bounds: tuple[float | None, float | None] | None = None,
) -> QuantizationSpec:
    """A spec for values of a known range (PLACE-8): its scheme, and bounds that are always reached.

    Float formats stay as they are; a dynamic spec takes the scheme only.

    Args:
        spec: As the config says.
        known: The range.
        bounds: Other bounds to take from it; None for those of the clause.
    """
    if known is None or not spec.format.is_integer:
        return spec
    changes: dict[str, Any] = {"qscheme": known.scheme}
    dynamic = issubclass(spec.qparam_calculator_cls, StatelessQParamsCalculatorBase)
    if not dynamic and spec.float_range == (None, None):
        changes["float_range"] = known.bounds if bounds is None else bounds
    return spec.model_copy(update=changes)
