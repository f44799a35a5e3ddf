"""Recorded sets: what they hold, that they are the same every time, and who passes them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from tests.conformance.recorded import MODELS, here, recorded

import quant_vectors
from quant_conformance.errors import UsageError
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner
from quant_reference.admissible import OPERATIONS
from quant_reference.admissible.operations import CLAUSES
from quant_vectors import VectorSet, load

BOTH = ("graph", "eager")

Sets = Any


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> Sets:
    """Records a model once; returns its summary and its set."""
    made: dict[tuple[str, str], tuple[Any, VectorSet]] = {}

    def of(model: str, mode: str) -> tuple[Any, VectorSet]:
        if (model, mode) not in made:
            out = tmp_path_factory.mktemp("recorded") / "set"
            made[model, mode] = recorded(model, mode, out), load(path=out)
        return made[model, mode]

    return of


def judged(vectors: VectorSet, backend: str) -> Run:
    return Runner(vectors, vectors.cases, Plan(isolate=False, frozen=False)).run(backend)


def contents(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("model", MODELS)
def test_right_arithmetic_passes(sets: Sets, model: str, mode: str) -> None:
    summary, vectors = sets(model, mode)
    assert not summary.left_out
    assert [case.id for case in summary.cases] == [case.id for case in vectors]
    done = judged(vectors, here("ExactLayers"))
    assert not done.failed, [(r.id, r.detail) for r in done.failures]
    verdicts = Counter(r.verdict.value for r in done.results)
    whole = sum(case.family == "model_output" for case in vectors)
    assert verdicts["unsupported"] == whole >= 1
    assert set(verdicts) <= {"exact", "admissible", "unsupported"}
    assert verdicts["exact"]


@pytest.mark.parametrize("mode", BOTH)
@pytest.mark.parametrize("model", MODELS)
def test_float32_in_numpy_and_in_torch_passes(sets: Sets, model: str, mode: str) -> None:
    _, vectors = sets(model, mode)
    for backend in ("numpy-reference", "torch"):
        done = judged(vectors, backend)
        assert not done.failed, [(r.id, r.detail) for r in done.failures]
        asked = [r for r in done.results if r.family == "layer"]
        assert {r.verdict.value for r in asked} <= {"exact", "admissible"}


def test_a_case_holds_codes_qparams_and_what_is_admissible(sets: Sets) -> None:
    _, vectors = sets("cnn", "graph")
    (case,) = (c for c in vectors if c.comment == "relu: conv2d → relu")
    assert (case.id, case.operation, case.rule) == ("layer/relu", "layer", "admissible")
    kinds = case.arguments["operands"]
    weight = next(name for name in kinds if name.endswith("weight"))
    assert kinds[weight]["dtype"] == "int8"
    assert kinds[weight]["granularity"]["type"] == "per_channel"
    tensors = vectors.inputs(case)
    assert tensors[weight].dtype == np.int8
    assert tensors[f"{weight}:scale"].shape == (16, 1, 1, 1)
    assert tensors["output:scale"].shape == (1, 1, 1, 1)
    ends = vectors.expected(case)
    assert set(ends) == {"codes", "low", "high", "likely_low", "likely_high"}
    for end in ends.values():
        assert (end.dtype, end.shape) == (np.int8, (2, 16, 16, 16))
    assert np.all(ends["low"] <= ends["likely_low"])
    assert np.all(ends["likely_low"] <= ends["likely_high"])
    assert np.all(ends["likely_high"] <= ends["high"])
    assert np.all((ends["likely_low"] <= ends["codes"]) & (ends["codes"] <= ends["likely_high"]))
    assert set(case.clauses) >= {"ADM-2", "ADM-11", "ADM-12", "ADM-13", "Q-1"}


def test_weights_alone_leave_float_layers(tmp_path: Path) -> None:
    from quant_conformance.gate.freezing.vector_set import record_set
    from quant_conformance.gate.recording.subject import load_subject
    from quant_conformance.models.zoo import config_of
    from quant_torch.quantization import QuantizerConfig

    config = QuantizerConfig.from_dict(config_of("w4_per_block", "graph"))
    record_set(load_subject(MODELS["mlp"]), config, tmp_path / "set")
    vectors = load(path=tmp_path / "set")
    assert {case.operation for case in vectors} == {"float_layer", "model_output"}
    assert not judged(vectors, here("ExactLayers")).failed
    done = judged(vectors, here("OneValueOff"))
    floats = [c.id for c in vectors if c.operation == "float_layer"]
    assert [r.id for r in done.failures] == floats
    assert "values[0, 0]: admissible is" in done.failures[0].detail


def test_one_code_is_found_and_named_at_its_layer(sets: Sets) -> None:
    _, vectors = sets("cnn", "graph")
    done = judged(vectors, here("OneCodeOff"))
    (failure,) = done.failures
    assert (failure.id, failure.verdict.value) == ("layer/relu/max_pool2d", "wrong")
    assert "1 of 2048 elements are wrong" in failure.detail


def test_a_whole_model_is_judged_by_what_its_layers_may_do(sets: Sets) -> None:
    _, vectors = sets("mlp", "eager")
    (case,) = (c for c in vectors if c.family == "model_output")
    assert case.rule == "admissible"
    done = judged(vectors, here("Mlp"))
    assert not done.failed
    (failure,) = judged(vectors, here("ShiftedMlp")).failures
    assert (failure.id, failure.verdict.value) == ("model_output/0", "wrong")


def test_a_model_too_deep_for_a_bound_is_information(tmp_path: Path) -> None:
    summary = recorded(here("Wavy"), "eager", tmp_path / "set")
    vectors = load(path=tmp_path / "set")
    (left_out,) = summary.left_out.items()
    assert left_out == ("second.linear input input", "no bound is known for lgamma")
    assert vectors.manifest["left_out"] == dict([left_out])
    case = vectors.case("model_output/0")
    assert (case.rule, list(case.expected)) == ("information", ["values"])
    assert summary.cases[-1].why_not == "no bound is known for lgamma"


@pytest.mark.parametrize("mode", BOTH)
def test_tensors_of_one_name_and_integer_outputs(tmp_path: Path, mode: str) -> None:
    recorded(here("Repeated"), mode, tmp_path / "set")
    vectors = load(path=tmp_path / "set")
    assert len({case.id for case in vectors}) == len(vectors)
    whole, counted, greatest = (vectors.case(f"model_output/{i}") for i in range(3))
    assert (whole.rule, counted.rule, greatest.rule) == ("admissible", "information", "admissible")
    assert vectors.expected(counted)["values"].dtype == np.int32
    assert not judged(vectors, here("ExactLayers")).failed


def test_a_float16_model_is_held_to_its_own_arithmetic(tmp_path: Path) -> None:
    recorded(here("Half"), "eager", tmp_path / "set")
    vectors = load(path=tmp_path / "set")
    (case, *_) = (c for c in vectors if c.operation == "layer")
    assert case.arguments["arithmetic"] == {"values": "float16", "accumulate": "float32"}
    assert not judged(vectors, here("ExactLayers")).failed


def test_two_recordings_are_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        recorded("transformer", "graph", tmp_path / name)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_another_process_makes_the_same_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "quant_conformance.cli", "record", MODELS["cnn"], "--out"]
    for seed in ("1", "2"):
        done = subprocess.run(
            [*command, str(tmp_path / seed)],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_layers_are_chosen_by_name(tmp_path: Path) -> None:
    recorded("transformer", "eager", tmp_path / "set", layers=r"^matmul.*output")
    vectors = load(path=tmp_path / "set")
    assert [case.id for case in vectors] == ["layer/matmul_output_0", "layer/matmul_1_output_0"]


def test_layers_that_are_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown layer 'softmaxx'; did you mean softmax"):
        recorded("transformer", "graph", tmp_path / "set", layers="softmaxx")
    with pytest.raises(UsageError, match=r"--layers '\(' is no regular expression"):
        recorded("transformer", "graph", tmp_path / "set", layers="(")
    assert not list(tmp_path.iterdir())


def test_every_operation_of_a_step_has_its_clause() -> None:
    assert CLAUSES.keys() == OPERATIONS.keys()


@pytest.mark.parametrize("mode", BOTH)
def test_the_files_keep_their_schemas(tmp_path: Path, mode: str) -> None:
    recorded(here("Wavy"), mode, tmp_path / "set")
    folder = Path(quant_vectors.__file__).parent / "schemas"
    for file in (tmp_path / "set").glob("*.json"):
        rules = json.loads((folder / f"{file.name.split('.')[-2]}.schema.json").read_text())
        jsonschema.Draft202012Validator(rules).validate(json.loads(file.read_text()))


def test_a_set_is_run_where_there_is_no_torch(tmp_path: Path) -> None:
    recorded("transformer", "graph", tmp_path / "set")
    code = (
        "import sys\n"
        "for name in ('torch', 'torchao', 'quant_torch', 'scipy', 'coreai', 'coremltools'):\n"
        "    sys.modules[name] = None\n"
        "from quant_conformance.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    results = tmp_path / "results.json"
    command = ["run", "--vectors", str(tmp_path / "set"), "--json", str(results), "--no-isolate"]
    done = subprocess.run(
        [sys.executable, "-c", code, *command, "--backend", "numpy-reference"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = json.loads(results.read_text())["summary"]
    assert summary["exact"] + summary["admissible"] == 19
    assert summary["unsupported"] == 1  # the whole model
