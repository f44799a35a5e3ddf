"""Constants that stay in float32 because Core AI would misread them in float16.

Its compiler reads a float16 constant wrongly where it is subnormal and folded into a float32
computation (``docs/findings.md``): 2⁻¹⁵ becomes 2⁻²² or so. Scales of activations, the statistics
of a batch norm and arithmetic on constants alone are folded, other operands are not.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import fx

from quant_torch._torch_internals import OpOverload
from quant_torch.casting._program import SHAPE_ONLY, Program, packet

LEAST_NORMAL = 2.0**-14
"""Below it float16 numbers are subnormal."""

_FOLDING = frozenset({
    "coreai::quantize", "coreai::dequantize",
    "aten::batch_norm", "aten::_native_batch_norm_legit_no_training",
})  # fmt: skip
"""Operations whose constant operands are computed with in float32, whatever their dtype."""

_WEIGHT = "coreai::constexpr_blockwise_shift_scale"
"""Reads its float16 scales and offsets as they are."""


def is_subnormal(values: torch.Tensor) -> bool:
    """Whether a tensor has numbers that float16 holds as subnormal ones, or not at all."""
    magnitude = values.detach().abs()
    return bool(((magnitude > 0) & (magnitude < LEAST_NORMAL)).any())


def misread(
    program: Program, numbers: Callable[[fx.Node], list[float]]
) -> tuple[set[fx.Node], set[fx.Node]]:
    """What stays in float32 so that no subnormal float16 constant is folded.

    Args:
        program: The program, still in float32.
        numbers: The numbers among an operation's arguments that meet tensor elements.

    Returns:
        Placeholders of tensors, and operations. Their readers that fold nothing can be cast: a
        constant that is rounded to float16 in the program is read right.
    """
    constants = program.constants()
    folded: set[fx.Node] = set()
    for node in reversed(program.operations()):
        if _folds(node, constants) or (node in folded and packet(node) in SHAPE_ONLY):
            folded.update(node.all_input_nodes)
    tensors = {
        node
        for node in folded
        if (tensor := program.tensor(node)) is not None
        and tensor.dtype is torch.float32
        and is_subnormal(tensor)
    }
    # A constant that is made of a number is folded where something folds it; one that is
    # computed with a number is folded as it is.
    made = {
        node
        for node in program.operations()
        if node in constants
        and (node in folded if not node.all_input_nodes else _folds(node, constants))
        and any(0 < abs(number) < LEAST_NORMAL for number in numbers(node))
    }
    held, kept = set(tensors), set()
    for node in program.operations():
        passes = _folds(node, constants) or (node in folded and packet(node) in SHAPE_ONLY)
        if node in made or (passes and any(source in held for source in node.all_input_nodes)):
            kept.add(node)
            if node in constants:
                held.add(node)
    return tensors, kept


def _folds(node: fx.Node, constants: set[fx.Node]) -> bool:
    if not isinstance(node.target, OpOverload):
        return False
    name = node.target._schema.name
    computed = node in constants and bool(node.all_input_nodes) and packet(node) not in SHAPE_ONLY
    return name in _FOLDING or (computed and name != _WEIGHT)
