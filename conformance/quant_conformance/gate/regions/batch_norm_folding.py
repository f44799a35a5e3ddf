"""Batch norms that a converter folded into the float convolution before them.

In float32 the bounds of a batch norm hold what comes of it. In 16 bits they do not: folded in
float32 and rounded once, weights are others than those of the prepared model, rounded each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from quant_conformance.protocol import Array
from quant_reference.admissible import Step


@dataclass(frozen=True)
class Folded:
    """A region without its batch norms.

    Attributes:
        steps: the steps.
        constants: name -> weight or bias with a batch norm folded in, in float64.
    """

    steps: tuple[Step, ...]
    constants: Mapping[str, Array]


def folded(steps: Sequence[Step], states: Mapping[str, Array]) -> Folded | None:
    """Folds the batch norms of a region into its convolutions and linear layers (BN-1).

    Args:
        steps: those of the region.
        states: the model's own float parameters by name; quantized weights are none of them.

    Returns:
        None where there is nothing to fold.
    """
    result, constants = list(steps), dict[str, Array]()
    for norm in steps:
        if norm.op != "batch_norm":
            continue
        (source, mean, variance, weight, bias) = norm.inputs
        before = next((s for s in result if s.output == source), None)
        readers = [s for s in steps if source in s.inputs]
        if before is None or len(readers) != 1 or not before.op.startswith(("conv", "linear")):
            continue
        kernel, offset = before.inputs[1], before.inputs[2] if len(before.inputs) > 2 else None
        named = [str(n) for n in (kernel, offset, mean, variance, weight, bias) if n is not None]
        transposed = before.op.startswith("conv_transpose")
        grouped = transposed and before.attributes.get("groups", 1) != 1
        if grouped or any(name not in states for name in named):
            continue
        exact = {name: states[name].astype(np.float64) for name in named}
        gamma, beta, given = (
            default if name is None else exact[str(name)]
            for name, default in ((weight, 1.0), (bias, 0.0), (offset, 0.0))
        )
        factor = gamma / np.sqrt(exact[str(variance)] + norm.attributes["eps"])
        shape = [1] * exact[str(kernel)].ndim
        shape[1 if transposed else 0] = -1
        names = (f"{norm.output}/weight", f"{norm.output}/bias")
        constants[names[0]] = exact[str(kernel)] * factor.reshape(shape)
        constants[names[1]] = (given - exact[str(mean)]) * factor + beta
        at = result.index(before)
        result[at] = replace(before, inputs=(before.inputs[0], *names), output=norm.output)
        result.remove(norm)
    return Folded(tuple(result), constants) if constants else None
