"""What of a model is quantized, counted by one run of the prepared model."""

from __future__ import annotations

from typing import Any

from quant_conformance.gate.document import InFloat, Shares
from quant_conformance.gate.recording.quantizers import quantizer_modules
from quant_conformance.gate.recording.subject import Subject


def shares_of(subject: Subject, quantizer: Any) -> Shares | None:
    """Counts parameters and multiply-adds, and what of them is quantized.

    Args:
        subject: the model and its data.
        quantizer: the Quantizer that has prepared it, or None where another package has.

    Returns:
        None for a model that cannot be followed.
    """
    from quant_torch.inspection import quantized_shares

    try:
        if quantizer is not None:
            found = quantizer.shares()
        else:
            example = subject.example.bound(subject.prepared)
            modules = [module for _, module in quantizer_modules(subject.prepared)]
            found = quantized_shares(
                subject.prepared,
                example.args,
                example_kwargs=example.kwargs or None,
                quantizers=modules,
            )
    except Exception:  # whatever the model does below torch; the file is judged all the same
        return None
    return Shares(
        found.parameters,
        found.quantized_parameters,
        found.multiply_adds,
        found.quantized_multiply_adds,
        [InFloat(one.name, one.operation, one.parameters, one.reason) for one in found.left],
    )
