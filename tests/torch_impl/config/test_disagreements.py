"""Entries of a config that disagree about one tensor, and keys that name none: both modes alike."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.inspection.placement import placement
from quant_torch.quantization import Quantizer, QuantizerConfig

MODES = ["graph", "eager"]
each_mode = pytest.mark.parametrize("mode", MODES)
LINEAR = "torch.nn.modules.linear.Linear"
OFF: dict[str, Any] = {"op_input_spec": None, "op_output_spec": None, "op_state_spec": None}


def weight(bits: str) -> dict[str, Any]:
    return {"dtype": bits, "granularity": {"type": "per_channel", "axis": 0}}


def by_op(spec: Any, **more: Any) -> dict[str, Any]:
    return {**OFF, "op_state_spec": {"weight": spec}, **more}


def whole(spec: Any) -> dict[str, Any]:
    return {**OFF, "module_state_spec": {"weight": spec}}


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.l1, self.l2 = nn.Linear(6, 6), nn.Linear(6, 6)
        self.l2.weight = self.l1.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.l2(functional.relu(self.l1(x)))


class Two(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(6, 6)

    def forward(self, x: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        y = self.fc(x)
        return y, y * scale


class Around(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block = Two()

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.block(x, torch.tanh(x))
        return torch.softmax(a + b, -1)


def prepared(mode: str, model: nn.Module, **config: Any) -> nn.Module:
    body = {"execution_mode": mode, "global_config": None, **config}
    given = QuantizerConfig.from_dict({"quantization_config": body})
    return Quantizer(model.eval(), given).prepare((torch.randn(2, 6),))


def dtypes(model: nn.Module) -> dict[str, str]:
    return {p.tensor: str(p.spec.dtype).removeprefix("torch.") for p in placement(model)}


@each_mode
@pytest.mark.parametrize("named", ["l1", "l2"])
@pytest.mark.parametrize(("low", "high"), [("int8", "int4"), ("int4", "int8")])
def test_a_name_goes_before_a_type(mode: str, named: str, low: str, high: str) -> None:
    with pytest.warns(UserWarning, match="ask for different"):
        model = prepared(
            mode, Tied(),
            module_type_configs={LINEAR: by_op(weight(low))},
            module_name_configs={named: by_op(weight(high))},
        )  # fmt: skip
    assert dtypes(model) == {"l1.weight": high}


@each_mode
def test_a_later_name_goes_before_an_earlier_one(mode: str) -> None:
    for names in (("l1", "l2"), ("l2", "l1")):
        entries = dict(zip(names, (by_op(weight("int8")), by_op(weight("int4"))), strict=True))
        with pytest.warns(UserWarning, match=f"the spec of ({names[1]}|linear)"):
            model = prepared(mode, Tied(), module_name_configs=entries)
        assert dtypes(model) == {"l1.weight": "int4"}


@each_mode
def test_an_operation_by_name_goes_before_one_by_type(mode: str) -> None:
    second = "linear_1" if mode == "graph" else "l2.linear"
    entry = by_op(
        weight("int8"),
        op_type_config={"linear": by_op(weight("int8"))},
        op_name_config={second: by_op(weight("int4"))},
    )
    with pytest.warns(UserWarning, match="ask for different"):
        model = prepared(mode, Tied(), global_config=entry)
    assert dtypes(model) == {"l1.weight": "int4"}


@each_mode
@pytest.mark.parametrize("named", ["l1", "l2"])
def test_any_module_that_holds_a_state_decides_about_it(mode: str, named: str) -> None:
    model = prepared(mode, Tied(), module_name_configs={named: whole(weight("int4"))})
    assert dtypes(model) == {"l1.weight": "int4"}
    off = {
        LINEAR: by_op(weight("int8")),
    }
    names = {named: {**by_op(weight("int8")), "module_state_spec": {"weight": None}}}
    model = prepared(mode, Tied(), module_type_configs=off, module_name_configs=names)
    assert dtypes(model) == {}


@each_mode
@pytest.mark.parametrize("order", [("l1", "l2"), ("l2", "l1")])
def test_of_two_modules_the_higher_entry_decides(mode: str, order: tuple[str, str]) -> None:
    specs = (weight("int8"), weight("int4"))
    entries = {name: whole(spec) for name, spec in zip(order, specs, strict=True)}
    model = prepared(mode, Tied(), module_name_configs=entries)
    assert dtypes(model) == {"l1.weight": "int4"}


@each_mode
@pytest.mark.parametrize(
    ("field", "key", "there"),
    [
        ("op_input_spec", "inptu", r"did you mean 'input'\?.*there are 0, .*'input'.*'\*'"),
        ("op_input_spec", 7, r"there are 0, .*'input'.*'\*'"),
        ("op_output_spec", 1, r"there are 0, .*'\*'"),
        ("op_state_spec", "wieght", r"did you mean 'weight'\?.*'weight'.*'\*'"),
        ("module_input_spec", "sclae", r"did you mean 'scale'\?.*'scale'.*'\*'"),
        ("module_input_spec", 2, r"there are 0, 'x', 1, 'scale', '\*'"),
        ("module_output_spec", 2, r"there are 0, 1, '\*'"),
        ("module_state_spec", "fc.weight", r"there are '\*'"),
    ],
)
def test_a_key_that_names_nothing(mode: str, field: str, key: Any, there: str) -> None:
    entry = {**OFF, field: {key: {}}}
    with pytest.warns(UserWarning, match=rf"{field} key {key!r} names no .*{there}"):
        prepared(mode, Around(), module_name_configs={"block": entry})


@each_mode
def test_keys_that_name_something_in_one_operation_are_fine(mode: str) -> None:
    two = {"op_input_spec": {0: {}, 1: {}, "*": None}, "op_output_spec": {0: {}}}
    block = {
        **two,
        "op_state_spec": {"weight": weight("int8"), "bias": None},
        "module_input_spec": {"x": {}, 1: {}},
        "module_output_spec": {0: {}, 1: {}, "*": None},
    }
    fc = {**OFF, "module_state_spec": {"weight": weight("int8"), "bias": None}}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", ".*(isinstance|ask for different).*")
        prepared(mode, Around(), module_name_configs={"block": block})
        prepared(mode, Around(), module_name_configs={"block.fc": fc})
        prepared(mode, Tied(), global_config={})
