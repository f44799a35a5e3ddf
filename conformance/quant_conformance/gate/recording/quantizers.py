"""The fake-quantize modules of a prepared model, of quant_torch and of coreai-opt alike."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np

from quant_conformance.gate.errors import GateError
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec

_KEYS = {
    "PerTensorGranularity": "per_tensor",
    "PerChannelGranularity": "per_channel",
    "PerBlockGranularity": "per_block",
}


@dataclass(frozen=True)
class QuantizerFacts:
    """What a fake-quantize module does.

    Attributes:
        name: the tensor that it quantizes.
        target: "weight" or "activation".
        spec: how, in the reference's terms.
        qparams: its present qparams, in the rank that they broadcast from.
    """

    name: str
    target: str
    spec: QuantizationSpec
    qparams: QParams


def quantizer_modules(model: Any) -> Iterator[tuple[str, Any]]:
    """Yields the name and module of each fake-quantize module, one that stands twice once.

    Args:
        model: a prepared model of quant_torch or coreai-opt.
    """
    kinds = _kinds()
    for name, module in model.named_modules():
        if isinstance(module, kinds):
            yield name, module


def facts_of(path: str, module: Any, shape: tuple[int, ...]) -> QuantizerFacts | None:
    """Returns what a fake-quantize module does to a tensor, or None if it does nothing.

    Args:
        path: its name among the model's modules.
        module: the module.
        shape: shape of the tensor that it gets.

    Raises:
        GateError: its qparams are recomputed for each tensor, which no export can hold.
    """
    if not _is_on(module):
        return None
    name = getattr(module, "tensor_name", "") or path
    calculator = module.qparams_calculator
    if "ynamic" in type(calculator).__name__:
        raise GateError(f"{name} is quantized dynamically, which cannot be exported (SPEC-5)")
    scale, zero_point, minval = (_array(q) for q in _qparams(module))
    if scale is None:
        return None
    spec = _spec(module, calculator)
    integer, by_minval = spec.format.is_integer, spec.qformulation == "minval"
    qparams = QParams(
        _ranked(scale.astype(np.float32), shape),
        _ranked(zero_point, shape, np.int32) if integer and not by_minval else None,
        _ranked(minval, shape, np.float32) if integer and by_minval else None,
    )
    target = getattr(calculator.quantization_target, "value", calculator.quantization_target)
    return QuantizerFacts(name, str(target), spec, qparams)


def _kinds() -> tuple[type, ...]:
    from quant_torch.quantization.spec import FakeQuantizeImplBase

    kinds: list[type] = [FakeQuantizeImplBase]
    if find_spec("coreai_opt") is not None:  # else no model of theirs can have been given
        from coreai_opt.quantization.spec.fake_quantize import FakeQuantizeImplBase as Theirs

        kinds.append(Theirs)
    return tuple(kinds)


def _is_on(module: Any) -> bool:
    off = bool(getattr(module, "disabled", False) or getattr(module, "_disabled", False))
    return bool(module.fake_quant_enabled) and not off


def _qparams(module: Any) -> tuple[Any, Any, Any]:
    if hasattr(module, "is_fresh"):  # ours
        if module.is_fresh:
            return None, None, None
        scale, zero_point, minval = module.calculate_qparams()
        return scale, zero_point, minval
    calculator = module.qparams_calculator
    scale, zero_point, minval = (
        getattr(calculator, name, None) for name in ("scale", "zero_point", "minval")
    )
    return scale, zero_point, minval


def _spec(module: Any, calculator: Any) -> QuantizationSpec:
    scale_dtype = getattr(calculator, "scale_dtype", None)
    return QuantizationSpec.from_dict(
        {
            "dtype": str(module.dtype).removeprefix("torch.").removesuffix("_x2"),
            "qscheme": str(getattr(calculator.qscheme, "value", calculator.qscheme)),
            "qformulation": str(getattr(module.qformulation, "value", module.qformulation)),
            "granularity": _granularity(calculator.granularity),
            "scale_dtype": None if scale_dtype is None else str(scale_dtype).removeprefix("torch."),
        }
    )


def _granularity(granularity: Any) -> dict[str, Any]:
    kind = _KEYS.get(type(granularity).__name__)
    if kind is None:
        raise GateError(f"a granularity of {type(granularity).__name__}, not one of {list(_KEYS)}")
    plain: dict[str, Any] = {"type": kind}
    if kind != "per_tensor":
        plain["axis"] = granularity.axis
    if kind == "per_block":
        plain["block_size"] = granularity.block_size
    return plain


def _array(tensor: Any) -> Array | None:
    if tensor is None:
        return None
    detached = tensor.detach().cpu()
    if not str(detached.dtype).startswith(("torch.int", "torch.uint")):
        detached = detached.float()
    array: Array = detached.numpy()
    return array


def _ranked(array: Array | None, shape: tuple[int, ...], dtype: Any = None) -> Any:
    """In the tensor's rank, a scalar with all ones."""
    if array is None:
        return None
    if array.ndim != len(shape):
        if array.size != 1:
            raise GateError(f"qparams of shape {array.shape} for a tensor of shape {shape}")
        array = array.reshape((1,) * len(shape))
    return array if dtype is None else array.astype(dtype)
