"""Changes to the program of a saved .mlpackage, such as a pass of a converter might make."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from coremltools.proto import MIL_pb2, Model_pb2

Edit = Callable[[Any], None]
"""Changes the block of the main function (``MIL_pb2.Block``)."""


def edited_package(path: Path, edit: Edit, folder: Path) -> Path:
    """A copy of an .mlpackage in a folder, its program changed."""
    target = Path(shutil.copytree(path, folder / "edited.mlpackage"))
    file = target / "Data" / "com.apple.CoreML" / "model.mlmodel"
    model = Model_pb2.Model()
    model.ParseFromString(file.read_bytes())
    (function,) = model.mlProgram.functions.values()
    (block,) = function.block_specializations.values()
    edit(block)
    changed = model.SerializeToString()
    assert changed != file.read_bytes()
    file.write_bytes(changed)
    return target


def byte_of_weights(at: int, change: Callable[[int], int]) -> Callable[[Path, Path], Path]:
    """A copy of an .mlpackage with another byte in the file of its large constants."""

    def copied(path: Path, folder: Path) -> Path:
        target = Path(shutil.copytree(path, folder / "edited.mlpackage"))
        file = target / "Data" / "com.apple.CoreML" / "weights" / "weight.bin"
        raw = bytearray(file.read_bytes())
        raw[at] = change(raw[at])
        file.write_bytes(bytes(raw))
        return target

    return copied


def operation(block: Any, kind: str, index: int = 0) -> Any:
    """One of the operations of a kind, in the order of the program."""
    return [op for op in block.operations if op.type == kind][index]


def both(*edits: Edit) -> Edit:
    """Several changes."""

    def edit(block: Any) -> None:
        for one in edits:
            one(block)

    return edit


def exchanged(kind: str, index: int, one: str, other: str) -> Edit:
    """Two inputs of an operation in each other's place."""

    def edit(block: Any) -> None:
        inputs = operation(block, kind, index).inputs
        kept = MIL_pb2.Argument()
        kept.CopyFrom(inputs[one])
        inputs[one].CopyFrom(inputs[other])
        inputs[other].CopyFrom(kept)

    return edit


def reading(kind: str, index: int, name: str, source: Callable[[Any], str]) -> Edit:
    """Another value as an input; ``source`` names it."""

    def edit(block: Any) -> None:
        operation(block, kind, index).inputs[name].arguments[0].name = source(block)

    return edit


def output_of(kind: str, index: int = 0) -> Callable[[Any], str]:
    """The name of what an operation makes."""
    return lambda block: str(operation(block, kind, index).outputs[0].name)


def input_of(kind: str, index: int, name: str) -> Callable[[Any], str]:
    """The name of what an operation reads."""
    return lambda block: str(operation(block, kind, index).inputs[name].arguments[0].name)


def constant(kind: str, index: int, name: str, change: Callable[[Any], None]) -> Edit:
    """A constant input changed, for this operation alone; ``change`` gets its tensor."""

    def edit(block: Any) -> None:
        op = operation(block, kind, index)
        argument = op.inputs[name].arguments[0]
        if argument.HasField("value"):
            change(argument.value.immediateValue.tensor)
            return
        own = MIL_pb2.Operation()
        own.CopyFrom(next(o for o in block.operations if o.outputs[0].name == argument.name))
        own.outputs[0].name = argument.name = f"{argument.name}_of_{op.outputs[0].name}"
        change(own.attributes["val"].immediateValue.tensor)
        block.operations.insert(list(block.operations).index(op), own)

    return edit


def another(kind: str, index: int, instead: str) -> Edit:
    """An operation of the same inputs in the place of one."""

    def edit(block: Any) -> None:
        operation(block, kind, index).type = instead

    return edit


def ints(*values: int) -> Callable[[Any], None]:
    """Other integers."""

    def change(tensor: Any) -> None:
        tensor.ints.values[:] = values

    return change


def words(*values: str) -> Callable[[Any], None]:
    """Other words."""

    def change(tensor: Any) -> None:
        tensor.strings.values[:] = values

    return change


def unsigned(index: int, zero_point: int, read: int | None = None) -> Edit:
    """A quantizer to int8, without a zero point, as one to uint8.

    Args:
        index: of the ``quantize``.
        zero_point: its zero point.
        read: that of the ``dequantize`` that reads it; None for the same.
    """

    def edit(block: Any) -> None:
        constant("quantize", index, "output_dtype", words("uint8"))(block)
        writer = operation(block, "quantize", index)
        codes = writer.outputs[0]
        codes.type.tensorType.dataType = MIL_pb2.UINT8
        _set_zero_point(writer, zero_point)
        for op in block.operations:
            if op.type == "dequantize" and op.inputs["input"].arguments[0].name == codes.name:
                _set_zero_point(op, zero_point if read is None else read)

    return edit


def _set_zero_point(op: Any, zero_point: int) -> None:
    del op.inputs["zero_point"].arguments[:]
    value = op.inputs["zero_point"].arguments.add().value
    value.type.tensorType.dataType = MIL_pb2.UINT8
    value.immediateValue.tensor.bytes.values = bytes([zero_point])


def behind_the_output(block: Any) -> None:
    """A relu behind what was the output."""
    (name,) = block.outputs
    source = next(op for op in block.operations if op.outputs[0].name == name)
    added = block.operations.add()
    added.type = "relu"
    added.inputs["x"].arguments.add().name = f"{name}_before"
    added.outputs.add().CopyFrom(source.outputs[0])
    source.outputs[0].name = f"{name}_before"


def whole(kind: str, index: int, values: Any) -> Edit:
    """A weight as a float constant; ``values`` is a float32 array of its shape."""

    def edit(block: Any) -> None:
        op = operation(block, kind, index)
        described = MIL_pb2.NamedValueType()
        described.CopyFrom(op.outputs[0])
        op.Clear()
        op.type = "const"
        op.outputs.add().CopyFrom(described)
        op.attributes["name"].CopyFrom(MIL_pb2.Value())
        op.attributes["name"].type.tensorType.dataType = MIL_pb2.STRING
        op.attributes["name"].immediateValue.tensor.strings.values.append(described.name)
        value = op.attributes["val"]
        value.type.CopyFrom(described.type)
        value.immediateValue.tensor.floats.values.extend(values.reshape(-1).tolist())

    return edit
