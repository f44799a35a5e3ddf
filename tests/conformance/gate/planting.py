"""Changes to finalized graphs and saved files, and the gate's verdict on what comes of them."""

from __future__ import annotations

import copy
import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from quant_conformance.gate.check import SUFFIXES, open_program
from quant_conformance.gate.document import FAILING
from quant_conformance.gate.judging.comparison import compare
from quant_conformance.gate.recording.recorder import record
from quant_conformance.models.zoo import config_of
from quant_conformance.models.zoo.dense import seeded
from quant_conformance.models.zoo.prepare import build
from quant_conformance.runtimes.quiet import quiet
from quant_reference.admissible import Arithmetic
from quant_torch.export import save_coreai, save_coreml
from quant_torch.quantization import Quantizer, QuantizerConfig

Change = Callable[[Any], None]
Edit = Callable[[str], str]


class Mixed(nn.Module):
    """A strided convolution, a difference, and a mean over one of two axes of one extent."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 3, 2, 1)
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.head = nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Four numbers for each channel."""
        x = torch.relu(self.conv(x))
        return self.head((self.left(x) - self.right(x)).mean(3))

    def batches(self, count: int) -> list[tuple[torch.Tensor, ...]]:
        """Inputs."""
        return seeded(count, 2, 3, 16, 16)


class Offset(nn.Module):
    """A difference whose one operand is computed from a constant."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.head = nn.Linear(8, 8), nn.Linear(8, 4)
        self.register_buffer("offset", torch.randn(8))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Four numbers for each row."""
        return self.head(self.offset * 0.5 - self.linear(x))

    def batches(self, count: int) -> list[tuple[torch.Tensor, ...]]:
        """Inputs."""
        return seeded(count, 4, 8)


_OWN = {"mixed": Mixed, "offset": Offset}


def _built(name: str) -> Any:
    if name not in _OWN:
        return build(name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return _OWN[name]().eval()


@functools.cache
def made(name: str, config: str, mode: str) -> tuple[Any, Any, Any]:
    """A calibrated model, whose norms have weights that tell them apart.

    Args:
        name: of the zoo, or "mixed" for :class:`Mixed`, "offset" for :class:`Offset`.
        config: of the zoo.
        mode: "graph" or "eager".
    """
    with quiet():
        model = _built(name)
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
    mode: str = "graph",
    half: bool = False,
) -> set[str]:
    """Names of what does not pass, once a finalized model was changed.

    Args:
        backend: "coreai" or "coreml".
        name: of the model in the zoo.
        config: of the zoo.
        plant: changes the finalized model.
        mode: "graph" or "eager".
        half: whether the program computes in 16 bits.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = exported(backend, name, config, mode, half, Path(folder), plant)
        return judged_file(path, made(name, config, mode)[1], half)


def found_in_file(
    backend: str, name: str, config: str, edit: Callable[[Path, Path], Path], mode: str = "graph"
) -> set[str]:
    """Names of what does not pass, once the file itself was changed.

    Args:
        backend: "coreai" or "coreml".
        name: of the model, as for :func:`made`.
        config: of the zoo.
        edit: makes a changed copy of the file in a folder.
        mode: "graph" or "eager".
    """
    original = Path(_right_file(backend, name, config, mode).name) / f"m{SUFFIXES[backend]}"
    with tempfile.TemporaryDirectory() as folder:
        changed = edit(original, Path(folder))
        return judged_file(changed, made(name, config, mode)[1])


@functools.cache
def _right_file(backend: str, name: str, config: str, mode: str) -> Any:
    """A folder with the file of a model that nothing was done to."""
    folder = tempfile.TemporaryDirectory()
    exported(backend, name, config, mode, False, Path(folder.name))
    return folder


def exported(
    backend: str,
    name: str,
    config: str,
    mode: str,
    half: bool,
    folder: Path,
    plant: Change | None = None,
) -> Path:
    """Exports a model whose finalized form ``plant`` changes; the file is called ``m``."""
    quantizer, _, example = made(name, config, mode)
    path = folder / f"m{SUFFIXES[backend]}"
    with quiet():
        finalized = copy.deepcopy(quantizer).finalize(backend=backend)
        if plant is not None:
            with torch.no_grad():
                plant(finalized)
            finalized.recompile()
        if backend == "coreai":
            return save_coreai(finalized, example, path, cast_16bit=half)
        precision = "float16" if half else "float32"
        return save_coreml(finalized, example, path, compute_precision=precision)


def judged_file(path: Path, recording: Any, half: bool = False) -> set[str]:
    """Names of what does not pass in a file."""
    with quiet():
        program = open_program(path)
        try:
            document = compare(recording, program, Arithmetic("float16" if half else "float32"))
        finally:
            program.close()
    failed = [x for x in [*document.layers, *document.weights] if x.verdict in FAILING]
    assert {x.verdict for x in failed} <= {"wrong"}  # nothing less
    return {x.name for x in failed}


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
