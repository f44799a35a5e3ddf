"""Recording takes the memory of one layer, however many there are."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import torch
from torch import nn

from quant_conformance.gate.freezing.vector_set import fill
from quant_conformance.gate.recording.prepared import prepare_subject
from quant_conformance.gate.recording.recorder import record
from quant_conformance.gate.recording.subject import Subject, load_config
from quant_conformance.runtimes.quiet import quiet
from quant_vectors import SetWriter

SIZE = 768
LARGEST = 4 * SIZE * SIZE
"""Bytes of the largest tensor: a weight in float32."""


def peaks(depth: int, folder: Path) -> tuple[int, int]:
    """Bytes that recording and writing take at most, beyond the model and its recording."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(SIZE, SIZE) for _ in range(depth)))
    subject = Subject("stack", model, [(torch.randn(4, SIZE),)])
    with quiet():
        _, prepared = prepare_subject(subject, load_config(None, "eager"))
        recording = record(prepared, subject.example)
    writer = SetWriter("recorded", "test", "0", {}, folder)
    tracemalloc.start()
    try:
        fill(writer, recording)
        filling = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        writer.write(folder / "set")
        writing = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    return filling, writing


def test_memory_does_not_grow_with_the_model(tmp_path: Path) -> None:
    few, many = tmp_path / "few", tmp_path / "many"
    few.mkdir()
    many.mkdir()
    shallow, deep = peaks(3, few), peaks(9, many)
    # Six more layers: were their tensors kept, there would be a quarter of a float32 tensor more
    # for the codes of each weight. What does grow are names and small tensors.
    assert deep[0] < shallow[0] + LARGEST / 4
    # A weight in float64 with two radii and its magnitude is eight times one in float32; then
    # the float32 values and the codes that all of them come from.
    assert deep[0] < 10 * LARGEST
    # Tensors come back from the spool in chunks of a megabyte.
    assert deep[1] < (1 << 20) * 3
