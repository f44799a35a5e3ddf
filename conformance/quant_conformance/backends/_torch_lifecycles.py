"""A linear layer from prepare to finalize, in a package with coreai-opt's Quantizer (LIFE)."""

from __future__ import annotations

from contextlib import AbstractContextManager, suppress
from typing import Any

import numpy as np

from quant_conformance.backends._torch_arrays import to_numpy
from quant_conformance.backends._torch_arrays import to_torch as _shared
from quant_conformance.protocol import Array
from quant_reference.lifecycle import Lifecycle, Trace


def to_torch(array: Array) -> Any:
    """A tensor of its own: weights and statistics change while the model lives."""
    return _shared(array).clone()


_UNSUPPORTED = "the target of finalize has no place for it: "


class TorchLifecycle:
    """A prepared model and what was seen of it.

    Args:
        package: ``quant_torch`` or ``coreai_opt``.
        fake_quantize: Class of its fake-quantize modules.
        mode: ``"eager"`` or ``"graph"``.
        life: What happens.
    """

    def __init__(self, package: Any, fake_quantize: type, mode: str, life: Lifecycle) -> None:
        import torch

        self._torch, self._fake_quantize = torch, fake_quantize
        self._backend = package.ExportBackend.CoreAI
        self._life = life
        self._model = _layer(torch, life).eval()
        self._quantizer = package.quantization.Quantizer(
            self._model, _config(package.quantization, mode, life)
        )
        self._prepared: Any = None
        self._open: AbstractContextManager[None] | None = None
        self._rows: dict[str, list[Array]] = {}

    def live(self) -> Trace:
        """Let everything happen, and tell what was seen."""
        for event, *number in self._life.events:
            getattr(self, f"_{event}")(*number)
        dtypes: dict[str, Any] = {
            "outputs": np.float32, "scales": np.float32, "zero_points": np.int32,
            "switches": np.int8, "refusals": np.int8,
        }  # fmt: skip
        if self._life.norm is not None:
            dtypes["statistics"] = np.float32
        return Trace(**{
            name: np.stack(self._rows[name]) if name in self._rows else np.zeros((0,), dtype)
            for name, dtype in dtypes.items()
        })  # fmt: skip

    def _note(self, name: str, values: Any, dtype: type) -> None:
        self._rows.setdefault(name, []).append(np.array(values, dtype))

    def _prepare(self, number: int) -> None:
        example = (to_torch(self._life.batches[number]),)
        self._prepared = self._quantizer.prepare(example)

    def _forward(self, number: int) -> None:
        try:
            with self._torch.no_grad():
                answer = self._prepared(to_torch(self._life.batches[number]))
        except NotImplementedError as error:  # torch's own: a model that was made does not run
            raise RuntimeError(f"forward: {error}") from error
        self._note("outputs", to_numpy(answer), np.float32)

    def _weight(self, number: int) -> None:
        new = to_torch(self._life.weights[number])
        (weight,) = (p for p in self._prepared.parameters() if p.shape == new.shape)
        with self._torch.no_grad():
            weight.copy_(new)

    def _calibration(self) -> None:
        self._enter(self._quantizer.calibration_mode())

    def _training(self) -> None:
        self._enter(self._quantizer.training_mode())

    def _enter(self, mode: AbstractContextManager[None]) -> None:
        mode.__enter__()
        self._open = mode

    def _leave(self) -> None:
        if self._open is not None:
            self._open.__exit__(None, None, None)
        self._open = None

    def _fail(self) -> None:
        error = KeyError("a batch that is not there")
        if self._open is not None:
            with suppress(KeyError):
                self._open.__exit__(KeyError, error, None)
        self._open = None

    def _refused(self) -> None:
        try:
            with self._quantizer.calibration_mode():
                pass
        except RuntimeError:
            self._note("refusals", 1, np.int8)
        else:
            self._note("refusals", 0, np.int8)

    def _step(self) -> None:
        self._quantizer.step()

    def _freeze(self) -> None:
        if not hasattr(self._quantizer, "freeze_batch_norm"):
            raise NotImplementedError("the Quantizer has no call that freezes batch norm")
        self._quantizer.freeze_batch_norm()

    def _finalize(self) -> None:
        try:
            self._prepared = self._quantizer.finalize(backend=self._backend)
        except ValueError as error:
            raise NotImplementedError(_UNSUPPORTED + str(error).splitlines()[0]) from error

    def _read(self) -> None:
        modules = self._quantizers()
        found = [(m.qparams_calculator.scale, m.qparams_calculator.zero_point) for m in modules]
        self._note("scales", [scale.item() for scale, _ in found], np.float32)
        zeros = [0 if zero is None else zero.item() for _, zero in found]
        self._note("zero_points", zeros, np.int32)
        switches = [(bool(m.observer_enabled), bool(m.fake_quant_enabled)) for m in modules]
        self._note("switches", switches, np.int8)
        if self._life.norm is not None:
            buffers = dict(self._prepared.named_buffers())
            mean, variance = (
                next(b for name, b in buffers.items() if name.endswith(end))
                for end in ("running_mean", "running_var")
            )
            self._note("statistics", [to_numpy(mean), to_numpy(variance)], np.float32)

    def _quantizers(self) -> list[Any]:
        """Those of weight, input and output, in this order."""
        modules = [m for m in self._in_order() if isinstance(m, self._fake_quantize)]
        weights = [m for m in modules if _target(m) == "weight"]
        found = weights + [m for m in modules if _target(m) != "weight"]
        if len(found) != len(self._life.specs):
            raise RuntimeError(f"prepare made {len(found)} quantizers of {len(self._life.specs)}")
        return found

    def _in_order(self) -> list[Any]:
        if not hasattr(self._prepared, "graph"):
            return list(dict.fromkeys(self._prepared.modules()))
        calls = [n for n in self._prepared.graph.nodes if n.op == "call_module"]
        return [self._prepared.get_submodule(n.target) for n in calls]


def _target(module: Any) -> str:
    target = module.qparams_calculator.quantization_target
    return str(getattr(target, "value", target))


def _layer(torch: Any, life: Lifecycle) -> Any:
    outputs, inputs = life.weight.shape
    linear = torch.nn.Linear(inputs, outputs, bias=life.bias is not None)
    linear.weight.data = to_torch(life.weight)
    if life.bias is not None:
        linear.bias.data = to_torch(life.bias)
    if life.norm is None:
        return torch.nn.Sequential(linear)
    norm = torch.nn.BatchNorm1d(outputs, eps=life.norm.eps, momentum=life.momentum)
    norm.running_mean, norm.running_var = to_torch(life.norm.mean), to_torch(life.norm.variance)
    for name, value in (("weight", life.norm.gamma), ("bias", life.norm.beta)):
        if value is not None:
            getattr(norm, name).data = to_torch(value)
    return torch.nn.Sequential(linear, norm)


def _config(quantization: Any, mode: str, life: Lifecycle) -> Any:
    specs: dict[str, Any] = {}
    for name, spec in life.specs.items():
        options = spec.to_dict()
        specs[name] = quantization.QuantizationSpec(**options)
    options = {
        "op_state_spec": {"weight": specs["weight"]} if "weight" in specs else None,
        "op_input_spec": {"*": specs["input"]} if "input" in specs else None,
        "op_output_spec": {"*": specs["output"]} if "output" in specs else None,
    }
    if life.schedule is not None:
        on, quantize, off = life.schedule
        options["qat_schedule"] = quantization.config.QATSchedule(
            enable_observer=on, enable_fake_quant=quantize, disable_observer=off
        )
    return quantization.QuantizerConfig(
        global_config=quantization.ModuleQuantizerConfig(**options),
        execution_mode=quantization.ExecutionMode(mode),
    )
