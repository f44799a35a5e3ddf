"""Finalizing a model that eager mode prepared."""

from __future__ import annotations

import copy
import os
from collections.abc import Container
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.utils import parametrize
from torch.nn.utils.parametrize import ParametrizationList

from quant_torch._backends import ExportBackend
from quant_torch.quantization._eager._recurrent import keep_anew
from quant_torch.quantization._eager._scopes import scopes_of
from quant_torch.quantization._evaluation import evaluating
from quant_torch.quantization._fake_quantizers import fake_quantizers
from quant_torch.quantization._finalize.backends import FORMS, Forms
from quant_torch.quantization._finalize.derived import DerivedWeight
from quant_torch.quantization._finalize.facts import Facts, LeftAlone, is_left_out
from quant_torch.quantization._finalize.refusals import refuse
from quant_torch.quantization._finalize.storage import Storage, values_of
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase


@dataclass(frozen=True)
class _Weight:
    """A parametrized tensor: its module's name, its attribute, and the place of the module."""

    owner: str
    attribute: str
    step: int
    facts: Facts


def finalize_eager(
    model: nn.Module, backend: ExportBackend, mmap_dir: str | os.PathLike[str] | None
) -> nn.Module:
    """A copy of a prepared model in the operators of a backend.

    The prepared model is not changed. Tensors that are not quantized are shared with it.

    Args:
        model: Prepared by eager mode.
        backend: The target.
        mmap_dir: Directory for large buffers, or None.

    Raises:
        ValueError: Something the backend cannot express.
        ImportError: The backend's package is not installed.
    """
    # Parametrizations such as spectral_norm update their buffers in training mode.
    with evaluating(model), torch.no_grad():
        return _finalized(model, backend, mmap_dir)


def _finalized(
    model: nn.Module, backend: ExportBackend, mmap_dir: str | os.PathLike[str] | None
) -> nn.Module:
    forms = FORMS[backend]
    left_out = {id(q): q for q in fake_quantizers(model) if is_left_out(q)}
    weights = [w for w in _weights(model) if id(w.facts.quantizer) not in left_out]
    derived = _derived(model, left_out)
    of_weights = {id(facts.quantizer) for facts in (*(w.facts for w in weights), *derived)}
    activations = [
        Facts(q, "activation")
        for q in fake_quantizers(model)
        if id(q) not in of_weights and id(q) not in left_out
    ]
    refuse(backend, [*(w.facts for w in weights), *derived, *activations])
    forms.load()
    storage = Storage(mmap_dir)
    memo = _kept_as_they_are(model)
    for facts in activations:
        memo[id(facts.quantizer)] = forms.activation(facts)
    for facts, tensor in derived.items():
        memo[id(facts.quantizer)] = DerivedWeight(facts, tensor, forms, storage)
    for quantizer in (*left_out.values(), *(w.facts.quantizer for w in weights)):
        memo.setdefault(id(quantizer), LeftAlone())
    finalized = copy.deepcopy(model, memo)
    made: dict[tuple[int, int], nn.Module | nn.Parameter] = {}
    for weight in weights:
        _place(model, finalized, weight, forms, storage, made)
    if forms.mark is not None:
        forms.mark(finalized)
    return finalized.eval()


def _derived(model: nn.Module, left_out: Container[int]) -> dict[Facts, torch.Tensor]:
    """The weights that forwards compute from the model's states alone, with their values."""
    found = {}
    for quantizer in fake_quantizers(model):
        recipe = quantizer.derivation
        if recipe is not None and id(quantizer) not in left_out:
            value = recipe.compute(model)
            found[Facts(quantizer, "weight", tuple(value.shape), value.dtype)] = value
    return found


def _weights(model: nn.Module) -> list[_Weight]:
    found = []
    for name, module in model.named_modules():
        if not parametrize.is_parametrized(module):
            continue
        for attribute, steps in module.parametrizations.items():
            for step, quantizer in enumerate(steps):
                if isinstance(quantizer, FakeQuantizeImplBase):
                    if step + 1 < len(steps):
                        raise ValueError(
                            f"{quantizer.tensor_name} has a parametrization behind its "
                            "fake-quantize module; register it before prepare()"
                        )
                    before = _value_before(steps, step)
                    facts = Facts(quantizer, "weight", tuple(before.shape), before.dtype)
                    found.append(_Weight(name, attribute, step, facts))
    return found


def _value_before(steps: ParametrizationList, step: int) -> torch.Tensor:
    """What a fake-quantize module in a list of parametrizations gets."""
    if steps.is_tensor:
        originals = [steps.original]
    else:
        originals = [getattr(steps, f"original{i}") for i in range(steps.ntensors)]
    with torch.no_grad():
        value = originals[0] if step == 0 else steps[0](*originals)
        for earlier in list(steps)[1:step]:
            value = earlier(value)
    return value.detach()


def _kept_as_they_are(model: nn.Module) -> dict[int, object]:
    """A memo for deepcopy: tensors and settings are shared, the structure is copied."""
    shared: list[object] = [*model.parameters(), *model.buffers()]
    shared += [scope.settings for scope in scopes_of(model)]
    memo = {id(item): item for item in shared}
    for module in model.modules():
        for value in vars(module).values():
            # What the last run left, such as the weight of weight_norm, cannot be copied with its
            # history.
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value.detach()
    return memo


def _place(
    model: nn.Module,
    finalized: nn.Module,
    weight: _Weight,
    forms: Forms,
    storage: Storage,
    made: dict[tuple[int, int], nn.Module | nn.Parameter],
) -> None:
    """Put the finalized form of a weight into the copy; shared weights stay shared."""
    steps = model.get_submodule(weight.owner).parametrizations[weight.attribute]
    owner = finalized.get_submodule(weight.owner)
    quantizer = weight.facts.quantizer
    source = steps.original if steps.is_tensor else steps.original0
    key = (id(quantizer), id(source))
    if forms.weight is not None:
        if key not in made:
            made[key] = forms.weight(weight.facts, _value_before(steps, weight.step), storage)
        _parametrize(owner.parametrizations[weight.attribute], made[key])
        return
    if key not in made:
        values = values_of(weight.facts, _value_before(steps, weight.step))
        values = storage.keep(values, weight.facts.name)
        made[key] = nn.Parameter(values, requires_grad=False)
    _unparametrize(owner, weight.attribute)
    owner.register_parameter(weight.attribute, made[key])
    keep_anew(owner)
    forms.annotate(weight.facts, owner, weight.attribute)


def _parametrize(steps: ParametrizationList, module: nn.Module) -> None:
    """Replace the original tensor and all steps by a module."""
    # By nn.Module's own dicts: torch's remove_parametrizations, the public way, also takes the
    # property off the class, which copies of the model share.
    for name in [n for n in (*steps._parameters, *steps._buffers) if n.startswith("original")]:
        delattr(steps, name)
    steps._modules.clear()
    steps.is_tensor = True
    steps.register_buffer("original", None)
    steps.add_module("0", module)


def _unparametrize(owner: nn.Module, attribute: str) -> None:
    """Give a copied module its plain attribute back; the class it shares is left alone."""
    cls = type(owner)
    del owner.parametrizations[attribute]
    if len(owner.parametrizations) == 0:
        del owner.parametrizations
        owner.__class__ = cls.__bases__[0]
    else:
        members = {k: v for k, v in vars(cls).items() if k != attribute}
        owner.__class__ = type(cls.__name__, cls.__bases__, members)
