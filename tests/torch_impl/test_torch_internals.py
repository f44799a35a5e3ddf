"""A torch without the internal names is distinguished from a bug of ours."""

import subprocess
import sys

import pytest

WITHOUT = """
import sys, types
import torch
sys.modules[{module!r}] = types.ModuleType({module!r})
import quant_torch.quantization
"""


@pytest.mark.parametrize(
    ("module", "name"), [("torch._ops", "OpOverload"), ("torch._subclasses", "FakeTensor")]
)
def test_a_torch_that_lacks_one(module: str, name: str) -> None:
    code = WITHOUT.format(module=module)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    (line,) = [s for s in run.stderr.splitlines() if s.startswith("ImportError: quant_torch was")]
    assert "written for torch 2.13; torch 2." in line
    assert f"cannot import name '{name}'" in line
