"""batch_norm: weights and biases with a batch norm folded in, bit for bit (BN-1, BN-2)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.generate.builder import Builder
from quant_conformance.generate.floats import cast
from quant_conformance.generate.streams import reals

Array = NDArray[Any]

_LAYERS: dict[str, tuple[tuple[int, ...], bool, int]] = {
    "linear": ((4, 3), False, 1),
    "conv1d": ((4, 2, 3), False, 1),
    "depthwise": ((4, 1, 2, 2), False, 4),
    "transposed": ((3, 4, 2), True, 1),
    "transposed-groups": ((4, 2, 1, 2), True, 2),
    "transposed-uneven": ((6, 1, 2), True, 2),
}
"""Layer -> (shape of the weight, whether it is transposed, groups)."""

_DTYPES = (
    ("float32", "float32"),
    ("float16", "float16"),
    ("bfloat16", "bfloat16"),
    ("float16", "float32"),
    ("bfloat16", "float32"),
    ("float32", "float16"),
    ("float16", "bfloat16"),
)
"""dtype of the weight and its bias, and of everything in the batch norm."""


def build(builder: Builder) -> None:
    """Add the family."""
    for row, (weight, norm) in enumerate(_DTYPES):
        for column, layer in enumerate(_LAYERS):
            _cover(builder, layer, weight, norm, row + column)
    _mixed_norm(builder)
    _special(builder)


def _cover(builder: Builder, layer: str, weight: str, norm: str, index: int) -> None:
    shape, transposed, groups = _LAYERS[layer]
    channels = shape[1] * groups if transposed else shape[0]
    label = f"batch_norm/{layer}/{weight}/{norm}"
    tensors = {
        "weight": reals(f"{label}/weight", shape, weight),
        "mean": reals(f"{label}/mean", (channels,), norm),
        "variance": np.abs(reals(f"{label}/variance", (channels,), norm)),
    }
    if index % 2 == 0:
        tensors["bias"] = reals(f"{label}/bias", (channels,), weight)
    if index % 3 != 0:
        tensors["gamma"] = reals(f"{label}/gamma", (channels,), norm)
        tensors["beta"] = reals(f"{label}/beta", (channels,), norm)
    names = f"{weight}-{norm}" if weight != norm else weight
    _add(
        builder,
        f"{layer}-{names}",
        tensors,
        (1e-5, 1e-3, 0.1)[index % 3],
        f"a {weight} weight, statistics in {norm}",
        transposed,
        groups,
    )


def _mixed_norm(builder: Builder) -> None:
    """Statistics and parameters of the batch norm in dtypes of their own."""
    for index, (mean, variance, gamma, beta) in enumerate(
        (
            ("float32", "float32", "float16", "float16"),
            ("float16", "float32", "bfloat16", "float32"),
            ("bfloat16", "bfloat16", "float32", "float16"),
        )
    ):
        label = f"batch_norm/mixed/{index}"
        tensors = {
            "weight": reals(f"{label}/weight", (4, 3), "float16"),
            "bias": reals(f"{label}/bias", (4,), "float16"),
            "mean": reals(f"{label}/mean", (4,), mean),
            "variance": np.abs(reals(f"{label}/variance", (4,), variance)),
            "gamma": reals(f"{label}/gamma", (4,), gamma),
            "beta": reals(f"{label}/beta", (4,), beta),
        }
        _add(builder, f"mixed-{index}", tensors, 1e-5, "every tensor in a dtype of its own")


def _special(builder: Builder) -> None:
    for dtype in ("float32", "float16", "bfloat16"):
        _add(
            builder,
            f"special-{dtype}",
            {
                "weight": cast(
                    np.array([[1.0, -2.0], [0.0, 3.0], [-0.0, 1.5], [2.0, -1.0]]), dtype
                ),
                "bias": cast(np.array([0.0, -0.0, 1.0, -3.0]), dtype),
                "gamma": cast(np.array([0.0, -1.0, 1.0, -0.5]), dtype),
                "beta": cast(np.array([0.5, -0.0, 0.0, 2.0]), dtype),
                "mean": cast(np.array([2.0, 0.0, 1.0, -3.0]), dtype),
                # eps is 2^-26: too small for float16, where the last root is 0.
                "variance": cast(np.array([4.0, 0.25, 1.0, 0.0]), dtype),
            },
            2.0**-26,
            "zeros in every place, and an eps that float16 does not have",
        )
        _add(
            builder,
            f"exact-{dtype}",
            {
                "weight": cast(np.array([[1.0, -2.0], [0.5, 4.0]]), dtype),
                "bias": cast(np.array([1.0, 2.0]), dtype),
                "gamma": cast(np.array([3.0, 1.0]), dtype),
                "beta": cast(np.array([10.0, 20.0]), dtype),
                "mean": cast(np.array([2.0, -1.0]), dtype),
                "variance": cast(np.array([3.75, 0.0]), dtype),
            },
            0.25,
            "every step is exact: the factors are 1.5 and 2",
        )


def _add(
    builder: Builder,
    case: str,
    tensors: dict[str, Array],
    eps: float,
    comment: str,
    transposed: bool = False,
    groups: int = 1,
) -> None:
    builder.add(
        f"batch_norm/{case}",
        "fold_batch_norm",
        clauses=("BN-1", "BN-2"),
        flags=("BatchNormFold",),
        comment=comment,
        arguments={"eps": eps, "transposed": transposed, "groups": groups},
        inputs=tensors,
    )
