"""Sub-modules of a finalized eager model that coreai-torch puts into graphs of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant_conformance.runtimes import CoreAIExecutor
from quant_torch import ExportBackend
from quant_torch.export import save_coreai
from quant_torch.quantization import Quantizer, QuantizerConfig

coreai_torch = pytest.importorskip("coreai_torch")


class Feed(nn.Module):
    def __init__(self, size: int) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(size, 2 * size), nn.Linear(2 * size, size)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x)))


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(16, 16)
        self.feeds = nn.ModuleList([Feed(16), Feed(16)])

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        for feed in self.feeds:
            y = y + feed(y)
        return y


@pytest.mark.parametrize("composite", [None, "feed"], ids=["graph", "composite"])
def test_sub_modules_become_graphs(composite: str | None, tmp_path: Path) -> None:
    torch.manual_seed(0)
    x = torch.randn(4, 16)
    quantizer = Quantizer(Model().eval(), QuantizerConfig(execution_mode="eager"))
    prepared = quantizer.prepare((x,))
    with quantizer.calibration_mode():
        prepared(x)
    final = quantizer.finalize(backend=ExportBackend.CoreAI)
    with torch.no_grad():
        before = final(x)

    def export(model: nn.Module) -> torch.export.ExportedProgram:
        with torch.no_grad():
            program = torch.export.export(model, (x,))
        return program.run_decompositions(coreai_torch.get_decomp_table())

    spec = coreai_torch.ExternalizeSpec(target_class=Feed, composite_op_name=composite)
    converter = coreai_torch.TorchConverter()
    converter.add_pytorch_module(final, export_fn=export, externalize_modules=[spec])
    path = tmp_path / "m.aimodel"
    converter.to_coreai().save_asset(path)
    with CoreAIExecutor(save_coreai(final, (x,), tmp_path / "whole.aimodel")) as executor:
        (wanted,) = executor.run({executor.inputs[0]: x.numpy()}).values()
    with CoreAIExecutor(path) as executor:
        (result,) = executor.run({executor.inputs[0]: x.numpy()}).values()
        text, stored = executor.text, executor.stored
    np.testing.assert_array_equal(result, wanted)
    assert text.count("coreai.graph ") == 3
    assert text.count("coreai.invoke @") == 2
    # Each weight stands in the graph of its module, with the codes of the finalized model.
    codes = {m.codes.numpy().tobytes() for m in final.modules() if hasattr(m, "codes")}
    assert len(codes) == 5
    assert {s.codes.tobytes() for s in stored} == codes
    with torch.no_grad():
        assert torch.equal(final(x), before)  # and the model is as it was
