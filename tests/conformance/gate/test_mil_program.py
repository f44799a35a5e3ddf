"""Reading .mlpackage files that quant_torch does not write."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.conformance.gate.support import quiet

from quant_conformance.runtimes.coreml.saved_package import MilProgram

ct = pytest.importorskip("coremltools")
mb = pytest.importorskip("coremltools.converters.mil").Builder
pytestmark = pytest.mark.filterwarnings("ignore")


def test_a_sum_that_is_quantized_per_channel_has_no_divided_scale(tmp_path: Path) -> None:
    """coremltools divides the scales of sums with one scale only."""
    specs = [mb.TensorSpec((4, 8)), mb.TensorSpec((4, 8))]

    @mb.program(input_specs=specs, opset_version=ct.target.iOS17)
    def program(x: Any, y: Any) -> Any:
        one, scale = np.float32(1.0), np.full(8, 0.5, np.float32)

        def quantized(value: Any, **given: Any) -> Any:
            codes = mb.quantize(input=value, output_dtype="int8", **given)
            return mb.dequantize(input=codes, **given)

        total = mb.add(x=quantized(x, scale=one), y=quantized(y, scale=one))
        return quantized(total, scale=scale, axis=1)

    with quiet():
        model = ct.convert(
            program,
            convert_to="mlprogram",
            minimum_deployment_target=ct.target.iOS17,
            pass_pipeline=ct.PassPipeline.EMPTY,
            compute_precision=ct.precision.FLOAT32,
        )
        model.save(str(tmp_path / "m.mlpackage"))
        read = MilProgram(tmp_path / "m.mlpackage")
    assert read.sums == ()
    assert [q.quantize.scale.size for q in read.quantizers] == [1, 1, 8]
