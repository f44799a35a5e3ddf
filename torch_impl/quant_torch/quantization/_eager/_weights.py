"""Fake-quantized parameters and buffers: which, by what spec, and as parametrizations."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize

from quant_torch.quantization._eager._op_configs import layer_config, state_config
from quant_torch.quantization._eager._placement import new_fake_quantize
from quant_torch.quantization._eager._recurrent import read_anew
from quant_torch.quantization._eager._roles import state_role
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._tracing import Trace, own_tensors
from quant_torch.quantization._eager.supported_ops_registry import BUILT_IN, operation_of_module
from quant_torch.quantization._module_configs import Rank, boundary_rank, operation_rank
from quant_torch.quantization._states import no_axis, with_axis
from quant_torch.quantization.config import QATSchedule
from quant_torch.quantization.config._fields import names as is_named
from quant_torch.quantization.config._fields import spec_for
from quant_torch.quantization.spec import QuantizationSpec
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import BlockSizeMismatchError

Reader = tuple[str, str]
"""(operation, argument)."""


@dataclass
class PlannedState:
    """A parameter or buffer that will be fake-quantized.

    Attributes:
        tensor: The tensor.
        owners: Every (module, attribute) that holds it; a shared weight has several.
        name: Its name in the model.
        spec: Its spec.
        schedule: The QAT schedule of the first module that wants it quantized and has one.
        rank: How specific the config is that says so.
        who: The module whose config it is.
        reader: The operation that reads it and the argument in which it does, which give an axis.
    """

    tensor: torch.Tensor
    owners: list[tuple[nn.Module, str]]
    name: str
    spec: QuantizationSpec
    schedule: QATSchedule | None
    rank: Rank
    who: str
    reader: Reader

    def build(self) -> FakeQuantizeImplBase | None:
        """The fake-quantize module, or None, with a warning, where no axis or no block fits.

        Raises:
            GranularityError: An axis that the tensor lacks.
        """
        shape = tuple(self.tensor.shape)
        whole = with_axis(self.spec, *self.reader, len(shape))
        if whole is None:
            warnings.warn(no_axis(self.name, shape, self.reader[0], self.spec), stacklevel=2)
            return None
        self.spec = whole
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
            read_anew(owner)


def planned_states(
    model: nn.Module, trace: Trace, scopes: dict[int, ModuleScope]
) -> list[PlannedState]:
    """Everything to quantize among the parameters and buffers of a model.

    Args:
        model: The model.
        trace: A recorded run.
        scopes: The scope of every module, by id of the module.
    """
    plan = _Plan(model, trace)
    for call in trace.calls:
        config = state_config(call, trace)
        if config is None or call.op is None:
            continue
        rank = operation_rank(call.scope.settings, config)
        for tensor in call.inputs:
            if tensor.owners:
                attributes = [attribute for _, attribute in tensor.owners]
                role = state_role(call, tensor, trace)
                spec = spec_for(config.op_state_spec, *attributes, role)
                plan.want(tensor.tensor, spec, call.scope, rank, (call.op.key, tensor.name))
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
                    plan.decide(tensor, spec, scope)
    return plan.wanted()


class _Plan:
    """Collects wishes for tensors; of those for a shared tensor one decides (PLACE-9)."""

    def __init__(self, model: nn.Module, trace: Trace) -> None:
        self._states: dict[int, PlannedState] = {}
        self._decided: dict[int, Rank] = {}
        self._names: dict[int, str] = {}
        self._owners: dict[int, list[tuple[nn.Module, str]]] = {}
        for module_name, module in model.named_modules():
            for attribute, tensor in own_tensors(module):
                name = f"{module_name}.{attribute}" if module_name else attribute
                self._names.setdefault(id(tensor), name)
                self._owners.setdefault(id(tensor), []).append((module, attribute))
        self._readers: dict[int, Reader] = {}
        for call in trace.calls:
            for given in call.inputs:
                if given.owners and call.op is not None:
                    self._readers.setdefault(id(given.tensor), (call.op.key, given.name))

    def wanted(self) -> list[PlannedState]:
        """What is quantized."""
        return list(self._states.values())

    def decide(
        self, tensor: torch.Tensor, spec: QuantizationSpec | None, scope: ModuleScope
    ) -> None:
        """Let a module_state_spec replace what operations ask for, None included (PLACE-10)."""
        rank = boundary_rank(scope.settings)
        if self._decided.get(id(tensor), ()) >= rank:
            return  # of equal ones the first
        self._decided[id(tensor)] = rank
        known = self._states.pop(id(tensor), None)
        if spec is not None and tensor.is_floating_point():
            reader = self._readers.get(id(tensor), ("", ""))
            planned = self._planned(tensor, spec, scope, rank, reader)
            if known is not None:
                planned.schedule = _first_schedule(known, planned.schedule)
            self._states[id(tensor)] = planned

    def want(
        self,
        tensor: torch.Tensor,
        spec: QuantizationSpec | None,
        scope: ModuleScope,
        rank: Rank,
        reader: Reader,
    ) -> None:
        """Ask for a spec; of several the one of the higher rank decides, then the first."""
        if spec is None or not tensor.is_floating_point():
            return
        known = self._states.get(id(tensor))
        wish = self._planned(tensor, spec, scope, rank, reader)
        if known is None:
            self._states[id(tensor)] = wish
            return
        winner = wish if wish.rank > known.rank else known
        if known.spec != spec:
            loser = known if winner is wish else wish
            warnings.warn(
                f"{winner.who} and {loser.who} ask for different quantization of {winner.name}; "
                f"the spec of {winner.who} is used",
                stacklevel=2,
            )
        winner.schedule = _first_schedule(known, wish.schedule)
        self._states[id(tensor)] = winner

    def _planned(
        self,
        tensor: torch.Tensor,
        spec: QuantizationSpec,
        scope: ModuleScope,
        rank: Rank,
        reader: Reader,
    ) -> PlannedState:
        config = scope.settings.config
        schedule = None if config is None else config.qat_schedule
        owners, name = self._owners[id(tensor)], self._names[id(tensor)]
        who = scope.name or "the model"
        return PlannedState(tensor, owners, name, spec, schedule, rank, who, reader)


def _first_schedule(known: PlannedState, schedule: QATSchedule | None) -> QATSchedule | None:
    """The schedule of the first reader that has one (PLACE-9)."""
    if known.schedule != schedule:
        warnings.warn(
            f"{known.name} is shared by modules with different QAT schedules; "
            "the first one is used",
            stacklevel=2,
        )
    return schedule if known.schedule is None else known.schedule


def _want_unreached(plan: _Plan, scope: ModuleScope) -> None:
    """The weights of a standard module on a path that the example inputs did not take."""
    key = operation_of_module(scope.module)
    if key is None:
        return
    config = layer_config(scope, key, BUILT_IN[key])
    if config is None:
        return
    for attribute, tensor in own_tensors(scope.module):
        rank = operation_rank(scope.settings, config)
        spec = spec_for(config.op_state_spec, attribute)
        plan.want(tensor, spec, scope, rank, (key, attribute))
