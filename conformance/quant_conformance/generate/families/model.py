"""model: whole models, exported; every tensor of the file is held to its admissible set.

The answer needs no tensors: what is admissible follows from the prepared model (ADM-11, ADM-12).
"""

from __future__ import annotations

from quant_conformance.generate.builder import Builder
from quant_conformance.models.zoo import CELLS, CONFIGS

_FLAGS = ("StoredCodes", "StoredQParams")


def build(builder: Builder) -> None:
    """Add one case for each cell of the zoo that represents the rest."""
    for model, config, mode, cast_16bit in CELLS:
        width = "-16bit" if cast_16bit else ""
        graph = mode == "graph"
        clauses = ["FQ-1", "ADM-11", "ADM-12", "PLACE-4" if graph else "PLACE-11"]
        quantized = "" if CONFIGS[config].activation is not None else ", weights only"
        builder.add_stated(
            f"model/{mode}-{model}-{config}{width}",
            "model",
            "admissible",
            clauses=clauses,
            flags=_FLAGS,
            comment=f"{model} with {config} in {mode} mode{quantized}",
            arguments={
                "model": model,
                "config": config,
                "mode": mode,
                "cast_16bit": cast_16bit,
                "tier": "named",
            },
        )
