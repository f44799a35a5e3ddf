"""Every model of the placement vectors has its quantizers where the lists made by hand say."""

from __future__ import annotations

from importlib.resources import files

import pytest

from quant_conformance.models import MODELS, build
from quant_conformance.placement import stated_lines, written
from quant_torch.inspection.placement import placement
from quant_torch.quantization.config import QuantizerConfig
from quant_torch.quantization.quantizer import Quantizer


@pytest.mark.parametrize("mode", ["graph", "eager"])
@pytest.mark.parametrize("model_id", MODELS)
@pytest.mark.filterwarnings("ignore:.*ask for different quantization")
@pytest.mark.filterwarnings("ignore:gain.weight of shape .* is left unquantized")
def test_quantizers_are_where_the_list_says(model_id: str, mode: str) -> None:
    built = build(model_id, mode)
    config = QuantizerConfig.model_validate(built.config)
    prepared = Quantizer(built.model, config).prepare(built.example_inputs)
    found = written(
        (p.tensor, p.spec.model_dump(mode="json"), p.target, p.group) for p in placement(prepared)
    )
    assert found == stated_lines(model_id, mode)


def test_every_list_has_its_model() -> None:
    lists = files("quant_conformance.generate").joinpath("placement").iterdir()
    assert {path.name.removesuffix(".json") for path in lists} == set(MODELS)


def test_an_unknown_model_is_named_with_the_closest() -> None:
    with pytest.raises(KeyError, match="tiny_resnet"):
        build("tiny_resnets", "graph")
