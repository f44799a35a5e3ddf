"""coreai-opt: the spec's own home system; its specs, calculators and fake-quantize modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from quant_conformance.backends._coreai_opt_files import Files
from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.backends._torch_lifecycles import TorchLifecycle
from quant_conformance.protocol import Array, Backend
from quant_reference import QParams, QuantizationSpec
from quant_reference.lifecycle import Lifecycle, Trace

if TYPE_CHECKING:
    from quant_vectors import Case

_FP4 = "float4_e2m1fn"

# Modules small enough to be prepared in milliseconds, each weight axis of another extent.
_MODULES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "Linear": ((4, 8), (2, 4)),
    "Conv1d": ((4, 8, 3), (1, 4, 5)),
    "Conv2d": ((4, 8, 3), (1, 4, 5, 5)),
    "Conv3d": ((4, 8, 3), (1, 4, 5, 5, 5)),
    "ConvTranspose1d": ((4, 8, 3), (1, 4, 5)),
    "ConvTranspose2d": ((4, 8, 3), (1, 4, 5, 5)),
    "ConvTranspose3d": ((4, 8, 3), (1, 4, 5, 5, 5)),
    "Embedding": ((8, 4), (2,)),
}
"""torch module class to (constructor arguments, input shape)."""


class CoreaiOpt(Backend):
    """Modules built from a spec by ``QuantizationComponentFactory``, each asked on its own.

    * qparams and observe: the qparams calculator that the spec names, called per batch.
    * value_range: the running range of a ``global_minmax`` calculator after one batch.
    * quantize and dequantize: the methods of the fake-quantize module. It holds FP4 values as
      float8_e4m3fn numbers, which are handed on as the FP4 codes of the same values.
    * fake_quantize and gradient: the module's forward pass and its autograd, with the observer
      off and the given qparams in its buffers.
    * export_weights and export_model: what finalize for Core AI makes of a weight and of a model
      that coreai-opt prepared, saved by coreai-torch.
    * lifecycle: a layer in eager mode.
    * default_axis: the axis that ``Quantizer.prepare`` fills in for a module's weight.
    """

    name = "coreai-opt"
    requires = ("coreai-opt", "torch")
    checks_input = False
    patience = 12.0  # graph mode takes up to a minute for a network of convolutions

    def __init__(self) -> None:
        import coreai_opt
        import coreai_opt.quantization
        import torch
        from coreai_opt.config.spec.factory import CompressionTargetTensor
        from coreai_opt.quantization import spec
        from coreai_opt.quantization.spec.fake_quantize import FakeQuantizeBase

        self._package, self._fake_quantize = coreai_opt, FakeQuantizeBase
        self._files = Files(coreai_opt.quantization)

        class WithConstant(spec.QuantizationSpec):
            """A spec with one more argument for its calculator, as the factory documents."""

            averaging_constant: float = 0.01

        self._torch, self._spec, self._with_constant = torch, spec, WithConstant
        self._targets = {t.value: t for t in CompressionTargetTensor}
        self._factory = spec.QuantizationComponentFactory

    def selects(self, case: Case, tier: str) -> bool:
        # Graph mode takes 20 to 50 seconds for a network of convolutions, eager mode one or two.
        return case.operation != "model" or tier != "quick" or case.arguments["mode"] == "eager"

    def value_range(self, x: Array, spec: QuantizationSpec, target: str) -> tuple[Array, Array]:
        calculator = self._calculator(spec, target, "global_minmax")
        calculator(to_torch(x))
        return to_numpy(calculator.running_min), to_numpy(calculator.running_max)

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        return _as_qparams(self._calculator(spec, target)(to_torch(x)))

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        calculator = self._calculator(spec, target, kind, averaging_constant)
        if not batches:
            raise NotImplementedError("a calculator answers batch by batch")
        answers = [calculator(to_torch(batch)) for batch in batches]
        return _as_qparams(answers[-1])

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        codes = self._module(spec, qparams, x.shape).quantize(to_torch(x), *_tensors(qparams))
        if spec.dtype == _FP4:
            values = to_numpy(codes.to(self._torch.float32))
            if np.isnan(values).any():
                raise NotImplementedError("FP4 is held as float8 numbers, where NaN stays NaN")
            return values.astype(ml_dtypes.float4_e2m1fn).view(np.uint8)
        return to_numpy(codes)

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        module, tensor = self._module(spec, qparams, codes.shape), to_torch(codes)
        if spec.dtype == _FP4:
            values = codes.view(ml_dtypes.float4_e2m1fn).astype(np.float32)
            tensor = to_torch(values).to(self._torch.float8_e4m3fn)
        elif not spec.format.is_integer:
            tensor = tensor.view(getattr(self._torch, spec.dtype))
        return to_numpy(module.dequantize(tensor, *_tensors(qparams)))

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return to_numpy(self._frozen(x, spec, qparams)(to_torch(x)))

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        leaf = to_torch(x).requires_grad_()
        self._frozen(x, spec, qparams)(leaf).backward(to_torch(grad))
        return to_numpy(leaf.grad)

    def default_axis(self, module_kind: str, granularity: Any) -> int:
        if module_kind not in _MODULES:
            raise NotImplementedError(f"Quantizer leaves {module_kind} in full precision")
        from coreai_opt.quantization import ModuleQuantizerConfig, Quantizer, QuantizerConfig
        from coreai_opt.quantization.config import ExecutionMode

        arguments, shape = _MODULES[module_kind]
        mapping = granularity.to_dict()
        if isinstance(mapping.get("block_size"), int):
            mapping["block_size"] = 2  # divides every axis of the modules
        weight = self._spec.QuantizationSpec(granularity=mapping)
        config = QuantizerConfig(
            global_config=ModuleQuantizerConfig(
                op_state_spec={"weight": weight}, op_input_spec=None, op_output_spec=None
            ),
            execution_mode=ExecutionMode.EAGER,
        )
        module = getattr(self._torch.nn, module_kind)(*arguments)
        integer = module_kind == "Embedding"
        example = self._torch.zeros(shape, dtype=self._torch.int64 if integer else None)
        prepared = Quantizer(self._torch.nn.Sequential(module), config).prepare((example,))
        axes = {
            m.granularity.axis
            for m in prepared.modules()
            if isinstance(m, self._spec.QParamsCalculatorBase)
        }
        if len(axes) != 1:
            raise RuntimeError(f"prepare left {len(axes)} weight quantizers in {module_kind}")
        (axis,) = axes
        if axis is None:
            raise ValueError(f"prepare gives {mapping} no axis")
        return int(axis)

    def export_weights(
        self, x: Array, spec: QuantizationSpec, module_kind: str
    ) -> tuple[Array, QParams]:
        return self._files.weight(x, spec, module_kind)

    def export_model(self, model: str, config: str, mode: str, cast_16bit: bool) -> tuple[str, str]:
        return self._files.model(model, config, mode, cast_16bit)

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        self._files.note(questions)

    def lifecycle(self, life: Lifecycle) -> Trace:
        """Its Quantizer in eager mode; in graph mode the same layer does the same."""
        if life.norm is not None:
            raise NotImplementedError("batch norm is not folded before finalize")
        return TorchLifecycle(self._package, self._fake_quantize, "eager", life).live()

    def validate_spec(self, mapping: Mapping[str, Any]) -> None:
        """Goes as far as a user has to, to meet the refusal: the spec, a module, a first shape."""
        if mapping.get("dtype") == "float4_e2m1":
            raise NotImplementedError("coreai-opt has not this alias")
        theirs = self._spec.QuantizationSpec(**{k: _theirs(v) for k, v in mapping.items()})
        module = self._factory.create_fake_quantizer(theirs, self._targets["activation"])
        extents = getattr(theirs.granularity, "block_size", None)
        if isinstance(extents, tuple):
            module.get_block_size(self._torch.Size([max(n, 1) for n in extents or (1, 1)]))

    def _calculator(
        self,
        spec: QuantizationSpec,
        target: str,
        kind: str | None = None,
        averaging_constant: float | None = None,
    ) -> Any:
        options = self._options(spec, kind)
        if averaging_constant is None or kind != "moving_average":
            theirs = self._spec.QuantizationSpec(**options)
        else:
            theirs = self._with_constant(averaging_constant=averaging_constant, **options)
        return self._factory.create_qparams_calculator(theirs, self._targets[target])

    def _module(self, spec: QuantizationSpec, qparams: QParams, shape: tuple[int, ...]) -> Any:
        """Returns a fake-quantize module for the target whose blocks the qparams have."""
        # Given qparams: who computes them does not matter, but dynamic ones cannot be given.
        options = self._options(spec, "static") | {"float_range": [None, None]}
        theirs = self._spec.QuantizationSpec(**options)
        blocks = tuple(n // (s or 1) for n, s in zip(shape, qparams.scale.shape, strict=True))
        size = self._torch.Size(shape)
        for target in self._targets.values():
            module = self._factory.create_fake_quantizer(theirs, target)
            if tuple(module.get_block_size(size)) == blocks:
                return module
        raise NotImplementedError(f"the granularity has no blocks of {blocks}")

    def _frozen(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Any:
        module = self._module(spec, qparams, x.shape)
        module.disable_observer()
        for name, value in zip(("scale", "zero_point", "minval"), _tensors(qparams), strict=True):
            if value is not None:
                setattr(module.qparams_calculator, name, value)  # its buffers
        return module

    def _options(self, spec: QuantizationSpec, kind: str | None) -> dict[str, Any]:
        options = {key: _theirs(value) for key, value in spec.to_dict().items()}
        if kind is not None:
            options["qparam_calculator_cls"] = kind
        return options


def _theirs(value: Any) -> Any:
    """Gives FP4 the name that torch has for it (their aliases differ)."""
    return "float4_e2m1fn_x2" if value == _FP4 else value


def _tensors(qparams: QParams) -> tuple[Any, Any, Any]:
    """Returns the three that the module takes; it wants both offsets, and uses one of them."""
    zero_point, minval = qparams.zero_point, qparams.minval
    if zero_point is None and minval is not None:
        zero_point = np.zeros(minval.shape, np.int32)
    if minval is None and zero_point is not None:
        minval = np.zeros(zero_point.shape, np.float32)
    given = (None if f is None else to_torch(f) for f in (qparams.scale, zero_point, minval))
    first, second, third = given
    return first, second, third


def _as_qparams(answer: tuple[Any, Any, Any]) -> QParams:
    scale, zero_point, minval = (None if t is None else to_numpy(t) for t in answer)
    if scale is None:
        raise TypeError("the calculator gave no scale")
    # A model keeps them in its own dtype until they reach a buffer; SPEC.md keeps float32.
    return QParams(
        scale.astype(np.float32),
        None if zero_point is None else zero_point.astype(np.int32),
        None if minval is None else minval.astype(np.float32),
    )
