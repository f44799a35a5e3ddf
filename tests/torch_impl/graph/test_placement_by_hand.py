"""Every model of the placement vectors has its quantizers where the lists made by hand say."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from quant_conformance.models import MODELS, build
from quant_torch.inspection.placement import placement
from quant_torch.quantization.config import QuantizerConfig
from quant_torch.quantization.quantizer import Quantizer
from quant_torch.quantization.spec import QuantizationSpec

LISTS = files("quant_conformance.generate").joinpath("placement")


def written(spec: QuantizationSpec, target: str) -> str:
    """PLACE-12."""
    granularity = spec.granularity.to_dict()
    kind = granularity["type"]
    words = [
        spec.format.name,
        spec.qscheme.value,
        kind if kind == "per_tensor" else f"{kind}({granularity['axis']})",
    ]
    calculator = spec.resolved_calculator(target)
    if calculator.key_of(calculator) not in ("static", "moving_average"):
        words.append(calculator.key_of(calculator))
    if spec.float_range != (None, None):
        low, high = ("·" if b is None else f"{b:g}" for b in spec.float_range)
        words.append(f"[{low}, {high}]")
    return " ".join(words)


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.filterwarnings("ignore:.*ask for different quantization")
def test_quantizers_are_where_the_list_says(model_id: str, mode: str) -> None:
    expected = json.loads(LISTS.joinpath(f"{model_id}.json").read_text("utf-8"))[mode]
    built = build(model_id, mode)
    config = QuantizerConfig.model_validate(built.config)
    prepared = Quantizer(built.model, config).prepare(built.example_inputs)
    found = {
        p.tensor: written(p.spec, p.target) if p.group == p.tensor else f"= {p.group}"
        for p in placement(prepared)
    }
    assert found == expected


def test_every_list_has_its_model() -> None:
    names = {path.name.removesuffix(".json") for path in LISTS.iterdir()}
    assert names == set(MODELS)


def test_an_unknown_model_is_named_with_the_closest() -> None:
    with pytest.raises(KeyError, match="tiny_resnet"):
        build("tiny_resnets", "graph")
