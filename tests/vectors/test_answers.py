"""The frozen answers, recomputed one number at a time in exact fractions.

The vectors were written by the numpy form; the oracle was written from SPEC.md and shares no
arithmetic with it. The expected tensors of every case, and those of every legal alternative, are
held to it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.reference.admissible_cases import exact
from tests.reference.support import elementwise, numbers

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.layers import layer_of
from quant_conformance.operations import OPERATIONS
from quant_reference import (
    QParams,
    QuantError,
    QuantizationSpec,
    granularity_from_dict,
    oracle,
)
from quant_reference.oracle import BlockRange, ChannelStatistics, Machine, Number
from quant_reference.oracle.lifecycle import Life, live
from quant_vectors import FAMILIES, Case, VectorSet, load

Answer = Mapping[str, Any]
Policy = dict[str, Any]


@functools.cache
def v1() -> VectorSet:
    return load()


def spec_of(case: Case) -> QuantizationSpec:
    spec = QuantizationSpec.from_dict(dict(case.spec or {}))
    plain = spec.granularity.to_dict()
    by_tuple = isinstance(plain.get("block_size"), list)
    if "module_kind" in case.arguments and plain.get("axis", 0) is None and not by_tuple:
        axis = oracle.default_axis(case.arguments["module_kind"], spec.granularity)
        return replace(spec, granularity=granularity_from_dict({**plain, "axis": axis}))
    return spec


def params_of(inputs: Answer) -> QParams:
    return QParams(inputs["scale"], inputs.get("zero_point"), inputs.get("minval"))


def encode(case: Case, inputs: Answer, policy: Policy) -> Answer:
    policy.pop("nan_payload", None)
    fmt = case.arguments["format"]
    return {"codes": [oracle.encode(v, fmt, **policy) for v in numbers(inputs["x"])]}


def decode(case: Case, inputs: Answer, policy: Policy) -> Answer:
    fmt = case.arguments["format"]
    return {"values": [oracle.decode(int(c), fmt) for c in inputs["codes"].ravel()]}


def pack(case: Case, inputs: Answer, policy: Policy) -> Answer:
    codes = [int(c) for c in inputs["codes"].ravel()]
    return {"packed": oracle.pack(codes, case.arguments["format"], case.arguments["order"])}


def unpack(case: Case, inputs: Answer, policy: Policy) -> Answer:
    packed = [int(b) for b in inputs["packed"]]
    a = case.arguments
    return {"codes": oracle.unpack(packed, a["format"], a["order"], a["count"])}


def ranges(case: Case, x: Any) -> list[BlockRange]:
    spec, exact = spec_of(case), numbers(x)
    extents = oracle.block_extents(x.shape, spec.granularity, str(case.target))
    return [
        oracle.value_range([exact[i] for i in block], spec, x.dtype.name)
        for block in oracle.block_members(x.shape, extents)
    ]


def value_range(case: Case, inputs: Answer, policy: Policy) -> Answer:
    found = ranges(case, inputs["x"])
    return {"lo": [r.lo for r in found], "hi": [r.hi for r in found]}


def qparams_of(case: Case, found: list[BlockRange], policy: Policy) -> Answer:
    choice = policy.get("e8m0_nonfinite_range", "nan_scale")
    params = [oracle.compute_qparams(r, spec_of(case), nonfinite_range=choice) for r in found]
    answer = {"scale": [p.scale for p in params]}
    if spec_of(case).format.is_integer:
        answer |= {
            "zero_point": [p.zero_point for p in params],
            "minval": [p.minval for p in params],
        }
    return answer


def qparams(case: Case, inputs: Answer, policy: Policy) -> Answer:
    return qparams_of(case, ranges(case, inputs["x"]), policy)


def observe(case: Case, inputs: Answer, policy: Policy) -> Answer:
    batches = [ranges(case, inputs[f"batch_{i}"]) for i in range(len(inputs))]
    constant = case.arguments.get("averaging_constant", 0.01)
    final = [
        oracle.observe(case.arguments["kind"], seen, spec_of(case), constant)
        for seen in zip(*batches, strict=True)
    ]
    return qparams_of(case, final, policy)


def quantize(case: Case, inputs: Answer, policy: Policy) -> Answer:
    policy.pop("nan_payload", None)
    spec, x = spec_of(case), inputs["x"]

    def code_of(value: Number, params: oracle.BlockQParams) -> int:
        return oracle.quantize(value, spec, params, **policy)

    return {"codes": elementwise(code_of, params_of(inputs), x.shape, numbers(x))}


def export_weights(case: Case, inputs: Answer, policy: Policy) -> Answer:
    found = qparams(case, inputs, policy)
    # These are compared with the frozen ones, which may therefore stand for them here.
    frozen = v1().expected(case)
    kept = {name: values for name, values in found.items() if name in frozen}
    assert len(kept) == (2 if spec_of(case).format.is_integer else 1)
    return {**kept, **quantize(case, {**inputs, **frozen}, policy)}


def dequantize(case: Case, inputs: Answer, policy: Policy) -> Answer:
    spec, codes = spec_of(case), inputs["codes"]
    column = [int(c) for c in codes.ravel()]
    return {
        "values": elementwise(
            lambda c, p: oracle.dequantize(c, spec, p), params_of(inputs), codes.shape, column
        )
    }


def fake_quantize(case: Case, inputs: Answer, policy: Policy) -> Answer:
    spec, x = spec_of(case), inputs["x"]
    return {
        "values": elementwise(
            lambda v, p: oracle.fake_quantize(v, spec, p, x.dtype.name),
            params_of(inputs),
            x.shape,
            numbers(x),
        )
    }


def gradient(case: Case, inputs: Answer, policy: Policy) -> Answer:
    spec, x = spec_of(case), inputs["x"]
    return {
        "gradient": elementwise(
            lambda v, g, p: oracle.fake_quantize_gradient(v, g, spec, p, **policy),
            params_of(inputs),
            x.shape,
            numbers(x),
            numbers(inputs["grad"]),
        )
    }


def layer(case: Case, inputs: Answer, policy: Policy) -> Answer:
    """Every operation by its definition in exact fractions, and the bounds from the clauses."""
    asked = layer_of(case, inputs)
    machine = Machine.named(asked.arithmetic.values, asked.arithmetic.accumulate)
    values = {name: exact(array) for name, array in asked.values().items()}
    result = oracle.evaluate(asked.steps, values, machine)[asked.output]
    spec, params = asked.output_spec, asked.output_qparams
    sets = elementwise(
        lambda ball, of_block: oracle.code_set(ball, spec, of_block, machine),
        params,
        result.shape,
        result.items,
    )
    return dict(
        zip(("low", "high", "likely_low", "likely_high"), zip(*sets, strict=True), strict=True)
    )


def fold_batch_norm(case: Case, inputs: Answer, policy: Policy) -> Answer:
    weight, mean = inputs["weight"], inputs["mean"]
    count, ones = mean.size, np.ones_like(inputs["variance"])
    columns = {
        "mean": mean,
        "variance": inputs["variance"],
        "gamma": inputs.get("gamma", ones),
        "beta": inputs.get("beta", np.zeros_like(mean)),
    }
    exact = {name: numbers(column) for name, column in columns.items()}
    of = tuple(column.dtype.name for column in columns.values())
    channels = [
        ChannelStatistics(
            exact["mean"][i],
            exact["variance"][i],
            case.arguments["eps"],
            exact["gamma"][i],
            exact["beta"][i],
            of,  # type: ignore[arg-type]
        )
        for i in range(count)
    ]
    elements = []
    for place, element in zip(np.ndindex(weight.shape), numbers(weight), strict=True):
        channel = place[0]
        if case.arguments["transposed"]:
            groups = case.arguments["groups"]
            channel = oracle.output_channel(place, weight.shape[0], weight.shape[1], groups)
        elements.append(oracle.fold_weight(element, channels[channel], weight.dtype.name))
    biases = numbers(inputs["bias"]) if "bias" in inputs else [None] * count
    return {
        "weight": elements,
        "bias": [
            oracle.fold_bias(b, c, weight.dtype.name) for b, c in zip(biases, channels, strict=True)
        ],
    }


def lifecycle(case: Case, inputs: Answer, policy: Policy) -> Answer:
    a = case.arguments

    def numbered(prefix: str) -> list[list[Number]]:
        names = [name for name in inputs if name.startswith(prefix)]
        return [numbers(inputs[f"{prefix}{i}"]) for i in range(len(names))]

    norm = None
    if "mean" in inputs:
        columns = (numbers(inputs[name]) for name in ("mean", "variance", "gamma", "beta"))
        norm = [
            ChannelStatistics(m, v, a["eps"], g, b) for m, v, g, b in zip(*columns, strict=True)
        ]
    life = Life(
        numbered("weight_"),
        numbered("batch_"),
        {name: QuantizationSpec.from_dict(spec) for name, spec in a["specs"].items()},
        numbers(inputs["bias"]) if "bias" in inputs else None,
        norm,
        a.get("momentum", 0.1),
        a.get("schedule"),
        policy.get("calibration_weights") == "quantized",
    )
    return live(life, a["events"])


def has_elements(case: Case) -> bool:
    return bool(case.expected) and any(t.size for t in v1().expected(case).values())


RECOMPUTE: dict[str, Callable[[Case, Answer, Policy], Answer]] = {
    "encode": encode,
    "decode": decode,
    "pack": pack,
    "unpack": unpack,
    "value_range": value_range,
    "qparams": qparams,
    "observe": observe,
    "quantize": quantize,
    "dequantize": dequantize,
    "fake_quantize": fake_quantize,
    "gradient": gradient,
    "export_weights": export_weights,
    "layer": layer,
    "fold_batch_norm": fold_batch_norm,
    "lifecycle": lifecycle,
}


def assert_equal(case: Case, frozen: Answer, recomputed: Answer) -> None:
    assert set(frozen) == set(recomputed), case.id
    for name, array in frozen.items():
        got = array.ravel()
        if got.dtype.kind in "iu":
            assert got.tolist() == list(recomputed[name]), (case.id, name)
            continue
        signed = name not in ("lo", "hi", "minval")  # where a zero's sign cannot be seen
        for index, (have, want) in enumerate(zip(numbers(got), recomputed[name], strict=True)):
            assert same(have, want, signed), (case.id, name, index, have, want)


def same(have: Number, want: Number, signed: bool) -> bool:
    if have.is_nan or want.is_nan:
        return have.is_nan and want.is_nan
    if float(have) == float(want) == 0 and not signed:
        return True
    return have == want


@pytest.mark.parametrize(
    "family",
    [f for f in FAMILIES if f not in ("default_axis", "invalid_spec", "placement", "model")],
)
def test_answers_are_the_oracles(family: str) -> None:
    asked = [case for case in v1() if case.family == family and has_elements(case)]
    assert asked
    for case in asked:
        inputs, recompute = v1().inputs(case), RECOMPUTE[case.operation]
        assert_equal(case, v1().expected(case), recompute(case, inputs, {}))
        for choice, frozen in v1().alternatives(case).items():
            policy = {str(case.policy): choice}
            assert_equal(case, frozen, recompute(case, inputs, policy))


def test_default_axes_are_the_oracles() -> None:
    for case in v1():
        if case.operation == "default_axis" and case.result != "refused":
            granularity = granularity_from_dict(case.arguments["granularity"])
            assert case.result == oracle.default_axis(case.arguments["module_kind"], granularity)


def test_a_wrong_answer_would_be_seen() -> None:
    case = next(c for c in v1() if c.id.startswith("fake_quantize/cover/int8") and c.expected)
    frozen = v1().expected(case)
    right = fake_quantize(case, v1().inputs(case), {})
    assert_equal(case, frozen, right)
    frozen["values"].reshape(-1).view(f"u{frozen['values'].itemsize}")[-1] ^= 1
    with pytest.raises(AssertionError):
        assert_equal(case, frozen, right)


def test_the_numpy_form_still_gives_every_frozen_answer() -> None:
    """All cases that have tensors or specs; placements were made by hand."""
    backend = NumpyReference()
    for case in v1():
        if case.operation in ("placement", "model"):
            continue
        inputs, operation = v1().inputs(case), OPERATIONS[case.operation]
        if case.operation == "layer":
            sets = layer_of(case, inputs).admissible()
            for end, frozen in v1().expected(case).items():
                assert np.array_equal(getattr(sets, end), frozen), case.id
            continue
        try:
            arguments = operation.arguments(case, inputs)
            answer = operation.outputs(getattr(backend, operation.method)(*arguments))
        except QuantError:
            assert case.result == "refused", case.id
            continue
        if case.result is not None:
            assert answer["result"] == case.result, case.id
            continue
        for name, want in v1().expected(case).items():
            got = answer[name]
            assert (got.dtype, got.shape) == (want.dtype, want.shape), case.id
            if got.dtype.kind in "iu":
                assert np.array_equal(got, want), case.id
            else:
                equal = (got == want) & (np.signbit(got) == np.signbit(want))
                equal |= (got == 0) & (want == 0) & (name in ("lo", "hi", "minval"))
                assert (equal | (np.isnan(got) & np.isnan(want))).all(), case.id
