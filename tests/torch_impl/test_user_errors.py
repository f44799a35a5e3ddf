"""What a user sees who gives the quantizer something that it cannot take."""

from __future__ import annotations

import copy
import io
import multiprocessing.reduction
import os
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from quant_torch.quantization import ExampleInputsError, Quantizer, QuantizerConfig
from quant_torch.quantization._graph.capture import GraphCaptureError
from quant_torch.quantization.spec import FakeQuantizeImplBase

MODES = ("eager", "graph")


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(torch.relu(self.conv(x)).mean((2, 3)))


X = torch.linspace(-1, 1, 4 * 3 * 5 * 5).reshape(4, 3, 5, 5)


def quantizer(mode: str, model: nn.Module | None = None, **options: Any) -> Quantizer:
    config = QuantizerConfig(execution_mode=mode, **options)
    return Quantizer((model or Net()).eval(), config)


@pytest.fixture(params=MODES)
def mode(request: pytest.FixtureRequest) -> str:
    return request.param


class TestExampleInputs:
    @pytest.mark.parametrize(
        ("given", "named"),
        [
            (torch.ones(4, 3, 5, 5, dtype=torch.int64), r"x int64\[4, 3, 5, 5\]"),
            (torch.ones(4, 3, 5, 5, dtype=torch.uint8), r"x uint8\[4, 3, 5, 5\]"),
            (X.double(), r"x float64\[4, 3, 5, 5\]"),
        ],
    )
    def test_another_dtype(self, mode: str, given: torch.Tensor, named: str) -> None:
        with pytest.raises(ExampleInputsError) as error:
            quantizer(mode).prepare((given,))
        error.match(rf"Net\.forward fails on the example inputs {named}: RuntimeError: Input type")
        error.match(r"the parameters are float32: .* give x\.to\(torch\.float32\)")
        error.match(r"test_user_errors\.py:\d+, in forward")

    def test_another_shape(self, mode: str) -> None:
        with pytest.raises(ExampleInputsError) as error:
            quantizer(mode).prepare((X[:, :2],))
        error.match(r"x float32\[4, 2, 5, 5\].*expected input\[4, 2, 5, 5\] to have 3 channels")
        assert "are not converted" not in str(error.value)

    def test_the_model_is_as_before(self, mode: str) -> None:
        model = Net().eval()
        before = model(X)
        with pytest.raises(ExampleInputsError):
            quantizer(mode, model).prepare((X[:, :2],))
        assert torch.equal(model(X), before)
        assert quantizer(mode, model).prepare((X,)) is not None

    def test_indices_stay_allowed(self, mode: str) -> None:
        model = nn.Sequential(nn.Embedding(8, 4), nn.Linear(4, 2))
        assert quantizer(mode, model).prepare((torch.tensor([[1, 2]]),)) is not None

    def test_a_batch_that_was_unpacked(self, mode: str) -> None:
        with pytest.raises(TypeError) as error:
            quantizer(mode).prepare(tuple(X))
        error.match(r"Net\.forward\(x: .*\) .* does not take these example inputs: too many")
        error.match(r"given 4 tensors of one shape, float32\[3, 5, 5\].*write \(x,\) and not")

    def test_an_argument_too_many(self, mode: str) -> None:
        with pytest.raises(TypeError, match=r"too many positional arguments$"):
            quantizer(mode).prepare((X, 3))

    def test_no_argument(self, mode: str) -> None:
        with pytest.raises(TypeError, match="missing a required argument: 'x'"):
            quantizer(mode).prepare(())

    def test_an_array(self, mode: str) -> None:
        with pytest.raises(ExampleInputsError, match="example inputs no tensor: TypeError: conv2d"):
            quantizer(mode).prepare((np.zeros((1, 3, 5, 5), np.float32),))

    def test_no_elements(self, mode: str) -> None:
        with pytest.raises(ValueError, match=r"x|conv.*: a tensor without elements.*\[RANGE-5\]"):
            quantizer(mode).prepare((X[:0],))

    def test_nested_inputs_are_named(self, mode: str) -> None:
        class Nested(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.fc = nn.Linear(4, 2)

            def forward(self, parts: dict[str, list[torch.Tensor]]) -> torch.Tensor:
                return self.fc(parts["a"][0])

        with pytest.raises(ExampleInputsError, match=r"parts\['a'\]\[0\] int64\[2, 4\]"):
            quantizer(mode, Nested()).prepare(({"a": [torch.ones(2, 4, dtype=torch.int64)]},))


class TestDynamicAxes:
    @pytest.mark.parametrize("form", ["by_name", "by_place", "axes_in_a_tuple"])
    def test_a_batch_of_one(self, form: str) -> None:
        batch = torch.export.Dim("batch")
        shapes: Any = {
            "by_name": {"x": {0: batch}},
            "by_place": ({0: batch},),
            "axes_in_a_tuple": ((batch, None, None, None),),
        }[form]
        with pytest.raises(RuntimeError, match=r"Axis 0 of .* is dynamic.* is 1: .*size 2 or more"):
            quantizer("graph").prepare((X[:1],), dynamic_shapes=shapes)

    def test_no_such_hint_for_another_failure(self) -> None:
        class Branches(nn.Module):
            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x if x.sum() > 0 else -x

        given = [(X, torch.export.Dim("batch"))]
        given += [(X[:1], dim) for dim in (torch.export.Dim.STATIC, torch.export.Dim.AUTO)]
        for x, dim in given:
            with pytest.raises(RuntimeError) as error:
                quantizer("graph", Branches()).prepare((x,), dynamic_shapes=({0: dim},))
            assert "is dynamic" not in str(error.value)

    def test_a_name_that_a_graph_has_no_room_for(self) -> None:
        model = Net()
        model.register_buffer("meta", torch.ones(1))
        with pytest.raises(GraphCaptureError, match="'meta' already exists"):
            quantizer("graph", model).prepare((X,))


class TestCalibration:
    def finalized(self, mode: str, prepare: Any = None, **options: Any) -> list[str]:
        """The messages of warnings that finalize gives."""
        made = quantizer(mode, **options)
        prepared = made.prepare((X,))
        if prepare is not None:
            prepare(made, prepared)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            made.finalize(backend="coreml")
        assert all(w.filename == __file__ for w in caught)
        return [str(w.message) for w in caught]

    def test_activations_are_named(self, mode: str) -> None:
        (message,) = self.finalized(mode)
        assert "the model was not calibrated" in message
        for name in ("conv.conv2d", "fc.linear") if mode == "eager" else ("x", "relu", "linear"):
            assert name in message

    def test_none_after_calibration(self, mode: str) -> None:
        def calibrate(made: Quantizer, prepared: nn.Module) -> None:
            with made.calibration_mode():
                prepared(X)

        assert self.finalized(mode, calibrate) == []

    def test_a_context_without_data_is_no_calibration(self, mode: str) -> None:
        def calibrate(made: Quantizer, prepared: nn.Module) -> None:
            with made.calibration_mode():
                pass

        assert len(self.finalized(mode, calibrate)) == 1

    def test_none_after_training(self, mode: str) -> None:
        def train(made: Quantizer, prepared: nn.Module) -> None:
            with made.training_mode():
                prepared(X).sum().backward()

        assert self.finalized(mode, train) == []

    def test_none_of_batches_that_are_counted(self, mode: str) -> None:
        """In training, batch norm adds to an integer, which prepare does not reach."""
        made = quantizer(mode, nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            prepared = made.prepare((X,)).train()
            prepared(X)
            with made.training_mode():
                prepared(X)
            made.finalize()
        names = [m.tensor_name for m in prepared.modules() if isinstance(m, FakeQuantizeImplBase)]
        assert not [name for name in names if "add" in name]

    def test_none_after_loading(self, mode: str) -> None:
        def load(made: Quantizer, prepared: nn.Module) -> None:
            prepared.load_state_dict(prepared.state_dict())

        assert self.finalized(mode, load) == []

    def test_none_for_weights_alone(self, mode: str) -> None:
        weights = {"op_input_spec": None, "op_output_spec": None}
        assert self.finalized(mode, global_config=weights) == []

    def test_none_for_fixed_ranges(self, mode: str) -> None:
        fixed = {"*": {"float_range": [-1.0, 1.0]}}
        specs = {"op_input_spec": fixed, "op_output_spec": fixed}
        assert self.finalized(mode, global_config=specs) == []

    def test_only_some_names_of_many(self, mode: str) -> None:
        model = nn.Sequential(*(nn.Linear(3, 3) for _ in range(9)))
        made = quantizer(mode, model)
        made.prepare((torch.randn(2, 3),))
        with pytest.warns(UserWarning, match=r"and \d+ more come from the example inputs"):
            made.finalize(backend="coreml")


class TestPickling:
    @pytest.mark.parametrize("what", ["weights", "activations"])
    def test_an_eager_model_says_what_to_do(self, what: str) -> None:
        off = {"weights": ("op_input_spec", "op_output_spec"), "activations": ("op_state_spec",)}
        made = quantizer("eager", global_config=dict.fromkeys(off[what]))
        prepared = made.prepare((X,))
        for save in (
            pickle.dumps,
            lambda model: torch.save(model, io.BytesIO()),
            multiprocessing.reduction.ForkingPickler.dumps,
        ):
            with pytest.raises(
                TypeError, match=r"cannot be pickled .*save prepared\.state_dict\(\)"
            ):
                save(prepared)
        assert torch.equal(copy.deepcopy(prepared)(X), prepared(X))

    def test_its_state_dict_is_saved(self) -> None:
        made = quantizer("eager")
        prepared = made.prepare((X,))
        with made.calibration_mode():
            prepared(2 * X)
        stream = io.BytesIO()
        torch.save(prepared.state_dict(), stream)
        stream.seek(0)
        other = quantizer("eager", Net()).prepare((X,))
        other.load_state_dict(torch.load(stream))
        assert torch.equal(other(X), prepared(X))
        final = made.finalize(backend="coreml")
        with pytest.raises(TypeError, match="saved as its exported file"):
            pickle.dumps(final)

    def test_a_graph_model_is_pickled(self) -> None:
        prepared = quantizer("graph").prepare((X,))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch's own, about its own pickling
            again = pickle.loads(pickle.dumps(prepared))
        assert torch.equal(again(X), prepared(X))

    def test_it_is_known_to_its_quantizer(self) -> None:
        made = quantizer("graph")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            again = pickle.loads(pickle.dumps(made.prepare((X,))))
        with made.calibration_mode(again):
            again(3 * X)
        assert torch.allclose(made.finalize(backend="coreml")(3 * X), again(3 * X), atol=1e-5)


class TestPreparedParts:
    @pytest.mark.parametrize("inner", MODES)
    def test_a_model_with_a_prepared_part_is_refused(self, mode: str, inner: str) -> None:
        part = quantizer(inner, nn.Linear(5, 4)).prepare((X,))
        states = copy.deepcopy(part.state_dict())
        whole = nn.Sequential(part, nn.Linear(4, 4))
        with pytest.raises(RuntimeError, match="a part of it, is prepared already"):
            quantizer(mode, whole).prepare((X,))
        assert all(torch.equal(v, states[k]) for k, v in part.state_dict().items())

    @pytest.mark.parametrize(
        "switch", ["enable_observer", "disable_observer", "enable_fake_quant", "disable_fake_quant"]
    )
    def test_a_switch_before_prepare_is_named(self, mode: str, switch: str) -> None:
        with pytest.raises(RuntimeError, match=rf"^{switch}\(\) needs a prepared model"):
            getattr(quantizer(mode), switch)()


class TestTorchScript:
    """Eager mode cannot look inside; graph mode is refused by torch.export."""

    @pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
    def test_a_script_is_refused(self, mode: str) -> None:
        scripted = torch.jit.script(nn.Linear(5, 4))
        with pytest.raises((TypeError, RuntimeError), match=r"hides its operations|ScriptModule"):
            quantizer(mode, scripted).prepare((X,))

    @pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
    def test_a_part_is_named(self) -> None:
        scripted = torch.jit.script(nn.Sequential(nn.Linear(5, 4)))
        model = nn.Sequential(nn.Linear(5, 5), scripted)
        with pytest.warns(UserWarning, match="nothing is quantized inside 1: TorchScript"):
            prepared = quantizer("eager", model).prepare((X,))
        assert prepared[1](X).shape[-1] == 4


def test_lines_of_packages_that_begin_like_torch_are_named(mode: str) -> None:
    file = os.path.dirname(torch.__file__) + "vision/models/net.py"
    names: dict[str, Any] = {"nn": nn}
    text = "class Net(nn.Linear):\n    def forward(self, x):\n        raise ValueError('no')\n"
    exec(compile(text, file, "exec"), names)
    with pytest.raises(RuntimeError, match=rf"{re.escape(file)}:3, in forward"):
        quantizer(mode, names["Net"](5, 4)).prepare((X,))


def test_torchs_deprecations_stay_inside(mode: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = quantizer(mode)
        prepared = made.prepare((X,))
        with made.calibration_mode():
            prepared(X)
        made.finalize(backend="coreml")


@pytest.mark.filterwarnings("ignore:coremltools", "ignore::ImportWarning")
def test_nor_do_those_of_a_trace_for_core_ml(mode: str, tmp_path: Any) -> None:
    pytest.importorskip("coremltools")
    from quant_torch.export import to_coreml

    made = quantizer(mode, global_config={"op_input_spec": None, "op_output_spec": None})
    made.prepare((X,))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        to_coreml(made, (X,), tmp_path / "m.mlpackage")
    messages = [
        str(w.message) for w in caught if "torch" in str(w.message) and "deprecat" in str(w.message)
    ]
    assert messages == []
