"""What the file of a model must hold for each quantized weight, by the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from quant_conformance.gate.regions.expected import to_half
from quant_conformance.runtimes import StoredTensor
from quant_reference import (
    QParams,
    QuantizationSpec,
    compute_qparams,
    dequantize,
    quantize,
    value_range,
)

Array = NDArray[Any]


@dataclass(frozen=True)
class Expected:
    """A weight as the reference stores it.

    Attributes:
        name: its name in the model.
        spec: its spec.
        qparams: its qparams.
        codes: its codes.
    """

    name: str
    spec: QuantizationSpec
    qparams: QParams
    codes: Array


def expected_weights(
    prepared: Any, example: tuple[Any, ...], recomputed: bool = True
) -> list[Expected]:
    """Run a prepared model once and quantize by the reference what its weight quantizers see.

    Args:
        prepared: A model that quant_torch prepared.
        example: Inputs.
        recomputed: Whether the qparams are the reference's too; after training they are those of
            the last observed weights, and are taken as they are.
    """
    from quant_torch.quantization.spec import FakeQuantizeImplBase

    seen: dict[int, tuple[Any, Array]] = {}

    def note(module: Any, inputs: tuple[Any, ...], _: Any) -> None:
        seen.setdefault(id(module), (module, inputs[0].detach().numpy().copy()))

    handles = [
        module.register_forward_hook(note)
        for module in prepared.modules()
        if isinstance(module, FakeQuantizeImplBase) and module.quantization_target == "weight"
    ]
    try:
        with torch.no_grad():
            prepared(*example)
    finally:
        for handle in handles:
            handle.remove()
    return [_expected(module, x, recomputed) for module, x in seen.values()]


def _expected(module: Any, x: Array, recomputed: bool) -> Expected:
    fields = module.spec.model_dump(mode="json")
    fields["float_range"] = tuple(fields["float_range"])
    spec = QuantizationSpec.from_dict(fields)
    if recomputed:
        qparams = compute_qparams(*value_range(x, spec, "weight"), spec)
    else:
        scale, zero_point, minval = (
            None if q is None else q.detach().numpy() for q in module.calculate_qparams()
        )
        qparams = QParams(np.asarray(scale), zero_point, minval)
    return Expected(module.tensor_name, spec, qparams, quantize(x, spec, qparams))


def missing_weights(
    expected: Sequence[Expected], stored: Sequence[StoredTensor], half: bool
) -> list[str]:
    """Names of the weights that the file does not hold as the reference has them.

    Args:
        expected: The weights.
        stored: What is in the file, in any order.
        half: Whether scales and offsets were cast to float16.
    """
    return [e.name for e in expected if not any(_same(e, s, half) for s in stored)]


def _same(expected: Expected, stored: StoredTensor, half: bool) -> bool:
    """Whether codes and qparams agree, or, where a converter chose another type, the values."""
    if stored.codes.shape != expected.codes.shape:
        return False
    qparams = QParams(
        _cast(expected.qparams.scale, half and expected.spec.scale_dtype is None),
        expected.qparams.zero_point,
        _cast(expected.qparams.minval, half),
    )
    if stored.dtype == expected.spec.dtype and np.array_equal(stored.codes, expected.codes):
        scale = np.array_equal(stored.scale.astype(np.float32), qparams.scale)
        if expected.spec.qformulation == "minval":
            return scale and _equal(stored.minval, qparams.minval)
        if expected.spec.format.is_integer:
            return scale and _equal(stored.zero_point, qparams.zero_point)
        return scale
    wanted = dequantize(expected.codes, expected.spec, qparams)
    return bool(np.array_equal(stored.dequantized(), wanted))


def _cast(array: Array | None, half: bool) -> Any:
    return to_half(array) if half and array is not None else array


def _equal(stored: Array | None, wanted: Array | None) -> bool:
    if stored is None or wanted is None:
        return stored is wanted
    return bool(np.array_equal(stored.astype(np.float32), wanted.astype(np.float32)))
