"""docs/layers.md is what the code says, and its shapes are those of what is computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.reference.admissible_cases import CASES, Asked

from quant_conformance.layers import float_layer_of, layer_of
from quant_conformance.report.layer_page import WITHOUT_EFFECT, contract, page
from quant_conformance.report.layer_shapes import SHAPES, Shapes
from quant_reference.admissible import OPERATIONS, Bounds, Step, evaluate
from quant_reference.admissible.operations import CLAUSES
from quant_vectors import load

PAGE = Path(__file__).parents[3] / "docs" / "layers.md"
Shape = tuple[int, ...]


class MisfitError(Exception):
    """Shapes that are not those of the table."""


class Extents:
    """What the names in the shapes of one row are."""

    def __init__(self, attributes: Mapping[str, Any]) -> None:
        self.attributes = attributes
        self.known: dict[str, Any] = {}
        self.leading: list[Shape] = []

    def run(self, name: str) -> Shape | None:
        """The extents of a run of axes, if they are known."""
        given = self.known.get(name, self.attributes.get(name))
        return None if given is None else (given,) if isinstance(given, int) else tuple(given)

    def read(self, text: str, shape: Shape) -> None:
        """Takes the names of a shape from an actual one."""
        tokens = text.strip("()").split(", ")
        runs = {t: self.run(t[:-1]) for t in tokens if t.endswith("…")}
        fixed = len(tokens) - len(runs) + sum(len(r) for r in runs.values() if r is not None)
        rest, unknown = list(shape), [t for t in runs if runs[t] is None]
        if len(unknown) > 1 or len(shape) < fixed or (not unknown and len(shape) != fixed):
            raise MisfitError(text, shape)
        for token in tokens:
            count = 1
            if token in runs:
                of = runs[token]
                count = len(shape) - fixed if of is None else len(of)
            part, rest = tuple(rest[:count]), rest[count:]
            if token == "…":
                self.leading.append(part)
            elif token in runs:
                self.bind(token[:-1], part)
            else:
                name, _, divisor = token.partition("/")
                self.bind(name, part[0] * (self.attributes.get(divisor, 1) if divisor else 1))

    def bind(self, name: str, value: Any) -> None:
        if name.isdecimal():
            self.known[name] = int(name)
        if isinstance(value, tuple) and name in self.attributes:
            self.known[name] = self.run(name)
        if self.known.setdefault(name, value) != value:
            raise MisfitError(name, self.known[name], value)

    def fits(self, text: str, shape: Shape) -> None:
        """Holds a result to its shape; what has a prime may be anything."""
        wanted: list[int | None] = []
        for token in text.strip("()").split(", "):
            if token == "…":
                wanted += np.broadcast_shapes(*self.leading)
            elif token.endswith("'…"):
                wanted += [None] * len(self.known[token[:-2]])
            elif token.endswith("…"):
                wanted += self.run(token[:-1]) or ()
            else:
                wanted.append(self.known[token])
        if len(wanted) != len(shape) or any(
            w not in (None, n) for w, n in zip(wanted, shape, strict=True)
        ):
            raise MisfitError(text, shape, wanted)


def check(
    row: Shapes, operands: Sequence[Shape | None], attributes: Mapping[str, Any], result: Shape
) -> None:
    """Raises MisfitError where shapes are not those of a row; None is an operand that is absent."""
    texts = row.operands
    if len(operands) > len(texts):
        texts = (*texts, *(texts[-1],) * (len(operands) - len(texts)))
    extents = Extents(attributes)
    repeated = len(operands) > len(row.operands) or row.operands[-1] == "(i…)"
    for text, shape in zip(texts, operands, strict=False):
        if shape is not None and not (repeated and row.result[0] != "("):
            extents.read(text, shape)
    if row.result.startswith("("):
        extents.fits(row.result, result)


def of_step(step: Step, known: Mapping[str, Bounds]) -> None:
    shapes = [
        known[name].value.shape if isinstance(name, str) else None if name is None else ()
        for name in step.inputs
    ]
    check(SHAPES[step.op], shapes, step.attributes, known[step.output].value.shape)


def test_every_operation_has_a_row() -> None:
    assert SHAPES.keys() == OPERATIONS.keys() == CLAUSES.keys()


def test_the_page_is_what_is_computed() -> None:
    rows = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if line[:2] == "| "]
    assert rows == [line for line in page().splitlines() if line[:2] == "| "], "make layers"


def test_the_text_of_the_page_is_what_is_computed() -> None:
    assert PAGE.read_text(encoding="utf-8").partition("\n## ")[0] == page().partition("\n## ")[0]


@pytest.mark.parametrize("asked", CASES, ids=lambda asked: asked.name)
def test_shapes_and_attributes_are_those_of_what_is_computed(asked: Asked) -> None:
    of_step(asked.step, evaluate([asked.step], asked.operands))
    known = {*contract(asked.op).attributes, *WITHOUT_EFFECT}
    assert asked.op == "dropout" or set(asked.attributes) <= known


def test_frozen_layers_fit() -> None:
    vectors, steps = load(), 0
    for case in vectors:
        if case.operation in ("layer", "float_layer"):
            asked = (layer_of if case.operation == "layer" else float_layer_of)(
                case, vectors.inputs(case)
            )
            known = evaluate(asked.steps, asked.values(), asked.arithmetic)
            for step in asked.steps:
                of_step(step, known)
                steps += 1
    assert steps > 50


@pytest.mark.parametrize(
    ("op", "operands", "attributes", "result"),
    [
        ("linear", [(5, 4), (3, 4)], {}, (5, 4)),
        ("linear", [(5, 4), (4, 3)], {}, (5, 3)),
        ("conv2d", [(1, 4, 5, 5), (6, 4, 3, 3)], {"groups": 2}, (1, 6, 3, 3)),
        ("conv_transpose1d", [(1, 4, 5), (4, 3, 2)], {"groups": 2}, (1, 3, 6)),
        ("add", [(2, 3), (3,)], {}, (3,)),
        ("layer_norm", [(2, 3), (2,)], {"normalized_shape": [3]}, (2, 3)),
        ("scaled_dot_product_attention", [(5, 4), (7, 4), (6, 3)], {}, (5, 3)),
        ("gather", [(2, 3), (1, 3)], {"dim": 0}, (2, 3)),
        ("embedding", [(2,), (5, 4)], {}, (2, 5)),
        ("grid_sample", [(1, 2, 5, 5), (1, 3, 4, 3)], {}, (1, 2, 3, 4)),
    ],
)
def test_another_shape_does_not_fit(
    op: str, operands: list[Shape], attributes: dict[str, Any], result: Shape
) -> None:
    with pytest.raises(MisfitError):
        check(SHAPES[op], operands, attributes, result)
