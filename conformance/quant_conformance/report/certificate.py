"""A certificate: what a run judged on what, under a digest, to be checked and run again."""

from __future__ import annotations

import hashlib
import json
import platform
import random
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from quant_conformance.errors import ResultsError
from quant_conformance.report.results import run_document
from quant_conformance.runner.loading import is_builtin
from quant_conformance.runner.notes import judged
from quant_conformance.runner.run import Run
from quant_conformance.verdicts.verdict import FAILURES

SCHEMA = "quant-conformance/certificate/1"

Document = dict[str, Any]


def certificate(
    run: Run, selection: Mapping[str, Any], conditions: Mapping[str, Any], known: Path | None
) -> Document:
    """Makes the certificate of a run.

    Args:
        run: the run.
        selection: what was asked, as the command line has it.
        conditions: what the run had to meet, as the command line has it.
        known: the file of known failures, or None for what the suite ships.
    """
    results = run_document(run)
    counts: dict[str, Counter[str]] = {}
    for case in run.results:
        counts.setdefault(case.family, Counter())[case.verdict.value] += 1
    document: Document = {
        "schema": SCHEMA,
        "backend": run.backend,
        "reference": run.reference,
        "versions": dict(run.versions),
        "suite": {
            "quant-conformance": _version("quant-conformance"),
            "python": platform.python_version(),
            "numpy": np.__version__,
        },
        "machine": {
            "system": platform.system(),
            "architecture": platform.machine(),
            "cpu_features": cpu_features(),
        },
        "vectors": dict(run.vectors),
        "selection": dict(selection),
        "conditions": dict(conditions),
        "expectations": _digest_of_expectations(run.reference, known),
        "passed": not run.failed and run.problem is None and judged(run.results) > 0,
        "unmet": list(run.unmet),
        "stale": list(run.stale),
        "counts": {family: dict(found) for family, found in counts.items()},
        "policies": run.policies,
        "declared_policies": dict(run.declared),
        "rules": results.get("rules", []),
        "cases": {
            case.id: case.verdict.value if case.choice is None else f"{case.verdict}:{case.choice}"
            for case in run.results
        },
    }
    return {**document, "sha256": digest(document)}


def cpu_features() -> list[str]:
    """Returns the vector extensions that numpy finds on this processor, sorted."""
    extensions = np.show_config(mode="dicts") or {}
    found = extensions.get("SIMD Extensions", {})
    return sorted({*found.get("baseline", []), *found.get("found", [])})


def digest(document: Mapping[str, Any]) -> str:
    """Returns the SHA-256 of a certificate's content, all but its ``sha256``.

    It is taken of canonical JSON: keys sorted by code point, no whitespace, UTF-8.
    """
    content = {key: value for key, value in document.items() if key != "sha256"}
    text = json.dumps(
        content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    )
    return hashlib.sha256(text.encode("utf-8")).hexdigest()


def certificate_text(document: Mapping[str, Any]) -> str:
    """Returns the file of a certificate."""
    return json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def read_certificate(path: Path) -> Document:
    """Reads a certificate and checks that it is whole.

    Raises:
        ResultsError: it cannot be read, is no certificate, or was changed.
    """
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import best_match

    try:
        document: Document = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise ResultsError(f"cannot read {path}: {error}") from error
    schema = files("quant_conformance").joinpath("schemas", "certificate.schema.json")
    rules = json.loads(schema.read_text(encoding="utf-8"))
    problem = best_match(Draft202012Validator(rules).iter_errors(document))
    if problem is not None:
        where = problem.json_path
        raise ResultsError(f"{path} is no certificate: {where}: {problem.message[:300]}")
    try:
        found = digest(document)
    except ValueError as error:  # a NaN, or half of a surrogate pair
        raise ResultsError(f"{path} is no certificate: {error}") from error
    if found != document["sha256"]:
        raise ResultsError(
            f"{path} was changed: it says sha256 {document['sha256']}, its content has {found}"
        )
    _check_counts(path, document)
    return document


def sampled(document: Mapping[str, Any], count: int, seed: int) -> list[str]:
    """Draws ids of cases, the same for the same seed, in the order of their names."""
    names = sorted(document["cases"])
    return sorted(random.Random(seed).sample(names, min(count, len(names))))


def differences(document: Mapping[str, Any], again: Mapping[str, Any]) -> list[str]:
    """Compares a certificate with one of a run of some of its cases, a line per difference."""
    lines = [
        f"{name}: the certificate says {document[name]}, this run {again[name]}"
        for name in ("backend", "versions", "vectors", "expectations")
        if document[name] != again[name]
    ]
    for name, verdict in again["cases"].items():
        said = document["cases"].get(name, "nothing")
        if said != verdict:
            lines.append(f"{name}: the certificate says {said}, this run {verdict}")
    return lines


def _check_counts(path: Path, document: Document) -> None:
    totals = Counter[str]()
    for found in document["counts"].values():
        totals.update(found)
    verdicts = Counter(verdict.partition(":")[0] for verdict in document["cases"].values())
    if +totals != verdicts:
        raise ResultsError(f"{path}: counts and cases contradict each other")
    failed = FAILURES.intersection(verdicts) or document["unmet"] or document["stale"]
    if document["passed"] and failed:
        raise ResultsError(f"{path}: says passed, and lists what failed")


def _once(pairs: Sequence[tuple[str, Any]]) -> Document:
    names = [name for name, _ in pairs]
    if len(set(names)) < len(names):
        raise ValueError("a key is given twice")
    return dict(pairs)


def _digest_of_expectations(reference: str, known: Path | None) -> str | None:
    if known is not None:
        return hashlib.sha256(known.read_bytes()).hexdigest()
    shipped = files("quant_conformance").joinpath("verdicts", "known", f"{reference}.toml")
    if is_builtin(reference) and shipped.is_file():
        return hashlib.sha256(shipped.read_bytes()).hexdigest()
    return None


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
