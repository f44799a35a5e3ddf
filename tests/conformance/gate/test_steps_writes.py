"""ATen's writes to named places, distances, samples and views as steps, held to torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.conformance.gate.stepped import Case, check, inferred, names, normal, recorded, regions
from torch.nn import functional as f

from quant_conformance.gate.aten.sampling import SAMPLING
from quant_conformance.gate.aten.scattering import SCATTERING

X = 3 * normal(2, 4, 6)
Y = normal(2, 4, 6, seed=1)
X4 = normal(2, 3, 7, 6)
P = X.abs() + 0.1
N = torch.arange(-24, 24).reshape(2, 4, 6)
TRUE = normal(2, 4, 6, seed=2) > 0
APART = torch.tensor([[[2, 0, 1, 3, 2, 1]], [[0, 3, 3, 1, 0, 2]]])
TWICE = torch.tensor([[[2, 0, 1], [2, 3, 1], [2, 0, 0]]] * 2)
PICKED = torch.tensor([1, 0, -1])
AGAIN = torch.tensor([3, 0, 3])
GRID = normal(2, 3, 4, 2, seed=3, scale=0.7)
WORDS = torch.tensor([4, 0, 2, 2, 1, 3])
BAGS = torch.tensor([0, 2, 2, 5])
TABLE = normal(5, 3, seed=4)
aten = torch.ops.aten

CASES: dict[str, Case] = {
    "scatter": ("scatter", lambda x, i, y: x.scatter(1, i, y), (X, APART, Y)),
    "scatter a number": ("scatter", lambda x, i: x.scatter(1, i, 0.3), (X, APART)),
    "scatter to sums": (
        "scatter",
        lambda x, i, y: torch.scatter(x, 1, i, y, reduce="add"),
        (X, TWICE, Y),
    ),
    "scatter to products": (
        "scatter",
        lambda x, i, y: torch.scatter(x, 1, i, y, reduce="multiply"),
        (X, TWICE, Y),
    ),
    "scatter in place": ("scatter", lambda x, i: (x * 1).scatter_(1, i, 2.0), (X, APART)),
    "scatter_add": ("scatter_add", lambda x, i, y: x.scatter_add(1, i, y), (X, TWICE, Y)),
    **{
        f"scatter_reduce {word}{'' if own else ', alone'}": (
            "scatter_reduce",
            lambda x, i, y, word=word, own=own: x.scatter_reduce(
                1, i, y, word, include_self=own
            ),
            (X, TWICE, Y),
        )
        for word in ("sum", "prod", "mean", "amax", "amin")
        for own in (True, False)
    },
    "index_put": (
        "index_put",
        lambda x, i, y: torch.index_put(x, (i, i + 1), y),
        (X, torch.tensor([1, 0]), Y[0, :2]),
    ),
    "index_put of rows": (
        "index_put",
        lambda x, i: aten.index_put(x, [None, i], x[:, :3] * 2),
        (X, PICKED),
    ),
    "index_put, added": (
        "index_put",
        lambda x, i, y: aten.index_put(x, [None, i], y[:, :3], True),
        (X, AGAIN, Y),
    ),
    "index_put where true": (
        "index_put",
        lambda x, m: aten.index_put(x, [m], torch.tensor(0.3)),
        (X, TRUE),
    ),
    "index_put where rows are true": (
        "index_put",
        lambda x, m: aten.index_put(x, [m], torch.tensor(-7.0), True),
        (X, TRUE[..., 0]),
    ),
    "index_put, unchecked": (
        "index_put_impl",
        lambda x, i: aten._index_put_impl_(x * 1, [i], x[0], False, True),
        (X, PICKED[1:2]),
    ),
    "index_add": ("index_add", lambda x, i, y: x.index_add(1, i, y[:, :3]), (X, AGAIN, Y)),
    "index_add, scaled": (
        "index_add",
        lambda x, i, y: x.index_add(2, i, y[:, :, :3], alpha=0.3),
        (X, AGAIN, Y),
    ),
    "index_copy": ("index_copy", lambda x, i, y: x.index_copy(1, i, y[:, :3]), (X, PICKED % 4, Y)),
    "index_fill": ("index_fill", lambda x, i: x.index_fill(1, i, 0.4), (X, PICKED)),
    "masked_scatter": ("masked_scatter", lambda x, m, y: x.masked_scatter(m, y), (X, TRUE, Y)),
    "masked_scatter of rows": (
        "masked_scatter",
        lambda x, m, y: x.masked_scatter(m, y),
        (X, TRUE[:, :1], Y),
    ),
    "fold": ("col2im", lambda x: f.fold(x, (5, 4), (2, 3), 1, (1, 0), (2, 1)), (normal(2, 12, 6),)),
    "fold of one": ("col2im", lambda x: f.fold(x, (4, 5), 2, 2), (normal(8, 6),)),
    "gradient of a max pool": (
        "max_pool2d_with_indices_backward",
        lambda g, x, i: aten.max_pool2d_with_indices_backward(
            g, x, [3, 3], [2, 2], [0, 0], [1, 1], False, i
        ),
        (normal(2, 3, 3, 2, seed=7), X4, f.max_pool2d(X4, 3, 2, return_indices=True)[1]),
    ),
    **{
        f"gradient of an average pool, {given}": (
            "avg_pool2d_backward",
            lambda g, x, given=given: aten.avg_pool2d_backward(
                g, x, [3, 2], [2], [1], False, *given
            ),
            (normal(2, 3, 4, 4, seed=8), X4),
        )
        for given in ((True, None), (False, None), (True, 5))
    },
    "gradient of an adaptive pool": (
        "adaptive_avg_pool2d_backward",
        lambda g, x: aten._adaptive_avg_pool2d_backward(g, x),
        (normal(2, 3, 3, 4, seed=9), X4),
    ),
    "gradient of a table": (
        "embedding_dense_backward",
        lambda g, i: aten.embedding_dense_backward(g, i, 5, -1, False),
        (normal(6, 3), WORDS),
    ),
    "gradient of a table with padding": (
        "embedding_dense_backward",
        lambda g, i: aten.embedding_dense_backward(g, i, 5, 2, False) + 0.5,
        (normal(6, 3), WORDS),
    ),
    "lerp": ("lerp", lambda x, y: torch.lerp(x, y, 0.3), (X, Y)),
    "lerp beyond": ("lerp", lambda x, y: torch.lerp(x, y, 1.7), (X, Y)),
    "lerp by a tensor": ("lerp", torch.lerp, (X, Y, normal(2, 4, 6, seed=5))),
    "atan2": ("atan2", torch.atan2, (X, Y)),
    **{
        f"cdist of order {p}": ("cdist_forward", lambda x, y, p=p: torch.cdist(x, y, p), (X, Y))
        for p in (0.0, 1.0, 2.0, 3.0, torch.inf)
    },
    "cdist by products": (
        "euclidean_dist",
        lambda x, y: torch.cdist(x, y, compute_mode="use_mm_for_euclid_dist"),
        (X, Y),
    ),
    "pdist": ("pdist_forward", lambda x: f.pdist(x), (X[0],)),
    "pdist of order 1": ("pdist_forward", lambda x: f.pdist(x, 1.0), (X[0],)),
    **{
        f"grid_sample {mode} {padding} {corners}": (
            "grid_sampler_2d",
            lambda x, g, given=(mode, padding, corners): f.grid_sample(x, g, *given),
            (X4, GRID),
        )
        for mode in ("bilinear", "nearest")
        for padding in ("zeros", "border", "reflection")
        for corners in (True, False)
    },
    **{
        f"embedding_bag {mode}": (
            "embedding_bag_forward_only",
            lambda i, o, w, mode=mode: f.embedding_bag(i, w, o[:3], mode=mode),
            (WORDS, BAGS[[0, 1, 3]], TABLE),
        )
        for mode in ("sum", "mean", "max")
    },
    "embedding_bag, weighted": (
        "embedding_bag_forward_only",
        lambda i, o, w, p: f.embedding_bag(
            i, w, o, mode="sum", per_sample_weights=p, include_last_offset=True
        ),
        (WORDS, torch.tensor([0, 3, 6]), TABLE, normal(6, seed=6)),
    ),
    "embedding_bag, an empty one": (
        "embedding_bag_forward_only",
        lambda i, o, w: f.embedding_bag(i, w, o, mode="sum") + 0.5,
        (WORDS, BAGS, TABLE),
    ),
    "embedding_bag, inferred": (
        "embedding_bag",
        inferred(lambda i, o, w: f.embedding_bag(i, w, o, mode="sum") + 0.5),
        (WORDS, BAGS, TABLE),
    ),
    "var": ("var", lambda x: x.var(-1), (X,)),
    "std": ("std", lambda x: x.std(1), (X,)),
    "var_mean": ("var_mean", lambda x: torch.var_mean(x, 1)[1] + torch.var_mean(x, 1)[0], (X,)),
    "std_mean": ("std_mean", lambda x: torch.stack(torch.std_mean(x, (0, 1))), (X,)),
    **{
        f"{name}, inferred": (name, inferred(lambda x, n=name: getattr(torch, n)(x, True)[0]), (X,))
        for name in ("var_mean", "std_mean")
    },
    "as_strided": ("index", lambda x: x.as_strided((3, 4), (2, 1), 5), (X,)),
    "as_strided of what is turned": (
        "index",
        lambda x: x.transpose(0, 2).as_strided((5, 3), (2, 7), 1),
        (X,),
    ),
    "resize": ("resize", lambda x: (x * 1).resize_(3, 5), (X,)),
}  # fmt: skip

REFUSED: dict[str, tuple[str, Callable[..., Any], tuple[torch.Tensor, ...]]] = {
    "many values by truths": (
        "depends on the data",
        lambda x, m: aten.index_put(x, [m], x[m] * 2),
        (X, TRUE),
    ),
    "cubics of a grid": (
        "cubics",
        lambda x, g: f.grid_sample(x, g, "bicubic", align_corners=True),
        (X4, GRID),
    ),
    "memory beside": ("does not", lambda x: x[0].as_strided((2, 3), (24, 1)), (X,)),
    "random numbers": ("rand", lambda x: x + torch.rand(6), (X,)),
    "means of whole numbers": (
        "a mean of int64",
        lambda n, i, m: n.scatter_reduce(1, i, m, "mean").float(),
        (N, TWICE, N),
    ),
}


@pytest.mark.filterwarnings("ignore:The reduce argument")
@pytest.mark.parametrize("name", CASES)
def test_torch_lies_inside_and_little_else_does(name: str) -> None:
    operation, function, inputs = CASES[name]
    assert operation in names(check(function, *inputs))


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_steps_cannot_express(name: str) -> None:
    words, function, inputs = REFUSED[name]
    (region,) = regions(recorded(function, *inputs))
    assert any(words in reason for reason in region.lacking), region.lacking


def test_whole_numbers_that_are_added_are_exact() -> None:
    function = lambda n, i, m: n.scatter_add(1, i, m).float()  # noqa: E731
    assert "scatter_add" in names(check(function, N, TWICE, 1001 * N))


def test_every_operation_is_tested() -> None:
    tested = {operation for operation, *_ in CASES.values()}
    others = {"index_put_impl", "as_strided"}
    assert {*SCATTERING, *SAMPLING} - tested <= others
