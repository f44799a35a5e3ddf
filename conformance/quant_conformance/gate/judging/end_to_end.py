"""The whole file beside the prepared model, for information."""

from __future__ import annotations

import numpy as np

from quant_conformance.gate.alignment.reading import Reading
from quant_conformance.gate.document import EndToEnd
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import converted
from quant_conformance.verdicts.bits import code_ordinals
from quant_conformance.verdicts.noise import sqnr


def end_to_end(reading: Reading) -> EndToEnd:
    """How far a run of the whole file is from the prepared model's."""
    flipped = total = 0
    recording, expected = reading.recording, reading.expected
    for quantization in reading.regions.activations:
        partner = reading.pairing.partners.get(quantization.result)
        if partner is None or partner.codes not in reading.whole:
            continue
        spec, codes = quantization.facts.spec, expected.codes(quantization)
        found = converted(reading.whole[partner.codes], partner.dtype, spec.dtype)
        different = code_ordinals(found.reshape(codes.shape), spec) != code_ordinals(codes, spec)
        flipped += int(np.count_nonzero(different))
        total += codes.size
    known = [
        (recording.values[name], reading.whole[output])
        for output, name in zip(reading.outputs, recording.outputs, strict=True)
        if output in reading.whole
    ]
    wanted = [right for right, _ in known]
    given = [array.astype(np.float32).reshape(right.shape) for right, array in known]
    detail = "" if len(known) == len(reading.outputs) else f"some outputs {reading.not_computed}"
    ratios = [sqnr(a, b) for a, b in zip(given, wanted, strict=True)]
    finite = [ratio for ratio in ratios if ratio is not None]
    return EndToEnd(
        min(finite) if finite else None,
        flipped / total if total else 0.0,
        _top1(given[0], wanted[0]) if len(reading.outputs) == len(given) == 1 else None,
        len(reading.outputs),
        detail,
    )


def _top1(given: Array, wanted: Array) -> float | None:
    """Share of rows with the same greatest entry; None for what is no row of scores."""
    if wanted.ndim != 2 or wanted.shape[1] < 2:
        return None
    return float(np.mean(np.argmax(given, 1) == np.argmax(wanted, 1)))
