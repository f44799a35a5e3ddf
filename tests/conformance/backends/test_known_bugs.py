"""Known failures are what their sections say: bit for bit the bug, and nothing besides.

An expectation names cases by a pattern, behind which another bug could hide. So every answer that
one of them excuses is laid beside those of mutants that have the bug of its section.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np
import pytest
from tests.conformance.bugs_for_tests import FORMULAS

from quant_conformance.mutants import MUTANTS
from quant_conformance.mutants.diagnosis import matched
from quant_conformance.mutants.diagnosis.hypothesis import Mask
from quant_conformance.mutants.exchanged import Mutated, patched
from quant_conformance.protocol import missing_packages
from quant_conformance.runner.in_process import InProcess
from quant_conformance.runner.loading import load_class
from quant_conformance.runner.questions import Limits
from quant_conformance.verdicts.answers import Answer, answers_of
from quant_conformance.verdicts.expectations import builtin_expectations
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.verdict import FAILURES, Verdict
from quant_vectors import VectorSet, load

pytestmark = pytest.mark.peers

_INFINITE_RANGE = ("zero-point-of-infinite-scale", "zero-point-of-nan-int-min")

BUGS: dict[str, tuple[str, ...]] = {
    "ml-dtypes-nan-in-e2m1": ("float4-nan-as-other-zero",),
    "torch-reciprocal": (
        "multiply-by-reciprocal",
        "zero-point-by-reciprocal-before-rounding",
        "zero-point-fused-nan-as-greatest",
        "reciprocal-nan-as-least",
        "mask-by-reciprocal",
    ),
    "torch-zero-point-before-rounding": ("zero-point-fused",),
    "torch-nan-in-fake-quantize": ("fake-nan-clamped",),
    "torch-gradient-of-an-infinity": ("gradient-by-mask",),
    "torch-moving-average": ("average-incremental",),
    "torch-dynamic-observer-remembers": ("dynamic-incremental",),
    "torch-zero-point-of-a-range-without-end": (
        "zero-point-of-infinite-scale",
        "zero-point-of-nan-greatest",
    ),
    "torchao-reciprocal": ("multiply-by-reciprocal", "reciprocal-nan-as-least"),
    "torchao-scaled-gradient": ("gradient-there-and-back",),
    "torchao-least-e8m0-scale": ("least-e8m0-divided-as-normal",),
    "torchao-infinity-in-an-mx-block": ("e8m0-infinity-at-face-value",),
    "torchao-moving-average": ("average-incremental",),
    "torchao-zero-point-of-a-range-without-end": _INFINITE_RANGE,
    "onnxruntime-nonsaturating-float8-overflow": ("overflow-from-max-on", "finite-overflow-as-nan"),
    "onnx-reference-cast-before-clamp": ("int32-cast-before-zero-point", "int32-cast-before-clamp"),
    "onnx-reference-least-e8m0-value": ("e8m0-subnormal-encoded-as-1",),
    "onnx-reference-nan-in-e2m1": ("float4-nan-as-other-zero",),
    "gfloat-scale-by-log2": ("e8m0-float32-logarithm",),
    "coreai-opt-gradient-of-an-infinity": ("gradient-by-mask",),
    "coreai-opt-zero-point-of-a-range-without-end": _INFINITE_RANGE,
    "coreai-opt-unknown-keys": ("unknown-key-accepted",),
    "coreai-opt-lax-granularity": ("everything-accepted",),
    "coreai-opt-float_range-beyond-float32": ("everything-accepted",),
    "coreai-runtime-distributed-zero-point": ("blockwise-offset-in-front",),
    "coreai-runtime-negative-axis": ("scales-of-first-block", "statistics-in-dtype"),
    "coreai-runtime-negative-zero": ("negative-zero-lost", "decode-negative-zero-lost"),
    "coreai-runtime-cast-overflow": ("overflow-from-max-on",),
    "coreai-runtime-nan": ("fake-nan-as-code-0",),
    "coreai-runtime-no-clipping": ("clipping-not-clamped",),
    "coreai-runtime-subnormal-constants": ("float16-subnormal-minval-misread",),
    "coreai-runtime-reciprocal": ("statistics-in-dtype",),
    "coreai-runtime-least-scale": ("statistics-in-dtype",),
    "coreai-runtime-statistics-overflow": ("statistics-in-dtype",),
    "coreai-runtime-statistics-of-a-vector": ("vector-reduced-to-first",),
    "coreai-runtime-nonfinite-zero-point": ("zero-point-of-infinite-scale",),
    "coreai-torch-negative-zero": ("negative-zero-lost", "zero-added-to-product"),
    "coreai-torch-e8m0-scales": ("e8m0-scale-through-float16",),
    "coreai-torch-nan": ("fake-nan-as-code-0",),
    "coreai-torch-distributed-zero-point": (
        "blockwise-offset-in-front",
        "blockwise-offset-from-least",
    ),
    "coreml-mil-nan": ("fake-nan-as-zero",),
}
"""Section of docs/findings.md -> mutants each of which has its bug, or a part of it."""

PREDICATES: dict[str, Callable[[Answer], Mask]] = {
    # Which number depends on the payload of the NaN.
    "torchao-nan-in-e2m1": lambda answer: np.isnan(answer.inputs["x"]).reshape(-1),
    # What a cast of an infinity gives depends on the processor.
    "coreml-mil-codes-from-values": lambda answer: np.isinf(answer.expected["values"]).reshape(-1),
    # The least scale of e8m0, which the file has as NaN.
    "coreai-opt-exported-e8m0-scales": lambda answer: np.concatenate(
        [np.ravel(a == 2.0**-126) & (name == "scale") for name, a in answer.expected.items()]
    ),
    # Rounded to as many digits as the format has, without an end below.
    "gfloat-unsigned-formats": lambda answer: (answer.inputs["x"] < 0).reshape(-1),
}
"""Where no formula gives the wrong elements: which elements may be wrong."""

CRASHES = {
    "torch-observer-of-vectors": "IndexError: Dimension out of range",
    "torch-fake-quantize-without-channels": "Expected reduction dim to be specified",
    "torchao-blocks-of-one-element": "is invalid for input of size",
    "torchao-without-zero-points": "for \\+: 'Tensor' and 'NoneType'",
    "torchao-nan-in-an-observer": "should be less than max",
    "coreai-opt-finalized-4-bit-activations": "\"copy_\" not implemented for 'U?Int[24]'",
    "coreai-runtime-negative-axis": "number of elements must be preserved in reshape",
    "coreai-runtime-empty-sub-byte": "underlying buffer is not C-contiguous",
    "coreai-runtime-no-channels": "'coreai.reshape' op 0 is an invalid dimension size",
    "coreai-runtime-blocks-of-nothing": "died of SIG(FPE|ILL)|must be a constant zero value",
}
"""Section -> a pattern of what the error says where a known failure is a crash."""

FILES = {
    "coreai-opt-finalized-clipping",
    "coreai-opt-float16-sums",
    "coreai-torch-float16-sums",
    "coreml-mil-scales-of-joined-quantizers",
}
"""Sections about whole exported models, whose tensors the gate judges one by one."""

BACKENDS = ("coreai-opt", "coreai-runtime", "coreai-torch", "coreml-mil", "gfloat", "ml-dtypes")
BACKENDS += ("onnx-reference", "onnxruntime-nonsaturating", "torch", "torchao")

BY_ID = {mutant.id: mutant for mutant in MUTANTS}


@pytest.fixture(scope="module")
def vectors() -> VectorSet:
    return load()


def hypotheses(sections: set[str]) -> Iterator[Mutated]:
    """Backends with one bug of the sections, and with two that meet in one answer."""
    mutants = [BY_ID[name] for name in sorted({n for s in sections for n in BUGS.get(s, ())})]
    for mutant in mutants:
        yield mutant.backend()
    for section in sorted(sections):
        yield from FORMULAS.get(section, ())
    for one, other in combinations(mutants, 2):
        if not one.steps.keys() & other.steps.keys():
            yield patched(**one.steps, **other.steps)


def unexplained(answer: Answer, sections: set[str]) -> int:
    """Counts the wrong elements that no bug of the sections gives."""
    left = answer.wrong.copy()
    for section in sections & PREDICATES.keys():
        left &= ~PREDICATES[section](answer)
    for backend in hypotheses(sections) if left.any() else ():
        left &= ~matched(answer, backend)
    return int(np.count_nonzero(left))


@pytest.mark.parametrize("name", BACKENDS)
def test_a_known_failure_is_the_bug_that_it_links_to(name: str, vectors: VectorSet) -> None:
    if missing_packages(load_class(name)):
        pytest.skip("not installed")
    entries = builtin_expectations(name).entries
    asked = [case for case in vectors.cases if case.operation != "model"]
    cases = [case for case in asked if any(entry.covers(case) for entry in entries)]
    executor = InProcess(name, [(case, vectors.inputs(case)) for case in cases], Limits())
    other, checked = [], 0
    for index, outcome in executor.run(range(len(cases))):
        case, inputs = cases[index], vectors.inputs(cases[index])
        result = judge(vectors, case, outcome)
        if result.verdict not in FAILURES:
            continue
        sections = {
            str(entry.link).partition("#")[2]
            for entry in entries
            if entry.covers(case) and entry.verdict == result.verdict
        }
        checked += 1
        if result.verdict is not Verdict.WRONG:
            if not any(re.search(CRASHES[section], result.detail) for section in sections):
                other.append(f"{case.id}: {result.detail}")
            continue
        (answer,) = answers_of(vectors, case, inputs, outcome)
        count = unexplained(answer, sections)
        if count:
            other.append(f"{case.id}: {count} of {np.count_nonzero(answer.wrong)}: {sections}")
    assert other == [], other
    assert checked > 0


def test_every_section_has_its_bug() -> None:
    linked = {
        str(entry.link).partition("#")[2]
        for name in BACKENDS
        for entry in builtin_expectations(name).entries
    }
    assert linked == BUGS.keys() | FORMULAS.keys() | PREDICATES.keys() | CRASHES.keys() | FILES
