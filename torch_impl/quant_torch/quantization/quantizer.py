"""The quantizer: one object from a float model to a quantized one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from quant_reference.errors import QuantError
from quant_torch._backends import ExportBackend
from quant_torch._quiet import torch_deprecations_hidden
from quant_torch.quantization._calibration import mark_prepared, warn_if_not_calibrated
from quant_torch.quantization._engine_factory import create_engine
from quant_torch.quantization._evaluation import evaluating, set_training
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization._input_failures import check_float_model
from quant_torch.quantization._left_in_float import settings_of, why_in_float
from quant_torch.quantization._module_configs import ModuleSettings
from quant_torch.quantization._ownership import Ownership, explain
from quant_torch.quantization.config import QuantizerConfig
from quant_torch.quantization.spec.granularity import weighted_module_kinds

if TYPE_CHECKING:
    from quant_torch.quantization.shares import QuantizedShares


class Quantizer:
    """Quantizes a model: prepare, then calibrate or train, then finalize.

    Args:
        model: The float model.
        config: What is quantized and how; None for int8 weights and activations in graph mode.

    Raises:
        TypeError: Another type of model or config.

    Example:
        >>> quantizer = Quantizer(model, QuantizerConfig())
        >>> prepared = quantizer.prepare((x,))
        >>> with quantizer.calibration_mode():
        ...     for batch in batches:
        ...         prepared(batch)
        >>> finalized = quantizer.finalize()
    """

    def __init__(self, model: nn.Module, config: QuantizerConfig | None = None) -> None:
        if not isinstance(model, nn.Module):
            raise TypeError(f"model must be an nn.Module, given {type(model).__name__}")
        if config is not None and not isinstance(config, QuantizerConfig):
            hint = "; QuantizerConfig.from_dict reads a dict" if isinstance(config, dict) else ""
            given = type(config).__name__
            raise TypeError(f"config must be a QuantizerConfig, given {given}{hint}")
        config = QuantizerConfig() if config is None else config.model_copy(deep=True)
        self._config = config
        self._model = model
        self._engine = create_engine(model, config)
        self._prepared: nn.Module | None = None  # or the copy that a mode was given last
        self._ownership = Ownership()
        self._finalized = False
        self._mode: str | None = None  # "calibration_mode" or "training_mode" while inside
        self._trained: nn.Module | None = None
        self._inputs: ExampleInputs | None = None
        self._settings: dict[str, ModuleSettings] = {}
        self._steps = 0

    @staticmethod
    def supported_modules() -> tuple[type[nn.Module], ...]:
        """Module classes whose weight is quantized without an axis being named (GRAN-7)."""
        return tuple(getattr(nn, kind) for kind in weighted_module_kinds())

    def prepare(
        self,
        example_inputs: tuple[Any, ...],
        dynamic_shapes: Any = None,
        export_with_no_grad: bool = True,
        *,
        example_kwargs: Mapping[str, Any] | None = None,
    ) -> nn.Module:
        """Insert fake-quantize modules and initialise their qparams from the example inputs.

        Eager mode changes the model in place and returns it; graph mode returns a new
        ``fx.GraphModule`` and leaves the model as it is. Afterwards observers are off and
        fake-quantization is on.

        Args:
            example_inputs: Positional arguments of one forward pass; representative ones where
                activations are quantized.
            dynamic_shapes: Passed to ``torch.export`` in graph mode; not used in eager mode.
            export_with_no_grad: Whether graph mode exports under ``torch.no_grad``.
            example_kwargs: Keyword arguments of that forward pass, by name. Graph mode captures
                the arguments that are given here and no others; call its model with the same.

        Returns:
            The prepared model.

        Raises:
            RuntimeError: The quantizer has prepared its model already, or there are fake-quantize
                modules in the model.
            TypeError: example_inputs is no tuple, example_kwargs no dict, or the model's forward
                does not take them.
            ExampleInputsError: A RuntimeError: the float model itself fails on them.
        """
        if self._prepared is not None:
            raise RuntimeError(
                "prepare() was called already; make a new Quantizer for another model or config"
            )
        if fake_quantizers(self._model):
            raise RuntimeError(
                "the model, or a part of it, is prepared already; give Quantizer a float model"
            )
        inputs = ExampleInputs.checked(self._model, example_inputs, example_kwargs)
        self._inputs, self._settings = inputs, settings_of(self._model, self._config)
        try:
            with torch_deprecations_hidden():
                self._prepared = self._engine.prepare(inputs, dynamic_shapes, export_with_no_grad)
        except QuantError:
            raise
        except Exception:
            check_float_model(self._model, inputs)
            raise
        self._set_switches(self._prepared, observing=False, quantizing=True)
        mark_prepared(self._prepared)
        self._ownership.take(self._prepared)
        return self._prepared

    def shares(self) -> QuantizedShares:
        """Which share of the parameters and multiply-adds is quantized, and what is not and why.

        The prepared model runs once, on the example inputs. Counted are matrix products,
        convolutions, embeddings and what recurrent layers multiply.

        Raises:
            RuntimeError: Before prepare, or after finalize.
        """
        from quant_torch.quantization.shares import quantized_shares

        prepared = self._required("shares")
        if self._inputs is None:
            raise RuntimeError("shares() needs the example inputs of prepare()")
        return quantized_shares(
            prepared,
            self._inputs.args,
            example_kwargs=self._inputs.kwargs or None,
            reason_of=partial(why_in_float, self._settings),
        )

    @contextmanager
    def calibration_mode(self, model: nn.Module | None = None) -> Iterator[None]:
        """Observe ranges: observers on, fake-quantization off, so outputs are the float model's.

        The model is in evaluation mode inside, whatever mode it was left in. On leaving, also by
        an exception, every module has its former mode, observers are off and fake-quantization is
        on.

        Args:
            model: The prepared model, a copy of it, or a wrapper around either, which becomes the
                one that the quantizer goes on with; None for the one it has.

        Raises:
            RuntimeError: Before prepare, after finalize, or inside another mode.
            ValueError: A model that this quantizer did not prepare.
        """
        target = self._enter("calibration_mode", model)
        try:
            with evaluating(target):
                self._set_switches(target, observing=True, quantizing=False)
                yield
        finally:
            self._mode = None
            self._set_switches(target, observing=False, quantizing=True)

    @contextmanager
    def training_mode(self, model: nn.Module | None = None) -> Iterator[None]:
        """Train with quantization simulated: train mode, observers and fake-quantization on.

        A qat_schedule decides about the switches by the number of :meth:`step` calls so far, which
        outlives the context. On leaving, also by an exception, the model is in evaluation mode
        with observers off and fake-quantization on.

        Args:
            model: As for :meth:`calibration_mode`.

        Raises:
            RuntimeError: Before prepare, after finalize, or inside another mode.
            ValueError: A model that this quantizer did not prepare.
        """
        target = self._enter("training_mode", model)
        try:
            self._trained = target
            set_training(target, True)
            self._set_switches(target, observing=True, quantizing=True)
            self._apply_schedules(target)
            yield
        finally:
            self._mode = None
            self._trained = None
            set_training(target, False)
            self._set_switches(target, observing=False, quantizing=True)

    def step(self) -> None:
        """Advance the QAT schedules by one step and switch accordingly.

        Raises:
            RuntimeError: Outside of training_mode.

        Warns:
            UserWarning: No module has a qat_schedule.
        """
        if self._trained is None:
            raise RuntimeError("step() must be called inside training_mode()")
        if not self._has_schedule(self._trained):
            warnings.warn("step() does nothing: no config has a qat_schedule", stacklevel=2)
        self._steps += 1
        self._apply_schedules(self._trained)

    def enable_observer(self, module: nn.Module | None = None) -> None:
        """Switch observers on in the prepared model, or in one of its modules.

        Args:
            module: A module of the prepared model; None for the whole model.
        """
        self._switch("enable_observer", module, observing=True)

    def disable_observer(self, module: nn.Module | None = None) -> None:
        """Switch observers off in the prepared model, or in one of its modules.

        Args:
            module: A module of the prepared model; None for the whole model.
        """
        self._switch("disable_observer", module, observing=False)

    def enable_fake_quant(self, module: nn.Module | None = None) -> None:
        """Switch fake-quantization on in the prepared model, or in one of its modules.

        Args:
            module: A module of the prepared model; None for the whole model.
        """
        self._switch("enable_fake_quant", module, quantizing=True)

    def disable_fake_quant(self, module: nn.Module | None = None) -> None:
        """Switch fake-quantization off in the prepared model, or in one of its modules.

        Args:
            module: A module of the prepared model; None for the whole model.
        """
        self._switch("disable_fake_quant", module, quantizing=False)

    def freeze_batch_norm(self, module: nn.Module | None = None) -> None:
        """Keep batch norm statistics from now on, also in training_mode.

        Args:
            module: A module of the prepared model; None for the whole model.

        Raises:
            RuntimeError: Before prepare.
            ValueError: A module of another model.
        """
        self._engine.freeze_batch_norm(self._part("freeze_batch_norm", module))

    def finalize(
        self,
        model: nn.Module | None = None,
        backend: ExportBackend | str = ExportBackend.CoreAI,
        *,
        mmap_dir: str | os.PathLike[str] | None = None,
    ) -> nn.Module:
        """Freeze the qparams and express the model in the operators of a backend.

        Args:
            model: The prepared model, a copy of it, or a wrapper around either; None for the one
                that was calibrated or trained last.
            backend: The target.
            mmap_dir: Directory for the large buffers; None keeps them in memory.

        Returns:
            The finalized model.

        Raises:
            RuntimeError: Before prepare, inside a mode, or a second time.
            ValueError: Unknown backend, something the backend cannot express, or a model that this
                quantizer did not prepare.

        Warns:
            UserWarning: Activations were observed on the example inputs alone; names them.
        """
        target = self._whole("finalize", model)
        if self._mode is not None:
            raise RuntimeError(f"finalize() cannot be called inside {self._mode}()")
        warn_if_not_calibrated(fake_quantizers(target))
        from quant_torch.quantization._finalize import FINALIZERS

        finalize = FINALIZERS[self._config.execution_mode]
        with torch_deprecations_hidden():
            finalized = finalize(target, ExportBackend(backend), mmap_dir)
        self._finalized = True
        return finalized

    def _required(self, what: str) -> nn.Module:
        if self._prepared is None:
            raise RuntimeError(f"{what}() needs a prepared model: call prepare() first")
        if self._finalized:
            raise RuntimeError(f"{what}() cannot follow finalize(); make a new Quantizer")
        return self._prepared

    def _whole(self, what: str, model: nn.Module | None) -> nn.Module:
        """The prepared model that an argument means: the model itself, or what it wraps."""
        prepared = self._required(what)
        if model is None:
            return prepared
        found = self._ownership.model_in(_checked(what, model))
        if found is None:
            raise ValueError(
                f"{what}() takes the model that this Quantizer prepared, a copy of it, or a "
                f"wrapper around either; given {explain(model)}"
            )
        return found

    def _part(self, what: str, module: nn.Module | None) -> nn.Module:
        """The prepared model or one of its modules, or those of a copy."""
        prepared = self._required(what)
        if module is None:
            return prepared
        known = self._ownership.has(_checked(what, module))
        if not known and not any(inner is module for inner in prepared.modules()):
            raise ValueError(
                f"{what}() takes the model that this Quantizer prepared, a copy of it, or a module "
                f"inside; given {explain(module)}"
            )
        return module

    def _enter(self, mode: str, model: nn.Module | None) -> nn.Module:
        prepared = self._whole(mode, model)
        if self._mode is not None:
            raise RuntimeError(f"{mode}() cannot be entered inside {self._mode}()")
        self._mode = mode
        self._prepared = prepared
        return prepared if model is None else model

    def _switch(
        self,
        what: str,
        module: nn.Module | None,
        observing: bool | None = None,
        quantizing: bool | None = None,
    ) -> None:
        target = self._part(what, module)
        if self._has_schedule(self._required(what)):
            raise RuntimeError(
                "a qat_schedule decides about observers and fake-quantization: advance it with "
                "step(), or leave qat_schedule out of the config to switch by hand"
            )
        self._set_switches(target, observing, quantizing)

    def _set_switches(
        self, model: nn.Module, observing: bool | None = None, quantizing: bool | None = None
    ) -> None:
        for module in fake_quantizers(model):
            if observing is not None:
                module.enable_observer(observing)
            if quantizing is not None:
                module.enable_fake_quant(quantizing)
        self._engine.switches_changed(model, observing, quantizing)

    def _apply_schedules(self, model: nn.Module) -> None:
        for module in fake_quantizers(model):
            if module.qat_schedule is not None:
                module.enable_observer(module.qat_schedule.observes(self._steps))
                module.enable_fake_quant(module.qat_schedule.quantizes(self._steps))

    def _has_schedule(self, model: nn.Module) -> bool:
        return any(module.qat_schedule is not None for module in fake_quantizers(model))


def _checked(what: str, module: object) -> nn.Module:
    if not isinstance(module, nn.Module):
        raise TypeError(f"{what}() takes an nn.Module, given {type(module).__name__}")
    return module
