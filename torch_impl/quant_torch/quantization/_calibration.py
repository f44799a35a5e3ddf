"""Which quantizers hold ranges of the example inputs alone, and the warning about them."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable

from torch import nn

from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase

_NAMED = 5


def warn_if_not_calibrated(quantizers: Iterable[FakeQuantizeImplBase]) -> None:
    """Name the activation quantizers whose range comes from the example inputs alone.

    Weights, fixed ranges and qparams that are recomputed for every tensor need no calibration.

    Args:
        quantizers: Those of a prepared model.

    Warns:
        UserWarning: There is one.
    """
    names = [q.tensor_name or "an activation" for q in quantizers if _needs_calibration(q)]
    if not names:
        return
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    warnings.warn(
        "the model was not calibrated: the ranges of "
        f"{', '.join(names[:_NAMED])}{more} come from the example inputs of prepare() alone; run "
        "representative inputs inside calibration_mode(), or train inside training_mode()",
        stacklevel=_level_of_caller(),
    )


def mark_prepared(model: nn.Module) -> None:
    """Forget that the example inputs were observed: from now on, observing is calibration."""
    for module in fake_quantizers(model):
        module.is_calibrated = False


def _needs_calibration(quantizer: FakeQuantizeImplBase) -> bool:
    return (
        quantizer.quantization_target == "activation"
        # One that is fresh was never reached, and is left out.
        and not (quantizer.is_calibrated or quantizer.is_stateless or quantizer.is_fresh)
        and not quantizer.disabled
        and None in quantizer.qparams_calculator.float_range
    )


def _level_of_caller() -> int:
    """The stacklevel, for a warning given by the calling function, of the user's own frame."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and _is_ours(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    return level


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] == "quant_torch"
