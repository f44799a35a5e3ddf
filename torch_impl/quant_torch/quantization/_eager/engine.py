"""Eager mode's engine: trace the example inputs, place fake-quantize modules, initialise them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from quant_torch._torch_internals import NormBase
from quant_torch.quantization._eager._config_warnings import (
    warn_about_unknown_keys,
    warn_about_unmatched_ops,
)
from quant_torch.quantization._eager._masks import note_masks
from quant_torch.quantization._eager._pickling import refuse_pickling
from quant_torch.quantization._eager._placement import new_site, planned_sites
from quant_torch.quantization._eager._scopes import ModuleScope, scopes_of
from quant_torch.quantization._eager._state import PreparedState
from quant_torch.quantization._eager._tracing import Trace
from quant_torch.quantization._eager._weights import planned_states
from quant_torch.quantization._eager.supported_ops_registry import supported_functions
from quant_torch.quantization._engine import Engine
from quant_torch.quantization._evaluation import undisturbed
from quant_torch.quantization._example_inputs import ExampleInputs
from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization._module_configs import ModuleSettings, resolve_module_configs
from quant_torch.quantization.config import QuantizerConfig
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase


class EagerEngine(Engine):
    """Quantizes a module in place.

    Weights become parametrizations. Activations are quantized at the call sites of torch
    functions, which a ``TorchFunctionMode`` sees while the model runs; which site is which is told
    by the instructions that lead to the call, so that branches and loops do not confuse them
    (PLACE-11).
    """

    def prepare(
        self, inputs: ExampleInputs, dynamic_shapes: Any, export_with_no_grad: bool
    ) -> nn.Module:
        """Prepare the model in place; on an error it is left as it was.

        Args:
            inputs: Arguments of one forward pass.
            dynamic_shapes: Not used in this mode.
            export_with_no_grad: Not used in this mode.
        """
        model = self.model
        if scopes_of(model):
            raise RuntimeError("the model is prepared already; give Quantizer a float model")
        _check_visible(model)
        settings = resolve_module_configs(model, self.config)
        try:
            with undisturbed(model):
                # Cached, a tensor that parametrizations compute is one object for the whole trace.
                with parametrize.cached():
                    trace = trace_model(model, settings, inputs)
                    warn_about_unmatched_ops(self.config, trace)
                    warn_about_unknown_keys(trace)
                    self._place(model, trace)
                _initialise(model, inputs)
            refuse_pickling(model)
        except BaseException:
            undo(model)
            raise
        return model

    def _place(self, model: nn.Module, trace: Trace) -> None:
        scopes = {id(scope.module): scope for scope in scopes_of(model)}
        states = [(state, state.build()) for state in planned_states(model, trace, scopes)]
        functions = scopes[id(model)].state.functions
        for function, op in supported_functions().items():
            if op.by_default:
                functions[function] = getattr(function, "__name__", op.key)
        for (_, key, visit), planned in planned_sites(trace).items():
            site = planned.build()
            planned.scope.put(key, visit, site)
            if site is not None:
                functions[planned.function] = getattr(planned.function, "__name__", "function")
        for state, module in states:
            if module is not None:
                state.attach(module)

    def freeze_batch_norm(self, model: nn.Module) -> None:
        """Keep every batch norm in evaluation mode, whatever mode the model is put in."""
        for module in model.modules():
            if isinstance(module, NormBase):
                module.eval()
                if _stay_in_evaluation not in module._forward_pre_hooks.values():
                    module.register_forward_pre_hook(_stay_in_evaluation)

    def switches_changed(
        self, model: nn.Module, observing: bool | None, quantizing: bool | None
    ) -> None:
        """Tell the model whether call sites that are reached from now on get quantized."""
        super().switches_changed(model, observing, quantizing)
        for scope in scopes_of(model):
            scope.state.observing, scope.state.quantizing = self.observing, self.quantizing


def _check_visible(model: nn.Module) -> None:
    """Refuse a model of TorchScript, and warn of such parts: nothing in them would be quantized."""
    if isinstance(model, torch.jit.ScriptModule):
        raise TypeError(
            f"a {type(model).__name__} hides its operations; give the module that it was made from"
        )
    hidden = [n for n, m in model.named_modules() if isinstance(m, torch.jit.ScriptModule)]
    outermost = [n for n in hidden if not any(n.startswith(f"{o}.") for o in hidden)]
    if outermost:
        warnings.warn(
            f"nothing is quantized inside {', '.join(outermost)}: TorchScript hides its operations",
            stacklevel=2,
        )


def trace_model(
    model: nn.Module,
    settings: dict[str, ModuleSettings],
    inputs: ExampleInputs,
    with_frames: bool = False,
) -> Trace:
    """Give every module a scope and record one run.

    Args:
        model: The float model.
        settings: Of every module, by name.
        inputs: Arguments of one forward pass.
        with_frames: Whether to record source lines.
    """
    state = PreparedState(new_site)
    for name, module in model.named_modules():
        ModuleScope(name, module, settings[name], state).attach()
    trace = Trace(model, with_frames)
    trace.run(model, state, inputs.copied())
    note_masks(trace)
    return trace


def inspect_model(model: nn.Module, inputs: ExampleInputs) -> Trace:
    """Record one run of a float model with its source lines, and leave the model as it was."""
    if scopes_of(model):
        raise RuntimeError("the model is prepared already; inspect the float model")
    settings = resolve_module_configs(model, QuantizerConfig(global_config=None))
    try:
        with undisturbed(model), parametrize.cached():
            return trace_model(model, settings, inputs, with_frames=True)
    finally:
        for scope in scopes_of(model):
            scope.detach()


def undo(model: nn.Module) -> None:
    """Take scopes, fake-quantize modules and parametrizations out of a model again."""
    for scope in scopes_of(model):
        scope.detach()
    for module in list(model.modules()):
        if parametrize.is_parametrized(module):
            for name, steps in list(module.parametrizations.items()):
                ours = [i for i, step in enumerate(steps) if isinstance(step, FakeQuantizeImplBase)]
                if len(ours) == len(steps):
                    parametrize.remove_parametrizations(module, name, leave_parametrized=False)
                else:  # the user's own parametrizations stay
                    for i in reversed(ours):
                        del steps[i]
        for name, child in list(module.named_children()):
            if isinstance(child, FakeQuantizeImplBase):
                delattr(module, name)


def _initialise(model: nn.Module, inputs: ExampleInputs) -> None:
    """Observe the example inputs on the float model, then drop what does not fit its blocks."""
    for module in fake_quantizers(model):
        module.enable_observer()
        module.disable_fake_quant()
    with torch.no_grad():
        inputs.copied().run(model)
        _observe_unread_weights(model)
    for scope in scopes_of(model):
        for visits in scope.sites.values():
            for site in visits:
                if site is not None:
                    site.drop_disabled()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, FakeQuantizeImplBase) and child.disabled:
                delattr(module, name)


def _observe_unread_weights(model: nn.Module) -> None:
    """Give qparams to the weights of modules that the example inputs did not lead to."""
    for module in model.modules():
        if parametrize.is_parametrized(module):
            for name, steps in module.parametrizations.items():
                fresh = [s for s in steps if isinstance(s, FakeQuantizeImplBase) and s.is_fresh]
                if fresh:
                    getattr(module, name)


def _stay_in_evaluation(module: nn.Module, args: tuple[Any, ...]) -> None:
    module.training = False
