"""How long a first import takes: recorded, not judged (a loaded machine proves nothing)."""

import subprocess
import sys
from typing import Any

import pytest


@pytest.mark.benchmark(group="import")
@pytest.mark.parametrize("modules", ["numpy, ml_dtypes", "quant_reference", "quant_vectors"])
def test_import(benchmark: Any, modules: str) -> None:
    command = [sys.executable, "-c", f"import {modules}"]
    benchmark.pedantic(
        subprocess.run, args=(command,), kwargs={"check": True}, rounds=5, warmup_rounds=1
    )
