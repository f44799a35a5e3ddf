"""Models that are exported with a defect on purpose, and the gate's verdict on them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quant_conformance.export_matrix.cell import build
from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.document import GateDocument
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.models.zoo import config_of
from quant_conformance.runtimes.quiet import quiet
from quant_torch.quantization import Quantizer, QuantizerConfig

BOTH = [(backend, mode) for backend in ("coreai", "coreml") for mode in ("graph", "eager")]


def prepared(
    mode: str, config: str = "w8a8", change: Callable[[Any], None] | None = None
) -> tuple[Quantizer, Any, list[Any]]:
    """A calibrated CNN with batch norm."""
    model = build("cnn")
    with torch.no_grad():  # statistics that are not those of a batch norm that never ran
        generator = torch.Generator().manual_seed(1)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.running_mean.copy_(torch.randn(module.num_features, generator=generator) / 4)
                module.running_var.copy_(torch.rand(module.num_features, generator=generator) / 8)
    if change is not None:
        change(model)
    batches = model.batches(4)
    quantizer = Quantizer(model, QuantizerConfig.from_dict(config_of(config, mode)))
    made = quantizer.prepare(batches[0])
    with quantizer.calibration_mode():
        for batch in batches[:-1]:
            made(*batch)
    return quantizer, made, batches


def judged(
    backend: str,
    mode: str,
    plant: Callable[[Any], None],
    config: str = "w8a8",
    repro: Path | None = None,
) -> GateDocument:
    """The verdict on an export whose finalized model was changed by ``plant``."""
    with quiet():
        quantizer, model, batches = prepared(mode, config)
        finalized = quantizer.finalize(backend=backend)
        with torch.no_grad():
            plant(finalized)
    subject = Subject("cnn", None, batches, prepared=model, finalized=finalized)
    return check_export(subject, None, Question(backend, repro=repro))


@functools.cache
def untouched(backend: str, mode: str) -> GateDocument:
    """The verdict where nothing was changed."""
    return judged(backend, mode, lambda _: None)


def failing(document: GateDocument) -> list[str]:
    """Names of the tensors and weights that do not pass, in order."""
    assert document.failure is None, document.detail
    layers = [x.name for x in document.layers if x.verdict not in ("exact", "admissible")]
    return [*layers, *(w.name for w in document.weights if w.verdict != "exact")]
