"""Builder: from a question to a case, its answer taken from the reference."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from quant_conformance.backends.numpy_reference import NumpyReference
from quant_conformance.generate.policies import touched
from quant_conformance.layers import layer_arguments, layer_clauses, layer_inputs
from quant_conformance.operations import OPERATIONS
from quant_conformance.rule_questions import policy_of
from quant_reference import QParams, QuantError, QuantizationSpec
from quant_reference.admissible import Layer, judge_codes
from quant_vectors import Case, SetWriter, VectorError
from quant_vectors.model import SETS

Array = NDArray[Any]
Words = str | Sequence[str]
"""Names of clauses or flags: a sequence, or one text with spaces between them."""

_SIGN_UNSEEN = ("lo", "hi", "minval")


class Builder:
    """Adds cases to a set.

    Every case is answered by the reference. The builder refuses what would make a bad vector: a
    refusal that is none, a case that touches a policy without saying so, or two, and a question
    that another case asks already.

    Args:
        writer: Where the cases go.
    """

    def __init__(self, writer: SetWriter) -> None:
        self._writer = writer
        self._reference = NumpyReference()
        self._questions: dict[str, str] = {}

    def add(
        self,
        case_id: str,
        operation: str,
        *,
        clauses: Words,
        flags: Words,
        comment: str,
        spec: QuantizationSpec | None = None,
        target: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Array] | None = None,
        qparams: QParams | None = None,
        policy: str | None = None,
        full: bool = False,
    ) -> None:
        """Add one case whose answer is made of tensors.

        Args:
            case_id: ``family/…``.
            operation: What is asked.
            clauses: Clauses of SPEC.md, each kept once.
            flags: Bugs that the case catches, each kept once.
            comment: One line for a person.
            spec: The spec, if the operation takes one.
            target: ``"weight"`` or ``"activation"``, if the operation takes one.
            arguments: Further arguments.
            inputs: Argument name -> tensor.
            qparams: Joins the inputs.
            policy: Name of the policy that the case is about.
            full: Leave the case out of the quick tier.

        Raises:
            VectorError: If the inputs touch another set of policies than ``policy`` says, or the
                other legal behaviours cannot be told from the reference's.
        """
        tensors = {**(inputs or {}), **_tensors(qparams, spec)}
        asked = {**(arguments or {}), **_tier(full)}
        draft = _draft(
            case_id, operation, clauses, flags, comment, spec, target=target, arguments=asked
        )
        expected = canonical(self._answer(draft, tensors))
        found = touched(draft, tensors, expected)
        if [f.policy for f in found] != ([] if policy is None else [policy]):
            raise VectorError(
                f"{case_id} says policy {policy!r}; it touches {[f.policy for f in found]}"
            )
        rule: dict[str, Any] = {"rule": "exact"}
        for one in found:  # one at most
            others = {
                name: canonical(outputs)
                for name, outputs in one.answers.items()
                if name == "any_nan" or not _same(canonical(outputs), expected)
            }
            if not others:
                raise VectorError(f"{case_id} cannot tell the behaviours of {policy} apart")
            rule = {"rule": "policy", "policy": one.policy, "choice": one.choice}
            rule["alternatives"] = others
        self._write(draft, tensors, expected, rule)

    def add_told(self, case_id: str, operation: str, **members: Any) -> None:
        """Add a case with the policy of its rules if they part on it, else as exact.

        Args:
            case_id: As for :meth:`add`.
            operation: As for :meth:`add`.
            **members: The other arguments of :meth:`add`, without the policy.
        """
        asked = _draft(case_id, operation, (), (), "", arguments=members.get("arguments", {}))
        try:
            self.add(case_id, operation, **members, policy=policy_of(asked))
        except VectorError:
            self.add(case_id, operation, **members)

    def add_layer(
        self,
        case_id: str,
        layer: Layer,
        *,
        flags: Words,
        comment: str,
        clauses: Words = (),
        full: bool = False,
    ) -> None:
        """Add one quantized layer, judged by its sets of admissible codes.

        Args:
            case_id: ``layer/…``.
            layer: What is asked.
            flags: Bugs that the case catches.
            comment: One line for a person.
            clauses: Further clauses, beside those of the steps and of the output's spec.
            full: Leave the case out of the quick tier.

        Raises:
            VectorError: If the sets decide too little, or the reference's own answer is not in
                them.
        """
        admissible = layer.admissible()
        words = judge_codes(self._reference.layer(layer), admissible)
        if words.any():  # 0 is admissible
            raise VectorError(f"{case_id}: the reference's answer is not admissible, or undecided")
        tensors = layer_inputs(layer)
        named = (*layer_clauses(layer), *_words(clauses))
        asked = layer_arguments(layer) | _tier(full)
        draft = _draft(case_id, "layer", named, flags, comment, layer.output_spec, arguments=asked)
        expected = {name: getattr(admissible, name) for name in SETS}
        self._write(draft, tensors, expected, {"rule": "admissible"})

    def add_result(
        self,
        case_id: str,
        operation: str,
        result: str | int,
        *,
        clauses: Words,
        flags: Words,
        comment: str,
        spec: QuantizationSpec | None = None,
        target: str | None = None,
        arguments: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Array] | None = None,
    ) -> None:
        """Add one case whose answer is an axis, ``"accepted"`` or ``"refused"``.

        Raises:
            VectorError: If the reference says otherwise.
        """
        draft = _draft(
            case_id,
            operation,
            clauses,
            flags,
            comment,
            spec,
            target=target,
            arguments=dict(arguments or {}),
            result=result,
        )
        try:
            answer = self._answer(draft, inputs or {}).get("result")
        except QuantError:
            answer = "refused"
        if answer != result:
            raise VectorError(f"{case_id}: the reference says {answer!r}, not {result!r}")
        self._write(draft, inputs or {}, {}, {"rule": "exact"})

    def add_stated(
        self,
        case_id: str,
        operation: str,
        lines: tuple[str, ...] | str,
        *,
        clauses: Words,
        flags: Words,
        comment: str,
        arguments: Mapping[str, Any],
    ) -> None:
        """Add one case whose answer was made by hand; the numpy form has none."""
        draft = _draft(
            case_id, operation, clauses, flags, comment, arguments=dict(arguments), result=lines
        )
        self._write(draft, {}, {}, {"rule": "exact"})

    def _answer(self, draft: Case, tensors: Mapping[str, Array]) -> dict[str, Any]:
        operation = OPERATIONS[draft.operation]
        method = getattr(self._reference, operation.method)
        return operation.outputs(method(*operation.arguments(draft, tensors)))

    def _write(
        self,
        draft: Case,
        tensors: Mapping[str, Array],
        expected: Mapping[str, Array],
        rule: Mapping[str, Any],
    ) -> None:
        members = {
            name: getattr(draft, name)
            for name in ("clauses", "flags", "comment", "spec", "target", "arguments", "result")
        }
        case = self._writer.add(
            draft.id, draft.operation, inputs=tensors, expected=expected, **members, **rule
        )
        asked = {name: value for name, value in case.arguments.items() if name != "tier"}
        question = json.dumps(
            [case.operation, case.spec, case.target, asked, case.inputs], sort_keys=True
        )
        twin = self._questions.setdefault(question, case.id)
        if twin != case.id:
            raise VectorError(f"{case.id} asks what {twin} asks")


def _draft(
    case_id: str,
    operation: str,
    clauses: Words,
    flags: Words,
    comment: str,
    spec: QuantizationSpec | None = None,
    **members: Any,
) -> Case:
    """A case that has no tensors and no answer yet."""
    return Case(
        id=case_id,
        family=case_id.split("/", 1)[0],
        operation=operation,
        clauses=_words(clauses),
        flags=_words(flags),
        comment=comment,
        spec=None if spec is None else spec.to_dict(),
        **members,
    )


def _words(names: Words) -> tuple[str, ...]:
    return tuple(dict.fromkeys(names.split() if isinstance(names, str) else names))


def _tier(full: bool) -> dict[str, Any]:
    return {"tier": "full"} if full else {}


def canonical(outputs: Mapping[str, Array]) -> dict[str, Array]:
    """Give every NaN one bit pattern, and +0 where a zero's sign is not seen.

    Which NaN an operation makes, and which zero a minimum picks, depends on the CPU; neither is
    compared (CONV-4), and the files must be the same everywhere.
    """
    plain = {}
    for name, values in outputs.items():
        array = values
        if array.dtype.kind not in "iu":
            array = np.where(np.isnan(array), np.array(np.nan, array.dtype), array)
            if name in _SIGN_UNSEEN:
                array = np.where(array == 0, np.zeros((), array.dtype), array)
        plain[name] = array
    return plain


def _tensors(qparams: QParams | None, spec: QuantizationSpec | None) -> dict[str, Array]:
    """The fields of qparams that the spec's formulation reads."""
    if qparams is None or spec is None:
        return {}
    tensors: dict[str, Array] = {"scale": qparams.scale}
    if spec.format.is_integer:
        name = "zero_point" if spec.qformulation == "zp" else "minval"
        tensors[name] = getattr(qparams, name)
    return tensors


def _same(a: Mapping[str, Array], b: Mapping[str, Array]) -> bool:
    return all(
        a[name].dtype == b[name].dtype and a[name].tobytes() == b[name].tobytes() for name in a
    )
