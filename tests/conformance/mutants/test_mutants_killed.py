"""The frozen vectors catch every mutant, in both tiers, by flag and by clause."""

from __future__ import annotations

import functools

import pytest

from quant_conformance.cli import main
from quant_conformance.mutants import MUTANTS, PITFALLS, Mutant, Mutated, report
from quant_conformance.mutants.hunt import Hunter, ask, prepare
from quant_conformance.mutants.model import known
from quant_conformance.runner.selection import TIERS, Selection, select_cases
from quant_vectors import BLOCK_FAMILIES, FAMILIES, INTEGER_FAMILIES, Case, VectorSet, load_frozen

EVERY = (*FAMILIES, *INTEGER_FAMILIES, *BLOCK_FAMILIES)


@functools.cache
def vectors() -> VectorSet:
    return load_frozen()


FLAGS = vectors().flags


@functools.cache
def hunter(family: str, tier: str) -> Hunter:
    cases = select_cases(vectors(), Selection(tier, (family,)))
    return Hunter(vectors(), cases, first_kill=True)


def killed(mutants: list[Mutant], cases: list[Case]) -> bool:
    """Whether one of the cases catches one of the mutants."""
    hunts = Hunter(vectors(), cases, first_kill=True).hunt(mutants)
    return any(hunt.killers for hunt in hunts)


# What an exporter writes has no steps to exchange; defects are planted in exported files instead.
@pytest.mark.parametrize("family", [f for f in EVERY if f != "model"])
def test_the_pipeline_is_right_on_every_vector(family: str) -> None:
    """A mutant that survives would otherwise say nothing, nor would one that dies."""
    unchanged = known("unchanged", "does nothing wrong", "", (family,))
    cases = select_cases(vectors(), Selection(families=(family,)))
    (found,) = Hunter(vectors(), cases).hunt([unchanged])
    assert [case.id for case in found.killers] == []
    assert found.asked == len(cases)


def test_a_backend_without_a_bug_follows_the_policies_of_the_reference() -> None:
    for case in vectors().cases:
        if case.rule == "policy":
            outcome = ask(Mutated(), prepare(case, vectors().inputs(case)))
            expected = vectors().expected(case)
            for name, right in expected.items():
                assert outcome.outputs[name].tobytes() == right.tobytes(), case.id


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("family", EVERY)
def test_every_mutant_is_killed_by_each_of_its_families(family: str, tier: str) -> None:
    survivors = [
        f"{hunt.mutant.id}: {hunt.mutant.bug}"
        for hunt in hunter(family, tier).hunt(m for m in MUTANTS if family in m.families)
        if not hunt.killers
    ]
    assert survivors == []


@pytest.mark.parametrize("clause", sorted({c for mutant in MUTANTS for c in mutant.clauses}))
def test_a_mutant_of_each_clause_is_killed_by_a_vector_of_that_clause(clause: str) -> None:
    cases = [case for case in vectors().cases if clause in case.clauses]
    assert cases
    assert killed([m for m in MUTANTS if clause in m.clauses], cases)


@pytest.mark.parametrize("flag", FLAGS)
def test_each_flag_kills_a_mutant(flag: str) -> None:
    cases = [case for case in vectors().cases if flag in case.flags]
    assert cases
    assert killed(list(MUTANTS), cases)


def test_where_flags_were_seen_stands_among_the_pitfalls_too() -> None:
    seen = {place for pitfall in PITFALLS.values() for place in pitfall.seen}
    assert {flag["link"] for flag in FLAGS.values() if "#" in flag["link"]} <= seen


def test_the_command_reports_kills_and_clauses(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutants", "--family", "default_axis", "--tier", "quick"]) == 0
    out = capsys.readouterr().out
    row = next(line for line in out.splitlines() if "default-axis-zero" in line)
    assert "GRAN-7" in row
    assert "DefaultAxis" in row
    assert "GRAN-7" in out.split("default-axis-of-any-module")[1]
    assert "100%" in out
    assert "survives" not in out


def test_the_command_fails_on_a_survivor(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    harmless = known("harmless", "does nothing wrong", "GRAN-7", ("default_axis",))
    monkeypatch.setattr(report, "MUTANTS", (*MUTANTS, harmless))
    assert main(["mutants", "--family", "default_axis"]) == 1
    out = capsys.readouterr().out
    assert "survives default_axis: harmless – does nothing wrong" in out


def test_the_command_refuses_an_unknown_family(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["mutants", "--family", "quantise"]) == 2
    assert "quantize" in capsys.readouterr().err
