"""Config of one operation."""

from __future__ import annotations

from pydantic import Field

from quant_torch.quantization._strict_model import StrictModel
from quant_torch.quantization.config._fields import (
    StateSpecs,
    TensorSpecs,
    default_activations,
    default_state,
)
from quant_torch.quantization.spec.spec import QuantizationSpec


class OpQuantizerConfig(StrictModel):
    """Which tensors of an operation are quantized, and how.

    Keys of the dicts are ``"*"`` (every tensor not named otherwise), an index, or a name; a value
    of None leaves that tensor alone, and None for a whole dict leaves all of them alone. A dict
    that is omitted takes the default.

    Attributes:
        op_input_spec: Specs of the input activations; default int8 per tensor.
        op_output_spec: Specs of the outputs; default int8 per tensor.
        op_state_spec: Specs of parameters and buffers by name; default ``{"weight": int8 per
            channel}``.
    """

    op_input_spec: TensorSpecs = Field(default_factory=default_activations)
    op_output_spec: TensorSpecs = Field(default_factory=default_activations)
    op_state_spec: StateSpecs = Field(default_factory=default_state)

    @staticmethod
    def get_default_input_spec() -> dict[int | str, QuantizationSpec | None]:
        """What ``op_input_spec`` is where it is omitted."""
        return default_activations()

    @staticmethod
    def get_default_output_spec() -> dict[int | str, QuantizationSpec | None]:
        """What ``op_output_spec`` is where it is omitted."""
        return default_activations()

    @staticmethod
    def get_default_state_spec() -> dict[str, QuantizationSpec | None]:
        """What ``op_state_spec`` is where it is omitted."""
        return default_state()
