"""An exported program as the casting passes see it: nodes, the tensors behind them, and casts."""

from __future__ import annotations

import torch
from torch import fx, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, TensorArgument
from torch.fx.experimental.symbolic_shapes import statically_known_true

from quant_torch._torch_internals import FakeTensor, pytree

aten = torch.ops.aten

SHAPE_ONLY = frozenset({
    aten.view, aten.reshape, aten._unsafe_view, aten.permute, aten.transpose, aten.t,
    aten.slice, aten.select, aten.squeeze, aten.unsqueeze, aten.expand, aten.clone, aten.cat,
    aten.alias, aten.detach, aten.contiguous, aten.flatten, aten.repeat, aten.flip, aten.split,
    aten.split_with_sizes, aten.stack, aten.index_select, aten.lift_fresh_copy,
})  # fmt: skip
"""Operations whose results hold elements of their inputs and nothing else."""

_CREATION = frozenset({
    aten.full, aten.zeros, aten.ones, aten.empty, aten.arange, aten.scalar_tensor, aten.eye,
    aten.linspace,
})  # fmt: skip


class Program:
    """An ``ExportedProgram`` that is being changed.

    Attributes:
        exported: The program.
        graph: Its graph.
    """

    def __init__(self, exported: ExportedProgram) -> None:
        self.exported = exported
        self.graph = exported.graph_module.graph
        self._casts: dict[tuple[fx.Node, torch.dtype], fx.Node] = {}
        # Keyed by the tensor that was there before, so that shared tensors stay shared.
        self._replaced: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        specs = exported.graph_signature.input_specs
        self._specs = {s.arg.name: s for s in specs if isinstance(s.arg, TensorArgument)}

    def operations(self) -> list[fx.Node]:
        """The operations, in order."""
        return [node for node in self.graph.nodes if node.op == "call_function"]

    def placeholders(self) -> list[fx.Node]:
        """Parameters, buffers, constants and inputs of the user."""
        return [node for node in self.graph.nodes if node.op == "placeholder"]

    def is_input(self, node: fx.Node) -> bool:
        """Whether a node is an input of the user."""
        spec = self._specs.get(node.name)
        return node.op == "placeholder" and (spec is None or spec.kind is InputKind.USER_INPUT)

    def tensor(self, node: fx.Node) -> torch.Tensor | None:
        """The parameter, buffer or constant behind a placeholder."""
        holder, name = self._holder(node)
        return None if holder is None else holder[name]

    def constants(self) -> set[fx.Node]:
        """Nodes that follow from parameters, buffers and numbers alone."""
        found: set[fx.Node] = set()
        for node in self.graph.nodes:
            if node.op == "placeholder":
                constant = self.tensor(node) is not None and not self._is_mutated(node)
            elif node.op == "call_function":
                sources = node.all_input_nodes
                constant = all(s in found for s in sources)
                constant = constant and (bool(sources) or packet(node) in _CREATION)
            else:
                constant = node.op == "get_attr"
            if constant:
                found.add(node)
        return found

    def replace_tensor(self, node: fx.Node, new: torch.Tensor) -> None:
        """Put another tensor behind a placeholder; shared ones are replaced together."""
        holder, name = self._holder(node)
        if holder is None:
            raise KeyError(f"{node.name} is no parameter, buffer or constant of the program")
        old = holder[name]
        if id(old) in self._replaced:
            new = self._replaced[id(old)][1]
        elif isinstance(old, nn.Parameter):
            new = nn.Parameter(new, requires_grad=old.requires_grad and new.is_floating_point())
        self._replaced[id(old)] = (old, new)
        holder[name] = new

    def set_dtype(self, node: fx.Node, dtype: torch.dtype) -> None:
        """Say that a placeholder has another dtype."""
        value = node.meta["val"]
        with value.fake_mode:
            node.meta["val"] = value.to(dtype)

    def cast(self, node: fx.Node, dtype: torch.dtype) -> fx.Node:
        """The value of a node in another dtype; one cast serves all its readers."""
        if dtype_of(node) == dtype:
            return node
        known = self._casts.get((node, dtype))
        if known is None:
            with self.graph.inserting_after(_last_of(node)):
                known = self.graph.create_node(
                    "call_function",
                    aten._to_copy.default,
                    (node,),
                    {"dtype": dtype},
                    name=f"{node.name}_to_{str(dtype).removeprefix('torch.')}",
                )
            update_value(known)
            self._casts[node, dtype] = known
        return known

    def set_output(self, results: list[object]) -> None:
        """Give the program other results, in the same number and order."""
        output = self.graph.output_node()
        output.args = (tuple(results),)
        for spec, result in zip(self.exported.graph_signature.output_specs, results, strict=True):
            if isinstance(result, fx.Node):
                spec.arg.name = result.name

    def results(self) -> list[object]:
        """What the program returns: mutated buffers first, then the outputs."""
        return list(self.graph.output_node().args[0])

    def cast_example_inputs(self, old: torch.dtype, new: torch.dtype) -> None:
        """Let the example inputs follow the inputs of the user."""
        if self.exported.example_inputs is not None:
            self.exported.example_inputs = pytree.tree_map(
                lambda x: x.to(new) if isinstance(x, torch.Tensor) and x.dtype is old else x,
                self.exported.example_inputs,
            )

    def finish(self) -> None:
        """Drop what is not used any more and check the graph."""
        asserts = aten._assert_tensor_metadata.default
        for node in self.operations():
            if node.target is asserts:  # they state dtypes that were true at export
                self.graph.erase_node(node)
        self.graph.eliminate_dead_code()
        self.graph.lint()
        self.exported.graph_module.recompile()

    def _holder(self, node: fx.Node) -> tuple[dict[str, torch.Tensor] | None, str]:
        spec = self._specs.get(node.name)
        if node.op != "placeholder" or spec is None or spec.target is None:
            return None, ""
        for holder in (self.exported.state_dict, self.exported.constants):
            if isinstance(holder.get(spec.target), torch.Tensor):
                return holder, spec.target
        return None, ""

    def _is_mutated(self, node: fx.Node) -> bool:
        target = self._specs[node.name].target
        return target in self.exported.graph_signature.buffers_to_mutate.values()


def dtype_of(node: object) -> torch.dtype | None:
    """Dtype of a node whose value is one tensor."""
    value = node.meta.get("val") if isinstance(node, fx.Node) else None
    return value.dtype if isinstance(value, torch.Tensor) else None


def packet(node: fx.Node) -> object:
    """The operator of a node without its overload."""
    return getattr(node.target, "overloadpacket", node.target)


def _last_of(node: fx.Node) -> fx.Node:
    """Where a reader of the node may be inserted: placeholders stay in front."""
    if node.op != "placeholder":
        return node
    last = node
    while last.next.op == "placeholder":
        last = last.next
    return last


def update_value(node: fx.Node) -> None:
    """Compute the shape and dtype of an operation from those of its arguments."""

    def value(argument: fx.Node) -> object:
        return argument.meta["val"]

    args, kwargs = fx.node.map_arg((node.args, dict(node.kwargs)), value)
    fakes = [a for a in pytree.tree_leaves((args, kwargs)) if isinstance(a, FakeTensor)]
    old = [a for a in pytree.tree_leaves(node.meta.get("val")) if isinstance(a, FakeTensor)]
    mode = next((a.fake_mode for a in (*fakes, *old)), None)
    if mode is None:
        return
    with mode:
        new = node.target(*args, **kwargs)
    # Shapes are what they were; a symbol must not be replaced by a new one of the same size.
    kept = node.meta.get("val")
    if isinstance(new, FakeTensor) and isinstance(kept, FakeTensor) and _same_shape(new, kept):
        with mode:
            new = torch.empty_strided(kept.shape, new.stride(), dtype=new.dtype, device=new.device)
    node.meta["val"] = new


def _same_shape(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.dim() != b.dim():
        return False
    return all(statically_known_true(m == n) for m, n in zip(a.shape, b.shape, strict=True))
