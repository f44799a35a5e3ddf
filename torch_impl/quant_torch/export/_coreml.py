"""Core ML: a prepared model to an .mlpackage."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quant_torch._backends import CoreMLExportError, ExportBackend
from quant_torch._quiet import torch_deprecations_hidden
from quant_torch._suggest import closest
from quant_torch._torch_internals import pytree
from quant_torch.export._blame import Alone, Attempt, blame
from quant_torch.export._files import check_target, write_whole
from quant_torch.export._origins import Origins
from quant_torch.export._targets import of_finalized, of_prepared, refuse_old_target
from quant_torch.export.rewriting import COREML
from quant_torch.export.rewriting.alone import of_trace
from quant_torch.export.rewriting.recurrent import COMPRESSED
from quant_torch.export.rewriting.trace import rewrite_trace
from quant_torch.export.rewriting.writes import WriteError
from quant_torch.quantization._eager._sites import copies_traced
from quant_torch.quantization.quantizer import Quantizer

_PRECISIONS = ("float16", "float32")

_METADATA_VERSION = "_COREML_/metadata_version"


def to_coreml(
    quantizer: Quantizer,
    example_inputs: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    deployment_target: str = "iOS26",
    compute_precision: str = "float32",
    pass_pipeline: Any = None,
    overwrite: bool = False,
) -> Path:
    """Finalize a prepared model for Core ML, convert it and save it.

    Args:
        quantizer: After ``prepare()``, and calibration or training as needed.
        example_inputs: Positional arguments of one forward pass: tensors, or tuples, lists and
            dicts of them, which become inputs one by one.
        path: The .mlpackage to write.
        example_kwargs: Keyword arguments of that forward pass, by name.
        deployment_target: A member of ``coremltools.target`` by name. 8-bit weights need iOS16,
            activations iOS17, 4-bit and per-block weights iOS18.
        compute_precision: ``"float32"`` or ``"float16"``.
        pass_pipeline: A ``coremltools.PassPipeline``; None for coremltools' default one without
            the pass that joins quantizers around a reshape, whose scales may differ.
        overwrite: Whether a file that is there is replaced.

    Returns:
        The path. The file appears whole or not at all.

    Raises:
        ImportError: coremltools is not installed.
        FileExistsError: The path exists and overwrite is False.
        CoreMLExportError: Core ML, or the deployment target, cannot express the model.
        ValueError: The path does not end in .mlpackage, or an unknown target or precision.
        TypeError: An example input that is no tensor.
        RuntimeError: The quantizer is not prepared, or was finalized.
    """
    _check(path, deployment_target, compute_precision, overwrite)
    for leaf in pytree.tree_leaves((example_inputs, dict(example_kwargs or {}))):
        _tensor_type(_coremltools(), leaf)
    if quantizer._prepared is not None:
        needs = of_prepared(quantizer._prepared)
        refuse_old_target(needs, deployment_target, _coremltools().target)
    finalized = quantizer.finalize(backend=ExportBackend.CoreML)
    return save_coreml(
        finalized,
        example_inputs,
        path,
        example_kwargs=example_kwargs,
        deployment_target=deployment_target,
        compute_precision=compute_precision,
        pass_pipeline=pass_pipeline,
        overwrite=overwrite,
    )


def save_coreml(
    finalized: nn.Module,
    example_inputs: tuple[Any, ...],
    path: str | os.PathLike[str],
    *,
    example_kwargs: Mapping[str, Any] | None = None,
    deployment_target: str = "iOS26",
    compute_precision: str = "float32",
    pass_pipeline: Any = None,
    overwrite: bool = False,
) -> Path:
    """Convert a model that was finalized for Core ML, here or by coreai-opt, and save it.

    Args:
        finalized: The finalized model.
        example_inputs: As for :func:`to_coreml`, and so are the others and the errors.
        path: The .mlpackage to write.
        example_kwargs: Keyword arguments of that forward pass, by name.
        deployment_target: A member of ``coremltools.target`` by name.
        compute_precision: ``"float32"`` or ``"float16"``.
        pass_pipeline: As for :func:`to_coreml`.
        overwrite: Whether a file that is there is replaced.

    Returns:
        The path. The file appears whole or not at all.
    """
    target = _check(path, deployment_target, compute_precision, overwrite)
    coremltools = _coremltools()
    refuse_old_target(of_finalized(finalized), deployment_target, coremltools.target)
    model = traced(finalized, example_inputs, example_kwargs)
    try:
        rewrite_trace(model, COREML, COMPRESSED)
    except WriteError as error:
        raise CoreMLExportError(
            "Core ML cannot express what this model writes in place; compute new tensors instead\n"
            f"  {Origins(finalized).of_trace(error.node)}: {error}"
        ) from error
    leaves = pytree.tree_leaves((example_inputs, dict(example_kwargs or {})))
    settings = {
        "convert_to": "mlprogram",
        "minimum_deployment_target": coremltools.target[deployment_target],
        "compute_precision": getattr(coremltools.precision, compute_precision.upper()),
        "pass_pipeline": _safe_passes(coremltools) if pass_pipeline is None else pass_pipeline,
    }
    inputs = [_tensor_type(coremltools, leaf) for leaf in leaves]
    try:
        converted = coremltools.convert(model, inputs=inputs, **settings)
    except Exception as error:  # the converter's own, of whatever kind
        name = f"coremltools {metadata.version('coremltools')}"
        attempts = _attempts(finalized, model, settings)
        raise CoreMLExportError(blame(name, error, attempts)) from error
    return write_whole(target, lambda made: converted.save(str(made)))


def _attempts(
    finalized: nn.Module, model: torch.jit.ScriptModule, settings: dict[str, Any]
) -> Iterator[Attempt]:
    """Each operation of a trace, and its conversion alone."""
    coremltools = _coremltools()
    origins = Origins(finalized)

    def attempt(function: Callable[..., Any], examples: tuple[torch.Tensor, ...]) -> object:
        alone = traced(Alone(function).eval(), examples)
        inputs = [_tensor_type(coremltools, leaf) for leaf in examples]
        return coremltools.convert(alone, inputs=inputs, **settings)

    for node, key, function, examples in of_trace(model):
        yield key, partial(origins.of_trace, node), partial(attempt, function, examples)


def _check(
    path: str | os.PathLike[str], deployment_target: str, compute_precision: str, overwrite: bool
) -> Path:
    """The target as a path, before any work is done."""
    target = check_target(path, ".mlpackage", overwrite)
    coremltools = _coremltools()
    if deployment_target not in coremltools.target.__members__:
        names = list(coremltools.target.__members__)
        hint = closest(deployment_target, names)
        raise ValueError(
            f"no deployment target {deployment_target!r}{hint}; there are {', '.join(names)}"
        )
    if compute_precision not in _PRECISIONS:
        raise ValueError(
            f"compute_precision is one of {', '.join(_PRECISIONS)}, given {compute_precision!r}"
        )
    return target


def _safe_passes(coremltools: Any) -> Any:
    """The default passes of coremltools without the one that changes numbers.

    It takes a reshape between a dequantize and a quantize for one of the codes, without a look at
    the two scales: what was quantized by the one is then dequantized by the other.
    """
    passes = coremltools.PassPipeline()
    passes.remove_passes(["common::int_op_canonicalization"])
    return passes


def traced(
    finalized: nn.Module,
    example_inputs: tuple[Any, ...],
    example_kwargs: Mapping[str, Any] | None = None,
) -> torch.jit.ScriptModule:
    """A trace of a model that was finalized for Core ML.

    Args:
        finalized: The model.
        example_inputs: Positional arguments of one forward pass.
        example_kwargs: Its keyword arguments.
    """
    given: Any = (tuple(example_inputs), dict(example_kwargs or {}))
    leaves = tuple(pytree.tree_leaves(given))
    plain = all(isinstance(value, torch.Tensor) and value.dim() for value in given[0])
    with torch.no_grad(), torch_deprecations_hidden(), copies_traced():
        if given[1] or not plain:
            return torch.jit.trace(
                _Flat(finalized, given), tuple(map(_with_axis, leaves)), check_trace=False
            )
        hook = finalized.register_forward_hook(lambda _model, _args, result: _flat(result))
        try:
            return torch.jit.trace(finalized, example_inputs, check_trace=False)
        finally:
            hook.remove()


class _Flat(nn.Module):
    """A model that takes the tensors of nested arguments one by one, and gives its own so.

    Args:
        model: The model.
        example: Its positional and its keyword arguments.
    """

    def __init__(self, model: nn.Module, example: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
        super().__init__()
        self.model = model
        leaves, self._nest = pytree.tree_flatten(example)
        self._scalars = [isinstance(leaf, torch.Tensor) and leaf.dim() == 0 for leaf in leaves]
        for name, buffer in model.named_buffers(recurse=False):
            if name == _METADATA_VERSION:  # which coremltools reads from the root
                self.register_buffer(name, buffer)

    def forward(self, *tensors: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Call the model with the tensors where they belong."""
        pairs = zip(tensors, self._scalars, strict=True)
        given = [tensor.reshape(()) if scalar else tensor for tensor, scalar in pairs]
        args, kwargs = pytree.tree_unflatten(given, self._nest)
        return _flat((self.model(*args, **kwargs),))


def _with_axis(leaf: Any) -> Any:
    """An input of a Core ML model has an axis at least."""
    return leaf.reshape(1) if isinstance(leaf, torch.Tensor) and leaf.dim() == 0 else leaf


def _flat(result: Any) -> Any:
    """What a model gives, as far as it is tensors, one by one; a single tensor as it is."""
    if isinstance(result, torch.Tensor):
        return result
    return tuple(leaf for leaf in pytree.tree_leaves(result) if isinstance(leaf, torch.Tensor))


def _coremltools() -> Any:
    try:
        import coremltools
    except ImportError as error:
        raise ImportError(
            "exporting to Core ML needs coremltools: pip install 'quant-conformance[coreml]' "
            f"({error})"
        ) from error
    return coremltools


def _tensor_type(coremltools: Any, leaf: Any) -> Any:
    if not isinstance(leaf, torch.Tensor):
        raise TypeError(f"Core ML models take tensors, given an example input {leaf!r}")
    import numpy as np

    kinds = {torch.float32: np.float32, torch.float16: np.float16}
    dtype = kinds.get(leaf.dtype, np.int32)
    return coremltools.TensorType(shape=tuple(leaf.shape) or (1,), dtype=dtype)
