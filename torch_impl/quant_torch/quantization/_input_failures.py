"""A float model that fails on its example inputs: said as such, with where and why."""

from __future__ import annotations

import inspect
import os
import traceback

import torch
from torch import nn

import quant_torch
from quant_torch.quantization._evaluation import undisturbed
from quant_torch.quantization._example_inputs import ExampleInputs, kind_of


class ExampleInputsError(RuntimeError):
    """A float model that fails on the example inputs, before anything is quantized."""


def check_float_model(model: nn.Module, inputs: ExampleInputs) -> None:
    """Run a float model on its example inputs, after quantizing it has failed.

    Raises:
        ExampleInputsError: It fails by itself.
    """
    with undisturbed(model), torch.no_grad():
        try:
            inputs.copied().run(model)
        except Exception as error:
            raise ExampleInputsError(_explained(model, inputs, error)) from error


def _explained(model: nn.Module, inputs: ExampleInputs, error: Exception) -> str:
    """What a float model's own error on its example inputs means, and what to do."""
    first = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
    return (
        f"{type(model).__name__}.forward fails on the example inputs {inputs.described(model)}: "
        f"{type(error).__name__}: {first.strip()}{users_line(error)}{_other_dtypes(model, inputs)}"
    )


def users_line(error: BaseException) -> str:
    """The innermost line outside of torch and of this package that led to an error."""
    packages = (os.path.join(os.path.dirname(p.__file__), "") for p in (torch, quant_torch))
    inside = (*packages, inspect.__file__)
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if not frame.filename.startswith(inside):
            return f"\n  {frame.filename}:{frame.lineno}, in {frame.name}: {frame.line}"
    return ""


def _other_dtypes(model: nn.Module, inputs: ExampleInputs) -> str:
    """A hint where an input has another dtype than the parameters."""
    floats = sorted({str(p.dtype) for p in model.parameters() if p.is_floating_point()})
    if not floats:
        return ""
    wanted = " or ".join(name.removeprefix("torch.") for name in floats)
    hints = [
        f"\n{name} is {kind_of(tensor)}, the parameters are {wanted}: inputs are not converted, "
        f"give {name}.to(torch.{wanted.split()[-1]}) where the model reads numbers and not indices"
        for name, tensor in inputs.tensors(model).items()
        if str(tensor.dtype) not in floats
    ]
    return "".join(hints)
