"""A recording cut at its quantizers, and at float results of heavy operations."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from tests.conformance.gate.stepped import normal, recorded
from torch import nn
from torch.nn import functional as f

from quant_conformance.gate.judging.region_verdicts import Judge
from quant_conformance.gate.recording.quantizers import QuantizerFacts
from quant_conformance.gate.recording.recorder import Operation, Quantization, Recording, Ref
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Regions
from quant_conformance.gate.regions.self_check import SelfCheck
from quant_reference import QParams, QuantizationSpec, fake_quantize
from quant_reference.admissible import Arithmetic

X = normal(5, 8)
W1, W2 = normal(8, 8, seed=1), normal(8, 8, seed=2)
SPEC = QuantizationSpec()
QPARAMS = QParams(np.full((1, 1), 0.05, np.float32), np.zeros((1, 1), np.int32))
aten = torch.ops.aten


def facts(name: str) -> QuantizerFacts:
    return QuantizerFacts(name, "activation", SPEC, QPARAMS)


def chain(*links: tuple[Any, str, str], quantized: dict[str, tuple[str, str]]) -> Recording:
    """A recording written by hand: (operation, its input, its output), and quantizers.

    Args:
        links: (ATen overload, name of the input, name of the output).
        quantized: source -> (result, name of the quantizer).
    """
    recording = Recording({"input_0": X.numpy()}, ["input_0"])
    values = recording.values
    for function, source, result in [(None, "input_0", "input_0"), *links]:
        if function is not None:
            read = source
            values[result] = function(torch.from_numpy(values[read])).numpy()
            recording.operations.append(Operation(function, (Ref(read),), {}, (result,)))
        if result in quantized:
            name, label = quantized[result]
            values[name] = fake_quantize(values[result], SPEC, QPARAMS)
            recording.quantizations.append(Quantization(facts(label), result, name))
    recording.outputs.append(links[-1][2])
    return recording


def test_regions_end_at_quantizers() -> None:
    recording = chain(
        (aten.relu.default, "q0", "a"),
        (aten.tanh.default, "a", "b"),
        (aten.neg.default, "q1", "c"),
        quantized={"input_0": ("q0", "x"), "b": ("q1", "hidden")},
    )
    found = Regions(recording).build([])
    assert [(r.name, r.target, r.operands, r.operation) for r in found] == [
        ("x", "input_0", ("input_0",), "no operation"),
        ("hidden", "b", ("q0",), "relu → tanh"),
        ("c", "c", ("q1",), "neg"),
    ]
    assert [r.quantization is None for r in found] == [False, False, True]


def test_a_shared_quantizer_gets_a_name_at_each_place() -> None:
    recording = chain(
        (aten.relu.default, "q0", "a"),
        (aten.tanh.default, "q1", "b"),
        (aten.alias.default, "q2", "c"),
        (aten.tanh.default, "q3", "d"),
        quantized={
            "input_0": ("q0", "s"), "a": ("q1", "s"), "b": ("q2", "s"), "c": ("q3", "s"),
            "d": ("q4", "s"),
        },
    )  # fmt: skip
    names = [region.name for region in Regions(recording).build([])]
    assert names == ["s", "s/relu", "s/tanh", "s/again", "s/tanh_2"]


def test_an_operation_between_that_is_unknown_makes_the_region_lack_it() -> None:
    recording = chain(
        (aten.lgamma.default, "q0", "a"),
        (aten.relu.default, "a", "b"),
        (aten.relu.default, "q1", "c"),
        quantized={"input_0": ("q0", "x"), "b": ("q1", "sine")},
    )
    x, sine, last = Regions(recording).build([])
    assert (x.lacking, sine.lacking, last.lacking) == ((), ("lgamma",), ())
    judge = Judge(Expected(recording, half=False), Arithmetic(), SelfCheck(recording, []))
    verdict = judge.codes(sine, np.zeros((5, 8), np.int8)).layer
    assert verdict.verdict == "unsupported"
    assert verdict.detail == "no bound is known for lgamma"
    assert verdict.elements == 40
    # The region behind it is judged from the recorded codes, whatever they come from.
    assert judge.values(last, recording.values["c"]).layer.verdict == "exact"


def test_attributes_that_no_clause_covers_are_unsupported() -> None:
    recording = recorded(lambda x: f.softplus(x, 2, 3), X)
    (region,) = Regions(recording).build([])
    assert region.lacking == ()
    judge = Judge(Expected(recording, half=False), Arithmetic(), SelfCheck(recording, []))
    verdict = judge.values(region, recording.values[region.target]).layer
    assert verdict.verdict == "unsupported"
    assert "softplus: given beta 2" in verdict.detail
    assert "ADM-7" in verdict.detail


def test_a_cast_that_has_no_steps_is_named() -> None:
    recording = recorded(lambda x: x.to(torch.complex64).real + 1, X)
    (region,) = Regions(recording).build([])
    assert region.lacking[0] == "_to_copy: a cast from float32 to complex64"


def test_float_cuts_are_heavy_results_that_feed_heavy_ones() -> None:
    recording = recorded(lambda x, a, b: torch.relu(x @ a) @ b, X, W1, W2)
    regions = Regions(recording)
    assert regions.float_cuts() == ["mm"]
    cut = regions.build(["mm"])
    assert [(r.target, set(r.operands)) for r in cut] == [
        ("mm", {"input_0", "input_1"}),
        ("mm_1", {"mm", "input_2"}),
    ]
    (whole,) = regions.build([])
    assert set(whole.operands) == {"input_0", "input_1", "input_2"}


def test_a_product_of_constants_is_no_cut_and_no_region() -> None:
    class Folded(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Parameter(W1), nn.Parameter(W2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.a @ self.b)

    from quant_conformance.gate.recording.recorder import record

    regions = Regions(record(Folded(), (X,)))
    assert regions.float_cuts() == []
    (region,) = regions.build([])
    assert [step.op for step in region.steps] == ["matmul"]


def test_a_branch_that_nobody_reads_is_in_no_region() -> None:
    recording = recorded(lambda x: (x.exp(), x.relu())[1], X)
    (region,) = Regions(recording).build([])
    assert [step.op for step in region.steps] == ["relu"]


def test_a_value_that_two_regions_read_is_computed_in_both() -> None:
    recording = recorded(lambda x: ((y := x * 2).relu(), y.neg()), X)
    one, two = Regions(recording).build([])
    assert [s.op for s in one.steps] == ["mul", "relu"]
    assert [s.op for s in two.steps] == ["mul", "neg"]
