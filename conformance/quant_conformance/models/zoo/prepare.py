"""Makes the models of the zoo ready: built, prepared, calibrated, perhaps trained."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import torch

from quant_conformance.models.zoo import CONFIGS, MODELS, config_of
from quant_conformance.protocol import QUANTIZERS


@dataclass(frozen=True)
class Prepared:
    """A model of the zoo, ready to be exported.

    Attributes:
        quantizer: its quantizer, not yet finalized.
        model: what ``prepare()`` gave.
        calibration: the inputs that calibrated it.
        example: inputs that it has not seen.
    """

    quantizer: Any
    model: Any
    calibration: list[tuple[Any, ...]]
    example: tuple[Any, ...]


def build(name: str) -> Any:
    """Make a model of the zoo, with the same random weights every time."""
    module, _, cls = MODELS[name].partition(":")
    with torch.random.fork_rng(devices=[]), one_thread():
        torch.manual_seed(0)
        model = getattr(import_module(f"quant_conformance.models.zoo.{module}"), cls)()
    return model.eval()


def prepare(model: str, config: str, mode: str, package: str = QUANTIZERS[0]) -> Prepared:
    """Prepare and calibrate a model, the same to the bit in any process of a processor.

    Args:
        model: Name in ``MODELS``.
        config: Name in ``CONFIGS``.
        mode: "graph" or "eager".
        package: One of ``QUANTIZERS``: whose Quantizer does it.
    """
    quantization = import_module(f"{package}.quantization")
    made = build(model)
    *calibration, example = made.batches(4)
    with one_thread():
        told = quantization.QuantizerConfig.from_dict(config_of(config, mode))
        quantizer = quantization.Quantizer(made, told)
        prepared = calibrated(quantizer, calibration, example)
        if CONFIGS[config].train:
            _train(quantizer, prepared, calibration)
    return Prepared(quantizer, prepared, calibration, example)


def calibrated(
    quantizer: Any, calibration: Sequence[tuple[Any, ...]], example: tuple[Any, ...]
) -> Any:
    """Prepares a quantizer's model on its example, and runs it on what calibrates it."""
    prepared = quantizer.prepare(example)
    with quantizer.calibration_mode():
        for batch in calibration:
            prepared(*batch)
    return prepared


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Lets torch compute in one thread: with several, sums are split and end in other bits."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _train(quantizer: Any, prepared: Any, batches: list[Any]) -> None:
    trained = [p for p in prepared.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 1e-3)
    with quantizer.training_mode():
        for batch in batches[:2]:
            optimizer.zero_grad()
            prepared(*batch).square().mean().backward()
            optimizer.step()
