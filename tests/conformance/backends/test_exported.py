"""The backends that export: answers by hand, refusals by name, one bad branch among good ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from quant_conformance.backends._exported import ExportedBackend, Question
from quant_conformance.registry import BACKENDS
from quant_conformance.runner.loading import load_class
from quant_reference import PerBlock, PerChannel, QParams, QuantizationSpec

PACKAGES = {"coreai-torch": "coreai_torch", "coreml-mil": "coremltools"}


@pytest.fixture(scope="module", params=PACKAGES)
def backend(request: pytest.FixtureRequest) -> ExportedBackend:
    pytest.importorskip(PACKAGES[request.param])
    return load_class(BACKENDS[request.param])()


def qparams(scale: object, zero_point: object) -> QParams:
    return QParams(np.float32(scale), np.int32(zero_point), None)


def test_a_weight(backend: ExportedBackend) -> None:
    spec = QuantizationSpec(dtype="int4", qscheme="asymmetric", granularity=PerBlock(1, 2))
    codes = np.int8([[-8, 7, 0, 3]])
    values = backend.dequantize(codes, spec, qparams([[0.5, 2]], [[1, -2]]))
    np.testing.assert_array_equal(values, np.float32([[-4.5, 3, 4, 10]]))
    assert values.dtype == np.float32


def test_an_activation(backend: ExportedBackend) -> None:
    spec = QuantizationSpec(dtype="int8")
    x = np.float32([[0.25, 0.75, -1.25, 1e9, -1e9]])
    known = qparams([[0.5]], [[0]])
    codes = backend.quantize(x, spec, known)
    np.testing.assert_array_equal(codes, np.int8([[0, 2, -2, 127, -128]]))
    assert codes.dtype == np.int8
    np.testing.assert_array_equal(
        backend.fake_quantize(x, spec, known), np.float32([[0, 1, -1, 63.5, -64]])
    )


@pytest.mark.parametrize(
    ("method", "spec", "scale"),
    [
        ("quantize", QuantizationSpec(dtype="int4"), [[1]]),
        ("quantize", QuantizationSpec(granularity=PerBlock(1, 2)), [[1, 2]]),
        ("quantize", QuantizationSpec(qscheme="symmetric_with_clipping"), [[1]]),
        ("dequantize", QuantizationSpec(granularity=PerChannel(0)), [[np.inf]]),
    ],
)
def test_what_is_not_there_is_unsupported(backend: ExportedBackend, method, spec, scale) -> None:
    tensor = np.ones((1, 4), np.float32 if method == "quantize" else np.int8)
    known = qparams(scale, np.zeros_like(scale))
    with pytest.raises(NotImplementedError, match=r"."):
        getattr(backend, method)(tensor, spec, known)


class Fragile(ExportedBackend):
    """Fails for programs with a 13 in them, and counts its programs."""

    name = "fragile"
    programs = 0

    def refuse(self, question: Question) -> str | None:
        return None

    def run_program(self, questions: Sequence[Question], path: Path) -> list[np.ndarray]:
        self.programs += 1
        if any(13 in question.tensor for question in questions):
            raise RuntimeError("unlucky")
        return [question.tensor + 1 for question in questions]


def test_a_branch_that_fails_fails_alone() -> None:
    backend, spec = Fragile(), QuantizationSpec()
    questions = [np.float32([n]) for n in range(20)]
    for x in questions:
        question = Question("quantize", x, spec, qparams([1], [0]))
        backend._waiting[question.key] = question
    for number, x in enumerate(questions):
        if number == 13:
            with pytest.raises(RuntimeError, match="unlucky"):
                backend.quantize(x, spec, qparams([1], [0]))
        else:
            assert backend.quantize(x, spec, qparams([1], [0])) == number + 1
    assert backend.programs < 12
