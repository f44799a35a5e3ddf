"""From a prepared quantizer to a file: written whole, refused in time, run by the executors."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.torch_impl import models
from tests.torch_impl.finalize.specs import expected, per_block
from torch import nn

from quant_conformance.runtimes import CoreAIExecutor, MilExecutor
from quant_torch import CoreMLExportError, ExportBackend
from quant_torch.casting import cast_to_16_bit_precision
from quant_torch.export import save_coreml, to_coreai, to_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:coreai_torch")
coreai_torch = pytest.importorskip("coreai_torch")
MODES = ("eager", "graph")
both = pytest.mark.parametrize("mode", MODES)


def calibrated(model: nn.Module, config: QuantizerConfig, x: torch.Tensor) -> Quantizer:
    quantizer = Quantizer(model.eval(), config)
    prepared = quantizer.prepare((x,))
    with quantizer.calibration_mode():
        prepared(x)
    return quantizer


def output_of_coreai(path: Path, x: torch.Tensor) -> np.ndarray:
    with CoreAIExecutor(path) as executor:
        (output,) = executor.run({executor.inputs[0]: x.numpy()}).values()
        return output


def output_of_coreml(path: Path, x: torch.Tensor) -> np.ndarray:
    executor = MilExecutor(path)
    (output,) = executor.run({executor.inputs[0]: x.numpy()}).values()
    return output


def assert_few_steps_off(given: np.ndarray, wanted: torch.Tensor) -> None:
    """Another order of accumulation may move a code now and then, and nothing else."""
    wanted = wanted.detach().numpy()
    assert given.shape == wanted.shape
    step = np.abs(wanted).max() / 127.5
    assert np.mean(np.abs(given - wanted) > step * 1e-3) < 0.05
    assert np.abs(given - wanted).max() < 3 * step


@both
def test_coreai(mode, tmp_path) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8)
    quantizer = calibrated(models.Cnn(), QuantizerConfig(execution_mode=mode), x)
    wanted = quantizer._prepared(x)
    path = to_coreai(quantizer, (x,), tmp_path / "model.aimodel")
    assert path == tmp_path / "model.aimodel"
    assert_few_steps_off(output_of_coreai(path, x), wanted)
    assert [p.name for p in tmp_path.iterdir()] == ["model.aimodel"]


@both
def test_coreml(mode, tmp_path) -> None:
    torch.manual_seed(0)
    x = torch.randn(1, 3, 8, 8)
    quantizer = calibrated(models.Cnn(), QuantizerConfig(execution_mode=mode), x)
    wanted = quantizer._prepared(x)
    path = to_coreml(quantizer, (x,), tmp_path / "model.mlpackage")
    assert_few_steps_off(output_of_coreml(path, x), wanted)
    assert [p.name for p in tmp_path.iterdir()] == ["model.mlpackage"]


@both
def test_the_long_form_of_the_documentation(mode, tmp_path) -> None:
    x = torch.randn(2, 16)
    quantizer = calibrated(models.Mlp(), QuantizerConfig(execution_mode=mode), x)
    wanted = quantizer._prepared(x)
    finalized_model = quantizer.finalize(backend=ExportBackend.CoreAI)
    exported_program = torch.export.export(finalized_model, (x,)).run_decompositions(
        coreai_torch.get_decomp_table()
    )
    cast_to_16_bit_precision(exported_program)
    converter = coreai_torch.TorchConverter()
    converter.add_exported_program(exported_program)
    ai_program = converter.to_coreai()
    ai_program.save_asset(tmp_path / "model.aimodel")
    given = output_of_coreai(tmp_path / "model.aimodel", x.half())
    assert given.dtype == np.float16
    assert np.abs(given - wanted.detach().numpy()).max() < 0.05


@both
def test_16_bit_cast_rounds_scales_to_float16(mode, tmp_path) -> None:
    x = torch.randn(2, 16)
    model = models.Mlp()
    weights = {n: p.detach().clone() for n, p in model.named_parameters() if n.endswith("weight")}
    quantizer = calibrated(model, QuantizerConfig.presets.w4(execution_mode=mode), x)
    for cast in (False, True):
        path = tmp_path / f"{cast}.aimodel"
        twin = calibrated(model_with(weights), QuantizerConfig.presets.w4(execution_mode=mode), x)
        to_coreai(quantizer if cast else twin, (x,), path, cast_16bit=cast)
        with CoreAIExecutor(path) as executor:
            stored = {tensor.codes.shape: tensor for tensor in executor.stored}
        for weight in weights.values():
            spec = {"dtype": "int4", "granularity": {"type": "per_channel", "axis": 0}}
            codes, qparams, _ = expected(spec, weight)
            found = stored[weight.shape]
            np.testing.assert_array_equal(found.codes, codes)
            scale = qparams.scale.astype(np.float16) if cast else qparams.scale
            np.testing.assert_array_equal(found.scale, scale)
            assert found.scale.dtype == scale.dtype


def model_with(weights: dict[str, torch.Tensor]) -> nn.Module:
    model = models.Mlp()
    with torch.no_grad():
        for name, weight in weights.items():
            model.get_parameter(name).copy_(weight)
    return model


def test_fp4_weights_all_the_way(tmp_path) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(64, 8)), torch.randn(3, 64)
    spec = {"dtype": "float4_e2m1fn", "granularity": per_block(32)}
    weight = model[0].weight.detach().clone()
    config = QuantizerConfig.from_dict(
        {
            "quantization_config": {
                "execution_mode": "eager",
                "global_config": {
                    "op_state_spec": {"weight": spec},
                    "op_input_spec": None,
                    "op_output_spec": None,
                },
            }
        }
    )
    quantizer = calibrated(model, config, x)
    wanted = quantizer._prepared(x)
    path = to_coreai(quantizer, (x,), tmp_path / "fp4.aimodel")
    codes, qparams, _ = expected(spec, weight)
    with CoreAIExecutor(path) as executor:
        (stored,) = executor.stored
    np.testing.assert_array_equal(stored.codes, codes)
    np.testing.assert_array_equal(stored.scale.astype(np.float32), qparams.scale)
    np.testing.assert_allclose(output_of_coreai(path, x), wanted.detach(), rtol=1e-5, atol=1e-5)


def test_a_file_that_is_there_is_kept(tmp_path) -> None:
    x = torch.randn(1, 4)
    for export, name in ((to_coreai, "m.aimodel"), (to_coreml, "m.mlpackage")):
        target = tmp_path / name
        target.mkdir()
        (target / "note").write_text("mine")
        quantizer = calibrated(nn.Linear(4, 4), QuantizerConfig.presets.w8(), x)
        with pytest.raises(FileExistsError, match="overwrite=True"):
            export(quantizer, (x,), target)
        assert (target / "note").read_text() == "mine"
        export(quantizer, (x,), target, overwrite=True)
        assert not (target / "note").exists()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["m.aimodel", "m.mlpackage"]


def test_nothing_is_left_behind_when_writing_fails(tmp_path, monkeypatch) -> None:
    from quant_torch.export._files import write_whole

    def fail(path: Path) -> None:
        path.mkdir()
        (path / "half").write_text("written")
        raise OSError("disk full")

    (tmp_path / "m.aimodel").mkdir()
    (tmp_path / "m.aimodel" / "old").write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write_whole(tmp_path / "m.aimodel", fail)
    assert (tmp_path / "m.aimodel" / "old").read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.aimodel"]


def test_bad_arguments_are_refused_before_the_model_is_finalized(tmp_path) -> None:
    x = torch.randn(1, 4)
    quantizer = calibrated(nn.Linear(4, 4), QuantizerConfig.presets.w8(), x)
    with pytest.raises(ValueError, match=r"must end in \.aimodel"):
        to_coreai(quantizer, (x,), tmp_path / "m.mlpackage")
    with pytest.raises(FileNotFoundError, match="no folder"):
        to_coreai(quantizer, (x,), tmp_path / "nowhere" / "m.aimodel")
    with pytest.raises(ValueError, match="iOS26"):
        to_coreml(quantizer, (x,), tmp_path / "m.mlpackage", deployment_target="iOS62")
    with pytest.raises(ValueError, match="float16, float32"):
        to_coreml(quantizer, (x,), tmp_path / "m.mlpackage", compute_precision="int8")
    with pytest.raises(TypeError, match="tensors"):
        to_coreml(quantizer, (x, 3), tmp_path / "m.mlpackage")
    assert to_coreml(quantizer, (x,), tmp_path / "m.mlpackage", compute_precision="float16")


def test_dynamic_shapes(tmp_path) -> None:
    x = torch.randn(2, 16)
    quantizer = Quantizer(models.Mlp().eval(), QuantizerConfig.presets.w8())
    shapes = ({0: torch.export.Dim("batch")},)
    prepared = quantizer.prepare((x,), dynamic_shapes=shapes)
    path = to_coreai(quantizer, (x,), tmp_path / "m.aimodel", dynamic_shapes=shapes)
    more = torch.randn(5, 16)
    np.testing.assert_allclose(
        output_of_coreai(path, more), prepared(more).detach(), rtol=1e-5, atol=1e-5
    )


class InPlace(nn.Module):
    """In-place operations whose result is read by another name than it was written to."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x)
        held = y
        y += x
        held.mul_(0.5)
        return self.second(y) - held


@both
@pytest.mark.parametrize("export", [to_coreai, to_coreml])
def test_operations_in_place(mode, export, tmp_path) -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 8)
    quantizer = calibrated(InPlace(), QuantizerConfig(execution_mode=mode), x)
    wanted = quantizer._prepared(x)
    if export is to_coreai:
        given = output_of_coreai(to_coreai(quantizer, (x,), tmp_path / "m.aimodel"), x)
    else:
        given = output_of_coreml(to_coreml(quantizer, (x,), tmp_path / "m.mlpackage"), x)
    assert_few_steps_off(given, wanted)


@pytest.mark.parametrize(
    ("config", "old", "least", "given"),
    [
        ("w8", "iOS15", "iOS16", "int8 per_channel weights"),
        ("w8", "macOS12", "iOS16", "int8 per_channel weights"),
        ("w4", "iOS17", "iOS18", "int4 per_channel weights"),
        ("w4_per_block", "iOS17", "iOS18", "int4 per_block weights"),
        ("w8a8", "iOS16", "iOS17", "int8 per_tensor activations"),
    ],
)
@both
def test_an_old_deployment_target_is_refused(mode, config, old, least, given, tmp_path) -> None:
    x = torch.randn(2, 32)
    presets = QuantizerConfig.presets
    chosen = QuantizerConfig(execution_mode=mode)
    if config != "w8a8":
        chosen = getattr(presets, config)(execution_mode=mode)
    quantizer = calibrated(nn.Sequential(nn.Linear(32, 4)), chosen, x)
    with pytest.raises(CoreMLExportError, match=f"{least} can") as refused:
        to_coreml(quantizer, (x,), tmp_path / "m.mlpackage", deployment_target=old)
    assert f"given {given}; allowed: {least} or later" in str(refused.value)
    path = to_coreml(quantizer, (x,), tmp_path / "m.mlpackage", deployment_target=least)
    assert len(MilExecutor(path).stored) == 1


def test_an_old_deployment_target_is_refused_for_a_finalized_model(tmp_path) -> None:
    x = torch.randn(2, 32)
    quantizer = calibrated(nn.Linear(32, 4), QuantizerConfig.presets.w4_per_block(block_size=16), x)
    final = quantizer.finalize(backend=ExportBackend.CoreML)
    with pytest.raises(CoreMLExportError, match=r"weight: given 4-bit weights in blocks"):
        save_coreml(final, (x,), tmp_path / "m.mlpackage", deployment_target="iOS17")
    assert list(tmp_path.iterdir()) == []
