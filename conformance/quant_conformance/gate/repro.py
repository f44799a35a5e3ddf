"""Saves what was found wrong as something to hand on: one region, its inputs, the right answer."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import numpy as np

from quant_conformance.files import write_text
from quant_conformance.gate.document import Layer
from quant_conformance.gate.expected import Expected
from quant_conformance.gate.programs import Program
from quant_conformance.gate.recording import Recording
from quant_conformance.gate.regions import Region
from quant_conformance.protocol import Array
from quant_reference.admissible import Arithmetic, Bounds, admissible_codes, evaluate

_COREAI = '''"""{name}: {operation}. {detail}"""

import asyncio
from pathlib import Path

import numpy as np
from coreai.authoring import AIModelAsset
from coreai.runtime import NDArray

here = Path(__file__).parent
data = np.load(here / "data.npz")


async def main():
    async with AIModelAsset.load(here / "region.aimodel").executable() as model:
        function = model.load_function("main")
        feeds = {{name: NDArray(data[name]) for name in function.desc.input_names}}
        got = (await function(feeds))["{output}"].numpy().reshape(data["low"].shape)
    wrong = (got < data["low"]) | (got > data["high"])
    print(wrong.sum(), "of", wrong.size, "elements are not admissible; first at", np.argwhere(wrong)[:1])


asyncio.run(main())
'''

_REFERENCE = '''"""{name}: {operation}. {detail}"""

import json
from pathlib import Path

import numpy as np

here = Path(__file__).parent
data, region = np.load(here / "data.npz"), json.loads((here / "region.json").read_text())
wrong = (data["got"] < data["low"]) | (data["got"] > data["high"])
print(region["steps"])
print(wrong.sum(), "of", wrong.size, "elements are not admissible; first at", np.argwhere(wrong)[:1])
'''


class Reproductions:
    """Writes reproductions, a folder for each.

    Args:
        folder: where; made when the first one is written.
        program: the file that was judged.
        recording: the run of the prepared model.
        half: whether the program computes in 16 bits.
    """

    def __init__(self, folder: Path, program: Program, recording: Recording, half: bool) -> None:
        self._folder, self._program, self._recording = folder, program, recording
        self._expected = Expected(recording, half)
        self._arithmetic = Arithmetic("float16" if half else "float32", "float32")

    def keep(self, region: Region, layer: Layer, target: str, given: Mapping[str, Array]) -> str:
        """Saves one region.

        Args:
            region: the region.
            layer: the verdict on it.
            target: the name of its result in the program.
            given: name in the program -> array that stands there, for every fixed value.

        Returns:
            The folder, relative to the one that holds all.
        """
        name = re.sub(r"[^\w.-]+", "_", layer.name)
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        arrays = {n: self._expected.operand(n) for n in region.operands}
        limits = self._limits(region, arrays)
        described = {
            "layer": asdict(layer),
            "steps": [step.to_dict() for step in region.steps],
            "operands": {n: f"operand_{i}" for i, n in enumerate(arrays)},
            "arithmetic": self._arithmetic.to_dict(),
        }
        data = {f"operand_{i}": array for i, array in enumerate(arrays.values())}
        data |= limits | {"got": given[target].reshape(limits["low"].shape)}
        script = _REFERENCE
        inputs = self._program.save_region(folder / "region.aimodel", target, given)
        if inputs is not None:
            script = _COREAI
            data |= inputs
        text = script.format(
            name=layer.name,
            operation=layer.operation,
            detail=layer.detail.replace('"', "'"),
            output=f"cut_{target.lstrip('%')}",
        )
        np.savez(folder / "data.npz", allow_pickle=False, **data)
        write_text(folder / "region.json", json.dumps(described, indent=1) + "\n")
        write_text(folder / "reproduce.py", text)
        return f"{self._folder.name}/{name}"

    def _limits(self, region: Region, operands: Mapping[str, Array]) -> dict[str, Array]:
        if region.lacking:
            nothing = np.zeros(self._recording.values[region.target].shape)
            return {"low": nothing, "high": nothing}
        if region.steps:
            bounds = evaluate(region.steps, operands, self._arithmetic)[region.target]
        else:
            bounds = Bounds.exact(operands[region.target])
        if region.quantization is None:
            return {"low": bounds.value - bounds.rigorous, "high": bounds.value + bounds.rigorous}
        facts = region.quantization.facts
        codes = admissible_codes(
            bounds, facts.spec, self._expected.qparams(facts), self._arithmetic
        )
        return {"low": codes.low, "high": codes.high}
