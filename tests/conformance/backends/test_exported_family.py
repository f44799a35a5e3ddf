"""export_weights: the question, answers by hand, and who refuses which spec for which reason."""

from __future__ import annotations

import functools
import pickle
from typing import Any

import numpy as np
import pytest

from quant_conformance.backends._exported_weights import WeightQuestion, _answer, exported
from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.mutants import Mutated
from quant_conformance.operations import OPERATIONS, MalformedAnswer
from quant_conformance.runner.in_process import InProcess
from quant_conformance.runner.questions import Limits
from quant_conformance.runtimes import StoredTensor
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.verdict import Verdict
from quant_reference import (
    GranularityError,
    PerBlock,
    PerChannel,
    PerTensor,
    QParams,
    QuantizationSpec,
)
from quant_vectors import Case, VectorSet, load

PACKAGES = {"coreai-torch": "coreai_torch", "coreml-mil": "coremltools"}
OPERATION = OPERATIONS["export_weights"]


@functools.cache
def vectors() -> VectorSet:
    return load()


def cases() -> list[Case]:
    return [case for case in vectors() if case.operation == "export_weights"]


@pytest.mark.parametrize("backend", [NumpyReference(), Mutated()], ids=lambda b: b.name)
def test_a_weight_by_hand(backend: Any) -> None:
    # The columns' greatest values are 127.5 and 255: scales 1 and 2, and -127.5 a tie.
    x = np.float32([[[-127.5, 3]], [[2.5, 255]]]).reshape(1, 2, 2)
    spec = QuantizationSpec(granularity=PerChannel(None))
    codes, qparams = backend.export_weights(x.transpose(1, 0, 2), spec, "Conv1d")
    np.testing.assert_array_equal(codes, np.int8([[[-128, 3]], [[1, 127]]]))
    np.testing.assert_array_equal(qparams.scale, np.float32([[[1]], [[2]]]))
    np.testing.assert_array_equal(qparams.zero_point, np.int32([[[0]], [[0]]]))
    assert qparams.minval is None
    transposed, _ = backend.export_weights(x, spec, "ConvTranspose1d")
    np.testing.assert_array_equal(transposed, codes.transpose(1, 0, 2))


def test_every_legal_kind_of_spec_is_asked() -> None:
    integers = [f"{sign}int{bits}" for sign in ("", "u") for bits in (2, 4, 8)]
    schemes = ("symmetric", "symmetric_with_clipping", "asymmetric")
    wanted = {(d, s, f, None) for d in integers for s in schemes for f in ("zp", "minval")}
    e8m0 = "float8_e8m0fnu"
    wanted |= {(d, "symmetric", "zp", e) for d in FP8 for e in (None, e8m0)}
    wanted |= {("float4_e2m1fn", "symmetric", "zp", e8m0)}
    specs = [case.spec for case in cases()]
    fields = ("dtype", "qscheme", "qformulation", "scale_dtype")
    assert {tuple(spec[f] for f in fields) for spec in specs} == wanted
    # Every dtype meets every granularity.
    for dtype in integers:
        kinds = {spec["granularity"]["type"] for spec in specs if spec["dtype"] == dtype}
        assert kinds == {"per_tensor", "per_channel", "per_block"}


FP8 = ("float8_e4m3fn", "float8_e5m2")


def refused(name: str, case: Case) -> str | None:
    """What the refusal must allow instead, from what the two systems can express."""
    spec = case.spec or {}
    if name == "coreai-torch":
        x = vectors().inputs(case)["x"]
        packs = spec["dtype"] != "float4_e2m1fn" or x.shape[-1] % 32 == 0
        return None if packs else "per block on the last axis"
    if spec["qformulation"] == "minval":
        return "qformulation zp"
    if vectors().inputs(case)["x"].dtype not in (np.float32, np.float16):
        return "float32 or float16 weights"
    known = spec["dtype"] in ("int4", "uint4", "int8", "uint8")
    return None if known else "int4, uint4, int8 or uint8 weights"


@pytest.mark.parametrize("name", PACKAGES)
def test_files_hold_the_answers_or_the_spec_is_refused_with_a_reason(name: str) -> None:
    pytest.importorskip(PACKAGES[name])
    asked = [(case, vectors().inputs(case)) for case in cases()]
    verdicts = set()
    # As the runner has it from a child process: pickled.
    for index, outcome in InProcess(name, asked, Limits(120, 120)).run(range(len(asked))):
        case = asked[index][0]
        outcome = pickle.loads(pickle.dumps(outcome))
        result = judge(vectors(), case, outcome)
        allowed = refused(name, case)
        verdicts.add(result.verdict)
        if allowed is None:
            assert result.verdict is Verdict.EXACT, (case.id, result.detail)
        else:
            assert result.verdict is Verdict.UNSUPPORTED, case.id
            assert f"given {case.spec['dtype']}" in result.detail
            assert allowed in result.detail, case.id
    assert verdicts == {Verdict.EXACT, Verdict.UNSUPPORTED}


@pytest.mark.parametrize(
    "answer",
    [
        None,
        np.zeros(2),
        (np.zeros(2, np.int8), np.ones(2, np.float32)),
        ([1, 2], QParams(np.ones(1, np.float32))),
        (np.zeros(2, np.int8), QParams(np.ones(1, np.float32)), None),
    ],
)
def test_what_is_no_answer(answer: Any) -> None:
    with pytest.raises(MalformedAnswer):
        OPERATION.outputs(answer)


def test_an_unknown_module_is_refused() -> None:
    spec = QuantizationSpec(granularity=PerBlock(None, 2))
    with pytest.raises(GranularityError, match="GRAN-7"):
        NumpyReference().export_weights(np.ones((2, 2), np.float32), spec, "LayerNorm")


CLIPPED = QuantizationSpec("int4", "symmetric_with_clipping", "minval")
MINVAL = QuantizationSpec("int4", "asymmetric", "minval")
LEAST = np.full((1, 1), -8, np.int8)
SCALE = np.ones((1, 1), np.float32)


def test_a_file_counts_levels_from_the_least_code_of_the_format() -> None:
    minval = np.full((1, 1), -7, np.float32)
    codes, qparams = _answer(StoredTensor("int4", LEAST, SCALE, None, minval), CLIPPED)
    assert codes.tolist() == [[-7]]  # the least in use
    assert qparams.minval == -7
    assert qparams.zero_point is None


def test_a_file_that_adds_nothing_has_a_minval_of_zero() -> None:
    codes, qparams = _answer(StoredTensor("int4", LEAST + np.int8(3), SCALE, LEAST), MINVAL)
    assert codes.tolist() == [[-5]]
    assert qparams.minval == 0
    _, qparams = _answer(StoredTensor("int4", LEAST, SCALE, LEAST + np.int8(1)), MINVAL)
    assert qparams.minval is None  # which is then a wrong answer
    assert qparams.zero_point == -7


def test_a_file_without_the_weight_is_noticed(tmp_path: Any) -> None:
    pytest.importorskip("quant_torch.quantization")
    spec = QuantizationSpec(granularity=PerTensor())
    question = WeightQuestion(np.ones((2, 2), np.float32), spec, "Linear")
    with pytest.raises(RuntimeError, match="holds 0 quantized weights, not 1"):
        exported([question], lambda *_: [], tmp_path / "m")
