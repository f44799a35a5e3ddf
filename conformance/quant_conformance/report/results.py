"""Results as JSON: written after a run, read again by ``diff``."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from quant_conformance.errors import ResultsError
from quant_conformance.report.evidence import evidence_of
from quant_conformance.report.followed_rules import followed
from quant_conformance.rule_questions.names import shortened
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import CaseResult

RUN_SCHEMA = "quant-conformance/results/1"
RUNS_SCHEMA = "quant-conformance/runs/1"

Document = dict[str, Any]


def results_schema() -> Document:
    """Returns the JSON Schema that every results file follows."""
    path = files("quant_conformance").joinpath("schemas", "results.schema.json")
    schema: Document = json.loads(path.read_text(encoding="utf-8"))
    return schema


def run_document(run: Run) -> Document:
    """Returns one run as plain JSON values; nothing in it depends on when or where it ran."""
    document: Document = {
        "schema": RUN_SCHEMA,
        "backend": run.backend,
        "versions": dict(sorted(run.versions.items())),
        "vectors": dict(run.vectors),
        "summary": run.summary,
        "policies": run.policies,
        "declared_policies": dict(sorted(run.declared.items())),
        "stale": list(run.stale),
        "notes": list(run.notes),
        "diagnosis": [asdict(explanation) for explanation in evidence_of(run).diagnosis],
        "cases": [_case(result) for result in run.results],
    }
    rules = [
        {**asdict(one), "rules": shortened(one.rules).split()} for one in followed(run.results)
    ]
    if rules:
        document["rules"] = rules
    if run.unmet:
        document["unmet"] = list(run.unmet)
    if run.problem is not None:
        document["problem"] = {"kind": run.problem, "text": run.text}
    return document


def results_text(runs: Sequence[Run]) -> str:
    """Returns the results file: the run itself, or the list of several."""
    documents = [run_document(run) for run in runs]
    whole = documents[0] if len(documents) == 1 else {"schema": RUNS_SCHEMA, "runs": documents}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def _case(result: CaseResult) -> Document:
    optional = {"policy": result.policy, "choice": result.choice, "link": result.link}
    return {
        "id": result.id,
        "family": result.family,
        "clauses": list(result.clauses),
        "flags": list(result.flags),
        "verdict": result.verdict.value,
        "detail": result.detail,
        **{key: value for key, value in optional.items() if value is not None},
        **({} if result.was is None else {"was": result.was.value}),
    }


def read_results(path: Path) -> dict[str, Mapping[str, Any]]:
    """Reads a results file as backend name -> run document.

    Raises:
        ResultsError: it cannot be read, is no JSON, does not follow the schema, or names a
            backend twice.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    except json.JSONDecodeError as error:
        raise ResultsError(f"{path} is not JSON: {error}") from error
    # One branch of the schema at a time: "is not valid under any" would help nobody.
    several = isinstance(value, dict) and value.get("schema") == RUNS_SCHEMA
    schema = {**results_schema(), "$ref": "#/$defs/runs" if several else "#/$defs/run"}
    del schema["oneOf"]
    problem = best_match(Draft202012Validator(schema).iter_errors(value))
    if problem is not None:
        where, what = problem.json_path, problem.message[:300]
        raise ResultsError(f"{path} is no results file: {where}: {what}")
    runs = value["runs"] if several else [value]
    by_name = {run["backend"]: run for run in runs}
    if len(by_name) != len(runs):
        raise ResultsError(f"{path} names a backend twice")
    return by_name
