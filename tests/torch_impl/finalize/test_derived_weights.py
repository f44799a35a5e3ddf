"""Weights that are pieces of larger parameters, or computed from several: stored as codes."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import Net
from torch import Tensor, nn
from torch._subclasses import FakeTensorMode
from torch.nn import functional
from torch.nn.utils import weight_norm

from quant_conformance.gate.check import Question, check_export
from quant_conformance.gate.recording.subject import Subject
from quant_reference.errors import InputError
from quant_torch import CoreMLExportError
from quant_torch.inspection.placement import placement
from quant_torch.quantization import Quantizer, QuantizerConfig

pytestmark = pytest.mark.filterwarnings("ignore")

MODES = ["graph", "eager"]
BACKENDS = ["coreai", "coreml"]


def normal(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


class Cross(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor, memory: Tensor) -> Tensor:
        found: Tensor = self.attention(x, memory, memory, need_weights=False)[0]
        return found


def packed(function: Callable[..., Any], *shape: int) -> Callable[[], nn.Module]:
    """A model whose function reads ``s.packed``."""

    def build() -> nn.Module:
        model = Net(function)
        model.packed = nn.Parameter(normal(*shape, seed=3))
        model.scales = nn.Parameter(normal(shape[0], 1, seed=4))
        return model

    return build


def _pieces(name: str) -> Callable[..., Tensor]:
    cut: dict[str, Callable[[Tensor], Any]] = {
        "chunk": lambda w: w.chunk(2)[1],
        "split": lambda w: torch.split(w, [3, 5])[1],
        "tensor_split": lambda w: w.tensor_split(2)[0],
        "unbind": lambda w: w.reshape(2, 4, 6).unbind(0)[1],
        "slice": lambda w: w[2:6],
        "select": lambda w: w.view(2, 4, 6)[1],
        "narrow": lambda w: torch.narrow(w, 0, 1, 4),
        "index": lambda w: w[[0, 3, 5]],
        "transpose": lambda w: w.reshape(6, 8).t(),
        "mT": lambda w: w.reshape(6, 8).mT,
    }
    return lambda s, x: functional.linear(x, cut[name](s.packed))


PIECES = [
    "chunk", "split", "tensor_split", "unbind", "slice", "select", "narrow", "index", "transpose",
    "mT",
]  # fmt: skip
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[Tensor, ...]]] = {
    "cross-attention": (Cross, (normal(2, 3, 8), normal(2, 5, 8, seed=1))),
    "decoder layer": (
        lambda: nn.TransformerDecoderLayer(8, 2, 16, batch_first=True),
        (normal(2, 3, 8), normal(2, 5, 8, seed=1)),
    ),
    "conv": (
        packed(
            lambda s, x: sum(functional.conv2d(x, w) for w in s.packed.chunk(2)), 8, 3, 2, 2
        ),
        (normal(1, 3, 5, 5),),
    ),
    "normalised": (
        packed(lambda s, x: functional.linear(x, (s.packed * s.scales)[:4]), 8, 6),
        (normal(4, 6),),
    ),
    "weight_norm": (lambda: nn.Sequential(weight_norm(nn.Linear(6, 3))), (normal(4, 6),)),
    **{name: (packed(_pieces(name), 8, 6), (normal(4, 6),)) for name in PIECES},
}  # fmt: skip


def ready(
    mode: str, model: nn.Module, inputs: tuple[Tensor, ...], **more: Any
) -> tuple[Quantizer, nn.Module]:
    quantizer = Quantizer(model.eval(), QuantizerConfig(execution_mode=mode, **more))
    return quantizer, quantizer.prepare(inputs)


def built(name: str) -> tuple[nn.Module, tuple[Tensor, ...]]:
    make, inputs = MODELS[name]
    torch.manual_seed(0)
    return make(), inputs


def stored_weights(model: nn.Module, backend: str) -> list[tuple[int, ...]]:
    """Shapes of what a finalized model stores as codes, or marks for Core ML to store so."""
    if backend == "coreai":
        codes = [b for n, b in model.named_buffers() if n.rpartition(".")[2] == "codes"]
        return sorted(tuple(c.shape) for c in codes if c.dtype is torch.int8)
    marks = [n for n, _ in model.named_buffers() if n.endswith("/quantization_n_bits")]
    paths = [n.removesuffix("/quantization_n_bits").replace("_COREML_/", "") for n in marks]
    return sorted(tuple(model.get_parameter(path).shape) for path in paths)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", MODELS)
def test_pieces_are_stored_as_codes(name: str, backend: str, mode: str) -> None:
    model, inputs = built(name)
    quantizer, prepared = ready(mode, model, inputs)
    placed = [p for p in placement(prepared) if p.target == "weight"]
    assert placed
    finalized = quantizer.finalize(backend=backend)
    assert len(stored_weights(finalized, backend)) == len(placed)
    assert torch.allclose(finalized(*inputs), prepared(*inputs), atol=1e-6)


def _folded(weight: Tensor) -> Tensor:
    for _ in range(40):
        weight = (weight + weight) * 0.5
    return weight


@pytest.mark.parametrize("mode", MODES)
def test_a_long_way_to_a_weight_is_gone_once(mode: str) -> None:
    """Each step reads the one before twice, so that a walk of every way would not end."""
    config = QuantizerConfig.presets.w8(execution_mode=mode)
    model = packed(lambda s, x: functional.linear(x, _folded(s.packed)), 8, 6)()
    quantizer = Quantizer(model.eval(), config)
    prepared = quantizer.prepare((normal(4, 6),))
    finalized = quantizer.finalize(backend="coreai")
    assert stored_weights(finalized, "coreai") == [(8, 6)]
    assert torch.allclose(finalized(normal(4, 6)), prepared(normal(4, 6)), atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
def test_a_piece_has_the_qparams_of_its_own_rows(mode: str) -> None:
    """By hand: per row, scale = greatest magnitude / 127.5, and codes of the rounded quotients."""
    config = QuantizerConfig.presets.w8(execution_mode=mode)
    model = packed(lambda s, x: functional.linear(x, s.packed[2:6]), 8, 6)()
    piece = model.packed.detach()[2:6].clone()
    scale = piece.abs().amax(1, keepdim=True) / 127.5
    expected = (piece / scale).round().clamp(-128, 127) * scale
    prepared = Quantizer(model.eval(), config).prepare((torch.eye(6),))
    assert torch.equal(prepared(torch.eye(6)), expected.t())


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_what_was_trained_is_stored(backend: str, mode: str) -> None:
    model, inputs = built("cross-attention")
    quantizer, prepared = ready(mode, model, inputs)
    with quantizer.training_mode():
        optimizer = torch.optim.SGD(prepared.parameters(), lr=0.5)
        prepared(*inputs).square().sum().backward()
        optimizer.step()
        prepared(*inputs)
    copied = copy.deepcopy(prepared)
    expected = copied(*inputs)
    finalized = quantizer.finalize(copied, backend=backend)
    assert torch.allclose(finalized(*inputs), expected, atol=1e-6)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "weight",
    [
        lambda s, x: s.packed * x.mean(),
        lambda s, x: s.packed + torch.rand_like(s.packed),
        lambda s, x: s.packed + torch.rand(8, 6),
        lambda s, x: _written(s.packed.clone(), 0),
        lambda s, x: _written(s.packed.clone(), x[0]),
        lambda s, x: _written(s.packed.clone(), s.packed[0].detach()),
        lambda s, x: _through_a_view(s.packed.clone()),
    ],
    ids=["data", "random like", "random", "set", "set to data", "set alike", "view"],
)
def test_what_differs_from_run_to_run_is_no_constant(weight: Any, mode: str) -> None:
    torch.manual_seed(0)
    model = packed(lambda s, x: functional.linear(x, weight(s, x)), 8, 6)()
    quantizer, prepared = ready(mode, model, (normal(4, 6),))
    finalized = quantizer.finalize(backend="coreai")
    assert not stored_weights(finalized, "coreai")
    other = 3 * normal(4, 6, seed=2)
    torch.manual_seed(1)
    expected = prepared(other)
    torch.manual_seed(1)
    assert torch.allclose(finalized(other), expected, atol=1e-6)


def _written(weight: Tensor, value: Any) -> Tensor:
    weight[0] = value
    return weight


def _through_a_view(weight: Tensor) -> Tensor:
    weight.view(-1)[:6].mul_(1.0)
    return weight


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "weight",
    [
        lambda s, x: s.packed * x.mean(),
        lambda s, x: s.packed + torch.rand(8, 6),
        lambda s, x: _written(s.packed.clone(), x[0]),
    ],
    ids=["data", "random", "set to data"],
)
def test_a_weight_that_depends_on_data_is_an_activation(weight: Any, mode: str) -> None:
    model = packed(lambda s, x: functional.linear(x, weight(s, x)), 8, 6)()
    quantizer, prepared = ready(mode, model, (normal(4, 6),))
    assert not [p for p in placement(prepared) if p.target == "weight"]
    quantizer.finalize(backend="coreml")


@pytest.mark.parametrize("mode", MODES)
def test_a_mask_that_is_no_buffer_is_a_constant(mode: str) -> None:
    model = packed(lambda s, x: functional.linear(x, s.packed * s.mask), 8, 6)()
    model.mask = normal(8, 6, seed=5) > 0
    quantizer, prepared = ready(mode, model, (normal(4, 6),))
    finalized = quantizer.finalize(backend="coreai")
    assert stored_weights(finalized, "coreai") == [(8, 6)]
    assert torch.allclose(finalized(normal(4, 6)), prepared(normal(4, 6)), atol=1e-6)


def test_an_attribute_that_a_run_replaces_is_no_constant() -> None:
    def forward(s: nn.Module, x: Tensor) -> Tensor:
        weight = s.packed * s.last
        s.last = x.mean()
        return functional.linear(x, weight)

    model = packed(forward, 8, 6)()
    model.last = torch.ones(())
    quantizer, _ = ready("eager", model, (normal(4, 6),))
    assert not stored_weights(quantizer.finalize(backend="coreai"), "coreai")


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_with_a_history_is_finalized(backend: str) -> None:
    """weight_norm leaves the weight of the last run in the module, with its gradient."""
    model, inputs = built("weight_norm")
    quantizer, prepared = ready("eager", model, inputs)
    with quantizer.training_mode():
        prepared(*inputs).sum().backward()
    finalized = quantizer.finalize(backend=backend)
    assert torch.allclose(finalized(*inputs), prepared(*inputs), atol=1e-6)


def test_a_piece_that_is_given_back_as_it_is_stays_one() -> None:
    model = packed(lambda s, x: functional.linear(x, s.packed[2:6].contiguous()), 8, 6)()
    quantizer, _ = ready("eager", model, (normal(4, 6),))
    assert stored_weights(quantizer.finalize(backend="coreai"), "coreai") == [(4, 6)]


def _by_branch(s: nn.Module, x: Tensor) -> Tensor:
    return s.packed[:4] if x.sum() > 0 else s.packed[4:]


def _by_index(s: nn.Module, x: Tensor) -> Tensor:
    return s.packed.view(2, 4, 6)[int(x.sum() > 0)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("choose", [_by_branch, _by_index])
def test_a_weight_that_data_chooses_is_never_another_one(
    choose: Any, dtype: torch.dtype, backend: str
) -> None:
    model = packed(lambda s, x: functional.linear(x, choose(s, x)), 8, 6)().to(dtype)
    x = normal(4, 6).abs().to(dtype)
    quantizer, prepared = ready("eager", model, (x,))
    if (backend, dtype) == ("coreml", torch.bfloat16):
        with pytest.raises(CoreMLExportError, match="bfloat16"):
            quantizer.finalize(backend=backend)
        return
    finalized = quantizer.finalize(backend=backend)
    expected = prepared(x).float()
    assert torch.allclose(finalized(x).float(), expected, atol=float(expected.abs().max()) / 50)
    with pytest.raises(InputError, match=r"given another weight .*PLACE-5"):
        finalized(-x)


@pytest.mark.parametrize("backend", BACKENDS)
def test_shapes_can_be_asked_without_data(backend: str) -> None:
    model, inputs = built("cross-attention")
    quantizer, _ = ready("eager", model, inputs)
    finalized = quantizer.finalize(backend=backend)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        assert finalized(*(mode.from_tensor(x) for x in inputs)).shape == (2, 3, 8)


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_weight_of_quantized_factors_is_known_again(backend: str) -> None:
    """Its quantizers may round otherwise than those that were prepared, in a few elements."""
    model = packed(lambda s, x: functional.linear(x, s.packed * s.scales + 0.1), 8, 6)()
    quantizer, prepared = ready("eager", model, (normal(4, 6),))
    finalized = quantizer.finalize(backend=backend)
    assert torch.allclose(finalized(normal(4, 6)), prepared(normal(4, 6)), atol=1e-4)


def test_a_piece_of_another_shape_is_refused_once_it_is_a_constant() -> None:
    model = packed(lambda s, x: functional.linear(x, s.packed[:, : x.shape[-1]]), 8, 6)()
    quantizer, prepared = ready("eager", model, (normal(4, 6),))
    prepared(normal(4, 3))
    finalized = quantizer.finalize(backend="coreml")
    with pytest.raises(InputError, match=r"given shape \(8, 3\).*PLACE-5"):
        finalized(normal(4, 3))


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_gate_is_content(backend: str, mode: str) -> None:
    model, inputs = built("cross-attention")
    subject = Subject("cross-attention", model, [inputs, inputs])
    document = check_export(subject, QuantizerConfig(execution_mode=mode), Question(backend))
    assert document.verdict in ("exact", "admissible")
    assert [weight.verdict for weight in document.weights] == ["exact"] * 3
