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
from quant_conformance.gate.judging.region_verdicts import Judged
from quant_conformance.protocol import Array
from quant_conformance.runtimes.program import Program

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
    print(wrong.sum(), "of", wrong.size, "elements are not admissible")
    print("the first is at", np.argwhere(wrong)[:1])


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
print(wrong.sum(), "of", wrong.size, "elements are not admissible")
print("the first is at", np.argwhere(wrong)[:1])
'''


class Reproductions:
    """Writes reproductions, a folder for each.

    Args:
        folder: where; made when the first one is written.
        program: the file that was judged.
    """

    def __init__(self, folder: Path, program: Program) -> None:
        self._folder, self._program = folder, program
        self.problem = ""  # why one could not be written, for people

    def keep(self, judged: Judged, target: str, given: Mapping[str, Array]) -> str | None:
        """Saves one region; one that cannot be written is no reason to stop judging.

        Args:
            judged: the verdict on it.
            target: the name of its result in the program.
            given: name in the program -> array that stands there, for every fixed value, and for
                the target what was computed.

        Returns:
            The folder, or None if it could not be written.
        """
        try:
            return self._save(judged, target, given)
        except OSError as error:
            reason = error.strerror or error
            self.problem = f"no reproduction in {error.filename or self._folder}: {reason}"
            return None

    def _save(self, judged: Judged, target: str, given: Mapping[str, Array]) -> str:
        layer, region = judged.layer, judged.region
        name = re.sub(r"[^\w.-]+", "_", layer.name)
        folder = self._folder / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        operands = judged.operands()
        described = {
            "layer": asdict(layer),
            "steps": [step.to_dict() for step in region.steps],
            "operands": {n: f"operand_{i}" for i, n in enumerate(operands)},
        }
        data = {f"operand_{i}": array for i, array in enumerate(operands.values())}
        data["got"] = given[target]
        if judged.low is not None and judged.high is not None:
            shape = data["got"].shape
            data |= {"low": judged.low.reshape(shape), "high": judged.high.reshape(shape)}
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
        return str(folder)
