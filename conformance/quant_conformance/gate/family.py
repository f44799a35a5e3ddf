"""The gate's verdict on an answer of the ``model`` family: an exported file beside its model."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ProcessPoolExecutor
from functools import lru_cache
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant_conformance.gate.check import open_program, other_interface
from quant_conformance.gate.document import FAILING
from quant_conformance.gate.errors import GateError, verdict_of
from quant_conformance.gate.judging.comparison import Findings, compare
from quant_conformance.gate.recording.recorder import Recording, record
from quant_conformance.models.zoo.prepare import prepare
from quant_conformance.protocol import QUANTIZERS
from quant_conformance.runtimes import ExecutorError
from quant_conformance.runtimes.errors import UnloadableProgramError
from quant_conformance.runtimes.quiet import quiet
from quant_conformance.verdicts.verdict import Verdict
from quant_reference.admissible import Arithmetic

if TYPE_CHECKING:
    from quant_vectors import Case

SHOWN = 3
"""Tensors of which a verdict tells."""


def judge_model(case: Case, outputs: Mapping[str, Any]) -> tuple[Verdict, str]:
    """Judges an exported model of the zoo, tensor by tensor, in a process of its own.

    torch traces one model at a time in a process, and several backends may be judged at once.

    Args:
        case: of the family ``model``.
        outputs: ``result``, the file that the backend exported, and ``package``, one of
            ``QUANTIZERS``: whose prepared model it is to be compared with.

    Returns:
        The worst verdict on any tensor or weight, and what is to be said of it.
    """
    given = (dict(case.arguments), outputs["result"], outputs["package"])
    return _judges().submit(judge_file, *given).result()


def judge_file(
    given: Mapping[str, Any],
    path: str,
    package: str = QUANTIZERS[0],
    accumulate: str = "float32",
) -> tuple[Verdict, str]:
    """Judges an exported model of the zoo here; see :func:`judge_model`.

    Args:
        given: model, config, mode and cast_16bit.
        path: what was exported.
        package: one of ``QUANTIZERS``.
        accumulate: dtype of sums, where the target is known to make them in float16.
    """
    half = bool(given["cast_16bit"])
    arithmetic = Arithmetic("float16" if half else "float32", accumulate if half else "float32")
    try:
        with quiet():
            recording = _recording(given["model"], given["config"], given["mode"], package)
            program = open_program(Path(path))
            try:
                if said := other_interface(recording, program):
                    return Verdict.WRONG, said
                found = compare(recording, program, arithmetic)
            finally:
                program.close()
    except UnloadableProgramError as error:  # here the backend made it, and is to be blamed
        return Verdict.CRASHED, str(error)
    except (TimeoutError, ExecutorError, GateError) as error:
        return Verdict(verdict_of(error)), str(error)
    return _summary(found)


@lru_cache(maxsize=1)
def _judges() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, mp_context=get_context("spawn"))


@lru_cache(maxsize=2)
def _recording(model: str, config: str, mode: str, package: str) -> Recording:
    made = prepare(model, config, mode, package)
    return record(made.model, made.example)


def _summary(found: Findings) -> tuple[Verdict, str]:
    failed = [(x.verdict, x.name, x.detail) for x in found.layers if x.verdict in FAILING]
    failed += [(w.verdict, w.name, w.detail) for w in found.weights if w.verdict in FAILING]
    if not failed:
        exact = all(x.verdict == "exact" for x in found.layers)
        return (Verdict.EXACT if exact else Verdict.ADMISSIBLE), ""
    worst = next(
        (
            v
            for v in ("wrong", "unlikely", "undecided", "unpaired")
            if any(f[0] == v for f in failed)
        ),
        "unsupported",
    )
    told = [f"{name}: {detail}" for verdict, name, detail in failed if verdict == worst]
    more = f"; … and {len(told) - SHOWN} more tensors" if len(told) > SHOWN else ""
    # Of a tensor that was not found nothing is known, as of one with a bound that admits all codes.
    named = Verdict.UNDECIDED if worst == "unpaired" else Verdict(worst)
    return named, "; ".join(told[:SHOWN]) + more
