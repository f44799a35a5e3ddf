"""What takes the place of an operation gives what torch gives, whatever converter reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quant_torch.export.rewriting import COREAI, COREML

aten = torch.ops.aten


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


X, Y = 3 * normal(2, 4, 6), normal(2, 4, 6, seed=1)
POSITIVE = X.abs() + 0.1
IMAGE, VOLUME = normal(1, 4, 7, 7), normal(1, 3, 5, 6, 6)
KERNEL = normal(4, 5, 3, 3)
MATRIX, ROW = normal(6, 3, seed=2), normal(3, seed=3)
ONES = torch.ones(4)
PLACES, TABLE = torch.tensor([1, 0]), torch.tensor([[3, 0], [2, 5]])

EXACT: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "log of 0": (aten.log.default, (torch.tensor([0.0, 1.0]),)),
    "remainder": (aten.remainder.Scalar, (X, 1)),
    "remainder of -1": (aten.remainder.Scalar, (X, -1)),
    "floor_divide": (aten.floor_divide.default, (X, 1)),
    "floor_divide by -1": (aten.floor_divide.Scalar, (X, -1.0)),
    "div, floor": (aten.div.Scalar_mode, (X, 1)),
    "trunc": (aten.trunc.default, (X,)),
    "frac": (aten.frac.default, (X,)),
    "softshrink": (aten.softshrink.default, (X, 0.7)),
    "hardshrink": (aten.hardshrink.default, (X, 0.7)),
    "threshold": (aten.threshold.default, (X, 0.3, 0.1)),
    "prelu of rank 2": (aten.prelu.default, (X[0], ROW.new_tensor([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]))),
    "index_put, a number": (aten.index_put.default, (X, [None, PLACES], ONES[0])),
    "index_put, a vector": (aten.index_put.default, (X, [None, PLACES], Y[0, 0])),
    "index_put, apart": (aten.index_put.default, (X, [PLACES, None, PLACES], ONES[:1])),
    "index_put, side by side": (aten.index_put.default, (X, [None, PLACES, PLACES], ONES[:2])),
    "index_put, a table": (aten.index_put.default, (X, [None, None, TABLE], ONES[0])),
    "index_put, of two shapes": (aten.index_put.default, (X, [None, PLACES, TABLE], ONES[0])),
    "prelu of rank 3": (aten.prelu.default, (X, ONES / 3)),
    "prelu of rank 1": (aten.prelu.default, (X[0, 0], ONES[:1] / 3)),
    "clamp, crossed": (aten.clamp.default, (X, 1.0, -1.0)),
    "clamp by tensors": (aten.clamp.Tensor, (X, -Y.abs(), Y.abs())),
    "hardtanh of whole bounds": (aten.hardtanh.default, (X, -2, 3)),
    "max_pool2d, dilated": (aten.max_pool2d.default, (IMAGE, [2, 3], [], [1, 1], [2, 1], True)),
    "max_pool1d, dilated": (aten.max_pool1d.default, (X, [2], [2], [1], [2], False)),
    "adaptive_max_pool2d": (aten.adaptive_max_pool2d.default, (IMAGE, [3, 5])),
    "pad, circular": (aten.pad.default, (X, [1, 2], "circular")),
    "pad that crops": (aten.constant_pad_nd.default, (X, [-1, 2, 0, -1], 0.5)),
    "diff": (aten.diff.default, (X, 2, 1)),
    "diff, with more": (aten.diff.default, (X, 1, -1, X[..., :1], Y)),
    "rot90": (aten.rot90.default, (X, 1, [1, 2])),
    "rot90, three times": (aten.rot90.default, (X, 3, [0, 2])),
    "movedim": (aten.movedim.intlist, (X, [0, 2], [1, 0])),
    "unfold": (aten.unfold.default, (X, 2, 3, 2)),
    "diagonal": (aten.diagonal.default, (X, 1, 1, 2)),
    "diagonal below": (aten.diagonal.default, (X, -1, 2, 0)),
    "channel_shuffle": (aten.channel_shuffle.default, (IMAGE, 2)),
    "upsample_nearest2d": (aten.upsample_nearest2d.vec, (IMAGE, None, [1.7, 1.3])),
    "upsample_nearest3d": (aten.upsample_nearest3d.vec, (VOLUME, [7, 9, 4], None)),
    "nearest-exact": (aten._upsample_nearest_exact2d.vec, (IMAGE, [9, 4], None)),
    "scatter": (aten.scatter.src, (X, 1, torch.zeros(2, 1, 6, dtype=torch.int64), Y)),
    "or": (aten.__or__.Tensor, (X > 1, Y > 0)),
}
"""Operations that round nothing, or round as torch does."""

CLOSE: dict[str, tuple[Any, tuple[Any, ...]]] = {
    "reciprocal": (aten.reciprocal.default, (X,)),
    "rsqrt": (aten.rsqrt.default, (POSITIVE * 1e-10,)),
    "log1p": (aten.log1p.default, (torch.tensor([0.0, 1e-9, -1e-9, 1e-4, 0.5, 1e5]),)),
    "expm1": (aten.expm1.default, (torch.tensor([0.0, 1e-9, -1e-9, 1e-4, 0.5, 80.0, -80.0]),)),
    "atan2": (aten.atan2.default, (X, Y)),
    "atan2 on the axes": (
        aten.atan2.default,
        (torch.tensor([0.0, 0, 1, -1, 0]), torch.tensor([1.0, -1, 0, 0, 0])),
    ),
    "hypot": (aten.hypot.default, (X, Y)),
    "hypot without overflow": (aten.hypot.default, (X * 1e30, Y * 1e30)),
    "logaddexp": (aten.logaddexp.default, (X, Y)),
    "log_softmax": (aten.log_softmax.int, (X, 1)),
    "log_softmax, spread out": (aten._log_softmax.default, (60 * X, -1, False)),
    "xlogy": (aten.xlogy.Tensor, (X.relu(), POSITIVE)),
    "logit": (aten.logit.default, (X.sigmoid(),)),
    "celu": (aten.celu.default, (X, 0.7)),
    "log_sigmoid": (aten.log_sigmoid.default, (X,)),
    "softplus": (aten.softplus.default, (X * 4, 2, 3)),
    "elu": (aten.elu.default, (X, 0.7)),
    "selu": (aten.elu.default, (X, 1.6732632423543772, 1.0507009873554805, 1)),
    "lerp": (aten.lerp.Scalar, (X, Y, 0.7)),
    "lerp by tensors": (aten.lerp.Tensor, (X, Y, Y.sigmoid())),
    "addcmul": (aten.addcmul.default, (X, X, Y)),
    "addcdiv": (aten.addcdiv.default, (X, X, POSITIVE)),
    "var": (aten.var.correction, (X, [1])),
    "rms_norm": (aten.rms_norm.default, (X, [6], ONES.repeat(2)[:6], 1e-3)),
    "avg_pool2d by 3": (aten.avg_pool2d.default, (IMAGE, [2, 2], [], [1, 1], False, True, 3)),
    "avg_pool2d, ceil, by 3": (aten.avg_pool2d.default, (IMAGE, [2, 3], [2], [1], True, False, 3)),
    "adaptive_avg_pool3d": (aten.adaptive_avg_pool3d.default, (VOLUME, [2, 4, 1])),
    "conv_transpose2d": (
        aten.conv_transpose2d.input,
        (IMAGE, KERNEL, ONES[:1].repeat(5), [2, 3], [0, 0], [1, 2]),
    ),
    "conv_transpose2d, cut and grown": (
        aten.conv_transpose2d.input,
        (IMAGE, KERNEL, ONES[:1].repeat(5), [3, 3], [1, 2], [2, 1], 1, [1, 2]),
    ),
    "mv": (aten.mv.default, (X[0], Y[0, 0])),
    "dot": (aten.dot.default, (X[0, 0], Y[0, 0])),
    "vector by matrix": (aten.matmul.default, (Y[0, 0], MATRIX)),
    "linear of a vector": (aten.linear.default, (Y[0, 0], MATRIX.t(), ROW)),
    "cross": (aten.linalg_cross.default, (X[..., :3], Y[..., :3])),
    "prod": (aten.prod.dim_int, (X, 1)),
    "bilinear": (aten.upsample_bilinear2d.vec, (IMAGE, None, False, [1.7, 1.3])),
    "trilinear": (aten.upsample_trilinear3d.vec, (VOLUME, [7, 9, 4], True, None)),
    "bicubic": (aten.upsample_bicubic2d.vec, (IMAGE, [9, 4], False, None)),
    "bilinear, smoothed": (aten._upsample_bilinear2d_aa.vec, (IMAGE, [3, 4], False, None)),
}
"""Operations that round elsewhere than torch, by a few units in the last place."""

NAMED: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "add": (aten.add.Tensor, (X, Y), {"alpha": 0.3}),
    "add, of integers": (aten.add.Tensor, (X.int(), Y.int()), {"alpha": 3}),
    "sub": (aten.sub.Tensor, (X, 2), {"alpha": 3}),
    "rsub": (aten.rsub.Tensor, (X, Y), {"alpha": 2}),
    "rsub of a number": (aten.rsub.Scalar, (X, 2, 3), {}),
    "addcmul": (aten.addcmul.default, (X, X, Y), {"value": 0.5}),
    "div, trunc": (aten.div.Tensor_mode, (X, 1), {"rounding_mode": "trunc"}),
    "round": (aten.round.decimals, (X,), {"decimals": 1}),
    "addmm": (aten.addmm.default, (ROW, X[0], MATRIX), {"beta": 0}),
    "addmm, scaled": (aten.addmm.default, (ROW, X[0], MATRIX), {"beta": 2, "alpha": 0.5}),
    "baddbmm": (aten.baddbmm.default, (X[..., :4], X, Y.mT), {"beta": 0.5}),
    "addbmm": (aten.addbmm.default, (X[0, :, :4], X, Y.mT), {"alpha": 2}),
    "addmv": (aten.addmv.default, (X[0, :, 0], X[0], Y[0, 0]), {"beta": 2}),
}


def applied(overload: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """What the rules make of a call."""
    results = [table[overload](*args, **kwargs) for table in (COREML, COREAI) if overload in table]
    made = [result for result in results if result is not NotImplemented]
    assert made, f"no rule applies to {overload}"
    return made[0][0] if isinstance(made[0], tuple) else made[0]


def of_torch(overload: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    result = overload(*args, **kwargs)
    return result[0] if isinstance(result, tuple) else result


@pytest.mark.parametrize("name", EXACT)
def test_what_rounds_nothing_is_the_same_to_the_bit(name) -> None:
    overload, args = EXACT[name]
    if overload is aten.div.Scalar_mode:
        given, wanted = applied(overload, args, {"rounding_mode": "floor"}), torch.floor(X)
    else:
        given, wanted = applied(overload, args, {}), of_torch(overload, args, {})
    assert given.shape == wanted.shape
    assert torch.equal(given, wanted)


@pytest.mark.parametrize("name", [*CLOSE, *(f"{name} by name" for name in NAMED)])
def test_what_rounds_elsewhere_is_close(name) -> None:
    if name in CLOSE:
        (overload, args), kwargs = CLOSE[name], {}
    else:
        overload, args, kwargs = NAMED[name.removesuffix(" by name")]
    given = applied(overload, args, kwargs)
    wide = [a.double() if isinstance(a, Tensor) and a.is_floating_point() else a for a in args]
    wanted = of_torch(overload, tuple(wide), kwargs)  # in float64: nobody's rounding
    assert given.shape == wanted.shape
    # Some roundings of float32 at the size of the operands: 2^-24 is 6e-8.
    scale = float(wanted.abs().max())
    near = np.isclose(given.double(), wanted, rtol=2e-6, atol=1e-6 * scale, equal_nan=True)
    assert near.all()


@pytest.mark.parametrize("name", ["reciprocal", "log1p", "expm1", "rsqrt"])
def test_small_arguments_keep_their_digits(name) -> None:
    overload, args = CLOSE[name]
    given = applied(overload, args, {})
    wanted = overload(args[0].double())
    assert np.allclose(given.double(), wanted, rtol=1e-6, atol=0)


SPECIAL = torch.tensor([0.0, 1.0, -2.5, torch.inf, -torch.inf, torch.nan])
PAIRS = torch.cartesian_prod(SPECIAL[:5], SPECIAL[:5]).T


@pytest.mark.parametrize(
    ("overload", "args"),
    [
        (aten.hardshrink.default, (SPECIAL, 0.7)),
        (aten.softshrink.default, (SPECIAL, 0.7)),
        (aten.threshold.default, (SPECIAL, 0.3, 0.1)),
        (aten.log1p.default, (SPECIAL,)),
        (aten.expm1.default, (SPECIAL,)),
        (aten.logaddexp.default, tuple(PAIRS)),
        (aten.hypot.default, tuple(PAIRS)),
        (aten.xlogy.Tensor, tuple(PAIRS)),
    ],
    ids=str,
)
def test_infinities_and_what_is_no_number(overload, args) -> None:
    ours, torchs = COREML[overload](*args), overload(*args)
    torch.testing.assert_close(ours, torchs, rtol=1e-6, atol=0, equal_nan=True)


def test_what_the_converters_get_right_is_left_alone() -> None:
    for table in (COREML, COREAI):
        assert table[aten.add.Tensor](X, Y) is NotImplemented
        assert table[aten.remainder.Scalar](X, 2) is NotImplemented
        assert table[aten.avg_pool2d.default](IMAGE, [2, 2], [2, 2]) is NotImplemented


def test_a_write_that_core_ai_takes_is_left_alone() -> None:
    put, mask = COREAI[aten.index_put.default], X > 0
    assert put(X, [None, PLACES], Y[:, :2]) is NotImplemented
    assert put(X, [mask], ONES[0]) is NotImplemented
    assert put(X, [None, PLACES], ONES[0], True) is NotImplemented  # it is refused there, by name


def test_nothing_is_read_where_a_beta_is_zero() -> None:
    endless = torch.full((3,), float("nan"))
    given = COREML[aten.addmm.default](endless, X[0], MATRIX, beta=0)
    assert not given.isnan().any()
    assert torch.allclose(given, X[0] @ MATRIX)
