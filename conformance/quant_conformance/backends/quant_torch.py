"""quant-torch: the Quantizer of this project, asked module by module and as whole eager models."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.backends._torch_layers import TorchLayers
from quant_conformance.backends._torch_lifecycles import TorchLifecycle
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec
from quant_reference.batch_norm import BatchNorm
from quant_reference.granularity import PerBlock
from quant_reference.lifecycle import Lifecycle, Trace

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


class QuantTorch(TorchLayers):
    """Modules built from a spec by ``QuantizationComponentFactory``, each asked on its own.

    * qparams and observe: the qparams calculator that the spec names, called per batch.
    * value_range: the calculator's own.
    * quantize, dequantize: the methods of the fake-quantize module.
    * fake_quantize, gradient: its forward pass and autograd, with the given qparams loaded.
    * default_axis: the axis that ``Quantizer.prepare`` fills in.
    * layer: torch's functions between these methods.
    """

    name = "quant-torch"
    requires = ("torch", "pydantic", "xxhash")
    pip = "pip install 'quant-conformance[torch]'"

    def __init__(self) -> None:
        import torch

        from quant_torch import quantization
        from quant_torch.quantization import spec as parts

        class WithConstant(parts.QuantizationSpec):
            """A spec with one more argument for its calculator."""

            averaging_constant: float = 0.01

        self._torch, self._quantization, self._parts = torch, quantization, parts
        self._with_constant = WithConstant
        self._factory = parts.QuantizationComponentFactory

    def value_range(self, x: Array, spec: QuantizationSpec, target: str) -> tuple[Array, Array]:
        low, high = self._calculator(self._spec(spec), target).value_range(to_torch(x))
        return to_numpy(low), to_numpy(high)

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        return _as_qparams(self._calculator(self._spec(spec), target)(to_torch(x)))

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        calculator = self._calculator(self._spec(spec, kind, averaging_constant), target)
        answers = [calculator(to_torch(batch)) for batch in batches]
        return _as_qparams(answers[-1] if answers else calculator.get_qparams())

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        module = self._module(spec, qparams, x.shape)
        return to_numpy(module.quantize(to_torch(x), *_tensors(qparams)))

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        module = self._module(spec, qparams, codes.shape)
        return to_numpy(module.dequantize(to_torch(codes), *_tensors(qparams)))

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return to_numpy(self._module(spec, qparams, x.shape)(to_torch(x)))

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        if grad.dtype != x.dtype:
            raise NotImplementedError("autograd casts a gradient before the module sees it")
        leaf = to_torch(x).requires_grad_()
        self._module(spec, qparams, x.shape)(leaf).backward(to_torch(grad))
        return to_numpy(leaf.grad)

    def fold_batch_norm(
        self, weight: Array, bias: Array | None, norm: BatchNorm, transposed: bool, groups: int
    ) -> tuple[Array, Array]:
        """The modules that a folded batch norm becomes in graph mode."""
        from quant_torch.quantization._graph.batch_norm import FoldedBias, FoldedWeight

        kernel = to_torch(weight)
        gamma, beta, mean, variance = (
            None if x is None else to_torch(x)
            for x in (norm.gamma, norm.beta, norm.mean, norm.variance)
        )
        given = None if bias is None else to_torch(bias)
        axis, split = (1, groups) if transposed else (0, 1)
        folded = FoldedWeight(norm.eps, axis, split).eval()(kernel, gamma, variance)
        shift = FoldedBias(norm.eps, kernel.dtype).eval()(given, gamma, beta, mean, variance)
        return to_numpy(folded), to_numpy(shift)

    def default_axis(self, module_kind: str, granularity: Any) -> int:
        nn = self._torch.nn
        if module_kind not in _MODULES:
            raise ValueError(f"Quantizer has no default axis for {module_kind}")
        arguments, shape = _MODULES[module_kind]
        if isinstance(granularity, PerBlock) and isinstance(granularity.block_size, int):
            granularity = PerBlock(None, 2)  # divides every axis of the modules
        weight = self._parts.QuantizationSpec(granularity=granularity.to_dict())
        dtype = self._torch.int64 if module_kind == "Embedding" else None
        model = nn.Sequential(getattr(nn, module_kind)(*arguments))
        example = self._torch.zeros(shape, dtype=dtype)
        prepared, _ = self._prepared(model, example, op_state_spec={"weight": weight})
        axis = self._only_module(prepared).granularity.axis
        if axis is None:
            raise ValueError(f"Quantizer gives {granularity} no axis")
        return int(axis)

    def validate_spec(self, mapping: Mapping[str, Any]) -> None:
        """Goes as far as a user has to, to meet the refusal: the spec, then a module from it."""
        self._factory.create_fake_quantizer(self._parts.QuantizationSpec(**mapping), "activation")

    def _spec(
        self,
        spec: QuantizationSpec,
        kind: str | None = None,
        averaging_constant: float | None = None,
    ) -> Any:
        options = spec.to_dict()
        if kind is not None:
            options["qparam_calculator_cls"] = kind
        if averaging_constant is not None and kind == "moving_average":
            return self._with_constant(averaging_constant=averaging_constant, **options)
        return self._parts.QuantizationSpec(**options)

    def _given(self, spec: QuantizationSpec) -> Any:
        """A spec whose qparams will be given: who would compute them does not matter."""
        options = spec.to_dict() | {"qparam_calculator_cls": "static"}
        return self._parts.QuantizationSpec(**options)

    def _calculator(self, spec: Any, target: Any) -> Any:
        return self._factory.create_qparams_calculator(spec, target)

    def _module(self, spec: QuantizationSpec, qparams: QParams, shape: tuple[int, ...]) -> Any:
        """A fake-quantize module with the given qparams in its state, observer off."""
        target = self._target(spec, qparams, shape)
        module = self._factory.create_fake_quantizer(self._given(spec), target)
        module.disable_observer()
        state = {f"qparams_calculator.{k}": v for k, v in _state(qparams).items()}
        module.load_state_dict(state)
        return module

    def _target(self, spec: QuantizationSpec, qparams: QParams, shape: tuple[int, ...]) -> Any:
        """The target for which the granularity has the blocks that the qparams are for."""
        granularity = self._given(spec).granularity
        blocks = qparams.scale.shape
        for target in ("weight", "activation"):
            block = granularity.get_block_size(shape, target)
            if tuple(n // e if e else 1 for n, e in zip(shape, block, strict=True)) == blocks:
                return target
        if 0 in shape and len(blocks) == len(shape):
            raise NotImplementedError("an empty axis has as many blocks as its granularity says")
        raise ValueError(f"qparams of shape {blocks} do not fit {shape} at {granularity}")

    def _prepared(self, model: Any, example: Any, **specs: Any) -> tuple[Any, Any]:
        off: dict[str, Any] = {
            "op_input_spec": None, "op_output_spec": None, "op_state_spec": None
        }  # fmt: skip
        config = self._quantization.QuantizerConfig(
            global_config=self._quantization.ModuleQuantizerConfig(**(off | specs)),
            execution_mode=self._quantization.ExecutionMode.EAGER,
        )
        quantizer = self._quantization.Quantizer(model.eval(), config)
        return quantizer.prepare((example,)), quantizer

    def _only_module(self, prepared: Any) -> Any:
        (module,) = {
            id(m): m for m in prepared.modules() if isinstance(m, self._parts.FakeQuantizeImplBase)
        }.values()
        return module


class QuantTorchEager(QuantTorch):
    """Whole models prepared in eager mode.

    A weight is the weight of a Linear (rank 2) or a convolution (ranks 3 to 5) and is read after
    ``Quantizer.prepare``; an activation is the input of a model that multiplies by one, which is
    exact. Given qparams are loaded with ``load_state_dict``; further batches are calibrated, or
    for weights trained, as a user would.
    """

    name = "quant-torch-eager"

    def lifecycle(self, life: Lifecycle) -> Trace:
        """The Quantizer in eager mode."""
        if life.norm is not None:
            raise NotImplementedError("eager mode never folds a batch norm (BN-5)")
        import quant_torch

        return TorchLifecycle(quant_torch, self._parts.FakeQuantizeImplBase, "eager", life).live()

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        prepared, _ = self._model(x, self._spec(spec), target)
        return _as_qparams(self._only_module(prepared).calculate_qparams())

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        if kind == "dynamic":
            raise NotImplementedError("a model does not show the qparams it forgets")
        if len({(batch.dtype, batch.ndim) for batch in batches}) != 1:
            raise NotImplementedError("a model takes batches of any rank and dtype")
        theirs = self._spec(spec, kind, averaging_constant)
        prepared, quantizer = self._model(batches[0], theirs, target)
        for batch in batches[1:]:
            if target == "activation":
                with quantizer.calibration_mode():
                    prepared(to_torch(batch))
            else:
                with quantizer.training_mode(), self._torch.no_grad():
                    prepared.parametrizations.weight.original.copy_(to_torch(batch))
                    _ = prepared.weight
        return _as_qparams(self._only_module(prepared).calculate_qparams())

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        output, _ = self._answer(x, spec, qparams)
        return to_numpy(output)

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        if grad.dtype != x.dtype:
            raise NotImplementedError("autograd casts a gradient before the module sees it")
        output, leaf = self._answer(x, spec, qparams)
        output.backward(to_torch(grad))
        return to_numpy(leaf.grad)

    def _answer(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> tuple[Any, Any]:
        """The fake-quantized tensor of a model with given qparams, and the leaf it comes from."""
        if qparams.scale.dtype != np.float32:
            raise NotImplementedError("load_state_dict casts what it loads")
        target = self._target(spec, qparams, x.shape)
        if target == "weight" and x.ndim not in range(2, 6):
            target = "activation"
        prepared, _ = self._model(x, self._given(spec), target)
        module = self._only_module(prepared)
        prefix = next(name for name, m in prepared.named_modules() if m is module)
        state = prepared.state_dict()
        for name, value in _state(qparams).items():
            state[f"{prefix}.qparams_calculator.{name}"] = value
        prepared.load_state_dict(state)
        if target == "weight":
            return prepared.weight, prepared.parametrizations.weight.original
        leaf = to_torch(x).requires_grad_()
        return prepared(leaf), leaf

    def _model(self, x: Array, spec: Any, target: str) -> tuple[Any, Any]:
        if x.size == 0:
            raise NotImplementedError("a model is prepared with a tensor that has elements")
        if target == "weight" and spec.granularity.needs_axis:
            raise NotImplementedError("Quantizer fills in the axis that is missing")
        tensor = to_torch(x)
        if target == "activation":
            if x.ndim == 0:
                raise NotImplementedError("eager mode leaves single numbers alone")
            return self._prepared(_times_one(tensor.dtype), tensor, op_input_spec={0: spec})
        module, example = self._owner(tensor)
        return self._prepared(module, example, op_state_spec={"weight": spec})

    def _owner(self, weight: Any) -> tuple[Any, Any]:
        """A standard module with the given weight, and an input for it."""
        nn, shape = self._torch.nn, tuple(weight.shape)
        if len(shape) == 2:
            module, example = nn.Linear(shape[1], shape[0], bias=False), (1, shape[1])
        elif len(shape) in (3, 4, 5):
            kind = getattr(nn, f"Conv{len(shape) - 2}d")
            module = kind(shape[1], shape[0], shape[2:], bias=False)
            example = (1, *shape[1:])
        else:
            raise NotImplementedError(f"no standard module has a weight of rank {len(shape)}")
        module.weight = nn.Parameter(weight.clone())
        return module, self._torch.zeros(example, dtype=weight.dtype)


def _times_one(dtype: Any) -> Any:
    import torch

    class TimesOne(torch.nn.Module):
        """Multiplies by one: the product has the bits of its input."""

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("one", torch.ones((), dtype=dtype))

        def forward(self, x: Any) -> Any:
            return torch.mul(x, self.one)

    return TimesOne()


def _state(qparams: QParams) -> dict[str, Any]:
    fields = {
        "scale": qparams.scale, "zero_point": qparams.zero_point, "minval": qparams.minval
    }  # fmt: skip
    return {name: to_torch(np.array(v)) for name, v in fields.items() if v is not None}


def _tensors(qparams: QParams) -> tuple[Any, Any, Any]:
    state = _state(qparams)
    return state["scale"], state.get("zero_point"), state.get("minval")


def _as_qparams(answer: tuple[Any, Any, Any]) -> QParams:
    scale, zero_point, minval = (None if t is None else to_numpy(t) for t in answer)
    if scale is None:
        raise TypeError("the calculator gave no scale")
    return QParams(scale, zero_point, minval)
