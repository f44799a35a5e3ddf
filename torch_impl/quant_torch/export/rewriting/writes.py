"""Writes into the memory of tensors, as operations that write nowhere.

coremltools reads an operation such as ``mul_`` as ``mul``: it forgets that other tensors share the
memory. So in a trace, a write becomes a new value of the tensor that was there first, the root,
and views that are read later are taken from that value anew.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from quant_torch._torch_internals import remove_dead_code
from quant_torch.export.rewriting._join import joiner, positions
from quant_torch.export.rewriting._memory import Memory
from quant_torch.export.rewriting._written import written
from quant_torch.export.rewriting.inlining import Place, inlined, trace_of
from quant_torch.export.rewriting.trace_values import overload_of

_STATES = ("prim::GetAttr", "prim::Constant")
_SAFE = {"unsafe_chunk": "chunk", "unsafe_split": "split",
         "unsafe_split_with_sizes": "split_with_sizes"}  # fmt: skip
"""Operations that differ in what autograd makes of writes into their results only."""


class Found:
    """What a node says of where it comes from, which outlives it.

    Args:
        node: The node.
    """

    def __init__(self, node: Any) -> None:
        self._told = node.kind(), node.scopeName(), node.sourceRange()

    def kind(self) -> str:
        """Its operation."""
        return str(self._told[0])

    def scopeName(self) -> str:  # noqa: N802 - as torch calls it
        """Its module."""
        return str(self._told[1])

    def sourceRange(self) -> str:  # noqa: N802
        """Its line."""
        return str(self._told[2])


class WriteError(Exception):
    """A write that cannot be expressed.

    Args:
        node: The operation that writes.
        reason: Why not.
    """

    def __init__(self, node: Any, reason: str) -> None:
        super().__init__(reason)
        self.node = node if isinstance(node, Found) else Found(node)


def without_writes(traced: torch.jit.ScriptModule) -> None:
    """Express what a trace writes into memory by operations that give new tensors.

    Args:
        traced: The trace, inlined; it is changed in place.

    Raises:
        WriteError: A write is none of an operation that is known, or the model would remember it.
    """
    graph = traced.graph
    for node in list(graph.nodes()):
        _take_safe(graph, node)
    if any(_is_write(node) for node in graph.nodes()):
        _Writes(traced, graph).apply()


def _is_write(node: Any) -> bool:
    overload = overload_of(node)
    return overload is not None and overload._schema.is_mutable


def _take_safe(graph: Any, node: Any) -> None:
    namespace, _, name = node.kind().partition("::")
    if namespace != "aten" or name not in _SAFE:
        return
    made = graph.create(f"aten::{_SAFE[name]}", list(node.inputs()), 1)
    made.insertBefore(node)
    made.copyMetadata(node)
    made.output().setType(node.output().type())
    node.output().replaceAllUsesWith(made.output())
    node.destroy()


class _Writes:
    """Goes through a trace once, in order."""

    def __init__(self, traced: torch.jit.ScriptModule, graph: Any) -> None:
        self._graph = graph
        self._memory = Memory(traced)
        self._clock = 0
        self._born: dict[int, int] = {}
        self._written: dict[int, int] = {}
        self._roots: dict[int, Any] = {}
        self._current: dict[int, Any] = {}
        self._wholes: set[int] = set()
        self._anew: dict[int, Any] = {}
        self._writers: dict[int, Found] = {}
        self._states: dict[int, set[int]] = {}
        self._done: list[Any] = []
        self._aliases: list[Any] = []

    def apply(self) -> None:
        for value in self._graph.inputs():
            self._meet(value)
        for node in list(self._graph.nodes()):
            for index, value in enumerate(list(node.inputs())):
                node.replaceInput(index, self._read(value, node))
            if _is_write(node):
                self._write(node)
            else:
                self._memory.run(node)
                for value in node.outputs():
                    self._meet(value, 0 if node.kind() in _STATES else self._clock)
        last = self._graph.return_node()
        for index, value in enumerate(list(last.inputs())):
            last.replaceInput(index, self._read(value, last))
        for node in reversed(self._done):
            node.destroy()
        for node in self._aliases:
            node.output().replaceAllUsesWith(node.input())
        remove_dead_code(self._graph)
        self._refuse_memories()

    def _meet(self, value: Any, born: int = 0) -> None:
        self._born[value.unique()] = born
        tensor = self._memory.tensor(value)
        if tensor is not None:
            storage = self._memory.storage(tensor)
            if value.node().kind() in _STATES:
                self._states.setdefault(storage, set()).add(value.unique())
            if storage not in self._roots:
                self._roots[storage] = value
                self._wholes.add(value.unique())

    def _read(self, value: Any, reader: Any) -> Any:
        """A value as it is after the writes so far; what has to be computed goes before a node."""
        if not self._is_stale(value):
            return value
        name = value.unique()
        anew = self._anew.get(name)
        if anew is not None and not self._is_stale(anew):
            return anew
        tensor = self._memory.tensor(value)
        if tensor is not None:
            storage = self._memory.storage(tensor)
            root = self._roots[storage]
            whole = self._memory.tensor(root)
            is_state = value.node().kind() in _STATES
            if name in self._wholes or (is_state and self._memory.same_place(tensor, whole)):
                return self._current[storage]
        self._anew[name] = made = self._again(value, reader)
        return made

    def _again(self, value: Any, reader: Any) -> Any:
        """What gave a view, on the values as they are now."""
        node = value.node()
        inputs = list(node.inputs())
        now = {v.unique(): self._read(v, reader) for v in inputs}
        if all(now[v.unique()].unique() == v.unique() for v in inputs):
            raise WriteError(node, "it shares memory that is written in a way that is not known")
        clone = self._graph.createClone(node, lambda v: now[v.unique()])
        clone.insertBefore(reader)
        clone.copyMetadata(node)
        for old, new in zip(node.outputs(), clone.outputs(), strict=True):
            self._memory.copy(old, new)
            self._born[new.unique()] = self._clock
        names = [v.unique() for v in node.outputs()]
        return list(clone.outputs())[names.index(value.unique())]

    def _is_stale(self, value: Any) -> bool:
        born = self._born.get(value.unique(), 0)
        return any(self._written.get(s, 0) > born for s in self._memory.storages(value))

    def _write(self, node: Any) -> None:
        overload = overload_of(node)
        if overload is None:
            raise WriteError(node, "it is no operation of ATen")
        target, args = self._memory.target(node, overload), self._memory.arguments(node)
        tensor = None if target is None else self._memory.tensor(target)
        if target is None or tensor is None or args is None:
            raise WriteError(node, "what it writes, or into what, is not known before it runs")
        function = written(overload)
        if function is None:
            raise WriteError(node, "no operation gives the same without writing")
        storage = self._memory.storage(tensor)
        root = self._roots[storage]
        whole = self._memory.tensor(root)
        if whole is None:
            raise WriteError(node, "what it writes into is not known before it runs")
        self._writers.setdefault(storage, Found(node))
        into = positions(whole, tensor)
        if into is False:
            raise WriteError(
                node, "it writes by way of a view in another dtype, or beyond a tensor"
            )
        now = self._current.get(storage, root)
        places, given = self._memory.places(node)
        shape, dtype = tuple(tensor.shape), tensor.dtype
        old_shape = tuple(whole.shape)

        put = joiner(old_shape, into)

        def step(base: Tensor, *tensors: Tensor) -> Tensor:
            filled = [tensors[a.index] if isinstance(a, Place) else
                      [tensors[i.index] if isinstance(i, Place) else i for i in a]
                      if isinstance(a, list) else a for a in given]  # fmt: skip
            new = function(shape, dtype, filled)
            return put(base, new)

        examples = [torch.zeros(t.shape, dtype=t.dtype) for t in map(self._memory.tensor, places)]
        base = torch.zeros(old_shape, dtype=whole.dtype)
        try:
            inner = trace_of(step, (base, *examples))
        except Exception as error:  # of whatever kind, for arguments that torch takes in place only
            raise WriteError(node, f"it cannot be written out: {error}") from error
        for output in node.outputs():
            output.replaceAllUsesWith(target)
        made, (result,) = inlined(self._graph, node, inner, [now, *places])
        if result.node() not in made:
            result = self._same(result, node)
        self._done.append(node)
        self._clock += 1
        self._written[storage] = self._clock
        self._current[storage] = result
        self._wholes.add(result.unique())
        self._memory.put(result, whole)
        self._born[result.unique()] = self._clock

    def _same(self, value: Any, node: Any) -> Any:
        """A value of its own that is another, whose memory may be written later."""
        alias = self._graph.create("aten::alias", [value], 1)
        alias.insertBefore(node)
        alias.copyMetadata(node)
        alias.output().setType(value.type())
        self._aliases.append(alias)
        return alias.output()

    def _refuse_memories(self) -> None:
        used = {v.unique() for node in self._graph.nodes() for v in node.outputs()}
        for storage, writer in self._writers.items():
            if used & self._states.get(storage, set()):
                raise WriteError(writer, "the model would remember it until the next call")
