"""The same models and specs, prepared by coreai-opt in eager mode and by us, bit for bit.

The whole product of format × scheme × formulation × granularity × dtype of the model on a linear
layer, and a pairwise matrix with observers, ranges, scales and kinds of layers. Outputs as
prepared, qparams after calibration, outputs and gradients after it agree to the bit;
TestRecordedDifferences has what does not, and who departs from what. Calibration uses the explicit
switches: the peer's calibration_mode keeps weights fake-quantized.
"""

from __future__ import annotations

import copy
import functools
import logging
import warnings
from collections.abc import Callable, Iterator
from itertools import combinations, product
from typing import Any

import pytest
import torch
from tests.torch_impl.graph.support import Net
from torch import Tensor, nn
from torch.nn import functional
from torch.utils import _pytree as pytree

from quant_torch import quantization as ours

pytestmark = [pytest.mark.peers, pytest.mark.slow]

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
LAYERS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "linear": (lambda: nn.Linear(32, 32), (4, 32)),
    "conv1d": (lambda: nn.Conv1d(32, 32, 3), (2, 32, 6)),
    "conv2d": (lambda: nn.Conv2d(32, 32, 3, padding=1), (2, 32, 4, 4)),
    "conv_transpose": (lambda: nn.ConvTranspose2d(32, 32, 2), (2, 32, 4, 4)),
    "grouped": (lambda: nn.Conv2d(32, 32, 1, groups=2), (2, 32, 4, 4)),
    "conv3d": (lambda: nn.Conv3d(32, 32, 2), (1, 32, 2, 3, 3)),
    "residual": (lambda: Residual(), (4, 32)),
}
FORMATS = (
    "int2", "int4", "int8", "uint2", "uint4", "uint8",
    "float8_e4m3fn", "float8_e5m2", "float4_e2m1fn",
)  # fmt: skip
FACTORS: dict[str, tuple[str, ...]] = {
    "format": FORMATS,
    "scheme": ("symmetric", "symmetric_with_clipping", "asymmetric"),
    "formulation": ("zp", "minval"),
    "granularity": ("per_tensor", "per_channel", "per_block"),
    "observer": ("default", "moving_average", "global_minmax", "static", "dynamic"),
    "range": ("none", "lower", "upper", "both"),
    "scale": ("none", "e8m0"),
    "dtype": tuple(DTYPES),
    "layer": tuple(LAYERS),
}
RANGES = {"none": [None, None], "lower": [-0.75, None], "upper": [None, 1.5], "both": [-2.0, 1.0]}


class Residual(nn.Module):
    """Operators of two tensors behind a linear layer, in place too."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(32, 32), nn.Linear(32, 32)

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.first(x))
        z = self.second(y) * x - y
        z += x
        return z @ y.transpose(-1, -2)


def legal(case: dict[str, str]) -> bool:
    """SPEC-2 to SPEC-5, as far as the factors at hand decide."""
    given = case.get
    plain = given("scheme", "symmetric") == "symmetric" and given("formulation", "zp") == "zp"
    if given("scale") == "e8m0" and given("format", "").startswith(("int", "uint")):
        return False
    if given("format") == "float4_e2m1fn" and given("scale") == "none":
        return False
    if (given("format", "").startswith("float") or given("scale") == "e8m0") and not plain:
        return False
    if given("observer") == "dynamic":
        unclipped = given("scheme", "symmetric") != "symmetric_with_clipping"
        return unclipped and given("range", "none") == "none"
    return True


def pairwise() -> Iterator[dict[str, str]]:
    """Legal combinations that hold every legal pair of values; the same ones every time."""
    wanted = [
        pair
        for a, b in combinations(FACTORS, 2)
        for pair in ({a: x, b: y} for x, y in product(FACTORS[a], FACTORS[b]))
        if legal(pair)
    ]
    covered: set[tuple[tuple[str, str], ...]] = set()
    for turn, pair in enumerate(wanted):
        if tuple(sorted(pair.items())) in covered:
            continue
        case = dict(pair)
        for factor, values in FACTORS.items():
            if factor not in case:
                # In turns, so that the filled-in values cover further pairs.
                start = turn % len(values)
                turned = (*values[start:], *values[:start])
                choices = [v for v in turned if legal(case | {factor: v})]
                if not choices:
                    break
                case[factor] = choices[0]
        else:
            if legal(case):
                covered.update(combinations(sorted(case.items()), 2))
                yield {factor: case[factor] for factor in FACTORS}


CASES = list(pairwise())


@functools.cache
def theirs() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import coreai_opt.quantization as package
    return package


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    logging.disable(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
    logging.disable(logging.NOTSET)


def spec(case: dict[str, str], target: str) -> dict[str, Any]:
    """The plain spec of a case for a weight or for activations."""
    granularity: dict[str, Any] = {"type": case["granularity"]}
    if target == "activation" and case["granularity"] == "per_channel":
        granularity["axis"] = 1
    if case["granularity"] == "per_block":
        granularity["block_size"] = 16
        if target == "activation":
            granularity["axis"] = 1
    observer = case["observer"]
    return {
        "dtype": case["format"],
        "qscheme": case["scheme"],
        "qformulation": case["formulation"],
        "granularity": granularity,
        "float_range": RANGES[case["range"]],
        "scale_dtype": "float8_e8m0fnu" if case["scale"] == "e8m0" else None,
        "qparam_calculator_cls": (
            "default" if observer == "dynamic" and target == "weight" else observer
        ),
    }


class Run:
    """What one implementation makes of a case."""

    def __init__(self, package: Any, case: dict[str, str]) -> None:
        torch.manual_seed(0)
        make, shape = LAYERS[case["layer"]]
        dtype = DTYPES[case["dtype"]]
        activation = {"*": spec(case, "activation")}
        config = {
            "execution_mode": "eager",
            "global_config": {
                "op_input_spec": activation,
                "op_output_spec": activation,
                "op_state_spec": {"weight": spec(case, "weight")},
            },
        }
        generator = torch.Generator().manual_seed(1)
        batches = [torch.randn(shape, generator=generator).to(dtype) * k for k in (1.0, 2.5, 0.5)]
        quantizer = package.Quantizer(
            make().to(dtype).eval(),
            package.QuantizerConfig.from_dict({"quantization_config": copy.deepcopy(config)}),
        )
        model = quantizer.prepare((batches[0],))
        with torch.no_grad():
            self.prepared = model(batches[1])
            quantizer.enable_observer()
            quantizer.disable_fake_quant()
            self.observed = [model(batch) for batch in batches]
            quantizer.disable_observer()
            quantizer.enable_fake_quant()
        self.qparams = {
            name: module.calculate_qparams()
            for name, module in model.named_modules()
            if "FakeQuantize" in type(module).__name__ and case["observer"] != "dynamic"
        }
        x = (2 * batches[1]).requires_grad_()
        self.output = model(x)
        weights = torch.linspace(-1, 1, self.output.numel()).reshape(self.output.shape)
        self.output.backward(weights.to(dtype))
        self.gradients = {"x": x.grad} | {n: p.grad for n, p in model.named_parameters()}


def same(a: Any, b: Any) -> bool:
    """Equal, where any NaN equals any NaN and the zeros equal one another."""
    flat, other = pytree.tree_leaves(a), pytree.tree_leaves(b)
    return len(flat) == len(other) and all(
        x is y is None or (x.dtype == y.dtype and bool(((x == y) | (x.isnan() & y.isnan())).all()))
        for x, y in zip(flat, other, strict=True)
    )


def differences(case: dict[str, str]) -> list[str]:
    """What the two disagree about."""
    mine, other = Run(ours, case), Run(theirs(), case)
    found = [
        what
        for what in ("prepared", "observed", "output")
        if not same(getattr(mine, what), getattr(other, what))
    ]
    if mine.qparams.keys() != other.qparams.keys():
        return [*found, "placement"]
    for name, given in mine.qparams.items():
        parts = zip(("scale", "zero_point", "minval"), given, other.qparams[name], strict=True)
        for part, a, b in parts:
            if not same(a, b):
                found.append(f"{part} of {name}")
    found += [
        f"gradient of {name}"
        for name, grad in mine.gradients.items()
        if not same(grad, other.gradients[name])
    ]
    return found


def name_of(case: dict[str, str]) -> str:
    return "-".join(case.values())


def test_the_matrix_is_pairwise() -> None:
    """Counted anew: every pair of values that occurs in any legal case occurs in some case."""
    for a, b in combinations(FACTORS, 2):
        pairs = {(x, y) for x, y in product(FACTORS[a], FACTORS[b]) if legal({a: x, b: y})}
        assert pairs == {(case[a], case[b]) for case in CASES}, (a, b)


@pytest.mark.parametrize("case", CASES, ids=name_of)
def test_both_agree_to_the_bit(case: dict[str, str]) -> None:
    assert differences(case) == []


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("element", FORMATS)
def test_the_whole_product(element: str, dtype: str) -> None:
    varied = ("scheme", "formulation", "granularity", "scale")
    found = {}
    for values in product(*(FACTORS[factor] for factor in varied)):
        case = dict(zip(varied, values, strict=True))
        case |= {"format": element, "dtype": dtype, "observer": "default", "range": "none"}
        if legal(case):
            found[values] = differences(case | {"layer": "linear"})
    assert found
    assert not {values: what for values, what in found.items() if what}


def test_the_comparison_notices() -> None:
    """Neighbouring specs differ in every part that is compared."""
    case = next(case for case in CASES if case["observer"] == "default")
    case = case | {"format": "int8", "scheme": "symmetric", "scale": "none", "range": "none"}
    one = Run(ours, case)
    other = Run(ours, case | {"scheme": "symmetric_with_clipping"})
    assert same(one.observed, other.observed)
    for what in ("prepared", "output", "qparams", "gradients"):
        assert not same(getattr(one, what), getattr(other, what)), what


X = torch.linspace(-1, 1, 12).reshape(3, 4)


def prepared(package: Any, model: nn.Module, *inputs: Any, config: Any = None) -> tuple[Any, Any]:
    plain = {"quantization_config": {"execution_mode": "eager", **copy.deepcopy(config or {})}}
    quantizer = package.Quantizer(
        copy.deepcopy(model).eval(), package.QuantizerConfig.from_dict(plain)
    )
    return quantizer, quantizer.prepare(inputs)


def quantized(package: Any, model: nn.Module, *inputs: Any, config: Any = None) -> set[str]:
    _, made = prepared(package, model, *inputs, config=config)
    return {n for n, m in made.named_modules() if "FakeQuantize" in type(m).__name__}


class TestRecordedDifferences:
    """Where the peer does something else; each would start to fail if it changed."""

    def test_calibration_mode_quantizes_weights(self) -> None:
        """The documentation: inside, the forward pass gives the unquantized model's output."""
        model = nn.Linear(4, 4)
        seen = []
        for package in (ours, theirs()):
            quantizer, made = prepared(package, model, X)
            with quantizer.calibration_mode():
                seen.append(made(X))
        assert torch.equal(seen[0], model(X))
        assert not torch.equal(seen[1], model(X))

    def test_an_alias_of_what_is_written_in_place(self) -> None:
        """y += x: who else holds y sees the result, as torch promises; there, the old value."""

        def forward(net: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
            y = x.clone()
            alias = y
            y += x
            return y, alias

        mine, other = (prepared(p, Net(forward), X)[1](X) for p in (ours, theirs()))
        assert torch.equal(mine[0], other[0])
        assert torch.equal(mine[1], mine[0])
        assert torch.equal(other[1], X)

    def test_control_flow_that_runs_longer_than_the_example(self) -> None:
        """Documented as supported in eager mode."""

        def forward(net: nn.Module, x: Tensor) -> Tensor:
            for _ in range(1 + int(x.sum() > 0)):
                x = x * 0.5
            return x

        made = [prepared(p, Net(forward), -X.abs())[1] for p in (ours, theirs())]
        with pytest.raises(RuntimeError, match="different number of times"):
            made[1](X.abs())
        assert made[0](X.abs()).shape == X.shape

    def test_a_module_that_is_called_with_inputs_of_two_ranks(self) -> None:
        model = Net(lambda s, x: s.layer(s.layer(x).unsqueeze(0))[0], layer=nn.Linear(4, 4))
        prepared(ours, model, X)
        with pytest.raises(RuntimeError, match="broadcast shape"):
            prepared(theirs(), model, X)

    @pytest.mark.parametrize("function", [torch.subtract, torch.multiply])
    def test_other_names_of_sub_and_mul(self, function: Callable[..., Tensor]) -> None:
        model = Net(lambda s, x: function(x, x.flip(0)))
        assert len(quantized(ours, model, X)) == 3
        assert quantized(theirs(), model, X) == set()

    def test_attention_is_looked_into(self) -> None:
        x = torch.randn(1, 3, 8)
        model = nn.MultiheadAttention(8, 2, batch_first=True)
        assert len(quantized(ours, model, x, x, x)) > 3
        assert quantized(theirs(), model, x, x, x) == set()

    def test_a_weight_that_forward_computes(self) -> None:
        model = Net(lambda s, x: functional.linear(x, s.layer.weight * 2), layer=nn.Linear(4, 4))
        only_weights = {"global_config": {"op_input_spec": None, "op_output_spec": None}}
        mine = quantized(ours, model, X, config=only_weights)
        assert mine - quantized(theirs(), model, X, config=only_weights) == {
            "linear_quantize_weight"
        }

    def test_operations_that_are_off_can_be_named(self) -> None:
        model = Net(lambda s, x: torch.softmax(x, -1))
        named = {"global_config": {"op_type_config": {"softmax": {}}}}
        assert len(quantized(ours, model, X, config=named)) == 2
        assert quantized(theirs(), model, X, config=named) == set()

    def test_reading_a_config_writes_to_it(self) -> None:
        plain = {"quantization_config": {"global_config": {"op_type_config": {"add": {}}}}}
        for package, unchanged in ((ours, True), (theirs(), False)):
            given = copy.deepcopy(plain)
            package.QuantizerConfig.from_dict(given)
            assert (given == plain) is unchanged
