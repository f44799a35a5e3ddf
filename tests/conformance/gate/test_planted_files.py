"""Defects that are planted in saved files are found, and named where they are and nowhere else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gate import mil_edits as mil
from tests.conformance.gate import text_edits as text
from tests.conformance.gate.planting import (
    argument,
    both,
    edited,
    exported,
    found,
    found_in_file,
    made,
)

from quant_conformance.gate.check import open_program
from quant_conformance.gate.document import FAILING
from quant_conformance.gate.judging.comparison import compare
from quant_reference.admissible import Arithmetic

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")


def in_text(edit: text.Edit) -> Callable[[Path, Path], Path]:
    """An edit of an .aimodel's text as one of the file."""
    return lambda path, folder: edited(path, edit, folder)


def in_package(edit: mil.Edit) -> Callable[[Path, Path], Path]:
    """An edit of an .mlpackage's program as one of the file."""
    return lambda path, folder: mil.edited_package(path, edit, folder)


def one_ulp_more(tensor: Any) -> None:
    (value,) = tensor.floats.values
    tensor.floats.values[0] = np.nextafter(np.float32(value), np.float32(np.inf))


def other_bias(tensor: Any) -> None:
    tensor.floats.values[3] += 0.1


def far_bias(tensor: Any) -> None:
    tensor.floats.values[3] += 0.3


def addition(line: str) -> str:
    return line.replace("broadcasting_sub", "broadcasting_add")


SUB, MEAN = "decomposable.broadcasting_sub", "reduce_mean"

# Name -> the change to an .aimodel, the change to an .mlpackage, and what it spoils where
# activations are quantized and where weights alone are: there a float result is what is judged.
BOTH_FILES: dict[str, tuple[text.Edit, mil.Edit, str, str]] = {
    "operands of a difference swapped": (
        text.exchanged(SUB, 0, 0, 1),
        mil.exchanged("sub", 0, "x", "y"),
        "sub",
        "view_1",
    ),
    "a sum for a difference": (
        text.on_line(SUB, 0, addition),
        mil.another("sub", 0, "add"),
        "sub",
        "view_1",
    ),
    "mean over the other axis": (
        text.constant(MEAN, 0, 1, "2", "1xsi32"),
        mil.constant(MEAN, 0, "axes", mil.ints(2)),
        "sub/mean",
        "view_1",
    ),
    "padding at one end": (
        text.constant("pad", 0, 1, "[0, 0, 0, 0, 0, 2, 0, 2]", "8xui32"),
        mil.constant("conv", 0, "pad", mil.ints(0, 2, 0, 2)),
        "relu",
        "convolution",
    ),
    "an operation behind the output": (
        text.behind_the_output,
        mil.behind_the_output,
        "output 0",
        "view_1",
    ),
}


@pytest.mark.parametrize("name", BOTH_FILES)
@pytest.mark.parametrize("config", ["w8a8", "w8"])
def test_an_operation(name: str, config: str) -> None:
    in_aimodel, in_mlpackage, *wanted = BOTH_FILES[name]
    named = {wanted[config == "w8"]}
    assert found_in_file("coreml", "mixed", config, in_package(in_mlpackage)) == named
    if config == "w8a8" or name == "padding at one end":
        assert found_in_file("coreai", "mixed", config, in_text(in_aimodel)) == named


MIL_ONLY: dict[str, tuple[mil.Edit, set[str]]] = {
    "the greatest for the mean": (mil.another(MEAN, 0, "reduce_max"), {"sub/mean"}),
    "a scale one ulp off": (mil.constant("quantize", 2, "scale", one_ulp_more), {"conv2d_1"}),
    "a bias": (mil.constant("conv", 1, "bias", other_bias), {"conv2d_1"}),
    "a reader that goes around a quantizer": (
        mil.reading(MEAN, 0, "x", mil.output_of("sub")),
        {"sub/mean"},
    ),
    "weights of each other": (
        mil.both(
            mil.reading("conv", 1, "weight", lambda _: "right_weight"),
            mil.reading("conv", 2, "weight", lambda _: "left_weight"),
        ),
        {"conv2d_1", "conv2d_2"},
    ),
    "strides and padding": (
        mil.both(
            mil.constant("conv", 1, "strides", mil.ints(2, 2)),
            mil.constant("conv", 1, "pad", mil.ints(4, 4, 4, 4)),
            mil.constant("conv", 1, "pad_type", mil.words("custom")),
        ),
        {"conv2d_1"},
    ),
}


@pytest.mark.parametrize("name", MIL_ONLY)
def test_in_the_program_of_a_package(name: str) -> None:
    edit, wanted = MIL_ONLY[name]
    assert found_in_file("coreml", "mixed", "w8a8", in_package(edit)) == wanted


def another_code(tensor: Any) -> None:
    raw = bytearray(tensor.bytes.values)
    raw[5] ^= 1
    tensor.bytes.values = bytes(raw)


@pytest.mark.parametrize("mode", ["graph", "eager"])
def test_a_constant_whose_scale_was_divided_for_a_sum(mode: str) -> None:
    assert found("coreml", "offset", "w8a8", mode=mode) == set()


@pytest.mark.parametrize(
    ("name", "change", "wanted"),
    [("scale", one_ulp_more, {"sub"}), ("data", another_code, {"mul", "sub"})],
)
def test_what_is_wrong_with_such_a_constant(
    name: str, change: Callable[[Any], None], wanted: set[str]
) -> None:
    edit = mil.constant("constexpr_blockwise_shift_scale", 2, name, change)
    assert found_in_file("coreml", "offset", "w8a8", in_package(edit)) == wanted


@pytest.mark.parametrize(
    ("layers", "wanted"),
    [
        # The difference of the last two is what it was: as a converter may move a constant.
        ((1, 2), set()),
        ((0, 1), {"convolution", "convolution_1"}),
        ((0, 1, 2), {"convolution", "convolution_1", "convolution_2"}),
    ],
)
def test_biases_of_layers_in_a_row(layers: tuple[int, ...], wanted: set[str]) -> None:
    edit = mil.both(*(mil.constant("conv", layer, "bias", far_bias) for layer in layers))
    assert found_in_file("coreml", "mixed", "w8", in_package(edit)) == wanted


def test_a_mistake_in_16_bits_is_not_put_down_to_float16_sums(tmp_path: Path) -> None:
    def plant(graph: Any) -> None:
        graph.get_parameter("left.bias")[3] += 0.3

    path = exported("coreml", "mixed", "w8a8", "graph", True, tmp_path, plant)
    program = open_program(path)
    recording = made("mixed", "w8a8", "graph")[1]
    (wrong,) = [
        layer
        for layer in compare(recording, program, Arithmetic("float16")).layers
        if layer.verdict in FAILING
    ]
    program.close()
    assert (wrong.name, wrong.verdict) == ("conv2d_1", "wrong")
    assert "float16" not in wrong.detail


@pytest.mark.parametrize("config", ["w8a8", "w8"])
def test_one_byte_of_the_weights_of_a_package(config: str) -> None:
    edit = mil.byte_of_weights(2000, lambda byte: byte ^ 1)
    assert found_in_file("coreml", "cnn", config, edit) == {"features.2.0.weight"}


UNSIGNED = {"coreai": (text.unsigned, in_text), "coreml": (mil.unsigned, in_package)}


@pytest.mark.parametrize(
    ("backend", "index", "zero_point", "read", "wanted"),
    [
        ("coreai", 0, 128, None, set()),  # every code means what it meant
        ("coreml", 0, 128, None, set()),
        ("coreai", 0, 0, None, {"x"}),  # the zero point of int8
        ("coreml", 0, 0, None, {"x"}),
        ("coreai", 0, 128, 0, {"x"}),  # codes of uint8 read as those of int8
        ("coreml", 0, 128, 0, {"x"}),
        ("coreml", 0, 127, None, {"x"}),
        ("coreml", 2, 0, None, {"conv2d_1"}),  # an operand of a sum
    ],
)
def test_int8_taken_for_uint8(
    backend: str, index: int, zero_point: int, read: int | None, wanted: set[str]
) -> None:
    change, of_file = UNSIGNED[backend]
    dtypes = []

    def edit(path: Path, folder: Path) -> Path:
        target = of_file(change(index, zero_point, read))(path, folder)
        program = open_program(target)
        dtypes.append(program.quantizers[index].dtype)
        program.close()
        return target

    assert found_in_file(backend, "mixed", "w8a8", edit) == wanted
    assert dtypes == ["uint8"]


WHOLE = {
    "coreai": lambda values: in_text(text.whole(1, values)),
    "coreml": lambda values: in_package(mil.whole("constexpr_blockwise_shift_scale", 2, values)),
}


@pytest.mark.parametrize(
    ("backend", "config", "kind", "layers"),
    [
        ("coreai", "w8a8", "float", set()),
        ("coreai", "w8", "quantized", set()),
        ("coreml", "w8a8", "float", set()),
        ("coreml", "w8a8", "quantized", set()),
        ("coreml", "w8", "float", set()),
        ("coreml", "w8", "quantized", set()),
        ("coreml", "w8a8", "neither", {"conv2d_1"}),
        ("coreml", "w8", "neither", {"convolution_1"}),
    ],
)
def test_a_weight_that_is_left_whole(
    backend: str, config: str, kind: str, layers: set[str]
) -> None:
    recording = made("mixed", config, "graph")[1]
    (weight,) = [q for q in recording.quantizations if q.facts.name == "left.weight"]
    values = recording.values[weight.result if kind == "quantized" else weight.source]
    if kind == "neither":
        values = values * np.float32(1.01)
    edit = WHOLE[backend](values)
    assert found_in_file(backend, "mixed", config, edit) == {"left.weight"} | layers


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_a_stride_that_changes_the_shape(backend: str) -> None:
    change = argument("conv2d_1", 3, [2, 2])
    assert found(backend, "cnn", "w8a8", change) == {"relu_1"}


def test_a_stride_that_keeps_the_shape() -> None:
    change = both(argument("conv2d_1", 3, [2, 2]), argument("conv2d_1", 4, [4, 4]))
    assert found("coreai", "mixed", "w8a8", change) == {"conv2d_1"}


@pytest.mark.parametrize(
    ("model", "config", "edit", "wanted"),
    [
        # What a file holds in the place of two codes of four bits, first and second swapped.
        (
            "mlp",
            "mxfp4",
            text.resource(0, 10, lambda b: b >> 4 | (b & 15) << 4),
            {"layers.0.weight"},
        ),
        ("mlp", "mxfp4", text.resource(1, 20, lambda b: b ^ 8), {"layers.2.weight"}),
        ("mlp", "fp8", text.resource(1, 33, lambda b: b ^ 128), {"layers.2.weight"}),
        ("cnn", "w2", text.resource(0, 5, lambda b: b ^ 1), {"head.weight"}),
        ("cnn", "w8a8", text.scale_of_another, {"relu"}),
    ],
)
def test_in_the_text_of_other_models(
    model: str, config: str, edit: text.Edit, wanted: set[str]
) -> None:
    assert found_in_file("coreai", model, config, in_text(edit)) == wanted
