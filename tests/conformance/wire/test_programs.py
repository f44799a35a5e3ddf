"""Programs as backends: by the batch and over a pipe, good ones and hostile ones."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
from tests.conformance.sets import encodes, make_set

from quant_conformance.errors import UsageError
from quant_conformance.runner.questions import Limits
from quant_conformance.runner.run import Run
from quant_conformance.runner.runs import Plan, Runner, ask_one
from quant_conformance.wire.limits import Options
from quant_conformance.wire.references import reference_of
from quant_vectors import VectorSet

VECTORS = make_set(encodes(8))
CODES = [[int(c) for c in VECTORS.expected(case)["codes"]] for case in VECTORS.cases]

# Answers case 0, 1, … of VECTORS with the standard library alone; bad(k) comes before answer k.
HONEST = """\
import os, signal, struct, subprocess, sys, time
CODES = {codes}
files = len(sys.argv) > 2
source = open(sys.argv[1], "rb") if files else sys.stdin.buffer
sink = open(sys.argv[2], "wb") if files else sys.stdout.buffer
def record(number, codes, status=1, dtype=5, shape=None):
    shape = [len(codes)] if shape is None else shape
    axes = struct.pack("<%dI" % len(shape), *shape)
    pad = lambda b: b + bytes(-len(b) % 8)
    body = struct.pack("<BBHI", dtype, len(shape), 5, len(codes)) + pad(axes) + pad(b"codes")
    body += pad(bytes(codes))
    return struct.pack("<IIHHHHII", 20 + len(body), number, status, 0, 1, 0, 0, 0) + body
def answer(k):
    sink.write(record(number, CODES[k])); sink.flush()
def bad(k):
    pass
{bad}
source.read(16)
sink.write(struct.pack("<4sIII", b"QCW1", 2, 0, 0)); sink.flush()
while True:
    size = source.read(4)
    if len(size) < 4:
        break
    data = source.read(struct.unpack("<I", size)[0])
    number = struct.unpack_from("<I", data)[0]
    x = struct.unpack("<f", data[-8:-4])[0]
    k = [struct.unpack("<f", struct.pack("<f", 2.0 ** i))[0] for i in range(8)].index(x)
    if bad(k) is None:
        answer(k)
"""

THIRD = "def bad(k):\n    if k == 2:\n        "

HOSTILE = {
    "segfault": (THIRD + "os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "SIGSEGV"),
    "exit": (THIRD + "os._exit(7)", "crashed", "exited with code 7"),
    "last words": (THIRD + "sys.exit('last words')", "crashed", "last words"),
    "endless loop": (THIRD + "\n        while True: pass", "timed_out", ""),
    "ignores SIGTERM": (
        THIRD + "signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)",
        "timed_out",
        "",
    ),
    "NaN shape": (
        THIRD + "sink.write(record(number, CODES[k], shape=[0x7FC00000])); return 1",
        "wrong",
        "takes 2143289344 bytes, 2 came",
    ),
    "other shape": (
        THIRD + "sink.write(record(number, CODES[k], shape=[2, 1])); sink.flush(); return 1",
        "wrong",
        "codes has shape (2, 1)",
    ),
    "unknown dtype": (
        THIRD + "sink.write(record(number, CODES[k], dtype=99)); sink.flush(); return 1",
        "wrong",
        "dtype code 99",
    ),
    "unknown status": (
        THIRD + "sink.write(record(number, CODES[k], status=9)); sink.flush(); return 1",
        "wrong",
        "status 9 is unknown",
    ),
    "truncated": (
        THIRD + "sink.write(record(number, CODES[k])[:20]); sink.flush(); os._exit(0)",
        None,
        "",
    ),
    "overlong": (
        THIRD + "sink.write(record(number, CODES[k] * 1000)); sink.flush(); return 1",
        "wrong",
        "codes has shape (2000,)",
    ),
    "a record of 4 GB": (
        THIRD + "sink.write(b'\\xff' * 64); sink.flush(); time.sleep(60)",
        None,
        "",
    ),
    "closes stdin": (THIRD + "os.close(0); os.close(1); os._exit(3)", "crashed", "code 3"),
    "not asked": (THIRD + "sink.write(record(77, CODES[k])); sink.flush()", None, ""),
    "twice": (THIRD + "answer(k); answer(k); return 1", None, ""),
    "10 GB of stderr": (
        THIRD + "\n        while True: os.write(2, b'x' * 65536)",
        "crashed",
        "it printed more than",
    ),
    "fills the disk": (
        THIRD + "\n        while True: open('%d' % time.time_ns(), 'wb').write(bytes(1 << 18))",
        "crashed",
        "into its folder",
    ),
    "one large file": (
        THIRD + "\n        f = open('large', 'wb')\n        while True: f.write(bytes(1 << 18))",
        "crashed",
        "",
    ),
}
LIMITS = Options(case_seconds=1.5, batch_seconds=1.5, output_bytes=1 << 22, ahead=4)


def program(folder: Path, bad: str = "") -> str:
    file = folder / "program.py"
    file.write_text(HONEST.format(codes=CODES, bad=bad))
    return f"{sys.executable} -I -S {file}"


def run(kind: str, command: str, options: Options = LIMITS, vectors: VectorSet = VECTORS) -> Run:
    if kind == "cmd":
        command += " {requests} {responses}"
    reference = reference_of(kind, command, options)
    return Runner(vectors, vectors.cases, Plan(Limits(), isolate=False)).run(reference)


@pytest.fixture(autouse=True)
def told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STARTED_BY", str(tmp_path))


def marked(folder: Path) -> list[str]:
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environ = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"STARTED_BY={folder}".encode() in environ.split(b"\0"):
            found.append((entry / "cmdline").read_text())
    return found


@pytest.mark.parametrize("kind", ["cmd", "pipe"])
def test_an_honest_program_is_exact(kind: str, tmp_path: Path) -> None:
    done = run(kind, program(tmp_path))
    assert done.summary == {"exact": 8}
    assert done.backend == Path(sys.executable).name


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("kind", ["cmd", "pipe"])
def test_a_hostile_program(kind: str, name: str, tmp_path: Path) -> None:
    bad, verdict, detail = HOSTILE[name]
    before = set(tmp_path.iterdir())
    done = run(kind, program(tmp_path, bad))
    verdicts = [str(result.verdict) for result in done.results]
    assert done.failed
    if verdict is not None:
        assert verdicts == ["exact"] * 2 + [verdict] + ["exact"] * 5
        assert detail in done.results[2].detail
    else:  # what was damaged is not passed for right
        assert verdicts[2] in ("wrong", "crashed", "timed_out", "unanswered", "exact")
        assert {"wrong", "crashed", "timed_out", "unanswered"} & set(verdicts)
    assert {path.name for path in set(tmp_path.iterdir()) - before} == {"program.py"}
    if Path("/proc").is_dir():
        assert marked(tmp_path) == []


def test_a_grandchild_that_left_the_session_is_ended(tmp_path: Path) -> None:
    if not Path("/proc").is_dir():
        pytest.skip("no /proc, by which it would be found")
    bad = THIRD + "subprocess.Popen(['sleep', '60'], start_new_session=True)"
    for kind in ("cmd", "pipe"):
        begin = time.monotonic()
        assert run(kind, program(tmp_path, bad)).summary == {"exact": 8}
        assert marked(tmp_path) == []
        assert time.monotonic() - begin < 50  # it is ended, and not waited for


def test_noise_on_standard_output(tmp_path: Path) -> None:
    noisy = "print('Welcome to the board!', flush=True)"
    assert run("cmd", program(tmp_path, noisy)).summary == {"exact": 8}
    done = run("pipe", program(tmp_path, noisy))
    assert done.summary == {"crashed": 8}
    assert "Welcome" in done.results[0].detail


def test_responses_that_are_a_link(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    replace = f"(os.unlink(sys.argv[2]), os.symlink({str(secret)!r}, sys.argv[2]))"
    bad = f"import atexit\natexit.register(lambda: {replace})"
    done = run("cmd", program(tmp_path, bad))
    assert done.summary == {"wrong": 8}
    assert "symbolic link" in done.results[0].detail
    assert secret.read_text() == "secret"


def test_names_that_lead_upwards_stay_in_what_is_removed(tmp_path: Path) -> None:
    bad = THIRD + "open('../upwards', 'w').write('x')"
    assert run("cmd", program(tmp_path, bad)).summary == {"exact": 8}
    assert not list(tmp_path.glob("**/upwards"))


def test_a_program_that_does_not_start(tmp_path: Path) -> None:
    for kind in ("cmd", "pipe"):
        done = run(kind, str(tmp_path / "nothing"))
        assert done.summary == {"crashed": 8}
        assert "code 127" in done.results[0].detail


def test_a_program_that_answers_nothing() -> None:
    assert run("cmd", "true").summary == {"unanswered": 8}
    assert run("pipe", "true").summary == {"crashed": 8}


def test_all_questions_have_a_limit_together(tmp_path: Path) -> None:
    options = Options(case_seconds=2.0, total_seconds=0.5)
    for kind in ("cmd", "pipe"):
        done = run(kind, program(tmp_path, "def bad(k):\n    time.sleep(0.4)"), options)
        assert done.summary.get("timed_out", 0) >= 5


def test_a_program_that_always_hangs_is_given_up(tmp_path: Path) -> None:
    options = Options(case_seconds=0.1)
    done = run("pipe", program(tmp_path, "def bad(k):\n    time.sleep(60)"), options)
    assert done.summary == {"timed_out": 8}
    assert done.results[-1].detail == "not run: encode timed out 5 times in a row"


def test_memory_is_limited(tmp_path: Path) -> None:
    options = Options(case_seconds=5.0, memory_bytes=200 << 20)
    bad = THIRD + "bytearray(1 << 30)"
    for kind in ("cmd", "pipe"):
        done = run(kind, program(tmp_path, bad), options)
        assert done.summary == {"exact": 7, "crashed": 1}
        assert "MemoryError" in done.results[2].detail


@pytest.mark.skipif(os.geteuid() == 0, reason="root is held to no number of processes")
def test_a_fork_bomb(tmp_path: Path) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NPROC)
    resource.setrlimit(resource.RLIMIT_NPROC, (200, hard))
    try:
        bad = THIRD + "\n        while True: os.fork()"
        done = run("pipe", program(tmp_path, bad))
    finally:
        resource.setrlimit(resource.RLIMIT_NPROC, (soft, hard))
    assert done.failed
    assert marked(tmp_path) == []


def test_one_case_alone(tmp_path: Path) -> None:
    reference = reference_of("pipe", program(tmp_path), LIMITS)
    _, result = ask_one(VECTORS, VECTORS.cases[5], reference, Plan())
    assert result.verdict == "exact"


def test_in_a_process_of_its_own(tmp_path: Path) -> None:
    reference = reference_of("pipe", program(tmp_path), LIMITS)
    done = Runner(VECTORS, VECTORS.cases, Plan(Limits(), isolate=True)).run(reference)
    assert done.summary == {"exact": 8}
    assert marked(tmp_path) == []


@pytest.mark.parametrize(
    ("reference", "told"),
    [
        ("cmd://./program", "has no {requests}"),
        ("cmd://", "is empty"),
        ("pipe://'", "cannot be split"),
        ('pipe+{"speed": 1}://true', "speed"),
        ('cmd+{"format": "xml"}://true {requests} {responses}', "unknown format 'xml'"),
    ],
)
def test_references_that_make_no_sense(reference: str, told: str) -> None:
    with pytest.raises(UsageError, match=told.replace("{", r"\{")):
        Runner(VECTORS, VECTORS.cases, Plan()).run(reference)
