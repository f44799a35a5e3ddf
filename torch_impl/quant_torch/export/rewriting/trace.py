"""A trace for coremltools, changed in place: constants folded, operations rewritten."""

from __future__ import annotations

import warnings
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import OpOverload, inline_calls, remove_dead_code
from quant_torch.export.rewriting._calls import call
from quant_torch.export.rewriting._rule import Rules
from quant_torch.export.rewriting.inlining import Place, inlined, trace_of
from quant_torch.export.rewriting.ranks import without_high_ranks
from quant_torch.export.rewriting.trace_values import UNKNOWN, Values, overload_of, shape_only
from quant_torch.export.rewriting.writes import without_writes

_LARGEST = 1 << 20
"""Elements up to which a constant may grow by being folded."""

_KEPT = frozenset({"quantize_per_tensor", "quantize_per_channel", "dequantize", "alias", "detach"})
"""What coremltools has to see even if it is constant."""


def rewrite_trace(
    traced: torch.jit.ScriptModule, rules: Rules, compressed: Rules = MappingProxyType({})
) -> None:
    """Take writes out, fold what does not depend on the data, and apply rules until none applies.

    Args:
        traced: The trace; its submodules are inlined.
        rules: By operation.
        compressed: Other rules for operations that read weights which coremltools compresses.

    Raises:
        WriteError: A write into memory cannot be expressed by operations that write nowhere.
    """
    graph = traced.graph
    inline_calls(graph)
    without_writes(traced)
    _fold(traced, graph)
    pending = list(graph.nodes())
    while pending:
        node = pending.pop(0)
        overload = overload_of(node)
        rule = rules.get(overload)
        if overload in compressed and Values(traced).reads_compressed(node):
            rule = compressed[overload]
        if rule is not None:
            made = _applied(traced, graph, node, overload, rule)
            # A rule that uses its own operation means the one that the converter has.
            pending = [each for each in made if overload_of(each) is not overload] + pending
    without_high_ranks(traced)
    remove_dead_code(graph)
    _fold(traced, graph)


def _fold(traced: torch.jit.ScriptModule, graph: Any) -> None:
    """Put constants where the data has no say: sizes, ranges, and what is computed from them.

    coremltools computes some of them as integers although they are not, and lacks the operations
    of others.
    """
    values = Values(traced)
    for node in list(graph.nodes()):
        outputs = list(node.outputs())
        overload = overload_of(node)
        if overload is None:
            values.follow(node)
            continue
        if overload._schema.name.partition("::")[2] in _KEPT or overload._schema.is_mutable:
            continue
        args = [values.of(value) for value in node.inputs()]
        if any(arg is UNKNOWN for arg in args) and shape_only(overload):
            args = [values.stand_in(value) for value in node.inputs()]
        if any(arg is UNKNOWN for arg in args) or not _is_deterministic(overload):
            continue
        if values.reads_compressed(node):
            continue
        result = _called(overload, args)
        if result is UNKNOWN or len(outputs) != 1 or _grows(result, args):
            continue
        values.put(outputs[0], result)
    _materialize(graph, values)
    remove_dead_code(graph)


def _materialize(graph: Any, values: Values) -> None:
    """Constants where values that are known now meet operations that stay."""
    for node in list(graph.nodes()):
        if node.kind() in ("prim::Constant", "prim::GetAttr"):
            continue
        for output in list(node.outputs()):
            known = values.folded(output)
            if known is UNKNOWN or not isinstance(known, Tensor | int | float | bool):
                continue
            with graph.insert_point_guard(node):
                constant = graph.insertConstant(_storable(known))
            constant.node().copyMetadata(node)
            output.replaceAllUsesWith(constant)


def _storable(known: Any) -> Any:
    return known.detach().clone().contiguous() if isinstance(known, Tensor) else known


def _called(overload: OpOverload, args: list[Any]) -> Any:
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call(overload, args)
    except Exception:  # what torch itself cannot compute stays as it was
        return UNKNOWN


def _grows(result: Any, args: list[Any]) -> bool:
    if not isinstance(result, Tensor):
        return False
    sizes = [arg.numel() for arg in args if isinstance(arg, Tensor)]
    return result.numel() > max([_LARGEST, *sizes])


def _is_deterministic(overload: OpOverload) -> bool:
    return torch.Tag.nondeterministic_seeded not in overload.tags


def _applied(
    traced: torch.jit.ScriptModule, graph: Any, node: Any, overload: OpOverload, rule: Any
) -> list[Any]:
    """The nodes that took the place of one; none where the rule does not apply."""
    values = Values(traced)
    places: list[Any] = []
    examples: list[Tensor] = []
    args: list[Any] = []
    for value in node.inputs():
        argument = _argument(values, value, places, examples)
        if argument is UNKNOWN:
            return []
        args.append(argument)

    def written_out(*tensors: Tensor) -> Any:
        given = [_filled(argument, tensors) for argument in args]
        result = call(overload, given, rule)
        if result is NotImplemented:
            raise _DoesNotApplyError
        return result

    try:
        inner = trace_of(written_out, tuple(examples))
    except _DoesNotApplyError:
        return []
    made, results = inlined(graph, node, inner, places)
    if len(results) == 1 and node.outputsSize() > 1:  # a tuple, which the operation gives apart
        results = list(results[0].node().inputs())
    for old, new in zip(node.outputs(), results, strict=True):
        old.replaceAllUsesWith(new)
    node.destroy()
    return made


def _argument(values: Values, value: Any, places: list[Any], examples: list[Tensor]) -> Any:
    """An argument with places for its tensors, which are noted; ``UNKNOWN`` if it is not known."""
    if value.node().kind() == "prim::ListConstruct" and value.type().str() == "Tensor[]":
        items = [_argument(values, v, places, examples) for v in value.node().inputs()]
        return UNKNOWN if any(item is UNKNOWN for item in items) else items
    example = values.example(value)
    if isinstance(example, Tensor):
        places.append(value)
        examples.append(example)
        return Place(len(examples) - 1)
    if isinstance(example, list) and any(isinstance(e, Tensor) for e in example):
        return UNKNOWN
    return example


def _filled(argument: Any, tensors: tuple[Tensor, ...]) -> Any:
    if isinstance(argument, list):
        return [_filled(item, tensors) for item in argument]
    return tensors[argument.index] if isinstance(argument, Place) else argument


class _DoesNotApplyError(Exception):
    """The converter takes the operation as it is."""
