"""Fake-quantized parameters and buffers: which, by what spec, and as parametrizations."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from quant_torch.quantization._eager._placement import (
    new_fake_quantize,
    op_config,
    with_default_axis,
)
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._tracing import Trace, own_tensors
from quant_torch.quantization._eager.supported_ops_registry import BUILT_IN, operation_of_module
from quant_torch.quantization.config import QATSchedule
from quant_torch.quantization.config._fields import names as is_named
from quant_torch.quantization.config._fields import spec_for
from quant_torch.quantization.spec import QuantizationSpec
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import BlockSizeMismatchError


@dataclass
class PlannedState:
    """A parameter or buffer that will be fake-quantized.

    Attributes:
        tensor: The tensor.
        owners: Every (module, attribute) that holds it; a shared weight has several.
        name: Its name in the model.
        spec: Its spec.
        schedule: The QAT schedule of the first module that wants it quantized, or None.
    """

    tensor: torch.Tensor
    owners: list[tuple[nn.Module, str]]
    name: str
    spec: QuantizationSpec
    schedule: QATSchedule | None

    def build(self) -> FakeQuantizeImplBase | None:
        """The fake-quantize module, or None where the blocks do not fit (with a warning).

        Raises:
            GranularityError: No default axis for the owner, or an axis the tensor lacks.
        """
        kinds = [cls.__name__ for cls in type(self.owners[0][0]).__mro__]
        self.spec = with_default_axis(self.spec, kinds)
        module = new_fake_quantize(self.spec, "weight", self.name, self.schedule)
        try:
            module.check_shape(self.tensor.shape)
        except BlockSizeMismatchError as error:
            warnings.warn(
                f"{self.name} of shape {tuple(self.tensor.shape)} is left unquantized: {error}",
                stacklevel=2,
            )
            return None
        return module

    def attach(self, module: FakeQuantizeImplBase) -> None:
        """Put the module between the tensor and everyone who reads it."""
        for owner, attribute in self.owners:
            # Not the checked form, which would run the module before its qparams exist.
            parametrize.register_parametrization(owner, attribute, module, unsafe=True)


def planned_states(
    model: nn.Module, trace: Trace, scopes: dict[int, ModuleScope]
) -> list[PlannedState]:
    """Everything to quantize among the parameters and buffers of a model.

    Args:
        model: The model.
        trace: A recorded run.
        scopes: The scope of every module, by id of the module.
    """
    plan = _Plan(model)
    for call in trace.calls:
        config = op_config(call.scope, call.full_name, call.types, call.op)
        if config is None:
            continue
        for tensor in call.inputs:
            for _, attribute in tensor.owners:
                spec = spec_for(config.op_state_spec, attribute)
                plan.want(tensor.tensor, spec, call.scope)
    reached = {id(call.scope.module) for call in trace.module_calls}
    for module in model.modules():
        scope = scopes[id(module)]
        if id(module) not in reached:
            _want_unreached(plan, scope)
        boundary = scope.settings.boundary
        if boundary is not None:
            for attribute, tensor in own_tensors(module):
                if is_named(boundary.module_state_spec, attribute):
                    spec = spec_for(boundary.module_state_spec, attribute)
                    plan.want(tensor, spec, scope, override=True)
    return list(plan.states.values())


class _Plan:
    """Collects wishes for tensors; a shared tensor gets one spec."""

    def __init__(self, model: nn.Module) -> None:
        self.states: dict[int, PlannedState] = {}
        self._names: dict[int, str] = {}
        self._owners: dict[int, list[tuple[nn.Module, str]]] = {}
        for module_name, module in model.named_modules():
            for attribute, tensor in own_tensors(module):
                name = f"{module_name}.{attribute}" if module_name else attribute
                self._names.setdefault(id(tensor), name)
                self._owners.setdefault(id(tensor), []).append((module, attribute))

    def want(
        self,
        tensor: torch.Tensor,
        spec: QuantizationSpec | None,
        scope: ModuleScope,
        override: bool = False,
    ) -> None:
        """Ask for a spec; a later wish replaces an earlier one, None only by override."""
        if spec is None:
            if override:
                self.states.pop(id(tensor), None)
            return
        if not tensor.is_floating_point():
            return
        config = scope.settings.config
        schedule = None if config is None else config.qat_schedule
        name = self._names[id(tensor)]
        known = self.states.get(id(tensor))
        if known is not None:
            if known.spec != spec and not override:
                warnings.warn(
                    f"{name} is shared by operations that ask for different specs; the one of "
                    f"{scope.name or 'the model'} is used",
                    stacklevel=2,
                )
            if known.schedule != schedule:
                warnings.warn(
                    f"{name} is shared by modules with different QAT schedules; "
                    "the first one is used",
                    stacklevel=2,
                )
                schedule = known.schedule
        self.states[id(tensor)] = PlannedState(
            tensor, self._owners[id(tensor)], name, spec, schedule
        )


def _want_unreached(plan: _Plan, scope: ModuleScope) -> None:
    """The weights of a standard module on a path that the example inputs did not take."""
    key = operation_of_module(scope.module)
    if key is None:
        return
    config = op_config(scope, scope.full_name(key), (key,), BUILT_IN[key])
    if config is None:
        return
    for attribute, tensor in own_tensors(scope.module):
        plan.want(tensor, spec_for(config.op_state_spec, attribute), scope)
