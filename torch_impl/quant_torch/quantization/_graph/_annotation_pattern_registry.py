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

A class may have a ``match_single_pattern`` of its own, to leave out some of the matches. It gives
no annotations: quantizers are at the ends of a chain, by the config of its first operation.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar, TypeVar

from torch import fx

from quant_torch.quantization._graph import patterns
from quant_torch.quantization._graph._annotation_utils import (
    OpsListPattern,
    match_pattern_with_sequential_partitions,
)
from quant_torch.quantization._graph.patterns import ACTIVATIONS, Pattern

P = TypeVar("P", bound="type[BaseAnnotationPattern]")


class BaseAnnotationPattern(ABC):
    """A family of chains; quantizers are at the ends of a chain, never inside (PLACE-1)."""

    value_preserving: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def generate_patterns(cls) -> list[OpsListPattern]:
        """The chains, all of one length."""

    @classmethod
    def match_single_pattern(
        cls, model: fx.GraphModule, pattern: OpsListPattern
    ) -> Mapping[fx.Node, Any]:
        """Where one of the chains is to be quantized as one.

        Args:
            model: The captured graph.
            pattern: One of :meth:`generate_patterns`.

        Returns:
            Anything, by the first operation of each match.
        """
        return match_pattern_with_sequential_partitions(model, pattern)

    @classmethod
    def get_patterns(cls, key: str) -> tuple[Pattern, ...]:
        """The chains as patterns.

        Raises:
            ValueError: No chains, an empty one, or chains of different lengths.
            TypeError: Something in a chain names no operation, or the class annotates by itself.
        """
        if hasattr(cls, "get_annotator_func"):
            raise TypeError(
                f"{cls.__name__}.get_annotator_func cannot be used: quantizers are at the ends "
                "of a chain (PLACE-1); leave it out if that is what it does"
            )
        chains = {one.chain(): one for one in cls.generate_patterns()}
        if len({len(chain) for chain in chains}) != 1 or () in chains:
            raise ValueError(
                f"{cls.__name__}.generate_patterns must give chains of one length, at least 1; "
                f"given {[list(one.pattern) for one in chains.values()]}"
            )
        kind: Any = "value_preserving" if cls.value_preserving else "compute"
        return tuple(
            Pattern(key, chain, kind, partial(cls.match_single_pattern, pattern=one))
            for chain, one in chains.items()
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
    alone = [OpsListPattern([op]) for op in base_ops]
    if not use_act:
        return alone
    return [both for one in alone for both in _get_all_patterns_with_activations_appended(one)]


def _get_all_patterns_with_activations_appended(
    starting_pattern: OpsListPattern,
) -> list[OpsListPattern]:
    """A chain followed by every activation."""
    return [OpsListPattern([*starting_pattern.pattern, act]) for act in sorted(ACTIVATIONS)]
