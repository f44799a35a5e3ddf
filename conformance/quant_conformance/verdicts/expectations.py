"""Known failures as data: one TOML file per backend, every entry with a reason.

An entry::

    [[expect]]
    cases = "quantize/*-e5m2-*"            # any of cases (a glob), flag and clause; all must hold
    versions = {onnxruntime = ">=1.22,<1.24"}
    reason = "rounds ties away from zero"
    link = "docs/findings.md#onnxruntime-ties"

A failure that an entry matches is ``expected``. An entry that matches no failure although every
case it could match was run is stale: the system was fixed, and the entry has to go.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from quant_conformance.errors import ExpectationsError
from quant_conformance.verdicts.verdict import FAILURES, CaseResult, Verdict

if TYPE_CHECKING:
    from quant_vectors import Case


class Expectation(BaseModel):
    """One known failure."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cases: str | None = None
    flag: str | None = None
    clause: str | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    verdict: Literal["unlikely", "undecided", "wrong", "crashed", "timed_out"] = "wrong"
    reason: str
    link: str | None = None

    @field_validator("versions")
    @classmethod
    def _specifiers(cls, versions: dict[str, str]) -> dict[str, str]:
        for package, specifier in versions.items():
            try:
                SpecifierSet(specifier)
            except InvalidSpecifier as error:
                raise ValueError(f'{package}: {error}; a range is like ">=1.2,<1.4"') from error
        return versions

    @field_validator("reason")
    @classmethod
    def _says_why(cls, reason: str) -> str:
        if not reason.strip():
            raise ValueError("the reason is empty; write why these cases fail")
        return reason

    @model_validator(mode="after")
    def _names_something(self) -> Expectation:
        if self.cases is None and self.flag is None and self.clause is None:
            raise ValueError("one of cases, flag and clause is needed")
        return self

    def applies(self, installed: Mapping[str, str]) -> bool:
        """Tells whether every named package is installed in a version of its range."""
        try:
            return all(
                package in installed
                and SpecifierSet(specifier).contains(installed[package], prereleases=True)
                for package, specifier in self.versions.items()
            )
        except InvalidVersion:
            return False

    def covers(self, case: Case | CaseResult) -> bool:
        """Tells whether the entry is about this case, whatever its verdict."""
        return (
            (self.cases is None or fnmatchcase(case.id, self.cases))
            and (self.flag is None or self.flag in case.flags)
            and (self.clause is None or self.clause in case.clauses)
        )

    def __str__(self) -> str:
        """Writes the entry's conditions: ``cases = "encode/*", flag = "Ties"``."""
        named = {"cases": self.cases, "flag": self.flag, "clause": self.clause}
        return ", ".join(f'{key} = "{value}"' for key, value in named.items() if value)


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    expect: list[Expectation] = Field(default_factory=list)


@dataclass(frozen=True)
class Expectations:
    """The entries of one file.

    Attributes:
        source: where they are, for messages.
        entries: the entries in the order of the file.
    """

    source: str = ""
    entries: tuple[Expectation, ...] = ()

    def apply(
        self,
        results: Sequence[CaseResult],
        cases: Iterable[Case],
        installed: Mapping[str, str],
        *,
        frozen: bool = True,
    ) -> tuple[list[CaseResult], list[str]]:
        """Replaces known failures by ``expected`` and finds the stale entries.

        Args:
            results: what was run.
            cases: every case of the vector set, run or not.
            installed: package to version, as the backend states them.
            frozen: whether an entry that covers no case at all is stale, too.

        Returns:
            The results, and one line for each stale entry.
        """
        known = _Known([entry for entry in self.entries if entry.applies(installed)])
        judged = [known.replaced(result) for result in results]
        ran = {result.id for result in results}
        every = list(cases)
        stale = [
            f"{self.source}: {entry} matches no failure ({entry.verdict}) any more: {entry.reason}"
            for entry in known.unused
            if _could_have_matched(entry, every, ran, frozen)
        ]
        return judged, stale


def _could_have_matched(
    entry: Expectation, cases: Sequence[Case], ran: set[str], frozen: bool
) -> bool:
    covered = [case.id for case in cases if entry.covers(case)]
    return ran.issuperset(covered) if covered else frozen


class _Known:
    """The entries that apply to the installed versions, and which of them were of use."""

    def __init__(self, entries: Sequence[Expectation]) -> None:
        self._entries = entries
        self._used: set[int] = set()

    def replaced(self, result: CaseResult) -> CaseResult:
        if result.verdict not in FAILURES:
            return result
        found = [
            i
            for i, entry in enumerate(self._entries)
            if entry.verdict == result.verdict and entry.covers(result)
        ]
        if not found:
            return result
        self._used.update(found)
        entry = self._entries[found[0]]
        return replace(
            result,
            verdict=Verdict.EXPECTED,
            detail=f"{entry.reason}: {result.detail}",
            was=result.verdict,
            link=entry.link,
            reason=entry.reason,
        )

    @property
    def unused(self) -> list[Expectation]:
        return [entry for i, entry in enumerate(self._entries) if i not in self._used]


def load_expectations(path: Path | Traversable) -> Expectations:
    """Reads an expectations file.

    Raises:
        ExpectationsError: the file is missing, no TOML, or has an entry that says too little,
            too much or something unknown.
    """
    try:
        value = tomllib.loads(path.read_text(encoding="utf-8"))
        return Expectations(path.name, tuple(_File.model_validate(value).expect))
    except (OSError, UnicodeDecodeError) as error:
        raise ExpectationsError(f"cannot read {path}: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise ExpectationsError(f"{path} is not TOML: {error}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()
        )
        raise ExpectationsError(f"{path}: {problems}") from error


def builtin_expectations(backend: str) -> Expectations:
    """Returns the known failures of one of the suite's own backends, none without a file."""
    path = files("quant_conformance").joinpath("verdicts", "known", f"{backend}.toml")
    return load_expectations(path) if path.is_file() else Expectations(f"{backend}.toml")
