"""What a model computes and does not hand on; a converter leaves it out, and nothing is lost."""

from __future__ import annotations

from quant_conformance.gate.recording.recorder import Recording


def dead_values(recording: Recording) -> set[str]:
    """Results of the quantizers from which no output follows.

    Recorded values are written once, in-place operations being recorded with results of their own,
    so that following what each value is made of, from the outputs backwards, finds all that counts.

    Args:
        recording: one run of a prepared model.
    """
    read = read_by_outputs(recording)
    # A weight that two operations read is one, whichever of them counts.
    counted = {(q.facts.name, q.source) for q in recording.quantizations if q.result in read}
    return {q.result for q in recording.quantizations if (q.facts.name, q.source) not in counted}


def read_by_outputs(recording: Recording) -> set[str]:
    """Every recorded value that an output follows from, the outputs with them.

    Args:
        recording: one run of a prepared model.
    """
    made_of = {q.result: [q.source] for q in recording.quantizations}
    for operation in recording.operations:
        for name in operation.outputs:
            if name is not None:
                made_of[name] = operation.inputs
    read, waiting = set[str](), list(recording.outputs)
    while waiting:
        name = waiting.pop()
        if name not in read:
            read.add(name)
            waiting += made_of.get(name, [])
    return read
