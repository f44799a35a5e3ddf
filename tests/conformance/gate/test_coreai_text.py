"""The text of a Core AI program, cut: values become outputs and inputs."""

from __future__ import annotations

import numpy as np
import pytest

from quant_conformance.runtimes.coreai.program_text import CoreAIText, plain
from quant_conformance.runtimes.errors import UnreadableProgramError

HEAD = 'coreai.graph @main(%arg0: tensor<2x4xf32> {coreai.name = "x"})'
RESULT = 'tensor<2x4xf32> {coreai.name = "y"}'
TEXT = f"""module {{
  {HEAD} -> ({RESULT}) {{
    %0 = coreai.constant dense<0.5> : tensor<f32>
    %1 = coreai.constant dense<-3> : tensor<si8>
    %2 = coreai.constant dense<0> : tensor<si32>
    %3 = coreai.constant dense<0.0> : tensor<f32>
    %4 = coreai.quantize %arg0, %0, %1, %3, %2 : (tensor<2x4xf32>, tensor<f32>) -> tensor<2x4xsi8>
    %5 = coreai.dequantize %4, %0, %1, %3, %2 : (tensor<2x4xsi8>, tensor<f32>) -> tensor<2x4xf32>
    %6:2 = coreai.split %5, %2 : (tensor<2x4xf32>) -> (tensor<2x2xf32>, tensor<2x2xf32>)
    %7 = coreai.concat %6#0, %6#1 : (tensor<2x2xf32>, tensor<2x2xf32>) -> tensor<2x4xf32>
    %8 = coreai.relu %7 : (tensor<2x4xf32>) -> tensor<2x4xf32>
    %44 = coreai.add %8, %5 : (tensor<2x4xf32>, tensor<2x4xf32>) -> tensor<2x4xf32>
    coreai.output %44 : tensor<2x4xf32>
  }}
}}"""


@pytest.fixture
def text() -> CoreAIText:
    return CoreAIText(TEXT)


def body(program: str) -> list[str]:
    return [line.strip() for line in program.splitlines()]


def test_what_is_read(text: CoreAIText) -> None:
    assert text.inputs == (("%arg0", "x", "f32"),)
    assert text.outputs == ("y",)
    assert list(text.operations) == ["%0", "%1", "%2", "%3", "%4", "%5", "%7", "%8", "%44"]
    quantize = text.operations["%4"]
    assert (quantize.kind, quantize.operands) == ("quantize", ("%arg0", "%0", "%1", "%3", "%2"))
    assert (quantize.shape, quantize.element) == ((2, 4), "si8")
    assert text.operations["%0"].shape == ()
    kind, values = text.constants.read("%1")
    assert (kind, values.tolist()) == ("int8", -3)
    assert text.line("%8").strip().startswith("%8 = coreai.relu %7 :")


def test_a_cut_shows_what_is_computed_and_feeds_what_is_given(text: CoreAIText) -> None:
    lines = body(text.cut(["%4", "%8"], ["%4"]))
    given = 'tensor<2x4xsi8> {coreai.name = "given_4"}'
    cuts = 'tensor<2x4xsi8> {coreai.name = "cut_4"}, tensor<2x4xf32> {coreai.name = "cut_8"}'
    assert lines[1] == f"{HEAD[:-1]}, %given_4: {given}) -> ({RESULT}, {cuts}) {{"
    before = body(TEXT)
    changed = [(a, b) for a, b in zip(before, lines, strict=True) if a != b][1:]
    # The quantize keeps its own name and operands; only the dequantize reads the new input.
    assert [(a[:22], b[:28]) for a, b in changed[:1]] == [
        ("%5 = coreai.dequantize", "%5 = coreai.dequantize %give")
    ]
    assert changed[0][1] == before[7].replace("%4,", "%given_4,")
    assert changed[1][1] == (
        "coreai.output %44, %4, %8 : tensor<2x4xf32>, tensor<2x4xsi8>, tensor<2x4xf32>"
    )
    assert len(changed) == 2


def test_names_are_renamed_whole(text: CoreAIText) -> None:
    lines = text.cut(["%4"], ["%4"])
    assert "%given_44" not in lines
    assert "%given_4 " not in lines.replace("%given_4,", "").replace("%given_4:", "")
    assert "%6#0, %6#1" in lines


def test_an_output_that_is_cut_reads_the_given_value_and_is_shown(text: CoreAIText) -> None:
    lines = body(text.cut(["%44"], ["%44"]))
    assert "coreai.output %given_44, %44 : tensor<2x4xf32>, tensor<2x4xf32>" in lines


def test_nothing_cut_is_the_program(text: CoreAIText) -> None:
    assert text.cut([], []).splitlines() == TEXT.splitlines()


def test_a_region_holds_what_its_target_needs(text: CoreAIText) -> None:
    program, fixed, labels = text.region("%8", {"%5"})
    assert (fixed, labels) == (("%5",), ())
    lines = body(program)
    assert lines[1].startswith("coreai.graph @main(%given_5: tensor<2x4xf32>")
    assert [line.partition(" = ")[0] for line in lines[2:-3]] == ["%2", "%6:2", "%7", "%8"]
    assert lines[-3] == "coreai.output %8 : tensor<2x4xf32>"
    assert "given_5, %2" in lines[3]


def test_a_region_back_to_the_inputs(text: CoreAIText) -> None:
    program, fixed, labels = text.region("%4", set())
    assert (fixed, labels) == ((), ("x",))
    assert "%arg0: tensor<2x4xf32>" in program
    assert "dequantize" not in program


def test_a_graph_inside_of_another_program() -> None:
    other = TEXT.splitlines()[1:-1]
    other[0] = other[0].replace("@main", "noinline @helper")
    both = "\n".join(["module {", *other, *TEXT.splitlines()[1:]])
    found = CoreAIText(both)
    assert len(found.operations) == 9
    assert found.cut([], []).splitlines() == both.splitlines()


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (TEXT.replace("@main", "@other"), "no graph called main"),
        ("", "no graph called main"),
        (TEXT.replace("tensor<2x4xf32> {coreai.name", "tensor<?x4xf32> {coreai.name", 1), "fixed"),
        ("\n".join(TEXT.splitlines()[:-2]), "main does not end"),
    ],
)
def test_a_program_that_cannot_be_cut(broken: str, message: str) -> None:
    with pytest.raises(UnreadableProgramError, match=message):
        CoreAIText(broken)


def test_plain_names() -> None:
    assert plain("%given_4") == "given_4"
    np.testing.assert_equal(plain("44"), "44")
