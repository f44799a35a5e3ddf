"""The command record: what it prints, refuses and leaves behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.recorded import MODELS, here, recorded

from quant_conformance.cli import main
from quant_conformance.commands import check_export as command
from quant_conformance.errors import UsageError
from quant_conformance.gate.freezing import vector_set as record
from quant_vectors import SetWriter, load

Capture = pytest.CaptureFixture[str]


def call(out: Path, *more: str, model: str = MODELS["mlp"]) -> int:
    return main(["record", model, "--mode", "eager", "--out", str(out), *more])


def test_it_tells_what_it_recorded_and_the_set_can_be_run(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    assert call(out) == 0
    printed = capsys.readouterr().out
    lines = [" ".join(line.split()) for line in printed.splitlines()]
    assert lines[0] == "tensor computed by elements one code"
    assert lines[1] == "layers.0.linear input input quantize 256 100 %"
    assert any(line.startswith("output 0 the whole model 128 ") for line in lines)
    assert any(line.startswith("7 cases, 0 left out, ") for line in lines)
    assert f"quant-conformance run --vectors {out} --backend BACKEND" in printed.replace("\n", "")
    backend = ["--backend", here("ExactLayers"), "--no-isolate"]
    assert main(["run", "--vectors", str(out), *backend]) == 0
    assert main(["run", "--vectors", str(out), "--backend", here("ShiftedMlp")]) == 1
    assert "wrong model_output/0" in capsys.readouterr().out


def test_the_manifest_says_what_was_recorded(tmp_path: Path) -> None:
    assert call(tmp_path / "set", "--layers", "linear output") == 0
    manifest = load(path=tmp_path / "set").manifest
    assert manifest["version"] == "recorded"
    assert manifest["seed"] == f"{MODELS['mlp']}, config default, mode eager"
    assert manifest["generator"].startswith("quant-conformance ")
    assert ", torch " in manifest["generator"]


def test_what_is_left_out_is_said(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path / "set", model=here("Wavy")) == 0
    said = "second.linear input input: no bound is known for lgamma"
    printed = " ".join(capsys.readouterr().out.split())
    assert f"left out {said}" in printed
    assert "output 0 the whole model 8 not judged" in printed
    assert "for information output 0: no bound is known for lgamma" in printed


def test_a_run_says_what_the_set_lacks(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path / "set", model=here("Wavy")) == 0
    main(["run", "--vectors", str(tmp_path / "set"), "--backend", "numpy-reference"])
    said = "left out when the set was recorded: second.linear input input (no bound is known for"
    assert said in capsys.readouterr().out


def test_what_only_differs_is_told_and_fails_nothing(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path / "set", model=here("Wavy")) == 0
    results = tmp_path / "results.json"
    backend = ["--vectors", str(tmp_path / "set"), "--backend", here("Zeros")]
    quantized = ["--case", "layer/first.linear_input*", "--case", "model_output/*"]
    assert main(["run", *backend, *quantized, "--json", str(results)]) == 0
    assert "policy model_output: differs (1)" in capsys.readouterr().out
    case = json.loads(results.read_text())["cases"][-1]
    # By itself it shows nothing, and what judged nothing does not pass.
    assert main(["run", *backend, "--family", "model_output"]) == 2
    assert "nothing was judged: of 1 case, none says what is right" in capsys.readouterr().out
    assert (case["verdict"], case["choice"]) == ("policy", "differs")
    assert "8 of 8 values differ, SQNR 0.0 dB" in case["detail"]


def test_a_layer_that_the_backend_lacks_is_named(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    recorded("mlp", "eager", out)
    backend = ["--backend", here("NoLinear"), "--vectors", str(out), "--no-isolate"]
    assert main(["run", *backend]) == 0
    printed = capsys.readouterr().out
    named = "layer/layers.0.linear_output_0 (layers.0.linear output 0: linear)"
    assert f"not supported, no linear layers here: {named}, layer/layers.2.linear" in printed
    assert "not supported, the backend has no model_output(): model_output/0 (output 0" in printed
    assert main(["run", *backend, "--case", "*linear_output*"]) == 2


@pytest.mark.parametrize("kind", ["file", "folder", "link"])
def test_what_is_no_set_is_never_replaced(tmp_path: Path, capsys: Capture, kind: str) -> None:
    out = tmp_path / "mine"
    if kind == "file":
        out.write_text("mine")
    elif kind == "folder":
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    else:
        recorded("mlp", "eager", tmp_path / "set")
        out.symlink_to(tmp_path / "set")
    assert call(out, "--overwrite") == 2
    assert f"{out} is there and is no vector set" in capsys.readouterr().err
    assert out.exists()


def test_a_set_is_replaced_only_on_demand(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    assert call(out) == 0
    before = (out / "manifest.json").read_bytes()
    assert call(out, "--layers", "output") == 2
    assert f"{out} is there; --overwrite replaces it" in capsys.readouterr().err
    assert (out / "manifest.json").read_bytes() == before
    assert call(out, "--layers", "output", "--overwrite") == 0
    assert (out / "manifest.json").read_bytes() != before
    assert [entry.name for entry in tmp_path.iterdir()] == ["set"]


def test_a_folder_that_is_not_there(tmp_path: Path, capsys: Capture) -> None:
    assert call(tmp_path / "no" / "set") == 2
    assert f"there is no folder {tmp_path / 'no'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("model", "said"),
    [
        ("unquantized", "has no quantizer that is on"),
        ("not_prepared", "it is no prepared model, or it is finalized already"),
    ],
)
def test_a_model_without_quantizers(tmp_path: Path, capsys: Capture, model: str, said: str) -> None:
    assert call(tmp_path / "set", model=here(model)) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_config_that_quantizes_nothing(tmp_path: Path, capsys: Capture) -> None:
    config = tmp_path / "none.yaml"
    config.write_text("quantization_config:\n  global_config: null\n")
    assert call(tmp_path / "set", "--config", str(config)) == 2
    assert "has no quantizer that is on" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no.such.module:Model"], "there is no module 'no'"),
        ([MODELS["mlp"], "--config", "none.yaml"], "there is no config none.yaml"),
        ([MODELS["mlp"], "--data", "none.npz"], "there is no such file"),
    ],
)
def test_what_is_not_there(
    tmp_path: Path, capsys: Capture, arguments: list[str], said: str
) -> None:
    assert main(["record", *arguments, "--out", str(tmp_path / "set")]) == 2
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("there", [False, True])
def test_nothing_half_written_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: bool
) -> None:
    out = tmp_path / "set"
    if there:
        recorded("mlp", "eager", out)
    before = {f.name: f.read_bytes() for f in out.iterdir()} if there else {}

    def full(self: SetWriter, folder: Path) -> Any:
        (folder / "layer.safetensors").write_bytes(b"half of it")
        raise OSError("no space left")

    monkeypatch.setattr(SetWriter, "write", full)
    with pytest.raises(UsageError, match=r"cannot write .*: no space left"):
        recorded("mlp", "eager", out, overwrite=True)
    assert [entry.name for entry in tmp_path.iterdir()] == (["set"] if there else [])
    assert {f.name: f.read_bytes() for f in out.iterdir()} == before if there else True


def test_a_set_that_cannot_take_its_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "set"
    recorded("mlp", "eager", out)
    rename = Path.rename

    def refused(self: Path, target: Path) -> Path:
        if self.name == "set" and self.parent != tmp_path:
            raise OSError("refused")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", refused)
    with pytest.raises(UsageError, match=r"cannot write .*: refused"):
        recorded("mlp", "eager", out, overwrite=True)
    assert len(load(path=out)) == 7


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'quant-conformance\[conformance,torch\]'"):
        command.require("record", command.RECORDING)


def test_a_model_of_its_own_data_may_be_given_others(tmp_path: Path) -> None:
    import numpy as np

    data = tmp_path / "data.npz"
    x = np.linspace(-1, 1, 3 * 2 * 64, dtype=np.float32).reshape(3, 2, 64)
    np.savez(data, input_0=x)
    assert call(tmp_path / "set", "--data", str(data)) == 0
    vectors = load(path=tmp_path / "set")
    assert np.array_equal(vectors.inputs(vectors.case("model_output/0"))["input_0"], x[-1])
    assert vectors.version == record.VERSION


def test_a_failure_is_explained_beside_its_set(tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "set"
    recorded("cnn", "graph", out)
    backend = ["--backend", here("OneCodeOff"), "--vectors", str(out), "--no-isolate"]
    assert main(["run", *backend]) == 1
    (hint,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("See why"))
    told = hint.partition("quant-conformance ")[2].split()
    assert main(told) == 0
    story = capsys.readouterr().out.splitlines()
    at = story.index("output     codes: int8[2, 16, 8, 8]")
    (code,) = {line.split()[1] for line in story[at + 2 : at + 4]}  # admissible, likely
    assert story[at + 4].split()[:2] == ["actual", str(int(code) + 1)]
    assert story[at + 5].split()[0] == "computed"  # by plain numpy, before it is quantized
    assert "  1 of 2048 elements are outside, 1 shown" in story[at + 6 :]
    assert any(line.startswith("ADM-12 ") for line in story)
