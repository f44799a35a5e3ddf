"""Sets that go through a model: whatever correct arithmetic does on the way, they hold the end."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.conformance.recorded import MODELS, here

from quant_conformance.gate.recording.prepared import prepare_subject
from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.gate.recording.subject import load_config, load_subject
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.propagation import Propagation, Reach
from quant_conformance.gate.regions.region import Region, Regions, needed
from quant_conformance.runtimes.quiet import quiet
from quant_reference import dequantize, quantize
from quant_reference.admissible import Bounds, evaluate

CASES = [("mlp", "eager"), ("cnn", "graph"), ("transformer", "graph"), ("embedding", "graph")]


def made(model: str, mode: str) -> tuple[Recording, list[Region]]:
    subject = load_subject(MODELS.get(model, model))
    with quiet():
        _, prepared = prepare_subject(subject, load_config(None, mode))
        recording = record(prepared, subject.example)
    return recording, [needed(region) for region in Regions(recording).build([])]


def wandered(recording: Recording, regions: list[Region], push: Any) -> dict[str, Any]:
    """One correct run: each result anywhere in its bounds, the next region computed from that."""
    values: dict[str, Any] = {}
    constants = Expected(recording, half=False)
    for region in regions:
        operands = {n: values.get(n, constants.operand(n)) for n in region.operands}
        known = {name: Bounds.exact(array) for name, array in operands.items()}
        bounds = (evaluate(region.steps, known) if region.steps else known)[region.target]
        result = (bounds.value + push(bounds.shape) * bounds.rigorous).astype(np.float32)
        if region.quantization is None:
            values[region.target] = result
        else:
            facts = region.quantization.facts
            codes = quantize(result, facts.spec, facts.qparams)
            values[region.quantization.result] = dequantize(codes, facts.spec, facts.qparams)
    return values


def known(reach: Reach | str) -> Reach:
    assert not isinstance(reach, str), reach
    return reach


@pytest.mark.parametrize(("model", "mode"), CASES)
def test_every_correct_run_ends_inside(model: str, mode: str) -> None:
    recording, regions = made(model, mode)
    reached = Propagation(recording, regions).outputs()
    random = np.random.default_rng(5)
    pushes = [
        lambda shape: np.ones(shape),
        lambda shape: -np.ones(shape),
        *[lambda shape: random.uniform(-1, 1, shape)] * 4,
        *[lambda shape: random.choice([-1.0, 1.0], shape)] * 4,
    ]
    strayed = 0
    for push in pushes:
        values = wandered(recording, regions, push)
        for name in recording.outputs:
            ends = known(reached[name]).values
            assert np.all((values[name] >= ends.low) & (values[name] <= ends.high))
            strayed += int(np.count_nonzero(values[name] != recording.values[name]))
    assert strayed  # else the runs would show nothing


@pytest.mark.cpu
@pytest.mark.parametrize(("model", "mode"), CASES)
def test_the_sets_are_no_wider_than_their_parts(model: str, mode: str) -> None:
    recording, regions = made(model, mode)
    reached = Propagation(recording, regions).outputs()
    for name in recording.outputs:
        ends, recorded = known(reached[name]).values, recording.values[name]
        assert np.all(ends.low <= ends.likely_low)
        assert np.all(ends.likely_low <= ends.likely_high)
        assert np.all(ends.likely_high <= ends.high)
        assert np.all((ends.likely_low <= recorded) & (recorded <= ends.likely_high))
        assert not known(reached[name]).undecided.any()
        # Most is ruled out: on average all but a twentieth of what the outputs range over.
        assert np.mean(ends.high - ends.low) < (recorded.max() - recorded.min()) / 20


def test_an_operation_without_a_bound_ends_what_follows_it() -> None:
    recording, regions = made(here("Wavy"), "eager")
    recording.outputs.append(next(r.target for r in regions if not r.steps))
    lost, kept = Propagation(recording, regions).outputs().values()
    assert lost == "no bound is known for lgamma"
    assert known(kept).single == 1.0


def test_an_output_that_is_an_input() -> None:
    recording, regions = made("mlp", "eager")
    recording.outputs.append(recording.inputs[0])
    handed_on = known(Propagation(recording, regions).outputs()[recording.inputs[0]])
    assert np.array_equal(handed_on.values.low, recording.values[recording.inputs[0]])
    assert np.array_equal(handed_on.values.high, handed_on.values.low)
