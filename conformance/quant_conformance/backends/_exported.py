"""Vectors through an exporter: many one-operation models in one program, saved, loaded and run.

An export costs a fraction of a second however small it is, so the cases that are known to come
(``prepare``) are batched: a program has one branch for each. If a program fails, its halves
are tried, and the failure is that of the branch that fails alone.
"""

from __future__ import annotations

import tempfile
import zlib
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from quant_conformance.backends._exported_weights import (
    Stored,
    WeightQuestion,
    exported,
    refusal,
)
from quant_conformance.operations import OPERATIONS
from quant_conformance.protocol import Array, Backend
from quant_conformance.runtimes import StoredTensor
from quant_conformance.runtimes.quiet import quiet
from quant_reference import QParams, QuantizationSpec

if TYPE_CHECKING:
    from quant_vectors import Case

Key = tuple[object, ...]

BATCH = 48
"""Branches per program: larger ones gain little, and cost more when one of them fails."""

_QUICK_SHARE = 8
"""One case in so many belongs to the quick tier."""


@dataclass(frozen=True)
class Question:
    """One branch of a program.

    Attributes:
        method: "quantize", "dequantize" or "fake_quantize".
        tensor: x or codes.
        spec: the spec.
        qparams: the qparams.
    """

    method: str
    tensor: Array
    spec: QuantizationSpec
    qparams: QParams

    @property
    def key(self) -> Key:
        """Equal for equal questions."""
        qparams = (self.qparams.scale, self.qparams.zero_point, self.qparams.minval)
        arrays = [self.tensor, *(q for q in qparams if q is not None)]
        parts = [(a.dtype.name, a.shape, a.tobytes()) for a in arrays]
        return (self.method, repr(self.spec), *parts)


class ExportedBackend(Backend):
    """Base of the backends that put every question through an exporter.

    A subclass says why a question cannot be asked (:meth:`refuse`) and answers many at once
    (:meth:`run_program`). Weights go through ``quant_torch``, which refuses them itself;
    :meth:`save` exports what it has prepared.

    Attributes:
        target: name of the export backend of ``quant_torch``.
    """

    checks_input = False
    target: ClassVar[str]

    def __init__(self) -> None:
        self._waiting: dict[Key, Question | WeightQuestion] = {}
        self._answers: dict[Key, Any] = {}
        self._refusals: dict[Key, str | None] = {}
        self._programs = 0
        self._folder = tempfile.TemporaryDirectory(prefix=f"{self.name}-")

    def selects(self, case: Case, tier: str) -> bool:
        # All weights fit into two programs, and the models were chosen when the run was.
        whole = case.operation in ("export_weights", "model")
        return whole or tier != "quick" or zlib.crc32(case.id.encode()) % _QUICK_SHARE == 0

    def prepare(self, questions: Sequence[tuple[Case, Mapping[str, Array]]]) -> None:
        for case, tensors in questions:
            operation = OPERATIONS[case.operation]
            if operation.method in ("quantize", "dequantize", "fake_quantize"):
                question: Question | WeightQuestion = Question(
                    operation.method, *operation.arguments(case, tensors)
                )
            elif operation.method == "export_weights":
                question = WeightQuestion(*operation.arguments(case, tensors))
            else:
                continue
            if self._reason(question) is None:
                self._waiting.setdefault(question.key, question)

    def quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._array(Question("quantize", x, spec, qparams))

    def dequantize(self, codes: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._array(Question("dequantize", codes, spec, qparams))

    def fake_quantize(self, x: Array, spec: QuantizationSpec, qparams: QParams) -> Array:
        return self._array(Question("fake_quantize", x, spec, qparams))

    def export_weights(self, x: Array, spec: QuantizationSpec, module_kind: str) -> Stored:
        answer: Stored = self._answer(WeightQuestion(x, spec, module_kind))
        return answer

    def export_model(self, model: str, config: str, mode: str, cast_16bit: bool) -> str:
        from quant_conformance.models.zoo import CONFIGS
        from quant_conformance.models.zoo.prepare import prepare
        from quant_conformance.models.zoo.trained import MissingWeightsError

        if self.target == "coreml" and not CONFIGS[config].coreml:
            raise NotImplementedError(f"Core ML cannot express {config}")
        self._programs += 1
        path = Path(self._folder.name) / f"model-{self._programs}"
        with quiet(stdout=False):
            try:
                made = prepare(model, config, mode)
            except MissingWeightsError as error:
                raise NotImplementedError(str(error)) from error
            return str(self.save_model(made.quantizer, made.example, path, cast_16bit))

    @abstractmethod
    def refuse(self, question: Question) -> str | None:
        """Returns why the exporter has no such operation, or None."""

    @abstractmethod
    def run_program(self, questions: Sequence[Question], path: Path) -> list[Array | Exception]:
        """Exports one program to ``path``, runs the saved file, returns an answer for each."""

    @abstractmethod
    def save_model(
        self, quantizer: Any, inputs: tuple[Any, ...], path: Path, cast_16bit: bool
    ) -> Path:
        """Exports a prepared model to a file at ``path``, with the target's suffix."""

    @abstractmethod
    def save(self, quantizer: Any, inputs: tuple[Any, ...], path: Path) -> Sequence[StoredTensor]:
        """Exports a prepared model to ``path`` and returns the weights in the file, in order."""

    def _reason(self, question: Question | WeightQuestion) -> str | None:
        if isinstance(question, Question):
            return self.refuse(question)
        if question.key not in self._refusals:
            self._refusals[question.key] = refusal(question, self.target)
        return self._refusals[question.key]

    def _array(self, question: Question) -> Array:
        answer: Array = self._answer(question)
        return answer

    def _answer(self, question: Question | WeightQuestion) -> Any:
        reason = self._reason(question)
        if reason is not None:
            raise NotImplementedError(reason)
        if question.key not in self._answers:
            alike = ((k, q) for k, q in self._waiting.items() if type(q) is type(question))
            batch = {question.key: question, **dict(islice(alike, BATCH - 1))}
            for key in batch:
                self._waiting.pop(key, None)
            self._ask(list(batch.values()))
        answer = self._answers[question.key]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ask(self, questions: Sequence[Any]) -> None:
        self._programs += 1
        path = Path(self._folder.name) / str(self._programs)
        try:
            answers: Sequence[Any] = (
                self.run_program(questions, path)
                if isinstance(questions[0], Question)
                else exported(questions, self.save, path)
            )
        except Exception as error:
            if len(questions) > 1:  # the halves, down to the one that fails
                middle = len(questions) // 2
                self._ask(questions[:middle])
                self._ask(questions[middle:])
                return
            answers = [error]
        for question, answer in zip(questions, answers, strict=True):
            self._answers[question.key] = answer


def refuse_arrays(question: Question) -> str | None:
    """Returns what no exporter takes: tensors without elements, of rank 0 or above 5."""
    if question.tensor.size == 0:
        return "a model's tensors have elements"
    if not 1 <= question.tensor.ndim <= 5:
        return "tensors of rank 1 to 5"
    if not np.all(np.isfinite(question.qparams.scale)):
        return "the exporter takes finite scales"
    return None


def per_tensor(question: Question) -> bool:
    """Whether one set of qparams is for the whole tensor."""
    return bool(question.qparams.scale.size == 1)


def channel_axis(question: Question) -> int | None:
    """Returns the one axis along which scales differ, each for one index; else None."""
    shape, scale = question.tensor.shape, question.qparams.scale.shape
    axes = [axis for axis, count in enumerate(scale) if count > 1]
    if len(axes) == 1 and scale[axes[0]] == shape[axes[0]]:
        return axes[0]
    return None
