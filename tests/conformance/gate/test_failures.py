"""Files that cannot be judged, and runtimes that fail: a verdict each time, and no traceback."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate import bad_worker, mil_edits
from tests.conformance.gate.planting import edited
from tests.conformance.gate.support import failing, quiet
from torch import nn

from quant_conformance.gate.aten import step_table
from quant_conformance.gate.check import Question, check_export, open_program
from quant_conformance.gate.document import GateDocument
from quant_conformance.gate.errors import GateError
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.report.html import check_gate
from quant_conformance.runtimes.coreai import client
from quant_conformance.runtimes.coreml import executor
from quant_conformance.runtimes.errors import UnsupportedOperationError
from quant_torch.export import to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

X = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
SAVE: dict[str, Callable[..., Path]] = {".aimodel": to_coreai, ".mlpackage": to_coreml}


def made(model: nn.Module) -> tuple[Quantizer, Any]:
    quantizer = Quantizer(model.eval(), QuantizerConfig())
    prepared = quantizer.prepare((X,))
    with quantizer.calibration_mode():
        prepared(X)
    return quantizer, prepared


def two_layers() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, dict[str, Path]]:
    """A prepared model, and the files that were exported from it."""
    folder = tmp_path_factory.mktemp("right")
    with quiet():
        _, kept = made(two_layers())
        files = {}
        for suffix, save in SAVE.items():
            quantizer, _ = made(two_layers())
            files[suffix] = save(quantizer, (X,), folder / f"m{suffix}")
    return kept, files


def judged(prepared: Any, path: Path, **given: Any) -> GateDocument:
    subject = Subject("m", None, [(X,)], prepared=prepared)
    backend = {".aimodel": "coreai", ".mlpackage": "coreml"}[path.suffix]
    document = check_export(subject, None, Question(backend, artifact=path, **given))
    document.facts = {"cpu": "c", "commit": None, "command": "x"}
    check_gate(document.to_dict())
    return document


@pytest.mark.parametrize("suffix", SAVE)
def test_a_file_beside_its_model(right: Any, suffix: str) -> None:
    prepared, files = right
    document = judged(prepared, files[suffix])
    assert failing(document) == []
    assert [layer.name for layer in document.layers] == ["input", "relu", "linear_1"]
    assert document.mode == "prepared"


@pytest.mark.parametrize(
    ("wish", "verdict", "said"),
    [
        ("text:hang", "timed_out", "Core AI gave no answer within 2 s"),
        ("rewrite:hang", "timed_out", "Core AI gave no answer within 2 s"),
        ("run:hang", "timed_out", "Core AI gave no answer within 2 s"),
        ("text:crash", "crashed", "the runtime says farewell"),
        ("open:crash", "crashed", "the runtime says farewell"),
        ("run:crash", "crashed", "the runtime says farewell"),
    ],
)
def test_a_runtime_that_hangs_or_dies(
    right: Any, monkeypatch: pytest.MonkeyPatch, wish: str, verdict: str, said: str
) -> None:
    prepared, files = right
    monkeypatch.setattr(client, "WORKER", bad_worker.__name__)
    monkeypatch.setenv(bad_worker.WISH, wish)
    document = judged(prepared, files[".aimodel"], timeout=2.0 if "hang" in wish else 60.0)
    assert document.verdict == verdict
    assert said in document.detail
    assert document.failed
    assert document.layers == []


def copied(path: Path, folder: Path) -> Path:
    return Path(shutil.copytree(path, folder / path.name))


@pytest.mark.parametrize("suffix", SAVE)
@pytest.mark.parametrize("damage", ["truncated", "noise", "empty"])
def test_a_damaged_file(right: Any, tmp_path: Path, suffix: str, damage: str) -> None:
    prepared, files = right
    target = copied(files[suffix], tmp_path)
    for path in target.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            noise = np.random.default_rng(0).integers(0, 256, len(content), np.uint8).tobytes()
            changed = {"truncated": content[: len(content) // 2], "noise": noise, "empty": b""}
            path.write_bytes(changed[damage])
    document = judged(prepared, target)
    assert document.verdict == "unsupported"
    assert document.detail.startswith(f"UnloadableProgramError: m{suffix}: ")


@pytest.mark.parametrize("suffix", SAVE)
def test_a_folder_with_nothing_in_it(right: Any, tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"m{suffix}").mkdir()
    # Core AI dies of it.
    wanted = {".aimodel": "crashed", ".mlpackage": "unsupported"}[suffix]
    assert judged(right[0], tmp_path / f"m{suffix}").verdict == wanted
    with pytest.raises(GateError, match=rf"there is no folder .*none\{suffix}"):
        judged(right[0], tmp_path / f"none{suffix}")


def another_graph(text: str) -> str:
    return text.replace("@main", "@other", 1)


def computed_scale(text: str) -> str:
    """The first quantizer's scale is the mean of the input."""
    match = re.search(r"\n(\s+)(%\w+ = coreai\.quantize %\w+, )%\w+", text)
    assert match is not None
    lines = [
        "%axes = coreai.constant dense<[0, 1]> : tensor<2xsi32>",
        "%none = coreai.constant dense<> : tensor<0xui32>",
        "%mean = coreai.reduce_mean %arg0, %axes : (tensor<4x6xf32>, tensor<2xsi32>)"
        " -> tensor<1x1xf32>",
        "%late = coreai.reshape %mean, %none : (tensor<1x1xf32>, tensor<0xui32>) -> tensor<f32>",
        f"{match[2]}%late",
    ]
    added = "".join(f"\n{match[1]}{line}" for line in lines)
    return text[: match.start()] + added + text[match.end() :]


@pytest.mark.parametrize(
    ("change", "said"),
    [(another_graph, "there is no graph called main"), (computed_scale, r"%\d+ is not a constant")],
)
def test_a_program_of_a_form_that_is_not_known(
    right: Any, tmp_path: Path, change: Callable[[str], str], said: str
) -> None:
    prepared, files = right
    document = judged(prepared, edited(files[".aimodel"], change, tmp_path))
    assert document.verdict == "unsupported"
    assert re.fullmatch(f"UnreadableProgramError: {said}", document.detail)


def test_a_file_of_another_kind(right: Any, tmp_path: Path) -> None:
    with pytest.raises(GateError, match=r"neither an .aimodel nor an .mlpackage"):
        open_program(tmp_path / "model.onnx")


class TwoOutputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = two_layers()

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layers(x), x.relu()


class Wider(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@pytest.mark.parametrize("suffix", SAVE)
@pytest.mark.parametrize("model", [TwoOutputs, Wider])
def test_the_file_of_another_model(
    right: Any, tmp_path: Path, suffix: str, model: type[nn.Module]
) -> None:
    with quiet():
        quantizer, _ = made(model())
        path = SAVE[suffix](quantizer, (X,), tmp_path / f"m{suffix}")
    document = judged(right[0], path)
    assert document.verdict == "wrong"
    assert (
        document.detail
        == {
            TwoOutputs: "the file gives 2 outputs, the prepared model 1",
            Wider: "output 0 of the file has shape (4, 4), the prepared model's (4, 3)",
        }[model]
    )


@pytest.mark.parametrize("suffix", SAVE)
def test_the_file_of_a_model_with_more_inputs(right: Any, tmp_path: Path, suffix: str) -> None:
    class Sum(nn.Module):
        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return x + y

    with quiet():
        quantizer = Quantizer(Sum(), QuantizerConfig())
        quantizer.prepare((X, X))
        path = SAVE[suffix](quantizer, (X, X), tmp_path / f"m{suffix}")
    document = judged(right[0], path)
    assert document.verdict == "wrong"
    assert document.detail == "the file takes 2 inputs, the prepared model 1"


@pytest.mark.parametrize("suffix", SAVE)
def test_the_file_of_a_model_for_another_batch(right: Any, tmp_path: Path, suffix: str) -> None:
    with quiet():
        quantizer = Quantizer(two_layers(), QuantizerConfig())
        quantizer.prepare((X[:2],))
        path = SAVE[suffix](quantizer, (X[:2],), tmp_path / f"m{suffix}")
    document = judged(right[0], path)
    assert document.verdict == "wrong"
    assert document.detail == "input 0 of the file has shape (2, 6), the prepared model's (4, 6)"


def test_an_operation_that_the_evaluator_lacks_is_named_and_the_rest_judged(
    right: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    prepared, files = right
    monkeypatch.delitem(executor.OPERATIONS, "relu")
    document = judged(prepared, files[".mlpackage"])
    assert document.verdict == "unsupported"
    verdicts = {layer.name: layer.verdict for layer in document.layers}
    assert verdicts.pop("relu") == "unsupported"
    assert list(verdicts) == ["input", "linear_1"]
    assert set(verdicts.values()) <= {"exact", "admissible"}
    assert {weight.verdict for weight in document.weights} == {"exact"}
    (relu,) = [layer for layer in document.layers if layer.name == "relu"]
    assert relu.detail == "not computed: the evaluator lacks relu"
    assert document.end_to_end is not None
    assert document.end_to_end.detail.startswith("some outputs not computed: the evaluator lacks")

    def other_bias(tensor: Any) -> None:
        tensor.floats.values[0] += 1.0

    edit = mil_edits.constant("linear", 1, "bias", other_bias)
    document = judged(prepared, mil_edits.edited_package(files[".mlpackage"], edit, tmp_path))
    assert document.verdict == "wrong"
    verdicts = {layer.name: layer.verdict for layer in document.layers}
    assert (verdicts["relu"], verdicts["linear_1"]) == ("unsupported", "wrong")


def test_a_form_of_an_operation_that_the_evaluator_lacks(
    right: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def lacking(given: Any) -> Any:
        raise UnsupportedOperationError(["relu"], "of rank 2")

    monkeypatch.setitem(executor.OPERATIONS, "relu", lacking)
    document = judged(right[0], right[1][".mlpackage"])
    assert [x.verdict for x in document.layers if x.name == "relu"] == ["unsupported"]
    assert document.verdict == "unsupported"


def test_an_operation_that_no_bound_is_known_for_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(step_table.TABLE, "tan")

    class Tangent(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.linear(torch.tan(x)))

    subject = Subject("m", Tangent().eval(), [(X,)])
    document = check_export(subject, QuantizerConfig(), Question("coreml"))
    assert document.verdict == "unsupported"
    (layer,) = [x for x in document.layers if x.verdict == "unsupported"]
    assert layer.detail == "no bound is known for tan"
    assert failing(document) == [layer.name]


def test_what_the_exporter_refuses_is_its_own_crash() -> None:
    spec = {"dtype": "float8_e4m3fn"}
    config = QuantizerConfig.from_dict(
        {"quantization_config": {"global_config": {"op_state_spec": {"weight": spec}}}}
    )
    document = check_export(Subject("m", two_layers().eval(), [(X,)]), config, Question("coreml"))
    assert document.verdict == "crashed"
    assert document.detail.startswith("CoreMLExportError: ")
    assert document.detail.count("float8_e4m3fn") == 2, "a layer that is refused is not named"


@pytest.mark.parametrize("half", [False, True])
def test_a_constant_that_the_file_quantizes_when_it_runs(half: bool) -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(6, 6)
            # In 16 bits some of so many are rounded over a tie before they are quantized.
            self.register_buffer("shift", torch.randn(400, len(X), 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.relu(self.shift * 0.5 - self.linear(x))

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        subject = Subject("m", Scaled().eval(), [(X,)])
    question = Question("coreai", half, accumulate="float16" if half else "float32")
    document = check_export(subject, QuantizerConfig(), question)
    assert failing(document) == []
    assert [w.detail for w in document.weights if w.name == "mul"] == [
        "quantized when the program runs"
    ]
