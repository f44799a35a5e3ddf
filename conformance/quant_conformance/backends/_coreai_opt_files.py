"""What coreai-opt finalizes for Core AI, saved by coreai-torch and read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from quant_conformance.backends._exported_weights import (
    Stored,
    WeightQuestion,
    finalized_by,
    refused_by,
)
from quant_conformance.operations import OPERATIONS
from quant_conformance.protocol import Array
from quant_conformance.runtimes.quiet import quiet
from quant_reference import QuantizationSpec

if TYPE_CHECKING:
    from quant_vectors import Case

PACKAGE = "coreai_opt"
"""Its name in ``QUANTIZERS`` of the protocol."""


class Files:
    """Its own finalize; the converter, which is judged apart, too, writes the files.

    Args:
        package: ``coreai_opt.quantization``.
    """

    def __init__(self, package: Any) -> None:
        self._package = package
        self._weights: dict[tuple[object, ...], WeightQuestion] = {}
        self._stored: dict[tuple[object, ...], Stored | str] = {}
        self._folder = TemporaryDirectory(prefix="coreai-opt-")
        self._models = 0

    def note(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        """Notes the weights that will come: one program can hold all of them."""
        for case, tensors in questions:
            if case.operation == "export_weights":
                question = WeightQuestion(*OPERATIONS[case.operation].arguments(case, tensors))
                self._weights[question.key] = question

    def weight(self, x: Array, spec: QuantizationSpec, module_kind: str) -> Stored:
        """Answers ``export_weights``.

        Raises:
            NotImplementedError: finalize refuses it.
        """
        question = WeightQuestion(x, spec, module_kind)
        if question.key not in self._stored:
            self._export({**self._weights, question.key: question})
        stored = self._stored[question.key]
        if isinstance(stored, str):
            raise NotImplementedError(stored)
        return stored

    def model(self, model: str, config: str, mode: str, cast_16bit: bool) -> tuple[str, str]:
        """Answers ``export_model``: prepared and finalized by coreai-opt.

        Raises:
            NotImplementedError: the weights of the model are not there.
        """
        from quant_conformance.models.zoo.prepare import prepare
        from quant_conformance.models.zoo.trained import MissingWeightsError
        from quant_torch.export import save_coreai

        self._models += 1
        path = Path(self._folder.name) / f"model-{self._models}.aimodel"
        with quiet(stdout=False):
            try:
                made = prepare(model, config, mode, PACKAGE)
            except MissingWeightsError as error:
                raise NotImplementedError(str(error)) from error
            finalized = made.quantizer.finalize()
            saved = save_coreai(finalized, made.example, path, cast_16bit=cast_16bit)
        return str(saved), PACKAGE

    def _export(self, questions: Mapping[tuple[object, ...], WeightQuestion]) -> None:
        """Exports what finalize does not refuse, and keeps what the file holds of it."""
        self._weights = {}
        said = {key: refused_by(self._package, question) for key, question in questions.items()}
        kept = {key: question for key, question in questions.items() if said[key] is None}
        self._stored |= {key: reason for key, reason in said.items() if reason is not None}
        if kept:
            with TemporaryDirectory(prefix="coreai-opt-") as folder:
                stored = finalized_by(self._package, list(kept.values()), Path(folder) / "weights")
            self._stored |= dict(zip(kept, stored, strict=True))
