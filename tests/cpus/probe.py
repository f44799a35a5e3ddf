"""Says which kernels each library takes in a process of some environment."""

from __future__ import annotations

import json
import os
import platform
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# The libraries print what they take when they are told to and compute something.
_ASK = """
import json
import numpy
from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__
from threadpoolctl import threadpool_info
import torch

torch.nn.functional.conv2d(torch.ones(2, 16, 32, 32), torch.ones(16, 16, 3, 3))
torch.ones(64, 64) @ torch.ones(64, 64)
print(flush=True)
blas = [pool for pool in threadpool_info() if "openblas" in pool["prefix"]]
said = {
    "torch": torch.backends.cpu.get_cpu_capability(),
    "onednn": "on" if torch._C._get_mkldnn_enabled() else "off",
    "numpy": " ".join(name for name in __cpu_dispatch__ if __cpu_features__.get(name)),
    "openblas": blas[0]["architecture"] if blas else "none",
    "threads": str(torch.get_num_threads()),
}
print("PROBE", json.dumps(said), flush=True)
"""


def probe(environment: Mapping[str, str]) -> dict[str, str]:
    """Starts a process and asks.

    Args:
        environment: its variables, all of them.

    Returns:
        Library -> kernels. "numpy" lists features that its kernels are chosen by, "onednn" is its
        instruction set, or "off".

    Raises:
        RuntimeError: the process failed.
    """
    verbose = {**environment, "ONEDNN_VERBOSE": "1", "MKL_VERBOSE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", _ASK], env=verbose, capture_output=True, text=True, check=False
    )
    found = re.search(r"^PROBE (.*)$", done.stdout, re.MULTILINE)
    if found is None:
        raise RuntimeError(f"the probe exited with code {done.returncode}: {done.stderr[-300:]}")
    said: dict[str, str] = json.loads(found[1])
    isa = re.search(r"cpu,isa:(.*)$", done.stdout, re.MULTILINE)
    if said["onednn"] == "on" and isa is not None:
        said["onednn"] = isa[1].strip()
    mode = re.search(r"CNR:(\S+)", done.stdout)
    said["mkl"] = "none" if mode is None else mode[1]
    return said


def processor() -> str:
    """The processor's name."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        text = ""
    name = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    words = platform.machine() if name is None else f"{name[1]}, {platform.machine()}"
    return f"{words}, {os.cpu_count()} CPUs"


def described(said: Mapping[str, str]) -> str:
    """One line of what was said."""
    return ", ".join(f"{library} {kernels or 'baseline'}" for library, kernels in said.items())
