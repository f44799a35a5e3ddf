"""MIL operations that work element by element: arithmetic, comparisons, activations."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812 (torch's own name for it)
from torch import Tensor

from quant_conformance.runtimes.coreml.operands import Inputs, Result, Table


def _unary(function: Callable[[Tensor], Tensor]) -> Callable[[Inputs], Result]:
    return lambda given: function(given.tensor("x"))


def _binary(function: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Inputs], Result]:
    return lambda given: function(given.tensor("x"), given.tensor("y"))


def _with_epsilon(
    function: Callable[[Tensor], Tensor], default: float
) -> Callable[[Inputs], Result]:
    return lambda given: function(given.tensor("x") + given.number("epsilon", default))


def _gelu(given: Inputs) -> Result:
    x = given.tensor("x")
    mode = given.text("mode", "EXACT")
    if mode == "SIGMOID_APPROXIMATION":
        return x * torch.sigmoid(1.702 * x)
    return F.gelu(x, approximate="tanh" if mode == "TANH_APPROXIMATION" else "none")


def _prelu(given: Inputs) -> Result:
    return F.prelu(given.tensor("x"), given.tensor("alpha"))


def _sigmoid_hard(given: Inputs) -> Result:
    line = given.number("alpha", 0.2) * given.tensor("x") + given.number("beta", 0.5)
    return line.clamp(0.0, 1.0)


def _scaled_tanh(given: Inputs) -> Result:
    return given.number("alpha", 1.0) * torch.tanh(given.number("beta", 1.0) * given.tensor("x"))


def _linear_activation(given: Inputs) -> Result:
    return given.number("alpha", 1.0) * given.tensor("x") + given.number("beta", 0.0)


def _thresholded_relu(given: Inputs) -> Result:
    x = given.tensor("x")
    return torch.where(x >= given.number("alpha", 1.0), x, torch.zeros_like(x))


def _clamped_relu(given: Inputs) -> Result:
    x = given.tensor("x")
    leaky = torch.where(x >= 0, x, given.number("alpha", 1.0) * x)
    return leaky.clamp(max=given.number("beta", 1.0))


def _softplus_parametric(given: Inputs) -> Result:
    x = given.tensor("x")
    per_channel = [1, -1] + [1] * (x.dim() - 2)
    alpha, beta = (given.tensor(name).reshape(per_channel) for name in ("alpha", "beta"))
    return alpha * torch.log1p(torch.exp(beta * x))


def _cast(given: Inputs) -> Result:
    x = given.tensor("x")
    target = given.text("dtype")
    if target in ("fp16", "fp32"):
        return x.to(torch.float32)  # the executor rounds to the result's dtype
    if target == "bool":
        return x != 0
    if target in ("int8", "uint8", "int16", "uint16", "int32"):
        return x.to(torch.int64)
    raise given.unsupported(f"dtype {target!r}")


def _select(given: Inputs) -> Result:
    return torch.where(given.tensor("cond").bool(), given.tensor("a"), given.tensor("b"))


def _floor_div(x: Tensor, y: Tensor) -> Tensor:
    return torch.div(x, y, rounding_mode="floor")


ELEMENTWISE: Table = {
    "abs": _unary(torch.abs),
    "acos": _unary(torch.acos),
    "asin": _unary(torch.asin),
    "atan": _unary(torch.atan),
    "atanh": _unary(torch.atanh),
    "ceil": _unary(torch.ceil),
    "cos": _unary(torch.cos),
    "cosh": _unary(torch.cosh),
    "erf": _unary(torch.erf),
    "exp": _unary(torch.exp),
    "exp2": _unary(torch.exp2),
    "floor": _unary(torch.floor),
    "identity": _unary(torch.clone),
    "inverse": _with_epsilon(torch.reciprocal, 1e-4),
    "log": _with_epsilon(torch.log, 1e-45),
    "logical_not": _unary(torch.logical_not),
    "round": _unary(torch.round),
    "rsqrt": _with_epsilon(torch.rsqrt, 1e-12),
    "sign": _unary(torch.sign),
    "sin": _unary(torch.sin),
    "sinh": _unary(torch.sinh),
    "sqrt": _unary(torch.sqrt),
    "square": _unary(torch.square),
    "tan": _unary(torch.tan),
    "tanh": _unary(torch.tanh),
    "cast": _cast,
    "select": _select,
    "clip": lambda given: given.tensor("x").clamp(
        given.number("alpha", -math.inf), given.number("beta", math.inf)
    ),
    "threshold": lambda given: given.tensor("x").clamp(min=given.number("alpha", 0.0)),
    "add": _binary(torch.add),
    "sub": _binary(torch.sub),
    "mul": _binary(torch.mul),
    "real_div": _binary(torch.div),
    "floor_div": _binary(_floor_div),
    "mod": _binary(torch.remainder),
    "pow": _binary(torch.pow),
    "maximum": _binary(torch.maximum),
    "minimum": _binary(torch.minimum),
    "equal": _binary(torch.eq),
    "not_equal": _binary(torch.ne),
    "greater": _binary(torch.gt),
    "greater_equal": _binary(torch.ge),
    "less": _binary(torch.lt),
    "less_equal": _binary(torch.le),
    "logical_and": _binary(torch.logical_and),
    "logical_or": _binary(torch.logical_or),
    "logical_xor": _binary(torch.logical_xor),
    "relu": _unary(F.relu),
    "relu6": _unary(F.relu6),
    "sigmoid": _unary(torch.sigmoid),
    "silu": _unary(F.silu),
    "softplus": _unary(F.softplus),
    "softsign": _unary(F.softsign),
    "elu": lambda given: F.elu(given.tensor("x"), given.number("alpha", 1.0)),
    "leaky_relu": lambda given: F.leaky_relu(given.tensor("x"), given.number("alpha", 0.01)),
    "gelu": _gelu,
    "prelu": _prelu,
    "sigmoid_hard": _sigmoid_hard,
    "scaled_tanh": _scaled_tanh,
    "linear_activation": _linear_activation,
    "thresholded_relu": _thresholded_relu,
    "clamped_relu": _clamped_relu,
    "softplus_parametric": _softplus_parametric,
}
"""MIL operation -> its torch form."""
