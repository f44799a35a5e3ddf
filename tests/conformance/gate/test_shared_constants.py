"""Constants that a model has several times and a file once."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate import mil_edits as mil
from tests.conformance.gate.planting import judged_file
from tests.conformance.gate.stepped import normal
from tests.conformance.gate.support import failing, quiet
from torch import nn

from quant_conformance.gate.alignment.shared_constants import Known, shared
from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.recorder import record
from quant_conformance.gate.recording.subject import Subject, load_config
from quant_conformance.gate.regions.region import Region
from quant_conformance.models.zoo import config_of
from quant_conformance.runtimes import MilExecutor
from quant_torch.export import to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytest.importorskip("coreai_torch")
pytest.importorskip("coremltools")
pytestmark = pytest.mark.filterwarnings("ignore")

X = normal(2, 6, 16)


class Twins(nn.Module):
    """Two layers of equal weights in a row, and a third of others."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.second = copy.deepcopy(self.first)
        self.third = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(torch.relu(self.second(torch.relu(self.first(x)))))


class Beside(Twins):
    """The twins read one tensor, so that a file may compute them once."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(torch.relu(self.first(x)) - torch.relu(self.second(x * 1.0)) * 0.3)


class Slices(nn.Module):
    """The same slice twice: a converter divides its scale for the sum, and not for the product."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.linear = nn.Parameter(torch.randn(1, 10, 16)), nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x + self.table[:, :6]) * self.table[:, :6]


class Ones(nn.Module):
    """Weights of norms that never learned, which converters leave out."""

    def __init__(self) -> None:
        super().__init__()
        self.before, self.after = nn.Parameter(torch.ones(16)), nn.Parameter(torch.ones(16))
        self.linear = nn.Linear(16, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.before * self.linear(x * self.after)


class Lifted(nn.Module):
    """A bias of the channels before the last axis: quantized, given an axis, quantized again.

    A state-space layer adds one so to its time steps.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(16, 12), nn.Linear(6, 4)
        self.bias = nn.Parameter(torch.randn(12))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        channels = self.first(x).transpose(1, 2)
        return self.last(nn.functional.softplus(channels + self.bias.float()[:, None]))


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, dropout=0.0)
    return nn.TransformerEncoder(layer, 2)


MODELS: dict[str, Callable[[], nn.Module]] = {
    "twins": Twins,
    "twins beside each other": Beside,
    "slices": Slices,
    "ones": Ones,
    "copied layers": encoder,
    "lifted bias": Lifted,
}
FILES = [(name, "coreml", config) for name in MODELS for config in ("w8a8", "w8")]
FILES += [("twins", "coreai", "w8a8"), ("copied layers", "coreai", "w8a8")]


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make().eval()


@pytest.mark.parametrize(("name", "backend", "config"), FILES)
def test_equal_constants_are_all_found(name: str, backend: str, config: str) -> None:
    subject = Subject("m", seeded(MODELS[name]), [(X,)])
    chosen = QuantizerConfig.from_dict(config_of(config, "graph"))
    document = check_export(subject, chosen, Question(backend))
    assert failing(document) == []


def test_in_eager_mode() -> None:
    document = check_export(
        Subject("m", seeded(Twins), [(X,)]), load_config(None, "eager"), Question("coreml")
    )
    assert failing(document) == []


@pytest.fixture(scope="module")
def twins(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """A recording of the twins, and their file."""
    quantizer = Quantizer(seeded(Twins), QuantizerConfig())
    with quiet():
        prepared = quantizer.prepare((X,))
        with quantizer.calibration_mode():
            prepared(X)
        recording = record(prepared, (X,))
        path = to_coreml(quantizer, (X,), tmp_path_factory.mktemp("twins") / "m.mlpackage")
    return recording, path


CONSTANT = "constexpr_blockwise_shift_scale"


def other_codes(path: Path, folder: Path, values: Any) -> Path:
    """A code changed of the constant that has these values."""
    stored = MilExecutor(path).stored.values()
    (codes,) = [s.codes for s in stored if np.array_equal(s.dequantized(), values)]
    file = path / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
    at = file.read_bytes().index(codes.tobytes())
    return mil.byte_of_weights(at + 5, lambda byte: byte ^ 1)(path, folder)


def test_a_defect_of_the_one_that_is_shared_is_told_of_both(
    twins: tuple[Any, Path], tmp_path: Path
) -> None:
    recording, path = twins
    assert judged_file(path, recording) == set()
    found = judged_file(
        other_codes(path, tmp_path, recording.values["quantized first.weight"]), recording
    )
    assert found == {"first.weight", "second.weight"}


def test_a_code_of_a_lifted_bias(tmp_path: Path) -> None:
    """The sum that reads it is judged by its own constant, and not taken for right."""
    quantizer = Quantizer(seeded(Lifted), QuantizerConfig())
    with quiet():
        prepared = quantizer.prepare((X,))
        with quantizer.calibration_mode():
            prepared(X)
        recording = record(prepared, (X,))
        path = to_coreml(quantizer, (X,), tmp_path / "m.mlpackage")
    assert judged_file(path, recording) == set()
    (bias,) = [q for q in recording.quantizations if recording.values[q.source].shape == (12,)]
    found = judged_file(other_codes(path, tmp_path, recording.values[bias.result]), recording)
    assert bias.facts.name in found


@pytest.mark.parametrize(("layer", "name"), [(0, "first.weight"), (1, "second.weight")])
def test_one_of_the_two_left_whole(
    twins: tuple[Any, Path], tmp_path: Path, layer: int, name: str
) -> None:
    recording, path = twins
    values = recording.values["first.weight"]

    def edit(block: Any) -> None:
        shared = mil.operation(block, CONSTANT, 0)
        whole = type(shared)()
        whole.CopyFrom(shared)
        whole.outputs[0].name = "whole"
        block.operations.insert(0, whole)
        mil.whole(CONSTANT, 0, values)(block)
        mil.reading("linear", layer, "weight", lambda _: "whole")(block)

    assert judged_file(mil.edited_package(path, edit, tmp_path), recording) == {name}


def test_the_third_for_one_of_the_twins(twins: tuple[Any, Path], tmp_path: Path) -> None:
    recording, path = twins
    edit = mil.reading("linear", 1, "weight", mil.input_of("linear", 2, "weight"))
    found = judged_file(mil.edited_package(path, edit, tmp_path), recording)
    assert "relu_1" in found


OPERATIONS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "x": ("input", ()),
    "one": ("linear", ("x", "w")),
    "two": ("linear", ("one", "v")),
    "three": ("linear", ("two", "turned")),
    "turned": ("transpose", ("w", "axes")),
}
FIXED = {name: np.array([index], np.float32) for index, name in enumerate(("one", "two", "three"))}


def region(target: str, *operands: str) -> Region:
    return Region(target, target, None, (), operands)


def known(stored: set[str], **results: str) -> Known:
    return Known(OPERATIONS, results, FIXED, stored)


ALIKE = {"a": "a", "b": "a", "c": "a"}
REGIONS = [region("A", "a"), region("B", "b"), region("C", "c")]


@pytest.mark.parametrize(
    ("pairs", "results", "stored", "wanted"),
    [
        # One for all: those are found that read it, as it is or turned.
        ({"a": "w"}, {"A": "one", "C": "three"}, {"w"}, {"a": "w", "b": "w", "c": "w"}),
        # The layer of b is in the file, and reads another.
        ({"a": "w"}, {"A": "one", "B": "two"}, {"w", "v"}, {"a": "w", "c": "w"}),
        # Values do not tell which is which; what reads them does.
        (
            {"a": "v", "b": "w"},
            {"A": "one", "B": "two"},
            {"w", "v"},
            {"a": "w", "b": "v", "c": "v"},
        ),
        # The first is not in the file: what was taken for it is that of the third.
        ({"a": "w"}, {"A": "two", "C": "one"}, {"w"}, {"b": "w", "c": "w"}),
        ({}, {"A": "one"}, {"w"}, {}),
    ],
)
def test_which_layer_reads_which(
    pairs: dict[str, str], results: dict[str, str], stored: set[str], wanted: dict[str, str]
) -> None:
    assert shared(pairs, ALIKE, REGIONS, known(stored, **results)) == wanted


def test_constants_that_are_not_equal_keep_their_pairs() -> None:
    pairs = {"a": "w", "b": "v"}
    assert shared(pairs, {"a": "a", "b": "b"}, REGIONS, known({"w", "v"}, A="two")) == pairs
