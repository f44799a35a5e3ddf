"""The command ``verify-certificate``, and the options of ``run`` that go with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from quant_conformance.commands.options import Vectors
from quant_conformance.errors import UsageError
from quant_conformance.report.certificate import (
    certificate,
    differences,
    read_certificate,
    sampled,
)
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.runs import Plan, Runner
from quant_conformance.runner.selection import Selection, load_set, select_cases
from quant_conformance.verdicts.expectations import load_expectations
from quant_vectors import VectorSet

Certificate = Annotated[
    Path | None, typer.Option(help="Write a certificate (JSON) of the one backend here.")
]
Pin = Annotated[
    str | None, typer.Option(metavar="DIGEST", help="Refuse vectors with another SHA-256.")
]


def check_pin(vectors: VectorSet, pin: str | None) -> None:
    """Refuses vectors that are not the pinned ones.

    Raises:
        UsageError: the digest is another.
    """
    if pin is not None and pin.lower() != vectors.digest:
        raise UsageError(f"--pin {pin}: the vectors {vectors.version} have {vectors.digest}")


def verify_certificate(
    file: Annotated[Path, typer.Argument(help="The certificate.")],
    sample: Annotated[
        int, typer.Option(min=0, help="Run this many of its cases again, and compare.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of the draw of these cases.")] = 0,
    backend: Annotated[
        str | None, typer.Option(help="What the backend is loaded by, if that is another here.")
    ] = None,
    vectors: Vectors = None,
    expectations: Annotated[
        Path | None, typer.Option(help="The known failures (TOML) of the certified run.")
    ] = None,
) -> None:
    """Check a certificate's digest, and run a sample of it again; exit 1 if one differs."""
    document = read_certificate(file)
    print(f"{document['backend']}: {len(document['cases'])} cases, sha256 {document['sha256']}")
    if not sample:
        return
    loaded = load_set(vectors)
    check_pin(loaded, document["vectors"]["digest"])
    names = set(sampled(document, sample, seed))
    chosen = [case for case in select_cases(loaded, Selection("full")) if case.id in names]
    known = None if expectations is None else load_expectations(expectations)
    plan = Plan(Limits(tier="full"), expectations=known, frozen=vectors is None)
    done = Runner(loaded, chosen, plan).run(backend or document["reference"])
    found = differences(document, certificate(done, {}, {}, expectations))
    missing = sorted(names - {result.id for result in done.results})
    found += [f"{name}: was not judged again" for name in missing]
    for line in found:
        print(line)
    print(f"{len(names)} cases run again, {len(found)} differences")
    raise typer.Exit(1 if found else 0)
