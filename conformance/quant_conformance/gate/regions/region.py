"""Cuts a recording into regions: from quantized values, over float operations, to the next ones."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch

from quant_conformance.gate.aten.step_table import steps_of
from quant_conformance.gate.recording.recorder import Operation, Quantization, Recording
from quant_conformance.gate.regions.common_subexpressions import first_alike
from quant_conformance.gate.regions.dead_values import dead_values
from quant_reference.admissible import Arithmetic, Step

HEAVY = frozenset(
    {
        *("convolution", "addmm", "baddbmm", "mm", "bmm", "matmul", "linear"),
        *("native_layer_norm", "native_group_norm", "native_batch_norm", "softmax"),
        "scaled_dot_product_flash_attention_for_cpu",
    }
)
"""Operations of which no two stay in one region if their results can be told apart in the file."""

BATCH_NORMS = frozenset(f"native_batch_norm{form}" for form in ("", "_legit", "_legit_no_training"))
"""Operations that a converter may fold into the sum of products before them."""

SILENT = frozenset({"identity", "reshape", "transpose", "permute", "expand", "select", "slice"})
"""Steps that only move elements, which nobody needs to be told of."""


@dataclass(frozen=True)
class Region:
    """Operations between values that are fixed, up to a value that is judged.

    Attributes:
        name: the tensor that is judged, by the quantizer's name for it or its own.
        target: the recorded value that is judged.
        quantization: the quantizer behind it, or None for a float result.
        steps: the operations; none where the quantizer reads a fixed value.
        operands: the fixed values that they read.
        lacking: ATen operations whose results cannot be bounded; then there is no verdict.
    """

    name: str
    target: str
    quantization: Quantization | None
    steps: tuple[Step, ...]
    operands: tuple[str, ...]
    lacking: tuple[str, ...] = ()

    @property
    def operation(self) -> str:
        """What it computes, for people: ``conv2d → relu``."""
        named = [step.op for step in self.steps if step.op not in SILENT]
        return " → ".join(named) or "no operation"


def needed(region: Region) -> Region:
    """The region without steps that its target does not need, so that the last one makes it."""
    wanted, kept = {region.target}, list[Step]()
    for step in reversed(region.steps):
        if step.output in wanted:
            kept.append(step)
            wanted.update(name for name in step.inputs if isinstance(name, str))
    operands = tuple(name for name in region.operands if name in wanted)
    return replace(region, steps=tuple(reversed(kept)), operands=operands)


def arithmetic_of(recording: Recording, region: Region) -> Arithmetic:
    """float32, or float16 with sums in float32 where the model itself computes in float16."""
    half = recording.values[region.target].dtype == np.float16
    return Arithmetic("float16" if half else "float32", "float32")


class Regions:
    """The regions of a recording.

    Args:
        recording: one run of a prepared model.
    """

    def __init__(self, recording: Recording) -> None:
        self._recording = recording
        self.constants = _constants(recording)
        self.quantized = {q.result: q for q in recording.quantizations}
        self._makers: dict[str, Operation] = {}
        for operation in recording.operations:
            for name in operation.outputs:
                if name is not None:
                    self._makers[name] = operation

    @cached_property
    def first_alike(self) -> dict[str, str]:
        """Every result -> the first one that is the same computation."""
        return first_alike(self._recording)

    @cached_property
    def dead_values(self) -> set[str]:
        """Results of the quantizers from which no output follows."""
        return dead_values(self._recording)

    @cached_property
    def repeated_weights(self) -> set[str]:
        """Results of the quantizers of weights from which nothing follows but repetitions.

        A file that computes once what the model computes twice needs the weight of one of them.
        """
        first, weights = self.first_alike, {q.result for q in self.weights}
        unvaried, found = {*self.constants, *weights}, set[str]()
        made_of = dict[str, set[str]]()  # what follows from weights and constants alone
        read = dict[str, list[str]]()
        for operation in self._recording.operations:
            inputs, outputs = operation.inputs, [str(n) for n in operation.outputs if n is not None]
            own = {w for n in inputs for w in ({n} & weights | made_of.get(n, set()))}
            if all(name in unvaried for name in inputs):
                unvaried.update(outputs)
                made_of |= dict.fromkeys(outputs, own)
                continue
            for weight in own:
                read.setdefault(weight, []).extend(outputs)
        for weight, results in read.items():
            if results and all(first.get(name, name) != name for name in results):
                found.add(weight)
        return found

    @property
    def outputs(self) -> list[str]:
        """Names of the model's outputs."""
        return self._recording.outputs

    @property
    def activations(self) -> list[Quantization]:
        """The quantizations of what is computed at run time, in order."""
        return [q for q in self._recording.quantizations if q.source not in self.constants]

    @property
    def weights(self) -> list[Quantization]:
        """The quantizations of constants; one that several operations read once."""
        found = {
            (q.facts.name, q.source): q
            for q in self._recording.quantizations
            if q.source in self.constants
        }
        return list(found.values())

    def float_cuts(self) -> list[str]:
        """Float results of heavy operations that feed another one unquantized.

        What a batch norm alone reads is none: converters fold it in, and if it changes little, its
        result in the file passes for what it reads.
        """
        before: set[str] = set()
        folded = self._folded()
        found = []
        for operation in reversed(self._recording.operations):
            heavy = operation.name.strip("_") in HEAVY
            feeds = any(name in before for name in operation.outputs)
            kept = operation.outputs[0] not in self.constants | folded
            if heavy and feeds and kept:
                found.append(str(operation.outputs[0]))
            if heavy or feeds:
                before.update(operation.inputs)
        return found[::-1]

    def _folded(self) -> set[str]:
        """Results of sums of products that batch norms, and nothing else, read."""
        readers: dict[str, set[str]] = {}
        for operation in self._recording.operations:
            for name in operation.inputs:
                readers.setdefault(name, set()).add(operation.name.strip("_"))
        sources = {q.source for q in self._recording.quantizations}
        return {
            name
            for name, found in readers.items()
            if found <= BATCH_NORMS
            and name not in sources
            and name in self._makers
            and self._makers[name].name in ("convolution", "addmm", "linear")
        }

    def build(self, cuts: Collection[str], absent: Collection[str] = ()) -> list[Region]:
        """The regions, in the order of computation.

        Args:
            cuts: float values that are fixed too, and judged.
            absent: results of quantizers that the file lacks: what they quantize goes on as it is.
        """
        passed = {name: self.quantized[name].source for name in absent}
        fixed = {*self._recording.inputs, *self.constants, *self.quantized, *cuts} - {*absent}
        regions = [self._region(q.facts.name, q.source, q, fixed, passed) for q in self.activations]
        regions += [self._region(name, name, None, fixed - {name}, passed) for name in cuts]
        judged = {region.target for region in regions}
        for name in self._recording.outputs:
            if name not in fixed and name not in judged and name not in absent:
                regions.append(self._region(name, name, None, fixed, passed))
        order = {name: index for index, name in enumerate(self._recording.values)}
        return _with_unique_names(sorted(regions, key=lambda region: order[region.target]))

    def _region(
        self,
        name: str,
        target: str,
        quantization: Quantization | None,
        fixed: Collection[str],
        passed: Mapping[str, str],
    ) -> Region:
        target = _passed_on(target, passed)
        wanted, operands, chosen = [target], dict[str, None](), dict[int, Operation]()
        while wanted:
            value = _passed_on(wanted.pop(), passed)
            if value in fixed or value not in self._makers:
                operands[value] = None
            elif id(self._makers[value]) not in chosen:
                operation = self._makers[value]
                chosen[id(operation)] = operation
                wanted += operation.inputs
        steps, lacking = self._steps([o for o in self._recording.operations if id(o) in chosen])
        steps = [
            replace(s, inputs=tuple(_passed_on(name, passed) for name in s.inputs)) for s in steps
        ]
        read = {str(name) for step in steps for name in step.inputs}
        kept = [name for name in operands if name in read or name == target]
        return Region(name, target, quantization, tuple(steps), tuple(kept), tuple(lacking))

    def _steps(self, operations: Sequence[Operation]) -> tuple[list[Step], list[str]]:
        steps: list[Step] = []
        lacking = []
        for operation in operations:
            try:
                made = steps_of(operation, self._recording.values)
            except NotImplementedError as error:
                lacking.append(f"{operation.name}: {error}")
                continue
            if made is None:
                lacking.append(operation.name)
            else:
                steps += made
        return steps, lacking


def _passed_on(name: Any, passed: Mapping[str, str]) -> Any:
    """What stands in the place of a value: what an absent quantizer should have quantized."""
    while name in passed:
        name = passed[name]
    return name


def _with_unique_names(regions: list[Region]) -> list[Region]:
    """Tensors that share a quantizer share its name: all but the first get their operation's."""
    taken: set[str] = set()
    named = []
    for region in regions:
        name, count = region.name, 1
        operations = region.operation.split(" → ")
        while name in taken:
            label = "again" if region.operation == "no operation" else operations[-1]
            name = f"{region.name}/{label}" + (f"_{count}" if count > 1 else "")
            count += 1
        taken.add(name)
        named.append(replace(region, name=name))
    return named


def _constants(recording: Recording) -> set[str]:
    """Values that follow from the model's states alone."""
    constants = set(recording.states)
    sources = {q.result: q.source for q in recording.quantizations}
    for operation in recording.operations:
        # What is made of quantized weights stays an operation of its region.
        random = torch.Tag.nondeterministic_seeded in operation.function.tags
        if all(name in constants for name in operation.inputs) and not random:
            constants.update(name for name in operation.outputs if name is not None)
    return constants - set(sources)
