"""Both executors on quantized models of other people's making, and the weights in the files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from quant_conformance.runtimes import CoreAIExecutor, ExecutorError, MilExecutor
from quant_conformance.runtimes.coreai.stored_weights import stored_tensors

ONE_BLOCK = """
module {
  coreai.graph @main(%arg0: tensor<2x4xf32> {coreai.name = "x"}) {
    %0 = coreai.constant dense_resource<nibbles> : tensor<2x4xsi4>
    %1 = coreai.constant dense<[[5.000000e-01], [0x7FC00000]]> : tensor<2x1xf32>
    %2 = coreai.constant dense<[[-1], [7]]> : tensor<2x1xsi4>
    %3 = coreai.constant dense<0.000000e+00> : tensor<2x1xf32>
    %4 = coreai.blockwise_shift_scale %0, %1, %2, %3 : (tensor<2x4xsi4>) -> tensor<2x4xf32>
    %c = coreai.constant dense<"0x7EFF80"> : tensor<3xf8E4M3FN>
    %s = coreai.constant dense<2.500000e-01> : tensor<1xf8E8M0FNU>
    %z = coreai.constant dense<0.000000e+00> : tensor<1xf8E4M3FN>
    %m = coreai.constant dense<-0.000000e+00> : tensor<1xf32>
    %9 = coreai.blockwise_shift_scale %c, %s, %z, %m : (tensor<3xf8E4M3FN>) -> tensor<3xf32>
    %u = coreai.constant dense<[3, 0]> : tensor<2xui2>
    %v = coreai.constant dense<[1.000000e+00, 2.000000e+00]> : tensor<2xf16>
    %w = coreai.constant dense<0> : tensor<2xui2>
    %x = coreai.constant dense<[-1.500000e+00, 0.000000e+00]> : tensor<2xf16>
    %y = coreai.blockwise_shift_scale %u, %v, %w, %x : (tensor<2xui2>) -> tensor<2xf16>
  }
}
{-#
  dialect_resources: {
    builtin: {
      nibbles: "0x10000000F8211037"
    }
  }
#-}
"""


def test_weights_are_read_from_the_text_of_a_program() -> None:
    int4, fp8, uint2 = stored_tensors(ONE_BLOCK)
    assert (int4.dtype, fp8.dtype, uint2.dtype) == ("int4", "float8_e4m3fn", "uint2")
    # Low nibble first: F8 holds 8 (that is -8), then F (-1).
    np.testing.assert_array_equal(int4.codes, np.int8([[-8, -1, 1, 2], [0, 1, 7, 3]]))
    np.testing.assert_array_equal(int4.scale, np.float32([[0.5], [np.nan]]))
    assert int4.zero_point is not None
    np.testing.assert_array_equal(int4.zero_point, np.int8([[-1], [7]]))
    np.testing.assert_array_equal(int4.dequantized()[0], np.float32([-3.5, 0, 1, 1.5]))
    np.testing.assert_array_equal(fp8.codes, np.uint8([0x7E, 0xFF, 0x80]))
    assert fp8.scale.dtype == ml_dtypes.float8_e8m0fnu
    np.testing.assert_array_equal(fp8.dequantized(), np.float32([112, np.nan, -0.0]))
    assert uint2.minval is not None
    np.testing.assert_array_equal(uint2.dequantized(), np.float32([1.5, 0]))


def test_a_weight_of_something_else_is_refused() -> None:
    text = ONE_BLOCK.replace("%2 = coreai.constant dense<[[-1], [7]]>", "%2 = coreai.cast %8")
    with pytest.raises(ExecutorError, match=r"%2 of .* is not a constant"):
        stored_tensors(text)
    with pytest.raises(ExecutorError, match="a weight of tensors of"):
        stored_tensors(ONE_BLOCK.replace("tensor<2x4xsi4>", "tensor<2x4xsi32>"))
    with pytest.raises(ExecutorError, match="scales of type si4"):
        stored_tensors(ONE_BLOCK.replace("%0, %1, %2", "%0, %2, %2"))


CAST = """
    %s0 = coreai.constant dense<1.52587891E-5> : tensor<1xf32>
    %s = coreai.cast %s0 : tensor<1xf32> to tensor<1xf8E8M0FNU>"""
LOOKED_UP = """
    %t = coreai.constant dense<[[[1.0], [2.5e-01], [1.52587891E-5]]]> : tensor<1x3x1xbf16>
    %i = coreai.constant dense<2> : tensor<1xui8>
    %a = coreai.constant dense<0> : tensor<si16>
    %d = coreai.lut_to_dense %i, %t, %a : (tensor<1xui8>, tensor<1x3x1xbf16>) -> tensor<1xbf16>
    %s = coreai.cast %d : tensor<1xbf16> to tensor<1xf8E8M0FNU>"""


@pytest.mark.parametrize("made", [CAST, LOOKED_UP], ids=["cast", "looked up"])
def test_scales_that_the_program_makes(made: str) -> None:
    """e8m0 scales that coreai-torch cannot write as constants: here 2**-16 of 0x7E, 448."""
    constant = "\n    %s = coreai.constant dense<2.500000e-01> : tensor<1xf8E8M0FNU>"
    assert constant in ONE_BLOCK
    _, weight, _ = stored_tensors(ONE_BLOCK.replace(constant, made))
    assert weight.scale.dtype == ml_dtypes.float8_e8m0fnu
    np.testing.assert_array_equal(weight.dequantized(), np.float32([448 / 2**16, np.nan, -0.0]))
    if made is LOOKED_UP:
        pairs = made.replace("1x3x1xbf16", "1x1x3xbf16")
        with pytest.raises(ExecutorError, match="more than one table, or one of vectors"):
            stored_tensors(ONE_BLOCK.replace(constant, pairs))


@pytest.mark.peers
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_finalized_models_of_the_peer_end_inside(tmp_path: Path) -> None:
    """coreai-opt's W8A8, exported both ways, within the sets of its prepared model."""
    coreai_opt = pytest.importorskip("coreai_opt")
    torch = pytest.importorskip("torch")
    from quant_conformance.gate.recording.recorder import record
    from quant_conformance.gate.regions.propagation import Propagation, Reach
    from quant_conformance.gate.regions.region import Regions

    torch.manual_seed(0)
    nn = torch.nn
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5)).eval()
    inputs = (torch.randn(1, 3, 6, 6),)
    for name, save, executor_of in (
        ("CoreAI", save_aimodel, CoreAIExecutor),
        ("CoreML", save_mlpackage, MilExecutor),
    ):
        quantizer = coreai_opt.quantization.Quantizer(
            model, coreai_opt.quantization.QuantizerConfig()
        )
        prepared = quantizer.prepare(inputs)
        with quantizer.calibration_mode():
            prepared(torch.randn(1, 3, 6, 6))
        recording = record(prepared, inputs)
        (reach,) = Propagation(recording, Regions(recording).build([])).outputs().values()
        assert isinstance(reach, Reach)
        finalized = quantizer.finalize(backend=getattr(coreai_opt.ExportBackend, name))
        executor = executor_of(save(finalized, inputs, tmp_path))
        (answer,) = executor.run({executor.inputs[0]: inputs[0].numpy()}).values()
        assert not reach.undecided.any()
        assert ((answer >= reach.values.low) & (answer <= reach.values.high)).all()
        stored = executor.stored if name == "CoreAI" else executor.stored.values()
        weights = sorted((t.dequantized() for t in stored), key=np.ndim, reverse=True)
        assert [w.shape for w in weights] == [(4, 3, 3, 3), (5, 64)]
        for weight, part in zip(weights, (model[0], model[3]), strict=True):
            original = part.weight.detach().numpy()
            scale = np.abs(original).reshape(len(original), -1).max(1) / np.float32(127.5)
            error = np.abs(weight - original).reshape(len(original), -1).max(1)
            # Half a step, and at the positive end a clamped half step more.
            assert (error <= scale * np.float32(1.001)).all()


def save_aimodel(module: Any, inputs: tuple[Any, ...], folder: Path) -> Path:
    import coreai_torch
    import torch

    program = torch.export.export(module, inputs)
    program = program.run_decompositions(coreai_torch.get_decomp_table())
    converter = coreai_torch.TorchConverter().add_exported_program(program)
    converter.to_coreai().save_asset(folder / "m.aimodel")
    return folder / "m.aimodel"


def save_mlpackage(module: Any, inputs: tuple[Any, ...], folder: Path) -> Path:
    import coremltools as ct
    import torch

    model = ct.convert(
        torch.jit.trace(module, inputs, check_trace=False),
        convert_to="mlprogram",
        minimum_deployment_target=ct.target.iOS26,
        inputs=[ct.TensorType(shape=tuple(x.shape), dtype=np.float32) for x in inputs],
        compute_precision=ct.precision.FLOAT32,
        skip_model_load=True,
    )
    model.save(str(folder / "m.mlpackage"))
    return folder / "m.mlpackage"
