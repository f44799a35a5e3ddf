"""Blocks (chapter 18) in the examples of SPEC.md, by the numpy form and by the oracle."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from quant_reference import block, oracle
from quant_reference.block.rules import get_rule
from quant_reference.oracle import block_scaling, number

F32 = np.float32


def _amax(amax: float | None) -> Any:
    return None if amax is None else np.asarray(F32(amax))


def _codes(codes: Any, form: block.BlockForm) -> Any:
    return np.array(codes, form.element.code_dtype)


def numpy_blocks() -> Mapping[str, Callable[..., Any]]:
    def scale(x: Any, name: str, size: int, amax: Any = None, rule: str | None = None,
              axis: int = -1, tail: Any = "refuse") -> Any:  # fmt: skip
        form = block.block_form(name, size, axis, tail)
        return block.block_scale(np.array(x, F32), form, _amax(amax), rule).tolist()

    def quantize(x: Any, scales: Any, name: str, size: int, amax: Any = None,
                 rule: str | None = None, tail: Any = "refuse") -> Any:  # fmt: skip
        form = block.block_form(name, size, -1, tail)
        given = np.array(scales, np.uint8)
        return block.block_quantize(np.array(x, F32), given, form, _amax(amax), rule).tolist()

    def dequantize(codes: Any, scales: Any, name: str, size: int, amax: Any = None,
                   rule: str | None = None) -> Any:  # fmt: skip
        form = block.block_form(name, size)
        given = np.array(scales, np.uint8)
        found = block.block_dequantize(_codes(codes, form), given, form, _amax(amax), rule)
        return found.astype(np.float64).tolist()

    def place(row: int, column: int, columns: int) -> Any:
        scales = np.zeros((row + 1, columns), np.uint8)
        scales[row, column] = 1
        return int(np.argmax(block.swizzle(scales)))

    def dot(a: Any, a_scales: Any, b: Any, b_scales: Any, name: str, size: int,
            rule: str | None = None) -> Any:  # fmt: skip
        form = block.block_form(name, size)
        tensors = [
            block.BlockTensor(_codes(codes, form), np.array(scales, np.uint8), form)
            for codes, scales in ((a, a_scales), (b, b_scales))
        ]
        return float(block.block_dot(*tensors, rule))

    return {
        "block_scale": scale,
        "block_quantize": quantize,
        "block_dequantize": dequantize,
        "place_of_scale": place,
        "block_dot": dot,
    }


def oracle_blocks() -> Mapping[str, Callable[..., Any]]:
    def exact(values: Any) -> Any:
        return [number(float(value)) for value in values]

    def rows_of(x: Any, axis: int) -> Any:
        """Vectors along the axis, of a matrix or of one vector."""
        if not isinstance(x[0], list):
            return [x]
        return x if axis == -1 else [list(row) for row in zip(*x, strict=True)]

    def scale(x: Any, name: str, size: int, amax: Any = None, rule: str | None = None,
              axis: int = -1, tail: Any = "refuse") -> Any:  # fmt: skip
        form = block.block_form(name, size, axis, tail)
        how = get_rule(rule, "scale", form.two_levels)
        found = []
        for row in rows_of(x, axis):
            parts = [exact(row[i : i + size]) for i in range(0, len(row), size)]
            found.append(
                [
                    block_scaling.mx_scale(part, form.element.name, how) if amax is None
                    else block_scaling.unsigned_scale(part, number(float(amax)), how)
                    for part in parts
                ]
            )  # fmt: skip
        if not isinstance(x[0], list):
            return found[0]
        return found if axis == -1 else [list(row) for row in zip(*found, strict=True)]

    def quantize(x: Any, scales: Any, name: str, size: int, amax: Any = None,
                 rule: str | None = None, tail: Any = "refuse") -> Any:  # fmt: skip
        form = block.block_form(name, size, -1, tail)
        how = get_rule(rule, "quantize", form.two_levels)
        outer = None if amax is None else number(float(amax))
        whole = [*x, *[0.0] * (-len(x) % size if tail == "pad" else 0)]
        return [
            block_scaling.element_code(
                value, oracle.decode(scales[i // size], form.scale), form.element.name, how, outer
            )
            for i, value in enumerate(exact(whole))
        ]

    def dequantize(codes: Any, scales: Any, name: str, size: int, amax: Any = None,
                   rule: str | None = None) -> Any:  # fmt: skip
        form = block.block_form(name, size)
        how = get_rule(rule, "dequantize", form.two_levels)
        outer = None if amax is None else number(float(amax))
        return [
            float(
                block_scaling.value(
                    code,
                    oracle.decode(scales[i // size], form.scale),
                    form.element.name,
                    how,
                    outer,
                )
            )
            for i, code in enumerate(codes)
        ]

    def place(row: int, column: int, columns: int) -> Any:
        scales = [[int((i, j) == (row, column)) for j in range(columns)] for i in range(row + 1)]
        return block_scaling.swizzled(scales).index(1)

    def dot(a: Any, a_scales: Any, b: Any, b_scales: Any, name: str, size: int,
            rule: str | None = None) -> Any:  # fmt: skip
        form = block.block_form(name, size)
        how = get_rule(rule, "dot", form.two_levels)
        vectors = [
            [
                (oracle.decode(code, form.element), oracle.decode(scales[i // size], form.scale))
                for i, code in enumerate(codes)
            ]
            for codes, scales in ((a, a_scales), (b, b_scales))
        ]
        return float(block_scaling.dot(*vectors, size, how))

    return {
        "block_scale": scale,
        "block_quantize": quantize,
        "block_dequantize": dequantize,
        "place_of_scale": place,
        "block_dot": dot,
    }
