"""quant-torch-graph: cases answered by models that the Quantizer prepared in graph mode.

Capturing a graph costs a fixed time, so a model has a cell for each of many cases. A cell
multiplies by one, which is exact: its weight, or its input, to which the spec of the case is given
by the name of the cell. Qparams are read from the prepared model or loaded into its state, further
batches are calibrated (for weights trained), as a user would.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from quant_conformance.backends._torch_arrays import to_numpy, to_torch
from quant_conformance.backends._torch_lifecycles import TorchLifecycle
from quant_conformance.backends.quant_torch import QuantTorch, _as_qparams, _state
from quant_conformance.operations import OPERATIONS
from quant_conformance.protocol import Array
from quant_reference import QParams, QuantizationSpec
from quant_reference.lifecycle import Lifecycle, Trace

if TYPE_CHECKING:
    from quant_vectors import Case

CELLS = 128
"""Cases per model: more would save little of the fixed time."""

_OFF: dict[str, Any] = {"op_input_spec": None, "op_output_spec": None, "op_state_spec": None}


@dataclass
class Cell:
    """A case on its way through a model.

    Attributes:
        spec: Spec in the Quantizer's form.
        target: ``"weight"`` or ``"activation"``.
        tensors: What the model sees, one after the other.
        qparams: Qparams to load, or None to read those that come about.
        grad: Gradient of the output, or None.
        codes: Whether the codes of the tensor are wanted.
        answer: Qparams, output, codes or gradient, once the model has run.
    """

    spec: Any
    target: str
    tensors: list[Any]
    qparams: QParams | None = None
    grad: Any = None
    codes: bool = False
    answer: Any = None

    @property
    def kind(self) -> tuple[Hashable, ...]:
        """What cells of one model have in common."""
        return (self.target, len(self.tensors), self.qparams is None, self.grad is None)


@dataclass
class _Waiting:
    """Cells by the arguments that they answer, and those answered already."""

    asked: dict[Hashable, Cell] = field(default_factory=dict)
    answered: dict[Hashable, Any] = field(default_factory=dict)


class QuantTorchGraph(QuantTorch):
    """Whole models prepared in graph mode, many cases to a model.

    The families range, dequantize and invalid_spec, which no model shows, are those of the modules.
    """

    name = "quant-torch-graph"
    patience = 6.0  # a case may wait for a model to be compiled

    def __init__(self) -> None:
        super().__init__()
        self._cells = _Waiting()

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        """Notes what will be asked, so that one model can answer many cases."""
        builders = self._builders()
        for case, tensors in questions:
            operation = OPERATIONS[case.operation]
            if operation.method not in builders or case.result is not None:
                continue  # what must be refused would spoil a model for the others
            arguments = operation.arguments(case, tensors)
            try:
                cell = builders[operation.method](*arguments)
            except Exception:  # noqa: S112 (the method itself will say so, as the case's verdict)
                continue
            self._cells.asked.setdefault(_key(operation.method, arguments), cell)

    def placement(self, model_id: str, mode: str) -> Any:
        """Where quantizers are in one of the suite's models, in either mode."""
        from quant_conformance.models import build
        from quant_torch.inspection.placement import placement

        built = build(model_id, mode)
        config = self._quantization.QuantizerConfig.model_validate(built.config)
        prepared = self._quantization.Quantizer(built.model, config).prepare(built.example_inputs)
        return [
            (placed.tensor, placed.spec.model_dump(mode="json"), placed.target, placed.group)
            for placed in placement(prepared)
        ]

    def lifecycle(self, life: Lifecycle) -> Trace:
        """The Quantizer in graph mode."""
        import quant_torch

        return TorchLifecycle(quant_torch, self._parts.FakeQuantizeImplBase, "graph", life).live()

    def qparams(self, x: Array, spec: QuantizationSpec, target: str) -> QParams:
        answer: QParams = self._answer("qparams", (x, spec, target))
        return answer

    def observe(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float = 0.01,
    ) -> QParams:
        arguments = (batches, spec, target, kind, averaging_constant)
        answer: QParams = self._answer("observe", arguments)
        return answer

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return to_numpy(self._answer("quantize", (x, spec, qparams)))

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return to_numpy(self._answer("fake_quantize", (x, spec, qparams)))

    def gradient(self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return to_numpy(self._answer("gradient", (x, grad, spec, qparams)))

    def _builders(self) -> dict[str, Callable[..., Cell]]:
        return {
            "qparams": self._qparams_cell,
            "observe": self._observe_cell,
            "quantize": self._quantize_cell,
            "fake_quantize": self._fake_quantize_cell,
            "gradient": self._gradient_cell,
        }

    def _qparams_cell(self, x: Array, spec: QuantizationSpec, target: str) -> Cell:
        return _checked(Cell(self._spec(spec), target, [to_torch(x)]))

    def _observe_cell(
        self,
        batches: Sequence[Array],
        spec: QuantizationSpec,
        target: str,
        kind: str,
        averaging_constant: float,
    ) -> Cell:
        if kind == "dynamic":
            raise NotImplementedError("a model does not show the qparams it forgets")
        if len({(batch.dtype, batch.ndim) for batch in batches}) != 1:
            raise NotImplementedError("a model takes batches of any rank and dtype")
        if target == "weight" and len({batch.shape for batch in batches}) != 1:
            raise NotImplementedError("a weight keeps its shape")
        theirs = self._spec(spec, kind, averaging_constant)
        return _checked(Cell(theirs, target, [to_torch(batch) for batch in batches]))

    def _fake_quantize_cell(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Cell:
        if qparams.scale.dtype.name != "float32":
            raise NotImplementedError("load_state_dict converts a scale to float32")
        target = self._target(spec, qparams, x.shape)
        return _checked(Cell(self._given(spec), target, [to_torch(x)], qparams))

    def _quantize_cell(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Cell:
        cell = self._fake_quantize_cell(x, spec, qparams)
        cell.codes = True
        return cell

    def _gradient_cell(
        self, x: Array, grad: Array, spec: QuantizationSpec, qparams: QParams
    ) -> Cell:
        if grad.dtype != x.dtype:
            raise NotImplementedError("autograd converts a gradient to the dtype of its tensor")
        cell = self._fake_quantize_cell(x, spec, qparams)
        cell.grad = to_torch(grad)
        return cell

    def _answer(self, method: str, arguments: tuple[Any, ...]) -> Any:
        key = _key(method, arguments)
        if key not in self._cells.answered:
            cell = self._cells.asked.pop(key, None) or self._builders()[method](*arguments)
            keys = [key, *self._of_kind(cell.kind)]
            cells = [cell, *(self._cells.asked.pop(k) for k in keys[1:])]
            self._run(cells)
            for answered_key, answered in zip(keys, cells, strict=True):
                self._cells.answered[answered_key] = answered.answer
        answer = self._cells.answered[key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _of_kind(self, kind: tuple[Hashable, ...]) -> list[Hashable]:
        """Further cells for the same model."""
        alike = (k for k, cell in self._cells.asked.items() if cell.kind == kind)
        return [k for k, _ in zip(alike, range(CELLS - 1), strict=False)]

    def _run(self, cells: list[Cell]) -> None:
        """Answer cells by one model; alone, if it fails with all of them."""
        try:
            self._run_model(cells)
        except Exception as error:
            if len(cells) == 1:
                cells[0].answer = error
                return
            for cell in cells:
                self._run([cell])

    def _run_model(self, cells: list[Cell]) -> None:
        torch = self._torch
        is_weight = cells[0].target == "weight"
        model = _model(torch, [cell.tensors[0] for cell in cells], is_weight)
        quantizer = self._quantization.Quantizer(model, self._config(cells, is_weight))
        batches = list(zip(*(cell.tensors for cell in cells), strict=True))
        prepared = quantizer.prepare(() if is_weight else batches[0])
        modules = self._modules_by_cell(prepared, len(cells))
        if cells[0].qparams is not None:
            self._run_loaded(cells, prepared, modules, model)
            return
        for batch in batches[1:]:
            if is_weight:
                with quantizer.training_mode(), torch.no_grad():
                    for child, tensor in zip(model.cells, batch, strict=True):
                        child.weight.copy_(tensor)
                    prepared()
            else:
                with quantizer.calibration_mode(), torch.no_grad():
                    prepared(*batch)
        for cell, module in zip(cells, modules, strict=True):
            cell.answer = _as_qparams(module.calculate_qparams())

    def _run_loaded(self, cells: list[Cell], prepared: Any, modules: list[Any], model: Any) -> None:
        names = {id(module): name for name, module in prepared.named_modules()}
        state = prepared.state_dict()
        for cell, module in zip(cells, modules, strict=True):
            for field_name, value in _state(cell.qparams).items() if cell.qparams else ():
                state[f"{names[id(module)]}.qparams_calculator.{field_name}"] = value
        prepared.load_state_dict(state)
        if cells[0].target == "weight":
            leaves = [child.weight for child in model.cells]
            outputs = prepared()
        else:
            leaves = [cell.tensors[0].clone().requires_grad_() for cell in cells]
            outputs = prepared(*leaves)
        if cells[0].grad is not None:
            self._torch.autograd.backward(outputs, [cell.grad for cell in cells])
        for cell, module, leaf, output in zip(cells, modules, leaves, outputs, strict=True):
            if cell.codes:
                cell.answer = module.quantize(leaf, *module.calculate_qparams())
            else:
                cell.answer = output if cell.grad is None else leaf.grad

    def _prepared(self, model: Any, example: Any, **specs: Any) -> tuple[Any, Any]:
        q = self._quantization
        config = q.ModuleQuantizerConfig(**(_OFF | specs))
        quantizer = q.Quantizer(model.eval(), q.QuantizerConfig(global_config=config))
        return quantizer.prepare((example,)), quantizer

    def _config(self, cells: Iterable[Cell], is_weight: bool) -> Any:
        q = self._quantization
        field_name, key = ("op_state_spec", "weight") if is_weight else ("op_input_spec", 0)
        names = {
            rf"cells\.{i}": q.ModuleQuantizerConfig(**(_OFF | {field_name: {key: cell.spec}}))
            for i, cell in enumerate(cells)
        }
        return q.QuantizerConfig(
            global_config=None,
            module_name_configs=names,
            execution_mode=q.ExecutionMode.GRAPH,
        )

    def _modules_by_cell(self, prepared: Any, count: int) -> list[Any]:
        """The fake-quantize module of each cell, by the operation that reads what it gives.

        Raises:
            ValueError: A cell has none: its blocks do not fit.
        """
        found: dict[str, Any] = {}
        for node in prepared.graph.nodes:
            if node.op == "call_module":
                module = prepared.get_submodule(node.target)
                if isinstance(module, self._parts.FakeQuantizeImplBase):
                    (reader,) = node.users
                    name, _ = list(reader.meta["nn_module_stack"].values())[-1]
                    found[name] = module
        missing = [i for i in range(count) if f"cells.{i}" not in found]
        if missing:
            raise ValueError(f"left unquantized: cells {missing}")
        return [found[f"cells.{i}"] for i in range(count)]


def _checked(cell: Cell) -> Cell:
    if any(tensor.numel() == 0 for tensor in cell.tensors):
        raise NotImplementedError("a model is prepared with a tensor that has elements")
    if cell.target == "weight" and cell.spec.granularity.needs_axis:
        raise NotImplementedError("Quantizer fills in the axis that is missing")
    return cell


def _model(torch: Any, tensors: Sequence[Any], is_weight: bool) -> Any:
    """A model with one cell per tensor; weights are parameters, activations its inputs."""

    class CellModule(torch.nn.Module):
        def __init__(self, tensor: Any) -> None:
            super().__init__()
            self.register_buffer("one", torch.ones((), dtype=tensor.dtype))
            if is_weight:
                self.weight = torch.nn.Parameter(tensor.clone())

        def forward(self, *x: Any) -> Any:
            return torch.mul(self.weight if is_weight else x[0], self.one)

    class Cells(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cells = torch.nn.ModuleList(CellModule(tensor) for tensor in tensors)

        def forward(self, *inputs: Any) -> tuple[Any, ...]:
            given = [()] * len(self.cells) if is_weight else [(x,) for x in inputs]
            return tuple(cell(*x) for cell, x in zip(self.cells, given, strict=True))

    return Cells().eval()


def _key(method: str, arguments: Iterable[Any]) -> Hashable:
    return (method, *(_hashable(argument) for argument in arguments))


def _hashable(value: Any) -> Hashable:
    if isinstance(value, QParams):
        return tuple(_hashable(v) for v in (value.scale, value.zero_point, value.minval))
    if isinstance(value, list | tuple):
        return tuple(_hashable(v) for v in value)
    if hasattr(value, "tobytes"):
        return (value.dtype.name, value.shape, value.tobytes())
    return str(value.to_dict()) if isinstance(value, QuantizationSpec) else value
