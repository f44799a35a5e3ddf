"""Regression vectors from a model: its regions and the model as a whole, as a vector set."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from quant_conformance.errors import UsageError, unknown
from quant_conformance.files import told
from quant_conformance.gate.freezing.recorded_cases import LeftOutError, Question, question_of
from quant_conformance.gate.freezing.recorded_outputs import output_questions
from quant_conformance.gate.recording.prepared import record_subject
from quant_conformance.gate.recording.recorder import Recording
from quant_conformance.gate.recording.subject import Subject
from quant_conformance.gate.regions.region import Region, Regions
from quant_conformance.runtimes.quiet import quiet
from quant_vectors import SetWriter

VERSION = "recorded"
"""Version that the manifest of a recorded set states."""


@dataclass(frozen=True)
class Recorded:
    """One case that was recorded, for people.

    Attributes:
        id: of the case.
        name: of the tensor.
        computed_by: what computes it.
        elements: how many it has.
        single: share of elements with exactly one right code, or None for floats.
        why_not: why no other answer can be wrong; empty where one can.
    """

    id: str
    name: str
    computed_by: str
    elements: int
    single: float | None
    why_not: str = ""


@dataclass
class Summary:
    """What was recorded.

    Attributes:
        cases: in the order of the set.
        left_out: tensor -> why it is not asked.
        bytes: size of the set.
    """

    cases: list[Recorded] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    bytes: int = 0


def record_set(
    subject: Subject,
    config: Any,
    out: Path,
    *,
    layers: str | None = None,
    overwrite: bool = False,
    origin: str = "",
) -> Summary:
    """Records a model as a vector set.

    The set is written into a folder beside ``out`` and renamed, so that ``out`` is whole or not
    there. Tensors go to disk as they are made.

    Args:
        subject: the model and its data; the last batch is recorded, the others calibrate.
        config: a QuantizerConfig; not used where the subject is prepared already.
        out: folder of the set.
        layers: regular expression; only tensors in whose name it is found, and not the model as a
            whole.
        overwrite: replace a set that is there.
        origin: one line for the manifest: what was recorded.

    Raises:
        UsageError: a folder that is there, or not there; a model without quantizers; an expression
            that is none, or that no tensor's name matches.
        GateError: a model that cannot be recorded.
    """
    check_out(out, overwrite)
    pattern = _compiled(layers)
    with quiet():
        _, recording = record_subject(subject, config)
    if not recording.quantizations:
        raise UsageError(
            f"{subject.name} has no quantizer that is on; a config that quantizes something is "
            "needed, or a model that was prepared with one"
        )
    with told(out), _staged(out) as (folder, spool):
        writer = SetWriter(VERSION, _generator(), origin or subject.name, {}, spool)
        summary = fill(writer, recording, pattern)
        writer.write(folder)
        summary.bytes = sum(file.stat().st_size for file in folder.iterdir())
    return summary


def fill(
    writer: SetWriter, recording: Recording, pattern: re.Pattern[str] | None = None
) -> Summary:
    """Adds the cases of a recording to a set, one after the other.

    Args:
        writer: the set.
        recording: one run of a prepared model.
        pattern: of the tensors that are wanted; None for all and the model as a whole.

    Raises:
        UsageError: a pattern that is found in no tensor's name.
    """
    found = Regions(recording)
    regions = [r for r in found.build(found.float_cuts()) if r.steps or r.quantization or r.lacking]
    wanted = [region for region in regions if pattern is None or pattern.search(region.name)]
    if pattern is not None and not wanted:
        raise unknown("layer", pattern.pattern, {region.name for region in regions})
    summary = Summary()
    ids: set[str] = set()
    for region in wanted:
        case_id = _id(region.name, ids)
        try:
            question = question_of(recording, region)
        except LeftOutError as error:
            writer.leave_out(region.name, str(error))
            summary.left_out[region.name] = str(error)
            continue
        _add(writer, case_id, f"{region.name}: {_words(region)}", question)
        summary.cases.append(
            Recorded(case_id, region.name, _words(region), question.elements, question.single)
        )
    if pattern is None:
        _add_outputs(writer, recording, regions, summary)
    return summary


def check_out(out: Path, overwrite: bool) -> None:
    """Checks that a set can be written.

    Raises:
        UsageError: no folder for it, or something is there that is no set or not to be replaced.
    """
    if not out.absolute().parent.is_dir():
        raise UsageError(f"cannot write {out}: there is no folder {out.parent}")
    if not os.access(out.absolute().parent, os.W_OK | os.X_OK):
        raise UsageError(f"cannot write {out}: no permission to write in {out.absolute().parent}")
    if not out.exists() and not out.is_symlink():
        return
    if not (out / "manifest.json").is_file() or out.is_symlink():
        raise UsageError(f"{out} is there and is no vector set; name a folder that is not there")
    if not overwrite:
        raise UsageError(f"{out} is there; --overwrite replaces it")


def _add_outputs(
    writer: SetWriter, recording: Recording, regions: list[Region], summary: Summary
) -> None:
    """One case for each output of the model; see :mod:`gate.regions.propagation`."""
    whole = "the whole model"
    try:
        for index, (question, why_not) in enumerate(output_questions(recording, regions)):
            comment = f"output {index} of the whole model"
            comment += f", for information: {why_not}" if why_not else ""
            _add(writer, f"model_output/{index}", comment, question)
            summary.cases.append(
                Recorded(
                    f"model_output/{index}",
                    f"output {index}",
                    whole,
                    question.elements,
                    question.single,
                    why_not,
                )
            )
    except LeftOutError as error:
        writer.leave_out(whole, str(error))
        summary.left_out[whole] = str(error)


def _add(writer: SetWriter, case_id: str, comment: str, question: Question) -> None:
    writer.add(
        case_id,
        question.operation,
        inputs=question.inputs,
        expected=question.expected,
        clauses=question.clauses,
        flags=(),
        comment=comment,
        rule=question.rule,
        spec=question.spec,
        arguments=dict(question.arguments),
    )


def _words(region: Region) -> str:
    if region.quantization is None:
        return f"{region.operation}, float"
    if not region.steps:
        return "quantize"
    return region.operation if region.operation != "no operation" else "moved elements"


def _id(name: str, taken: set[str]) -> str:
    """An id that no other tensor has: ``layer/`` and the name, in the characters of ids."""
    parts = [re.sub(r"[^\w.,+=-]+", "_", part, flags=re.ASCII) for part in name.split("/")]
    plain = "/".join(part for part in parts if part) or "tensor"
    found, count = plain, 1
    while found in taken:
        count += 1
        found = f"{plain}+{count}"
    taken.add(found)
    return f"layer/{found}"


def _compiled(layers: str | None) -> re.Pattern[str] | None:
    try:
        return None if layers is None else re.compile(layers)
    except re.error as error:
        raise UsageError(f"--layers {layers!r} is no regular expression: {error}") from error


def _generator() -> str:
    names = ("quant-conformance", "torch")
    return ", ".join(f"{name} {metadata.version(name)}" for name in names)


@contextlib.contextmanager
def _staged(out: Path) -> Iterator[tuple[Path, Path]]:
    """Yields folders for the set and for the spool; the former becomes ``out`` if all goes well."""
    staging = Path(tempfile.mkdtemp(dir=out.absolute().parent, prefix=f".{out.name}."))
    try:
        folder, spool = staging / "set", staging / "spool"
        folder.mkdir()
        spool.mkdir()
        yield folder, spool
        before = staging / "before"
        if out.exists():
            out.rename(before)
        try:
            folder.rename(out)
        except OSError:
            if before.exists():
                before.rename(out)
            raise
    finally:
        shutil.rmtree(staging, ignore_errors=True)
