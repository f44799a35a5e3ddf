"""A folder of answers as a backend: what came back from wherever the questions were answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from quant_conformance.errors import UsageError
from quant_conformance.protocol import Array, Backend
from quant_conformance.runner.case_backend import CaseBackend
from quant_conformance.runner.selection import load_set, select_cases
from quant_conformance.verdicts.outcome import Outcome
from quant_conformance.wire.folder import read_manifest
from quant_conformance.wire.formats import FORMATS, read_file
from quant_conformance.wire.model import NOT_ON_THE_WIRE
from quant_conformance.wire.outcomes import outcomes_of
from quant_conformance.wire.references import parsed
from quant_vectors import Case


@dataclass(frozen=True)
class Options:
    """How a folder of answers is judged.

    Attributes:
        vectors: folder of the set, or nothing for the frozen ones.
        name: what reports call the backend.
        partial: globs over ids of cases that may be unanswered.
    """

    vectors: str = ""
    name: str = "answers"
    partial: list[str] = field(default_factory=list)


class Answered(CaseBackend):
    """Takes the answers of a folder as those of a backend."""

    answers = Path()
    options = Options()

    def __init__(self) -> None:
        vectors = load_set(self.options.vectors or None)
        manifest = read_manifest(self.answers)
        if manifest.digest != vectors.digest:
            raise UsageError(
                f"the questions are of {manifest.version} ({manifest.digest[:12]}), the vectors "
                f"are {vectors.version} ({vectors.digest[:12]})"
            )
        places = {case.id: number for number, case in enumerate(vectors.cases)}
        self._asked: dict[str, dict[int, str]] = {}
        for case in select_cases(vectors, manifest.selection):
            self._asked.setdefault(case.family, {})[places[case.id]] = case.operation
        self._places = places
        self._outcomes: dict[str, dict[int, Outcome]] = {}

    def versions(self) -> dict[str, str]:
        """Nothing: the answers do not say what gave them."""
        return {}

    def ask(self, case: Case, tensors: Mapping[str, Array]) -> Outcome:
        """Looks the answer up."""
        if case.operation in NOT_ON_THE_WIRE:
            return Outcome("unsupported", text=NOT_ON_THE_WIRE[case.operation])
        if case.family not in self._outcomes:
            self._outcomes[case.family] = self._read(case.family)
        outcome = self._outcomes[case.family].get(self._places[case.id])
        if outcome is None:
            outcome = Outcome("unanswered", text="was not asked: the questions are of a part")
        if outcome.kind == "unanswered" and any(
            fnmatchcase(case.id, pattern) for pattern in self.options.partial
        ):
            return Outcome("unsupported", text="not answered, as was declared")
        return outcome

    def _read(self, family: str) -> dict[int, Outcome]:
        asked = self._asked.get(family, {})
        names = [family + fmt.suffix for fmt in FORMATS.values()]
        there = [name for name in names if _is_there(self.answers / name)]
        if len(there) > 1:
            text = f"there are two files of answers: {', '.join(there)}"
            return {number: Outcome("malformed", text=text) for number in asked}
        if not there:
            text = f"there is no file of answers {', '.join(names)}"
            return {number: Outcome("unanswered", text=text) for number in asked}
        fmt = next(fmt for fmt in FORMATS.values() if there[0] == family + fmt.suffix)
        return outcomes_of(there[0], read_file(self.answers / there[0], fmt), asked)


def _is_there(path: Path) -> bool:
    return path.is_symlink() or path.exists()


def backend_of(reference: str) -> type[Backend]:
    """Makes the class of a folder of answers."""
    target, options = parsed(reference, Options)
    members: dict[str, Any] = {
        "answers": Path(target),
        "options": options,
        "name": options.name,
        "__module__": __name__,
    }
    return type("Answers", (Answered,), members)
