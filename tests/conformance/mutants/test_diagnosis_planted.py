"""Bugs that are in no table: the property of the wrong elements is named, or nothing is.

And the four bugs of public reports that are in the table, written here once more from their
reports, so that a mutant cannot agree with itself alone.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.mutants.diagnosis import diagnose, sentence
from quant_conformance.mutants.diagnosis.characterize import Trait, characterize
from quant_conformance.report.documents import markdown_text
from quant_conformance.report.evidence import evidence_of
from quant_conformance.report.explain import explain
from quant_conformance.report.results import read_results, results_text
from quant_conformance.report.scoreboard import print_run
from quant_conformance.runner.invoke import invoke
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.answers import Answer, answers_of
from quant_conformance.verdicts.judge import judge
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.verdicts.verdict import Verdict
from quant_reference import PerBlock, QParams
from quant_vectors import Case, VectorSet, load

Array = np.ndarray[Any, Any]
Inputs = Mapping[str, Array]
Where = Callable[[Case, Inputs, Array], Any]
"""Marks the elements of an output at which a planted bug bites."""


@functools.cache
def frozen() -> VectorSet:
    return load()


@functools.cache
def asked(family: str, stride: int) -> tuple[Case, ...]:
    cases = (c for c in frozen().cases if c.family == family and c.result is None)
    return tuple(c for c in cases if c.rule in ("exact", "admissible"))[::stride]


def spoiled(family: str, where: Where, stride: int = 1) -> list[Answer]:
    """Right answers of which some elements have another lowest bit."""
    found: list[Answer] = []
    for case in asked(family, stride):
        inputs, right = frozen().inputs(case), frozen().expected(case)
        outputs = right if case.rule == "exact" else {"codes": right["low"]}
        given = {name: np.array(array) for name, array in outputs.items()}
        with np.errstate(all="ignore"):
            for array in given.values():
                mask = np.broadcast_to(where(case, inputs, array), array.shape)
                bits = array.view(f"u{array.itemsize}")
                bits[mask] ^= 1
        with np.errstate(all="ignore"):
            found += answers_of(frozen(), case, inputs, Outcome("answer", given))
    return found


def spread(parameter: Array, shape: tuple[int, ...]) -> Array:
    for axis, size in enumerate(shape):
        parameter = np.repeat(parameter, size // parameter.shape[axis] if size else 0, axis)
    return parameter


def quotient(inputs: Inputs) -> Array:
    return np.asarray(inputs["x"].astype(np.float32) / spread(inputs["scale"], inputs["x"].shape))


def with_zero_point(case: Case, inputs: Inputs) -> bool:
    return "zero_point" in inputs and str(case.spec["dtype"]).startswith(("int", "uint"))  # type: ignore[index]


def tie(case: Case, inputs: Inputs, out: Array) -> Any:
    q = np.abs(quotient(inputs))
    return with_zero_point(case, inputs) & (q - np.floor(q) == 0.5)


def saturates(case: Case, inputs: Inputs, out: Array) -> Any:
    if not with_zero_point(case, inputs):
        return False
    code = np.rint(quotient(inputs)) + spread(inputs["zero_point"], out.shape)
    dtype = str(case.spec["dtype"])  # type: ignore[index]
    bits = int(dtype[-1])
    return code > (2**bits - 1 if dtype[0] == "u" else 2 ** (bits - 1) - 1)


def subnormal(case: Case, inputs: Inputs, out: Array) -> Any:
    x = inputs["x"]
    least = 2.0**-14 if x.dtype == np.float16 else 2.0**-126
    return (x != 0) & (np.abs(x.astype(np.float64)) < least)


def channel_1(case: Case, inputs: Inputs, out: Array) -> Any:
    counts, marked = inputs["scale"].shape, np.zeros(out.shape, np.bool_)
    axes = [axis for axis, count in enumerate(counts) if count > 1]
    if len(axes) == 1 and counts[axes[0]] == out.shape[axes[0]]:
        np.moveaxis(marked, axes[0], 0)[1] = True
    return marked


def row_tail(case: Case, inputs: Inputs, out: Array) -> Any:
    row = out.shape[-1] if out.ndim else 0
    return out.ndim > 0 and np.arange(row) >= row - row % 4


def second_of_batch(case: Case, inputs: Inputs, out: Array) -> Any:
    return case.target == "activation" and out.ndim > 0 and np.indices(out.shape)[0] > 0


def random(rate: float, seed: int) -> Where:
    draw = np.random.default_rng(seed)
    return lambda case, inputs, out: draw.random(out.shape) < rate


def random_cases(rate: float, seed: int) -> Where:
    draw = np.random.default_rng(seed)
    return lambda case, inputs, out: (draw.random() < rate) & (draw.random(out.shape) < 0.7)


def traits(answers: list[Answer]) -> list[Trait]:
    with np.errstate(all="ignore"):
        return characterize(answers, [answer.wrong for answer in answers])


PLANTED: list[tuple[str, int, Where, str]] = [
    ("quantize", 4, lambda c, i, o: i["x"].astype(np.float32) < 0, "x is negative"),
    ("quantize", 4, tie, "the quotient is a tie"),
    ("quantize", 4, saturates, "the code saturates above"),
    ("fake_quantize", 3, lambda c, i, o: np.abs(quotient(i)) >= 16, "|x/scale| is at least 16"),
    ("encode", 1, subnormal, "x is subnormal"),
    ("dequantize", 1, lambda c, i, o: i["codes"] & 1 == 1, "the code is odd"),
    (
        "decode",
        1,
        lambda c, i, o: (np.arange(o.size) % 4 == 3).reshape(o.shape),
        "the position in the flat tensor is 3 modulo 4",
    ),
    ("quantize", 2, row_tail, "it is in the tail of a row, behind whole groups of 4"),
    ("dequantize", 1, channel_1, "the channel is 1"),
    (
        "quantize",
        4,
        lambda c, i, o: dict(c.spec or {}).get("granularity", {}).get("type") == "per_block",
        "the granularity is per_block",
    ),
    ("fake_quantize", 3, second_of_batch, "the index along axis 0 is not 0"),
    (
        "quantize",
        4,
        lambda c, i, o: tie(c, i, o) & (i["x"].astype(np.float32) < 0),
        "the quotient is a tie and x is negative",
    ),
    (
        "observe",
        2,
        lambda c, i, o: c.arguments["kind"] == "moving_average" and "batch_1" in i,
        "the kind is moving_average and there is more than one batch",
    ),
    ("qparams", 3, lambda c, i, o: i["x"].dtype == np.float16, "x is float16"),
]


@pytest.mark.parametrize(
    ("family", "stride", "where", "text"), PLANTED, ids=[p[3] for p in PLANTED]
)
def test_the_property_of_a_planted_bug_is_named(
    family: str, stride: int, where: Where, text: str
) -> None:
    answers = spoiled(family, where, stride)
    (trait,) = traits(answers)
    assert text in trait.text
    wrong = sum(int(answer.wrong.sum()) for answer in answers)
    assert sum(int(held.sum()) for held in trait.holds) == wrong
    # And it tells wrong from right: a bug that no bit shows in places is all that may be there.
    assert trait.right <= 0.5 * wrong
    assert trait.of_right == sum(int((~answer.wrong).sum()) for answer in answers)


def test_a_bug_that_shows_in_half_of_its_elements_is_named_with_its_strength() -> None:
    shown = random(0.5, 1)
    answers = spoiled("dequantize", lambda c, i, o: channel_1(c, i, o) & shown(c, i, o))
    (trait,) = traits(answers)
    wrong = sum(int(held.sum()) for held in trait.holds)
    assert trait.text == "the channel is 1"
    assert 0.3 < wrong / (wrong + trait.right) < 0.7


@pytest.mark.parametrize("family", ["quantize", "dequantize", "observe", "pack", "layer"])
@pytest.mark.parametrize(
    "make", [lambda s: random(0.004, s), lambda s: random(0.05, s), lambda s: random(0.4, s)]
)
def test_random_corruption_has_no_property(family: str, make: Callable[[int], Where]) -> None:
    for seed in (1, 2):
        assert traits(spoiled(family, make(seed), 3 if family == "quantize" else 1)) == []


@pytest.mark.parametrize("family", ["dequantize", "gradient", "qparams"])
def test_corruption_of_random_cases_has_no_property(family: str) -> None:
    for seed in (1, 2, 3):
        assert traits(spoiled(family, random_cases(0.06, seed), 2)) == []


def test_a_few_wrong_elements_are_no_pattern() -> None:
    answers = spoiled("dequantize", lambda c, i, o: False)[:40]
    for answer in answers[:3]:  # the first element of three
        answer.wrong[0] = True
    assert traits(answers) == []


def test_two_bugs_at_once_are_both_named() -> None:
    def both(case: Case, inputs: Inputs, out: Array) -> Any:
        return channel_1(case, inputs, out) | (inputs["codes"] & 1 == 1)

    texts = [trait.text for trait in traits(spoiled("dequantize", both))]
    assert any("the code is odd" in text for text in texts)
    assert any("the channel is 1" in text for text in texts)


class Odd(NumpyReference):
    """Gives odd codes of a channel another bit."""

    name = "odd-code"

    def dequantize(self, codes: Any, spec: Any, qparams: Any) -> Any:
        values = super().dequantize(codes, spec, qparams)
        bits = values.view(np.uint32)
        bits[codes & 1 == 1] ^= 1
        return values


@functools.cache
def run_of_odd() -> Run:
    results, answers = [], []
    for case in asked("dequantize", 2):
        inputs = frozen().inputs(case)
        outcome = invoke(Odd(), case, inputs, "full")
        results.append(judge(frozen(), case, outcome))
        answers += answers_of(frozen(), case, inputs, outcome)
    vectors = {"version": "v1", "digest": "0" * 64}
    return Run("odd-code", "a.py:Odd", {}, vectors, tuple(results), answers=tuple(answers))


SAID = " mismatches all lie where the code is odd, as are "


def test_a_property_reaches_every_report(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from rich.console import Console

    from quant_conformance.report.html import Facts, html_text

    run = run_of_odd()
    (only,) = evidence_of(run).diagnosis
    assert (only.hypothesis, only.property) == ("", "the code is odd")
    assert only.matched == only.total > 100
    assert 0 < only.contradicted < 0.05 * only.matched < only.of_right
    assert SAID in sentence(only)
    print_run(run, Console(width=400))
    assert SAID in capsys.readouterr().out
    assert SAID in markdown_text([run])
    assert SAID in html_text([run], Facts("", "", None, "", {}))
    path = tmp_path / "results.json"
    path.write_text(results_text([run]), encoding="utf-8")
    read_results(path)  # holds it to the schema
    assert json.loads(path.read_text())["diagnosis"][0]["property"] == "the code is odd"


def test_explain_names_the_property_of_one_case() -> None:
    case = frozen().case("dequantize/every-code/int8-sym-zp-0")
    outcome = invoke(Odd(), case, frozen().inputs(case), "full")
    result = judge(frozen(), case, outcome)
    assert result.verdict is Verdict.WRONG
    assert "are exactly the elements where the code is odd; no known bug" in explain(
        frozen(), case, outcome, result
    )


def element_by_element(spec: Any, qparams: QParams, shape: Any, taken: Array) -> Any:
    """A spec with a block per element, and the qparams of the elements ``taken``."""
    fields = [
        None if p is None else spread(np.asarray(p), shape).reshape(-1)[taken].reshape(shape)
        for p in (qparams.scale, qparams.zero_point, qparams.minval)
    ]
    granularity = PerBlock(None, (1,) * len(shape))
    return replace(spec, granularity=granularity), QParams(*fields)


class SharedByte(NumpyReference):
    """Reads a scale per byte of packed codes."""

    def dequantize(self, codes: Any, spec: Any, qparams: Any) -> Any:
        per_byte = 8 // spec.format.bits
        if codes.size == 0 or codes.ndim == 0 or np.asarray(qparams.scale).ndim != codes.ndim:
            return super().dequantize(codes, spec, qparams)
        taken = np.repeat(np.arange(0, codes.size, per_byte), per_byte)[: codes.size]
        return super().dequantize(codes, *element_by_element(spec, qparams, codes.shape, taken))


class FlatChannel(NumpyReference):
    """Counts the channels along the memory of a tensor whose last axis they are thought to be."""

    def quantize(self, x: Any, spec: Any, qparams: Any) -> Any:
        scale = np.asarray(qparams.scale)
        if x.size == 0 or x.ndim == 0 or scale.ndim != x.ndim:
            return super().quantize(x, spec, qparams)
        first = [
            np.flatnonzero(spread(np.arange(scale.size).reshape(scale.shape), x.shape) == n)[0]
            for n in range(scale.size)
        ]
        taken = np.array([first[i % scale.size] for i in range(x.size)])
        return super().quantize(x, *element_by_element(spec, qparams, x.shape, taken))


class Magnitude(NumpyReference):
    """Converts a negative number to unsigned as its magnitude; has zero points only."""

    def quantize(self, x: Any, spec: Any, qparams: Any) -> Any:
        if spec.qformulation == "minval":
            raise NotImplementedError("zero points only")
        right = super().quantize(x, spec, qparams)
        if spec.format.kind != "uint":
            return right
        with np.errstate(all="ignore"):
            inputs = {"x": x, "scale": np.asarray(qparams.scale)}
            code = np.rint(quotient(inputs)) + spread(np.asarray(qparams.zero_point), x.shape)
            magnitude = np.minimum(np.abs(code), spec.quant_max)
        return np.where(code < 0, magnitude, right).astype(right.dtype)


class AveragedZero(NumpyReference):
    """Starts the running range at zero."""

    def observe(
        self, batches: Any, spec: Any, target: Any, kind: Any, averaging_constant: float = 0.01
    ) -> Any:
        if kind == "moving_average" and batches and None in spec.float_range:
            batches = [np.zeros_like(batches[0]), *batches]
        return super().observe(batches, spec, target, kind, averaging_constant)


@pytest.mark.parametrize(
    ("backend", "family", "hypothesis"),
    [
        (SharedByte, "dequantize", "first-scale-of-a-byte"),
        (FlatChannel, "quantize", "channel-from-flat-position"),
        (Magnitude, "quantize", "magnitude-below-zero"),
        (AveragedZero, "observe", "first-batch-averaged"),
    ],
)
def test_a_public_bug_is_recognised_in_code_of_its_own(
    backend: type[NumpyReference], family: str, hypothesis: str
) -> None:
    answers: list[Answer] = []
    for case in asked(family, 2 if family == "quantize" else 1):
        inputs = frozen().inputs(case)
        outcome = invoke(backend(), case, inputs, "full")
        answers += answers_of(frozen(), case, inputs, outcome)
    first = diagnose(answers)[0]
    assert first.hypothesis == hypothesis
    assert first.matched >= 0.95 * first.total
    assert first.contradicted <= 0.01 * first.matched
