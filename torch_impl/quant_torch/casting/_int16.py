"""int32 and int64 to int16, in sums, differences and products."""

from __future__ import annotations

import torch
from torch import fx

from quant_torch._torch_internals import pytree
from quant_torch.casting._program import SHAPE_ONLY, Program, dtype_of, packet, update_value

aten = torch.ops.aten

_COMPUTE = frozenset({aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor})
_WIDER = (torch.int32, torch.int64)
_RANGE = torch.iinfo(torch.int16)

# Operations that take positions, and the arguments in which they take them.
_INDEXED = {
    aten.embedding: (1,),
    aten.index: (1,),
    aten.index_put: (1,),
    aten._unsafe_index: (1,),
    aten._unsafe_index_put: (1,),
    aten.index_select: (2,),
    aten.index_add: (2,),
    aten.index_copy: (2,),
    aten.index_fill: (2,),
    aten.gather: (2,),
    aten.scatter: (2,),
    aten.scatter_add: (2,),
    aten.scatter_reduce: (2,),
    aten.take: (1,),
    aten.take_along_dim: (1,),
    aten.searchsorted: (),
    aten.max_unpool2d: (1,),
    aten.max_unpool3d: (1,),
    aten.embedding_bag: (1, 2),
    aten._embedding_bag: (1, 2),
}


class Int16Pass:
    """One run of the pass over one program.

    Args:
        program: The program.
    """

    def __init__(self, program: Program) -> None:
        self.program = program
        self.constants = program.constants()
        self.leads_to_index = _leading_to_index(program)

    def run(self) -> None:
        """Change the program."""
        chosen = [node for node in self.program.operations() if self._qualifies(node)]
        readers = set(chosen)
        for node in self.program.placeholders():
            narrow = self.program.is_input(node) and dtype_of(node) in _WIDER and node.users
            if narrow and all(user in readers for user in node.users):
                self.program.set_dtype(node, torch.int16)
        for node in chosen:
            for source in node.all_input_nodes:
                if dtype_of(source) in _WIDER:
                    node.replace_input_with(source, self.program.cast(source, torch.int16))
            before = dtype_of(node)
            update_value(node)
            if before in _WIDER:
                self._cast_back(node, readers, before)
        self._cast_example_inputs()
        self.program.finish()

    def _qualifies(self, node: fx.Node) -> bool:
        if node.target not in _COMPUTE or node in self.constants or node in self.leads_to_index:
            return False
        sources = node.all_input_nodes
        others = [a for a in node.args if not isinstance(a, fx.Node)]
        if len(node.args) - len(others) < 2:  # with a number there is no second tensor
            return False
        integers = [source for source in sources if dtype_of(source) in _WIDER]
        return bool(integers) and all(
            self._fits(source) for source in integers if source in self.constants
        )

    def _fits(self, node: fx.Node) -> bool:
        """Whether a constant lies within int16; one that is computed is not looked into."""
        tensor = self.program.tensor(node)
        if packet(node) in SHAPE_ONLY:
            return all(self._fits(source) for source in node.all_input_nodes)
        if tensor is None:
            return _small_arange(node)
        if tensor.numel() == 0:
            return True
        low, high = tensor.aminmax()
        return _RANGE.min <= int(low) and int(high) <= _RANGE.max

    def _cast_back(self, node: fx.Node, readers: set[fx.Node], dtype: torch.dtype) -> None:
        others = [user for user in node.users if user not in readers]
        if not others:
            return
        wide = self.program.cast(node, dtype)
        for user in others:
            if user.op == "output":
                results = [wide if r is node else r for r in self.program.results()]
                self.program.set_output(results)
            else:
                user.replace_input_with(node, wide)

    def _cast_example_inputs(self) -> None:
        exported = self.program.exported
        if exported.example_inputs is None:
            return
        names = list(exported.graph_signature.user_inputs)
        nodes = {node.name: node for node in self.program.placeholders()}
        leaves, spec = pytree.tree_flatten(exported.example_inputs)
        for index, (name, leaf) in enumerate(zip(names, leaves, strict=True)):
            if isinstance(leaf, torch.Tensor) and dtype_of(nodes.get(name)) is torch.int16:
                leaves[index] = leaf.to(torch.int16)
        exported.example_inputs = pytree.tree_unflatten(leaves, spec)


def _leading_to_index(program: Program) -> set[fx.Node]:
    """Nodes whose integers are used as positions, at once or further on."""
    found: set[fx.Node] = set()
    for node in reversed(program.operations()):
        places = _INDEXED.get(packet(node), ())
        used = [node.args[place] for place in places if place < len(node.args)]
        for argument in used:
            several = argument if isinstance(argument, list | tuple) else [argument]
            found.update(item for item in several if isinstance(item, fx.Node))
        if node in found:
            found.update(source for source in node.all_input_nodes if not _is_float(source))
    return found


def _is_float(node: fx.Node) -> bool:
    dtype = dtype_of(node)
    return dtype is not None and dtype.is_floating_point


def _small_arange(node: fx.Node) -> bool:
    if packet(node) is not aten.arange:
        return False
    numbers = [a for a in node.args if isinstance(a, int | float)]
    return len(numbers) == len(node.args) and all(_RANGE.min <= n <= _RANGE.max for n in numbers)
