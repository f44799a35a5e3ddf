"""One architecture with one config in one mode: to both targets, in 32 and in 16 bits, and judged.

``python -m quant_conformance.export_matrix.architecture_cell NAME CONFIG MODE`` prints it as JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from quant_conformance.converters.measure import convert_alone
from quant_conformance.export_matrix.cell import arithmetic_of
from quant_conformance.gate.check import SUFFIXES, open_program, save_finalized
from quant_conformance.gate.document import FAILING, GateDocument, Layer, Weight
from quant_conformance.gate.errors import verdict_of
from quant_conformance.gate.freezing.vector_set import record_set
from quant_conformance.gate.judging.comparison import Findings, compare
from quant_conformance.gate.recording.forward_inputs import Inputs
from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.models.architectures import Built, build
from quant_conformance.models.zoo import BACKENDS, config_of
from quant_conformance.models.zoo.prepare import calibrated, one_thread
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.runtimes.quiet import quiet
from quant_vectors import load

SHOWN = 6
"""Tensors of which a cell tells why they fail."""

Result = dict[str, Any]


def run_cell(name: str, config: str, mode: str) -> Result:
    """Takes an architecture all the way; failures become results.

    Args:
        name: of the architecture.
        config: name in ``models.zoo.CONFIGS``.
        mode: "graph" or "eager".

    Returns:
        Plain values: "quantizers" (how many) and "share" (of the parameters that are quantized,
        0 to 1), or "error"; "targets" (of each file its verdict, the failing tensors, seconds),
        "replayed" (verdicts on the recorded vectors), "seconds", and "megabytes" of memory above
        what the imports take.
    """
    began, before = time.perf_counter(), _megabytes()
    result: Result = {"name": name, "config": config, "mode": mode, "targets": {}}
    with quiet(), tempfile.TemporaryDirectory(prefix="architecture-") as folder:
        try:
            built = build(name)
        except ImportError as error:
            return {**result, "missing": _first(error)}
        result["parameters"] = sum(p.numel() for p in built.model.parameters())
        for backend in BACKENDS:
            built = build(name)  # anew: a quantizer takes its model, and training changes it
            try:
                made = _Prepared(built, config, mode)
            except Exception as error:  # the quantizer's, which is judged here
                result["error"] = _first(error)
                break
            result["quantizers"], result["share"] = made.count, made.share
            result["targets"].update(_targets(name, made, backend, Path(folder)))
        if "error" not in result:
            result["replayed"] = _replayed(build(name), config, mode, Path(folder))
    result["seconds"] = round(time.perf_counter() - began, 1)
    result["megabytes"] = round(_megabytes() - before)
    return result


class _Prepared:
    """A model that was prepared, calibrated and trained one step.

    Args:
        built: the model and its inputs.
        config: name of the config.
        mode: "graph" or "eager".
    """

    def __init__(self, built: Built, config: str, mode: str) -> None:
        from quant_torch.quantization import Quantizer, QuantizerConfig

        self.example = built.batches[-1]
        with one_thread():
            settings = QuantizerConfig.from_dict(config_of(config, mode))
            self.quantizer = Quantizer(built.model, settings)
            self.model = calibrated(self.quantizer, built.batches[:-1], self.example)
            _train(self.quantizer, self.model, built.batches[0])

    @property
    def count(self) -> int:
        """How many tensors are quantized."""
        from quant_torch.quantization.spec import FakeQuantizeImplBase

        return sum(isinstance(m, FakeQuantizeImplBase) for m in self.model.modules())

    @property
    def share(self) -> float:
        """Share of the parameters of products, convolutions and embeddings, 0 to 1."""
        return float(self.quantizer.shares().of_parameters)

    @property
    def recording(self) -> Recording:
        """One run of the model."""
        return record(self.model, self.example)


def _train(quantizer: Any, model: Any, batch: tuple[Any, ...]) -> None:
    """Trains one step, with the statistics of batch norms as they are: a batch has one image."""
    quantizer.freeze_batch_norm()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(trained, 1e-4)
    with quantizer.training_mode():
        made = model(*batch)
        outputs = made if isinstance(made, tuple | list) else [made]
        loss = sum(y.float().square().mean() for y in outputs if isinstance(y, Tensor))
        loss.backward()
        optimizer.step()


def _targets(name: str, made: _Prepared, backend: str, folder: Path) -> Iterator[Any]:
    recording = made.recording
    finalized: Any = None
    for half in (False, True):
        key = f"{backend}-{16 if half else 32}"
        began = time.perf_counter()
        path = folder / f"{key}{SUFFIXES[backend]}"
        try:
            if finalized is None:
                finalized = made.quantizer.finalize(backend=backend)
            save_finalized(finalized, made.example, backend, half, path)
        except Exception as error:  # the exporter's, which is judged here
            float_error = _alone(build(name), backend)
            yield key, {"verdict": "refused", "detail": _first(error), **float_error}
            continue
        found = _judged(recording, path, backend, half)
        yield key, {**found, "seconds": round(time.perf_counter() - began, 1)}


def _alone(built: Built, backend: str) -> Result:
    """Whether the float model fails in the converter, too: then the cell is left out."""
    with tempfile.TemporaryDirectory(prefix="float-") as folder:
        try:
            path = Path(folder) / f"float{SUFFIXES[backend]}"
            convert_alone(built.model, built.batches[-1], backend, path)
        except Exception as error:  # the converter's, which is what is asked
            return {"float": _first(error)}
    return {}


def _judged(recording: Recording, path: Path, backend: str, half: bool) -> Result:
    try:
        program = open_program(path)
        try:
            found = compare(recording, program, arithmetic_of(backend, half))
        finally:
            program.close()
    except Exception as error:  # the runtime's or the gate's
        return {"verdict": verdict_of(error), "detail": _first(error)}
    return _summary(found)


def _summary(found: Findings) -> Result:
    document = GateDocument("", "", "", "", False, layers=found.layers, weights=found.weights)
    judged: list[Layer | Weight] = [*found.layers, *found.weights]
    counts = Counter(x.verdict for x in judged)
    failing = [f"{x.verdict} {x.name}: {x.detail}"[:240] for x in judged if x.verdict in FAILING]
    return {"verdict": document.verdict, "tensors": dict(counts), "failing": failing[:SHOWN]}


def _replayed(built: Built, config: str, mode: str, folder: Path) -> Result:
    """Freezes the model as vectors, and asks the reference for them."""
    from quant_torch.quantization import QuantizerConfig

    subject = Subject("model", built.model, [Inputs.of(batch) for batch in built.batches])
    try:
        settings = QuantizerConfig.from_dict(config_of(config, mode))
        record_set(subject, settings, folder / "vectors")
        vectors = load(path=folder / "vectors")
        layers = [case for case in vectors if case.operation in ("layer", "float_layer")]
        run = Runner(vectors, layers, Plan(isolate=False, frozen=False))
        return dict(run.run("numpy-reference").summary)
    except Exception as error:  # the recorder's, which is judged here
        return {"error": _first(error)}


def _first(error: BaseException) -> str:
    lines = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {lines[0][:300]}"


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


@contextmanager
def _answer() -> Iterator[Any]:
    """Keeps what is printed on the way out of the answer."""
    out = sys.stdout
    sys.stdout = sys.stderr
    try:
        yield out
    finally:
        sys.stdout = out


if __name__ == "__main__":
    with _answer() as out:
        print(json.dumps(run_cell(*sys.argv[1:4])), file=out)
