"""Models that coreai-opt prepared and finalized, exported and judged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tests.conformance.gate.support import BOTH, failing, quiet
from torch import nn

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.quantizers import quantizer_modules
from quant_conformance.gate.recording.recorder import record
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.gate.regions.region import Regions
from quant_conformance.models.zoo import config_of
from quant_torch.export import save_coreai, save_coreml

peer = pytest.importorskip("coreai_opt.quantization")
pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = [
    pytest.mark.peers,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
]

BATCHES = [
    (torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(seed)),) for seed in range(4)
]


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(288, 10)
        )
        model[1].running_mean.copy_(torch.randn(8) / 4)  # type: ignore[operator,union-attr]
        model[1].running_var.copy_(torch.rand(8) + 0.5)  # type: ignore[operator,union-attr]
    return model.eval()


def calibrated(mode: str, config: str = "w8a8") -> tuple[Any, Any]:
    """Prepared by coreai-opt and calibrated by its explicit switches."""
    quantizer = peer.Quantizer(network(), peer.QuantizerConfig.from_dict(config_of(config, mode)))
    prepared = quantizer.prepare(BATCHES[0])
    with torch.no_grad():
        quantizer.enable_observer()
        quantizer.disable_fake_quant()
        for batch in BATCHES[:-1]:
            prepared(*batch)
        quantizer.disable_observer()
        quantizer.enable_fake_quant()
    return quantizer, prepared


def finalized(mode: str, backend: str, change: Any = None) -> Any:
    from coreai_opt import ExportBackend

    quantizer, prepared = calibrated(mode)  # anew: finalizing changes what shares its classes
    if change is not None:
        with torch.no_grad():
            change(prepared)
    return quantizer.finalize(backend=ExportBackend(backend))


@pytest.mark.parametrize(("backend", "mode"), BOTH)
def test_its_exports_are_right(backend: str, mode: str) -> None:
    with quiet():
        _, prepared = calibrated(mode)
        subject = Subject(
            "peer", None, BATCHES, prepared=prepared, finalized=finalized(mode, backend)
        )
    document = check_export(subject, None, Question(backend))
    assert document.failure is None, document.detail
    assert failing(document) == []
    assert len(document.weights) == 2
    dtypes = [layer.dtype for layer in document.layers]
    assert dtypes.count("int8") == 4
    assert document.mode == "prepared"


def test_its_quantizers_are_the_recording_s() -> None:
    with quiet():
        _, prepared = calibrated("eager")
        recording = record(prepared, BATCHES[-1])
    names = [path for path, _ in quantizer_modules(prepared)]
    assert {q.facts.name for q in recording.quantizations} == set(names)
    assert [q.facts.spec.granularity.to_dict() for q in Regions(recording).weights] == [
        {"type": "per_channel", "axis": 0}
    ] * 2
    with torch.no_grad():
        right = prepared(*BATCHES[-1]).numpy()
    assert (recording.values[recording.outputs[0]] == right).all()


@pytest.mark.parametrize("backend", ["coreai", "coreml"])
def test_a_file_beside_its_prepared_model(backend: str, tmp_path: Path) -> None:
    """A bias that changed between the calibration and the file is found at its layer."""

    def other_bias(model: Any) -> None:
        model.get_submodule("4").bias += 1

    save: Any = {"coreai": save_coreai, "coreml": save_coreml}[backend]
    suffix = {"coreai": ".aimodel", "coreml": ".mlpackage"}[backend]
    found = []
    for name, change in (("right", None), ("wrong", other_bias)):
        with quiet():
            _, prepared = calibrated("eager")
            path = save(
                finalized("eager", backend, change), BATCHES[-1], tmp_path / f"{name}{suffix}"
            )
        subject = Subject("peer", None, BATCHES, prepared=prepared)
        found.append(failing(check_export(subject, None, Question(backend, artifact=path))))
    assert found == [[], ["4.linear_quantize_output_0"]]
