"""An exported program without writes into memory, before anything is folded in it."""

from __future__ import annotations

import torch
from torch import fx
from torch.export import ExportedProgram

from quant_torch._torch_internals import OpOverload
from quant_torch.export.rewriting._rule import aten

_DROPOUTS = frozenset({
    aten.dropout.default, aten.feature_dropout.default, aten.alpha_dropout.default,
    aten.feature_alpha_dropout.default,
})  # fmt: skip


def functional(exported: ExportedProgram) -> ExportedProgram:
    """The program as it is, or one without writes if it has any.

    A constant that is written must not be folded, since its views would be taken from another. And
    a dropout that is off gives the tensor that it was given, which torch forgets when it takes
    writes out: so it goes first.

    Args:
        exported: The program; dropouts that are off may be taken out of it.
    """
    if not any(_writes(node) for node in exported.graph.nodes):
        return exported
    for node in list(exported.graph.nodes):
        if node.op == "call_function" and node.target in _DROPOUTS and not node.args[2]:
            node.replace_all_uses_with(node.args[0])
            for spec in exported.graph_signature.output_specs:
                if getattr(spec.arg, "name", None) == node.name:
                    spec.arg.name = node.args[0].name
            exported.graph.erase_node(node)
    exported.graph_module.recompile()
    with torch.no_grad():
        return exported.run_decompositions({})


def _writes(node: fx.Node) -> bool:
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable
