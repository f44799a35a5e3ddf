"""Arguments that are no tensors: the graph holds the values of the example inputs."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx

from quant_reference.errors import InputError


def check_constant_inputs(graph: fx.Graph) -> None:
    """Make a graph refuse other values for the arguments that were captured as constants."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    after = placeholders[-1] if placeholders else None
    for node in placeholders:
        value = node.meta.get("val")
        if after is not None and isinstance(value, bool | int | float | str | None):
            with graph.inserting_after(after):
                graph.call_function(same_constant, (node, value, node.name))


def same_constant(given: Any, captured: Any, name: str) -> None:
    """Refuse an argument that differs from the one that the graph was captured with.

    Raises:
        InputError: Naming the argument and both values.
    """
    if isinstance(given, fx.Proxy):  # traced again, as unpickling does
        given.tracer.create_proxy("call_function", same_constant, (given, captured, name), {})
        return
    if isinstance(given, torch.Tensor) or type(given) is not type(captured) or given != captured:
        raise InputError(
            f"argument {name!r} of a captured graph",
            given=given,
            allowed=f"{captured!r}, the value in example_inputs; eager mode takes others",
            clause="PLACE-1",
        )


# An fx pass that removes unused nodes must not take the check for one.
fx.node.has_side_effect(same_constant)
