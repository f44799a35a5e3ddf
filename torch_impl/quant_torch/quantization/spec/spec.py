"""The quantization spec: what one tensor is quantized to."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from pydantic import (
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidatorFunctionWrapHandler,
    field_serializer,
    field_validator,
    model_serializer,
    model_validator,
)

from quant_reference import spec as rules
from quant_reference.formats import Format
from quant_torch.common import CompressionType
from quant_torch.quantization._strict_model import StrictModel
from quant_torch.quantization.spec._dtypes import (
    TORCH_DTYPES,
    container_dtype,
    format_of,
    torch_dtype,
)
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import (
    PerTensorGranularity,
    QuantizationGranularity,
    granularity_from,
)
from quant_torch.quantization.spec.qformulation import QuantizationFormulation
from quant_torch.quantization.spec.qparams_calculator import (
    MovingAverageQParamsCalculator,
    QParamsCalculatorBase,
    StatelessQParamsCalculatorBase,
    StaticQParamsCalculator,
)
from quant_torch.quantization.spec.qscheme import QuantizationScheme
from quant_torch.quantization.spec.range_calculator import RangeCalculatorBase

# Keys that a dump may contain although they follow from the others. The numbers are checked on
# load; the rest is how another implementation stores codes, and says nothing here.
_CHECKED = ("n_bits", "quant_min", "quant_max")
_IGNORED = ("target_dtype", "_quant_range")


class QuantizationSpec(StrictModel):
    """How one tensor is quantized; immutable, validated on construction (SPEC-1 to SPEC-7).

    Attributes:
        dtype: Element format, as a torch dtype or its name: int2, int4, int8, uint2, uint4, uint8,
            float8_e4m3fn, float8_e5m2, float4_e2m1fn.
        qscheme: How the range becomes qparams; float formats are symmetric.
        qformulation: ``"zp"`` or ``"minval"``; float formats use zp.
        granularity: Which elements share qparams, as an object or as
            ``{"type": "per_channel", "axis": 0}``.
        fake_quantize_cls: A fake-quantize class or the key of one.
        qparam_calculator_cls: A calculator or the key of one: ``"static"``,
            ``"moving_average"``, ``"global_minmax"``, ``"dynamic"``, or ``"default"``, which is
            static for weights and moving_average for activations.
        range_calculator_cls: A range calculator or the key of one.
        float_range: Fixed (lo, hi), each a number or None.
        scale_dtype: None, or ``torch.float8_e8m0fnu`` for float formats; FP4 always has it.

    Raises:
        pydantic.ValidationError: A ValueError that names what was given, what is allowed and the
            clause.
    """

    SUPPORTED_DTYPES: ClassVar[frozenset[torch.dtype]] = frozenset(TORCH_DTYPES.values())

    model_config = ConfigDict(frozen=True, validate_default=True, arbitrary_types_allowed=True)

    dtype: torch.dtype = torch.int8
    qscheme: QuantizationScheme = QuantizationScheme.SYMMETRIC
    qformulation: QuantizationFormulation = QuantizationFormulation.ZP
    granularity: QuantizationGranularity = Field(default_factory=PerTensorGranularity)
    fake_quantize_cls: type[FakeQuantizeImplBase] = "default"  # type: ignore[assignment]
    qparam_calculator_cls: type[QParamsCalculatorBase] = "default"  # type: ignore[assignment]
    range_calculator_cls: type[RangeCalculatorBase] = "minmax"  # type: ignore[assignment]
    float_range: tuple[float | None, float | None] = (None, None)
    scale_dtype: torch.dtype | None = None

    @field_validator("dtype", mode="before")
    @classmethod
    def _read_dtype(cls, given: object) -> torch.dtype:
        return torch_dtype(given)

    @field_validator("scale_dtype", mode="before")
    @classmethod
    def _read_scale_dtype(cls, given: object) -> torch.dtype | None:
        return None if given is None else torch_dtype(given)

    @field_validator("granularity", mode="before")
    @classmethod
    def _read_granularity(cls, given: object) -> QuantizationGranularity:
        return granularity_from(given)

    @field_validator("fake_quantize_cls", mode="before")
    @classmethod
    def _read_fake_quantize(cls, given: object) -> type:
        return FakeQuantizeImplBase.lookup(given)

    @field_validator("qparam_calculator_cls", mode="before")
    @classmethod
    def _read_qparam_calculator(cls, given: object) -> type:
        return QParamsCalculatorBase.lookup(given)

    @field_validator("range_calculator_cls", mode="before")
    @classmethod
    def _read_range_calculator(cls, given: object) -> type:
        return RangeCalculatorBase.lookup(given)

    @field_validator("float_range", mode="before")
    @classmethod
    def _read_float_range(cls, given: object) -> tuple[float | None, float | None]:
        return rules.QuantizationSpec(float_range=given).float_range  # type: ignore[arg-type]

    @model_validator(mode="wrap")
    @classmethod
    def _check_computed_keys(
        cls, given: Any, handler: ValidatorFunctionWrapHandler
    ) -> QuantizationSpec:
        computed = {}
        if isinstance(given, dict):
            computed = {key: given[key] for key in _CHECKED if key in given}
            given = {k: v for k, v in given.items() if k not in (*_CHECKED, *_IGNORED)}
        spec: QuantizationSpec = handler(given)
        for key, value in computed.items():
            if value != getattr(spec, key):
                raise ValueError(
                    f"{key} follows from dtype and qscheme: given {value}, "
                    f"computed {getattr(spec, key)}"
                )
        return spec

    @model_validator(mode="after")
    def _check_rules(self) -> QuantizationSpec:
        # The validity rules are declarations that this package shares with the reference.
        dynamic = issubclass(self.qparam_calculator_cls, StatelessQParamsCalculatorBase)
        checked = rules.QuantizationSpec(
            dtype=self.format.name,
            qscheme=self.qscheme.value,
            qformulation=self.qformulation.value,
            float_range=self.float_range,
            scale_dtype=None if self.scale_dtype is None else format_of(self.scale_dtype).name,
            qparam_calculator_cls="dynamic" if dynamic else "default",
        )
        if checked.scale_dtype is not None and self.scale_dtype is None:
            object.__setattr__(self, "scale_dtype", torch_dtype(checked.scale_dtype))
        return self

    # In Python mode a dump holds the objects, in JSON mode their names; both can be read again.
    @field_serializer("dtype", "scale_dtype", when_used="json")
    def _write_dtype(self, dtype: torch.dtype | None) -> str | None:
        return None if dtype is None else format_of(dtype).name

    @field_serializer("granularity")
    def _write_granularity(self, granularity: QuantizationGranularity) -> dict[str, Any]:
        return granularity.to_dict()

    @field_serializer(
        "fake_quantize_cls", "qparam_calculator_cls", "range_calculator_cls", when_used="json"
    )
    def _write_class(self, registered: type) -> str:
        return registered.key_of(registered)  # type: ignore[attr-defined]

    @model_serializer(mode="wrap")
    def _add_computed(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        written: dict[str, Any] = handler(self)
        # Not in JSON and YAML: whoever changes the dtype there should not have to change these.
        if info.mode == "python":
            added = {key: getattr(self, key) for key in (*_CHECKED, "target_dtype")}
            left_out = info.exclude or ()
            written |= {
                key: value
                for key, value in added.items()
                if key not in left_out and (info.include is None or key in info.include)
            }
        return written

    @field_serializer("float_range")
    def _write_float_range(self, bounds: tuple[float | None, float | None]) -> list[float | None]:
        return list(bounds)

    @property
    def format(self) -> Format:
        """The element format."""
        return format_of(self.dtype)

    @property
    def n_bits(self) -> int:
        """Width of a code in bits."""
        return self.get_n_bits_from_dtype(self.dtype)

    @property
    def target_dtype(self) -> torch.dtype:
        """Dtype of a tensor of codes."""
        return self.get_target_dtype(self.dtype)

    @property
    def quant_min(self) -> int | float:
        """Least code, or least value of a float format (SPEC-6)."""
        return self.get_quant_range(self.dtype, self.qscheme)[0]

    @property
    def quant_max(self) -> int | float:
        """Greatest code, or greatest value of a float format (SPEC-6)."""
        return self.get_quant_range(self.dtype, self.qscheme)[1]

    @staticmethod
    def get_n_bits_from_dtype(dtype: torch.dtype) -> int:
        """Width of a code of an element format, in bits.

        Raises:
            ValueError: The dtype is no element format (FMT-4).
        """
        return format_of(dtype).bits

    @staticmethod
    def get_target_dtype(dtype: torch.dtype) -> torch.dtype:
        """Dtype of a tensor of codes of an element format.

        Raises:
            ValueError: The dtype is no element format (FMT-4).
        """
        return container_dtype(format_of(dtype))

    @staticmethod
    def get_quant_range(
        dtype: torch.dtype, qscheme: QuantizationScheme | str
    ) -> tuple[int | float, int | float]:
        """Least and greatest code, or value of a float format (SPEC-6).

        Raises:
            ValueError: The dtype is no element format (FMT-4), or an unknown scheme.
        """
        fmt = format_of(dtype)
        scheme = QuantizationScheme(qscheme)
        clipped = scheme is QuantizationScheme.SYMMETRIC_WITH_CLIPPING and fmt.kind == "int"
        return fmt.quant_min + clipped, fmt.quant_max

    def get_compression_type(self) -> CompressionType:
        """What a spec of this class is for: quantization."""
        return CompressionType.QUANTIZATION

    def get_extra_args(self) -> dict[str, Any]:
        """Fields that a subclass adds; they are passed on to the components it names."""
        own = QuantizationSpec.model_fields
        return {name: getattr(self, name) for name in type(self).model_fields if name not in own}

    def resolved_calculator(self, target: str) -> type[QParamsCalculatorBase]:
        """The calculator, with ``"default"`` resolved for a weight or an activation (SPEC-5)."""
        if self.qparam_calculator_cls is not QParamsCalculatorBase.lookup("default"):
            return self.qparam_calculator_cls
        return StaticQParamsCalculator if target == "weight" else MovingAverageQParamsCalculator


def default_weight_quantization_spec() -> QuantizationSpec:
    """int8, symmetric, per channel on axis 0."""
    return QuantizationSpec(
        granularity={"type": "per_channel", "axis": 0}, qparam_calculator_cls="static"
    )


def default_activation_quantization_spec() -> QuantizationSpec:
    """int8, symmetric, per tensor, moving average."""
    return QuantizationSpec(qparam_calculator_cls="moving_average")
