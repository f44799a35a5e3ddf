"""ATen's sums of products, norms, pools and interpolations as steps."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from quant_conformance.gate.aten.calls import Call, Steps
from quant_reference.admissible import Step


def _convolution(call: Call) -> Steps:
    rank = len(call.shape("input")) - 2
    given: dict[str, Any] = {
        "stride": _listed(call["stride"], rank),
        "padding": _listed(call["padding"], rank),
        "dilation": _listed(call["dilation"], rank),
        "groups": call["groups"],
    }
    kind = "conv"
    call.read.add("output_padding")  # of a transposed one alone
    if call["transposed"]:
        kind = "conv_transpose"
        given["output_padding"] = _listed(call["output_padding"], rank)
    operands = (call["input"], call["weight"], call["bias"])
    return [call.step(f"{kind}{rank}d", *operands, **given)]


def _listed(value: Any, rank: int) -> list[int]:
    numbers = [int(n) for n in value]
    return numbers * rank if len(numbers) == 1 else numbers


def _addmm(call: Call) -> Steps:
    if call["beta"] != 1 or call["alpha"] != 1:
        return _scaled_sum(call, "mat1", "mat2")
    # As linear, whose bias may be the first or the last term of the sum.
    weight = Step("transpose", (call["mat2"],), _part(call, "weight"), {"dim0": 0, "dim1": 1})
    return [weight, call.step("linear", call["mat1"], weight.output, call["self"])]


def _baddbmm(call: Call) -> Steps:
    return _scaled_sum(call, "batch1", "batch2")


def _scaled_sum(call: Call, left: str, right: str) -> Steps:
    """``beta * self + alpha * (left @ right)``; a factor of one rounds nothing.

    Where beta is 0 torch does not read ``self``, whatever stands in it.
    """
    product = Step("matmul", (call[left], call[right]), _part(call, "product"), {})
    if call["beta"] == 0:
        call.read.add("self")
        return [product, call.step("mul", product.output, float(call["alpha"]))]
    steps, summands = [product], [product.output, call["self"]]
    for index, factor in enumerate(("alpha", "beta")):
        if call[factor] != 1:
            operands = (summands[index], float(call[factor]))
            steps.append(Step("mul", operands, _part(call, factor), {}))
            summands[index] = steps[-1].output
    return [*steps, call.step("add", *summands)]


def _part(call: Call, name: str) -> str:
    """Name of a value within an operation."""
    return f"{call.operation.outputs[0]}/{name}"


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
    """What is cast before, by ``dtype`` or ``half_to_float``, shows in the result's dtype."""
    call.read |= {"dtype", "half_to_float"}
    return [*_cast_first(call), call.step("softmax", _cast_operand(call), dim=call["dim"])]


def _cast_first(call: Call) -> Steps:
    """The step that casts ``self`` to the dtype that is computed in, if that is another one."""
    given, wanted = call.dtype("self"), call.output_dtype
    if given == wanted:
        return []
    if given.kind != "f" or wanted.kind != "f":
        raise NotImplementedError(f"{given} computed in {wanted}")
    return [Step("round_to", (call["self"],), _part(call, "cast"), {"dtype": wanted.name})]


def _cast_operand(call: Call) -> str:
    return str(call["self"]) if call.dtype("self") == call.output_dtype else _part(call, "cast")


def _attention(call: Call) -> Steps:
    if call.get("dropout_p", 0.0):
        raise NotImplementedError("attention with dropout")
    mask = call.get("attn_mask", call.get("attn_bias"))
    steps: Steps = []
    key, value = (_with_all_heads(call, name, steps) for name in ("key", "value"))
    attention = call.step(
        "scaled_dot_product_attention",
        *(call["query"], key, value, mask),
        is_causal=bool(call.get("is_causal", False)),
        scale=call.get("scale"),
    )
    return [*steps, attention]


def _with_all_heads(call: Call, name: str, steps: Steps) -> str:
    """Keys or values; where several queries share a head, steps that repeat it for each."""
    given = str(call[name])
    batch, heads, *extents = call.shape(name)
    times = call.shape("query")[1] // heads
    if times > 1:
        apart, copies, joined = (_part(call, f"{name}/{i}") for i in ("apart", "copies", "joined"))
        size = [batch, heads, times, *extents]
        steps += [
            Step("reshape", (given,), apart, {"shape": [batch, heads, 1, *extents]}),
            Step("expand", (apart,), copies, {"size": size}),
            Step("reshape", (copies,), joined, {"shape": [batch, heads * times, *extents]}),
        ]
        return joined
    return given


def _embedding(call: Call) -> Steps:
    return [call.step("embedding", call["indices"], call["weight"])]


def _reduction(op: str) -> Callable[[Call], Steps]:
    def make(call: Call) -> Steps:
        dims = call.get("dim")
        axes = list(range(len(call.shape("self")))) if dims in (None, []) else dims
        axes = [axes] if isinstance(axes, int) else axes
        call.read.add("dtype")  # shows in the result's
        given = {"dim": axes, "keepdim": bool(call.get("keepdim", False))}
        return [*_cast_first(call), call.step(op, _cast_operand(call), **given)]

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
        call.read |= {"output_size"}  # shows in the result's shape
        given: dict[str, Any] = {"size": list(call.output_shape[-rank:])}
        factors = _factors(call)
        if any(factor is not None for factor in factors) and not call.get("align_corners", False):
            given["scale_factor"] = factors
        if mode != "nearest":
            given["align_corners"] = bool(call["align_corners"])
        # Linear interpolation goes by one name for every number of axes (ADM-10).
        return [call.step(f"upsample_{mode}", x, **given)]

    return make


def _factors(call: Call) -> list[float | None]:
    """The factor of each axis that an interpolation was asked for; None where it was a size."""
    if call.get("scale_factors") is not None:
        return [float(factor) for factor in call["scale_factors"]]
    names = [name for name in ("scales", "scales_d", "scales_h", "scales_w") if name in call]
    return [None if call[name] is None else float(call[name]) for name in names]


LAYERS: Mapping[str, Callable[[Call], Steps]] = {
    "convolution": _convolution,
    "addmm": _addmm,
    "baddbmm": _baddbmm,
    "mm": _matmul("self", "mat2"),
    "bmm": _matmul("self", "mat2"),
    "matmul": _matmul("self", "other"),
    "mv": _matmul("self", "vec"),
    "dot": _matmul("self", "tensor"),
    "linear": _linear,
    "native_layer_norm": _layer_norm,
    "native_batch_norm": _batch_norm,
    "native_batch_norm_legit": _batch_norm,
    "native_batch_norm_legit_no_training": _batch_norm,
    "native_group_norm": _group_norm,
    "softmax": _softmax,
    "safe_softmax": _softmax,
    "scaled_dot_product_flash_attention_for_cpu": _attention,
    "embedding": _embedding,
    "mean": _reduction("mean"),
    "sum": _reduction("sum"),
    "amax": _reduction("amax"),
    "amin": _reduction("amin"),
    "max_pool2d_with_indices": _pool("max_pool2d"),
    "max_pool3d_with_indices": _pool("max_pool3d"),
    "avg_pool2d": _pool("avg_pool2d"),
    "avg_pool3d": _pool("avg_pool3d"),
    "adaptive_avg_pool2d": _adaptive("adaptive_avg_pool2d"),
    "adaptive_avg_pool3d": _adaptive("adaptive_avg_pool3d"),
    "upsample_nearest1d": _upsample("nearest"),
    "upsample_nearest2d": _upsample("nearest"),
    "upsample_nearest3d": _upsample("nearest"),
    "upsample_linear1d": _upsample("bilinear"),
    "upsample_bilinear2d": _upsample("bilinear"),
    "upsample_trilinear3d": _upsample("bilinear"),
    "upsample_bicubic2d": _upsample("bicubic"),
}
"""Name of the ATen operation, without underscores around it -> its steps."""
