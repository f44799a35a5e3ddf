"""What was not judged does not pass, and what a backend misspells is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
from tests.conformance.backends_for_tests import reference
from tests.conformance.sets import Draft, encodes, f32, write_set

from quant_conformance.cli import main
from quant_conformance.protocol import missing_packages
from quant_conformance.registry import BACKENDS
from quant_conformance.runner.loading import load_class
from quant_conformance.runner.protocol_check import misnamed

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "Nothing",
            "nothing was judged: 18 cases, none supported: the backend has no encode() (5)",
        ),
        ("Misspelt", "nothing was judged: 18 cases, none supported: the backend has no encode(); "),
        ("Misspelt", "encoder() is not in the protocol; did you mean encode()?"),
        ("Misspelt", "isolate is not in the protocol; did you mean isolated?"),
        ("Misspelt", "warm() is not in the protocol; the nearest name is "),
        ("SupportsNothing", "none supported: not today (5); "),
        ("SelectsNothing", "nothing was judged: 13 cases, none supported"),
    ],
)
def test_a_backend_of_which_nothing_was_judged_fails_the_gate(
    run: Callable[..., int], capsys: Capture, name: str, said: str
) -> None:
    assert run(reference(name)) == 2
    assert said in capsys.readouterr().out


def test_a_selection_that_the_backend_leaves_out_fails_the_gate(
    run: Callable[..., int], capsys: Capture
) -> None:
    assert run(reference("SelectsNothing"), more=("--family", "encode")) == 2
    assert "nothing was judged: selects() leaves out every case" in capsys.readouterr().out
    assert run("ml-dtypes", more=("--family", "pack")) == 2
    assert "nothing was judged: 2 cases" in capsys.readouterr().out


def test_one_of_several_named_backends_judged_nothing(run: Callable[..., int]) -> None:
    assert run("numpy-reference", reference("Nothing")) == 2
    # A failure is worse than a mistake.
    assert run(reference("Raises"), reference("Nothing")) == 1


def test_part_of_it_suffices_and_a_misspelt_name_is_told(
    run: Callable[..., int], capsys: Capture
) -> None:
    assert run(reference("PartlyMisspelt"), more=("--case", "encode/power-*")) == 0
    out = capsys.readouterr().out
    assert "note decodeX() is not in the protocol; did you mean decode()?" in out
    assert "warm" not in out
    assert run(reference("Fields"), more=("--case", "encode/power-*")) == 0
    assert "note" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "TakesTooLittle",
            "encode(x) cannot be called as the protocol does, encode(x, fmt): too many",
        ),
        ("TakesTooMuch", "validate_spec(mapping, strict) cannot be called as"),
        ("NoMethod", "decode is None and no method; the protocol calls decode(codes, fmt)"),
        ("VersionsAreNoMethod", "versions is {'powers': '1'} and no method"),
        ("RequiresText", "requires is 'onnxruntime'; allowed: a tuple of names"),
        ("PatienceIsText", "patience is 'long'; allowed: a number above 0"),
        ("IsolatedIsText", "isolated is 'no'; allowed: True, False"),
    ],
)
@pytest.mark.parametrize("isolate", ["--isolate", "--no-isolate"])
def test_a_class_that_the_protocol_cannot_call_is_a_mistake(
    run: Callable[..., int], capsys: Capture, name: str, said: str, isolate: str
) -> None:
    assert run(reference(name), more=(isolate,)) == 2
    out, err = capsys.readouterr()
    assert f"quant-conformance: {reference(name)}: " in err
    assert said in err
    assert out == ""


def test_supports_must_give_a_reason(run: Callable[..., int], capsys: Capture) -> None:
    assert run(reference("SupportsIsTrue"), more=("--family", "encode")) == 1
    assert "supports() returned True; allowed: None if the case can be asked" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize("isolate", ["--isolate", "--no-isolate"])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("class B(:\n    pass\n", "cannot be imported: SyntaxError: "),
        ("import os\n1 / 0\n", "cannot be imported: ZeroDivisionError: division by zero ("),
        ("from math import sinus\n", "cannot be imported: ImportError: cannot import name 'sinus'"),
        ("raise SystemExit(3)\n", "cannot be imported: SystemExit: 3"),
    ],
    ids=["syntax", "exception", "import", "exit"],
)
def test_a_module_that_cannot_be_imported_is_a_mistake(
    run: Callable[..., int], capsys: Capture, tmp_path: Path, text: str, said: str, isolate: str
) -> None:
    module = tmp_path / f"broken_{isolate[2:4]}.py"
    module.write_text(text)
    assert run(f"{module}:B", more=(isolate,)) == 2
    out, err = capsys.readouterr()
    assert err.startswith(f"quant-conformance: {module} {said}")
    assert len(err.splitlines()) == 1
    assert "ZeroDivision" not in said or f"{module}, line 2)" in err
    assert out == ""


def test_what_was_not_judged_is_in_every_report(run: Callable[..., int], tmp_path: Path) -> None:
    kinds = ("json", "junit", "markdown", "html")
    files = [part for kind in kinds for part in (f"--{kind}", str(tmp_path / kind))]
    assert run(reference("Misspelt"), more=tuple(files)) == 2
    line = "encoder() is not in the protocol; did you mean encode()?"
    assert line in json.loads((tmp_path / "json").read_text())["notes"]
    assert line in (tmp_path / "markdown").read_text().replace("\\", "")
    assert line in (tmp_path / "html").read_text()
    (failure,) = Xml.parse(tmp_path / "junit").iter("failure")
    assert "nothing was judged: 18 cases" in failure.get("message", "")


def test_a_set_of_ones_own_names_what_was_not_supported(
    run: Callable[..., int], capsys: Capture
) -> None:
    assert run(reference("Powers"), more=("--case", "*/power-*", "--case", "pack/*")) == 0
    out = capsys.readouterr().out
    assert "not supported, the backend has no pack(): pack/pack (made for a test)" in out
    assert "not supported, the backend has no unpack(): pack/unpack (made for a test)" in out


def test_a_policy_that_does_not_exist_is_told(capsys: Capture) -> None:
    main(["run", "--backend", reference("UnknownPolicies"), "--family", "pack", "--no-isolate"])
    out = capsys.readouterr().out
    assert "policy 'nan_payloads' is declared and unknown; did you mean nan_payload?" in out
    assert "policy nan_payload: the declared choice 'any-nan' is unknown; did you mean any_nan" in (
        out
    )


def test_no_backend_of_ours_has_a_name_that_looks_misspelt() -> None:
    for name in BACKENDS:
        cls = load_class(name)
        if not missing_packages(cls):
            assert misnamed(cls.__new__(cls)) == [], name


def test_mutants_of_which_none_was_hunted_do_not_pass(capsys: Capture) -> None:
    assert main(["mutants", "--family", "model"]) == 2
    assert "no known bug" in capsys.readouterr().err


def test_a_kernel_without_checks_is_not_asked_what_it_cannot_refuse(
    tmp_path: Path, capsys: Capture
) -> None:
    refused = [
        Draft(
            f"encode/nan-{i}",
            "encode",
            {"x": f32(np.nan)},
            more={"arguments": {"format": "int8"}, "result": "refused", "clauses": ("ENC-7",)},
        )
        for i in range(25)  # more deaths in a row than are borne with
    ]
    where = str(write_set([*refused, *encodes(4)], tmp_path / "set"))
    backend = ["--backend", reference("CrashesOnBadInput"), "--vectors", where]
    assert main(["run", *backend, "--isolate"]) == 0
    out = capsys.readouterr().out
    assert "not supported, does not check its input: that is the caller's: encode/nan-0" in out
    assert main(["run", *backend, "--isolate", "--case", "encode/nan-*"]) == 2
