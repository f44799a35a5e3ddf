"""Finalizing a model that graph mode prepared."""

from __future__ import annotations

import copy
import os
import re
from typing import Any

import torch
from torch import fx, nn

from quant_torch._backends import ExportBackend
from quant_torch._torch_internals import pytree
from quant_torch.quantization._evaluation import evaluating
from quant_torch.quantization._finalize.backends import FORMS, Forms
from quant_torch.quantization._finalize.facts import Facts, is_left_out
from quant_torch.quantization._finalize.refusals import refuse
from quant_torch.quantization._finalize.storage import Storage, values_of
from quant_torch.quantization._graph.batch_norm import BatchNorm, FoldedBias, FoldedWeight
from quant_torch.quantization._graph.train_mode import Dropout
from quant_torch.quantization.spec.fake_quantize import FakeQuantizeImplBase


def finalize_graph(
    model: fx.GraphModule, backend: ExportBackend, mmap_dir: str | os.PathLike[str] | None
) -> fx.GraphModule:
    """A new graph module in the operators of a backend, batch norms folded (BN-1, BN-2).

    The prepared model is not changed. Tensors that are not quantized are shared with it.

    Args:
        model: Prepared by graph mode.
        backend: The target.
        mmap_dir: Directory for large buffers, or None.

    Raises:
        ValueError: Something the backend cannot express.
        ImportError: The backend's package is not installed.
    """
    with evaluating(model), torch.no_grad():
        return _Finalizer(model, backend, mmap_dir).run()


class _Finalizer:
    """One graph on its way; ``graph`` is a copy, whose nodes still name the modules of ``model``.

    Args:
        model: The prepared model.
        backend: The target.
        mmap_dir: Directory for large buffers, or None.
    """

    def __init__(
        self,
        model: fx.GraphModule,
        backend: ExportBackend,
        mmap_dir: str | os.PathLike[str] | None,
    ) -> None:
        self.model = model
        self.backend = backend
        self.mmap_dir = mmap_dir
        self.forms: Forms = FORMS[backend]
        self.graph: fx.Graph = copy.deepcopy(model.graph)
        self.made: dict[str, Any] = {}  # modules and tensors that the prepared model lacks
        self.annotated: list[tuple[Facts, fx.Node]] = []

    def run(self) -> fx.GraphModule:
        """The finalized model; see :func:`finalize_graph`."""
        for node in self._calls(FakeQuantizeImplBase):
            if is_left_out(self._module(node)):
                self._replace(node, node.args[0])
        self._drop_aliases()
        nodes = self._calls(FakeQuantizeImplBase)
        facts = {node: self._facts(node) for node in nodes}
        refuse(self.backend, {f.quantizer: f for f in facts.values()}.values())
        self.forms.load()
        storage = Storage(self.mmap_dir)
        for node, known in facts.items():
            if known.role == "weight":
                self._place_weight(node, known, storage)
            else:
                if node.target not in self.made:
                    self.made[node.target] = self.forms.activation(known)
        self._fold_batch_norms()
        return self._built()

    def _drop_aliases(self) -> None:
        """An export makes one of a slice that takes all, and coremltools has no name for it."""
        for node in list(self.graph.nodes):
            if node.target is torch.ops.aten.alias.default:
                self._replace(node, node.args[0])

    def _facts(self, node: fx.Node) -> Facts:
        quantizer, source = self._module(node), node.args[0]
        value = source.meta.get("val")
        if quantizer.quantization_target == "weight" and _is_constant(source):
            value = self._value(source) if value is None else value
            return Facts(quantizer, "weight", tuple(value.shape), value.dtype)
        return Facts(quantizer, "activation", dtype=getattr(value, "dtype", None))

    def _place_weight(self, node: fx.Node, facts: Facts, storage: Storage) -> None:
        tensor = self._value(node.args[0])
        if self.forms.weight is not None:
            made: Any = self.forms.weight(facts, tensor, storage)
        else:
            values = storage.keep(values_of(facts, tensor), facts.name)
            made = nn.Parameter(values, requires_grad=False)
        new = self._replace_by(node, made, facts.name)
        if self.forms.weight is None:
            self.annotated.append((facts, new))

    def _fold_batch_norms(self) -> None:
        for node in self._calls((FoldedWeight, FoldedBias)):
            value = self._value(node).clone()
            self._replace_by(node, nn.Parameter(value, requires_grad=False), str(node.target))
        for node in self._calls(Dropout):
            self._replace(node, node.args[0])
        for node in self._calls(BatchNorm):
            norm = self._module(node)
            if norm.folded:
                self._replace(node, node.args[0])
                continue
            x, _, gamma, beta, mean, variance, *_ = node.args
            with self.graph.inserting_before(node):
                new = self.graph.call_function(
                    torch.ops.aten.batch_norm.default,
                    (x, gamma, beta, mean, variance, False, 0.0, norm.eps, False),
                )
            new.meta = dict(node.meta)
            self._replace(node, new)

    def _built(self) -> fx.GraphModule:
        attributes: dict[str, Any] = {}
        for node in self.graph.nodes:
            if node.op in ("get_attr", "call_module"):
                attributes[node.target] = self._attribute(node.target)
        finalized = fx.GraphModule(attributes, self.graph, type(self.model).__name__)
        for facts, node in self.annotated:
            owner, _, attribute = node.target.rpartition(".")
            self.forms.annotate(facts, finalized.get_submodule(owner), attribute)
        if self.forms.mark is not None:
            self.forms.mark(finalized)
        self.graph.lint()
        return finalized.eval()

    def _calls(self, kind: type | tuple[type, ...]) -> list[fx.Node]:
        return [
            node
            for node in self.graph.nodes
            if node.op == "call_module"
            and node.target not in self.made
            and isinstance(self._module(node), kind)
        ]

    def _module(self, node: fx.Node) -> Any:
        return self.model.get_submodule(node.target)

    def _attribute(self, target: str) -> Any:
        if target in self.made:
            return self.made[target]
        owner, _, attribute = target.rpartition(".")
        return getattr(self.model.get_submodule(owner), attribute)

    def _value(self, node: Any, known: dict[fx.Node, Any] | None = None) -> Any:
        """The value of a node that follows from the model's states alone.

        Args:
            node: The node, or a number in its place.
            known: Values found so far; extended.
        """
        if not isinstance(node, fx.Node):
            return node
        known = {} if known is None else known
        if node not in known:
            known[node] = self._computed(node, known)
        return known[node]

    def _computed(self, node: fx.Node, known: dict[fx.Node, Any]) -> Any:
        if node.op == "get_attr":
            return self._attribute(node.target).detach()
        args, kwargs = fx.node.map_arg(
            (node.args, node.kwargs), lambda source: self._value(source, known)
        )
        function = node.target
        if node.op == "call_module":
            # What is computed from a quantized weight comes after its codes.
            made = self.made.get(node.target)
            function = made if isinstance(made, nn.Module) else self._module(node)
        # A parameter that is taken apart gives a list or a tuple of tensors.
        return pytree.tree_map_only(torch.Tensor, torch.Tensor.detach, function(*args, **kwargs))

    def _replace_by(self, node: fx.Node, made: Any, wanted: str) -> fx.Node:
        """Replace a node by a new tensor or module, under a name that is free."""
        op = "get_attr"
        if isinstance(made, nn.Module):
            op, wanted = "call_module", f"{wanted}_quantized"
        label = re.sub(r"\W+", "_", wanted)
        with self.graph.inserting_before(node):
            new = self.graph.create_node(op, "", name=label)
        new.meta = dict(node.meta)
        self._replace(node, new)
        path = wanted if _is_path(wanted) else label
        taken = {n.target for n in self.graph.nodes if n.op in ("get_attr", "call_module")}
        new.target, count = path, 0
        while new.target in taken or new.target in self.made:
            count += 1
            new.target = f"{path}_{count}"
        self.made[new.target] = made
        return new

    def _replace(self, node: fx.Node, new: Any) -> None:
        node.replace_all_uses_with(new)
        self._erase(node)

    def _erase(self, node: fx.Node) -> None:
        """Erase a node and the states that nothing else reads."""
        sources = node.all_input_nodes
        self.graph.erase_node(node)
        for source in sources:
            if not source.users and _is_constant(source):
                self._erase(source)


def _is_constant(node: Any) -> bool:
    """Whether a value follows from the model's states alone."""
    waiting, seen = [node] if isinstance(node, fx.Node) else [], set()
    while waiting:
        current = waiting.pop()
        if current.op == "placeholder":
            return False
        if current not in seen:
            seen.add(current)
            waiting += current.all_input_nodes
    return True


def _is_path(name: str) -> bool:
    return all(part.isidentifier() or part.isdecimal() for part in name.split("."))
