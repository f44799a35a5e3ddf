"""The command ``check-export``: exit codes, what it prints, what it writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.support import quiet

from quant_conformance.cli import main
from quant_conformance.commands import check_export as command
from quant_conformance.gate import check
from quant_conformance.gate.document import GateDocument, Layer
from quant_conformance.gate.recording.prepared import prepare_subject
from quant_conformance.gate.recording.subject import load_config, load_subject
from quant_conformance.report.html import check_gate
from quant_torch.export import save_coreai, save_coreml

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

MODELS = """
import torch
from torch import nn

def convnet():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)
    )
    return {"model": model, "batches": [torch.randn(2, 3, 6, 6) for _ in range(3)]}

def alone():
    return convnet()["model"]

def prepared():
    return {"prepared": convnet()["model"], "example_inputs": torch.ones(2, 3, 6, 6)}

def data():
    return [torch.ones(2, 3, 6, 6) * i for i in range(1, 3)]
"""
CONFIG = """quantization_config:
  execution_mode: eager
  global_config:
    op_state_spec:
      weight: {dtype: int4, granularity: {type: per_channel}}
    op_input_spec: null
    op_output_spec: null
"""
SUFFIX = {"coreai": ".aimodel", "coreml": ".mlpackage"}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "nets.py").write_text(MODELS)
    (tmp_path / "w4.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def called(*arguments: str) -> int:
    return main(["check-export", *arguments])


@pytest.mark.parametrize(
    ("backend", "mode"),
    [(b, m) for b in ("coreai", "coreml") for m in ("graph", "eager")],
)
def test_a_right_export(
    backend: str, mode: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--backend", backend, "--mode", mode, "--json", "g.json", "--html", "g.html")
    assert called("nets.py:convnet", *arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "tensor",
        *["computed", "by", "verdict", "one", "code", "flipped", "SQNR"],
    ]
    assert lines[-4] == "quantized: 100.0% of 428 parameters and 100.0% of 4,096 multiply-adds"
    assert lines[-3] == "weights: 2 of 2 exact"
    assert lines[-2].startswith("end to end: ")
    assert lines[-1] in ("verdict: exact", "verdict: admissible")
    document = json.loads((folder / "g.json").read_text())
    check_gate(document)
    assert (document["model"], document["mode"], document["backend"]) == (
        "nets.py:convnet", mode, backend,
    )  # fmt: skip
    assert document["config"] == "default"
    assert document["facts"]["command"].startswith("quant-conformance")
    assert document["shares"] == {
        "parameters": 428, "quantized_parameters": 428, "multiply_adds": 4096,
        "quantized_multiply_adds": 4096, "in_float": [], "wanted": None,
    }  # fmt: skip
    names = [layer["name"] for layer in document["layers"]]
    if mode == "graph":
        assert names == ["input", "relu", "relu/again", "linear"]
    assert [w["name"] for w in document["weights"]] == ["0.weight", "3.weight"]
    assert f"exported to {backend}" in (folder / "g.html").read_text()
    assert not (folder / "repro").exists()


def planted(backend: str, path: Path) -> None:
    """The model's export, but that one channel of a bias is off by one and a half codes."""
    with quiet():
        subject = load_subject("nets.py:convnet")
        quantizer, _ = prepare_subject(subject, load_config(None, None))
        finalized = quantizer.finalize(backend=backend)
        with torch.no_grad():
            bias = finalized.get_submodule("3").bias
            bias[2] += 1.5 * float(finalized.get_submodule("fake_quantize_linear").scale)
        save = {"coreai": save_coreai, "coreml": save_coreml}[backend]
        save(finalized, subject.example.args, path)


@pytest.mark.parametrize("backend", SUFFIX)
def test_a_wrong_file(backend: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = folder / f"planted{SUFFIX[backend]}"
    planted(backend, path)
    # The kind of the file goes before --backend.
    other = {"coreai": "coreml", "coreml": "coreai"}[backend]
    options = ("--artifact", str(path), "--backend", other, "--repro", "r", "--json", "g.json")
    assert called("nets.py:convnet", *options) == 1
    out = capsys.readouterr().out
    assert "wrong linear [ADM-2, Q-1, Q-2, Q-3]: 2 of 10 elements wrong" in out
    assert "  at [0, 2]: got " in out or "  at [1, 2]: got " in out
    assert "  reproduce with: python r/linear/reproduce.py" in out
    assert out.endswith("verdict: wrong\n")
    document = json.loads((folder / "g.json").read_text())
    verdicts = {layer["name"]: layer["verdict"] for layer in document["layers"]}
    assert [name for name, verdict in verdicts.items() if verdict == "wrong"] == ["linear"]
    assert document["backend"] == backend
    assert (folder / "r" / "linear" / "reproduce.py").is_file()


def test_weights_only_by_a_config_in_16_bits(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--config", "w4.yaml", "--backend", "coreml", "--cast-16bit", "--json", "g.json")
    assert called("nets.py:convnet", *options) == 0
    document = json.loads((folder / "g.json").read_text())
    assert (document["mode"], document["config"]) == ("eager", "w4.yaml")
    assert document["cast_16bit"] is True
    assert {w["dtype"] for w in document["weights"]} == {"int4"}


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize(("least", "code"), [("25%", 0), ("0.25", 0), ("25.3%", 1), ("95%", 1)])
def test_too_little_is_quantized(
    mode: str, least: str, code: int, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the parameters 108 in the convolution of 428, so 25.23 %, though all of it is right."""
    (folder / "part.yaml").write_text(
        f"quantization_config: {{execution_mode: {mode}, module_name_configs: {{'3': null}}}}"
    )
    options = ("--config", "part.yaml", "--json", "g.json", "--html", "g.html")
    assert called("nets.py:convnet", *options, "--min-quantized", least) == code
    out = capsys.readouterr().out
    assert "quantized: 25.2% of 428 parameters and 84.4% of 4,096 multiply-adds" in out
    assert (", less than the 0.25" in out or ", less than the 0.95" in out) == bool(code)
    assert "  in float 3.weight (320, addmm): the config leaves its module alone" in out
    assert out.splitlines()[-1] in ("verdict: exact", "verdict: admissible")
    document = json.loads((folder / "g.json").read_text())
    check_gate(document)
    assert [one["name"] for one in document["shares"]["in_float"]] == ["3.weight"]
    assert "3.weight (320, read by addmm) is in float" in (folder / "g.html").read_text()


@pytest.mark.parametrize("least", ["", "most", "101%", "-1", "95"])
def test_a_share_that_is_none(least: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert called("nets.py:convnet", "--min-quantized", least) == 2
    assert "--min-quantized" in capsys.readouterr().err


def test_what_another_package_prepared_is_counted(folder: Path) -> None:
    pytest.importorskip("coreai_opt")
    (folder / "other.py").write_text(
        MODELS + "from coreai_opt.quantization import Quantizer\n"
        "def net():\n"
        "    x = torch.randn(2, 3, 6, 6)\n"
        "    quantizer = Quantizer(convnet()['model'].eval())\n"
        "    prepared = quantizer.prepare((x,))\n"
        "    return {'prepared': prepared, 'finalized': quantizer.finalize(),"
        " 'example_inputs': (x,)}\n"
    )
    called("other.py:net", "--json", "g.json")
    shares = json.loads((folder / "g.json").read_text())["shares"]
    assert (shares["quantized_parameters"], shares["parameters"]) == (428, 428)


def test_sums_in_float16_widen_the_sets(folder: Path) -> None:
    shares = {}
    for accumulate in ("float32", "float16"):
        options = ("--accumulate", accumulate, "--cast-16bit", "--json", "g.json")
        assert called("nets.py:convnet", *options, "--backend", "coreml") == 0
        document = json.loads((folder / "g.json").read_text())
        (last,) = [layer for layer in document["layers"] if layer["name"] == "linear"]
        shares[accumulate] = last["single"]
    assert shares["float16"] < shares["float32"]


def test_data_from_a_file_and_from_a_loader(folder: Path) -> None:
    passes = np.random.default_rng(1).normal(size=(3, 2, 3, 6, 6)).astype(np.float32)
    np.savez(folder / "d.npz", input_0=passes)
    for data in ("d.npz", "nets.py:data"):
        assert called("nets.py:alone", "--data", data, "--backend", "coreml") == 0
    assert called("nets.py:alone", "--backend", "coreml") == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("none.py:convnet",), "none.py"),
        (("nets.py:nothing",), "nothing"),
        (("nets.py:alone",), "brings no data; give --data"),
        (("nets.py:convnet", "--json", "no/g.json"), "cannot write no/g.json: there is no folder"),
        (("nets.py:convnet", "--html", "no/g.html"), "cannot write no/g.html: there is no folder"),
        (("nets.py:convnet", "--config", "no.yaml"), "there is no config no.yaml"),
        (("nets.py:convnet", "--config", "nets.py"), "nets.py is no valid config"),
        (("nets.py:convnet", "--data", "no.npz"), "there is no such file"),
        (("nets.py:convnet", "--artifact", "no.aimodel"), "there is no folder no.aimodel"),
        (("nets.py:convnet", "--artifact", "nets.py"), "neither an .aimodel nor an .mlpackage"),
        (("nets.py:prepared",), "a prepared model needs its finalized form, or a file made"),
        (("nets.py:prepared", "--mode", "eager"), "--config and --mode say nothing about it"),
        (("nets.py:convnet", "--backend", "onnx"), "'onnx' is not one of"),
        (("nets.py:convnet", "--timeout", "0"), "0.01"),
        ((), "Missing argument"),
    ],
)
def test_what_is_a_mistake_of_the_user(
    arguments: tuple[str, ...], said: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(folder.iterdir())
    assert called(*arguments) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", " ").split())
    assert [p for p in sorted(folder.iterdir()) if p.name != "__pycache__"] == before


def unlikely(*_: Any) -> GateDocument:
    layers = [Layer("relu", "relu", ["ADM-5"], "unlikely", "int8", 4, unlikely=1, detail="1 of 4")]
    return GateDocument("m", "", "graph", "coreml", False, layers=layers)


def test_what_is_unlikely_fails_unless_it_is_allowed_by_name(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(check, "check_export", unlikely)
    arguments = ("nets.py:convnet", "--json", "g.json", "--html", "g.html")
    assert called(*arguments, "--allow-unlikely", "linear") == 2
    assert "--allow-unlikely 'linear': no tensor of that name is" in capsys.readouterr().err
    assert not (folder / "g.json").exists()
    assert not (folder / "g.html").exists()
    assert called(*arguments) == 1
    assert capsys.readouterr().out.endswith("verdict: unlikely\n")
    assert called(*arguments, "--allow-unlikely", "r*") == 0
    assert capsys.readouterr().out.endswith("verdict: admissible\n")
    (layer,) = json.loads((folder / "g.json").read_text())["layers"]
    assert layer["detail"] == "1 of 4 (allowed)"


def test_a_package_that_is_missing_is_named_with_what_mends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Util:
        @staticmethod
        def find_spec(name: str) -> object:
            return None if name in ("coremltools", "torchao") else object()

    monkeypatch.setattr(command, "util", Util)
    assert called("nets.py:convnet", "--backend", "coreml") == 2
    assert (
        "check-export needs torchao, coremltools; install with: "
        "pip install 'quant-conformance[conformance,torch,coreml]'"
    ) in capsys.readouterr().err
