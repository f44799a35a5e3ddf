"""Integer arithmetic that floats carry is not quantized; what comes before it is (PLACE-14)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from quant_torch.drop_in import stand_in
from quant_torch.inspection.placement import placement
from quant_torch.quantization import ModuleQuantizerConfig, Quantizer, QuantizerConfig

MODES = ("graph", "eager")


class Model(nn.Module):
    """A table, a buffer, a layer, and a function of them."""

    steps: Tensor
    written: Tensor

    def __init__(self, function: Callable[..., Tensor]) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.table = nn.Embedding(40, 4)
            self.layer = nn.Linear(4, 4)
            self.factor = nn.Parameter(torch.tensor([0.5, 1.0, 1.5, 2.0]))
        self.register_buffer("steps", torch.tensor([1.0, 0.5, 0.25, 0.125]))
        self.register_buffer("written", torch.zeros(4))
        self.function = function

    def forward(self, *given: Tensor) -> Tensor:
        return self.function(self, *given)


def prepared(function: Callable[..., Tensor], mode: str, *given: Tensor, **more: Any) -> nn.Module:
    config = QuantizerConfig(execution_mode=mode, **more)
    quantizer = Quantizer(Model(function).eval(), config)
    model = quantizer.prepare(given)
    with quantizer.calibration_mode():
        model(*given)
    return model


def activations(model: nn.Module) -> set[str]:
    return {p.tensor for p in placement(model) if p.target == "activation"}


def rows(*shape: int) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(1)) - 0.3


IDS = torch.tensor([[0, 3, 7, 39], [1, 1, 2, 30]])


def buckets(s: Model, ids: Tensor) -> Tensor:
    """Distances as T5 has them: near ones apart, far ones by their logarithm."""
    places = torch.arange(ids.shape[1] * 6)
    distance = places[None] - places[:, None]
    found = (distance > 0).to(torch.long) * 20
    distance = torch.abs(distance)
    large = 10 + (torch.log(distance.float() / 10) / math.log(128 / 10) * (20 - 10)).to(torch.long)
    large = torch.min(large, torch.full_like(large, 19))
    return s.table(found + torch.where(distance < 10, distance, large))


def log_buckets(s: Model, ids: Tensor) -> Tensor:
    """Distances as DeBERTa has them, with signs, and where() among floats."""
    distance = ids[:, :, None] - ids[:, None, :]
    sign = torch.sign(distance)
    middle = torch.where((distance < 4) & (distance > -4), torch.tensor(3), torch.abs(distance))
    far = torch.ceil(torch.log(middle / 4) / math.log(39 / 4) * 3) + 4
    kept = torch.where(middle <= 4, distance.type_as(far), far * sign)
    return s.table((kept + 10.0).to(torch.long))


def scaled_positions(s: Model, ids: Tensor) -> Tensor:
    return s.table((ids.float() * 0.7 + 0.5).long())


def written_indices(s: Model, ids: Tensor) -> Tensor:
    places = ids.float()
    places += 3.0
    places.mul_(0.9)
    return s.table(places.floor().long())


def angles(s: Model, ids: Tensor) -> Tensor:
    turned = ids[..., None].float() @ s.steps[None]
    return s.layer(torch.cat([turned.cos() * 0.5, turned.sin() * 0.5], -1)[..., :4])


def mask_alone(s: Model, ids: Tensor) -> Tensor:
    mask = (1.0 - (ids > 1).float()) * torch.finfo(torch.float32).min
    return s.table(ids).masked_fill(mask[..., None] < 0, 0.0)


def made_here(s: Model, ids: Tensor) -> Tensor:
    return s.table((torch.linspace(0, 30, 4) * 1.25 + torch.ones(4)).long())


def of_the_shape(s: Model, ids: Tensor) -> Tensor:
    values = s.layer(s.table(ids))
    return s.table((torch.zeros_like(values[..., 0]) + values.shape[1] * 1.5).long())


OF_INTEGERS = {
    "T5": buckets,
    "DeBERTa": log_buckets,
    "positions": scaled_positions,
    "written": written_indices,
    "angles": angles,
    "mask": mask_alone,
    "made here": made_here,
    "of the shape": of_the_shape,
}


@pytest.mark.parametrize("mode", MODES)
class TestIntegers:
    @pytest.mark.parametrize("name", OF_INTEGERS)
    def test_layers_and_tables_alone_are_quantized(self, name: str, mode: str) -> None:
        found = activations(prepared(OF_INTEGERS[name], mode, IDS))
        allowed = ("embedding", "table.", "linear", "layer.", "slice", "cat")
        assert found
        assert [tensor for tensor in found if not tensor.startswith(allowed)] == []

    @pytest.mark.parametrize("name", ["T5", "DeBERTa", "positions", "written", "made here"])
    def test_what_is_looked_up_is_right(self, name: str, mode: str) -> None:
        # A row of the table is told by its values, quantized or not.
        model, whole = prepared(OF_INTEGERS[name], mode, IDS), Model(OF_INTEGERS[name])
        table = Model(OF_INTEGERS[name]).table.weight
        found, expected = (
            torch.cdist(m(IDS).reshape(-1, 4), table).argmin(1) for m in (model, whole)
        )
        assert torch.equal(found, expected)
        assert len(set(expected.tolist())) > 3

    def test_an_entry_for_the_very_name_brings_it_back(self, mode: str) -> None:
        for pattern, expected in (("mul", True), ("m.*", False)):
            config = ModuleQuantizerConfig(op_name_config={pattern: ModuleQuantizerConfig()})
            found = activations(prepared(scaled_positions, mode, IDS, global_config=config))
            assert any(tensor.startswith("mul") for tensor in found) == expected

    def test_scripts_for_the_other_package_get_its_placement(self, mode: str) -> None:
        with stand_in():
            found = activations(prepared(scaled_positions, mode, IDS))
        assert any(tensor.startswith("mul") for tensor in found)


def with_a_parameter(s: Model, ids: Tensor) -> Tensor:
    return ids.float() * s.factor


def with_noise(s: Model, ids: Tensor) -> Tensor:
    return torch.rand(ids.shape) * 2.0


def with_an_activation(s: Model, ids: Tensor) -> Tensor:
    return s.layer(s.table(ids)) * s.steps


def into_a_buffer(s: Model, ids: Tensor) -> Tensor:
    kept = torch.zeros(2, 4)
    kept[0] = s.layer(s.table(ids))[0, 0]
    return kept * 2.0


def into_a_view(s: Model, ids: Tensor) -> Tensor:
    kept = torch.zeros(2, 4)
    kept.select(0, 1).copy_(s.layer(s.table(ids))[0, 0])
    return kept * 2.0


def around_a_rounding(s: Model, ids: Tensor) -> Tensor:
    x = s.layer(s.table(ids))
    return (x + (x.round() - x).detach()) * 2.0


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "function",
    [with_a_parameter, with_noise, with_an_activation, into_a_buffer, into_a_view,
     around_a_rounding],
)  # fmt: skip
def test_what_holds_activations_is_quantized(function: Any, mode: str) -> None:
    found = activations(prepared(function, mode, IDS))
    assert any(tensor.startswith("mul") for tensor in found)


def chosen(s: Model, x: Tensor) -> Tensor:
    return s.table((s.layer(x) * 2.0).argmax(-1))


def compared(s: Model, x: Tensor) -> Tensor:
    return s.table(((s.layer(x) * 2.0)[..., 0] > 0.1).long())


def cells(s: Model, x: Tensor) -> Tensor:
    return s.table((torch.exp(x[..., 0]) * 12.0).clamp(0, 39).unsqueeze(0).long())


def rounded_cells(s: Model, x: Tensor) -> Tensor:
    return s.table(torch.floor(torch.exp(x[..., 0]) * 12.0).double().int())


def flat_cells(s: Model, x: Tensor) -> Tensor:
    """As grid samplers that are written out: rows and columns, then one number."""
    place = torch.floor(torch.exp(x) * 3.0)
    return s.table((place[..., 0] * 6.0 + place[..., 1]).clamp(0, 39).long())


@pytest.mark.parametrize("mode", MODES)
class TestIndices:
    @pytest.mark.parametrize("function", [chosen, compared])
    def test_a_head_that_chooses_is_quantized(self, function: Any, mode: str) -> None:
        found = activations(prepared(function, mode, rows(3, 4)))
        assert {"mul", "mul output 0"} & found
        assert {"linear", "layer.linear output 0"} & found

    @pytest.mark.parametrize("function", [cells, rounded_cells, flat_cells])
    def test_the_index_is_not_and_what_it_comes_from_is(self, function: Any, mode: str) -> None:
        found = activations(prepared(function, mode, rows(3, 4)))
        expected = {"exp"} if mode == "graph" else {"mul input input"}
        names = {t for t in found if not t.startswith(("embedding", "table."))}
        assert names == expected

    def test_a_result_that_others_read_is(self, mode: str) -> None:
        def both(s: Model, x: Tensor) -> Tensor:
            y = torch.exp(x) * 12.0
            return s.table(y.long().clamp(0, 39)) + s.layer(y)[..., None]

        found = activations(prepared(both, mode, rows(3, 4)))
        assert {"mul", "mul output 0"} & found

    def test_a_result_that_the_model_gives_is(self, mode: str) -> None:
        def both(s: Model, x: Tensor) -> Any:
            y = torch.exp(x) * 12.0
            return s.table(y.long().clamp(0, 39)), y

        found = activations(prepared(both, mode, rows(3, 4)))
        assert {"mul", "mul output 0"} & found


LOWEST = torch.finfo(torch.float32).min


def scores(s: Model, x: Tensor) -> Tensor:
    return s.layer(x) @ x.t() * 0.5


def by_an_argument_of_integers(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    hidden = (1.0 - mask.float()) * LOWEST
    return torch.softmax(scores(s, x) + hidden, -1)


def by_an_argument(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    return torch.softmax(scores(s, x) + mask.bool().logical_not() * -1e9, -1)


def by_a_triangle(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    hidden = torch.full((6, 6), float("-inf")).triu(1)
    return torch.softmax(scores(s, x) + hidden, -1)


def by_subtracting(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    return torch.log_softmax(scores(s, x) - (1 - mask.float()) * 1e30, -1)


def by_a_fill_and_a_bias(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    hidden = scores(s, x).masked_fill(mask == 0, LOWEST)
    return torch.softmax(hidden + s.table.weight[:6, :1], -1)


def by_a_choice(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    hidden = torch.where(mask == 1, scores(s, x), torch.tensor(-1e9))
    return functional.softmax((hidden + s.table.weight[:6, :1]) / 2.0, -1)


def by_the_maximum(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    hidden = scores(s, x) + (1 - mask.float()) * LOWEST
    hidden = torch.max(hidden, torch.tensor(LOWEST))
    return functional.softmax(hidden.view(1, 6, 6) * 0.5, -1)


def before_a_bias(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    bias = s.table.weight[:6, :1] + (1 - mask.float()) * LOWEST
    return torch.softmax(scores(s, x) + bias, -1)


def of_attention(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    bias = s.table.weight[:6, :1] + (1 - mask.float()) * LOWEST
    keys = s.layer(x)
    return functional.scaled_dot_product_attention(x[None], keys[None], x[None], attn_mask=bias)


def of_distances(s: Model, x: Tensor, mask: Tensor) -> Tensor:
    places = torch.arange(6)
    return torch.softmax(scores(s, x) - (places[:, None] - places[None]).abs() * 40.0, -1)


MASKED = {
    f.__name__: f
    for f in (
        by_an_argument_of_integers, by_an_argument, by_a_triangle, by_subtracting,
        by_a_fill_and_a_bias, by_a_choice, by_the_maximum, before_a_bias, of_attention,
        of_distances,
    )
}  # fmt: skip


@pytest.mark.parametrize("mode", MODES)
class TestMasks:
    @pytest.mark.parametrize("name", MASKED)
    def test_the_scores_keep_their_codes(self, name: str, mode: str) -> None:
        given = (rows(6, 4) * 4, torch.tensor([1, 1, 1, 0, 1, 0]))
        expected = Model(MASKED[name])(*given)
        got = prepared(MASKED[name], mode, *given)(*given)
        mask = torch.isfinite(expected)
        error = (got - expected)[mask].abs().max() / expected[mask].abs().max()
        assert error < 0.05  # without the rule, rows are all alike

    def test_a_mask_that_is_given_in_floats(self, mode: str) -> None:
        def function(s: Model, x: Tensor, hidden: Tensor) -> Tensor:
            return torch.softmax(scores(s, x) + hidden[None], -1)

        found = activations(prepared(function, mode, rows(6, 4), torch.zeros(6)))
        assert not any(t.startswith(("add", "unsqueeze", "hidden")) for t in found)
        assert any(t.startswith("matmul") for t in found)

    def test_other_sums_in_front_of_a_softmax_are_quantized(self, mode: str) -> None:
        def function(s: Model, x: Tensor) -> Tensor:
            return torch.softmax(scores(s, x) + s.layer(x)[:, :1], -1)

        assert {"add", "add output 0"} & activations(prepared(function, mode, rows(6, 4)))

    def test_sums_with_buffers_elsewhere_are_quantized(self, mode: str) -> None:
        def function(s: Model, x: Tensor) -> Tensor:
            return s.layer(s.layer(x) + s.steps)

        assert {"add", "add output 0"} & activations(prepared(function, mode, rows(6, 4)))
