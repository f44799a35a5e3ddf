"""Every argument of every operation in the gate's table is read, refused, or without effect."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from tests.conformance.gate.stepped import bounds, check, inferred, normal, recorded, regions
from tests.conformance.gate.test_steps_elements import CASES as ELEMENTS
from tests.conformance.gate.test_steps_layers import CASES as LAYERS
from tests.conformance.gate.test_steps_moves import CASES as MOVES
from tests.conformance.gate.test_steps_moves import REFUSED as NOT_MOVED
from tests.conformance.gate.test_steps_selections import CASES as SELECTIONS
from tests.conformance.gate.test_steps_selections import REFUSED as NOT_SELECTED
from tests.conformance.gate.test_steps_writes import CASES as WRITES
from tests.conformance.gate.test_steps_writes import REFUSED as NOT_WRITTEN
from torch.nn import functional as f

from quant_conformance.gate.aten.arguments import WITHOUT_EFFECT
from quant_conformance.gate.aten.calls import Call
from quant_conformance.gate.aten.step_table import TABLE, steps_of
from quant_conformance.gate.recording.recorder import Operation, Ref

X = normal(2, 4, 6)
X4 = normal(2, 4, 7, 6)
P = X.abs() + 0.1
aten = torch.ops.aten

READ: dict[str, tuple[Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "div down": (lambda x, y: torch.div(x, y, rounding_mode="floor"), (3 * X, P)),
    "div to zero": (lambda x: torch.div(x, 0.37, rounding_mode="trunc"), (3 * X,)),
    "div in place": (lambda x, y: (x * 1).div_(y, rounding_mode="floor"), (3 * X, P)),
    "nearest by a factor": (lambda x: f.interpolate(x, scale_factor=1.7), (X4,)),
    "nearest by a factor, 1-D": (lambda x: f.interpolate(x, scale_factor=2.3), (X,)),
    "nearest by a factor, 3-D": (lambda x: f.interpolate(x, scale_factor=1.3), (X4[None],)),
    "nearest by factors": (lambda x: f.interpolate(x, scale_factor=(1.3, 0.6)), (X4,)),
    "bilinear by a factor": (
        lambda x: f.interpolate(x, scale_factor=1.7, mode="bilinear"),
        (X4,),
    ),
    "bilinear by a factor, corners": (
        lambda x: f.interpolate(x, scale_factor=1.7, mode="bilinear", align_corners=True),
        (X4,),
    ),
    "bilinear by a factor, anew": (
        lambda x: f.interpolate(x, scale_factor=1.7, mode="bilinear", recompute_scale_factor=True),
        (X4,),
    ),
    "nearest by factors in inference mode": (
        inferred(lambda x: aten.upsample_nearest2d.vec(x, None, [1.7, 1.3])),
        (X4,),
    ),
    "nearest by a factor in inference mode, 1-D": (
        inferred(lambda x: aten.upsample_nearest1d.vec(x, None, [1.7])),
        (X,),
    ),
    "linear by a factor in inference mode": (
        inferred(lambda x: aten.upsample_linear1d.vec(x, None, False, [1.7])),
        (X,),
    ),
    "linear by a factor": (lambda x: f.interpolate(x, scale_factor=1.7, mode="linear"), (X,)),
    "trilinear by factors": (
        lambda x: f.interpolate(x, scale_factor=(1.7, 1.3, 0.6), mode="trilinear"),
        (X4[None],),
    ),
    "trilinear by factors in inference mode": (
        inferred(lambda x: aten.upsample_trilinear3d.vec(x, None, False, [1.7, 1.3, 0.6])),
        (X4[None],),
    ),
    "nearest by factors in inference mode, 3-D": (
        inferred(lambda x: aten.upsample_nearest3d.vec(x, None, [1.7, 1.3, 0.6])),
        (X4[None],),
    ),
    "bilinear by factors in inference mode": (
        inferred(lambda x: aten.upsample_bilinear2d.vec(x, None, False, [1.7, 1.3])),
        (X4,),
    ),
    "bicubic by factors in inference mode": (
        inferred(lambda x: aten.upsample_bicubic2d.vec(x, None, False, [1.7, 1.3])),
        (X4,),
    ),
    "batch norm with statistics that are given": (
        lambda x, m, v: aten._native_batch_norm_legit(x, None, None, m, v, False, 0.1, 1e-5)[0],
        (X4, normal(4), P[0, :, 0]),
    ),
    "mean of halves": (lambda x: x.mean(-1, dtype=torch.float32), (X.half(),)),
    "sum of halves": (lambda x: x.sum(dtype=torch.float32), (X.half(),)),
    "softmax of halves": (lambda x: x.softmax(-1, dtype=torch.float32), (X.half(),)),
    "softmax of halves in inference mode": (
        inferred(lambda x: x.softmax(-1, dtype=torch.float32)),
        (X.half(),),
    ),
    "addmm without its sum": (
        lambda c, a, b: torch.addmm(c / 0, a, b, beta=0, alpha=1.5),
        (normal(5, 3), normal(5, 7), normal(7, 3)),
    ),
    "instance norm with unread statistics": (
        lambda x, m, v: aten.native_batch_norm(x, None, None, m, v, True, 0.1, 1e-5)[0],
        (X4[:1], normal(4), P[0, :, 0]),
    ),
    "clamp between tensors": (lambda x, a, b: x.clamp(a, b), (X, -P, P)),
    "clamp from below by a tensor": (lambda x, a: x.clamp_min(a), (X, -P)),
    "clamp from above by a tensor": (lambda x, b: x.clamp(max=b), (X, P)),
}
"""Arguments that change what is computed."""

REFUSED: dict[str, tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "divisor_override": (
        "a divisor of its own",
        lambda x: f.avg_pool2d(x, 2, divisor_override=3),
        (X4,),
    ),
    "view as another dtype": ("dtype", lambda x: x.view(torch.int32).view(torch.float32), (X,)),
    "pow of tensors": ("exponent is a tensor", torch.pow, (P, X)),
    "pow of a number": ("exponent is a tensor", lambda x: 2.0**x, (X,)),
    "elu": ("input scale", lambda x: aten.elu(x, 0.5, 2.0, 3.0), (X,)),
    "mean of integers": (
        "int64 computed in float32",
        lambda x: (x * 0).to(torch.int64).mean(-1, dtype=torch.float32),
        (X,),
    ),
    "batch statistics": (
        "statistics of its batch",
        lambda x: f.batch_norm(x, None, None, training=True),
        (X4,),
    ),
}
"""Arguments that the steps cannot express, with a word of the reason."""


@pytest.mark.parametrize("name", READ)
def test_an_argument_that_is_read(name: str) -> None:
    function, inputs = READ[name]
    check(function, *inputs)


@pytest.mark.parametrize("name", REFUSED)
def test_an_argument_that_is_refused(name: str) -> None:
    words, function, inputs = REFUSED[name]
    with torch.random.fork_rng(devices=[]):
        (region,) = regions(recorded(function, *inputs))
    assert any(words in reason for reason in region.lacking), region.lacking


NO_KERNEL = {(name, "out_dtype") for name in ("mm", "bmm", "addmm", "baddbmm")}
"""Arguments that the CPU has no kernel for; a recording that had one would be refused."""


def calls() -> Iterator[Call]:
    """Each operation of every case of the tests, its steps made."""
    every = [*ELEMENTS.values(), *LAYERS.values(), *REFUSED.values(), *READ.values()]
    every += [*SELECTIONS.values(), *NOT_SELECTED.values()]
    every += [*MOVES.values(), *NOT_MOVED.values(), *WRITES.values(), *NOT_WRITTEN.values()]
    for *_, function, inputs in every:
        with torch.random.fork_rng(devices=[]):
            recording = recorded(function, *inputs)
        for operation in recording.operations:
            call = Call(operation, recording.values)
            if call.name in TABLE:
                with contextlib.suppress(NotImplementedError):
                    TABLE[call.name](call)
                yield call


def schemas() -> Iterator[tuple[str, Any]]:
    """The overloads of the operations in the table that models can call."""
    for schema in torch._C._jit_get_all_schemas():
        name = schema.name.removeprefix("aten::").strip("_")
        kinds = {str(argument.type) for argument in schema.arguments}
        tensors = {kind for kind in kinds if "Tensor" in kind} and "Dict[Tensor, t]" not in kinds
        # TorchScript's own forms, and names of axes, do not reach an operation of a model.
        arguments = {argument.name for argument in schema.arguments}
        scripted = (name == "copy" and "other" in arguments) or arguments == {"a", "b"}
        scripted = scripted or bool(arguments & {"el", "reverse"})
        if schema.name.startswith("aten::") and name in TABLE and tensors and not scripted:
            yield name, schema


@pytest.mark.filterwarnings("ignore:The reduce argument")
def test_every_argument_is_read_or_has_no_effect() -> None:
    read = {(call.name, argument) for call in calls() for argument in call.read}
    given = {
        (name, argument.name)
        for name, schema in schemas()
        for argument in schema.arguments
        if not (argument.kwarg_only and argument.alias_info and argument.alias_info.is_write)
    }
    assert len(given) > 250
    unread = given - read - WITHOUT_EFFECT.keys() - NO_KERNEL
    unread = {(name, a) for name, a in unread if ("*", a) not in WITHOUT_EFFECT}
    assert unread == set()


@pytest.mark.filterwarnings("ignore:The reduce argument")
def test_what_has_no_effect_is_an_argument_that_nothing_reads() -> None:
    given = {(name, argument.name) for name, schema in schemas() for argument in schema.arguments}
    every = {*given, *(("*", argument) for _, argument in given)}
    assert WITHOUT_EFFECT.keys() <= every
    read = {(call.name, argument) for call in calls() for argument in call.read}
    assert not read & WITHOUT_EFFECT.keys()


def test_an_argument_that_nothing_reads_is_named() -> None:
    recording = recorded(lambda x: torch.sub(x, x, alpha=3), X)
    call = Call(recording.operations[-1], recording.values)
    assert call["self"]
    assert call["other"]
    with pytest.raises(NotImplementedError, match="its argument alpha is not read"):
        call.check_read()
    assert call["alpha"] == 3
    call.check_read()


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_a_place_for_the_result_that_rounds_it_is_refused(dtype: str) -> None:
    values = {"x": X.numpy(), **{name: X.numpy().astype(dtype) for name in ("place", "result")}}
    operation = Operation(aten.add.out, (Ref("x"), Ref("x")), {"out": Ref("place")}, ("result",))
    if dtype == "float16":
        with pytest.raises(NotImplementedError, match="its argument out is not read"):
            steps_of(operation, values)
    else:
        (step,) = steps_of(operation, values) or ()
        assert (step.op, step.inputs) == ("add", ("x", "x"))


def test_a_place_that_rounds_may_take_the_element_before_it_and_no_other() -> None:
    """⌊41·fl(2/82)⌋ is 0 in float32; exact arithmetic has 1."""
    x = torch.tensor([[[1.0, 3.0]]])
    recording = recorded(lambda x: f.interpolate(x, 82), x)
    (region,) = regions(recording)
    found = bounds(region, recording)
    assert recording.values[region.target][0, 0, 41] == 1.0
    assert np.flatnonzero(found.rigorous).tolist() == [41]
    assert found.value[0, 0, 41] == 3.0
    assert found.rigorous[0, 0, 41] == 2.0
