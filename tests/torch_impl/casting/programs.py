"""Small exported programs for the casting tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import fx, nn
from torch.export import ExportedProgram


class Holder(nn.Module):
    """Runs a function that gets the module, so that tests can name its tensors."""

    def __init__(self, function: Callable[..., Any], **tensors: torch.Tensor) -> None:
        super().__init__()
        self.function = function
        for name, tensor in tensors.items():
            if tensor.is_floating_point() and tensor.itemsize > 1:
                self.register_parameter(name, nn.Parameter(tensor))
            else:
                self.register_buffer(name, tensor)

    def forward(self, *inputs: torch.Tensor) -> Any:
        return self.function(self, *inputs)


def exported(
    function: Callable[..., Any], *inputs: torch.Tensor, **tensors: torch.Tensor
) -> ExportedProgram:
    """A functional program of a function and the tensors of its module."""
    model = Holder(function, **tensors).eval()
    return torch.export.export(model, inputs).run_decompositions({})


def node(program: ExportedProgram, name: str) -> fx.Node:
    return next(n for n in program.graph.nodes if n.name == name)


def dtypes(program: ExportedProgram) -> dict[str, torch.dtype]:
    """dtype of every operation and input by name."""
    values = {n.name: n.meta.get("val") for n in program.graph.nodes}
    return {name: v.dtype for name, v in values.items() if isinstance(v, torch.Tensor)}


def run(program: ExportedProgram, *inputs: torch.Tensor) -> Any:
    """Run it, with float and integer inputs cast as the program wants them."""
    wanted = dtypes(program)
    names = program.graph_signature.user_inputs
    with torch.no_grad():
        return program.module()(*(x.to(wanted[n]) for n, x in zip(names, inputs, strict=True)))
