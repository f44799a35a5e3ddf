"""Which calls of a recorded run join masks and distances to the scores of a softmax (PLACE-14)."""

from __future__ import annotations

from quant_torch.quantization._eager._records import OpCall, TensorInput
from quant_torch.quantization._eager._tracing import Trace
from quant_torch.quantization._eager._whole_numbers import name_of
from quant_torch.quantization._whole_numbers import FOLLOWING, JOINING, SCORES


def note_masks(trace: Trace) -> None:
    """Note at the calls whether they add a mask, or to masked scores, on the way to a softmax."""
    given = {id(tensor) for tensor in trace.model_inputs}
    masked: set[int] = set()
    found = []
    for call in trace.calls:
        name, sources = name_of(call.function), _floats(call)
        results = {id(tensor) for tensor in call.outputs.values()}
        follows = name in FOLLOWING
        if follows and all(s.whole or id(s.tensor) in given for s in sources):
            given |= results
        elif _joins(name, sources, given) or (
            follows and any(id(s.tensor) in masked for s in sources)
        ):
            masked |= results
            found.append(call)
    scores: set[int] = set()
    for call in reversed(trace.calls):
        name = name_of(call.function)
        behind = name in FOLLOWING and any(id(t) in scores for t in call.outputs.values())
        for source in _floats(call):
            if behind or source.name in SCORES.get(name, ()):
                scores.add(id(source.tensor))
    for call in found:
        call.masks = any(id(t) in scores for t in call.outputs.values())


def _joins(name: str, sources: list[TensorInput], given: set[int]) -> bool:
    filled = name == "masked_fill" or (name == "where" and len(sources) < 2)
    return filled or (name in JOINING and any(s.whole or id(s.tensor) in given for s in sources))


def _floats(call: OpCall) -> list[TensorInput]:
    return [source for source in call.inputs if source.tensor.is_floating_point()]
