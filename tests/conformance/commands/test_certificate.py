"""Certificates: whole or refused, and the same again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from tests.conformance.backends_for_tests import reference

from quant_conformance.cli import main
from quant_conformance.errors import ResultsError
from quant_conformance.report.certificate import digest, read_certificate, sampled

Capture = pytest.CaptureFixture[str]
Command = Callable[..., int]


@pytest.fixture
def written(run: Command, tmp_path: Path) -> Path:
    path = tmp_path / "certificate.json"
    assert run("numpy-reference", more=("--certificate", str(path), "--require", "encode=2")) == 0
    return path


def test_the_digest_is_that_of_the_canonical_text() -> None:
    # The text by hand, in UTF-8: é is c3 a9.
    text = b'{"a":[1,"\xc3\xa9"],"b":{"c":null,"d":true}}'
    content = {"sha256": "any", "b": {"d": True, "c": None}, "a": [1, "é"]}
    assert digest(content) == hashlib.sha256(text).hexdigest()


def test_what_it_says(written: Path, vectors: str) -> None:
    document = read_certificate(written)
    assert document["passed"] is True
    assert document["counts"]["encode"] == {"exact": 5}
    assert sum(sum(found.values()) for found in document["counts"].values()) == 18
    assert len(document["cases"]) == 18
    assert document["conditions"] == {"require": ["encode=2"], "min_judged": 0, "fail_on": []}
    assert document["machine"]["cpu_features"]


def changes(value: Any) -> Iterator[Any]:
    """Every value that differs from a given one in one place."""
    if isinstance(value, dict):
        for key in value:
            yield {name: each for name, each in value.items() if name != key}
            yield from ({**value, key: other} for other in changes(value[key]))
        yield {**value, "more": "x"}
    elif isinstance(value, list):
        yield [*value, "more"]
        for i, each in enumerate(value):
            yield value[:i] + value[i + 1 :]
            yield from ([*value[:i], other, *value[i + 1 :]] for other in changes(each))
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield value + 1
    elif isinstance(value, str):
        yield value[:-1] + ("0" if value[-1:] != "0" else "1")
    else:
        yield "0" * 64


def test_a_change_of_any_field_is_found(written: Path) -> None:
    document = json.loads(written.read_text(encoding="utf-8"))
    seen = set()
    for changed in changes(document):
        seen |= {key for key in document if changed.get(key) != document[key]}
        written.write_text(json.dumps(changed), encoding="utf-8")
        with pytest.raises(ResultsError, match=r"is no certificate|was changed"):
            read_certificate(written)
    assert seen == document.keys()
    # Written otherwise, it is the same.
    written.write_text(json.dumps(document, indent=4), encoding="utf-8")
    assert read_certificate(written) == document


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"a": 1, "a": 1}', "[" * 100_000])
def test_what_is_no_certificate_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(text)
    assert main(["verify-certificate", str(path)]) == 2


def test_a_sample_is_run_again(written: Path, vectors: str, capsys: Capture) -> None:
    verify = ["verify-certificate", str(written), "--vectors", vectors]
    assert main(verify[:2]) == 0
    assert main([*verify, "--sample", "100"]) == 0
    assert "18 cases run again, 0 differences" in capsys.readouterr().out
    assert main([*verify, "--sample", "100", "--backend", reference("OneBit")]) == 1
    assert "quantize/tie: the certificate says exact, this run wrong" in capsys.readouterr().out


def test_a_forged_verdict_is_found_by_the_sample(
    written: Path, vectors: str, capsys: Capture
) -> None:
    document = json.loads(written.read_text(encoding="utf-8"))
    assert document["cases"]["quantize/tie"] == "exact"
    document["cases"]["quantize/tie"] = "admissible"
    document["counts"]["quantize"]["exact"] -= 1
    document["counts"]["quantize"]["admissible"] = 1
    document["sha256"] = digest(document)
    written.write_text(json.dumps(document), encoding="utf-8")
    verify = ["verify-certificate", str(written), "--vectors", vectors]
    assert main([*verify, "--sample", "18"]) == 1
    assert "quantize/tie: the certificate says admissible" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("counts", {"encode": {"exact": 18}}, "contradict each other"),
        ("stale", ["known.toml"], "lists what failed"),
        ("unmet", ["encode"], "lists what failed"),
        ("backend", "\ud800", "is no certificate"),
        ("selection", {"tier": float("nan")}, "is no certificate"),
    ],
)
def test_a_new_digest_does_not_hide_what_contradicts_itself(
    written: Path, key: str, value: object, problem: str
) -> None:
    document = {**json.loads(written.read_text(encoding="utf-8")), key: value}
    with suppress(ValueError):
        document["sha256"] = digest(document)
    written.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ResultsError, match=problem):
        read_certificate(written)


def test_the_draw_is_that_of_the_seed(written: Path) -> None:
    document = read_certificate(written)
    assert sampled(document, 5, 1) == sampled(document, 5, 1)
    assert len({tuple(sampled(document, 5, seed)) for seed in range(20)}) > 10


def test_other_vectors_are_refused(run: Command, written: Path, capsys: Capture) -> None:
    pin = read_certificate(written)["vectors"]["digest"]
    assert run("numpy-reference", more=("--pin", pin)) == 0
    assert run("numpy-reference", more=("--pin", "0" * 64)) == 2
    assert pin in capsys.readouterr().err
    assert main(["verify-certificate", str(written), "--sample", "1"]) == 2


def test_a_run_that_judged_nothing_did_not_pass(run: Command, tmp_path: Path) -> None:
    path = tmp_path / "nothing.json"
    given = ("--family", "quantize", "--certificate", str(path))
    assert run(reference("Powers"), more=given) == 2
    assert set(read_certificate(path)["counts"]["quantize"]) == {"unsupported"}
    assert read_certificate(path)["passed"] is False
