"""The three casting passes."""

from __future__ import annotations

from collections.abc import Callable, Collection

from torch import fx
from torch.export import ExportedProgram

from quant_torch._torch_internals import OpOverload, OpOverloadPacket
from quant_torch.casting._float16 import Float16Pass
from quant_torch.casting._int16 import Int16Pass
from quant_torch.casting._program import Program

Operator = OpOverload | OpOverloadPacket
IgnoredOps = Operator | Collection[Operator] | Callable[[fx.Node], bool] | None


def cast_to_16_bit_precision(
    exported_program: ExportedProgram, ignored_ops: IgnoredOps = None
) -> ExportedProgram:
    """Cast a program to 16 bits: :func:`cast_fp32_to_fp16`, then :func:`cast_int32_to_int16`.

    Args:
        exported_program: The program; changed in place.
        ignored_ops: What stays in float32; see :func:`cast_fp32_to_fp16`.

    Returns:
        The same program.
    """
    cast_fp32_to_fp16(exported_program, ignored_ops)
    return cast_int32_to_int16(exported_program)


def cast_fp32_to_fp16(
    exported_program: ExportedProgram, ignored_ops: IgnoredOps = None
) -> ExportedProgram:
    """Cast float32 parameters, buffers, inputs, operations and outputs to float16.

    Three things stay in float32, with casts around them: tensors and operations with a finite
    number beyond ±65504; the dequantization of codes by e8m0 scales, which float16 cannot hold; and
    constants with nonzero numbers below 2⁻¹⁴ where Core AI would misread them (the scales and
    offsets of activations, the statistics of a batch norm, arithmetic on constants alone). Other
    nonzero numbers below 2⁻²⁴ become ±2⁻²⁴ and not zero. Other dtypes are not touched.

    Args:
        exported_program: The program; changed in place.
        ignored_ops: Operations that stay in float32: operators such as ``torch.ops.aten.exp`` or
            ``torch.ops.aten.exp.default``, one or a collection of them, or a function that takes
            an ``fx.Node`` and says whether it stays.

    Returns:
        The same program. Its inputs and outputs that were float32 are float16.

    Raises:
        TypeError: exported_program or ignored_ops is something else.
    """
    keeps = _predicate(ignored_ops)
    Float16Pass(_program(exported_program), keeps).run()
    return exported_program


def cast_int32_to_int16(exported_program: ExportedProgram) -> ExportedProgram:
    """Cast int32 and int64 operands of additions, subtractions and products to int16.

    Left alone are operations that can be computed in advance, whose result leads to an index, or
    with a constant that int16 cannot hold. An integer input that only such operations read
    becomes int16 itself. Results are cast back where anything else reads them. Sums and products
    wrap around beyond int16, so this is for programs that count in small numbers.

    Args:
        exported_program: The program; changed in place.

    Returns:
        The same program.

    Raises:
        TypeError: exported_program is something else.
    """
    Int16Pass(_program(exported_program)).run()
    return exported_program


def _program(exported_program: object) -> Program:
    if not isinstance(exported_program, ExportedProgram):
        raise TypeError(
            "the casting passes take the ExportedProgram that torch.export.export gives, given "
            f"{type(exported_program).__name__}"
        )
    return Program(exported_program)


def _predicate(ignored_ops: object) -> Callable[[fx.Node], bool]:
    if ignored_ops is None:
        return lambda node: False
    if isinstance(ignored_ops, Operator):
        ignored_ops = [ignored_ops]
    if isinstance(ignored_ops, Collection) and not isinstance(ignored_ops, str):
        wrong = [op for op in ignored_ops if not isinstance(op, Operator)]
        if not wrong:
            ignored = set(ignored_ops)
            return lambda node: (
                node.target in ignored or getattr(node.target, "overloadpacket", None) in ignored
            )
        given = f"a collection with {wrong[0]!r}"
    elif callable(ignored_ops):
        return ignored_ops
    else:
        given = repr(ignored_ops)
    raise TypeError(
        "ignored_ops takes operators such as torch.ops.aten.exp, a collection of them, or a "
        f"function of an fx.Node that returns a bool; given {given}"
    )
