"""What a vector set holds: cases, and the tensors that they name."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from quant_vectors.errors import SchemaError, UnknownCaseError

Array = NDArray[Any]

CASES_SCHEMA: Final = "quant-vectors/cases/1"
MANIFEST_SCHEMA: Final = "quant-vectors/manifest/1"
FLAGS_SCHEMA: Final = "quant-vectors/flags/1"

FAMILIES: Final = (
    "encode",
    "decode",
    "pack",
    "range",
    "qparams",
    "quantize",
    "dequantize",
    "fake_quantize",
    "gradient",
    "observe",
    "default_axis",
    "invalid_spec",
    "batch_norm",
    "lifecycle",
    "placement",
    "export_weights",
    "model",
    "layer",
)
"""Families of v1; a set of one's own may hold fewer or others."""

INTEGER_FAMILIES: Final = ("requantize", "integer_layer")
"""Families of integer_v1."""

BLOCK_FAMILIES: Final = (
    "format_encode",
    "format_decode",
    "format_pack",
    "block_scale",
    "block_quantize",
    "block_dequantize",
    "block_dot",
    "block_layout",
)
"""Families of block_v1: codecs of formats that no spec names, and block-scaled tensors."""

SETS: Final = ("low", "high", "likely_low", "likely_high")
"""Outputs of a case with rule ``"admissible"``: the ends of the rigorous and the probable set."""

OPERATION_OUTPUTS: Final[Mapping[str, tuple[str, ...]]] = {
    "encode": ("codes",),
    "decode": ("values",),
    "pack": ("packed",),
    "unpack": ("codes",),
    "value_range": ("lo", "hi"),
    "qparams": ("scale", "zero_point", "minval"),
    "quantize": ("codes",),
    "dequantize": ("values",),
    "fake_quantize": ("values",),
    "gradient": ("gradient",),
    "observe": ("scale", "zero_point", "minval"),
    "default_axis": (),
    "validate_spec": (),
    "fold_batch_norm": ("weight", "bias"),
    "lifecycle": (
        "outputs",
        "scales",
        "zero_points",
        "switches",
        "refusals",
        "statistics",
    ),
    "placement": (),
    "export_weights": ("codes", "scale", "zero_point", "minval"),
    "model": (),
    "layer": ("codes", *SETS),
    "float_layer": ("values", *SETS),
    "model_output": ("values", *SETS),
    "requantize": ("codes",),
    "integer_layer": ("codes",),
    "block_scale": ("codes",),
    "block_quantize": ("codes",),
    "block_dequantize": ("values",),
    "block_dot": ("values",),
    "scale_layout": ("packed",),
}
"""Operation -> the outputs that it may give; those without any answer in ``Case.result``."""

LOGICAL_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "int8": np.dtype(np.int8),
    "uint8": np.dtype(np.uint8),
    "int16": np.dtype(np.int16),
    "int32": np.dtype(np.int32),
    "int64": np.dtype(np.int64),
}
"""dtypes that a tensor may have."""

# safetensors' numpy loader knows no bfloat16, so both 16-bit floats are stored as their bits.
STORED_DTYPES: Final[Mapping[str, np.dtype[Any]]] = {
    **LOGICAL_DTYPES,
    "float16": np.dtype(np.uint16),
    "bfloat16": np.dtype(np.uint16),
}
"""dtype in the tensor table -> dtype in the safetensors file."""


SPEC_DEFAULTS: Final[Mapping[str, Any]] = {
    "fake_quantize_cls": "default",
    "float_range": [None, None],
    "granularity": {"type": "per_tensor"},
    "qformulation": "zp",
    "qparam_calculator_cls": "default",
    "qscheme": "symmetric",
    "range_calculator_cls": "minmax",
    "scale_dtype": None,
}
"""Fields of a spec that a cases file leaves out where they have this value (SPEC-1)."""


@dataclass(frozen=True, slots=True)
class Case:
    """One question and its answer; tensors are held by name.

    Attributes:
        id: Unique in the set, ``family/…``.
        family: The file that holds the case.
        operation: A key of :data:`OPERATION_OUTPUTS`.
        clauses: Clauses of SPEC.md that the case holds an implementation to.
        flags: Names of the bugs that the case catches, explained in ``VectorSet.flags``.
        comment: One line for a person.
        rule: ``"exact"``; ``"policy"`` where the spec names several legal answers;
            ``"admissible"`` where ``expected`` holds the ends of :data:`SETS` (and perhaps what a
            recorded model gave); ``"information"``
            where another answer is reported and nothing is wrong with it.
        spec: Quantization spec as ``QuantizationSpec.to_dict()`` gives it, every field present,
            or None.
        target: ``"weight"`` or ``"activation"`` where the operation needs it, else None.
        arguments: Further arguments by name: plain JSON values.
        inputs: Argument name -> tensor name.
        expected: Output name -> tensor name.
        result: The answer of an operation without tensors (an axis, ``"refused"``, the lines of a
            placement), or None.
        policy: Name of the policy that a ``"policy"`` case tells apart.
        choice: Name of the behaviour in ``expected``.
        alternatives: Name of a further legal behaviour -> output name -> tensor name.
    """

    id: str
    family: str
    operation: str
    clauses: tuple[str, ...]
    flags: tuple[str, ...]
    comment: str
    rule: str = "exact"
    spec: Mapping[str, Any] | None = None
    target: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    inputs: Mapping[str, str] = field(default_factory=dict)
    expected: Mapping[str, str] = field(default_factory=dict)
    result: str | int | tuple[str, ...] | None = None
    policy: str | None = None
    choice: str | None = None
    alternatives: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the case as it is written in a cases file.

        Empty members, the family and the fields in :data:`SPEC_DEFAULTS` are left out.
        """
        members = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "family"}
        kept = {k: v for k, v in members.items() if v is not None and v not in ((), {})}
        for name in ("clauses", "flags"):
            kept[name] = list(members[name])
        if self.spec is not None:
            kept["spec"] = {
                name: value
                for name, value in self.spec.items()
                if name not in SPEC_DEFAULTS or value != SPEC_DEFAULTS[name]
            }
        return kept


@dataclass(frozen=True, slots=True)
class VectorSet:
    """A checked set of cases with their tensors.

    Attributes:
        cases: Every case, in the order of the files.
        manifest: The manifest as read.
        flags: Flag -> ``{"bug", "effect", "link"}``.
        digest: sha256 of the manifest, which holds the sha256 of everything else.
    """

    cases: tuple[Case, ...]
    manifest: Mapping[str, Any]
    flags: Mapping[str, Mapping[str, str]]
    digest: str
    _tensors: Mapping[str, Mapping[str, Array]] = field(repr=False)
    _by_id: Mapping[str, Case] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Index the cases."""
        object.__setattr__(self, "_by_id", {case.id: case for case in self.cases})

    @property
    def version(self) -> str:
        """Version that the manifest states."""
        return str(self.manifest["version"])

    @property
    def families(self) -> tuple[str, ...]:
        """Families that the set holds, in the order of the files."""
        return tuple(dict.fromkeys(case.family for case in self.cases))

    def __len__(self) -> int:
        """Count the cases."""
        return len(self.cases)

    def __iter__(self) -> Iterator[Case]:
        """Iterate over the cases."""
        return iter(self.cases)

    def case(self, case_id: str) -> Case:
        """Look a case up by its id.

        Raises:
            UnknownCaseError: If the set has no such case; names the closest id.
        """
        try:
            return self._by_id[case_id]
        except KeyError:
            close = difflib.get_close_matches(case_id, self._by_id, n=1, cutoff=0.5)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise UnknownCaseError(
                f"no case {case_id!r} among the {len(self)} of {self.version}{hint}"
            ) from None

    def inputs(self, case: Case) -> dict[str, Array]:
        """Return fresh copies of the input tensors, so that a backend may do what it likes."""
        return self._copies(case, case.inputs)

    def expected(self, case: Case) -> dict[str, Array]:
        """Return the answer's tensors by output name."""
        return self._copies(case, case.expected)

    def alternatives(self, case: Case) -> dict[str, dict[str, Array]]:
        """Return the other legal answers: name of the behaviour -> output name -> tensor."""
        return {name: self._copies(case, outputs) for name, outputs in case.alternatives.items()}

    def _copies(self, case: Case, names: Mapping[str, str]) -> dict[str, Array]:
        tensors = self._tensors[case.family]
        return {role: tensors[name].copy() for role, name in names.items()}


def joined(sets: Sequence[VectorSet]) -> VectorSet:
    """Several sets as one; no two of them have a family in common.

    Raises:
        SchemaError: A family that two of them have.
    """
    tensors: dict[str, Mapping[str, Array]] = {}
    flags: dict[str, Mapping[str, str]] = {}
    for one in sets:
        if twice := sorted(tensors.keys() & set(one.families)):
            raise SchemaError(f"two sets have the families {twice}")
        tensors.update({family: one._tensors[family] for family in one.families})
        flags.update(one.flags)
    parts = {one.version: one.digest for one in sets}
    text = "".join(f"{version} {digest}\n" for version, digest in parts.items())
    return VectorSet(
        cases=tuple(case for one in sets for case in one.cases),
        manifest={"version": " + ".join(parts), "sets": parts},
        flags=flags,
        digest=hashlib.sha256(text.encode("ascii")).hexdigest(),
        _tensors=tensors,
    )
