"""Regions as lists of steps, layers, numbers in programs, special values, and bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tests.reference.admissible_cases import CASES, normal
from tests.reference.support import qparams

from quant_reference import InputError, QuantError, QuantizationSpec, SpecError
from quant_reference import admissible as adm
from quant_reference.admissible import (
    OPERATIONS,
    Arithmetic,
    Bounds,
    FloatLayer,
    Layer,
    QuantizedTensor,
    Step,
    UnknownOperationError,
    evaluate,
)

F32 = np.float32
X = normal(70, 2, 3, 4)


def test_the_package_loads_it_on_demand() -> None:
    """Who only quantizes does not pay for it."""
    code = (
        "import sys, quant_reference; "
        "print(any(n.startswith('quant_reference.admissible') for n in sys.modules))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_steps_survive_json(case: Any) -> None:
    text = json.dumps(case.step.to_dict())
    assert Step.from_dict(json.loads(text)) == case.step


def test_a_region_gives_every_result_by_name() -> None:
    steps = [Step("relu", ("x",), "a"), Step("mul", ("a", 2.0), "b"), Step("add", ("b", "x"), "c")]
    found = evaluate(steps, {"x": X})
    assert set(found) == {"x", "a", "b", "c"}
    exact = np.maximum(X, 0).astype(np.float64) * 2 + X
    assert np.array_equal(found["c"].value, exact)
    assert found["a"].is_exact
    assert not found["c"].is_exact


def test_operations_that_only_move_elements() -> None:
    bounds = Bounds(X.astype(float), np.abs(X) / 8.0, np.abs(X) / 16.0)

    def moved(op: str, **attributes: Any) -> Any:
        found = OPERATIONS[op](bounds, **attributes)
        # Each radius stays with its element.
        assert np.array_equal(found.rigorous, np.abs(found.value) / 8)
        assert np.array_equal(found.probable, np.abs(found.value) / 16)
        return found.value

    assert np.array_equal(moved("expand", size=[5, -1, 3, 4]), np.broadcast_to(X, (5, 2, 3, 4)))
    assert np.array_equal(moved("select", dim=1, index=-1), X[:, -1])
    assert np.array_equal(moved("slice", dim=-1, start=1, step=2), X[..., 1::2])
    assert moved("unsqueeze", dim=-1).shape == (2, 3, 4, 1)
    assert OPERATIONS["squeeze"](X[:, :1], dim=1).shape == (2, 4)
    assert OPERATIONS["squeeze"](X[:1, :1]).shape == (4,)
    assert OPERATIONS["squeeze"](X, dim=0).shape == X.shape
    padded = OPERATIONS["pad"](bounds, pad=[1, 0], mode="replicate")
    assert np.array_equal(padded.rigorous[..., 0], bounds.rigorous[..., 0])


def test_numbers_that_the_dtype_does_not_hold_have_a_radius() -> None:
    assert OPERATIONS["identity"](0.5).is_exact
    tenth = OPERATIONS["identity"](0.1)
    assert 0 < abs(float(F32(0.1)) - 0.1) <= tenth.rigorous <= 2.0**-24 * 0.1001
    third = OPERATIONS["clamp"](np.array([1.0, 0.0], F32), max=-1 / 3)
    assert third.rigorous[0] > 0


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "value"),
    [
        ("relu6", ([np.inf, -np.inf],), {}, [6, 0]),
        ("add", ([1.0, -np.inf], [-np.inf, -np.inf]), {}, [-np.inf, -np.inf]),
        ("mul", ([np.inf], [-2.0]), {}, [-np.inf]),
        ("exp", ([-np.inf, 0.0],), {}, [0, 1]),
        ("softmax", ([0.0, -np.inf],), {"dim": 0}, [1, 0]),
        ("max_pool1d", ([[-np.inf, np.inf, 0.0, 1.0]],), {"kernel_size": 2}, [[np.inf, 1]]),
    ],
)
def test_exact_infinities(
    op: str, operands: tuple[Any, ...], attributes: dict[str, Any], value: Any
) -> None:
    found = OPERATIONS[op](*(np.array(o, F32) for o in operands), **attributes)
    assert np.array_equal(found.value, np.array(value, float))
    assert np.isfinite(found.rigorous).all()


def test_an_element_that_a_mask_took_out_leaves_the_rest_of_a_softmax_known() -> None:
    """What was added to it has a radius of 1e31, and no exponential of that is in the sum."""
    scores = np.array([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]], F32)
    mask = np.array([[0.0, np.finfo(F32).min, np.finfo(F32).min], [0.0, 0.0, 0.0]], F32)
    found = adm.softmax(adm.add(Bounds(scores.astype(float), *(np.full((2, 3), 1e-7),) * 2), mask))
    assert found.value[0].tolist() == [1.0, 0.0, 0.0]
    assert found.rigorous.max() < 1e-5
    assert found.rigorous[0, 1:].max() < 1e-40


def test_an_element_that_vanishes_may_come_back_within_its_radius() -> None:
    for radius, known in ((1.0, True), (900.0, False)):
        given = np.array([0.0, radius])
        found = adm.softmax(Bounds(np.array([0.0, -800.0]), given, given))
        assert found.value.tolist() == [1.0, 0.0]
        assert (found.rigorous[1] < 1e-40) == known


@pytest.mark.parametrize(
    ("op", "operands", "attributes"),
    [
        ("add", ([np.inf], [-np.inf]), {}),
        ("add", ([np.nan], [1.0]), {}),
        ("mul", ([0.0], [np.inf]), {}),
        ("mul", ([1e30], [1e30]), {}),
        ("exp", ([89.0],), {}),
        ("log", ([-1.0],), {}),
        ("sqrt", ([-1.0],), {}),
        ("div", ([0.0], [0.0]), {}),
        ("softmax", ([-np.inf, -np.inf],), {"dim": 0}),
        ("linear", ([np.inf, 1.0], [[1.0, 1.0]]), {}),
        ("linear", ([3e38, 3e38], [[1.0, -1.0]]), {}),
        ("sum", ([3e38, 3e38, -3e38],), {"dim": 0}),
        ("layer_norm", ([1e30, -1e30],), {"normalized_shape": 2}),
        ("pow", ([-8.0],), {"exponent": 1 / 3}),
    ],
)
def test_where_nothing_is_known(
    op: str, operands: tuple[Any, ...], attributes: dict[str, Any]
) -> None:
    """NaN, overflow in some order, functions outside their domain: infinite radii (ADM-6)."""
    found = OPERATIONS[op](*(np.array(o, F32) for o in operands), **attributes)
    assert np.isinf(found.rigorous).all()
    assert np.isinf(found.probable).all()


def test_domains_are_left_by_an_interval_too() -> None:
    near = Bounds(np.array([0.25, 1.0]), np.array([0.5, 0.5]), np.array([0.1, 0.1]))
    for op in ("log", "sqrt", "rsqrt"):
        found = OPERATIONS[op](near)
        assert np.isinf(found.rigorous).tolist() == [True, False]
        assert np.isfinite(found.probable).all()
    found = OPERATIONS["div"](1.0, near)
    assert np.isinf(found.rigorous).tolist() == [True, False]


def test_a_layer_dequantizes_and_rounds_its_operands() -> None:
    spec = QuantizationSpec("int8")
    codes = np.array([[1, -3]], np.int8)
    x = QuantizedTensor(codes, spec, qparams(0.1, 1, rank=2))
    steps = (Step("linear", ("x", "w"), "y"),)
    operands = {"x": x, "w": np.array([[0.1, 1.0]], F32)}
    layer = Layer(steps, operands, spec, qparams(0.01, 0, rank=2))
    assert layer.values()["x"].tolist() == [[0.0, float(F32(-4) * F32(0.1))]]
    assert layer.admissible().low.shape == (1, 1)
    half = Layer(steps, operands, spec, qparams(0.01, 0, rank=2), Arithmetic("float16"))
    assert half.values()["w"].dtype == np.float16
    table = FloatLayer((Step("embedding", ("i", "w"), "y"),),
                       {"i": np.array([0], np.int32), "w": operands["w"]})  # fmt: skip
    assert table.values()["i"].dtype == np.int32
    assert table.bounds().is_exact


W = normal(71, 5, 4)
KERNEL = normal(72, 6, 3, 3, 3)
IMAGE = normal(73, 1, 3, 8, 8)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: Step("conv2", ("x",), "y"), "did you mean 'conv2d'"),
        (lambda: Step("gelu_new", ("x",), "y"), "did you mean 'gelu'"),
        (lambda: Step("relu", (True,), "y"), "input of relu"),
        (lambda: Step("relu", (["x"],), "y"), "input of relu"),
        (lambda: Step("relu", ("x",), ""), "output of relu"),
        (lambda: Step.from_dict({"op": "relu", "inputs": ["x"]}), "step"),
        (lambda: Step.from_dict({"op": "relu", "inputs": ["x"], "output": "y", "dim": 1}), "dim"),
        (lambda: Step.from_dict("relu"), "step"),  # type: ignore[arg-type]
        (lambda: evaluate([Step("relu", ("z",), "y")], {"x": X}), "input of relu: given z"),
        (lambda: evaluate([Step("relu", ("x",), "x")], {"x": X}), "a new name"),
        (lambda: evaluate([Step("relu", ("x",), "y", {"dim": 1})], {"x": X}), "relu refuses"),
        (lambda: evaluate([Step("add", ("x",), "y")], {"x": X}), "add refuses"),
        (lambda: evaluate([Step("reshape", ("x",), "y", {"shape": [5]})], {"x": X}), "reshape"),
        (lambda: evaluate([Step("add", ("x", "w"), "y")], {"x": X, "w": W}), "add refuses"),
        (lambda: Arithmetic("bfloat16"), "ADM-1"),
        (lambda: Arithmetic("float32", "float16"), "at least as wide"),
        (lambda: Arithmetic.from_dict({"value": "float32"}), "unknown key"),
        (lambda: Bounds.exact(["a"]), "array of real numbers"),
        (lambda: Bounds.exact(np.ones(2, complex)), "array of real numbers"),
        (lambda: adm.linear(X, normal(1, 5, 3)), "linear: shapes"),
        (lambda: adm.matmul(X, X), "matmul: shapes"),
        (lambda: adm.einsum(X, X, equation="abc->a"), "two operands"),
        (lambda: adm.einsum(X, W, equation="abcde,fc->ab"), "einsum: rank"),
        (lambda: adm.mean(X, 3), "axis of a tensor of rank 3"),
        (lambda: adm.conv(IMAGE, KERNEL, groups=2), "channels"),
        (lambda: adm.conv(IMAGE, normal(1, 6, 3, 9, 9)), "window"),
        (lambda: adm.conv(IMAGE, KERNEL, stride=0), "stride"),
        (lambda: adm.conv(IMAGE, KERNEL, padding="full"), "padding"),
        (lambda: adm.conv(IMAGE, KERNEL, stride=2, padding="same"), "at stride 1"),
        (lambda: adm.conv(IMAGE, KERNEL, bias=normal(1, 5)), "bias: shape"),
        (lambda: adm.conv(X[0], KERNEL), "ranks"),
        (lambda: adm.conv_transpose(IMAGE, KERNEL), "channels"),
        (lambda: adm.conv_transpose(IMAGE, normal(1, 3, 2, 3, 3), padding=6), "padding"),
        (lambda: adm.avg_pool(IMAGE, 3, padding=2), "half the window"),
        (lambda: adm.max_pool(X[0], 2), "pool: rank"),
        (lambda: adm.adaptive_avg_pool(IMAGE, (2, 2, 2)), "output_size"),
        (lambda: adm.softmax(X, 3), "softmax: axis"),
        (lambda: adm.scaled_dot_product_attention(X, X[..., :2], X), "attention: shapes"),
        (lambda: adm.scaled_dot_product_attention(X, X, X, dropout_p=0.1), "dropout_p"),
        (lambda: adm.layer_norm(X, normalized_shape=3), "normalized_shape"),
        (lambda: adm.group_norm(X, num_groups=2), "group_norm"),
        (lambda: adm.batch_norm(X, None, None), "running statistics"),
        (lambda: adm.batch_norm(X, F32([0] * 3), F32([1] * 3), training=True), "running"),
        (lambda: adm.instance_norm(X[0]), "instance_norm"),
        (lambda: adm.embedding(F32([1.5]), W), "whole numbers"),
        (lambda: adm.embedding(F32([5]), W), "from 0 to 4"),
        (lambda: adm.clamp(X), "clamp"),
        (lambda: adm.leaky_relu(X, -0.1), "negative_slope"),
        (lambda: adm.elu(X, 0), "alpha"),
        (lambda: adm.softplus(X, threshold=1), "threshold"),
        (lambda: adm.gelu(X, "fast"), "approximate"),
        (lambda: adm.pow(X, np.inf), "exponent"),
        (lambda: adm.round_to(X, "bfloat16"), "dtype"),
        (lambda: adm.cat(), "cat"),
        (lambda: adm.pad(X, [1]), "pad"),
        (lambda: adm.pad(X, [1, 1], mode="circular"), "pad"),
        (lambda: adm.upsample_nearest(IMAGE), "a size or a factor"),
        (lambda: adm.upsample_nearest(IMAGE, scale_factor=-1.3), "positive numbers"),
        (lambda: adm.upsample_nearest(IMAGE, scale_factor=[2.0]), "2 positive numbers"),
        (lambda: adm.upsample_nearest(IMAGE, scale_factor=0.1), "2 extents"),
        (lambda: adm.upsample_nearest(X[0], size=3), "upsample"),
        (lambda: Layer((), {}, QuantizationSpec(), qparams(1.0, 0)), "no steps"),
        (lambda: Layer((Step("relu", ("x",), "y"),), {"x": np.ones(2)}, QuantizationSpec(),
                       qparams(1.0, 0)), "operand x"),
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_reasons(call: Callable[[], Any], words: str) -> None:
    with pytest.raises(QuantError) as caught:
        call()
    assert words in str(caught.value)
    assert caught.value.clause.startswith("ADM-")


def test_bad_codes_are_refused() -> None:
    spec = QuantizationSpec("int4")
    found = adm.admissible_codes(Bounds.exact(np.zeros(2)), spec, qparams(1.0, 0))
    for codes, words in (
        (np.zeros(3, np.int8), "codes: shape"),
        (np.zeros(2, np.uint8), "dtype"),
        (np.array([9, 0], np.int8), "width"),
    ):
        with pytest.raises(InputError, match=words):
            adm.judge_codes(codes, found)
    with pytest.raises(InputError, match="values"):
        adm.judge_values(np.zeros(3, F32), Bounds.exact(np.zeros(2)))
    with pytest.raises(InputError):
        adm.admissible_codes(Bounds.exact(np.zeros((2, 2))), spec, qparams(1.0, 0))


def test_the_errors_are_of_the_one_tree() -> None:
    assert issubclass(UnknownOperationError, QuantError)
    with pytest.raises(SpecError):
        Arithmetic("float64")


def test_attributes_go_by_the_names_of_torch() -> None:
    found = OPERATIONS["hardtanh"](X, min_val=-0.5, max_val=0.5)
    assert np.array_equal(found.value, np.clip(X.astype(float), -0.5, 0.5))


@pytest.mark.parametrize(
    ("op", "attributes"),
    [
        *(
            (op, {})
            for op in ("relu", "relu6", "hardtanh", "sigmoid", "tanh", "erf", "hardsigmoid")
        ),
        *((op, {}) for op in ("elu", "silu", "gelu", "hardswish", "hardsigmoid", "softplus")),
        ("clamp", {"min": 0.0, "max": 1.0}),
        ("max_pool1d", {"kernel_size": 3}),
        ("softmax", {"dim": -1}),
        ("mean", {"dim": -1}),
        ("layer_norm", {"normalized_shape": 3}),
    ],
)
def test_what_is_not_known_stays_so(op: str, attributes: dict[str, Any]) -> None:
    """It may be a NaN, and bounded functions of a NaN are NaN (ADM-6)."""
    infinite = np.array([[0.0, np.inf, 0.0]])
    found = OPERATIONS[op](Bounds(np.array([[0.5, -900.0, 2.0]]), infinite, infinite), **attributes)
    unknown = np.isinf(found.probable)
    whole_row = op in ("softmax", "mean", "layer_norm", "max_pool1d")
    assert unknown.all() if whole_row else unknown.tolist() == [[False, True, False]]
