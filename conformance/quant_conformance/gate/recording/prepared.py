"""Prepares and calibrates a subject, and records it."""

from __future__ import annotations

from typing import Any

from quant_conformance.gate.errors import GateError, told
from quant_conformance.gate.recording.quantizers import quantizer_modules
from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.gate.recording.subject import Subject


def record_subject(subject: Subject, config: Any) -> tuple[Any, Recording]:
    """Prepares and calibrates a model, and records its last batch.

    Args:
        subject: the model and its data.
        config: a QuantizerConfig.

    Returns:
        The quantizer, or None where there is none, and the recording.

    Raises:
        GateError: the model, its config and its data do not fit together, or it cannot be recorded.
    """
    try:
        quantizer, prepared = prepare_subject(subject, config)
        taker = prepared if subject.model is None else subject.model
        return quantizer, record(prepared, subject.example.bound(taker))
    except GateError:
        raise
    except Exception as error:  # whatever the user's model or the quantizer raises
        raise GateError(
            f"{subject.name} cannot be prepared with this config and data: {told(error)}"
        ) from error


def prepare_subject(subject: Subject, config: Any) -> tuple[Any, Any]:
    """Prepares and calibrates a model; one that was prepared elsewhere is taken as it is.

    Args:
        subject: the model and its data.
        config: a QuantizerConfig.

    Returns:
        The quantizer, or None where there is none, and the prepared model.

    Raises:
        GateError: what was given as prepared has no quantizer.
    """
    if subject.prepared is not None:
        if not any(quantizer_modules(subject.prepared)):
            raise GateError(
                f"{subject.name} has no fake-quantize module of quant_torch or coreai-opt: "
                "it is no prepared model, or it is finalized already"
            )
        return None, subject.prepared
    from quant_torch.quantization import Quantizer

    quantizer = Quantizer(subject.model, config)
    calibration = [batch.bound(subject.model) for batch in subject.calibration]
    first = calibration[0]
    prepared = quantizer.prepare(first.args, example_kwargs=first.kwargs or None)
    with quantizer.calibration_mode():
        for batch in calibration:
            batch.run(prepared)
    return quantizer, prepared
