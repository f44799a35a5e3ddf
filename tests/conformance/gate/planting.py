"""Changes to finalized graphs and saved files, and the gate's verdict on what comes of them."""

from __future__ import annotations

import copy
import functools
import re
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quant_conformance.gate.check import open_program
from quant_conformance.gate.compare import compare
from quant_conformance.gate.document import FAILING
from quant_conformance.gate.recording import record
from quant_conformance.quiet import quiet
from quant_conformance.zoo import config_of
from quant_conformance.zoo.prepare import build
from quant_reference.admissible import Arithmetic
from quant_torch.export import save_coreai, save_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

Change = Callable[[Any], None]
Edit = Callable[[str], str]


@functools.cache
def made(name: str, config: str, mode: str) -> tuple[Any, Any, Any]:
    """A calibrated model of the zoo, whose norms have weights that tell them apart."""
    with quiet():
        model = build(name)
        generator = torch.Generator().manual_seed(3)
        with torch.no_grad():
            for module in model.modules():
                if isinstance(module, nn.BatchNorm2d | nn.LayerNorm):
                    shape = module.weight.shape
                    module.weight.copy_(torch.rand(shape, generator=generator) + 0.5)
                    module.bias.copy_(torch.randn(shape, generator=generator) * 0.3)
        *batches, example = model.batches(4)
        quantizer = Quantizer(model, QuantizerConfig.from_dict(config_of(config, mode)))
        prepared = quantizer.prepare(example)
        with quantizer.calibration_mode():
            for batch in batches:
                prepared(*batch)
        return quantizer, record(prepared, example), example


def found(
    backend: str,
    name: str,
    config: str,
    plant: Change | None = None,
    *,
    edit: Edit | None = None,
    mode: str = "graph",
    half: bool = False,
) -> set[str]:
    """Names of what does not pass, once a finalized model or its file was changed.

    Args:
        backend: "coreai" or "coreml".
        name: of the model in the zoo.
        config: of the zoo.
        plant: changes the finalized model.
        edit: changes the text of the .aimodel.
        mode: "graph" or "eager".
        half: whether the program computes in 16 bits.
    """
    quantizer, recording, example = made(name, config, mode)
    with quiet(), tempfile.TemporaryDirectory() as folder:
        finalized = copy.deepcopy(quantizer).finalize(backend=backend)
        if plant is not None:
            with torch.no_grad():
                plant(finalized)
            finalized.recompile()
        if backend == "coreai":
            path = save_coreai(finalized, example, Path(folder) / "m.aimodel", cast_16bit=half)
        else:
            path = Path(folder) / "m.mlpackage"
            precision = "float16" if half else "float32"
            save_coreml(finalized, example, path, compute_precision=precision)
        program = open_program(path if edit is None else edited(path, edit, Path(folder)))
        try:
            document = compare(recording, program, Arithmetic("float16" if half else "float32"))
        finally:
            program.close()
    failed = [*document.layers, *document.weights]
    return {x.name for x in failed if x.verdict in FAILING}


def edited(path: Path, edit: Edit, folder: Path) -> Path:
    """A copy of an .aimodel in a folder, its text changed."""
    program = open_program(path)
    try:
        text = "\n".join(program._text._lines)
        changed = edit(text)
        assert changed != text
        program._save(changed, folder / "edited.aimodel")
    finally:
        program.close()
    return folder / "edited.aimodel"


def node(graph: Any, name: str) -> Any:
    """A node of a finalized graph."""
    return next(n for n in graph.graph.nodes if n.name == name)


def dropped(name: str) -> Change:
    """Without an operation or a quantizer: its readers get what it reads."""

    def plant(graph: Any) -> None:
        gone = node(graph, name)
        gone.replace_all_uses_with(gone.args[0])
        graph.graph.erase_node(gone)

    return plant


def argument(name: str, index: int, value: Any) -> Change:
    """Another argument; a text that names a node is that node."""

    def plant(graph: Any) -> None:
        args = list(node(graph, name).args)
        args += [None] * (index + 1 - len(args))
        args[index] = node(graph, value) if isinstance(value, str) else value
        node(graph, name).args = tuple(args)

    return plant


def swapped(name: str, first: int, second: int) -> Change:
    """Two arguments of an operation in each other's place."""

    def plant(graph: Any) -> None:
        args = list(node(graph, name).args)
        args[first], args[second] = args[second], args[first]
        node(graph, name).args = tuple(args)

    return plant


def both(*changes: Change) -> Change:
    """Several changes."""

    def plant(graph: Any) -> None:
        for change in changes:
            change(graph)

    return plant


def entry(path: str, index: int, factor: float) -> Change:
    """One entry of a parameter multiplied."""

    def plant(graph: Any) -> None:
        owner, _, name = path.rpartition(".")
        module = graph.get_submodule(owner)
        changed = getattr(module, name).detach().clone()  # the prepared model has it, too
        changed[index] *= factor
        setattr(module, name, nn.Parameter(changed, requires_grad=False))

    return plant


def surplus(after: str, like: str) -> Change:
    """Another quantizer behind an operation."""

    def plant(graph: Any) -> None:
        source = node(graph, after)
        with graph.graph.inserting_after(source):
            added = graph.graph.call_module(like, (source,))
        source.replace_all_uses_with(added)
        added.args = (source,)

    return plant


def resource(index: int, byte: int, change: Callable[[int], int]) -> Edit:
    """One byte of one of the large constants of a program."""

    def edit(text: str) -> str:
        match = list(re.finditer(r'\w+: "0x[0-9A-F]{8}([0-9A-F]*)"', text))[index]
        raw = bytearray.fromhex(match[1])
        raw[byte] = change(raw[byte])
        return text[: match.start(1)] + raw.hex().upper() + text[match.end(1) :]

    return edit
