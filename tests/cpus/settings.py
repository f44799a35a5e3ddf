"""Ways to make this processor compute like another one, and what is repeated under each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOOK = Path(__file__).parent / "hook"

PYTEST = ("-m", "pytest", "-q", "--benchmark-disable", "-p", "no:cacheprovider")
MARKED = [
    str(path.relative_to(ROOT))
    for path in sorted((ROOT / "tests").rglob("test_*.py"))
    if "mark.cpu" in path.read_text(encoding="utf-8")
]
SCORED = ("torch", "torchao", "quant-torch", "quant-torch-eager", "quant-torch-graph", "coreai-opt")

PARTS: Mapping[str, Sequence[str]] = {
    "executors": (
        *PYTEST,
        *(f"tests/conformance/runtimes/test_{n}.py" for n in ("coreml", "coreai", "quantized")),
    ),
    "gate": (*PYTEST, "tests/conformance/gate", "tests/conformance/test_record_propagation.py"),
    "zoo": (*PYTEST, "tests/conformance/export_matrix/test_zoo.py"),
    "quantizer": (
        *PYTEST,
        *(f"tests/torch_impl/{n}" for n in ("finalize", "graph", "eager", "fake_quantize")),
    ),
    "scoreboard": (
        *("-m", "quant_conformance.cli", "run"),
        *(word for name in SCORED for word in ("--backend", name)),
    ),
    "findings": (*PYTEST, "tests/conformance/backends/test_findings.py"),
    "vectors": ("-m", "quant_conformance.cli", "vectors", "generate", "--check"),
    "sample": (*PYTEST, "-m", "cpu", *MARKED),
}
"""Name -> arguments of Python: all that a processor may change.

"sample" is what .ci/run repeats: the tests with the mark "cpu", which are some of each part.
"""


@dataclass(frozen=True)
class Setting:
    """One way to make this processor compute like another one.

    Attributes:
        environment: variables; ``{features}`` stands for all of numpy's dispatched features.
        shown: what :mod:`tests.cpus.probe` says where it has worked.
        onednn: False to turn oneDNN off in torch, with a hook.
        sample: the parts of which .ci/run runs a sample.
        needs: a feature that the processor must have, as numpy names it; "" for any processor.
    """

    environment: Mapping[str, str]
    shown: Mapping[str, str]
    onednn: bool = True
    sample: Sequence[str] = ("sample",)
    needs: str = ""


_TORCH = {"ATEN_CPU_CAPABILITY": "default"}
_ONEDNN = {"ONEDNN_MAX_CPU_ISA": "SSE41"}
_MKL = {"MKL_CBWR": "COMPATIBLE", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
_NUMPY = {"NPY_DISABLE_CPU_FEATURES": "{features}", "OPENBLAS_CORETYPE": "Nehalem"}
_LIBM = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA,-FMA4,-AVX512F"}

SETTINGS: Mapping[str, Setting] = {
    "torch-default": Setting(_TORCH, {"torch": "DEFAULT"}),
    "torch-avx2": Setting({"ATEN_CPU_CAPABILITY": "avx2"}, {"torch": "AVX2"}, needs="AVX2"),
    "no-onednn": Setting({}, {"onednn": "off"}, onednn=False),
    "onednn-sse41": Setting(_ONEDNN, {"onednn": "Intel SSE4.1"}, needs="SSE41"),
    "mkl-compatible": Setting(_MKL, {"mkl": "COMPATIBLE"}, needs="SSSE3"),
    "numpy-baseline": Setting(
        _NUMPY, {"numpy": "", "openblas": "Nehalem"}, sample=("vectors",), needs="SSE42"
    ),
    "libm-no-fma": Setting(_LIBM, {}, sample=("vectors",), needs="FMA3"),
    "two-threads": Setting({"OMP_NUM_THREADS": "2"}, {"threads": "2"}),
    "oldest": Setting(
        {**_TORCH, **_ONEDNN, **_MKL, **_NUMPY, **_LIBM},
        {"torch": "DEFAULT", "onednn": "off", "numpy": "", "openblas": "Nehalem"},
        onednn=False,
        sample=("sample", "vectors"),
        needs="FMA3",
    ),
}
"""Name -> setting. All but "two-threads" compute in one thread."""
