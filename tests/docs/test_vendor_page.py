"""docs/vendor.md and docs/scoreboard.md, as a reader would run them."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
import tests.docs.samples as pages

import quant_vectors
from quant_conformance.protocol import Backend
from quant_conformance.registry import BACKENDS
from quant_conformance.report.scoreboard_rows import COLUMNS
from quant_conformance.verdicts.verdict import FAILURES, Verdict
from quant_vectors import Case

TEXT = pages.VENDOR.read_text(encoding="utf-8")
BOARD = pages.SCOREBOARD.read_text(encoding="utf-8")
WRONG = "x.astype(np.float32) * (np.float32(1) / scale)"
RIGHT = "x.astype(np.float32) / scale"
CURRENT = f"sha256 `{quant_vectors.load_frozen().digest[:16]}…`" in BOARD
"""Whether the numbers are of these vectors; the scoreboard names those that they are of."""

MY_BACKEND = "quant-conformance run --backend my_backend.py:MyBackend"
C_KERNEL = "quant-conformance run --backend c_backend.py:CKernel"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("vendor")
    pages.prepare(made, TEXT)
    return made


def comparable(text: str) -> str:
    """All of the text, or what does not hang on which cases there are."""
    if CURRENT:
        return text
    kept = [line for line in text.splitlines() if not re.match(r"  (policy|wrong| )|See", line)]
    return re.sub(r"─+|\s*(\d+|·)", " #", "\n".join(kept))


@pytest.mark.parametrize("command", [MY_BACKEND, C_KERNEL])
def test_a_sample_is_what_the_command_prints(command: str, folder: Path) -> None:
    assert list(pages.samples(TEXT)) == [MY_BACKEND, C_KERNEL]
    if command == C_KERNEL and not (folder / "libkernel.so").exists():
        pytest.skip("no C compiler")
    assert command in pages.commands(TEXT)  # the reader is told to run the same
    done = pages.called(folder, command)
    assert comparable(done.stdout) == comparable(pages.samples(TEXT)[command])
    assert done.returncode == (1 if command == MY_BACKEND else 0)


def test_the_diagnosis_is_the_one_of_the_sample() -> None:
    shown = pages.samples(TEXT)[MY_BACKEND]
    assert re.search(r"matches multiply-by-reciprocal .* on 100 %", shown)
    for quoted in re.findall(r"```text\n(quantize: .*?)\n```|`(policy nan_to_integer: .*?)`", TEXT):
        assert "".join(quoted) in shown


def test_known_failures_are_expected(folder: Path) -> None:
    (command,) = [c for c in pages.commands(TEXT) if "--expectations" in c]
    done = pages.called(folder, command)
    assert done.returncode == 0, done.stdout
    assert "wrong quantize" not in done.stdout


def test_explain_is_told_a_case_that_is_there(folder: Path) -> None:
    (command,) = [c for c in pages.commands(TEXT) if c.startswith("quant-conformance explain")]
    done = pages.called(folder, command)
    assert done.returncode == 0, done.stderr
    assert "Q-1 True division" in done.stdout


def test_the_example_is_right_once_it_divides(tmp_path: Path) -> None:
    source = pages.saved(TEXT)["my_backend.py"]
    assert WRONG in source
    (tmp_path / "my_backend.py").write_text(source.replace(WRONG, RIGHT))
    done = pages.called(tmp_path, MY_BACKEND)
    assert done.returncode == 0, done.stdout


CONSOLES = re.findall(r"```console\n(.*?)```", TEXT, re.S)


@pytest.mark.parametrize("block", CONSOLES, ids=["c", "cpp", "node", "python", "rust"])
def test_an_example_is_judged_as_the_page_says(block: str, tmp_path: Path) -> None:
    made, entered, *built, judged = re.findall(r"(?m)^\$ (.*)$", block)
    program = shlex.split(built[0])[0] if built else shlex.split(judged)[3].split()[0]
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    assert pages.called(tmp_path, made).returncode == 0
    folder = tmp_path / entered.removeprefix("cd ")
    for command in built:
        subprocess.run(shlex.split(command), cwd=folder, check=True)
    done = pages.called(folder, judged)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"(?m)^(?!\$).+$", CONSOLES[0])
    assert shown[-1].startswith("all ")
    if CURRENT:
        assert set(shown) <= set(done.stdout.splitlines())


def test_the_table_of_verdicts_has_each_with_its_exit_code() -> None:
    table = re.findall(r"(?m)^\| `(\w+)` \| .* \| (\d) \|$", TEXT)
    assert dict(table).keys() == {verdict.value for verdict in Verdict}
    assert {word for word, code in table if code == "1"} == {v.value for v in FAILURES}


def test_the_list_of_methods_is_the_protocol() -> None:
    base = {"versions", "supports", "selects", "prepare"}
    methods = {n for n, m in vars(Backend).items() if callable(m) and not n.startswith("_")}
    sentence = re.search(r"`protocol.py`\]\(.*?\): (.*?)\.\n", TEXT, re.S)
    assert sentence is not None
    assert set(re.findall(r"`(\w+)`", sentence[1])) == methods - base


def test_the_attributes_of_a_case_are_there() -> None:
    fields = set(re.findall(r"`case\.(\w+)`", TEXT))
    assert fields
    assert fields <= set(Case.__dataclass_fields__)


def test_the_scoreboard_has_every_backend_and_every_case() -> None:
    rows = list(pages.rows(BOARD))
    assert [row["backend"] for row in rows] == list(BACKENDS)
    (made,) = pages.run_all(["numpy-reference"])
    head = rows[0]
    versions = [f"{name} {version}" for name, version in sorted(made["versions"].items())]
    assert head["versions"] == ", ".join(versions)
    counts = {c.title: sum(made["summary"].get(v.value, 0) for v in c.verdicts) for c in COLUMNS}
    # A column that is not there counts nothing, of any backend.
    shown = {c.title: head.get(c.title, "·") for c in COLUMNS}
    if CURRENT:
        assert {title: int(text.replace("·", "0")) for title, text in shown.items()} == counts
    assert all(text == "·" or int(text) > 0 for text in shown.values())


def test_the_scoreboard_is_made_of_any_verdicts() -> None:
    vectors = {"version": "v1", "digest": "ab" * 32}
    of_all = dict.fromkeys((verdict.value for verdict in Verdict), 1)
    documents = [
        {"backend": "a", "versions": {"x": "1"}, "vectors": vectors, "summary": of_all},
        {"backend": "b", "versions": {}, "vectors": vectors, "summary": {"exact": 1234}},
    ]
    text = pages.board(documents)
    first, second = pages.rows(
        f"<!-- scoreboard: made by `make readme` -->\n{text}<!-- end of scoreboard -->"
    )
    assert list(first) == ["backend", "versions", *(column.title for column in COLUMNS)]
    assert sum(int(n) for n in list(first.values())[2:]) == len(Verdict)
    assert (second["exact"], second["wrong"]) == ("1234", "·")
    few = pages.board(documents[1:])
    assert "undecided" not in few
    assert "abababababababab" in few
