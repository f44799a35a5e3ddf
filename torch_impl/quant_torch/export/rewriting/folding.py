"""Constants of an exported program, computed by torch before a converter sees them."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, fx
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, InputSpec, TensorArgument

from quant_torch._torch_internals import OpOverload, pytree
from quant_torch.casting._program import SHAPE_ONLY, Program, packet

_LARGEST = 1 << 20
"""Elements up to which a constant may grow by being folded."""


def fold_constants(exported: ExportedProgram) -> None:
    """Put constants where operations read what does not depend on the data.

    Left alone are weights that are only moved, and whatever is computed from quantized ones.
    coreai-torch rounds numbers that meet integers to float16.

    Args:
        exported: The program, changed in place.
    """
    program = Program(exported)
    constants = {node for node in program.constants() if _is_plain(node)}
    values: dict[fx.Node, Any] = {}
    for node in program.operations():
        if node not in constants or not _is_plain_all(node, constants, values):
            continue
        known = _value(program, node, values)
        if known is not None:
            values[node] = known
    for node, known in values.items():
        readers = [user for user in node.users if user not in values]
        if readers and _computes(node, values):
            constant = _placed(program, node, known)
            for reader in readers:
                reader.replace_input_with(node, constant)
            _follow_outputs(exported, node, constant)
    program.finish()


def _is_plain(node: fx.Node) -> bool:
    if node.op != "call_function":
        return True
    target = node.target
    if not isinstance(target, OpOverload) or target.namespace != "aten":
        return False
    return torch.Tag.nondeterministic_seeded not in target.tags and not target._schema.is_mutable


def _is_plain_all(node: fx.Node, constants: set[fx.Node], values: dict[fx.Node, Any]) -> bool:
    return all(
        source in values or (source.op == "placeholder" and source in constants)
        for source in node.all_input_nodes
    )


def _value(program: Program, node: fx.Node, values: dict[fx.Node, Any]) -> Tensor | None:
    def of(source: fx.Node) -> Any:
        return values[source] if source in values else program.tensor(source).detach()

    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), of)
    sizes = [x.numel() for x in pytree.tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    shape = getattr(node.meta.get("val"), "shape", None)
    if shape is None or not all(isinstance(n, int) for n in shape):
        return None
    if torch.Size(shape).numel() > max([_LARGEST, *sizes]):
        return None
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return node.target(*args, **kwargs)
    except Exception:  # what torch itself cannot compute stays as it was
        return None


def _computes(node: fx.Node, values: dict[fx.Node, Any]) -> bool:
    """Whether anything but a move leads to a value; weights that are moved keep their names."""
    if packet(node) not in SHAPE_ONLY:
        return True
    return any(source in values and _computes(source, values) for source in node.all_input_nodes)


def _placed(program: Program, node: fx.Node, known: Tensor) -> fx.Node:
    exported, graph = program.exported, program.graph
    specs = exported.graph_signature.input_specs
    index = next(
        (i for i, spec in enumerate(specs) if spec.kind is InputKind.USER_INPUT), len(specs)
    )
    placeholders = program.placeholders()
    target = f"folded_{len(exported.constants)}"
    while target in exported.constants or target in exported.state_dict:
        target += "_"
    before = placeholders[index] if index < len(placeholders) else placeholders[-1].next
    with graph.inserting_before(before):
        made = graph.placeholder(target)
    made.meta["val"] = node.meta["val"]
    exported.constants[target] = known.clone().contiguous()
    spec = InputSpec(InputKind.CONSTANT_TENSOR, TensorArgument(made.name), target)
    specs.insert(index, spec)
    return made


def _follow_outputs(exported: ExportedProgram, old: fx.Node, new: fx.Node) -> None:
    for spec in exported.graph_signature.output_specs:
        if isinstance(spec.arg, TensorArgument) and spec.arg.name == old.name:
            spec.arg.name = new.name
