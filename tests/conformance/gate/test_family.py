"""The family ``model``: what the findings say explains the known failures, and nothing more."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from quant_conformance.gate.family import judge_file
from quant_conformance.models.zoo.prepare import prepare
from quant_conformance.operations import OPERATIONS, MalformedAnswer
from quant_conformance.runner.loading import load_class
from quant_conformance.runtimes.quiet import quiet
from quant_conformance.verdicts.expectations import load_expectations
from quant_conformance.verdicts.verdict import Verdict
from quant_vectors import Case, load

pytestmark = [pytest.mark.model, pytest.mark.filterwarnings("ignore")]
BACKENDS = {
    "coreai-torch": "coreai_torch",
    "coreml-mil": "coremltools",
    "coreai-opt": "coreai_opt",
}


@functools.cache
def cases() -> list[Case]:
    return [case for case in load() if case.operation == "model"]


def case(name: str) -> dict[str, Any]:
    (found,) = [c for c in cases() if c.id == f"model/{name}"]
    return dict(found.arguments)


def exported(given: dict[str, Any], folder: Path, backend: str) -> Path:
    """The file that a backend makes of a case."""
    pytest.importorskip(BACKENDS[backend])
    with quiet():
        made = prepare(given["model"], given["config"], given["mode"])
        judge: Any = load_class(backend)()
        path: Path = judge.save_model(
            made.quantizer, made.example, folder / "m", given["cast_16bit"]
        )
    return path


SHALLOW = ("eager-digits-minval-16bit",)
"""Sums so short that float16 takes none of these out of their sets."""

HALF = [c.id.removeprefix("model/") for c in cases() if c.arguments["cast_16bit"]]


@pytest.mark.parametrize("name", HALF)
def test_sums_in_float16_explain_every_failure_of_core_ai(name: str, tmp_path: Path) -> None:
    given = case(name)
    path = str(exported(given, tmp_path, "coreai-torch"))
    verdict, said = judge_file(given, path)
    if name not in SHALLOW:
        assert verdict is Verdict.WRONG
        assert "elements wrong" in said
    verdict, said = judge_file(given, path, accumulate="float16")
    assert (verdict, said) == (Verdict.ADMISSIBLE, "")


def test_a_pass_of_coremltools_explains_its_failure(tmp_path: Path) -> None:
    from quant_torch.export import to_coreml

    given = case("eager-cnn-w8a8_trained")
    verdict, said = judge_file(given, str(exported(given, tmp_path, "coreml-mil")))
    assert verdict is Verdict.WRONG
    assert "scale is" in said
    with quiet():
        made = prepare(given["model"], given["config"], given["mode"])
        path = to_coreml(made.quantizer, made.example, tmp_path / "right.mlpackage")
    verdict, said = judge_file(given, str(path))
    assert (verdict, said) in ((Verdict.EXACT, ""), (Verdict.ADMISSIBLE, ""))


@functools.cache
def peer() -> Any:
    return load_class("coreai-opt")()


def of_peer(name: str) -> tuple[dict[str, Any], str, str]:
    """A case, and coreai-opt's file of it."""
    pytest.importorskip("coreai_opt")
    pytest.importorskip("coreai_torch")
    given = case(name)
    asked = (given[n] for n in ("model", "config", "mode", "cast_16bit"))
    with quiet():
        path, package = peer().export_model(*asked)
    assert package == "coreai_opt"
    return given, path, package


@pytest.mark.parametrize(
    "name",
    ["eager-unet-w8-16bit", "graph-transformer-w8a8-16bit", "graph-transformer-mxfp4-16bit"],
)
def test_sums_in_float16_explain_the_peer_s_failures(name: str) -> None:
    given, path, package = of_peer(name)
    verdict, said = judge_file(given, path, package)
    assert verdict is Verdict.WRONG
    assert "elements wrong" in said
    verdict, said = judge_file(given, path, package, accumulate="float16")
    assert (verdict, said) == (Verdict.ADMISSIBLE, "")


def test_a_clamp_that_is_missing_explains_the_peer_s_other_failures() -> None:
    given, path, package = of_peer("eager-digits-clipping")
    verdict, said = judge_file(given, path, package)
    assert verdict is Verdict.WRONG
    told = [part for part in said.split("; ") if "elements wrong" in part]
    assert told
    for part in told:
        assert "got -128" in part
        assert "admissible is -127" in part


def test_a_file_is_compared_with_the_model_of_its_own_quantizer() -> None:
    # The peer calibrates activations behind quantized weights, quant_torch behind float ones.
    given, path, package = of_peer("eager-transformer-w8a8")
    verdict, said = judge_file(given, path, package)
    assert (verdict, said) in ((Verdict.EXACT, ""), (Verdict.ADMISSIBLE, ""))
    verdict, said = judge_file(given, path)
    assert verdict is Verdict.WRONG
    assert "scale is" in said


def test_an_answer_names_the_package_that_prepared_the_model() -> None:
    outputs = OPERATIONS["model"].outputs
    assert outputs("m.aimodel") == {"result": "m.aimodel", "package": "quant_torch"}
    assert outputs(("m.aimodel", "coreai_opt")) == {"result": "m.aimodel", "package": "coreai_opt"}
    for answer in (None, Path("m"), ("m", "os"), ("m", None), ("m", "coreai_opt", 1), (1, "m")):
        with pytest.raises(MalformedAnswer):
            outputs(answer)


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_else_of_the_family_is_excused(backend: str) -> None:
    import quant_conformance

    folder = Path(quant_conformance.__file__).parent / "verdicts" / "known"
    known = load_expectations(folder / f"{backend}.toml")
    excused = {entry.cases for entry in known.entries if entry.cases.startswith("model/")}
    assert (
        excused
        == {
            "coreai-torch": {"model/*-16bit"},
            "coreml-mil": {"model/eager-cnn-w8a8_trained"},
            "coreai-opt": {
                "model/graph-unet-clipping",
                "model/eager-digits-clipping",
                "model/eager-unet-w8-16bit",
                "model/graph-transformer-*-16bit",
            },
        }[backend]
    )


def test_what_is_no_file_is_a_crash(tmp_path: Path) -> None:
    verdict, said = judge_file(case("graph-mlp-w8a8"), str(tmp_path / "none.aimodel"))
    assert verdict is Verdict.CRASHED
    assert "there is no .aimodel folder" in said
