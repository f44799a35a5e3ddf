"""Which arguments of a recorded operation count as weights and biases (PLACE-5, PLACE-13)."""

from __future__ import annotations

from torch import nn

from quant_torch._stand_in import standing_in
from quant_torch.quantization._eager._records import OpCall, TensorInput
from quant_torch.quantization._eager._tracing import Trace
from quant_torch.quantization._eager.supported_ops_registry import SupportedOp
from quant_torch.quantization._states import WHERE_WEIGHTED, Role, role_of


def argument_role(op: SupportedOp | None, argument: str, rank: int = 2) -> Role | None:
    """What an operation takes a parameter for in an argument; a user's own names are believed."""
    if op is None:
        return None
    if argument in ("weight", "bias") and argument in op.arguments:
        return "weight" if argument == "weight" else "bias"
    return role_of(op.key, argument, rank)


def state_role(call: OpCall, tensor: TensorInput, trace: Trace) -> Role | None:
    """The role of an argument that is a parameter, or computed from states alone; else None.

    A weight that forward computes from others (masked, normalised, cut out) is still a weight; one
    that depends on the model's inputs, or that there is no recipe for, is an activation. A factor
    of a product is a weight only if a parameter is in it.
    """
    role = argument_role(call.op, tensor.name, tensor.tensor.dim())
    if role is None or tensor.of_data:
        return None
    if tensor.owners:
        held = any(_is_parameter(module, attribute) for module, attribute in tensor.owners)
        return role if held and not standing_in() else None
    recipe = trace.origins.recipe(tensor.tensor)
    if tensor.name in ("weight", "bias"):
        # What no operation gave, as a plain attribute, is a state of the model too.
        return role if recipe is not None or tensor.producer is None else None
    if recipe is None:
        return None
    modules = dict(trace.model.named_modules())
    held = any(_is_parameter(modules[s.module], s.attribute) for s in recipe.states())
    return role if held else None


def is_weighted(call: OpCall, trace: Trace) -> bool:
    """Whether a call is a matrix product, off by default, with a parameter for a factor."""
    return (
        call.op is not None
        and call.op.key in WHERE_WEIGHTED
        and any(state_role(call, tensor, trace) == "weight" for tensor in call.inputs)
    )


def _is_parameter(module: nn.Module, attribute: str) -> bool:
    return attribute in module._parameters or attribute in getattr(module, "parametrizations", ())
