"""From a model to a verdict: prepare, calibrate, finalize, export, run, compare."""

from __future__ import annotations

import contextlib
import math
import tempfile
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from quant_conformance.gate.document import GateDocument
from quant_conformance.gate.errors import GateError, told, verdict_of
from quant_conformance.gate.judging.comparison import compare
from quant_conformance.gate.judging.reproductions import Reproductions
from quant_conformance.gate.recording.forward_inputs import Inputs
from quant_conformance.gate.recording.prepared import record_subject
from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.recording.shares import shares_of
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.gate.regions.dead_values import read_by_outputs
from quant_conformance.runtimes import ExecutorError
from quant_conformance.runtimes.program import Program
from quant_conformance.runtimes.quiet import quiet
from quant_reference.admissible import Arithmetic

SUFFIXES = {"coreai": ".aimodel", "coreml": ".mlpackage"}

_VERSIONS = {
    "coreai": ("coreai-core", "coreai-torch", "torch"),
    "coreml": ("coremltools", "torch"),
}


@dataclass(frozen=True)
class Question:
    """How a model is exported and judged.

    Attributes:
        backend: "coreai" or "coreml".
        half: whether the program computes in 16 bits.
        accumulate: dtype of sums, where the target is known to make them in float16.
        artifact: a file that was exported already, or None to export one.
        repro: folder for reproductions of what is wrong, or None.
        timeout: seconds for the runtime to load a program, and to run it.
    """

    backend: str
    half: bool = False
    accumulate: str = "float32"
    artifact: Path | None = None
    repro: Path | None = None
    timeout: float = 120.0


def check_export(subject: Subject, config: Any, question: Question) -> GateDocument:
    """Exports a model and judges the file, or judges a file that is there.

    Args:
        subject: the model and its data.
        config: a QuantizerConfig; not used where the subject is prepared already.
        question: how to export it.

    Raises:
        GateError: the model, its config and its data do not fit together, or it cannot be
            recorded. From the export on, failures are verdicts.
    """
    if subject.prepared is not None and subject.finalized is None and question.artifact is None:
        raise GateError("a prepared model needs its finalized form, or a file made from it")
    if question.artifact is not None and not question.artifact.is_dir():
        raise GateError(f"there is no folder {question.artifact}")
    mode = "prepared" if config is None else str(config.execution_mode.value)
    document = GateDocument(
        subject.name, "", mode, question.backend, question.half, _versions(question.backend)
    )
    with tempfile.TemporaryDirectory(prefix="quant-conformance-gate-") as folder, quiet():
        quantizer, recording = record_subject(subject, config)
        document.shares = shares_of(subject, quantizer)
        kept = recording.changed & read_by_outputs(recording)
        if kept:
            raise GateError(
                f"{subject.name} changes its own buffers in a forward pass "
                f"({', '.join(sorted(kept))}); a file that keeps a state cannot be "
                "judged: make them inputs and outputs"
            )
        try:
            path = question.artifact or _export(subject, quantizer, question, Path(folder))
            program = open_program(path, question.timeout)
        except Exception as error:  # the exporter's or the runtime's, which are judged here
            return _failed(document, error)
        try:
            return _judged(document, recording, program, question)
        finally:
            program.close()


def open_program(path: Path, timeout: float = 120.0) -> Program:
    """Opens an exported file.

    Raises:
        UnreadableProgramError: it cannot be read.
        ExecutorError: the runtime died.
        TimeoutError: the runtime hangs.
        GateError: neither an .aimodel nor an .mlpackage.
    """
    if path.suffix == SUFFIXES["coreai"]:
        from quant_conformance.runtimes.coreai.saved_program import CoreAIProgram

        return CoreAIProgram(path, timeout=timeout)
    if path.suffix == SUFFIXES["coreml"]:
        from quant_conformance.runtimes.coreml.saved_package import MilProgram

        return MilProgram(path)
    raise GateError(f"{path} is neither an .aimodel nor an .mlpackage")


def _judged(
    document: GateDocument, recording: Recording, program: Program, question: Question
) -> GateDocument:
    said = other_interface(recording, program)
    if said:
        document.failure, document.detail = "wrong", said
        if recording.changed:  # a file may keep them as inputs and outputs
            changed = ", ".join(sorted(recording.changed))
            document.failure = "unsupported"
            document.detail = f"{said}; the model changes its own buffers: {changed}"
        return document
    arithmetic = Arithmetic("float16" if question.half else "float32", question.accumulate)
    kept = None if question.repro is None else Reproductions(question.repro, program)
    try:
        found = compare(recording, program, arithmetic, None if kept is None else kept.keep)
    except (TimeoutError, ExecutorError, GateError) as error:
        return _failed(document, error)
    document.layers, document.weights = found.layers, found.weights
    document.end_to_end = found.end_to_end
    if kept is not None:
        document.detail = kept.problem
    if not document.layers and not document.weights:
        document.detail = "nothing was judged: the file has no tensor or weight with a known answer"
    return document


def other_interface(recording: Recording, program: Program) -> str:
    """Says how the inputs or outputs of a file are not those of its model; empty if they are.

    Args:
        recording: one run of the prepared model.
        program: the file.
    """
    for verb, kind, names, shapes in (
        ("takes", "input", recording.inputs, program.shapes[0]),
        ("gives", "output", recording.outputs, program.shapes[1]),
    ):
        if len(names) != len(shapes):
            count = f"{len(shapes)} {kind}{'s' * (len(shapes) != 1)}"
            return f"the file {verb} {count}, the prepared model {len(names)}"
        for index, (name, shape) in enumerate(zip(names, shapes, strict=True)):
            wanted = recording.values[name]
            if wanted.size != math.prod(shape):  # a converter may change the rank
                return (
                    f"{kind} {index} of the file has shape {shape}, "
                    f"the prepared model's {wanted.shape}"
                )
    return ""


def export_prepared(
    quantizer: Any, example: Inputs | tuple[Any, ...], backend: str, half: bool, folder: Path
) -> Path:
    """Exports a prepared model by ``quant_torch``'s own calls.

    Args:
        quantizer: its quantizer.
        example: inputs of one forward pass.
        backend: "coreai" or "coreml".
        half: whether the program computes in 16 bits.
        folder: where; the file is called ``model``.
    """
    from quant_torch.export import to_coreai, to_coreml

    path, given = folder / f"model{SUFFIXES[backend]}", Inputs.of(example)
    args, kwargs = given.args, given.kwargs or None
    if backend == "coreai":
        return to_coreai(quantizer, args, path, example_kwargs=kwargs, cast_16bit=half)
    precision = _precision(half)
    return to_coreml(quantizer, args, path, example_kwargs=kwargs, compute_precision=precision)


def _export(subject: Subject, quantizer: Any, question: Question, folder: Path) -> Path:
    half, made = question.half, subject.finalized
    if made is None:
        example = subject.example.bound(subject.model)
        return export_prepared(quantizer, example, question.backend, half, folder)
    path = folder / f"model{SUFFIXES[question.backend]}"
    return save_finalized(made, subject.example.bound(made), question.backend, half, path)


def save_finalized(
    finalized: Any, example: Inputs | tuple[Any, ...], backend: str, half: bool, path: Path
) -> Path:
    """Saves a finalized model by ``quant_torch``'s own calls.

    Args:
        finalized: what ``finalize()`` gave for the backend.
        example: inputs of one forward pass.
        backend: "coreai" or "coreml".
        half: whether the program computes in 16 bits.
        path: of the file.
    """
    from quant_torch.export import save_coreai, save_coreml

    given = Inputs.of(example)
    args, kwargs = given.args, given.kwargs or None
    if backend == "coreai":
        return save_coreai(finalized, args, path, example_kwargs=kwargs, cast_16bit=half)
    precision = _precision(half)
    return save_coreml(finalized, args, path, example_kwargs=kwargs, compute_precision=precision)


def _precision(half: bool) -> str:
    return "float16" if half else "float32"


def _failed(document: GateDocument, error: Exception) -> GateDocument:
    document.failure, document.detail = verdict_of(error), told(error)
    return document


def _versions(backend: str) -> dict[str, str]:
    names = ("quant-conformance", *_VERSIONS[backend])
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
