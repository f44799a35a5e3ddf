"""The finalized form of a weight that an eager forward computes from other states."""

from __future__ import annotations

import torch
from torch import nn

from quant_reference.errors import InputError
from quant_torch._torch_internals import FakeTensor
from quant_torch.quantization._finalize.backends import Forms
from quant_torch.quantization._finalize.facts import Facts
from quant_torch.quantization._finalize.storage import Storage, values_of

_PROBES = 64
"""Elements of a weight that are compared."""


class DerivedWeight(nn.Module):
    """Takes the place of the fake-quantize module of a weight, and gives the stored values.

    What the forward computes is only compared with it, by some elements: a branch or an index that
    depends on data may have chosen another weight.

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
        self._places = _some_places(tensor)
        self._known = tensor[self._places].float().cpu()
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
            InputError: The forward computed a weight of another shape, or another weight.
        """
        if tuple(x.shape) != self.shape:
            raise InputError(
                f"{self.name} of a finalized model",
                given=f"shape {tuple(x.shape)}",
                allowed=f"{self.shape}, as for the example inputs; finalizing makes it a constant",
                clause="PLACE-5",
            )
        if self._is_other(x):
            raise InputError(
                f"{self.name} of a finalized model",
                given="another weight than for the example inputs",
                allowed="the same for all inputs; finalizing makes it a constant. Leave it "
                "unquantized by op_state_spec, or give each weight a layer of its own",
                clause="PLACE-5",
            )
        values: torch.Tensor = self.weight if self.stored is None else self.stored()
        return values

    def _is_other(self, x: torch.Tensor) -> bool:
        """Whether a quarter of the elements, or more, are further off than rounding explains."""
        captured = torch.jit.is_tracing() or torch.compiler.is_compiling()
        if captured or x.is_meta or isinstance(x, FakeTensor) or x.numel() == 0:
            return False
        given = x.detach()[self._places].float().cpu()
        close = (given - self._known).abs() <= self._known.abs().max() / 64
        agrees = close | (given == self._known) | ~self._known.isfinite()
        counted = (given != 0) | (self._known != 0)
        return bool(4 * (~agrees & counted).sum() > counted.sum())


def _some_places(tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Indices of some elements, spread over a tensor, for each axis."""
    count = min(tensor.numel(), _PROBES)
    flat = torch.linspace(0, tensor.numel() - 1, count, dtype=torch.float64).long()
    return torch.unravel_index(flat, tensor.shape)
