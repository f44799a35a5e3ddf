"""Defects that no recorded value shows, and right files that probes do not call wrong."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.planting import Mixed
from tests.conformance.gate.stepped import normal
from torch import nn
from torch.nn import functional as f

from quant_conformance.gate.check import SUFFIXES, Question, check_export, open_program
from quant_conformance.gate.document import Layer
from quant_conformance.gate.judging.comparison import compare
from quant_conformance.gate.judging.probes import probe_codes, probe_values
from quant_conformance.gate.judging.probing import Probing
from quant_conformance.gate.judging.reproductions import Reproductions
from quant_conformance.gate.recording.quantizers import QuantizerFacts
from quant_conformance.gate.recording.recorder import Quantization, record
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.models.zoo import config_of
from quant_conformance.models.zoo.prepare import build
from quant_conformance.runtimes.coreml import executor
from quant_conformance.runtimes.coreml.operands import Inputs
from quant_conformance.runtimes.quiet import quiet
from quant_reference import QParams, QuantizationSpec, quantize
from quant_reference.admissible import Arithmetic
from quant_torch.export import save_coreai, save_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

BACKENDS = ("coreai", "coreml")
RELU, SUB, GELU = "fake_quantize_relu", "fake_quantize_sub", "fake_quantize_gelu"
Change = Callable[[Any], None]


class Before(nn.Module):
    """A quantizer behind a function."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor], inner: nn.Module) -> None:
        super().__init__()
        self.function, self.inner = function, inner

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.inner(self.function(x))


def before(name: str, function: Callable[[torch.Tensor, float, int], torch.Tensor]) -> Change:
    """A function of the value, the scale and the zero point in front of a quantizer."""

    def plant(graph: Any) -> None:
        inner = graph.get_submodule(name)
        scale = float(inner.scale)
        zero = 0 if inner.zero_point is None else int(inner.zero_point)
        setattr(graph, name, Before(lambda x: function(x, scale, zero), inner))

    return plant


def all_codes(graph: Any) -> None:
    """The code that clipping leaves out is used."""
    for module in graph.modules():
        if hasattr(module, "clips"):
            module.clips = False


@functools.cache
def calm(name: str, config: str) -> tuple[Any, Any, Any]:
    """A model that was calibrated with larger values than the recorded ones: none saturates."""
    with quiet():
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = Mixed() if name == "mixed" else build(name)
        example = model.batches(1)[0]
        quantizer = Quantizer(model.eval(), QuantizerConfig.from_dict(config_of(config, "graph")))
        larger = tuple(2.5 * x for x in example)
        prepared = quantizer.prepare(larger)
        with quantizer.calibration_mode():
            prepared(*larger)
        return quantizer, record(prepared, example), example


def exported(backend: str, name: str, config: str, folder: Path, plant: Change) -> Path:
    """The file of a calm model whose finalized form is changed."""
    quantizer, _, example = calm(name, config)
    path = folder / f"m{SUFFIXES[backend]}"
    with quiet():
        finalized = copy.deepcopy(quantizer).finalize(backend=backend)
        plant(finalized)
        finalized.recompile()
        save = save_coreai if backend == "coreai" else save_coreml
        return save(finalized, example, path)


def nothing(graph: Any) -> None:
    """No change; for a file that is judged as it is."""


PLANTED: dict[str, tuple[str, str, str, Change, set[str]]] = {
    "a clamp at -128": ("coreai coreml", "mixed", "clipping", all_codes,
        {"x", "conv2d_1", "conv2d_2", "sub", "sub/mean", "linear"}),
    "another quant_min": (
        "coreai coreml", "mixed", "w8a8",
        before(SUB, lambda x, s, z: x.clamp(min=(-127.4 - z) * s)), {"sub", "sub/mean"},
    ),
    "another quant_max": (
        "coreai coreml", "mixed", "w8a8",
        before(RELU, lambda x, s, z: x.clamp(max=(126.4 - z) * s)), {"relu"},
    ),
    "a clamp before the zero point": (
        "coreai coreml", "mixed", "uint8_asymmetric",
        before(SUB, lambda x, s, z: x.clamp(min=(0.6 - z) * s)), {"sub", "sub/mean"},
    ),
    "a scale that is off beyond the data": (
        "coreai coreml", "mixed", "uint8_asymmetric",
        before(SUB, lambda x, s, z: x.minimum(x * 0.9 + (220 - z) * s * 0.1)), {"sub/mean"},
    ),
    "the greatest of an fp8": (
        "coreai", "mixed", "fp8",
        before(RELU, lambda x, s, z: x.clamp(max=430.0 * s)), {"relu"},
    ),
    "a table that ends before the codes do": (
        "coreai coreml", "mlp", "w8a8", nothing, {"gelu"},
    ),
}  # fmt: skip


def short_table(graph: Any) -> None:
    """A gelu of values that are clamped beyond all that is recorded."""
    (target,) = (n for n in graph.graph.nodes if n.name == "gelu")
    recording = calm("mlp", "w8a8")[1]
    (operation,) = (o for o in recording.operations if o.name == "gelu")
    most = 1.01 * float(np.abs(recording.values[operation.inputs[0]]).max())
    with graph.graph.inserting_before(target):
        clamped = graph.graph.call_function(torch.clamp, (target.args[0], -most, most))
    target.args = (clamped, *target.args[1:])


PLANTED["a table that ends before the codes do"] = (
    *PLANTED["a table that ends before the codes do"][:3],
    short_table,
    {"gelu"},
)

CASES = [(name, backend) for name, case in PLANTED.items() for backend in case[0].split()]


@pytest.mark.parametrize(("name", "backend"), CASES)
def test_a_defect_that_the_recorded_batch_does_not_show(
    name: str, backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, model, config, plant, named = PLANTED[name]
    path = exported(backend, model, config, tmp_path, plant)
    layers = judged(path, calm(model, config)[1])
    assert {layer.name for layer in layers if layer.verdict == "wrong"} == named
    assert all("on probe inputs" in x.detail for x in layers if x.verdict == "wrong")
    with monkeypatch.context() as patched:
        patched.setattr(Probing, "faults", lambda *_: iter(()))
        layers = judged(path, calm(model, config)[1])
    assert {layer.verdict for layer in layers} <= {"exact", "admissible"}


def test_a_runtime_that_rounds_ties_away_from_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Core ML evaluator in the place of a runtime."""
    right = executor.OPERATIONS["quantize"]

    def rounds_away(given: Any) -> Any:
        x = given.tensor("input").numpy()
        scale = np.float32(given.tensor("scale").numpy())
        tie = np.abs(x / scale - np.trunc(x / scale)) == 0.5
        moved = torch.from_numpy(np.where(tie, np.nextafter(x, 2 * x), x))
        return right(Inputs("quantize", {**given._values, "input": moved}))

    path = exported("coreml", "mixed", "w8a8", tmp_path, nothing)
    recording = calm("mixed", "w8a8")[1]
    assert {x.verdict for x in judged(path, recording)} <= {"exact", "admissible"}
    monkeypatch.setitem(executor.OPERATIONS, "quantize", rounds_away)
    layers = judged(path, recording)
    wrong = {x.name for x in layers if x.verdict == "wrong"}
    assert wrong == {"x", "relu", "conv2d_1", "conv2d_2", "sub/mean", "linear"}
    assert all("on probe inputs" in x.detail for x in layers if x.verdict == "wrong")


def judged(path: Path, recording: Any, keep: Any = None) -> list[Layer]:
    with quiet():
        program = open_program(path)
        try:
            if keep is not None:
                keep = Reproductions(keep, program).keep
            return compare(recording, program, Arithmetic(), keep).layers
        finally:
            program.close()


class Bounded(nn.Module):
    """Operations with bounded results before quantizers: what no probe may leave."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 1)
        self.three, self.head = nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Four activations in a row."""
        x = f.relu6(self.one(x))
        x = f.hardsigmoid(self.two(x))
        x = f.hardtanh(self.three(x), -0.5, 2.0)
        return self.head(torch.cat([f.silu(x), x.clamp(0.1, 0.3)], 2).mean((2, 3))).sigmoid()

    def batches(self, count: int) -> Iterator[tuple[torch.Tensor, ...]]:
        """Inputs."""
        return [(normal(2, 3, 8, 8, seed=n),) for n in range(count)]


@pytest.mark.parametrize("config", ["clipping", "uint8_asymmetric"])
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_an_operation_cannot_give_is_not_asked(backend: str, config: str) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Bounded().eval()
    subject = Subject("bounded", model, model.batches(3))
    configured = QuantizerConfig.from_dict(config_of(config, "graph"))
    document = check_export(subject, configured, Question(backend))
    details = [
        (x.name, x.detail) for x in document.layers if x.verdict not in ("exact", "admissible")
    ]
    assert details == []
    assert document.verdict in ("exact", "admissible")


def test_a_reproduction_of_a_probe(tmp_path: Path) -> None:
    _, model, config, plant, _ = PLANTED["another quant_max"]
    path = exported("coreai", model, config, tmp_path, plant)
    layers = judged(path, calm(model, config)[1], tmp_path / "repro")
    (wrong,) = [x for x in layers if x.verdict == "wrong"]
    assert wrong.repro is not None
    with np.load(Path(wrong.repro) / "data.npz") as data:
        outside = (data["got"] < data["low"]) | (data["got"] > data["high"])
    assert int(outside.sum()) == wrong.wrong > 0


def quantization(spec: QuantizationSpec, qparams: QParams) -> Quantization:
    return Quantization(QuantizerFacts("x", "activation", spec, qparams), "x", "q")


def scaled(scale: float, zero_point: int | None = None) -> QParams:
    zero = None if zero_point is None else np.full((1,), zero_point, np.int32)
    return QParams(np.full((1,), scale, np.float32), zero)


EVERY = (-math.inf, math.inf)
SPECS = {
    "int8": (QuantizationSpec("int8"), scaled(0.37, 0), 256),
    "clipping": (QuantizationSpec("int8", "symmetric_with_clipping"), scaled(0.37, 0), 255),
    "uint8": (QuantizationSpec("uint8", "asymmetric"), scaled(0.011, 117), 256),
    "int4": (QuantizationSpec("int4"), scaled(1.7, 0), 16),
    "fp8": (QuantizationSpec("float8_e4m3fn"), scaled(0.37), 253),
}


@pytest.mark.parametrize("name", SPECS)
def test_probes_hold_every_code_both_ends_and_ties(name: str) -> None:
    spec, qparams, codes = SPECS[name]
    asked = quantization(spec, qparams)
    values = probe_values(asked, (2000,), EVERY)
    given = quantize(values, spec, qparams)
    assert np.isfinite(values).all()
    assert 0.0 in values
    assert len(set(given.tolist()) - {0x80} if name == "fp8" else set(given.tolist())) == codes
    # Moved by a part in a million, codes change: there are ties, beyond the ends and at them, too.
    for factor in (1 + 2.0**-20, 1 - 2.0**-20):
        moved = quantize(values * np.float32(factor), spec, qparams)
        assert np.count_nonzero(moved != given) > codes // 4
    small = quantize(probe_values(asked, (7,), EVERY), spec, qparams)
    assert {given.min(), given.max()} <= {*small.tolist(), *given.tolist()}
    read = probe_codes(asked, (4096,), EVERY, turn=3)
    assert set(read.tolist()) == {*given.tolist()} - ({0x80} if name == "fp8" else set())


def test_probes_stay_where_the_operation_before_them_is() -> None:
    spec, qparams, _ = SPECS["int8"]
    asked = quantization(spec, qparams)
    values = probe_values(asked, (900,), (0.0, 6.0))
    assert (values.min(), values.max()) == (0.0, 6.0)
    read = probe_codes(asked, (900,), (0.0, 6.0), turn=0)
    assert (read.min(), read.max()) == (0, 16)


class Selecting(nn.Module):
    """Comparisons and selections, a division that rounds, and an interpolation by a factor."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.three, self.four = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)
        self.register_buffer("mask", torch.arange(8) % 3 == 0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Several regions without a sum of products at their ends."""
        y, z = self.one(x), self.two(x)
        y = torch.where(y > z, y, z * 0.5).abs().masked_fill(self.mask, -0.5)
        y = torch.minimum(torch.maximum(y, z.floor()), torch.threshold(z, 0.1, -2.0))
        y = torch.div(self.three(y), 0.37, rounding_mode="floor")
        return self.four(f.interpolate(y, scale_factor=1.7, mode=self.mode))


@pytest.mark.parametrize(("backend", "mode"), [("coreai", "bilinear"), ("coreml", "nearest")])
def test_right_files_of_what_is_exact(backend: str, mode: str) -> None:
    """Each system by the mode that it gets right."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Selecting(mode).eval()
    batches = [(normal(2, 3, 8, 8, seed=n),) for n in range(3)]
    configured = QuantizerConfig.from_dict(config_of("w8a8", "graph"))
    document = check_export(Subject("selecting", model, batches), configured, Question(backend))
    passing = ("exact", "admissible")
    assert [(x.name, x.detail) for x in document.layers if x.verdict not in passing] == []
    assert document.verdict in passing
