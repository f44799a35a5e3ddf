"""The finalized form of a weight that an eager forward computes from other states."""

from __future__ import annotations

import torch
from torch import nn

from quant_reference.errors import InputError
from quant_torch.quantization._finalize.backends import Forms
from quant_torch.quantization._finalize.facts import Facts
from quant_torch.quantization._finalize.storage import Storage, values_of


class DerivedWeight(nn.Module):
    """Stands at the call site where the weight was fake-quantized, and gives its stored values.

    What the forward computes there only tells whether it is still the same piece.

    Args:
        facts: The fake-quantize module.
        tensor: The weight.
        forms: The forms of the backend.
        storage: Where the codes are kept.
    """

    def __init__(self, facts: Facts, tensor: torch.Tensor, forms: Forms, storage: Storage) -> None:
        super().__init__()
        self.shape = tuple(tensor.shape)
        self.name = facts.name
        self.stored: nn.Module | None = None
        if forms.weight is not None:
            self.stored = forms.weight(facts, tensor, storage)
        else:
            values = storage.keep(values_of(facts, tensor), facts.name)
            self.weight = nn.Parameter(values, requires_grad=False)
        if forms.annotate is not None:
            forms.annotate(facts, self, "weight")

    def forward(self, x: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
        """The values of the weight.

        Raises:
            InputError: The forward computed a weight of another shape.
        """
        if tuple(x.shape) != self.shape:
            raise InputError(
                f"{self.name} of a finalized model",
                given=f"shape {tuple(x.shape)}",
                allowed=f"{self.shape}, as for the example inputs; finalizing makes it a constant",
                clause="PLACE-5",
            )
        values: torch.Tensor = self.weight if self.stored is None else self.stored()
        return values
