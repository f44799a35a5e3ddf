"""Where a file computes the results of the layers whose weights it holds.

Values are what tensors are known by, and a layer that computes wrong values is not known by them.
Its weight still is: what reads it, with the bias behind, is the layer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

from quant_conformance.gate.alignment.stored_qparams import differing_weight, pair_weights
from quant_conformance.gate.alignment.thresholds import THRESHOLDS, Thresholds
from quant_conformance.gate.regions.expected import Expected
from quant_conformance.gate.regions.region import Regions
from quant_conformance.runtimes.program import Program

Operations = Mapping[str, tuple[str, tuple[str, ...]]]

_ALONG = ("reshape", "cast", "expand_dims", "squeeze")
"""Operations that may stand between a sum of products and its bias."""


def linked_results(
    regions: Regions, expected: Expected, program: Program, limits: Thresholds = THRESHOLDS
) -> dict[str, str]:
    """Finds float results of the prepared model in a file by the weights that make them.

    Args:
        regions: those of the prepared model.
        expected: the reference's answers to it.
        program: the file.
        limits: the thresholds.

    Returns:
        Float result of the prepared model -> value in the file. Only of weights that are in the
        file to the bit, and that one layer reads.
    """
    cuts = regions.float_cuts()
    weights = {q.result: q for q in regions.weights} if cuts else {}
    # Of equal ones the file may have one, which does not tell whose result it makes.
    firsts = Counter(regions.first_alike[name] for name in weights)
    single = {name for name in weights if firsts[regions.first_alike[name]] == 1}
    stored = program.weights if weights else {}
    pairs = pair_weights(list(weights.values()), expected, stored, limits.weight_order)
    found = dict[str, str]()
    for region in regions.build(cuts):
        read = [name for name in region.operands if name in weights]
        if region.quantization is not None or len(read) != 1 or read[0] not in pairs:
            continue
        if read[0] not in single:
            continue
        weight = pairs[read[0]]
        if not differing_weight(weights[read[0]], expected, stored[weight]):
            made = result_with(program.operations, weight, program.floats)
            if made is not None and region.target not in regions.outputs:
                found[region.target] = made
    return found


def result_with(operations: Operations, weight: str, floats: Collection[str]) -> str | None:
    """What a file computes with a weight: the sum of products, and the bias if there is one.

    Args:
        operations: result -> kind and operands, in the order of the program.
        weight: name of the weight.
        floats: float results that can be cut.

    Returns:
        None where more than one operation reads the weight, or what reads it cannot be cut.
    """
    varies = varying(operations)
    name: str | None = weight
    while name is not None and name not in varies:
        name = _only_reader(operations, name)
    after = name
    while after is not None:
        after = _only_reader(operations, after)
        if after is None:
            break
        kind, operands = operations[after]
        if "add" in kind and sum(operand in varies for operand in operands) == 1:
            name = after
            break
        if not kind.endswith(_ALONG):
            break
    return name if name in floats else None


def _only_reader(operations: Operations, name: str) -> str | None:
    readers = [result for result, (_, operands) in operations.items() if name in operands]
    return readers[0] if len(readers) == 1 else None


def varying(operations: Operations) -> set[str]:
    """Values that depend on an input: what is not made of constants alone.

    Names that no operation makes are inputs or constants; :class:`Program` lists the inputs among
    the operations, without operands of their own.
    """
    varying = set[str]()
    for result, (kind, operands) in operations.items():
        if kind == "input" or any(operand in varying for operand in operands):
            varying.add(result)
    return varying
