"""Core AI: a prepared model to an .aimodel."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram

from quant_torch._backends import CoreAIExportError, ExportBackend
from quant_torch.casting import cast_to_16_bit_precision
from quant_torch.export._blame import Alone, Attempt, blame
from quant_torch.export._files import check_target, write_whole
from quant_torch.export._origins import Origins
from quant_torch.export.rewriting import COREAI, over
from quant_torch.export.rewriting.alone import of_program
from quant_torch.export.rewriting.folding import fold_constants
from quant_torch.export.rewriting.functional import functional
from quant_torch.quantization.quantizer import Quantizer


def to_coreai(
    quantizer: Quantizer,
    example_inputs: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    cast_16bit: bool = False,
    dynamic_shapes: Any = None,
    overwrite: bool = False,
) -> Path:
    """Finalize a prepared model for Core AI, convert it and save it.

    Args:
        quantizer: After ``prepare()``, and calibration or training as needed.
        example_inputs: Positional arguments of one forward pass.
        path: The .aimodel to write.
        example_kwargs: Keyword arguments of that forward pass, by name.
        cast_16bit: Whether to cast what is left of float32 to float16 first.
        dynamic_shapes: Passed to ``torch.export``.
        overwrite: Whether a file that is there is replaced.

    Returns:
        The path. The file appears whole or not at all.

    Raises:
        ImportError: coreai-torch is not installed.
        FileExistsError: The path exists and overwrite is False.
        ValueError: The path does not end in .aimodel, or Core AI cannot express the model.
        RuntimeError: The quantizer is not prepared, or was finalized.
    """
    check_target(path, ".aimodel", overwrite)
    finalized = quantizer.finalize(backend=ExportBackend.CoreAI)
    return save_coreai(
        finalized,
        example_inputs,
        path,
        example_kwargs=example_kwargs,
        cast_16bit=cast_16bit,
        dynamic_shapes=dynamic_shapes,
        overwrite=overwrite,
    )


def save_coreai(
    finalized: nn.Module,
    example_inputs: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    cast_16bit: bool = False,
    dynamic_shapes: Any = None,
    overwrite: bool = False,
) -> Path:
    """Convert a model that was finalized for Core AI, here or by coreai-opt, and save it.

    Args:
        finalized: The finalized model.
        example_inputs: As for :func:`to_coreai`, and so are the others and the errors.
        path: The .aimodel to write.
        example_kwargs: Keyword arguments of that forward pass, by name.
        cast_16bit: Whether to cast what is left of float32 to float16 first.
        dynamic_shapes: Passed to ``torch.export``.
        overwrite: Whether a file that is there is replaced.

    Returns:
        The path. The file appears whole or not at all.
    """
    target = check_target(path, ".aimodel", overwrite)
    import coreai_torch

    with torch.no_grad():
        program = torch.export.export(
            finalized, example_inputs, dict(example_kwargs or {}), dynamic_shapes=dynamic_shapes
        )
    program = functional(program)
    fold_constants(program)
    program = program.run_decompositions(over(COREAI, coreai_torch.get_decomp_table()))
    if cast_16bit:
        cast_to_16_bit_precision(program)
    try:
        converted = _converted(coreai_torch, program)
    except Exception as error:  # the converter's own, of whatever kind
        name = f"coreai-torch {metadata.version('coreai-torch')}"
        raise CoreAIExportError(blame(name, error, _attempts(finalized, program))) from error
    if hasattr(converted, "optimize"):  # later versions optimize while they convert
        converted.optimize()
    return write_whole(target, converted.save_asset)


def _converted(coreai_torch: Any, program: ExportedProgram) -> Any:
    converter = coreai_torch.TorchConverter()
    converter.add_exported_program(program)
    return converter.to_coreai()


def _attempts(finalized: nn.Module, program: ExportedProgram) -> Iterator[Attempt]:
    """Each operation of a program, and its conversion alone."""
    import coreai_torch

    origins = Origins(finalized)

    def attempt(function: Callable[..., Any], examples: tuple[torch.Tensor, ...]) -> object:
        alone = torch.export.export(Alone(function), examples)
        alone = alone.run_decompositions(coreai_torch.get_decomp_table())
        return _converted(coreai_torch, alone)

    for node, key, function, examples in of_program(program):
        yield key, partial(origins.of_node, node), partial(attempt, function, examples)
