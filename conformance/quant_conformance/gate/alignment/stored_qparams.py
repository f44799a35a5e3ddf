"""Whether the qparams and codes that a file stores are the ones that it has to hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from quant_conformance.gate.alignment.matching import difference
from quant_conformance.gate.alignment.thresholds import THRESHOLDS
from quant_conformance.gate.recording.recorder import Quantization
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import ProgramQuantizer, Readout
from quant_conformance.runtimes.stored import StoredTensor
from quant_reference import QParams, QuantizationSpec, dequantize


def differing_qparams(quantizer: ProgramQuantizer, spec: QuantizationSpec, qparams: QParams) -> str:
    """Says how the qparams of an activation differ, in few words; empty where they are equal.

    Args:
        quantizer: what the file does.
        spec: what the prepared model does.
        qparams: its qparams, as the program has to hold them.
    """
    if quantizer.dtype != spec.dtype:
        return f"{quantizer.dtype} in the file, {spec.dtype} in the prepared model"
    readouts = [("quantize", quantizer.quantize)]
    readouts += [("dequantize", readout) for readout in quantizer.dequantize]
    for operation, readout in readouts:
        said = _differing(readout, spec, qparams)
        if said:
            return f"{operation}: {said}"
    axes = [axis for axis, blocks in enumerate(qparams.scale.shape) if blocks > 1]
    rank = len(quantizer.shape)
    if len(axes) == 1 and rank == qparams.scale.ndim and quantizer.quantize.axis % rank != axes[0]:
        return f"scales along axis {quantizer.quantize.axis}, not {axes[0]}"
    return ""


def read_values(quantizer: ProgramQuantizer, codes: Array, spec: QuantizationSpec) -> Array | None:
    """What the readers of a quantizer in the file get for codes; None if they do not agree.

    Args:
        quantizer: what the file does, in the codes of the prepared model.
        codes: the codes.
        spec: the prepared model's.
    """
    found: list[Array] = []
    for readout in quantizer.dequantize:
        shape = [1] * codes.ndim
        if readout.scale.size > 1:
            shape[readout.axis] = readout.scale.size
        scale = readout.scale.astype(np.float32).reshape(shape)
        zero_point, minval = None, None
        if spec.format.is_integer and spec.qformulation == "zp":
            given = np.zeros(()) if readout.zero_point is None else readout.zero_point
            zero_point = np.broadcast_to(given, readout.scale.shape).astype(np.int32).reshape(shape)
        elif spec.format.is_integer:
            given = np.zeros(()) if readout.offset is None else readout.offset
            minval = np.broadcast_to(given, readout.scale.shape).astype(np.float32).reshape(shape)
        found.append(dequantize(codes, spec, QParams(scale, zero_point, minval)))
    if not found or any(not np.array_equal(found[0], other) for other in found[1:]):
        return None
    return found[0]


def _differing(readout: Readout, spec: QuantizationSpec, qparams: QParams) -> str:
    pairs: list[tuple[str, Array | None, Array | None]] = [("scale", readout.scale, qparams.scale)]
    if spec.format.is_integer:
        if spec.qformulation == "zp":
            pairs.append(("zero_point", readout.zero_point, qparams.zero_point))
        else:
            pairs.append(("minval", readout.offset, qparams.minval))
    for name, given, wanted in pairs:
        if wanted is None:
            continue
        found = np.zeros(wanted.shape) if given is None else given
        said = _first_difference(np.asarray(found), np.asarray(wanted))
        if said:
            return f"{name} {said}"
    return ""


def _first_difference(given: Array, wanted: Array) -> str:
    if given.size != wanted.size:
        return f"has {given.size} entries in the file, {wanted.size} in the prepared model"
    found, right = (a.reshape(-1).astype(np.float64) for a in (given, wanted))
    different = np.flatnonzero(~((found == right) | (np.isnan(found) & np.isnan(right))))
    if different.size == 0:
        return ""
    at = int(different[0])
    where = "" if found.size == 1 else f"[{at}]"
    more = "" if different.size < 2 else f" ({different.size} of {found.size} entries differ)"
    values = f"{float(found[at])!r} in the file, {float(right[at])!r} in the prepared model"
    return f"{where} is {values}{more}".strip()


def pair_weights(
    quantizations: Sequence[Quantization],
    expected: Expected,
    stored: Mapping[str, StoredTensor],
    order_weight: float = THRESHOLDS.weight_order,
) -> dict[str, str]:
    """Finds the weights of a prepared model in a file, by their values.

    Args:
        quantizations: those of weights.
        expected: what they have to be.
        stored: what is in the file.
        order_weight: weight of the order, where values do not tell which is which.

    Returns:
        Result of the quantizer -> name in the file, one to one; without those that have nothing of
        their size.
    """
    values = {name: stored[name].dequantized().astype(np.float64) for name in stored}
    costs = np.full((len(quantizations), max(len(stored), 1)), 10.0)
    for i, quantization in enumerate(quantizations):
        right = expected.values(quantization).astype(np.float64).reshape(-1)
        for j, array in enumerate(values.values()):
            if array.size == right.size:
                order = abs(i / len(quantizations) - j / len(stored))
                costs[i, j] = difference(right, array.reshape(-1)) + order_weight * order
    names = list(stored)
    rows, columns = linear_sum_assignment(costs)
    return {
        quantizations[i].result: names[j]
        for i, j in zip(rows.tolist(), columns.tolist(), strict=True)
        if costs[i, j] <= 1.0 + order_weight
    }


def differing_weight(quantization: Quantization, expected: Expected, stored: StoredTensor) -> str:
    """Says how a stored weight differs; a converter may choose another type for equal values."""
    facts, codes = quantization.facts, expected.codes(quantization)
    spec, qparams = facts.spec, expected.qparams(quantization)
    right = dequantize(codes, spec, qparams)
    given = stored.dequantized().reshape(right.shape)
    if stored.dtype != spec.dtype:
        if np.array_equal(given, right):
            return ""
        return f"stored as {stored.dtype}, not {spec.dtype}, with other values"
    found = stored.codes.reshape(codes.shape)
    if not np.array_equal(found, codes):
        at = tuple(int(n) for n in np.argwhere(found != codes)[0])
        count = int(np.count_nonzero(found != codes))
        return (
            f"codes{list(at)} is {found[at]} in the file, {codes[at]} in the prepared model "
            f"({count} of {codes.size} codes differ)"
        )
    readout = Readout(stored.scale, stored.zero_point, stored.minval)
    said = _differing(readout, spec, qparams)
    if not said and not np.array_equal(given, right):
        return "equal codes and qparams along other axes"
    return said
