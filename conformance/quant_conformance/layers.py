"""How a layer is written in a vector set: steps among the arguments, operands among the tensors.

Operand ``x`` is a tensor of its name: codes, if the argument ``operands`` gives it a spec, else
float32 or int32. Its qparams are the tensors ``x:scale``, ``x:zero_point`` and ``x:minval``, and
those of the result ``output:scale`` and so on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_conformance.protocol import Array
from quant_reference.admissible import Arithmetic, FloatLayer, Layer, QuantizedTensor, Step
from quant_reference.admissible.operations import CLAUSES
from quant_reference.qparams import QParams
from quant_reference.spec import QuantizationSpec

if TYPE_CHECKING:
    from quant_vectors import Case

Tensors = Mapping[str, Array]

OUTPUT = "output"

_DEFAULTS = QuantizationSpec().to_dict()
"""Members of a spec that its plain form may leave out (SPEC-1)."""


def layer_clauses(layer: Layer) -> tuple[str, ...]:
    """Clauses that the sets of a layer follow from."""
    spec = layer.output_spec
    quantized = (*quantize_clauses(spec), *(() if spec.format.is_integer else ("Q-7",)))
    steps = dict.fromkeys(CLAUSES[step.op] for step in layer.steps)
    return ("ADM-1", *steps, "ADM-11", "ADM-12", "ADM-13", *quantized)


def quantize_clauses(spec: QuantizationSpec) -> tuple[str, ...]:
    """Clauses that the codes of a spec follow from, whatever its qparams are."""
    if not spec.format.is_integer:
        return ("Q-1", "Q-5")
    return ("Q-1", "Q-2", "Q-4" if spec.qformulation == "minval" else "Q-3")


def layer_arguments(layer: Layer | FloatLayer) -> dict[str, Any]:
    """Arguments of a case that asks a layer: ``steps``, ``operands`` and ``arithmetic``."""
    return {
        "steps": [step.to_dict() for step in layer.steps],
        "operands": {name: _kind(operand) for name, operand in layer.operands.items()},
        "arithmetic": layer.arithmetic.to_dict(),
    }


def layer_inputs(layer: Layer | FloatLayer) -> dict[str, Array]:
    """Input tensors of a case that asks a layer.

    Raises:
        ValueError: Two tensors of one name.
    """
    named: list[tuple[str, Array]] = []
    for name, operand in layer.operands.items():
        if isinstance(operand, QuantizedTensor):
            named += [(name, operand.codes), *_qparams_tensors(name, operand.qparams)]
        else:
            named.append((name, operand))
    if isinstance(layer, Layer):
        named += _qparams_tensors(OUTPUT, layer.output_qparams)
    tensors = dict(named)
    if len(tensors) != len(named):
        names = sorted({name for name, _ in named if [n for n, _ in named].count(name) > 1})
        raise ValueError(f"a layer with two tensors called {names}")
    return tensors


def layer_of(case: Case, tensors: Tensors) -> Layer:
    """The layer that a case asks, its result quantized by the case's spec."""
    spec = QuantizationSpec.from_dict(dict(case.spec or {}))
    steps, operands, arithmetic = _parts(case, tensors)
    return Layer(steps, operands, spec, _qparams(OUTPUT, tensors), arithmetic)


def float_layer_of(case: Case, tensors: Tensors) -> FloatLayer:
    """The layer that a case asks, its result not quantized."""
    return FloatLayer(*_parts(case, tensors))


def _parts(
    case: Case, tensors: Tensors
) -> tuple[tuple[Step, ...], dict[str, QuantizedTensor | Array], Arithmetic]:
    arguments = case.arguments
    steps = tuple(Step.from_dict(step) for step in arguments["steps"])
    operands: dict[str, QuantizedTensor | Array] = {}
    for name, kind in arguments["operands"].items():
        if isinstance(kind, Mapping):
            spec = QuantizationSpec.from_dict(dict(kind))
            operands[name] = QuantizedTensor(tensors[name], spec, _qparams(name, tensors))
        else:
            operands[name] = tensors[name]
    return steps, operands, Arithmetic.from_dict(arguments["arithmetic"])


def _kind(operand: QuantizedTensor | Array) -> Any:
    if isinstance(operand, QuantizedTensor):
        plain = operand.spec.to_dict()
        return {k: v for k, v in plain.items() if k == "dtype" or v != _DEFAULTS[k]}
    return np.asarray(operand).dtype.name


def _qparams_tensors(name: str, qparams: QParams) -> list[tuple[str, Array]]:
    parts: dict[str, Array | None] = {
        "scale": qparams.scale,
        "zero_point": qparams.zero_point,
        "minval": qparams.minval,
    }
    return [(f"{name}:{part}", array) for part, array in parts.items() if array is not None]


def _qparams(name: str, tensors: Tensors) -> QParams:
    return QParams(
        tensors[f"{name}:scale"],
        tensors.get(f"{name}:zero_point"),
        tensors.get(f"{name}:minval"),
    )
