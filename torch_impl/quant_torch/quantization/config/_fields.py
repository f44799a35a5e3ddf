"""Field types that the configs share: dicts from tensor keys to specs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BeforeValidator

from quant_torch.quantization.spec.spec import (
    QuantizationSpec,
    default_activation_quantization_spec,
    default_weight_quantization_spec,
)

EVERY = "*"
"""Key of every tensor that no other key names."""


def _disabled_if_none(given: Any) -> Any:
    """A spec dict of None disables every tensor."""
    return {EVERY: None} if given is None else given


def _empty_if_none(given: Any) -> Any:
    return {} if given is None else given


def _indices_as_int(given: Any) -> Any:
    """Read ``"0"`` as the index 0: YAML and JSON keys may be strings."""
    if not isinstance(given, Mapping):
        return given
    read = {int(k) if isinstance(k, str) and k.isdecimal() else k: v for k, v in given.items()}
    for key in read:
        if isinstance(key, bool) or (isinstance(key, int) and key < 0):
            raise ValueError(f"spec key {key!r}: allowed are '*', an index >= 0, or a name")
    return read


TensorSpecs = Annotated[
    dict[int | str, QuantizationSpec | None],
    BeforeValidator(_disabled_if_none),
    BeforeValidator(_indices_as_int),
]
"""Specs of inputs or outputs, by ``"*"``, index or name; None disables."""

StateSpecs = Annotated[dict[str, QuantizationSpec | None], BeforeValidator(_disabled_if_none)]
"""Specs of parameters and buffers, by ``"*"`` or name; None disables."""

BoundarySpecs = Annotated[
    dict[int | str, QuantizationSpec | None],
    BeforeValidator(_empty_if_none),
    BeforeValidator(_indices_as_int),
]
"""Specs of module inputs or outputs; empty where the module is not treated as a whole."""

BoundaryStateSpecs = Annotated[dict[str, QuantizationSpec | None], BeforeValidator(_empty_if_none)]


def default_activations() -> dict[int | str, QuantizationSpec | None]:
    """The default spec for every activation."""
    return {EVERY: default_activation_quantization_spec()}


def default_state() -> dict[str, QuantizationSpec | None]:
    """The default spec for the weight."""
    return {"weight": default_weight_quantization_spec()}


def spec_for(
    specs: Mapping[Any, QuantizationSpec | None], *keys: int | str | None
) -> QuantizationSpec | None:
    """The spec of a tensor that goes by several keys; the first key that is named wins.

    Args:
        specs: One of the dicts above.
        *keys: The tensor's index and names.
    """
    for key in keys:
        if key is not None and key in specs:
            return specs[key]
    return specs.get(EVERY)


def names(specs: Mapping[Any, QuantizationSpec | None], *keys: int | str | None) -> bool:
    """Whether a spec dict says anything about a tensor, be it None."""
    return EVERY in specs or any(key in specs for key in keys if key is not None)
