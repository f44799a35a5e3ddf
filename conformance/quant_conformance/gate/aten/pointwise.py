"""ATen's elementwise operations, and those that move elements, as steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from quant_conformance.gate.aten.calls import Call, Steps
from quant_reference.admissible import Step


def _pad(call: Call) -> Steps:
    return [call.step("pad", call["self"], pad=list(call["pad"]), value=float(call["value"]))]


def _cat(call: Call) -> Steps:
    return [call.step("cat", *call["tensors"], dim=call["dim"])]


def _stack(call: Call) -> Steps:
    out = call.operation.outputs[0]
    dim = call["dim"]
    parts = [
        Step("unsqueeze", (name,), f"{out}/{index}", {"dim": dim})
        for index, name in enumerate(call["tensors"])
    ]
    return [*parts, call.step("cat", *(part.output for part in parts), dim=dim)]


def _view(call: Call) -> Steps:
    if call.get("dtype") is not None:
        raise NotImplementedError("its argument dtype reads the bits of another dtype")
    return _reshape(call)


def _reshape(call: Call) -> Steps:
    return [call.step("reshape", call["self"], shape=list(call.output_shape))]


def _copy(call: Call) -> Steps:
    """What is written into ``self`` takes the place of what it held."""
    if call.values[call["src"]].dtype != call.values[call["self"]].dtype:
        raise NotImplementedError("a copy into another dtype")
    if call.shape("src") == call.output_shape:
        return [call.step("identity", call["src"])]
    return [call.step("expand", call["src"], size=list(call.output_shape))]


def _expand(call: Call) -> Steps:
    return [call.step("expand", call["self"], size=list(call.output_shape))]


def _repeat(call: Call) -> Steps:
    """Each axis gets one before it, which is expanded and joined with it."""
    out = call.operation.outputs[0]
    times = [int(n) for n in call["repeats"]]
    shape = [1] * (len(times) - len(call.shape("self"))) + list(call.shape("self"))
    apart = [n for extent in shape for n in (1, extent)]
    copies = [n for pair in zip(times, shape, strict=True) for n in pair]
    return [
        Step("reshape", (call["self"],), f"{out}/apart", {"shape": apart}),
        Step("expand", (f"{out}/apart",), f"{out}/copies", {"size": copies}),
        call.step("reshape", f"{out}/copies", shape=list(call.output_shape)),
    ]


def _rearranged(call: Call, apart: list[int], order: list[int]) -> Steps:
    """Axes taken apart, put in another order, and joined."""
    out = call.operation.outputs[0]
    return [
        Step("reshape", (call["self"],), f"{out}/apart", {"shape": apart}),
        Step("permute", (f"{out}/apart",), f"{out}/ordered", {"dims": order}),
        call.step("reshape", f"{out}/ordered", shape=list(call.output_shape)),
    ]


def _pixel_shuffle(call: Call) -> Steps:
    n, (*before, channels, height, width) = call["upscale_factor"], call.shape("self")
    k = len(before)
    apart = [*before, channels // n**2, n, n, height, width]
    return _rearranged(call, apart, [*range(k + 1), k + 3, k + 1, k + 4, k + 2])


def _pixel_unshuffle(call: Call) -> Steps:
    n, (*before, channels, height, width) = call["downscale_factor"], call.shape("self")
    k = len(before)
    apart = [*before, channels, height // n, n, width // n, n]
    return _rearranged(call, apart, [*range(k + 1), k + 2, k + 4, k + 1, k + 3])


def _channel_shuffle(call: Call) -> Steps:
    groups, (batch, channels, *extents) = call["groups"], call.shape("self")
    apart = [batch, groups, channels // groups, *extents]
    return _rearranged(call, apart, [0, 2, 1, *range(3, len(apart))])


def _permute(call: Call) -> Steps:
    return [call.step("permute", call["self"], dims=list(call["dims"]))]


def _transpose(call: Call) -> Steps:
    return [call.step("transpose", call["self"], dim0=call["dim0"], dim1=call["dim1"])]


def _t(call: Call) -> Steps:
    if len(call.shape("self")) < 2:
        return _identity(call)
    return [call.step("transpose", call["self"], dim0=0, dim1=1)]


def _slice(call: Call) -> Steps:
    extent = call.shape("self")[call["dim"]]
    start, end = call["start"] or 0, call["end"]
    bounds = slice(start, end, call["step"]).indices(extent)
    given = dict(zip(("start", "end", "step"), bounds, strict=True))
    return [call.step("slice", call["self"], dim=call["dim"], **given)]


def _select(call: Call) -> Steps:
    return [call.step("select", call["self"], dim=call["dim"], index=call["index"])]


def _unbind(call: Call) -> Steps:
    return [
        call.step("select", call["self"], output=index, dim=call["dim"], index=index)
        for index in range(len(call.operation.outputs))
    ]


def _split(call: Call) -> Steps:
    steps, start = [], 0
    dim = call["dim"]
    for index, name in enumerate(call.operation.outputs):
        end = start + call.values[str(name)].shape[dim]
        given = {"dim": dim, "start": start, "end": end, "step": 1}
        steps.append(call.step("slice", call["self"], output=index, **given))
        start = end
    return steps


def _identity(call: Call) -> Steps:
    return [call.step("identity", call.get("self", call.get("input")))]


_NEUTRAL = {"add": 0.0, "sub": 0.0, "mul": 1.0, "div": 1.0}
"""Numbers that change nothing, such as the zero that Python's ``sum`` begins with.

Converters leave such operations out, and then join the quantizers around them.
"""


def _keeps_dtype(call: Call) -> bool:
    result = call.values[str(call.operation.outputs[0])]
    return bool(call.values[call["self"]].dtype == result.dtype)


def _binary(op: str) -> Callable[[Call], Steps]:
    def make(call: Call) -> Steps:
        alpha = call.get("alpha", 1)
        other = call["other"]
        other = float(other) if isinstance(other, int | float) else other
        if _NEUTRAL.get(op) == other and _keeps_dtype(call):
            return _identity(call)
        given = {} if alpha == 1 else {"alpha": float(alpha)}
        return [call.step(op, call["self"], other, **given)]

    return make


def _rsub(call: Call) -> Steps:
    other = call["other"]
    other = float(other) if isinstance(other, int | float) else other
    return [call.step("sub", other, call["self"], alpha=float(call.get("alpha", 1)))]


_ROUNDED = {"floor": "floor", "trunc": "trunc"}


def _div(call: Call) -> Steps:
    """A quotient, rounded to a whole number where ``rounding_mode`` says so."""
    mode = call.get("rounding_mode")
    if mode is None:
        return _binary("div")(call)
    other = call["other"] if call.is_tensor("other") else float(call["other"])
    quotient = Step("div", (call["self"], other), f"{call.operation.outputs[0]}/quotient", {})
    return [quotient, call.step(_ROUNDED[mode], quotient.output)]


def _reciprocal(call: Call) -> Steps:
    return [call.step("div", 1.0, call["self"])]


def _unary(op: str, **names: str) -> Callable[[Call], Steps]:
    """A function of one tensor; ``names`` gives attributes by the argument they come from."""

    def make(call: Call) -> Steps:
        given = {ours: call.number(theirs) for ours, theirs in names.items()}
        return [call.step(op, call["self"], **given)]

    return make


def _clamp(call: Call) -> Steps:
    """Between two numbers, or between the elements of tensors."""
    sides = [name for name in ("min", "max") if name in call and call[name] is not None]
    if not any(call.is_tensor(name) for name in sides):
        return [call.step("clamp", call["self"], **{name: call[name] for name in sides})]
    below, out = call["self"], call.operation.outputs[0]
    steps = []
    for name, op in (("min", "maximum"), ("max", "minimum")):
        if name in sides:
            steps.append(Step(op, (below, call[name]), f"{out}/{name}", {}))
            below = steps[-1].output
    return [*steps, call.step("identity", below)]


def _glu(call: Call) -> Steps:
    """The first half times the sigmoid of the second (Dauphin et al. 2017)."""
    x, dim, out = call["self"], call["dim"], call.operation.outputs[0]
    half = call.shape("self")[dim] // 2
    parts = [
        Step("slice", (x,), f"{out}/{n}", {"dim": dim, "start": n, "end": n + half, "step": 1})
        for n in (0, half)
    ]
    gate = Step("sigmoid", (parts[1].output,), f"{out}/gate", {})
    return [*parts, gate, call.step("mul", parts[0].output, gate.output)]


def _prelu(call: Call) -> Steps:
    """The input where it is positive, the weight times it where it is not (He et al. 2015)."""
    x, out = call["self"], call.operation.outputs[0]
    above = Step("relu", (x,), f"{out}/above", {})
    below = Step("clamp", (x,), f"{out}/below", {"max": 0.0})
    sloped = Step("mul", (below.output, call["weight"]), f"{out}/sloped", {})
    return [above, below, sloped, call.step("add", above.output, sloped.output)]


_SELU = (1.6732632423543772, 1.0507009873554805, 1.0)
"""alpha, scale and input_scale that make a SELU of ATen's elu (Klambauer et al. 2017)."""


def _elu(call: Call) -> Steps:
    alpha, scale, inner = (float(call[n]) for n in ("alpha", "scale", "input_scale"))
    if scale == 1 and inner == 1:
        return [call.step("elu", call["self"], alpha=alpha)]
    if scale == 1 and inner == 1 / alpha:
        return [call.step("celu", call["self"], alpha=alpha)]
    if (alpha, scale, inner) == _SELU:
        return [call.step("selu", call["self"])]
    raise NotImplementedError(f"alpha {alpha}, scale {scale} and input scale {inner}")


ELEMENTS: Mapping[str, Callable[[Call], Steps]] = {
    "constant_pad_nd": _pad,
    "cat": _cat,
    "stack": _stack,
    "view": _view,
    "unsafe_view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "expand": _expand,
    "repeat": _repeat,
    "permute": _permute,
    "pixel_shuffle": _pixel_shuffle,
    "pixel_unshuffle": _pixel_unshuffle,
    "channel_shuffle": _channel_shuffle,
    "native_channel_shuffle": _channel_shuffle,
    "transpose": _transpose,
    "t": _t,
    "slice": _slice,
    "select": _select,
    "unbind": _unbind,
    "split": _split,
    "unsafe_split": _split,
    "unsafe_split_with_sizes": _split,
    "split_with_sizes": _split,
    "clone": _identity,
    "copy": _copy,
    "detach": _identity,
    "alias": _identity,
    "lift_fresh": _identity,
    "add": _binary("add"),
    "sub": _binary("sub"),
    "rsub": _rsub,
    "mul": _binary("mul"),
    "div": _div,
    "reciprocal": _reciprocal,
    "neg": _unary("neg"),
    "exp": _unary("exp"),
    "log": _unary("log"),
    "sqrt": _unary("sqrt"),
    "rsqrt": _unary("rsqrt"),
    "erf": _unary("erf"),
    "tanh": _unary("tanh"),
    **{
        op: _unary(op)
        for op in (
            *(
                "sin",
                "cos",
                "tan",
                "asin",
                "acos",
                "atan",
                "sinh",
                "cosh",
                "asinh",
                "acosh",
                "atanh",
            ),
            *("exp2", "expm1", "log1p", "log2", "log10"),
        )
    },
    "sigmoid": _unary("sigmoid"),
    "relu": _unary("relu"),
    "silu": _unary("silu"),
    "mish": _unary("mish"),
    "hardswish": _unary("hardswish"),
    "hardsigmoid": _unary("hardsigmoid"),
    "hardtanh": _unary("hardtanh", min_val="min_val", max_val="max_val"),
    "clamp": _clamp,
    "clamp_min": _clamp,
    "clamp_max": _clamp,
    "leaky_relu": _unary("leaky_relu", negative_slope="negative_slope"),
    "gelu": _unary("gelu", approximate="approximate"),
    "softplus": _unary("softplus", beta="beta", threshold="threshold"),
    "elu": _elu,
    "celu": _unary("celu", alpha="alpha"),
    "glu": _glu,
    "prelu_kernel": _prelu,
    "log_sigmoid_forward": _unary("logsigmoid"),
    "pow": _unary("pow", exponent="exponent"),
}
"""Name of the ATen operation, without underscores around it -> its steps."""
