"""What a file computes with a weight, by hand."""

from __future__ import annotations

import pytest

from quant_conformance.gate.alignment.weight_links import result_with

LINEAR = {
    "x": ("input", ()),
    "t": ("transpose", ("w", "axes")),
    "m": ("broadcasting_batch_matmul", ("x", "t")),
    "b": ("broadcasting_add", ("m", "bias")),
    "r": ("relu", ("b",)),
}
FLOATS = {"t", "m", "b", "r", "s", "y"}


def changed(**operations: tuple[str, tuple[str, ...]]) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {**LINEAR, **operations}


@pytest.mark.parametrize(
    ("operations", "wanted"),
    [
        (LINEAR, "b"),
        (changed(b=("relu", ("m",))), "m"),  # no bias
        (changed(s=("reshape", ("m", "shape")), b=("broadcasting_add", ("s", "bias"))), "b"),
        (changed(b=("broadcasting_add", ("m", "x"))), "m"),  # a sum of two tensors
        (changed(y=("relu", ("m",))), "m"),  # read before the bias, too
        (changed(y=("matmul", ("x", "t"))), None),  # two layers of one weight
        (changed(m=("relu", ("x",))), None),  # a weight that nothing reads
    ],
)
def test_the_layer_of_a_weight(
    operations: dict[str, tuple[str, tuple[str, ...]]], wanted: str | None
) -> None:
    assert result_with(operations, "w", FLOATS) == wanted


def test_what_cannot_be_cut_is_no_result() -> None:
    assert result_with(LINEAR, "w", FLOATS - {"b"}) is None
