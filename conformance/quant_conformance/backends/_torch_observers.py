"""The MinMax observers that torch.ao.quantization and torchao's PT2E flow both have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec
from quant_reference.granularity import PerBlock, PerChannel


def observed(
    namespace: Any,
    batches: Sequence[Array],
    spec: QuantizationSpec,
    kind: str,
    averaging_constant: float,
) -> QParams:
    """Feeds batches to the observer that the spec describes.

    Args:
        namespace: module that holds the observer classes.
        batches: float32 arrays.
        spec: the spec; of it, what the observers claim to do.
        kind: "static" (an observer that is reset before each batch), "global_minmax",
            "moving_average" or "dynamic" (in torch: a moving average with constant 1).
        averaging_constant: of the moving average.

    Raises:
        NotImplementedError: For what the observers do not claim.
    """
    if not batches:
        raise NotImplementedError("an observer without a batch documents scale 1")
    _check(spec, batches)
    if kind == "moving_average" and not _around_zero(spec, batches):
        raise NotImplementedError("documented to average the raw range, and to add zero last")
    options = _options(spec, batches[0].ndim)
    name = "MinMaxObserver"
    if isinstance(spec.granularity, PerChannel):
        name = f"PerChannel{name}"
    if kind in ("moving_average", "dynamic"):
        name = f"MovingAverage{name}"
        options["averaging_constant"] = averaging_constant if kind == "moving_average" else 1
    observer = getattr(namespace, name)(**options)
    for batch in batches:
        if kind == "static":
            observer.reset_min_max_vals()
        observer(to_torch(batch))
    scale, zero_point = observer.calculate_qparams()
    shape = [1] * batches[0].ndim
    if isinstance(spec.granularity, PerChannel):
        shape[options["ch_axis"]] = -1
    return QParams(
        to_numpy(scale).reshape(shape), to_numpy(zero_point).astype(np.int32).reshape(shape)
    )


def _check(spec: QuantizationSpec, batches: Sequence[Array]) -> None:
    if not spec.format.is_integer:
        raise NotImplementedError("observers take integer formats only")
    if spec.qformulation == "minval":
        raise NotImplementedError("observers know the zero-point formulation only")
    if spec.float_range != (None, None):
        raise NotImplementedError("observers take no fixed range")
    if isinstance(spec.granularity, PerBlock):
        raise NotImplementedError("observers work per tensor or per channel")
    if spec.qscheme != "asymmetric" and spec.dtype in ("uint2", "uint4"):
        raise NotImplementedError("documented with zero point 128 for every unsigned range")
    if len({batch.ndim for batch in batches}) > 1:
        raise NotImplementedError("observers do not ask for the rank of a batch")
    if any(batch.dtype != np.float32 for batch in batches):
        raise NotImplementedError("observers compute in float32 whatever the dtype of x is")


def _axis(granularity: PerChannel, rank: int) -> int:
    if granularity.axis is None:
        raise NotImplementedError("observers have no axis of their own for a module")
    if -rank <= granularity.axis < 0:
        return granularity.axis + rank
    return granularity.axis  # one out of range is for torch to refuse


def _around_zero(spec: QuantizationSpec, batches: Sequence[Array]) -> bool:
    """Tells whether zero is in the range of every batch, so that adding it changes nothing."""
    for batch in batches:
        inside: tuple[int, ...] = tuple(range(batch.ndim))
        if isinstance(spec.granularity, PerChannel):
            axis = _axis(spec.granularity, batch.ndim)
            inside = tuple(i for i in inside if i != axis)
        if (np.min(batch, axis=inside) > 0).any() or (np.max(batch, axis=inside) < 0).any():
            return False
    return True


def _options(spec: QuantizationSpec, rank: int) -> dict[str, Any]:
    import torch

    signed = spec.format.kind == "int"
    options: dict[str, Any] = {"dtype": torch.qint8 if signed else torch.quint8}
    if (spec.quant_min, spec.quant_max) not in ((-128, 127), (0, 255)):
        options |= {"quant_min": int(spec.quant_min), "quant_max": int(spec.quant_max)}
    scope = "tensor"
    if isinstance(spec.granularity, PerChannel):
        scope = "channel"
        options["ch_axis"] = _axis(spec.granularity, rank)
    scheme = "affine" if spec.qscheme == "asymmetric" else "symmetric"
    options["qscheme"] = getattr(torch, f"per_{scope}_{scheme}")
    return options
