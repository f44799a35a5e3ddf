"""What a prepared model leaves behind when it is gone: nothing."""

from __future__ import annotations

import copy
import gc
import warnings
import weakref

import torch
from torch import nn

from quant_torch.quantization import Quantizer, QuantizerConfig


def prepared_and_run() -> tuple[nn.Module, list[weakref.ref[object]]]:
    """A model with code of its own, and what dies with it."""
    names: dict[str, type[nn.Module]] = {"Module": nn.Module}
    exec(
        "class Made(Module):\n def forward(self, x):\n  return self.layer(x) + x",
        names,
    )
    model = names["Made"]()
    model.layer = nn.Linear(4, 4)
    x = torch.randn(2, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = Quantizer(model, QuantizerConfig(execution_mode="eager")).prepare((x,))
    made(x)
    return made, [weakref.ref(type(model).forward.__code__), weakref.ref(model)]


def test_a_prepared_model_leaves_nothing() -> None:
    model, refs = prepared_and_run()
    assert all(ref() is not None for ref in refs)
    del model
    gc.collect()
    assert [ref() for ref in refs] == [None, None]


def test_a_copy_keeps_what_its_keys_name() -> None:
    model, (code, original) = prepared_and_run()
    twin, x = copy.deepcopy(model), torch.randn(2, 4)
    expected = model(x)
    del model
    gc.collect()
    assert original() is None
    assert code() is not None
    assert torch.equal(twin(x), expected)
