"""ATen operations as the steps whose results can be bounded (clauses ADM-*)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quant_conformance.gate.recording import Operation, Ref
from quant_conformance.protocol import Array
from quant_reference.admissible import Step

Operand = str | float | None
Steps = list[Step]


class Call:
    """An operation with its arguments by name, as its schema names them.

    Args:
        operation: the operation.
        values: recorded values, for their shapes.
    """

    def __init__(self, operation: Operation, values: Mapping[str, Array]) -> None:
        self.operation = operation
        self.values = values
        schema = operation.function._schema.arguments
        self._given = {a.name: a.default_value for a in schema if a.has_default_value()}
        self._given |= dict(zip((a.name for a in schema), operation.args, strict=False))
        self._given |= operation.kwargs

    def __getitem__(self, name: str) -> Any:
        """An argument; tensors as their names."""
        value = self._given[name]
        if isinstance(value, list | tuple):
            return [_plain(item) for item in value]
        return _plain(value)

    def get(self, name: str, default: Any = None) -> Any:
        """An argument, or the default where the operation has none of that name."""
        return self[name] if name in self._given else default

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of a tensor argument."""
        return self.values[self[name]].shape

    def step(self, op: str, *inputs: Operand, **attributes: Any) -> Step:
        """A step that makes one of the operation's outputs: the one at ``output``, or the first."""
        name = self.operation.outputs[attributes.pop("output", 0)]
        return Step(op, tuple(inputs), str(name), attributes)

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of the first output."""
        return self.values[str(self.operation.outputs[0])].shape


def _plain(value: Any) -> Any:
    return value.name if isinstance(value, Ref) else value


def steps_of(operation: Operation, values: Mapping[str, Array]) -> Steps | None:
    """Returns the steps of an operation, or None if its result cannot be bounded.

    Args:
        operation: what was recorded.
        values: recorded values by name.
    """
    make = TABLE.get(operation.name.strip("_"))
    return None if make is None else make(Call(operation, values))


def _convolution(call: Call) -> Steps:
    rank = len(call.shape("input")) - 2
    given: dict[str, Any] = {
        "stride": _listed(call["stride"], rank),
        "padding": _listed(call["padding"], rank),
        "dilation": _listed(call["dilation"], rank),
        "groups": call["groups"],
    }
    kind = "conv"
    if call["transposed"]:
        kind = "conv_transpose"
        given["output_padding"] = _listed(call["output_padding"], rank)
    operands = (call["input"], call["weight"], call["bias"])
    return [call.step(f"{kind}{rank}d", *operands, **given)]


def _listed(value: Any, rank: int) -> list[int]:
    numbers = [int(n) for n in value]
    return numbers * rank if len(numbers) == 1 else numbers


def _addmm(call: Call) -> Steps:
    (out,) = call.operation.outputs
    product = f"{out}/product"
    operands = (call["mat1"], call["mat2"])
    if call["beta"] == 1 and call["alpha"] == 1:
        # As linear, whose bias may be the first or the last term of the sum.
        weight = Step("transpose", (operands[1],), f"{out}/weight", {"dim0": 0, "dim1": 1})
        return [weight, call.step("linear", operands[0], weight.output, call["self"])]
    return [
        Step("matmul", operands, product, {}),
        Step("mul", (product, float(call["alpha"])), f"{product}/scaled", {}),
        Step("mul", (call["self"], float(call["beta"])), f"{product}/bias", {}),
        call.step("add", f"{product}/scaled", f"{product}/bias"),
    ]


def _baddbmm(call: Call) -> Steps:
    product = f"{call.operation.outputs[0]}/product"
    matmul = Step("matmul", (call["batch1"], call["batch2"]), product, {})
    return [matmul, call.step("add", product, call["self"])]


def _matmul(left: str, right: str) -> Callable[[Call], Steps]:
    return lambda call: [call.step("matmul", call[left], call[right])]


def _linear(call: Call) -> Steps:
    return [call.step("linear", call["input"], call["weight"], call["bias"])]


def _layer_norm(call: Call) -> Steps:
    shape = [int(n) for n in call["normalized_shape"]]
    operands = (call["input"], call["weight"], call["bias"])
    return [call.step("layer_norm", *operands, normalized_shape=shape, eps=call["eps"])]


def _batch_norm(call: Call) -> Steps:
    x, weight, bias = call["input"], call["weight"], call["bias"]
    mean, variance = call.get("running_mean"), call.get("running_var")
    if call.get("training", False) or mean is None:
        if call.shape("input")[0] != 1:
            raise NotImplementedError("batch norm with the statistics of its batch")
        return [call.step("instance_norm", x, None, None, weight, bias, eps=call["eps"])]
    return [call.step("batch_norm", x, mean, variance, weight, bias, eps=call["eps"])]


def _group_norm(call: Call) -> Steps:
    operands = (call["input"], call["weight"], call["bias"])
    return [call.step("group_norm", *operands, num_groups=call["group"], eps=call["eps"])]


def _softmax(call: Call) -> Steps:
    return [call.step("softmax", call["self"], dim=call["dim"])]


def _attention(call: Call) -> Steps:
    if call.get("dropout_p", 0.0):
        raise NotImplementedError("attention with dropout")
    mask = call.get("attn_mask", call.get("attn_bias"))
    return [
        call.step(
            "scaled_dot_product_attention",
            *(call["query"], call["key"], call["value"], mask),
            is_causal=bool(call.get("is_causal", False)),
            scale=call.get("scale"),
        )
    ]


def _embedding(call: Call) -> Steps:
    return [call.step("embedding", call["indices"], call["weight"])]


def _reduction(op: str) -> Callable[[Call], Steps]:
    def make(call: Call) -> Steps:
        dims = call.get("dim")
        axes = list(range(len(call.shape("self")))) if dims in (None, []) else dims
        axes = [axes] if isinstance(axes, int) else axes
        return [call.step(op, call["self"], dim=axes, keepdim=bool(call.get("keepdim", False)))]

    return make


def _pool(op: str) -> Callable[[Call], Steps]:
    def make(call: Call) -> Steps:
        rank = len(call["kernel_size"])
        given = {
            "kernel_size": _listed(call["kernel_size"], rank),
            "stride": _listed(call["stride"] or call["kernel_size"], rank),
            "padding": _listed(call["padding"], rank),
            "ceil_mode": bool(call["ceil_mode"]),
        }
        if op.startswith("max"):
            given["dilation"] = _listed(call["dilation"], rank)
        else:
            given["count_include_pad"] = bool(call["count_include_pad"])
            if call.get("divisor_override") is not None:
                raise NotImplementedError("an average pool with a divisor of its own")
        return [call.step(op, call["self"], **given)]

    return make


def _adaptive(op: str) -> Callable[[Call], Steps]:
    return lambda call: [
        call.step(op, call["self"], output_size=[int(n) for n in call["output_size"]])
    ]


def _upsample(mode: str) -> Callable[[Call], Steps]:
    def make(call: Call) -> Steps:
        x = call.get("self", call.get("input"))
        rank = len(call.values[x].shape) - 2
        given: dict[str, Any] = {"size": list(call.output_shape[-rank:])}
        if mode == "bilinear":
            given["align_corners"] = bool(call["align_corners"])
        return [call.step(f"upsample_{mode}", x, **given)]

    return make


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


def _reshape(call: Call) -> Steps:
    return [call.step("reshape", call["self"], shape=list(call.output_shape))]


def _expand(call: Call) -> Steps:
    return [call.step("expand", call["self"], size=list(call.output_shape))]


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


def _to_copy(call: Call) -> Steps:
    source = call.values[call["self"]].dtype
    target = call.values[str(call.operation.outputs[0])].dtype
    if source == target:
        return _identity(call)
    if source.kind == target.kind == "f":
        return [call.step("round_to", call["self"], dtype=target.name)]
    raise NotImplementedError(f"a cast from {source} to {target}")


def _binary(op: str) -> Callable[[Call], Steps]:
    def make(call: Call) -> Steps:
        alpha = call.get("alpha", 1)
        other = call["other"]
        other = float(other) if isinstance(other, int | float) else other
        given = {} if alpha == 1 else {"alpha": float(alpha)}
        return [call.step(op, call["self"], other, **given)]

    return make


def _rsub(call: Call) -> Steps:
    if call.get("alpha", 1) != 1:
        raise NotImplementedError("rsub with a factor")
    other = call["other"]
    other = float(other) if isinstance(other, int | float) else other
    return [call.step("sub", other, call["self"])]


def _unary(op: str, **names: str) -> Callable[[Call], Steps]:
    """A function of one tensor; ``names`` gives attributes by the argument they come from."""

    def make(call: Call) -> Steps:
        given = {ours: call[theirs] for ours, theirs in names.items()}
        return [call.step(op, call["self"], **given)]

    return make


def _elu(call: Call) -> Steps:
    alpha, scale, inner = (float(call[n]) for n in ("alpha", "scale", "input_scale"))
    if scale == 1 and inner == 1:
        return [call.step("elu", call["self"], alpha=alpha)]
    if scale == 1 and inner == 1 / alpha:
        return [call.step("celu", call["self"], alpha=alpha)]
    return [call.step("selu", call["self"])]


def _log_sigmoid(call: Call) -> Steps:
    return [call.step("logsigmoid", call["self"])]


TABLE: Mapping[str, Callable[[Call], Steps]] = {
    "convolution": _convolution,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "mm": _matmul("self", "mat2"),
    "bmm": _matmul("self", "mat2"),
    "matmul": _matmul("self", "other"),
    "linear": _linear,
    "native_layer_norm": _layer_norm,
    "native_batch_norm": _batch_norm,
    "native_batch_norm_legit": _batch_norm,
    "native_batch_norm_legit_no_training": _batch_norm,
    "native_group_norm": _group_norm,
    "softmax": _softmax,
    "scaled_dot_product_flash_attention_for_cpu": _attention,
    "embedding": _embedding,
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    "max_pool2d_with_indices": _pool("max_pool2d"),
    "max_pool3d_with_indices": _pool("max_pool3d"),
    "avg_pool2d": _pool("avg_pool2d"),
    "avg_pool3d": _pool("avg_pool3d"),
    "adaptive_avg_pool2d": _adaptive("adaptive_avg_pool2d"),
    "adaptive_avg_pool3d": _adaptive("adaptive_avg_pool3d"),
    "upsample_nearest1d": _upsample("nearest"),
    "upsample_nearest2d": _upsample("nearest"),
    "upsample_nearest3d": _upsample("nearest"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "constant_pad_nd": _pad,
    "cat": _cat,
    "stack": _stack,
    "view": _reshape,
    "unsafe_view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "expand": _expand,
    "permute": _permute,
    "transpose": _transpose,
    "t": _t,
    "slice": _slice,
    "select": _select,
    "unbind": _unbind,
    "split": _split,
    "split_with_sizes": _split,
    "clone": _identity,
    "detach": _identity,
    "alias": _identity,
    "lift_fresh": _identity,
    "to_copy": _to_copy,
    "add": _binary("add"),
    "sub": _binary("sub"),
    "rsub": _rsub,
    "mul": _binary("mul"),
    "div": _binary("div"),
    "neg": _unary("neg"),
    "exp": _unary("exp"),
    "log": _unary("log"),
    "sqrt": _unary("sqrt"),
    "rsqrt": _unary("rsqrt"),
    "erf": _unary("erf"),
    "tanh": _unary("tanh"),
    "sigmoid": _unary("sigmoid"),
    "relu": _unary("relu"),
    "silu": _unary("silu"),
    "mish": _unary("mish"),
    "hardswish": _unary("hardswish"),
    "hardsigmoid": _unary("hardsigmoid"),
    "hardtanh": _unary("hardtanh", min_val="min_val", max_val="max_val"),
    "clamp": _unary("clamp", min="min", max="max"),
    "leaky_relu": _unary("leaky_relu", negative_slope="negative_slope"),
    "gelu": _unary("gelu", approximate="approximate"),
    "softplus": _unary("softplus", beta="beta", threshold="threshold"),
    "elu": _elu,
    "log_sigmoid_forward": _log_sigmoid,
    "pow": _unary("pow", exponent="exponent"),
}
"""Name of the ATen operation, without underscores around it -> its steps."""
