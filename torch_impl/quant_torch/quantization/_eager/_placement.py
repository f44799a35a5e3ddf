"""Where eager mode puts fake-quantize modules, and what spec each gets."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from quant_torch._stand_in import standing_in
from quant_torch._torch_internals import pytree
from quant_torch.quantization._eager._call_sites import SiteKey
from quant_torch.quantization._eager._derived import Recipe
from quant_torch.quantization._eager._op_configs import call_config, is_left_alone, op_config
from quant_torch.quantization._eager._records import OpCall, TensorInput
from quant_torch.quantization._eager._roles import argument_role, state_role
from quant_torch.quantization._eager._scopes import ModuleScope
from quant_torch.quantization._eager._sites import Path, Site
from quant_torch.quantization._eager._tracing import Trace, tensor_arguments
from quant_torch.quantization._eager.supported_ops_registry import (
    SupportedOp,
    TorchFunction,
    supported_functions,
)
from quant_torch.quantization._module_configs import Rank, boundary_rank
from quant_torch.quantization._states import Role, is_addend, no_axis, with_axis
from quant_torch.quantization.config import (
    OpQuantizerConfig,
    QATSchedule,
)
from quant_torch.quantization.config._fields import names as is_named
from quant_torch.quantization.config._fields import spec_for
from quant_torch.quantization.spec import QuantizationComponentFactory, QuantizationSpec
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase
from quant_torch.quantization.spec.granularity import Target


@dataclass
class PlannedSite:
    """What will be quantized at one call site.

    Attributes:
        scope: Of the module.
        function: The torch function called there.
        name: Name of the operation in its module.
        op: What is known about the function, or None.
        inputs: (argument name, spec) of quantized arguments by path.
        states: Paths of the arguments that count as states, with the recipe of those that are
            computed from the model's states alone.
        outputs: Spec of quantized outputs by index.
    """

    scope: ModuleScope
    function: TorchFunction
    name: str
    op: SupportedOp | None = None
    inputs: dict[Path, tuple[str, QuantizationSpec]] = field(default_factory=dict)
    states: dict[Path, Recipe | None] = field(default_factory=dict)
    outputs: dict[int, QuantizationSpec] = field(default_factory=dict)

    def build(self) -> Site | None:
        """Make the fake-quantize modules and add them to the module; None if there are none."""
        if not (self.inputs or self.outputs):
            return None
        site = Site(self.name, overwrites=self.op is not None and self.op.result_is_free)
        for path, (argument, spec) in self.inputs.items():
            target: Target = "activation"
            if path in self.states:
                target = "weight"
            attribute = f"{self.name}_quantize_{argument}"
            module = self._module(spec, target, attribute, f"input {argument}")
            module.derivation = self.states.get(path)
            site.add_input(path, module)
        for index, spec in self.outputs.items():
            attribute = f"{self.name}_quantize_output_{index}"
            site.outputs[index] = self._module(spec, "activation", attribute, f"output {index}")
        return site

    def _module(
        self, spec: QuantizationSpec, target: Target, attribute: str, what: str
    ) -> FakeQuantizeImplBase:
        tensor_name = f"{self.scope.full_name(self.name)} {what}"
        module = new_fake_quantize(spec, target, tensor_name, _schedule(self.scope))
        home, attribute = _home(self.scope, attribute)
        if hasattr(home, attribute):
            raise ValueError(
                f"{type(home).__name__} has an attribute {attribute!r} already, where the "
                f"fake-quantize module of {tensor_name} belongs"
            )
        home.add_module(attribute, module)
        return module


def planned_sites(trace: Trace) -> dict[tuple[str, SiteKey, int], PlannedSite]:
    """Everything to quantize at the call sites of a recorded run.

    Args:
        trace: The run.

    Returns:
        One entry per call site and visit, also where nothing is quantized.
    """
    overridden = _module_output_specs(trace)
    plan: dict[tuple[str, SiteKey, int], PlannedSite] = {}
    for call in trace.calls:
        place = (call.scope.name, call.key, call.visit)
        site = plan.setdefault(place, PlannedSite(call.scope, call.function, call.name, call.op))
        config = call_config(call, trace)
        for tensor in call.inputs:
            if tensor.owners or not is_quantizable(tensor.tensor) or tensor.path in site.inputs:
                continue
            role = state_role(call, tensor, trace)
            spec = _module_input_spec(tensor, _input_spec(config, call, tensor, role))
            if spec is not None and role is not None:
                spec = _completed(spec, call, tensor)
                site.states[tensor.path] = trace.origins.recipe(tensor.tensor)
            if spec is not None:
                site.inputs[tensor.path] = (tensor.name, spec)
        for index, output in call.outputs.items():
            spec = None if config is None else spec_for(config.op_output_spec, index)
            if is_left_alone(call) and trace.whole.becomes(output):
                spec = None
            spec = overridden.get((id(call), index), (spec,))[0]
            if spec is not None and is_quantizable(output):
                site.outputs.setdefault(index, spec)
    return plan


def new_site(
    scope: ModuleScope,
    function: TorchFunction,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    attach: bool,
) -> Site | None:
    """The site of a call that is reached for the first time, or None if nothing is quantized.

    Args:
        scope: Of the running module.
        function: The torch function called.
        args: Its positional arguments.
        kwargs: Its keyword arguments.
        attach: Whether to make the modules; without it the site only says that there would be
            some.
    """
    op = supported_functions().get(function)
    if op is not None and op.states_only:
        return None
    base = getattr(function, "__name__", "function")
    count = scope.op_counts.get(base, 0)
    name = f"{base}_{count}" if count else base
    config = op_config(scope, scope.full_name(name), (base, *([op.key] if op else [])), op)
    if config is None:
        return None
    state = {id(t) for m in [scope.module] for t in (*m.parameters(), *m.buffers())}
    planned = PlannedSite(scope, function, name, op)
    for index, (argument, path, tensor) in enumerate(tensor_arguments(op, args, kwargs)):
        if _is_of_layer(op, argument) or id(tensor) in state:
            continue  # a parametrization takes care of it, or nothing can any more
        spec = spec_for(config.op_input_spec, index, argument)
        if spec is not None and is_quantizable(tensor):
            planned.inputs[path] = (argument, spec)
    output = spec_for(config.op_output_spec, 0)
    if output is not None and _may_give_floats(op, base, (args, kwargs)):
        planned.outputs[0] = output
    if not (planned.inputs or planned.outputs):
        return None
    if not attach:
        return Site(name)
    scope.new_op_name(base)
    site = planned.build()
    for module in site.modules() if site is not None else ():
        module.enable_observer(True)
        module.enable_fake_quant(scope.state.quantizing)
        module.train(scope.module.training)
    return site


def _may_give_floats(op: SupportedOp | None, name: str, arguments: Any) -> bool:
    """Whether a result can be quantized: not that of counting batches, which adds to an integer."""
    leaves = pytree.tree_leaves(arguments)
    if name.endswith("_") and not name.endswith("__"):
        leaves = leaves[:1]
    elif op is None or not op.by_default:
        return True  # it may divide integers, or convert them
    tensors = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    return any(t.is_floating_point() for t in tensors) or any(type(n) is float for n in leaves)


def _input_spec(
    config: OpQuantizerConfig | None, call: OpCall, tensor: TensorInput, role: Role | None
) -> QuantizationSpec | None:
    if config is None:
        return None
    if role is not None:
        return spec_for(config.op_state_spec, role)
    keys = (tensor.index, tensor.name)
    added = call.op is not None and is_addend(call.op.key, tensor.name) and not standing_in()
    if added and not set(keys) & set(config.op_input_spec):
        return None  # added to the sums before they are rounded, as a bias is
    return spec_for(config.op_input_spec, *keys)


def _completed(
    spec: QuantizationSpec, call: OpCall, tensor: TensorInput
) -> QuantizationSpec | None:
    """The spec of a computed state with its axis; None, with a warning, where there is none."""
    key, shape = call.op.key if call.op else "", tuple(tensor.tensor.shape)
    whole = with_axis(spec, key, tensor.name, len(shape))
    if whole is None:
        name = f"{call.full_name} input {tensor.name}"
        warnings.warn(no_axis(name, shape, key, spec), stacklevel=2)
    return whole


def is_quantizable(tensor: torch.Tensor) -> bool:
    """Whether an activation is quantized at all: integers and single numbers are not."""
    return tensor.is_floating_point() and tensor.dim() > 0


def _is_of_layer(op: SupportedOp | None, argument: str) -> bool:
    return argument in ("weight", "bias") and argument_role(op, argument) is not None


def _module_input_spec(
    tensor: TensorInput, spec: QuantizationSpec | None
) -> QuantizationSpec | None:
    """The spec of an argument, with the module_input_spec that decides about it (PLACE-10).

    Of nested modules the one whose entry ranks higher decides, of equal ones the inner.
    """
    decided: Rank = ()
    for running, keys in tensor.readers:  # innermost first
        boundary, rank = running.scope.settings.boundary, boundary_rank(running.scope.settings)
        if boundary is None or not is_named(boundary.module_input_spec, *keys):
            continue
        if rank > decided:
            decided, spec = rank, spec_for(boundary.module_input_spec, *keys)
    return spec


def _module_output_specs(
    trace: Trace,
) -> dict[tuple[int, int], tuple[QuantizationSpec | None]]:
    """Specs that module_output_spec gives to the operations that produce module outputs."""
    specs: dict[tuple[int, int], tuple[QuantizationSpec | None]] = {}
    decided: dict[tuple[int, int], Rank] = {}
    for running in reversed(trace.module_calls):  # inner calls start later
        boundary, rank = running.scope.settings.boundary, boundary_rank(running.scope.settings)
        if boundary is None:
            continue
        for index, (call, output) in running.outputs.items():
            place = (id(call), output)
            if is_named(boundary.module_output_spec, index) and rank > decided.get(place, ()):
                decided[place] = rank
                specs[place] = (spec_for(boundary.module_output_spec, index),)
    return specs


def new_fake_quantize(
    spec: QuantizationSpec,
    target: Target,
    tensor_name: str,
    schedule: QATSchedule | None,
) -> FakeQuantizeImplBase:
    """A fake-quantize module that knows its tensor's name and its schedule."""
    module = QuantizationComponentFactory.create_fake_quantizer(spec, target, tensor_name)
    module.qat_schedule = schedule
    return module


def _schedule(scope: ModuleScope) -> QATSchedule | None:
    return None if scope.settings.config is None else scope.settings.config.qat_schedule


def _home(scope: ModuleScope, attribute: str) -> tuple[nn.Module, str]:
    """The module that holds a site's fake-quantize module, and the attribute's name there.

    A Sequential calls every child it has, so its own sites live in one of its children.
    """
    module = scope.module
    if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        for inner in module.modules():
            if not isinstance(inner, nn.Sequential | nn.ModuleList | nn.ModuleDict):
                return inner, f"container_{attribute}"
    return module, attribute
