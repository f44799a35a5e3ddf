"""CoreAIExecutor on models made here, and on a runtime that crashes, hangs and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import ml_dtypes
import numpy as np
import pytest

from quant_conformance.runtimes import CoreAIExecutor, ExecutorError
from quant_conformance.runtimes.coreai import client
from quant_conformance.runtimes.coreai.client import CoreAICrashError, Runtime, answer_all
from quant_conformance.runtimes.coreai.requests import Request
from quant_reference import QParams, QuantizationSpec, fake_quantize

BAD_WORKER = "tests.conformance.runtimes.coreai_workers"


def author_fake_quantize(path: Path, scale: float, zero_point: int) -> None:
    """int8 quantize and dequantize, with no torch."""
    import coreai.authoring as authoring

    module = authoring.Module.create()
    qparams = (
        np.array(scale, np.float32),
        np.array(zero_point, np.int8),
        np.array(0, np.float32),
        np.array(0, np.int32),
    )
    x_type = authoring.TensorType((6,), authoring.float32, "x")
    y_type = authoring.TensorType((6,), authoring.float32, "y")

    def main(x: Any) -> Any:
        return authoring.dequantize(authoring.quantize(x, *qparams), *qparams)

    main.__annotations__ = {
        "x": Annotated[authoring.Value, x_type],
        "return": Annotated[authoring.Value, y_type],
    }
    with module:
        authoring.graph(main)
    authoring.AIProgram(module).save_asset(path)


@pytest.mark.peers
def test_an_authored_model_runs_many_times_per_load(tmp_path: Path) -> None:
    pytest.importorskip("coreai")
    author_fake_quantize(tmp_path / "m.aimodel", 0.1, 3)
    spec = QuantizationSpec(dtype="int8", qscheme="asymmetric")
    qparams = QParams(np.float32([0.1]), np.int32([3]), None)
    rng = np.random.default_rng(0)
    with CoreAIExecutor(tmp_path / "m.aimodel") as executor:
        assert (executor.inputs, executor.outputs) == (("x",), ("y",))
        for _ in range(5):
            x = (rng.normal(size=6) * 9).astype(np.float32)
            (y,) = executor.run({"x": x}).values()
            assert y.tobytes() == fake_quantize(x, spec, qparams).tobytes()


@pytest.mark.cpu
@pytest.mark.peers
@pytest.mark.filterwarnings("ignore")
def test_a_converted_model_gives_the_sums_of_integers(tmp_path: Path) -> None:
    """Small integers, so that no order of summation rounds and the bits are known."""
    coreai_torch = pytest.importorskip("coreai_torch")
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(2, 4, 3, padding=1),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Flatten(),
        torch.nn.Linear(64, 5),
    ).eval()
    for parameter in model.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape).float()
    x = torch.randint(-4, 5, (1, 2, 8, 8)).float()
    program = torch.export.export(model, (x,))
    program = program.run_decompositions(coreai_torch.get_decomp_table())
    converter = coreai_torch.TorchConverter().add_exported_program(program)
    converter.to_coreai().save_asset(tmp_path / "m.aimodel")
    with CoreAIExecutor(tmp_path / "m.aimodel") as executor, torch.no_grad():
        (y,) = executor.run({executor.inputs[0]: x.numpy()}).values()
        assert y.tobytes() == model(x).numpy().tobytes()


@pytest.mark.peers
def test_wrong_use_says_what_is_there(tmp_path: Path) -> None:
    with pytest.raises(ExecutorError, match=r"no \.aimodel folder at .*absent"):
        CoreAIExecutor(tmp_path / "absent.aimodel")
    pytest.importorskip("coreai")
    author_fake_quantize(tmp_path / "m.aimodel", 0.1, 3)
    with pytest.raises(ExecutorError, match="no function 'other'; there are"):
        CoreAIExecutor(tmp_path / "m.aimodel", "other")
    with CoreAIExecutor(tmp_path / "m.aimodel") as executor:
        with pytest.raises(ExecutorError, match=r"the model takes \['x'\]; missing: \['x'\]"):
            executor.run({"z": np.zeros(6, np.float32)})
        with pytest.raises(ExecutorError, match=r"m\.aimodel"):  # Core AI's own refusal
            executor.run({"x": np.zeros(6, ml_dtypes.bfloat16)})
        executor.run({"x": np.zeros(6, np.float32)})


def test_a_crash_a_hang_and_a_refusal_end_only_their_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "WORKER", BAD_WORKER)
    with CoreAIExecutor(tmp_path, timeout=1.5) as executor:

        def pid(wish: str) -> Any:
            return executor.run({"do": np.array(wish)})["pid"]

        first = pid("live")
        with pytest.raises(ExecutorError, match="RuntimeError: no"):
            pid("refuse")
        assert pid("live") == first
        with pytest.raises(ExecutorError, match=r"SIGABRT; it printed: .*farewell") as caught:
            pid("crash")
        assert isinstance(caught.value.__cause__, CoreAICrashError)
        second = pid("live")
        assert second != first
        with pytest.raises(TimeoutError, match=r"no answer within 1\.5 s"):
            pid("hang")
        assert pid("live") not in (first, second)


def test_one_bad_request_costs_no_other_its_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "WORKER", BAD_WORKER)
    wishes = ["live", "live", "crash", "live", "refuse", "live", "hang"]
    requests = [
        Request(wish, np.float32([i]), "float32", "float32") for i, wish in enumerate(wishes)
    ]
    runtime = Runtime(timeout=1.0)
    answers = {r.operation + str(int(r.x[0])): a for r, a in answer_all(runtime, requests)}
    runtime.close()
    assert {name for name, a in answers.items() if isinstance(a, np.ndarray)} == {
        *("live0", "live1", "live3", "live5")
    }
    assert isinstance(answers["crash2"], CoreAICrashError)
    assert isinstance(answers["hang6"], TimeoutError)
    assert str(answers["refuse4"]) == "RuntimeError: no"
