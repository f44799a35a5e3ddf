"""What each operation of a layer computes, and the shapes of its operands and result.

Operands and attributes themselves are the reference's signatures. In a shape, a name is an extent,
``name…`` a run of axes, and ``…`` a run that broadcasts as in numpy; a prime marks what follows
from the attributes. ``C/groups`` and the like are computed. A result that is not in parentheses is
said in words.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Shapes:
    """One row.

    Attributes:
        what: What is computed.
        operands: A shape for each operand in its order; operands that may be absent are last.
        result: The shape of the result.
    """

    what: str
    operands: tuple[str, ...]
    result: str


def _rows(operands: str, result: str, **what: str) -> dict[str, Shapes]:
    """Rows of operations with the same shapes, operands divided by semicolons."""
    return {op: Shapes(text, tuple(operands.split("; ")), result) for op, text in what.items()}


def _each(ops: Iterable[str], what: str, operands: str, result: str) -> dict[str, Shapes]:
    return {op: Shapes(what, tuple(operands.split("; ")), result) for op in ops}


def _axes(kind: str) -> tuple[str, ...]:
    return tuple(f"{kind}{n}d" for n in (1, 2, 3))


SHAPES: Final[Mapping[str, Shapes]] = {
    # ADM-2
    **_rows("(…, I); (O, I); (O)", "(…, O)", linear="x · weightᵀ + bias"),
    **_rows("(…, M, K); (…, K, N)", "(…, M, N)", matmul="a · b"),
    **_rows("(a…); (b…)", "as `equation` says", einsum="two operands, as numpy's einsum"),
    **_rows(
        "(s…)",
        "s without `dim`, or 1 there (`keepdim`)",
        sum="the sum over the axes of `dim`; None is all axes",
        mean="the same, divided by the number of elements",
        amax="the greatest element along the axes of `dim`; None is all axes",
        amin="the least element along the axes of `dim`; None is all axes",
    ),
    **_rows("(s…)", "(s…)", cumsum="the sum of the elements up to each one along `dim`"),
    **_each(
        _axes("conv"),
        "cross-correlation with zero padding; s' = ⌊(s + 2·padding − dilation·(k − 1) − 1)/stride⌋ "
        "+ 1; padding may be `same` or `valid`",
        "(N, C, s…); (O, C/groups, k…); (O)",
        "(N, O, s'…)",
    ),
    **_each(
        _axes("conv_transpose"),
        "transposed convolution; s' = (s − 1)·stride − 2·padding + dilation·(k − 1) + "
        "output_padding + 1",
        "(N, C, s…); (C, O/groups, k…); (O)",
        "(N, O, s'…)",
    ),
    **_each(
        _axes("avg_pool"),
        "the average of windows; `stride` None is `kernel_size`, `count_include_pad` counts the "
        "padding, `divisor_override` divides instead; `ceil_mode` lets a last window extend over "
        "the end",
        "(N, C, s…)",
        "(N, C, s'…)",
    ),
    **_each(
        _axes("adaptive_avg_pool"),
        "the average of the elements ⌊i·s/s'⌋ to ⌈(i + 1)·s/s'⌉ − 1, with s' = output_size",
        "(N, C, s…)",
        "(N, C, s'…)",
    ),
    **_each(
        _axes("max_pool"),
        "the greatest element of windows, with padding of −∞; `stride` and `ceil_mode` as for "
        "avg_pool",
        "(N, C, s…)",
        "(N, C, s'…)",
    ),
    **_rows(
        "(s…)",
        "s without `dim`, or 1 there (`keepdim`)",
        var="the variance over the axes of `dim`: the sum of squared deviations divided by "
        "n − correction",
    ),
    **_rows(
        "(…, P, K); (…, R, K)",
        "(…, P, R)",
        cdist="the Euclidean distances of the rows of a from those of b",
    ),
    **_rows(
        "(N, K, L)",
        "N, K divided by the product of `kernel_size`, `output_size`",
        fold="windows, summed where they overlap; L is their number",
    ),
    **_rows(
        "(N, C, H, W); (N, P, Q, 2)",
        "(N, C, P, Q)",
        grid_sample="the elements at the places of a grid of (x, y) from −1 to 1, interpolated "
        "(`bilinear`) or the `nearest`; `padding_mode` may be `zeros`, `border` or `reflection`",
    ),
    # ADM-4 and arithmetic
    **_rows(
        "(…); (…)",
        "(…)",
        add="a + alpha·b",
        sub="a − alpha·b",
        mul="a · b",
        div="a / b",
        atan2="the angle of the point (x, y)",
        maximum="the greater of a and b",
        minimum="the less of a and b",
        eq="a = b, as 1 or 0",
        ne="a ≠ b, as 1 or 0",
        lt="a < b, as 1 or 0",
        le="a ≤ b, as 1 or 0",
        gt="a > b, as 1 or 0",
        ge="a ≥ b, as 1 or 0",
        logical_and="both are not 0, as 1 or 0",
        logical_or="one is not 0, as 1 or 0",
        logical_xor="one of the two is not 0, as 1 or 0",
    ),
    **_rows("(…); (…); (…)", "(…)", where="a where condition is not 0, else b"),
    **_rows("(…); (…); (…)", "(…)", lerp="start + weight·(end − start)"),
    # element by element
    **_rows(
        "(s…)",
        "(s…)",
        round_to="x rounded to `dtype`, in the dtype of values again",
        neg="−x",
        relu="max(x, 0)",
        relu6="min(max(x, 0), 6)",
        clamp="min(max(x, min), max); None is no bound",
        hardtanh="min(max(x, min_val), max_val)",
        leaky_relu="x, or negative_slope·x where x < 0",
        exp="e^x",
        log="natural logarithm",
        sqrt="√x",
        rsqrt="1/√x",
        pow="x to the power of `exponent`, a constant",
        erf="error function",
        tanh="hyperbolic tangent",
        asin="arc sine",
        acos="arc cosine",
        atan="arc tangent",
        sinh="hyperbolic sine",
        cosh="hyperbolic cosine",
        asinh="inverse hyperbolic sine",
        acosh="inverse hyperbolic cosine",
        atanh="inverse hyperbolic tangent",
        exp2="2^x",
        expm1="e^x − 1",
        log1p="log(1 + x)",
        log2="logarithm to base 2",
        log10="logarithm to base 10",
        sin="sine",
        cos="cosine",
        tan="tangent",
        floor="the greatest whole number ≤ x",
        ceil="the least whole number ≥ x",
        trunc="x without its fraction",
        round="the nearest whole number, ties to even",
        sign="−1, 0 or 1",
        abs="the absolute value",
        logical_not="1 where x is 0, else 0",
        sigmoid="1/(1 + e^−x)",
        logsigmoid="−log(1 + e^−x)",
        silu="x·sigmoid(x)",
        elu="x, or alpha·(e^x − 1) where x < 0",
        celu="x, or alpha·(e^(x/alpha) − 1) where x < 0",
        selu="λ·elu(x) with α = 1.6732632423543772, λ = 1.0507009873554805",
        mish="x·tanh(log(1 + e^x))",
        softplus="log(1 + e^(beta·x))/beta, and x where beta·x > threshold",
        hardsigmoid="min(max(x + 3, 0), 6)/6",
        hardswish="x·hardsigmoid(x)",
        gelu='x·(1 + erf(x/√2))/2; `approximate="tanh"`: the tanh form',
        softmax="e^(x − max x) divided by its sum along `dim`",
        identity="x",
        dropout="x: as outside training, whatever the attributes",
        clone="x",
        contiguous="x",
        flip="the axes of `dims` in the opposite order",
        sort="the elements along `dim`, ascending unless `descending`",
        argsort="the place in x of each element of `sort`",
    ),
    **_rows(
        "(s…)",
        "s without `dim`, or 1 there (`keepdim`)",
        argmax="the place of the greatest element along `dim` (None: in C order), the first of "
        "equal ones",
        argmin="the place of the least element along `dim` (None: in C order), the first of equal "
        "ones",
    ),
    # ADM-8
    **_rows(
        "(…, normalized_shape…); (normalized_shape…); (normalized_shape…)",
        "(…, normalized_shape…)",
        layer_norm="(x − mean)/√(variance + eps)·weight + bias over the last axes",
    ),
    **_rows(
        "(…, normalized_shape…); (normalized_shape…)",
        "(…, normalized_shape…)",
        rms_norm="x/√(mean(x²) + eps)·weight over the last axes; eps None is float32's 2^−23",
    ),
    **_rows(
        "(N, C, s…); (C); (C)",
        "(N, C, s…)",
        group_norm="as layer_norm over each of `num_groups` groups of channels with its positions",
    ),
    **_rows(
        "(N, C, s…); (C); (C); (C); (C)",
        "(N, C, s…)",
        instance_norm="as layer_norm over the positions of each channel; the running statistics "
        "are not read",
        batch_norm="(x − running_mean)/√(running_var + eps)·weight + bias, channel by channel",
    ),
    # ADM-9
    **_rows(
        "(…, L, E); (…, S, E); (…, S, V); (…, L, S)",
        "(…, L, V)",
        scaled_dot_product_attention="softmax(query · keyᵀ · scale + attn_mask) · value; `scale` "
        "None is 1/√E, `is_causal` leaves out keys behind the query",
    ),
    # selections and moves
    **_rows("(i…); (R, D)", "(i…, D)", embedding="rows of weight; indices are whole numbers"),
    **_rows(
        "(s…); (i…)",
        "as numpy's indexing",
        index="x[i, j, …]; whole numbers for some of the first axes, None takes all of an axis",
    ),
    **_rows(
        "(s…); (i…)", "(i…)", gather="along `dim`, the element that index names (whole numbers)"
    ),
    **_rows(
        "(s…); (i…); (j…)",
        "(s…)",
        scatter="x with the elements of src at the places along `dim` that index names (whole "
        "numbers); `reduce` may be `replace`, `sum`, `mean`, `prod`, `amax` or `amin`, with what "
        "is there in x (`include_self`)",
    ),
    **_rows(
        "(s…); (…); (i…)",
        "as x",
        index_put="x with x[i, j, …] = values, or += (`accumulate`); indices as for `index`",
    ),
    **_rows(
        "(s…)", "the sum of the extents on `dim`", cat="any number of tensors, joined on `dim`"
    ),
    **_rows(
        "(s…)",
        "s and `pad`: (before, after) of the last axis, then of the one before",
        pad="padding by `value` (None is 0); `mode` may be `constant`, `reflect` or `replicate`",
    ),
    **_rows(
        "(N, C, s…)",
        "(N, C, s'…)",
        upsample_nearest="element ⌊i·s/s'⌋, or ⌊i/scale_factor⌋ where a factor is given; s' = size",
        upsample_bilinear="linear interpolation on each axis from 2 on; s' = size",
        upsample_bicubic="cubic interpolation by four elements on each axis from 2 on; s' = size",
    ),
    **_each(("reshape", "view"), "the same elements in C order", "(s…)", "`shape`; −1 is the rest"),
    **_rows("(s…)", "axes `start_dim` to `end_dim` as one", flatten="the same elements in C order"),
    **_rows("(s…)", "s in the order of `dims`", permute="axes in another order"),
    **_rows("(s…)", "s with `dim0` and `dim1` swapped", transpose="two axes swapped"),
    **_rows("(s…)", "s without the axes of `dim` that have extent 1", squeeze="fewer axes"),
    **_rows("(s…)", "s with a 1 at `dim`", unsqueeze="a further axis"),
    **_rows("(s…)", "`size`; −1 keeps an extent", expand="repeated along axes of extent 1"),
    **_rows("(s…)", "s without `dim`", select="the entry `index` of an axis"),
    **_rows("(s…)", "s with fewer elements on `dim`", slice="start:end:step of an axis"),
}
"""Operation -> what it computes and its shapes."""
