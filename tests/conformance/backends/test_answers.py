"""The adapters ask their systems the right question: answers worked out by hand, per backend."""

from __future__ import annotations

import json
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest

from quant_conformance import Backend
from quant_conformance.registry import BACKENDS
from quant_conformance.runner.loading import open_backend
from quant_reference import PerBlock, PerChannel, PerTensor, QParams, QuantizationSpec

pytestmark = [
    pytest.mark.peers,
    # torch's quantized tensors are deprecated; they are judged as long as torch has them.
    pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor:UserWarning"),
    # coreai-opt warns that its buffers were given and not computed, which is what is wanted here.
    pytest.mark.filterwarnings("ignore:Using default scale and zero point:UserWarning"),
]

NON_SATURATING = "onnxruntime-nonsaturating"
ADAPTERS = [
    "numpy-reference",
    "ml-dtypes",
    "torch",
    "torchao",
    "onnxruntime",
    "onnx-reference",
    "gfloat",
    "coreai-opt",
    NON_SATURATING,
]
INTEGER = {"numpy-reference", "torch", "torchao", "onnxruntime", "onnx-reference", "coreai-opt"}
FLOAT8 = {"numpy-reference", "torchao", "onnxruntime", "onnx-reference", "gfloat", "coreai-opt"}

_open: dict[str, Backend] = {}


def backend(name: str) -> Backend:
    if name not in _open:
        found, hello = open_backend(name)
        if hello.problem == "unavailable":
            pytest.skip(hello.text)
        assert found is not None, hello.text
        _open[name] = found
    return _open[name]


def f32(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def qparams(scale: np.ndarray, zero_point: np.ndarray | None = None) -> QParams:
    """Qparams with the minval of a zero point at quant_min, which no case here looks at."""
    if zero_point is None:
        return QParams(scale.astype(np.float32))
    return QParams(scale.astype(np.float32), zero_point.astype(np.int32))


def test_every_built_in_backend_has_answers_here() -> None:
    # The Core AI runtime, exports and this project's own quantizer have tests of their own.
    own = ("coreai-runtime", "coreai-torch", "coreml-mil", "quant-torch")
    others = {name for name in BACKENDS if name.startswith(own)}
    assert set(BACKENDS) == set(ADAPTERS) | others


def test_importing_the_adapters_imports_no_system() -> None:
    modules = sorted({path.partition(":")[0] for path in BACKENDS.values()})
    code = (
        f"import importlib, json, sys\nfor m in {modules!r}: importlib.import_module(m)\n"
        "print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    systems = {"torch", "torchao", "onnx", "onnxruntime", "gfloat", "coreai_opt", "coreai"}
    assert systems.isdisjoint(json.loads(run.stdout))


@pytest.mark.parametrize("name", sorted(INTEGER))
def test_integers_tie_to_even_and_saturate(name: str) -> None:
    x = f32(0.25, 0.75, -1.25, 0.3, 100, -100).reshape(1, 6)
    spec = QuantizationSpec("int8")
    params = qparams(np.full((1, 1), 0.5), np.zeros((1, 1)))
    codes = backend(name).quantize(x, spec, params)
    assert codes.dtype == np.int8
    assert codes.tolist() == [[0, 2, -2, 1, 127, -128]]
    values = backend(name).dequantize(codes, spec, params)
    assert values.tolist() == [[0, 1, -1, 0.5, 63.5, -64]]
    assert backend(name).fake_quantize(x, spec, params).tolist() == values.tolist()


@pytest.mark.parametrize("name", sorted(INTEGER))
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_each_channel_has_its_scale_and_zero_point(name: str, axis: int) -> None:
    x = f32(0, 1, 2, 3, 4, 5).reshape(2, 3)
    shape = (2, 1) if axis == 0 else (1, 3)
    scale = np.arange(1, 1 + max(shape)).reshape(shape)
    zero_point = 2 * scale + 1
    spec = QuantizationSpec("uint4", "asymmetric", granularity=PerChannel(axis))
    codes = backend(name).quantize(x, spec, qparams(scale, zero_point))
    # Row: x/1 + 3, x/2 + 5 (1.5 and 2.5 tie to 2). Column: x/1 + 3, x/2 + 5, x/3 + 7.
    by_row, by_column = [[3, 4, 5], [7, 7, 7]], [[3, 5, 8], [6, 7, 9]]
    assert codes.tolist() == (by_row if axis == 0 else by_column)
    values = backend(name).dequantize(codes, spec, qparams(scale, zero_point))
    assert values.tolist() == ([[0, 1, 2], [4, 4, 4]] if axis == 0 else [[0, 0, 3], [3, 4, 6]])


@pytest.mark.parametrize("name", sorted(INTEGER))
def test_blocks_lie_along_their_axis(name: str) -> None:
    x = f32(1, 1, 1, 1, 1, 1, 1, 1).reshape(2, 4)
    scale = np.array([[1, 0.5], [0.25, 1 / 7]], np.float32)
    spec = QuantizationSpec("int4", granularity=PerBlock(1, 2))
    codes = backend(name).quantize(x, spec, qparams(scale, np.zeros((2, 2))))
    assert codes.tolist() == [[1, 1, 2, 2], [4, 4, 7, 7]]


@pytest.mark.parametrize("name", sorted(FLOAT8))
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_float8_goes_through_the_scale_and_back(name: str, dtype: type) -> None:
    x = f32(1, -2, 1000, -0.0).astype(dtype).reshape(1, 4)
    spec, params = QuantizationSpec("float8_e4m3fn"), qparams(np.full((1, 1), 2.0))
    if name not in ("gfloat", "torchao"):  # without a quantize, or a fake-quantize, of FP8
        faked = backend(name).fake_quantize(x, spec, params)
        assert faked.dtype == dtype
        assert faked.astype(np.float32).tolist() == [[1, -2, 896, 0]]
    if name != "gfloat":
        codes = backend(name).quantize(x, spec, params)
        assert codes.tolist() == [[0x30, 0xB8, 0x7E, 0x80]]
    values = backend(name).dequantize(np.array([[0x30, 0xB8, 0x7E, 0x80]], np.uint8), spec, params)
    assert values.tolist() == [[1, -2, 896, 0]]
    assert np.signbit(values[0, 3])


@pytest.mark.parametrize("name", ["numpy-reference", "torchao", "gfloat", "coreai-opt"])
def test_power_of_two_scales_round_down(name: str) -> None:
    x = np.zeros((2, 32), np.float32)
    x[0, 3], x[1, 30] = 7.9, -0.26
    spec = QuantizationSpec("float4_e2m1fn", granularity=PerBlock(1, 32))
    assert backend(name).qparams(x, spec, "weight").scale.tolist() == [[1.0], [2.0**-4]]


@pytest.mark.parametrize("name", ["onnx-reference", "coreai-opt", "numpy-reference"])
def test_float4_codes_stand_in_the_low_nibble(name: str) -> None:
    x = f32(0.25, 0.75, 2.5, 100, -0.0, -5).reshape(1, 6)
    spec, params = QuantizationSpec("float4_e2m1fn"), qparams(np.ones((1, 1)))
    codes = backend(name).quantize(x, spec, params)
    assert codes.dtype == np.uint8
    assert codes.tolist() == [[0, 2, 4, 7, 8, 14]]
    assert backend(name).dequantize(codes, spec, params).tolist() == [[0, 1, 2, 6, 0, -4]]


@pytest.mark.parametrize("name", ["numpy-reference", "coreai-opt"])
def test_minval_is_added_after_the_product(name: str) -> None:
    spec = QuantizationSpec("uint4", "asymmetric", "minval")
    minval = np.full((1, 1), -1, np.float32)
    params = QParams(np.full((1, 1), 0.5, np.float32), np.zeros((1, 1), np.int32), minval)
    codes = backend(name).quantize(f32(-1, -0.7, 0, 9).reshape(1, 4), spec, params)
    assert codes.tolist() == [[0, 1, 2, 15]]
    assert backend(name).dequantize(codes, spec, params).tolist() == [[-1, -0.5, 0, 6.5]]


@pytest.mark.parametrize("name", ["numpy-reference", "torch", "torchao", "coreai-opt"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16])
def test_gradients_stop_outside_the_range(name: str, dtype: type) -> None:
    x = f32(-200, -128, 0, 127, 128).astype(dtype).reshape(1, 5)
    grad = f32(1, 2, 3, 4, 5).astype(dtype).reshape(1, 5)
    params = qparams(np.ones((1, 1)), np.zeros((1, 1)))
    answer = backend(name).gradient(x, grad, QuantizationSpec("int8"), params)
    assert answer.dtype == dtype
    assert answer.astype(np.float32).tolist() == [[0, 2, 3, 4, 0]]


@pytest.mark.parametrize("name", sorted(INTEGER - {"onnxruntime", "onnx-reference"}))
def test_observers_fold_in_their_own_way(name: str) -> None:
    batches = [f32(-1, 3).reshape(1, 2), f32(-2, 1).reshape(1, 2)]
    spec = QuantizationSpec("uint8", "asymmetric")
    wanted = {"static": (-2, 1), "global_minmax": (-2, 3), "moving_average": (-1.5, 2)}
    for kind, (lo, hi) in wanted.items():
        params = backend(name).observe(batches, spec, "activation", kind, 0.5)
        assert params.scale.shape == (1, 1)
        assert params.scale.item() == np.float32(hi - lo) / np.float32(255)
        assert params.zero_point is not None
        assert params.zero_point.item() == np.rint(-lo * 255 / (hi - lo))


@pytest.mark.parametrize("name", ["onnxruntime", "onnx-reference"])
def test_dynamic_quantize_linear_is_asked(name: str) -> None:
    batches = [f32(9, 9).reshape(1, 2), f32(-1, 4).reshape(1, 2)]
    spec = QuantizationSpec("uint8", "asymmetric")
    params = backend(name).observe(batches, spec, "activation", "dynamic")
    assert params.scale.tolist() == [[np.float32(5) / np.float32(255)]]
    assert params.zero_point is not None
    assert params.zero_point.tolist() == [[51]]


@pytest.mark.parametrize(
    ("name", "fmt", "codes", "packed"),
    [(name, "int4", [1, -2, 7], [0xE1, 0x07]) for name in ("onnxruntime", "onnx-reference")]
    + [
        (name, "int2", [1, -2, -1, 0, 1], [0b00111001, 1])
        for name in ("onnxruntime", "onnx-reference")
    ]
    + [
        ("torchao", "float4_e2m1fn", [1, 2, 3, 15], [0x21, 0xF3]),
        ("onnx-reference", "float4_e2m1fn", [1, 2, 15], [0x21, 0x0F]),
        ("torch", "uint4", [1, 2, 3], [0x21, 0x03]),
        ("torch", "uint2", [1, 2, 3, 0, 1], [0b00111001, 1]),
    ],
)
def test_packing(name: str, fmt: str, codes: list[int], packed: list[int]) -> None:
    array = np.array(codes, np.int8 if fmt.startswith("int") else np.uint8)
    assert backend(name).pack(array, fmt, "low_first").tolist() == packed
    if name != "torch":  # packs, but has no public way to make a tensor of packed bytes
        unpacked = backend(name).unpack(np.array(packed, np.uint8), fmt, "low_first", len(codes))
        assert unpacked.dtype == array.dtype
        assert unpacked.tolist() == codes


def test_overflow_policies_of_raw_casts() -> None:
    x = f32(465, -1e9, np.inf)
    saturated, lost = [0x7E, 0xFE, 0x7E], [0x7F, 0xFF, 0x7F]
    for name in ("torch", "onnxruntime", "onnx-reference", "gfloat"):
        assert backend(name).encode(x, "float8_e4m3fn").tolist() == saturated, name
    for name in ("ml-dtypes", NON_SATURATING):
        assert backend(name).encode(x, "float8_e4m3fn").tolist() == lost, name


@pytest.mark.parametrize(("name", "wanted"), [("numpy-reference", -1.0), ("coreai-opt", -1.0)])
def test_value_range_holds_zero(name: str, wanted: float) -> None:
    x = f32(-1, -2, -1, -0.5).reshape(2, 2)
    lo, hi = backend(name).value_range(x, QuantizationSpec(granularity=PerChannel(0)), "weight")
    assert lo.tolist() == [[-2], [wanted]]
    assert hi.tolist() == [[0], [0]]


def test_coreai_opt_fills_in_axes_and_checks_specs() -> None:
    asked = backend("coreai-opt")
    assert asked.default_axis("ConvTranspose2d", PerChannel()) == 1
    assert asked.default_axis("Conv1d", PerBlock(None, 32)) == 1
    asked.validate_spec({"dtype": "float4_e2m1fn", "granularity": {"type": "per_tensor"}})
    with pytest.raises(ValueError, match="dtype"):
        asked.validate_spec({"dtype": "int7"})


_ASYMMETRIC = QuantizationSpec("uint8", "asymmetric", "minval")
_ONE = qparams(np.ones((1, 1)), np.zeros((1, 1)))
_X = np.ones((1, 2), np.float32)


@pytest.mark.parametrize(
    ("name", "method", "arguments", "reason"),
    [
        ("torch", "quantize", (_X, _ASYMMETRIC, _ONE), "zero-point"),
        ("torch", "quantize", (_X, QuantizationSpec("float8_e4m3fn"), _ONE), "integers only"),
        ("torch", "encode", (_X, "float4_e2m1fn"), "no casts"),
        ("torch", "qparams", (_X.astype(np.float16), QuantizationSpec(), "weight"), "float32"),
        ("torch", "qparams", (_X, QuantizationSpec("uint4"), "weight"), "128"),
        ("torch", "pack", (np.zeros(2, np.uint8), "uint4", "high_first"), "low bits"),
        ("torchao", "qparams", (_X, _ASYMMETRIC, "weight"), "zero points"),
        ("torchao", "pack", (np.zeros(3, np.uint8), "uint4", "low_first"), "pairs"),
        ("onnxruntime", "quantize", (_X, _ASYMMETRIC, _ONE), "zero-point"),
        ("onnxruntime", "encode", (_X, "float4_e2m1fn"), "float4e2m1"),
        ("onnxruntime", "qparams", (_X, QuantizationSpec(), "weight"), "uint8"),
        (
            "onnxruntime",
            "quantize",
            (_X, QuantizationSpec("int8", "symmetric_with_clipping"), _ONE),
            "whole range",
        ),
        (
            "onnx-reference",
            "quantize",
            (
                np.ones((2, 4), np.float32),
                QuantizationSpec(granularity=PerBlock(None, (2, 2))),
                qparams(np.ones((1, 2)), np.zeros((1, 2))),
            ),
            "blocks one axis",
        ),
        ("gfloat", "qparams", (_X, QuantizationSpec("float8_e4m3fn"), "weight"), "power-of-two"),
        ("gfloat", "encode", (f32(np.nan), "float4_e2m1fn"), "NaN"),
        ("coreai-opt", "default_axis", ("LayerNorm", PerChannel()), "LayerNorm"),
        ("ml-dtypes", "encode", (_X, "int4"), "wrap"),
    ],
)
def test_what_a_system_does_not_claim_is_unsupported(
    name: str, method: str, arguments: tuple[object, ...], reason: str
) -> None:
    with pytest.raises(NotImplementedError, match=reason):
        getattr(backend(name), method)(*arguments)


def test_per_tensor_is_not_per_channel_of_one() -> None:
    # One scale and one channel look alike in the qparams; the spec says which is meant.
    from quant_conformance.backends._layout import Layout, layout_of

    assert layout_of((1, 4), (1, 1), PerTensor()) == Layout("tensor")
    assert layout_of((1, 4), (1, 1), PerChannel(0)) == Layout("axis", 0)
    assert layout_of((2, 4), (1, 4), PerChannel(-1)) == Layout("axis", -1)
    assert layout_of((2, 4), (2, 2), PerBlock(-1, 2)) == Layout("block", -1, 2)
    assert layout_of((2, 4), (2, 1), PerBlock(1, 4)) == Layout("block", 1, 4)
    assert layout_of((2, 4), (2, 4), PerBlock(None, (1, 1))) == Layout("block", 1, 1)
    assert layout_of((2, 4, 3), (2, 2, 1), PerBlock(1, 2)) is None
    assert layout_of((0, 4), (0, 2), PerBlock(1, 2)) == Layout("block", 1, 2)
    assert layout_of((0, 4), (1, 1), PerTensor()) == Layout("tensor")


def test_an_empty_axis_in_several_blocks_has_no_layout_and_no_extents() -> None:
    # Operators that take scales per index of the other axes see two scales for no index.
    from quant_conformance.backends._layout import layout_of

    assert layout_of((0, 4), (2, 2), PerTensor()) is None
    qparams = QParams(np.ones((2, 2), np.float32), np.zeros((2, 2), np.int32))
    with pytest.raises(NotImplementedError, match="empty axis"):
        backend("torchao").quantize(np.zeros((0, 4), np.float32), QuantizationSpec(), qparams)
