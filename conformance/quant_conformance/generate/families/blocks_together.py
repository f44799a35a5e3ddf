"""block_dot and block_layout: sums of two tensors, and scales in memory (BLK-7, BLK-8)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.streams import integers, reals
from quant_conformance.rule_questions.blocks import form_arguments
from quant_reference.block import BLOCK_FORMATS, BlockForm, block_form, block_quantize, block_scale

Array = NDArray[Any]
F32 = np.float32


def build(builder: Builder) -> None:
    """Add both families."""
    for name in BLOCK_FORMATS:
        for index, count in enumerate((1, 2, 3, 7)):
            form = block_form(name, 16)
            tensors = [_operand(f"dot/{name}/{index}/{i}", form, count) for i in range(2)]
            _add(builder, f"{name}/{index}", (form, form), tensors, f"{count} blocks of {name}")
    for first, second in (
        ("mxfp8_e4m3", "mxfp4"),
        ("mxfp6_e2m3", "mxfp8_e5m2"),
        ("mxint8", "mxint8"),
    ):
        forms = (block_form(first, 32), block_form(second, 32))
        tensors = [_operand(f"dot/{first}/{second}/{i}", f, 4) for i, f in enumerate(forms)]
        _add(builder, f"{first}-{second}/usual", forms, tensors, "blocks of 32")
    _cancelling(builder)
    _refused(builder)
    _layouts(builder)


def _operand(label: str, form: BlockForm, count: int) -> dict[str, Array]:
    x = np.asarray(reals(label, (count * form.size,), exponents=(-6, 3)), F32)
    amax = np.asarray(np.abs(x).max()) if form.two_levels else None
    scales = block_scale(x, form, amax)
    found = {"": block_quantize(x, scales, form, amax), ":scales": scales}
    return found if amax is None else {**found, ":tensor_amax": amax}


def _add(
    builder: Builder, word: str, forms: tuple[BlockForm, BlockForm],
    tensors: list[dict[str, Array]], comment: str,
) -> None:  # fmt: skip
    inputs = {f"operand_{i}{k}": v for i, one in enumerate(tensors) for k, v in one.items()}
    builder.add_told(
        f"block_dot/{word}", "block_dot", clauses="BLK-8", flags="BlockDot TensorScale",
        comment=comment, arguments={"blocks": [form_arguments(form) for form in forms]},
        inputs=inputs,
    )  # fmt: skip


def _cancelling(builder: Builder) -> None:
    """Great blocks that cancel, with a small one between: the order of the sum shows."""
    form = block_form("mxfp8_e4m3", 4)
    codes = np.array([0x38] * 4 + [0x31, 0x2B, 0x1D, 0x38] + [0xB8] * 4, np.uint8)
    for index, middle in enumerate((100, 110, 127)):
        scales = np.array([140, middle, 140], np.uint8)
        ones = {"": np.full(12, 0x38, np.uint8), ":scales": np.full(3, 127, np.uint8)}
        _add(builder, f"mxfp8_e4m3/cancelling{index}", (form, form),
             [{"": codes, ":scales": scales}, ones], "blocks that cancel")  # fmt: skip


def _refused(builder: Builder) -> None:
    form, other = block_form("mxfp4", 4), block_form("mxfp4", 2)
    one = {"": np.full(8, 2, np.uint8), ":scales": np.full(2, 127, np.uint8)}
    half = {"": np.full(8, 2, np.uint8), ":scales": np.full(4, 127, np.uint8)}
    short = {"": np.full(4, 2, np.uint8), ":scales": np.full(1, 127, np.uint8)}
    for word, forms, tensors in (
        ("other-blocks", (form, other), (one, half)),
        ("other-length", (form, form), (one, short)),
    ):
        inputs = {f"operand_{i}{k}": v for i, t in enumerate(tensors) for k, v in t.items()}
        builder.add_result(
            f"block_dot/refused/{word}", "block_dot", "refused", clauses=("BLK-8",),
            flags=("RefusedBlock",), comment=word.replace("-", " "),
            arguments={"blocks": [form_arguments(f) for f in forms]}, inputs=inputs,
        )  # fmt: skip


def _layouts(builder: Builder) -> None:
    for rows, columns in (
        (128, 4),
        (1, 1),
        (32, 4),
        (33, 5),
        (128, 8),
        (129, 4),
        (100, 3),
        (256, 9),
    ):
        scales = integers(f"layout/{rows}/{columns}", (rows, columns), 1, 255).astype(np.uint8)
        builder.add(
            f"block_layout/{rows}x{columns}", "scale_layout", clauses="BLK-7", flags="ScaleLayout",
            comment=f"{rows} rows of {columns} scales", arguments={}, inputs={"scales": scales},
        )  # fmt: skip
    bad: tuple[tuple[str, Array], ...] = (
        ("vector", np.ones(128, np.uint8)),
        ("floats", np.ones((4, 4), F32)),
    )
    for word, given in bad:
        builder.add_result(
            f"block_layout/refused-{word}", "scale_layout", "refused", clauses=("BLK-7",),
            flags=("RefusedBlock",), comment=f"{word} are no matrix of codes", arguments={},
            inputs={"scales": given},
        )  # fmt: skip
