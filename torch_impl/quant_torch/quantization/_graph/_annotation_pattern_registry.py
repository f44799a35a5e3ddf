"""Patterns as classes in a registry; the short form is ``register_pattern``.

::

    @_AnnotationPatternRegistry.register("div_act")
    class DivActPattern(NAryActPattern):
        @classmethod
        def generate_patterns(cls):
            return _get_all_patterns_from_base_ops({torch.div, operator.truediv}, use_act=True)

    @_AnnotationPatternRegistry.register("add_mul_sub")
    class AddMulSubPattern(BaseAnnotationPattern):
        @classmethod
        def generate_patterns(cls):
            return [OpsListPattern([torch.add, torch.mul, torch.sub])]
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, TypeVar

from quant_torch.quantization._graph import patterns
from quant_torch.quantization._graph._annotation_utils import OpsListPattern
from quant_torch.quantization._graph.ops import type_named_by
from quant_torch.quantization._graph.patterns import ACTIVATIONS, Pattern

P = TypeVar("P", bound="type[BaseAnnotationPattern]")


class BaseAnnotationPattern(ABC):
    """A family of chains; quantizers stand at the ends of a chain, never inside (PLACE-1)."""

    value_preserving: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def generate_patterns(cls) -> list[OpsListPattern]:
        """The chains, all of one length."""

    @classmethod
    def get_patterns(cls, key: str) -> tuple[Pattern, ...]:
        """The chains as patterns.

        Raises:
            ValueError: No chains, an empty one, or chains of different lengths.
            TypeError: Something in a chain names no operation.
        """
        chains = [tuple(type_named_by(op) for op in one.ops) for one in cls.generate_patterns()]
        if not chains or len({len(chain) for chain in chains}) != 1 or not chains[0]:
            raise ValueError(
                f"{cls.__name__}.generate_patterns must give chains of one length, at least 1; "
                f"given {chains}"
            )
        kind: Any = "value_preserving" if cls.value_preserving else "compute"
        return tuple(
            Pattern(key, tuple(frozenset({op}) for op in chain), kind)
            for chain in dict.fromkeys(chains)
        )


class NAryActPattern(BaseAnnotationPattern):
    """An operation of one or more inputs, with or without an activation behind it."""


class WeightedModulePattern(BaseAnnotationPattern):
    """A layer with a weight, with or without batch norm and activation behind it."""


class SharedObserverModulePattern(BaseAnnotationPattern):
    """An operation that keeps the values, so that input and output share qparams (PLACE-6)."""

    value_preserving: ClassVar[bool] = True


class _AnnotationPatternRegistry:
    """Pattern classes under keys; ``del REGISTRY[key]`` takes one out."""

    REGISTRY: ClassVar[dict[str, tuple[Pattern, ...]]] = patterns.ADDED

    @classmethod
    def register(cls, key: str) -> Callable[[P], P]:
        """Decorator that adds a pattern class under a key.

        Raises:
            ValueError: The key is taken, or the chains do not fit together.
        """

        def add(pattern_class: P) -> P:
            patterns.add_patterns(key, pattern_class.get_patterns(key))
            return pattern_class

        return add


def _get_all_patterns_from_base_ops(
    base_ops: Iterable[str | Callable[..., Any]], use_act: bool = False
) -> list[OpsListPattern]:
    """Each operation alone, or followed by every activation."""
    if not use_act:
        return [OpsListPattern([op]) for op in base_ops]
    return [OpsListPattern([op, act]) for op in base_ops for act in sorted(ACTIVATIONS)]
