"""The command line: exit codes, files, listings, messages."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.conformance.backends_for_tests import reference

from quant_conformance.cli import main
from quant_conformance.registry import BACKENDS
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Runner

Capture = pytest.CaptureFixture[str]


def test_exit_0_and_the_scoreboard(run: Callable[..., int], capsys: Capture) -> None:
    assert run("numpy-reference", "ml-dtypes") == 0
    out, err = capsys.readouterr()
    head, titles, _, first, *_ = out.splitlines()
    assert head.startswith("numpy-reference (ml_dtypes ")
    assert titles.split()[:2] == ["family", "exact"]
    assert first.split()[:2] == ["encode", "5"]
    assert ["numpy-reference", "17"] in [line.split()[:2] for line in out.splitlines()[-4:]]
    assert "policy nan_payload: canonical (1)" in out
    ends = "18 cases, 0 failures, known ones included\n"
    assert err == f"numpy-reference: {ends}ml-dtypes: {ends}"


def test_exit_1_on_a_wrong_answer_that_is_shown(
    run: Callable[..., int], vectors: str, capsys: Capture
) -> None:
    assert run(reference("OneBit")) == 1
    out = capsys.readouterr().out
    assert "wrong quantize/tie [Q-2]" in out
    assert "codes[1]: expected 2 (bits 0x02), got 3 (bits 0x03)" in out
    command = f"quant-conformance explain quantize/tie --backend {reference('OneBit')}"
    assert f"{command} --vectors {vectors}\n" in out


def test_exit_1_on_a_crash(run: Callable[..., int]) -> None:
    assert run(reference("Raises"), more=("--case", "encode/power-2")) == 1


def test_known_failures_may_be_given_and_stale_ones_fail(
    run: Callable[..., int], tmp_path: Path, capsys: Capture
) -> None:
    known = tmp_path / "known.toml"
    more = ("--expectations", str(known), "--family", "quantize")
    known.write_text('[[expect]]\ncases = "quantize/tie"\nreason = "known"')
    assert run(reference("OneBit"), more=more) == 0
    assert run("numpy-reference", more=more) == 1
    assert "stale expectation known.toml" in capsys.readouterr().out


def test_each_backend_is_printed_when_it_ends(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    seen: list[str] = []

    def ask(self: Runner, name: str) -> Run:
        seen.append(capsys.readouterr().out)
        return original(self, name)

    original = Runner.run
    monkeypatch.setattr(Runner, "run", ask)
    assert run("numpy-reference", "ml-dtypes") == 0
    assert seen[0] == ""
    assert "numpy-reference" in seen[1]
    assert "ml-dtypes" in capsys.readouterr().out


def test_a_reader_who_leaves_costs_no_report(
    run: Callable[..., int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def leave(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("quant_conformance.commands.app.print_run", leave)
    run("numpy-reference", more=("--json", str(tmp_path / "r.json")))
    assert (tmp_path / "r.json").stat().st_size > 0


def test_a_terminal_gets_a_bar(
    run: Callable[..., int], capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert run("numpy-reference") == 0
    err = capsys.readouterr().err
    assert "18/18" in err
    assert "\x1b[" in err


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--backend", "numpy-refrence"), "did you mean numpy-reference"),
        (("--backend", "nothere.py:A"), "there is no file nothere.py"),
        (("--family", "quantise"), "did you mean quantize"),
        (("--flag", "None"), "unknown flag 'None'"),
        (("--case", "encode/none"), "unknown case 'encode/none'"),
        (("--tier", "slow"), "'slow' is not one of 'quick', 'full'"),
        (("--vectors", "/nonexistent/set"), "/nonexistent/set"),
        (("--json", "/nonexistent/r.json"), "there is no folder /nonexistent"),
        (("--expectations", "x.toml"), "name it with --backend"),
        (("--jobs", "0"), "--jobs"),
        (("--no-such-option",), "No such option"),
    ],
)
def test_exit_2_on_a_mistake(
    run: Callable[..., int], capsys: Capture, more: tuple[str, ...], message: str
) -> None:
    assert run(more=more) == 2
    err = capsys.readouterr().err
    assert message in " ".join(err.replace("│", " ").split())
    assert "Traceback" not in err


def test_a_named_backend_that_is_not_installed_fails_the_gate(
    run: Callable[..., int], capsys: Capture
) -> None:
    assert run("numpy-reference", reference("LacksPackage")) == 2
    assert "pip install no-such-package-anywhere" in capsys.readouterr().out


def test_files_are_written(run: Callable[..., int], tmp_path: Path) -> None:
    kinds = ("json", "junit", "markdown")
    files = [part for kind in kinds for part in (f"--{kind}", str(tmp_path / kind))]
    assert run("numpy-reference", "ml-dtypes", more=tuple(files)) == 0
    assert [run["backend"] for run in json.loads((tmp_path / "json").read_text())["runs"]] == [
        "numpy-reference",
        "ml-dtypes",
    ]
    assert (tmp_path / "junit").read_text().startswith("<?xml")
    assert (tmp_path / "markdown").read_text().startswith("# quant-conformance")


def test_list(vectors: str, capsys: Capture) -> None:
    assert main(["list", "backends"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(BACKENDS)
    assert main(["list", "cases", "--vectors", vectors, "--family", "pack"]) == 0
    assert capsys.readouterr().out == "pack/pack  made for a test\npack/unpack  made for a test\n"
    assert main(["list", "clauses", "--vectors", vectors]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "Q-2           1 cases  Round to nearest, ties to even" in lines
    assert "Q-1           0 cases  True division" in lines
    assert main(["list", "flags", "--vectors", vectors]) == 0
    assert capsys.readouterr().out.split() == ["TiesToEven", "2", "cases", "a", "bug"]
    assert main(["list", "things"]) == 2


@pytest.mark.parametrize("isolate", ["--isolate", "--no-isolate"])
def test_explain(vectors: str, capsys: Capture, isolate: str) -> None:
    backend = ["--backend", reference("OneBit"), "--vectors", vectors, isolate]
    assert main(["explain", "quantize/tie", *backend]) == 0
    out = capsys.readouterr().out
    assert out.startswith("quantize/tie: wrong: codes[1]: expected 2")
    assert "    x          0.75 (0x1.8p-1, bits 0x3f400000)" in out
    assert "Q-2 Round to nearest" in out
    assert main(["explain", "quantize/tye", *backend]) == 2
    assert "did you mean 'quantize/tie'" in capsys.readouterr().err


def test_explain_shows_what_else_is_legal_and_what_was_followed(
    vectors: str, capsys: Capture
) -> None:
    options = ["--backend", "numpy-reference", "--vectors", vectors]
    assert main(["explain", "quantize/nan", *options]) == 0
    out = capsys.readouterr().out
    assert out.startswith("quantize/nan: policy (nan_payload: canonical)")
    assert "also legal codes by nan_payload = any_nan: first element code 0xff = nan" in out


def test_explain_what_gave_no_answer(vectors: str, capsys: Capture) -> None:
    options = ["--vectors", vectors, "--no-isolate"]
    assert main(["explain", "encode/power-2", "--backend", reference("Raises"), *options]) == 0
    assert "answer     none, raised: RuntimeError: no such kernel" in capsys.readouterr().out
    assert main(["explain", "invalid_spec/int3", "--backend", "numpy-reference", *options]) == 0
    assert "expected   refused" in capsys.readouterr().out
    lacking = ["--backend", reference("LacksPackage")]
    assert main(["explain", "encode/power-2", *lacking, *options]) == 2
    assert "install with" in capsys.readouterr().err


def test_diff(run: Callable[..., int], tmp_path: Path, capsys: Capture) -> None:
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    run("numpy-reference", more=("--json", str(good)))
    run(reference("OneBit"), more=("--json", str(bad)))
    bad.write_text(bad.read_text().replace('"one-bit"', '"numpy-reference"'))
    capsys.readouterr()
    assert main(["diff", str(good), str(bad)]) == 1
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("worse numpy-reference quantize/tie (exact -> wrong): codes[1]")
    assert out[-1] == "1 worse, 0 better, 0 changed, 0 new, 0 gone"
    assert main(["diff", str(bad), str(good)]) == 0
    assert main(["diff", str(good), str(tmp_path / "none.json")]) == 2


def test_diff_of_what_has_nothing_in_common(
    run: Callable[..., int], tmp_path: Path, capsys: Capture
) -> None:
    one, other, cases = (tmp_path / name for name in ("one.json", "other.json", "cases.json"))
    run("numpy-reference", more=("--family", "encode", "--json", str(one)))
    run("ml-dtypes", more=("--family", "encode", "--json", str(other)))
    run("numpy-reference", more=("--family", "pack", "--json", str(cases)))
    for after in (other, cases):
        capsys.readouterr()
        assert main(["diff", str(one), str(after)]) == 2
        assert "no backend has a case in both files" in capsys.readouterr().err


def test_vectors_generate_calls_the_generator(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    calls: list[tuple[Path, bool, str]] = []
    fake = types.ModuleType("quant_conformance.generate")
    fake.generate = lambda *asked: calls.append(asked) or 1  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "quant_conformance.generate", fake)
    assert main(["vectors", "generate", "--check", "--out", str(tmp_path)]) == 1
    assert main(["vectors", "generate"]) == 1
    main(["vectors", "generate", "--set", "integer_v1", "--out", str(tmp_path)])
    assert calls[0] == (tmp_path, True, "v1")
    for (out, check, version), name in zip(
        calls[1:4], ("v1", "integer_v1", "block_v1"), strict=True
    ):
        assert out.parts[-2:] == ("quant_vectors", name)
        assert (check, version) == (False, name)
    assert calls[4] == (tmp_path, False, "integer_v1")


@pytest.mark.parametrize(
    "words", [["--set", "v2"], ["--set", "v1", "--set", "integer_v1", "--out", "x"]]
)
def test_vectors_generate_refuses_unknown_sets_and_one_folder_for_two(words: list[str]) -> None:
    assert main(["vectors", "generate", *words]) == 2


def test_as_a_process(vectors: str) -> None:
    command = [sys.executable, "-m", "quant_conformance.cli", "run", "--vectors", vectors]
    done = subprocess.run(
        [*command, "--backend", reference("Segfaults"), "--case", "encode/power-2"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "the process died of SIGSEGV" in done.stdout


def test_without_its_packages_the_command_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.setitem(sys.modules, "quant_conformance.commands.app", None)
    with pytest.raises(ModuleNotFoundError):  # our own module missing is no usage error
        main(["run"])
    monkeypatch.delitem(sys.modules, "quant_conformance.commands.app")
    monkeypatch.setitem(sys.modules, "typer", None)
    assert main(["run"]) == 2
    assert "pip install 'quant-conformance[conformance]'" in capsys.readouterr().err


def test_a_constructor_that_raises_is_one_line_with_its_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "busy.py"
    file.write_text(
        "from quant_conformance import Backend\n\n\n"
        "def connect():\n    raise OSError('the device\\nis busy')\n\n\n"
        "class Busy(Backend):\n    def __init__(self):\n        connect()\n\n"
        "    def decode(self, codes, fmt):\n        return codes\n\n\n"
        "class Asking(Busy):\n    def __init__(self, device):\n        self.device = device\n"
    )
    asked = ["run", "--family", "decode", "--backend"]
    assert main([*asked, f"{file}:Busy"]) == 1
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if "crashed:" in line)
    reason = "crashed: cannot be opened: OSError: the device is busy (busy.py:5 in connect)"
    assert line.strip() == reason
    assert "Traceback" not in out
    assert main([*asked, f"{file}:Asking"]) == 1  # no line of its own was reached
    out = capsys.readouterr().out
    assert "missing 1 required positional argument: 'device'" in " ".join(out.split())
    assert "loading.py" not in out
