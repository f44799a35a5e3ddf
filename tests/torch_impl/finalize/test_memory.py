"""Finalizing keeps temporaries small, and large buffers can live in files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from quant_torch import ExportBackend
from quant_torch.quantization import Quantizer, QuantizerConfig

_MEASURE = """
import resource, sys, threading, time, warnings
warnings.simplefilter("ignore")
import torch
from torch import nn
from quant_torch.quantization import Quantizer, QuantizerConfig
torch.set_num_threads(1)
mode, backend, size, layers = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
if backend == "coreai":
    import coreai_torch._compression.custom_layers
def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()
model = nn.Sequential(*(nn.Linear(size, size, bias=False) for _ in range(layers))).eval()
parameters = sum(p.nbytes for p in model.parameters())
quantizer = Quantizer(model, QuantizerConfig.presets.w8(execution_mode=mode))
prepared = quantizer.prepare((torch.zeros(1, size),))
peak, done = 0, False
def watch():
    global peak
    while not done:
        peak = max(peak, resident())
        time.sleep(0.002)
before = resident()
watcher = threading.Thread(target=watch)
watcher.start()
final = quantizer.finalize(backend=backend)
done = True
watcher.join()
print(max(peak, resident()) - before, parameters)
"""


def growth(mode: str, backend: str, size: int, layers: int) -> float:
    """Peak memory of finalize above the prepared model, in float parameters."""
    run = subprocess.run(
        [sys.executable, "-c", _MEASURE, mode, backend, str(size), str(layers)],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr[-2000:]
    grown, parameters = (int(word) for word in run.stdout.split())
    return grown / parameters


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize(("mode", "backend"), [("graph", "coreai"), ("eager", "coreml")])
def test_a_stack_of_200_million_parameters(mode, backend) -> None:
    pytest.importorskip("coreai_torch")
    assert growth(mode, backend, 4096, 12) <= 1.5  # 12 · 4096² = 201 million


@pytest.mark.parametrize("backend", list(ExportBackend))
@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_buffers_in_files(mode, backend, tmp_path) -> None:
    model = nn.Sequential(nn.Linear(512, 512), nn.Linear(512, 4)).eval()
    x = torch.randn(2, 512)
    quantizer = Quantizer(model, QuantizerConfig.presets.w8(execution_mode=mode))
    prepared = quantizer.prepare((x,))
    folder = tmp_path / "made" / "for this"
    final = quantizer.finalize(backend=backend, mmap_dir=folder)
    (path,) = folder.iterdir()
    assert path.stat().st_size == 512 * 512 * (1 if backend == "coreai" else 4)
    assert torch.equal(final(x), prepared(x))
    first = next(
        t for n, t in final.state_dict().items() if t.numel() == 512 * 512 and "scale" not in n
    )
    on_disk = torch.from_file(str(path), size=first.numel(), dtype=first.dtype)
    assert torch.equal(on_disk.reshape(first.shape), first)
    first.zero_()  # a change stays in memory
    assert torch.from_file(str(path), size=first.numel(), dtype=first.dtype).any()


def test_a_folder_that_cannot_be_made(tmp_path) -> None:
    (tmp_path / "file").write_text("")
    quantizer = Quantizer(nn.Linear(4, 4), QuantizerConfig.presets.w8())
    quantizer.prepare((torch.randn(1, 4),))
    with pytest.raises(OSError, match="file"):
        quantizer.finalize(backend=ExportBackend.CoreML, mmap_dir=tmp_path / "file" / "below")
