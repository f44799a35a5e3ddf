"""What the quantizer needs from an execution mode."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from torch import nn

from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization.config import QuantizerConfig


class Engine(ABC):
    """One execution mode at work on one model.

    The quantizer keeps the order of calls, the switches and the schedule; an engine places the
    fake-quantize modules. Every fake-quantize module it makes is a
    ``FakeQuantizeImplBase`` inside the prepared model, with ``qat_schedule`` set where a
    config gives one.

    Args:
        model: The user's model.
        config: A copy of the user's config.
    """

    def __init__(self, model: nn.Module, config: QuantizerConfig) -> None:
        self.model = model
        self.config = config
        self.observing = False
        self.quantizing = True

    @abstractmethod
    def prepare(
        self, inputs: ExampleInputs, dynamic_shapes: Any, export_with_no_grad: bool
    ) -> nn.Module:
        """Place fake-quantize modules and initialise their qparams from the example inputs.

        The result has every observer off and fake-quantization on.
        """

    def freeze_batch_norm(self, model: nn.Module) -> None:
        """Keep the statistics of every batch norm in a prepared model, also while training."""
        raise NotImplementedError(f"{type(self).__name__} cannot freeze batch norm statistics")

    def switches_changed(
        self, model: nn.Module, observing: bool | None, quantizing: bool | None
    ) -> None:
        """Learn that the switches of a model were set; None leaves one as it was."""
        self.observing = self.observing if observing is None else observing
        self.quantizing = self.quantizing if quantizing is None else quantizing
