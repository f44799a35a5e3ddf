"""One table: what each backend makes of a weight and of an activation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from quant_torch._backends import ExportBackend
from quant_torch.quantization._finalize import coreai, coreml
from quant_torch.quantization._finalize.facts import Facts
from quant_torch.quantization._finalize.storage import Storage


@dataclass(frozen=True)
class Forms:
    """The forms of one backend.

    Attributes:
        load: Makes sure that the backend's operators are there.
        activation: The module that takes the place of an activation's fake-quantize module.
        weight: The module that gives a weight from its codes, or None where the weight stays a
            parameter with buffers beside it.
        annotate: Puts those buffers beside a parameter, or None.
        mark: Marks the root of the model, or None.
    """

    load: Callable[[], None]
    activation: Callable[[Facts], nn.Module]
    weight: Callable[[Facts, torch.Tensor, Storage], nn.Module] | None = None
    annotate: Callable[[Facts, nn.Module, str], None] | None = None
    mark: Callable[[nn.Module], None] | None = None


FORMS: dict[ExportBackend, Forms] = {
    ExportBackend.CoreAI: Forms(
        load=coreai.load_operators,
        activation=coreai.CoreAIActivation,
        weight=coreai.CoreAIWeight,
    ),
    ExportBackend.CoreML: Forms(
        load=lambda: None,
        activation=coreml.CoreMLActivation,
        annotate=coreml.annotate_weight,
        mark=coreml.mark_root,
    ),
}
