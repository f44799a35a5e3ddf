"""What is known about a tensor that is to be finalized."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from quant_reference.formats import Format
from quant_torch.quantization.spec._dtypes import format_of
from quant_torch.quantization.spec._qparams import QParams
from quant_torch.quantization.spec.fake_quantize import DefaultFakeQuantize, FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import QuantizationGranularity
from quant_torch.quantization.spec.qformulation import QuantizationFormulation

Role = Literal["weight", "activation"]


@dataclass(frozen=True)
class Facts:
    """A fake-quantize module, and what a backend has to know to accept or refuse it.

    Attributes:
        quantizer: The module.
        role: ``"weight"`` for a constant of the model, stored as codes; ``"activation"`` for a
            value that is computed at run time.
        shape: Of a weight; None for an activation.
        dtype: Of the tensor, where it is known.
    """

    quantizer: FakeQuantizeImplBase
    role: Role
    shape: tuple[int, ...] | None = None
    dtype: torch.dtype | None = None

    @property
    def name(self) -> str:
        """What the module quantizes, for messages and file names."""
        return self.quantizer.tensor_name or f"a {self.role}"

    @property
    def format(self) -> Format:
        """The element format."""
        return format_of(self.quantizer.dtype)

    @property
    def granularity(self) -> QuantizationGranularity:
        """Which elements share qparams."""
        return self.quantizer.granularity

    @property
    def granularity_key(self) -> str:
        """``"per_tensor"``, ``"per_channel"`` or ``"per_block"``."""
        return self.granularity.key_of(type(self.granularity))

    @property
    def uses_minval(self) -> bool:
        """Whether the formulation is minval."""
        return self.quantizer.qformulation is QuantizationFormulation.MINVAL

    @property
    def block(self) -> tuple[int, ...]:
        """Extents of one block of a weight."""
        return self.quantizer.get_block_size(torch.Size(self.shape or ()))

    @property
    def qparams(self) -> QParams:
        """scale, and the zero point or minval that the formulation uses; detached.

        Raises:
            RuntimeError: There are none; the message names the tensor.
        """
        try:
            scale, zero_point, minval = self.quantizer.calculate_qparams()
        except RuntimeError as error:
            raise RuntimeError(f"{self.name} cannot be finalized: {error}") from None
        scale = scale.detach()
        if not self.format.is_integer:
            return QParams(scale)
        if self.uses_minval:
            return QParams(scale, None, _given(minval, self.name, "minval"))
        return QParams(scale, _given(zero_point, self.name, "zero_point"))

    @property
    def spec_text(self) -> str:
        """The spec in a few words: ``int4 minval per_block``."""
        words = [self.format.name]
        if self.uses_minval:
            words.append("minval")
        if self.quantizer.is_stateless:
            words.append("dynamic")
        words.append(self.granularity_key)
        return " ".join(words)


class LeftAlone(nn.Module):
    """Stands where a fake-quantize module did nothing."""

    def forward(self, x: torch.Tensor, overwrite: bool = False) -> torch.Tensor:
        """The tensor itself."""
        return x


def is_left_out(quantizer: FakeQuantizeImplBase) -> bool:
    """Whether a module does nothing, so that its tensor stays as it is.

    Warns:
        UserWarning: Fake-quantization was switched off by hand.
    """
    if quantizer.disabled or (quantizer.is_fresh and not quantizer.is_stateless):
        return True  # what has no qparams was never given a float tensor
    if not quantizer.fake_quant_enabled:
        warnings.warn(
            f"{quantizer.tensor_name or 'a tensor'} is left unquantized: its fake-quantization is "
            "switched off",
            stacklevel=2,
        )
        return True
    return False


def has_standard_formulas(quantizer: FakeQuantizeImplBase) -> bool:
    """Whether codes mean what SPEC.md says, so that the operators of a backend apply."""
    return type(quantizer).dequantize is DefaultFakeQuantize.dequantize


def _given(tensor: torch.Tensor | None, name: str, what: str) -> torch.Tensor:
    if tensor is None:
        raise RuntimeError(f"{name} cannot be finalized: its calculator gives no {what}")
    return tensor.detach()
