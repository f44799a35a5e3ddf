"""Private names of torch are in one module; a torch without them is told from a bug of ours."""

import subprocess
import sys
from pathlib import Path

import pytest
from tests.torch_impl.private_names import private_names

import quant_torch

WITHOUT = """
import sys, types
import torch
sys.modules[{module!r}] = types.ModuleType({module!r})
import quant_torch.quantization
"""


@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("torch._ops", "OpOverload"),
        ("torch._subclasses", "FakeTensor"),
        ("torch.utils._python_dispatch", "TorchDispatchMode"),
    ],
)
def test_a_torch_that_lacks_one(module: str, name: str) -> None:
    code = WITHOUT.format(module=module)
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert run.returncode == 1
    (line,) = [s for s in run.stderr.splitlines() if s.startswith("ImportError: quant_torch was")]
    assert "written for torch 2.13; torch 2." in line
    assert f"cannot import name '{name}'" in line


def test_no_other_module_names_one() -> None:
    root = Path(quant_torch.__file__).parent
    found = {
        path.relative_to(root).as_posix(): names
        for path in root.rglob("*.py")
        if (names := list(private_names(path.read_text(encoding="utf-8"))))
    }
    assert {name for _, name in found.pop("_torch_internals.py")} >= {"torch._ops.OpOverload"}
    # How a listing of a user's calls leaves out torch's own; without it, it is two lines longer.
    assert [name for _, name in found.pop("quantization/_eager/_call_sites.py", [])] == []
    assert found == {}


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("import torch._C", "torch._C"),
        ("from torch._C import _get", "torch._C._get"),
        ("from torch.utils import _pytree as p", "torch.utils._pytree"),
        ("import torch\ntorch._C._jit_pass_dce(g)", "torch._C._jit_pass_dce"),
        (
            "from torch import nn\nnn.modules.batchnorm._NormBase",
            "torch.nn.modules.batchnorm._NormBase",
        ),
        ("import torch.nn as n\nn._reduction", "torch.nn._reduction"),
        ("from torch import nn\ngetattr(nn.Module, '_call_impl')", "nn.Module._call_impl"),
        ("import importlib\nimportlib.import_module('torch.export._trace')", "torch.export._trace"),
    ],
)
def test_a_private_name_is_found(source: str, name: str) -> None:
    assert name in [found for _, found in private_names(source)]


@pytest.mark.parametrize(
    "source",
    [
        "import torch\ntorch.ops.aten._to_copy.default",
        "import torch\ntorch.__version__",
        "def f(self):\n    return self._modules",
        "import torch\nx = torch.nn.Linear(1, 1).weight",
    ],
)
def test_a_public_name_is_not(source: str) -> None:
    assert list(private_names(source)) == []
